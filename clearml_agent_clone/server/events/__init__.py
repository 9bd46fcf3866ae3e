"""Console lines, scalars, plots and debug images of tasks."""
