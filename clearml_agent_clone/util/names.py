"""Suggestions for a name that was not found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The names in ``known`` that ``name`` was probably meant to be, best first, at most ``limit``."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), list(by_folded), n=limit, cutoff=0.6)
    return [by_folded[match] for match in matches]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence such as ``Did you mean "default"?``, or an empty string when nothing is near."""
    found = nearest(name, known)
    return "Did you mean " + " or ".join(f'"{match}"' for match in found) + "?" if found else ""
