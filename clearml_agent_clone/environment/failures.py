"""Read from what uv or pip said why packages could not be installed, and say it in one line."""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

from clearml_agent_clone.environment.model import masked
from clearml_agent_clone.errors import UserError

_LONGEST = 400
_NAME = r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\[[^\]]*\])?"
_RANGE = r"([=<>!~]=?=?[^\s,;()]*[^\s,;().](?:,[=<>!~][^\s,;()]*[^\s,;().])*)"


_URL = re.compile(r"https?://[^\s`'\"()<>,]+")
_UNREACHABLE = (
    r"Failed to fetch|error sending request|Connection refused|dns error|Max retries exceeded|"
    r"NewConnectionError|Failed to establish a new connection|ConnectTimeout|ReadTimeoutError|Read timed out"
)
_OTHER_PYTHON = (
    r"current Python version \(([\d.]+)\) does not satisfy \S+ and (\S+) depends on (\S+), we can conclude that "
    r"\2 cannot be used\.\s+And because you require \2"
)


@attrs.frozen
class Failure:
    """Why an installation failed.

    Args:
        message: the cause, in one line.
        remedy: one next step.
        package: the package whose available versions are not known yet; empty otherwise.
        conflict: the requirements contradict each other.
        engine_only: another engine may well succeed.
    """

    message: str
    remedy: str = ""
    package: str = ""
    conflict: bool = False
    engine_only: bool = False

    def error(self, newest: str = "") -> UserError:
        """As an error, with the ``newest`` version that there is of ``package``."""
        more = f"; the newest one there is {newest}" if newest else ""
        return UserError(masked(f"{self.message}{more}"), remedy=self.remedy, code="packages-failed")


def diagnose(output: str, indexes: str) -> Failure:
    """The decisive part of what the engine printed. ``indexes`` is where packages were looked for, without secrets."""
    text = _joined(output)
    for pattern, explain in _RULES:
        match = pattern.search(text)
        if match:
            return explain(match, _Said(output, text, indexes))
    return Failure(f"packages could not be installed: {_reason(output)}", "The lines above say more")


@attrs.frozen
class _Said:
    output: str
    text: str
    indexes: str


def _because(cause: str, remedy: str, *, engine_only: bool = False) -> Callable[[re.Match[str], _Said], Failure]:
    def explain(_: re.Match[str], said: _Said) -> Failure:
        return Failure(f"{cause}: {_reason(said.output)}", remedy, engine_only=engine_only)

    return explain


def _at_place(cause: str, remedy: str, *, why: bool = False) -> Callable[[re.Match[str], _Said], Failure]:
    def explain(_: re.Match[str], said: _Said) -> Failure:
        urls = _URL.findall(said.text)
        where = f" ({urls[-1].rstrip(':.')})" if urls else ""
        reason = f": {_reason(said.output)}" if why else ""
        return Failure(f"{cause}{where}{reason}", remedy)

    return explain


def _git(_: re.Match[str], said: _Said) -> Failure:
    fatal = re.search(r"fatal: (.*)", said.output)
    return Failure(
        f"a git repository cannot be fetched: {fatal[1].strip() if fatal else _reason(said.output)}",
        "Check its URL and the agent's git credentials",
    )


def _python(match: re.Match[str], _: _Said) -> Failure:
    return Failure(
        f"package {match[2]} does not support this Python: {match[1]} does not satisfy {match[3]}",
        "Run the task with a Python that it supports (script.binary), or ask for another version of the package",
    )


def _absent(match: re.Match[str], said: _Said) -> Failure:
    return Failure(
        f'package "{match[1]}" does not exist in {said.indexes}',
        "Correct its name, or add the index that has it (agent.package_manager.extra_index_url)",
    )


def _no_version(match: re.Match[str], said: _Said) -> Failure:
    return Failure(
        f"package {match[1]} has no version {match[2]} for this machine in {said.indexes}",
        "Ask for a version that exists",
        package=match[1],
    )


def _only(match: re.Match[str], said: _Said) -> Failure:
    return Failure(
        f"package {match[2]} has no version {match[3]} for this machine in {said.indexes}; it has only {match[1]}",
        "Ask for a version that exists",
    )


def _from_versions(match: re.Match[str], said: _Said) -> Failure:
    versions = ", ".join(match[3].split(", ")[-5:])
    return Failure(
        f"package {match[1]} has no version {match[2]} for this machine in {said.indexes}; the last ones are {versions}",
        "Ask for a version that exists",
    )


def _build(match: re.Match[str], said: _Said) -> Failure:
    name = re.split(r"\s|@|==", (match[1] or match[2]).strip("`'"))[0].rstrip("/").rpartition("/")[2]
    return Failure(
        f"package {name} could not be built: {_error_line(said.output)}",
        "The lines above say what its build needs: often a compiler, headers, or a Python that there are wheels for",
    )


def _conflict(_: re.Match[str], said: _Said) -> Failure:
    caused = re.search(r"The conflict is caused by:\s*(.*?)\s*(?:To fix this|Additionally)", said.text)
    why = caused[1][:_LONGEST] if caused else _reason(said.output)
    return Failure(
        f"the packages contradict each other: {why}", "Loosen one of the versions that are named", conflict=True
    )


# In order: a place that cannot be reached makes "does not exist" unbelievable, so it comes first.
_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], _Said], Failure]], ...] = tuple(
    (re.compile(pattern), explain)
    for pattern, explain in (
        (r"No space left on device", _because("the disk is full", "Free some space on the disk of the environments")),
        (
            r"invalid peer certificate|CERTIFICATE_VERIFY_FAILED|certificate verify failed|UnknownIssuer",
            _at_place(
                "the certificate of an index is not trusted",
                "Name its certificate authority by cert in pip.conf, or PIP_CERT",
            ),
        ),
        (
            r"40[13] (?:Unauthorized|Forbidden|Error|Client Error)|lack of valid authentication",
            _at_place(
                "an index refuses the credentials", "Check user and password in its URL, in pip.conf or in ~/.netrc"
            ),
        ),
        (
            r"Git operation failed|fatal: .{0,300}(?:repository|unable to access|not read)|git clone .{0,300}did not run",
            _git,
        ),
        (
            _UNREACHABLE,
            _at_place(
                "an index cannot be reached",
                "Check the network, or name an index that this machine can reach (pip.conf, PIP_INDEX_URL)",
                why=True,
            ),
        ),
        (
            _OTHER_PYTHON,
            _python,
        ),
        (rf"{_NAME} was not found in the (?:package registry|provided package locations)", _absent),
        (rf"requirement {_NAME}[^()]*\(from versions: none\)", _absent),
        (rf"there (?:is|are) no versions? of {_NAME}\s*{_RANGE}", _no_version),
        (rf"only (\S+) (?:is|are) available and (?:you require|\S+ depends on) {_NAME}\s*{_RANGE}", _only),
        (rf"requirement {_NAME}\s*{_RANGE}[^()]*\(from versions: ([^)]*)\)", _from_versions),
        (r"Failed to (?:download and )?build ([`'][^`']+[`'])|Failed building wheel for (\S+)", _build),
        (r"ResolutionImpossible|[Rr]equirements are unsatisfiable", _conflict),
        (
            r"Couldn't parse requirement|Invalid requirement|Expected package name|unexpected argument",
            _because("a requirement is not understood", "Correct the line", engine_only=True),
        ),
    )
)

_DRAWN = re.compile("^[\\s\u2502\u2570\u2500\u25b6\u00d7]+")  # what older versions draw in front of their sentences
_CAUSE = re.compile(
    r"^\s*(?:[\u2570\u2500\u25b6 ]*\s)?(?:cause:|Caused by:|ERROR:|error:|\u2570\u2500\u25b6|\u00d7)\s*(.*)"
)
_ERROR_LINE = re.compile(r"^\s*(?:\u2570\u2500> )?((?:[\w.]*(?:Error|Exception)\b|error:|fatal:).*)")


def _joined(output: str) -> str:
    """``output`` on one line: resolvers wrap their sentences."""
    return " ".join(_DRAWN.sub("", line).strip() for line in output.splitlines())


def _reason(output: str) -> str:
    """The last cause that was named, with the lines that go on with it; else the last line."""
    lines = output.splitlines()
    for index in range(len(lines) - 1, -1, -1):
        match = _CAUSE.match(lines[index])
        if match:
            more = []
            for line in lines[index + 1 :]:
                if not re.match(r"\s{4,}\S", line):
                    break
                more.append(line)
            return _joined("\n".join([match[1], *more]))[:_LONGEST]
    return next((line.strip() for line in reversed(lines) if line.strip()), "it gave no reason")[:_LONGEST]


def _error_line(output: str) -> str:
    """The last line that looks like an error of a program: a build's own words."""
    found = [match[1] for line in output.splitlines() if (match := _ERROR_LINE.match(line))]
    return found[-1][:_LONGEST] if found else _reason(output)
