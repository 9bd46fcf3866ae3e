"""What is in an environment, and how it is recorded with the task."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment.addresses import at_revision, bare, filled, shareable, without_secrets
from clearml_agent_clone.environment.lines import Line
from clearml_agent_clone.environment.requirements import normal

# The tools that every environment gets; they are the task's own only when it asks for them.
HEADER = re.compile(r"#\s*Python\s+(\d+\.\d+)", re.IGNORECASE)
"""What the SDK writes above the packages of a task."""

_LINKED = "-e "
_PLACES = frozenset({"--index-url", "--extra-index-url", "--find-links", "--no-index", "--trusted-host"})
_TOOLS = frozenset({"pip", "setuptools", "wheel", "distribute"})
_HIDDEN = frozenset({"clearml-agent", "clearml-agent-clone"})


def list_installed(
    folders: Iterable[Path | str], asked: Iterable[str], root: Path | None, written: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """The packages in ``folders`` as ``pip freeze`` would list them, sorted by name.

    Args:
        folders: ``site-packages`` folders; of two copies the first counts.
        asked: normal names of the packages that the task asks for itself.
        root: the checkout; what was installed from inside it is listed relative to it, so that a clone of the task
            finds it in a checkout of its own.
        written: addresses with variables as the task's list has them, by what ``bare`` makes of what they stand for.
    """
    from clearml_agent_clone.environment.distributions import installed_in  # noqa: PLC0415 - only a build needs it

    hidden = (_TOOLS - set(asked)) | _HIDDEN
    found: dict[str, str] = {}
    for package in installed_in(folders):
        name = package.name
        if normal(name) in found or normal(name) in hidden:
            continue
        origin = package.origin
        found[normal(name)] = _line(name, package.version, _reference(origin, written or {}) if origin else "", root)
    return tuple(found[name] for name in sorted(found))


def write_back(
    old: Requirements, installed: Sequence[str], whole: Mapping[str, object] | None = None
) -> dict[str, object] | None:
    """What to record as the task's requirements: the packages used, and once the original text beside them.

    None when there is nothing to report: nothing was installed, or it is recorded already.

    Args:
        old: what is recorded.
        installed: the packages used.
        whole: all keys at once, in place of ``installed``.
    """
    if not installed and not whole:
        return None
    lines = [*_header(old), *installed] if installed else []
    recorded = [line.strip() for line in (old.pip or "").splitlines() if line.strip()]
    if recorded == lines and old.org_pip is not None:
        return None
    result: dict[str, object] = dict(old.to_wire())
    for name, kept in (("pip", "org_pip"), ("conda", "org_conda")):
        text = result.pop(name, None)
        if text is not None:
            result.setdefault(kept, text)
    return {**result, "pip": lines, **(whole or {})}


def _header(old: Requirements) -> list[str]:
    """The line above the packages that says with which Python they were recorded: a clone is to get the same."""
    lines = ((old.pip or "") + "\n" + (old.org_pip or "")).splitlines()
    return [line.strip() for line in lines if HEADER.match(line.strip())][:1]


def kept_options(options: Iterable[Line], root: Path | None) -> tuple[str, ...]:
    """What a list says of indexes, for the record: without it a clone would not find what is on them.

    Passwords are left out, variables are not.
    """
    return tuple(dict.fromkeys(_option(line, root) for line in options if line.option in _PLACES))


def written_addresses(lines: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The addresses in ``lines`` that have variables in them, by what ``bare`` makes of what they stand for."""
    found = {}
    for line in lines:
        if "${" in line:
            address = line.partition(" @ ")[2] if " @ " in line else line
            address = address.split(" ;", maxsplit=1)[0].strip()
            found[bare(filled(address, environ))] = address
    return found


def _option(line: Line, root: Path | None) -> str:
    value = line.value
    if line.option == "--find-links" and "://" not in value:
        place = Path(value) if line.folder is None else (line.folder / value).resolve()
        if root is not None and place.is_relative_to(root.resolve()):
            value = f"./{place.relative_to(root.resolve())}"
    return f"{line.option} {shareable(value) if '://' in value else value}".strip()


def _line(name: str, version: str, reference: str, root: Path | None) -> str:
    if not reference:
        return f"{name}=={version}"
    linked = reference.startswith(_LINKED)
    reference = reference.removeprefix(_LINKED)
    if root is not None and reference.startswith("file://"):
        place = Path(unquote(urlsplit(reference).path))
        if place.is_relative_to(root):
            here = "." if place == root else f"./{place.relative_to(root)}"
            return f"{_LINKED}{here}" if linked else here
    return f"{name} @ {reference}"


def _reference(text: str, written: Mapping[str, str]) -> str:
    import json  # noqa: PLC0415 - few packages have one

    try:
        data = json.loads(text)
        url = str(data["url"])
        vcs = data.get("vcs_info") or {}
        linked = _LINKED if (data.get("dir_info") or {}).get("editable") else ""
        digest = ((data.get("archive_info") or {}).get("hashes") or {}).get("sha256", "")
        tails = [f"{name}={value}" for name, value in (("subdirectory", data.get("subdirectory")),) if value]
        if digest and not url.startswith("file:"):
            tails.append(f"sha256={digest}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    tail = f"#{'&'.join(tails)}" if tails else ""
    if vcs:
        url = f"{vcs.get('vcs', 'git')}+{url}"
        return at_revision(shareable(written.get(bare(url), without_secrets(url))), vcs.get("commit_id", "")) + tail
    url = written.get(bare(url), without_secrets(url))
    return linked + shareable(url).partition("#")[0] + tail
