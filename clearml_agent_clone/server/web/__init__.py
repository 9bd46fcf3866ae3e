"""The web port: plain read-only pages."""
