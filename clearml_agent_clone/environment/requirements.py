"""Requirements as the engine gets them: what cannot work on this machine is changed, and every change is noted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs

from clearml_agent_clone.environment.addresses import filled, missing
from clearml_agent_clone.environment.dialects import repaired, translated, unfit
from clearml_agent_clone.environment.lines import Line

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_PLAIN = re.compile(
    rf"(?P<name>{_NAME})\s*(?P<extras>\[[^\]]*\])?\s*"
    r"(?P<versions>\(?\s*(?:(?:===|==|~=|!=|<=|>=|<|>)\s*[^\s,;()=<>!~]+\s*,?\s*)*\)?)\s*"
    r"(?P<marker>;.*?)?\s*(?P<options>(?:--(?:hash|global-option|install-option|config-settings?)[=\s]|-C).*)?$",
    re.DOTALL,
)
_DIRECT = re.compile(rf"({_NAME})\s*(\[[^\]]*\])?\s*@\s*(\S+)\s*(;.*)?$", re.DOTALL)
_PIN = re.compile(r"={2,3}\s*([^\s,;*()]+)$")
_VCS = re.compile(r"(git|hg|svn|bzr)\+")
_REMOTE = re.compile(r"(?:git|hg|svn|bzr)\+|https?://|ftps?://")
_GIT_FOR_UV = re.compile(r"git\+(?:https?|ssh|file)://")
_COMMIT = re.compile(r"@[0-9a-f]{40}(?:$|[#?])")
_EGG = re.compile(r"#(?:.*&)?egg=([A-Za-z0-9._-]+(?:\[[^\]]*\])?)")
_BRANCH_ARCHIVE = re.compile(
    r"https?://(?:www\.)?git(?:hub|lab)\.[^/]+/.+/(?:archive|zipball|tarball)/"
    r"(?!refs/tags/|v?\d[\w.+-]*\.(?:zip|tar)|[0-9a-f]{40}\b)"
)
_SEPARATORS = re.compile(r"[-_.]+")
_EXTRAS = re.compile(r"(.*?)(\[[^\]]*\])?$", re.DOTALL)
_ONE_SYSTEM = re.compile(r"sys_platform|platform_system|os_name")
_PIP_ONLY = re.compile(r"(--(?:global-option|install-option|config-settings?)|-C)")
_AROUND_OPERATOR = re.compile(r"\s*(===|~=|==|!=|<=|>=|<|>|;|\(|\))\s*")
_PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")


@attrs.frozen
class Requirement:
    """One line for the engine.

    Args:
        text: the line.
        name: the package in normal form; empty where only the engine can tell.
        pin: the exact version that is asked for; empty for anything else.
        fixed: the line alone decides what is installed, apart from the index's answers. A folder or a branch does not.
        pip_only: what in it only pip understands; empty when uv does too.
        hashed: it says what its files must be.
    """

    text: str
    name: str = ""
    pin: str = ""
    fixed: bool = True
    pip_only: str = ""
    hashed: bool = False


@attrs.frozen
class _Place:
    """Where relative paths lead, and what variables there are."""

    root: Path | None
    folder: Path | None
    environ: Mapping[str, str]


def normal(name: str) -> str:
    """``name`` as indexes compare it: lower case, runs of ``-_.`` as one dash."""
    return _SEPARATORS.sub("-", name).lower()


def pinned(text: str) -> tuple[str, str]:
    """Normal name and exact version that ``text`` asks for, whatever the machine; empty where it does not."""
    plain = _PLAIN.match(text)
    return (normal(plain["name"]), _exact(plain["versions"])) if plain and not plain["marker"] else ("", "")


@lru_cache(maxsize=2048)  # asked for each line more than once in a plan
def canonical(text: str) -> str:
    """``text`` in the one form of all lines that mean the same: SDKs and people set names and blanks differently."""
    plain = _PLAIN.match(text)
    if plain is None:
        return " ".join(text.split())
    extras = sorted(normal(extra.strip()) for extra in (plain["extras"] or "[]")[1:-1].split(",") if extra.strip())
    versions = sorted(set(filter(None, ("".join(plain["versions"].split()).strip("()")).split(","))))
    marker = _AROUND_OPERATOR.sub(r"\1", " ".join((plain["marker"] or "").replace('"', "'").split()))
    options = " ".join(sorted((plain["options"] or "").split()))
    return f"{normal(plain['name'])}[{','.join(extras)}]{','.join(versions)}{marker} {options}".strip()


def rewrite(line: Line, root: Path | None, environ: Mapping[str, str] | None = None) -> tuple[Requirement | None, str]:
    """The requirement that ``line`` stands for, and a note when it is not used as it stands.

    Addresses keep their ``${NAME}``, which the engine fills in: nothing secret gets into what is shown.

    Args:
        line: a package line.
        root: the checkout, where relative paths lead; None when there is none.
        environ: the variables for ``${NAME}``.
    """
    if line.remote:
        return Requirement(f"{'-r' if line.option == '--requirement' else '-c'} {line.value}", fixed=False), ""
    place = _Place(root, line.folder, environ or {})
    written = line.value if line.option else line.text
    text, why = translated(written)
    if why and not text:
        return None, f"{line.origin}: {line.text}: {why}"
    requirement, note = (_editable if line.option == "--editable" else _read)(text, place)
    if why and note:
        note = f"used as {text}, {why}; {note}"
    elif why:
        note = f"used as {text}, {why}"
    unset = missing(requirement.text, place.environ) if requirement is not None else []
    if unset:
        note = f"{note}; " if note else ""
        note += f"{', '.join(unset)} {'is' if len(unset) == 1 else 'are'} not set on this machine"
    return requirement, f"{line.origin}: {line.text}: {note}" if note else ""


def _read(text: str, place: _Place) -> tuple[Requirement | None, str]:
    direct = _DIRECT.match(text)
    if direct:
        return _direct(text, direct, place)
    plain = _PLAIN.match(filled(text, place.environ))
    if plain:
        return _plain(plain)
    if _REMOTE.match(text):
        egg = _EGG.search(text)
        return _remote(text, normal(egg[1].partition("[")[0]) if egg else ""), ""
    if text.startswith(("file:", ".", "~")) or "/" in text or text.endswith((".whl", ".zip", ".gz")):
        return _local(text, "", place)
    return Requirement(text), _unknown(text)


def _plain(plain: re.Match[str]) -> tuple[Requirement | None, str]:
    name, marker, options = normal(plain["name"]), plain["marker"] or "", plain["options"] or ""
    reason = unfit(name)
    if reason and not _ONE_SYSTEM.search(marker):
        return None, f"left out, {reason}"
    versions = repaired(plain["versions"])
    text = plain[0] if versions == plain["versions"] else _with_versions(plain, versions)
    foreign = _PIP_ONLY.search(options)
    requirement = Requirement(
        text, name, _exact(versions), pip_only=foreign[1] if foreign else "", hashed="--hash" in options
    )
    return requirement, f"used as {text}, the standard forbids it otherwise" if text != plain[0] else ""


def _with_versions(plain: re.Match[str], versions: str) -> str:
    start, end = plain.span("versions")
    return plain[0][:start] + versions + plain[0][end:]


def _exact(versions: str) -> str:
    pin = _PIN.search(versions.strip(" ()"))
    return pin[1] if pin and "," not in versions else ""


def _remote(text: str, name: str, url: str = "") -> Requirement:
    url = url or text
    pip_only = url.partition("://")[0] + "://" if _VCS.match(url) and not _GIT_FOR_UV.match(url) else ""
    return Requirement(text, name, fixed=_is_fixed(url), pip_only=pip_only)


def _is_fixed(url: str) -> bool:
    """Whether what ``url`` leads to stays the same: a file is taken to, a branch is not."""
    if _VCS.match(url):
        return bool(_COMMIT.search(url))
    return not _BRANCH_ARCHIVE.match(url)


def _direct(text: str, match: re.Match[str], place: _Place) -> tuple[Requirement | None, str]:
    name, extras, url, marker = match[1], match[2] or "", match[3], match[4] or ""
    if _REMOTE.match(url):
        return _remote(text, normal(name), url), ""
    there = _path(url, place)
    if there is None or not _exists(there):
        reason = unfit(normal(name))
        if reason:
            return None, f"left out, {reason}"
        text = f"{name}{extras}{' ' + marker if marker else ''}"
        return Requirement(text, normal(name)), f"used as {text}, the file is not here"
    text = f"{name}{extras} @ {there.as_uri()}{' ' + marker if marker else ''}"
    return Requirement(text, normal(name), fixed=False), ""


def _editable(value: str, place: _Place) -> tuple[Requirement | None, str]:
    if not _VCS.match(value) and "://" not in value.split("[", maxsplit=1)[0].replace("file://", ""):
        return _local(value, "-e ", place)
    # Editable only changes where the copy lies; from a repository it is the same code, and can be kept.
    text, name = value, ""
    egg = _EGG.search(value)
    if egg and _VCS.match(value):
        text = f"{egg[1]} @ {value.partition('#')[0]}{_fragment(value)}"
        name = normal(egg[1].partition("[")[0])
    return _remote(text, name, value), "installed, not linked to a working copy"


def _fragment(url: str) -> str:
    kept = [part for part in url.partition("#")[2].split("&") if part and not part.startswith("egg=")]
    return "#" + "&".join(kept) if kept else ""


def _local(value: str, prefix: str, place: _Place) -> tuple[Requirement | None, str]:
    spec, _, marker = value.partition(" ;")
    match = _EXTRAS.match(spec.strip())
    assert match is not None  # both parts of the pattern may be empty
    there = _path(match[1].strip(), place)
    if there is None:
        return None, "left out, there is no checkout that it could be in"
    if not _exists(there):
        return None, "left out, it is not there" if "${" in value else f"left out, there is no {there}"
    text = f"{prefix}{there}{match[2] or ''}{' ;' + marker if marker else ''}"
    return Requirement(text, fixed=False), ""


def _path(value: str, place: _Place) -> Path | None:
    value = filled(value, place.environ)
    if value.startswith("file:"):
        try:
            value = unquote(urlsplit(value).path) if value.startswith("file:/") else unquote(value[5:])
        except ValueError:  # no address: brackets that do not match
            return None
    value = value.partition("#")[0]
    if "\0" in value:
        return None
    path = Path(value).expanduser() if value.startswith("~/") else Path(value)
    if path.is_absolute():
        return path
    if place.root is None:
        return None
    places = [(base / path).resolve() for base in dict.fromkeys((place.root, place.folder or place.root))]
    # pip takes the folder that it runs in, which is the root; a list further down may mean what is beside it.
    return next((there for there in places if _is_project(there)), next(filter(_exists, places), places[0]))


def _is_project(path: Path) -> bool:
    return any(_exists(path / name) for name in _PROJECT_FILES)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or no name at all
        return False


def _unknown(text: str) -> str:
    import packaging.requirements as known  # noqa: PLC0415 - rare, and slow to import

    try:
        known.Requirement(text)
    except known.InvalidRequirement:
        return "not understood, passed on as it is"
    return ""
