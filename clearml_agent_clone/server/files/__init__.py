"""The files port: what tasks upload."""
