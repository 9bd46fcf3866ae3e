"""Passwords and tokens in the URLs of channels."""

from __future__ import annotations

import re

from clearml_agent_clone.environment.model import masked

_TOKEN = re.compile(r"/t/[^/\s]+")


def shown(text: str) -> str:
    """``text`` with the passwords and tokens of its URLs hidden."""
    return _TOKEN.sub("/t/****", masked(text))


def without(url: str) -> str:
    """``url`` without password and token."""
    return _TOKEN.sub("", re.sub(r"(://)[^/@\s]+@", r"\1", url))
