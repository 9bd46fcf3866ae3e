"""Containers: every decision about one, as values. Nothing here talks to an engine or touches the disk.

See docs/containers.md.
"""
