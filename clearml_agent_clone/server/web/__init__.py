"""The web port: plain read-only pages, made here and complete in themselves."""
