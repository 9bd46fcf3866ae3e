"""Read from what uv or pip said why packages could not be installed, and say it in one line with one next step."""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

from clearml_agent_clone.environment.build_failures import build_failure
from clearml_agent_clone.environment.model import masked
from clearml_agent_clone.environment.said import RANGE, Said, in_one_line, last_cause
from clearml_agent_clone.errors import UserError

_NAME = r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\[[^\]]*\])?"
_URL = re.compile(r"https?://[^\s`'\"()<>,]+")
_TOO_MUCH = (-9, 137)


@attrs.frozen
class Failure:
    """Why an installation failed.

    Args:
        message: the cause, in one line.
        remedy: one next step.
        kind: a stable word for the cause, such as ``disk-full``.
        command: what was run, for the console.
        package: the package that it is about; empty where it is about none.
        list_versions: what versions of ``package`` there are was not said, and is worth asking.
        conflict: the requirements contradict each other.
        engine_only: another engine may well succeed.
        transient: the same may succeed in a moment.
    """

    message: str
    remedy: str = ""
    kind: str = "other"
    command: str = ""
    package: str = ""
    list_versions: bool = False
    conflict: bool = False
    engine_only: bool = False
    transient: bool = False

    def error(self, newest: str = "") -> UserError:
        """As an error, with the ``newest`` version that there is of ``package``."""
        more = f"; the newest one there is {newest}" if newest else ""
        return UserError(masked(f"{self.message}{more}"), remedy=self.remedy, code="packages-failed")


def diagnose(output: str, indexes: str, exit_code: int = 1) -> Failure:
    """The decisive part of what the engine printed.

    Args:
        output: what it printed.
        indexes: where packages were looked for, without secrets.
        exit_code: negative when a signal ended it.
    """
    said = Said(output, in_one_line(output), indexes)
    for kind, pattern, explain in _RULES:
        match = pattern.search(said.text)
        if match:
            return attrs.evolve(explain(match, said), kind=kind)
    if exit_code in _TOO_MUCH:
        return attrs.evolve(_killed(None, said), kind="killed")
    return Failure(f"packages could not be installed: {last_cause(output)}", "The lines above say more")


_Explain = Callable[[re.Match[str], Said], Failure]


def _because(cause: str, remedy: str, *, engine_only: bool = False) -> _Explain:
    def explain(_: re.Match[str], said: Said) -> Failure:
        return Failure(f"{cause}: {last_cause(said.output)}", remedy, engine_only=engine_only)

    return explain


def _at_place(cause: str, remedy: str, *, why: bool = False, transient: bool = False) -> _Explain:
    def explain(match: re.Match[str], said: Said) -> Failure:
        urls = [url.group().rstrip(":.") for url in _URL.finditer(said.text)]
        before = [url.group().rstrip(":.") for url in _URL.finditer(said.text, 0, match.end())]
        place = (before or urls or [""])[-1]
        reason = f": {_network_cause(said)}" if why else ""
        return Failure(f"{cause}{f' ({place})' if place else ''}{reason}", remedy, transient=transient)

    return explain


_NETWORK_CAUSE = re.compile(
    r"Connection refused(?: \(os error \d+\))?|Name or service not known|Failed to resolve IP address[^()]{0,80}|Temporary failure in name resolution"
    r"|No route to host(?: \(os error \d+\))?|Network is unreachable(?: \(os error \d+\))?|operation timed out"
    r"|Read timed out|timed out|Connection reset by peer(?: \(os error \d+\))?|dns error|proxy\w* [^\n]{0,80}"
)


def _network_cause(said: Said) -> str:
    cause = last_cause(said.output)
    known = _NETWORK_CAUSE.findall(said.text)
    return known[-1] if known and not _NETWORK_CAUSE.search(cause) else cause.partition(" for url")[0]


def _killed(_: re.Match[str] | None, said: Said) -> Failure:
    name = re.search(r"Failed to build [`']([^`'@=\s]+)|generating package metadata\. (\S+)", said.text)
    what = f"the build of package {name[1] or name[2]}" if name else "the installation"
    return Failure(
        f"{what} was killed, most likely because the memory was used up",
        "Give the task more memory, or take a version that there is a wheel for",
    )


def _not_trusted(match: re.Match[str], _: Said) -> Failure:
    return Failure(
        f"pip takes nothing from {match[1]}, because it is an index by plain http",
        "Use https, or name the host by trusted-host in pip.conf or PIP_TRUSTED_HOST",
    )


def _git(_: re.Match[str], said: Said) -> Failure:
    fatal = re.search(r"fatal: (.*)", said.output)
    return Failure(
        f"a git repository cannot be fetched: {fatal[1].strip() if fatal else last_cause(said.output)}",
        "Check its URL and the agent's git credentials",
    )


def _python(match: re.Match[str], _: Said) -> Failure:
    return Failure(
        f"package {match[2]} does not support this Python: {match[1]} does not satisfy {match[3]}",
        "Run the task with a Python that it supports (script.binary), or ask for another version of the package",
        package=match[2].partition("==")[0],
    )


def _python_by_pip(match: re.Match[str], _: Said) -> Failure:
    return Failure(
        f"package {match[3]}{match[4]} does not support this Python: {match[1]} needs {match[2]}",
        "Run the task with a Python that it supports (script.binary), or ask for another version of the package",
        package=match[3],
    )


def _python_tag(match: re.Match[str], said: Said) -> Failure:
    tags = re.search(r"with the following [^:]+ tags?: (`[^`]+`(?:, `[^`]+`)*)", said.text)
    there = f"; there are files for {tags[1].replace('`', '')}" if tags else ""
    return Failure(
        f"package {match[1]} has no file that fits this {'Python' if 'Python' in match[2] else 'machine'}{there}",
        "Ask for a version that there are files for, or run the task with another Python (script.binary)",
        package=match[1].partition("==")[0],
    )


def _absent(match: re.Match[str], said: Said) -> Failure:
    return Failure(
        f'package "{match[1]}" does not exist in {said.indexes}{_wanted_by(match[1], said)}',
        "Correct its name, or add the index that has it (agent.package_manager.extra_index_url)",
        package=match[1],
    )


def _none_for_pip(match: re.Match[str], said: Said) -> Failure:
    other = re.findall(r"none of the wheel's tags \(([^)]*)\) are compatible", said.text)
    if other:
        return Failure(
            f"package {match[1]} has no file that fits this Python and machine; there are files for {other[-1]}",
            "Ask for a version that there are files for, or run the task with another Python (script.binary)",
            package=match[1],
        )
    if not match[2]:
        return _absent(match, said)
    return Failure(
        f"package {match[1]} has no version {match[2]} for this machine in {said.indexes}; there may be none at all",
        "Ask for a version that exists, or add the index that has it (agent.package_manager.extra_index_url)",
        package=match[1],
        list_versions=True,
    )


def _no_version(match: re.Match[str], said: Said) -> Failure:
    return Failure(
        f"package {match[1]} has no version {match[2]} for this machine in {said.indexes}{_wanted_by(match[1], said)}",
        "Ask for a version that exists",
        package=match[1],
        list_versions=True,
    )


def _only(match: re.Match[str], said: Said) -> Failure:
    return Failure(
        f"package {match[3]} has no version {match[4]} for this machine in {said.indexes}; it has only {match[1]}",
        "Ask for a version that exists",
        package=match[3],
    )


def _from_versions(match: re.Match[str], said: Said) -> Failure:
    versions = ", ".join(match[3].split(", ")[-5:])
    return Failure(
        f"package {match[1]} has no version {match[2]} for this machine in {said.indexes}; the last ones are {versions}",
        "Ask for a version that exists",
        package=match[1],
    )


def _wanted_by(name: str, said: Said) -> str:
    """Who asks for ``name``, where it is another package."""
    match = re.search(rf"([A-Za-z0-9][\w.-]*(?:==[\w.]+)?) depends on {re.escape(name)}\b", said.text)
    return f" (needed by {match[1]})" if match else ""


def _build(_: re.Match[str], said: Said) -> Failure:
    message, remedy, name = build_failure(said)
    return Failure(message, remedy, package=name)


def _hash(match: re.Match[str], said: Said) -> Failure:
    name = match[1] or (
        found[1] if (found := re.search(r"(\S+) from https?://\S+.{0,300}?: Expected sha256", said.text)) else ""
    )
    return Failure(
        f"the file of package {name} is not the one whose hash was recorded",
        "Remove its hash if the file was replaced on purpose; else the index, or a proxy on the way, changed the file",
        package=name.partition("==")[0],
    )


_CLAIM = re.compile(
    rf"(?:(?:all versions of )?([A-Za-z0-9][\w.-]*(?:[=<>!~]=?[\w.*]+| \d[\w.]*)?) depends? on |"
    rf"(you require |The user requested (?:\(constraint\) )?)){_NAME}\s*{RANGE}"
)


def _conflict(_: re.Match[str], said: Said) -> Failure:
    claims: dict[str, dict[str, str]] = {}
    for match in _CLAIM.finditer(said.text):
        by = "the task asks for" if match[2] else f"{match[1]} needs"
        claims.setdefault(match[3].lower(), {})[by] = f"{by} {match[3]}{match[4]}"
    pairs = [list(found.values()) for found in claims.values() if len(found) > 1]
    why = " and ".join(pairs[0]) if pairs else last_cause(said.output)
    return Failure(f"the packages contradict each other: {why}", "Loosen one of the two", conflict=True)


_OTHER_PYTHON = (
    r"current Python version \(([\d.]+)\) does not satisfy \S+ and (\S+) depends on (\S+), we can conclude that "
    r"\2 cannot be used\.\s+And because (?:only \S+ (?:is|are) available and )?you require \2"
)

# In order. What stopped everything comes first, then what makes "does not exist" unbelievable, then what the
# resolver said.
_RULES: tuple[tuple[str, re.Pattern[str], _Explain], ...] = tuple(
    (kind, re.compile(pattern), explain)
    for kind, pattern, explain in (
        (
            "disk-full",
            r"No space left on device|Disk quota exceeded",
            _because("the disk is full", "Free some space on the disk of the environments and of the download cache"),
        ),
        ("killed", r"signal: 9 |exit code: -9\b|Killed signal terminated program", _killed),
        (
            "git",
            r"Git operation failed|fatal: .{0,300}(?:repository|unable to access|not read)|git clone .{0,300}did not run",
            _git,
        ),
        (
            "build",
            (
                r"Failed to (?:download and )?build [`'](?!.{0,200}Failed to resolve requirements)|Failed building wheel for "
                r"|metadata-generation-failed|subprocess-exited-with-error|Failed to build installable wheels"
            ),
            _build,
        ),
        (
            "tls",
            r"invalid peer certificate|CERTIFICATE_VERIFY_FAILED|certificate verify failed|UnknownIssuer",
            _at_place(
                "the certificate of an index is not trusted",
                "Name its certificate authority by cert in pip.conf, or PIP_CERT",
            ),
        ),
        (
            "auth",
            r"40[13] (?:Unauthorized|Forbidden|Error|Client Error)|lack of valid authentication",
            _at_place(
                "an index refuses the credentials", "Check user and password in its URL, in pip.conf or in ~/.netrc"
            ),
        ),
        (
            "not-trusted",
            r"repository located at (\S+) is not a trusted or secure host and is being ignored",
            _not_trusted,
        ),
        (
            "timeout",
            r"operation timed out|didn't respond within|[Rr]ead timed out|ReadTimeout|ConnectTimeout|connect(?:ion)? timed out|request timed out",
            _at_place(
                "an index does not answer",
                "Check the network, or name an index that answers; PIP_DEFAULT_TIMEOUT sets how long to wait",
            ),
        ),
        (
            "server-error",
            r"(?:HTTP status server error|HTTP error) \(?5\d\d|: 5\d\d Server Error|too many 5\d\d error",
            _at_place("an index has a fault of its own", "Try again later", why=True, transient=True),
        ),
        (
            "cut-off",
            (
                r"Connection reset|without a reply|connection closed before|ConnectionResetError|RemoteDisconnected|end of file before message"
                r"|incomplete-download|IncompleteRead|broken pipe|error decoding response body|unexpected end of file"
            ),
            _at_place("the connection to an index breaks off", "Try again later", transient=True),
        ),
        (
            "file-missing",
            r"HTTP (?:status client error|error) \(?(?:404|410)[^`]{0,60}?https?://\S+\.(?:whl|gz|zip|bz2)",
            _at_place(
                "a file that an index names is not there", "Ask for another version, or repair the index", why=False
            ),
        ),
        (
            "unreachable",
            (
                r"Failed to fetch|error sending request|Connection refused|dns error|Max retries exceeded|"
                r"NewConnectionError|NameResolutionError|Failed to establish a new connection|connection error: "
            ),
            _at_place(
                "an index cannot be reached",
                "Check the network, or name an index that this machine can reach (pip.conf, PIP_INDEX_URL)",
                why=True,
            ),
        ),
        ("hash", r"Hash mismatch for [`']([^`']+)[`']|DO NOT MATCH THE HASHES()", _hash),
        ("python", _OTHER_PYTHON, _python),
        ("no-file", rf"{_NAME}(?:==\S+)? has no wheels with a matching ([\w ]+?) tag", _python_tag),
        ("absent", rf"{_NAME} was not found in the (?:package registry|provided package locations)", _absent),
        (
            "python",
            (
                rf"require a different python version: (\S+) Requires-Python (.+?)(?:;| ERROR:).{{0,2000}}?"
                rf"requirement {_NAME}\s*({RANGE}|)[^()]*\(from versions:"
            ),
            _python_by_pip,
        ),
        (
            "absent",
            rf"requirement {_NAME}\s*(?:{RANGE})?[^()]*(?:\(from [^)]*\)[^()]*)*\(from versions: none\)",
            _none_for_pip,
        ),
        ("no-version", rf"there (?:is|are) no versions? of {_NAME}\s*{RANGE}", _no_version),
        (
            "no-version",
            rf"only (([\w.-]+)[=<>!~]\S*) (?:is|are) available and (?:you require|\S+ depends on) (?=\2\b){_NAME}\s*{RANGE}",
            _only,
        ),
        ("no-version", rf"requirement {_NAME}\s*{RANGE}[^()]*\(from versions: ([^)]*)\)", _from_versions),
        ("conflict", r"ResolutionImpossible|[Rr]equirements are unsatisfiable", _conflict),
        (
            "not-understood",
            (
                r"Couldn't parse requirement|Failed to parse|Invalid requirement|Expected package name|unexpected argument"
                r"|invalid value '[^']*' for '--"
            ),
            _because("a requirement is not understood", "Correct the line", engine_only=True),
        ),
    )
)
