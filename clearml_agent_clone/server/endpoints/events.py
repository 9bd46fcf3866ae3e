"""events.*: lives in a package of its own; this module is where its endpoints join the others."""

from clearml_agent_clone.server.events import console, known_metrics, report, samples, scalars

__all__ = ["console", "known_metrics", "report", "samples", "scalars"]
