"""Requirements as the engine gets them: what cannot work on this machine is changed, and every change is noted."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs

from clearml_agent_clone.environment.lines import Line

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_PLAIN = re.compile(
    rf"({_NAME})\s*(\[[^\]]*\])?\s*"
    r"(\(?\s*(?:(?:===|==|~=|!=|<=|>=|<|>)\s*[^\s,;()=<>!~]+\s*,?\s*)*\)?)\s*"
    r"(;.*?)?\s*((?:--(?:hash|global-option|install-option|config-settings)[=\s].*)?)$",
    re.DOTALL,
)
_DIRECT = re.compile(rf"({_NAME})\s*(\[[^\]]*\])?\s*@\s*(\S+)\s*(;.*)?$", re.DOTALL)
_PIN = re.compile(r"={2,3}\s*([^\s,;*()]+)$")
_VCS = re.compile(r"(git|hg|svn|bzr)\+")
_REMOTE = re.compile(r"(?:git|hg|svn|bzr)\+|https?://|ftps?://")
_COMMIT = re.compile(r"@[0-9a-f]{40}(?:$|[#?])")
_EXTRAS = re.compile(r"(.*?)(\[[^\]]*\])?$", re.DOTALL)


@attrs.frozen
class Requirement:
    """One line for the engine.

    Args:
        text: the line.
        name: the package in normal form; empty where only the engine can tell.
        pin: the exact version that is asked for; empty for anything else.
        fixed: the line alone decides what is installed, apart from the index's answers. A folder or a branch does not.
    """

    text: str
    name: str = ""
    pin: str = ""
    fixed: bool = True


def normal(name: str) -> str:
    """``name`` as indexes compare it: lower case, runs of ``-_.`` as one dash."""
    return re.sub(r"[-_.]+", "-", name).lower()


def rewrite(line: Line, root: Path | None) -> tuple[Requirement | None, str]:
    """The requirement that ``line`` stands for, and a note when it is not used as it stands.

    Args:
        line: a package line.
        root: the checkout, where relative paths lead; None when there is none.
    """
    if line.option == "--editable":
        return _editable(line, root)
    direct = _DIRECT.match(line.text)
    if direct:
        return _direct(line, direct, root)
    plain = _PLAIN.match(line.text)
    if plain:
        pin = _PIN.search(plain[3].strip(" ()"))
        exact = pin[1] if pin and "," not in plain[3] else ""
        return Requirement(line.text, normal(plain[1]), exact), ""
    if _REMOTE.match(line.text):
        return Requirement(line.text, fixed=_is_fixed(line.text)), ""
    if line.text.startswith(("file:", ".", "~")) or "/" in line.text or line.text.endswith((".whl", ".zip", ".gz")):
        return _local(line, line.text, "", root)
    return Requirement(line.text, fixed=True), _unknown(line)


def _is_fixed(url: str) -> bool:
    """Whether what ``url`` leads to stays the same: a file is taken to, a branch is not."""
    return not _VCS.match(url) or bool(_COMMIT.search(url))


def _direct(line: Line, match: re.Match[str], root: Path | None) -> tuple[Requirement | None, str]:
    name, extras, url, marker = match[1], match[2] or "", match[3], match[4] or ""
    if _REMOTE.match(url):
        return Requirement(line.text, normal(name), fixed=_is_fixed(url)), ""
    place = _place(url, root)
    if place is None or not place.exists():
        text = f"{name}{extras}{' ' + marker if marker else ''}"
        return Requirement(text, normal(name)), f"{line.origin}: {line.text}: used as {text}, the file is not here"
    text = f"{name}{extras} @ {place.as_uri()}{' ' + marker if marker else ''}"
    return Requirement(text, normal(name), fixed=False), ""


def _editable(line: Line, root: Path | None) -> tuple[Requirement | None, str]:
    if _VCS.match(line.value) or "://" in line.value.split("[")[0].replace("file://", ""):
        # Editable only changes where the copy lies; from a repository it is the same code, and can be kept.
        text = line.value
        egg = re.search(r"#(?:.*&)?egg=([A-Za-z0-9._-]+(?:\[[^\]]*\])?)", text)
        if egg and _VCS.match(text):
            text = f"{egg[1]} @ {text.split('#')[0]}{_fragment(text)}"
        fixed = bool(_COMMIT.search(line.value))
        return Requirement(text, normal(egg[1].split("[")[0]) if egg else "", fixed=fixed), (
            f"{line.origin}: {line.text}: installed, not linked to a working copy"
        )
    return _local(line, line.value, "-e ", root)


def _fragment(url: str) -> str:
    kept = [part for part in url.partition("#")[2].split("&") if part and not part.startswith("egg=")]
    return "#" + "&".join(kept) if kept else ""


def _local(line: Line, value: str, prefix: str, root: Path | None) -> tuple[Requirement | None, str]:
    spec, _, marker = value.partition(" ;")
    match = _EXTRAS.match(spec.strip())
    assert match is not None  # both parts of the pattern may be empty
    place = _place(match[1].strip(), root)
    if place is None:
        return None, f"{line.origin}: {line.text}: left out, there is no checkout that it could be in"
    if not place.exists():
        return None, f"{line.origin}: {line.text}: left out, there is no {place}"
    text = f"{prefix}{place}{match[2] or ''}{' ;' + marker if marker else ''}"
    return Requirement(text, fixed=False), ""


def _place(value: str, root: Path | None) -> Path | None:
    if value.startswith("file:"):
        value = unquote(urlsplit(value).path) if value.startswith(("file:///", "file:/")) else unquote(value[5:])
    value = value.partition("#")[0]
    if "\0" in value:
        return None
    path = Path(value).expanduser() if value.startswith("~/") else Path(value)
    if path.is_absolute():
        return path
    return (root / path).resolve() if root is not None else None


def _unknown(line: Line) -> str:
    import packaging.requirements as known  # noqa: PLC0415 - rare, and slow to import

    try:
        known.Requirement(line.text)
    except known.InvalidRequirement:
        return f"{line.origin}: {line.text}: not understood, passed on as it is"
    return ""
