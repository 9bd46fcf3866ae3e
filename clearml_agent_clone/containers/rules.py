"""``agent.default_docker.match_rules``: a container by what the task recorded. They work with every server."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from clearml_agent_clone.api.types import Script, text
from clearml_agent_clone.errors import UserError

_RECORD = ("repository", "branch", "binary")


@attrs.frozen
class MatchFacts:
    """What rules look at. ``project`` is the full path, ``a/b/c``; ``image`` the one the task asks for."""

    script: Script = attrs.Factory(Script)
    project: str = ""
    project_id: str = ""
    user_id: str = ""
    tags: tuple[str, ...] = ()
    image: str = ""


@attrs.frozen
class MatchedRule:
    """The first rule that holds. Texts are empty where it says nothing; ``update_back`` is None there."""

    number: int
    image: str = ""
    arguments: str = ""
    setup_script: str = ""
    forced: bool = False
    update_back: bool | None = None


def first_match(rules: Sequence[Mapping[str, Any]], facts: MatchFacts) -> MatchedRule | None:
    """The first of ``rules`` whose ``match`` holds; rules without one are left out.

    Raises:
        UserError: a rule that is reached holds a pattern or a version that cannot be read; its number is named.
    """
    for number, rule in enumerate(rules, 1):
        terms = rule.get("match")
        if isinstance(terms, Mapping) and terms and _holds(terms, facts, number):
            update = rule.get("update_back_task")
            return MatchedRule(
                number,
                text(rule.get("image")).strip(),
                _words(rule.get("arguments")),
                _lines(rule.get("setup_shell_script")),
                forced=rule.get("force_container_rules") is True,
                update_back=update if isinstance(update, bool) else None,
            )
    return None


def _holds(terms: Mapping[str, Any], facts: MatchFacts, number: int) -> bool:
    script = terms.get("script")
    script = script if isinstance(script, Mapping) else {}
    pairs: list[tuple[object, str | tuple[str, ...]]] = [
        (terms.get("project"), facts.project),
        (terms.get("project_id"), facts.project_id),
        (terms.get("user_id"), facts.user_id),
        (terms.get("container"), facts.image),
        (terms.get("tags"), facts.tags),
        *((script.get(name), str(getattr(facts.script, name))) for name in _RECORD),
    ]
    if not all(_found(term, value, number) for term, value in pairs):
        return False
    requirements = script.get("requirements")
    requirements = requirements if isinstance(requirements, Mapping) else {}
    recorded = facts.script.requirements
    return all(
        _has_packages(requirements.get(kind), getattr(recorded, kind) or "", number) for kind in ("pip", "conda")
    )


def _found(term: object, value: str | tuple[str, ...], number: int) -> bool:
    """Every pattern of ``term`` in one of the values; an absent term always holds."""
    patterns = [text(item) for item in term] if isinstance(term, list | tuple) else [text(term)]
    values = (value,) if isinstance(value, str) else value
    return all(any(_search(pattern, item, number) for item in values) for pattern in patterns if pattern)


def _search(pattern: str, value: str, number: int) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error as error:
        raise _bad(number, f'"{pattern}" is no regular expression: {error}') from None


def _has_packages(wanted: object, recorded: str, number: int) -> bool:
    """Whether each package stands among the recorded ones in a version that the rule's specifier admits."""
    if not isinstance(wanted, Mapping) or not wanted:
        return True
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - few rules look at packages
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - the same

    versions = _recorded_versions(recorded)
    for name, specifier in wanted.items():
        try:
            admitted = SpecifierSet(text(specifier))
        except InvalidSpecifier:
            raise _bad(number, f'"{specifier}" of {name} is no version specifier') from None
        found = versions.get(canonicalize_name(str(name)))
        if found is None or (text(specifier) and not (found and admitted.contains(found, prereleases=True))):
            return False
    return True


def _recorded_versions(recorded: str) -> dict[str, str]:
    """Package → version of ``name==1.2`` lines; empty for one recorded without an exact version."""
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - few rules look at packages
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - the same

    found: dict[str, str] = {}
    for line in recorded.splitlines():
        match = re.match(r"\s*-?\s*([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?:={1,3}\s*([^\s;=,#]+))?", line)
        if match is None:
            continue
        try:
            version = str(Version(match[2])) if match[2] else ""
        except InvalidVersion:
            version = ""
        found[canonicalize_name(match[1])] = version
    return found


def _words(value: object) -> str:
    """Arguments as the one text that tasks have; a list is quoted."""
    return shlex.join(map(text, value)) if isinstance(value, list | tuple) else text(value).strip()


def _lines(value: object) -> str:
    return "\n".join(map(text, value)) if isinstance(value, list | tuple) else text(value)


def _bad(number: int, reason: str) -> UserError:
    return UserError(
        f"agent.default_docker.match_rules, rule {number}: {reason}", remedy="Correct the rule", code="bad-value"
    )
