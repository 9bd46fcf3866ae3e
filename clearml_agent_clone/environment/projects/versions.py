"""Compare an interpreter with the versions that a project is made for. ``packaging`` is not needed for that, and a task
whose environment is there does not import it.
"""

from __future__ import annotations

import re

_CLAUSE = re.compile(r"(===?|~=|!=|<=|>=|<|>|\^|~|)\s*v?(\d+(?:\.\d+)*)(\.\*)?[^,|\s]*")

Version = tuple[int, ...]


def allows(requirement: str, version: str) -> bool:
    """Whether ``requirement`` (``>=3.10,<4``, ``^3.10``, ``~3.11 || 3.13.*``) allows ``version``.

    What is not understood allows everything: poetry and uv will read it themselves.
    """
    alternatives = [part for part in requirement.split("||") if part.strip()]
    number = _numbers(version)
    return not alternatives or any(_all(alternative, number) for alternative in alternatives)


def lowest_minor(requirement: str) -> str:
    """The lowest ``3.X`` that ``requirement`` allows; empty when it allows none that exists."""
    return next((f"3.{minor}" for minor in range(8, 21) if _some_patch(requirement, minor)), "")


def _some_patch(requirement: str, minor: int) -> bool:
    return allows(requirement, f"3.{minor}.99") or allows(requirement, f"3.{minor}.0")


def _all(clauses: str, version: Version) -> bool:
    found = _CLAUSE.findall(clauses)
    return all(_one(operator, _numbers(number), bool(star), version) for operator, number, star in found)


def _one(operator: str, wanted: Version, star: bool, version: Version) -> bool:
    same = _cut(version, len(wanted)) == wanted
    if operator == "^":
        return version >= wanted and version[0] == wanted[0]
    if operator == "~":
        return version >= wanted and _cut(version, min(len(wanted), 2)) == wanted[:2]
    if operator == "~=":
        return version >= wanted and _cut(version, max(len(wanted) - 1, 1)) == wanted[: max(len(wanted) - 1, 1)]
    if operator == "!=":
        return not same if star or len(wanted) > 2 else version != wanted
    if operator in {"==", "===", ""}:
        # Poetry reads "3.11" as just that release; people mean any 3.11, and the tools have the last word
        return same
    padded = wanted + (0,) * (len(version) - len(wanted))
    return {"<": version < padded, "<=": version <= padded, ">": version > padded, ">=": version >= padded}[operator]


def _cut(version: Version, length: int) -> Version:
    return (version + (0,) * length)[:length]


def _numbers(text: str) -> Version:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])
