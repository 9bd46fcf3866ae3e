"""Hiding secrets in text that is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MASK = "****"
_URL_PASSWORD = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^\s/:@]*:)(?P<password>[^\s/@]+)(?=@)", re.IGNORECASE)


def mask_urls(text: str) -> str:
    """``text`` with the passwords in its URLs replaced."""
    return _URL_PASSWORD.sub(rf"\g<head>{MASK}", text) if "@" in text else text


def url_passwords(text: str) -> Iterator[str]:
    """The passwords in the URLs of ``text``, as they stand there."""
    return (match["password"] for match in _URL_PASSWORD.finditer(text)) if "@" in text else iter(())


def mask_known(text: str, secrets: Iterable[str]) -> str:
    """``text`` with every one of ``secrets`` replaced, the longest first."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text
