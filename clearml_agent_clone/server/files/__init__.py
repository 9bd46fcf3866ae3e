"""The files service: artifacts, models and debug samples, kept as plain files under the data folder."""
