"""What came of an attempt to install conda packages, read from what the program said."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from clearml_agent_clone.environment.conda.secrets import shown
from clearml_agent_clone.environment.conda.specs import Spec, read_spec
from clearml_agent_clone.environment.failures import diagnose
from clearml_agent_clone.errors import UserError

_LONGEST = 600
_TREE = re.compile(r"[\s\u2500-\u257f]+")
# "foo does not exist (perhaps a typo or a missing channel)" of the mambas; what somebody else requires "which does not
# exist" is another matter.
# "nothing provides requested foo 1.2" of libmamba inside conda.
_ABSENT = re.compile(
    r"(?:[\u2500-\u257f]\s*|^[ \t]*)(?P<tree>[\w.-]+[^\n]*?)(?<!which) (?:does|do) not exist"
    r"|nothing provides requested (?P<asked>[^\n]+)"
    r"|No candidates were found for (?P<rattler>[^\n]+?)\.?$",
    re.MULTILINE,
)
# conda's own list below "ResolvePackageNotFound:" and "PackagesNotFoundError: ..."
_LISTED = re.compile(r"(?:ResolvePackageNotFound|PackagesNotFoundError):[^\n]*\n(?P<items>(?:[ \t]*(?:-[^\n]*)?\n)+)")
_CONFLICT = re.compile(
    r"(?:UnsatisfiableError|LibMambaUnsatisfiableError|Could not solve for environment specs|"
    r"following packages? (?:are incompatible|could not be installed|conflicts?))"
)
_UNREACHABLE = re.compile(
    r"CondaHTTPError|CondaSSLError|UnavailableInvalidChannel|ProxyError|HTTP 000|Could ?n.t resolve host|"
    r"[Dd]ownload error|Could not (?:resolve|connect)|error sending request|could not find subdir|"
    r"Failed to (?:download|fetch|retrieve|open)|dns error|status (?:client|server) error|404 Not Found|40[13] "
)
_URL = re.compile(r"(?:https?|file)://[^\s'\"<>()\]]+")


@attrs.frozen
class Outcome:
    """What came of it.

    Args:
        ok: everything is installed.
        absent: names of packages that no channel has.
        unmatched: names of packages that are there, but not as asked → the versions that there are, where known.
        reason: why the packages do not go together, in one line.
        error: nothing that another choice of packages would help against.
        note: what else there is to say.
    """

    ok: bool = False
    absent: tuple[str, ...] = ()
    unmatched: Mapping[str, str] = attrs.Factory(dict)
    reason: str = ""
    error: UserError | None = None
    note: str = ""


def read_report(output: str, last_line: str) -> Outcome:
    """What the child with py-rattler reports on its stdout; ``last_line`` is what it said last when it broke."""
    try:
        data: dict[str, Any] = json.loads(output)
    except ValueError:
        return Outcome(error=_failed(f"the installer of conda packages broke: {last_line[:_LONGEST]}"))
    kind, text = data.get("kind", ""), str(data.get("text", ""))
    if kind == "ok":
        return Outcome(ok=True, note=str(data.get("note", "")))
    if kind == "unsatisfiable":
        unmatched = {str(name): str(there) for name, there in dict(data.get("unmatched") or {}).items()}
        return Outcome(absent=tuple(map(str, data.get("absent") or ())), unmatched=unmatched, reason=joined(text))
    return Outcome(error=_cause(text, kind))


def read_output(output: str, specs: Sequence[Spec]) -> Outcome:
    """What micromamba, mamba or conda meant by ``output``."""
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output)
    named = [match["tree"] or match["asked"] or match["rattler"] for match in _ABSENT.finditer(text)]
    for listed in _LISTED.finditer(text):
        named += [line.strip().removeprefix("-") for line in listed["items"].splitlines()]
    names = [spec.name for item in named if (spec := read_spec(item.strip(), loose=False))]
    by_name = {spec.name: spec for spec in specs}
    asked = [name for name in dict.fromkeys(names) if name in by_name]
    if asked:
        plain = [name for name in asked if not by_name[name].version and not by_name[name].build]
        return Outcome(
            absent=tuple(plain),
            unmatched={name: "" for name in asked if name not in plain},
            reason=_reason(text),
        )
    if _UNREACHABLE.search(text) and not _CONFLICT.search(text):
        return Outcome(error=_cause(text, "unreachable"))
    if _CONFLICT.search(text):
        return Outcome(reason=_reason(text))
    return Outcome(error=_cause(text, ""))


def _cause(text: str, kind: str) -> UserError:
    if "No space left on device" in text or "os error 28" in text:
        return diagnose("No space left on device", "").error()
    if kind == "spec":
        return UserError(joined(text), remedy="Write it as conda does: name=1.2", code="packages-failed")
    if kind in {"gateway", "unreachable"} or _UNREACHABLE.search(text):
        urls = _URL.findall(text)
        where = f" ({shown(urls[0].rstrip('.,:'))})" if urls else ""
        return UserError(
            f"a conda channel cannot be reached{where}: {shown(_reason(text))}",
            remedy="Check the network, or name channels that this machine can reach (agent.package_manager.conda_channels)",
            code="packages-failed",
        )
    return _failed(f"conda packages could not be installed: {shown(_reason(text))}")


def _failed(message: str) -> UserError:
    return UserError(message, remedy="The lines above say more", code="packages-failed")


def _reason(text: str) -> str:
    """From the first line that tells, on one line; else the last line."""
    match = _CONFLICT.search(text) or _UNREACHABLE.search(text) or re.search(r"(?:error|Error)\b", text)
    if match:
        start = text.rfind("\n", 0, match.start()) + 1
        return joined(text[start:])
    return joined(next((line for line in reversed(text.splitlines()) if line.strip()), "it gave no reason"))


def joined(text: str) -> str:
    """``text`` on one line, without the lines that solvers draw."""
    return _TREE.sub(" ", text).strip()[:_LONGEST]
