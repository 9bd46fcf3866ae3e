"""Read from what uv or pip said why packages could not be installed, and say it in one line."""

from __future__ import annotations

import re

import attrs

from clearml_agent_clone.environment.model import masked
from clearml_agent_clone.errors import UserError

_NAME = r"([A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]*\])?)"
_UNKNOWN = (
    re.compile(rf"\b{_NAME} was not found in the (?:package registry|provided package locations)"),
    re.compile(rf"No matching distribution found for {_NAME}\S*.*from versions: none", re.DOTALL),
    re.compile(rf"{_NAME} is not available|Package `{_NAME}` not found"),
)
_NO_VERSION = (
    re.compile(rf"there (?:is|are) no versions? of {_NAME}\s*([=<>!~][^\s,]*(?:,[=<>!~][^\s,]+)*)"),
    re.compile(
        rf"only [^.]*? (?:is|are) available and (?:you require|[^.]*? depends on) {_NAME}\s*([=<>!~]\S*[^\s,.])"
    ),
    re.compile(rf"requirement {_NAME}\s*([=<>!~][^\s;()]*).*?\(from versions: (?!none)"),
)
_AVAILABLE = re.compile(r"from versions: ([^)]*)\)")
_NETWORK = (
    r"error sending request|Failed to fetch|Connection refused|[Cc]ould not resolve host|dns error|"  # uv, git
    r"Max retries exceeded|NewConnectionError|ConnectTimeout|ReadTimeout|timed out"  # pip
)
_OTHER: tuple[tuple[str, str, str], ...] = (
    (r"No space left on device|ENOSPC|os error 28\b", "the disk is full", "Free some space on the disk of the store"),
    (
        r"certificate|CERTIFICATE_VERIFY_FAILED|UnknownIssuer|SSLError",
        "the index's certificate is not trusted",
        "Name the certificate authority in pip.conf (cert) or PIP_CERT",
    ),
    (
        r"\b(401|403)\b|Unauthorized|Forbidden",
        "the index refuses the credentials",
        "Check user and password in the index URL, pip.conf or ~/.netrc",
    ),
    (
        _NETWORK,
        "the index cannot be reached",
        "Check the network, or name an index that this machine can reach (PIP_INDEX_URL, pip.conf)",
    ),
    (
        r"requires-python|Requires-Python|requires Python|Python>=|Python<",
        "a package is not for this Python version",
        "",
    ),
    (
        r"Failed to build|build backend|metadata-generation-failed|subprocess-exited-with-error|Build backend failed",
        "a package could not be built",
        "The lines above say what its build needs: often a compiler, headers, or a Python version that it has wheels for",
    ),
)
_CONFLICT = re.compile(
    r"\byou require [^,]+? and [^,]+?,|depends on .{1,400}?(?:unsatisfiable|incompatible)|ResolutionImpossible|conflict",
    re.DOTALL,
)
_PARSE = re.compile(r"Couldn't parse requirement|Expected package name|unexpected argument|not supported|Unsupported")
_DRAWN = re.compile("^[\\s\u2502\u2570\u2500\u25b6\u00d7]+")  # what older uv draws in front of its sentences
_REASON = re.compile(r"(?:cause:|╰─▶|Caused by:|ERROR:|error:)\s*(.*)")


@attrs.frozen
class Failure:
    """Why an installation failed.

    Args:
        message: the cause, in one line.
        remedy: one next step.
        package: the package that has no fitting version, to ask what there is; empty otherwise.
        conflict: the requirements contradict each other.
        engine_only: another engine may well succeed.
    """

    message: str
    remedy: str = ""
    package: str = ""
    conflict: bool = False
    engine_only: bool = False

    def error(self, newest: str = "") -> UserError:
        more = f"; the newest that fits this machine is {newest}" if newest else ""
        return UserError(masked(f"{self.message}{more}"), remedy=self.remedy, code="packages-failed")


def diagnose(output: str, indexes: str) -> Failure:
    """The decisive part of what the engine printed. ``indexes`` is where packages were looked for, without secrets."""
    text = _joined(output)
    for pattern in _UNKNOWN:
        if match := pattern.search(text):
            name = next(group for group in match.groups() if group)
            return Failure(
                f'package "{name}" does not exist in {indexes}',
                "Correct its name, or add the index that has it (agent.package_manager.extra_index_url)",
            )
    for pattern in _NO_VERSION:
        if match := pattern.search(text):
            there = _AVAILABLE.search(text)
            known = f", which has {_last(there[1])}" if there else ""
            return Failure(
                f"package {match[1]} has no version {match[2].rstrip('.,')} for this machine in {indexes}{known}",
                "Ask for a version that exists",
                package="" if there else match[1],
            )
    for pattern_text, cause, remedy in _OTHER:
        if re.search(pattern_text, text):
            return Failure(f"packages could not be installed: {cause}: {_reason(output)}", remedy)
    if _CONFLICT.search(text):
        return Failure(
            f"the packages contradict each other: {_reason(output)}",
            "Loosen one of the versions that the message names",
            conflict=True,
        )
    return Failure(
        f"packages could not be installed: {_reason(output)}",
        "The lines above say more",
        engine_only=bool(_PARSE.search(text)),
    )


def _joined(output: str) -> str:
    """``output`` on one line: resolvers wrap their sentences and draw lines in front of them."""
    return " ".join(_DRAWN.sub("", line).strip() for line in output.splitlines())


def _reason(output: str) -> str:
    """The sentence that says why: the last cause that was named, else the last line."""
    lines = output.splitlines()
    for index in range(len(lines) - 1, -1, -1):
        if match := _REASON.search(lines[index]):
            rest = [line for line in lines[index + 1 :] if re.match(r"\s{4,}\S", line)]
            return _joined("\n".join([match[1], *rest]))[:500]
    return next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")[:500]


def _last(versions: str, limit: int = 5) -> str:
    names = [name.strip() for name in versions.split(",")]
    return ", ".join(names[-limit:])
