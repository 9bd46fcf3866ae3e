"""Which list of packages counts: what was recorded with the task, the repository's files, or none."""

from __future__ import annotations

from pathlib import Path

import attrs

from clearml_agent_clone.environment.lines import Line, Listing, decode, expand
from clearml_agent_clone.environment.model import EnvironmentRequest
from clearml_agent_clone.environment.requirements import pinned
from clearml_agent_clone.environment.settings import EnvironmentSettings

# Lock files that another package manager reads, and which one.
_LOCKS = {"uv.lock": "uv", "poetry.lock": "poetry", "pylock.toml": "uv", "environment.yml": "conda"}
_PROJECTS = {"pyproject.toml": "uv or poetry", "setup.py": "", "Pipfile": ""}


@attrs.frozen
class Source:
    """The list, and what to tell about it. ``waits`` when it will be known only with the checkout; ``open`` when lines may
    be added on the way.
    """

    text: str
    listing: Listing
    waits: bool = False
    open: bool = False


def choose_source(request: EnvironmentRequest, settings: EnvironmentSettings) -> Source:
    """The requirements that count for ``request``, read and with their includes expanded."""
    source = _chosen(request, settings)
    notes = _passed_over(request, settings, source)
    return attrs.evolve(source, listing=attrs.evolve(source.listing, notes=(*source.listing.notes, *notes)))


def _chosen(request: EnvironmentRequest, settings: EnvironmentSettings) -> Source:
    recorded = request.requirements
    why_files = ""
    if settings.force_repo_requirements_txt:
        why_files = ", because agent.package_manager.force_repo_requirements_txt is set"
    elif settings.force_original_requirements and (recorded.org_pip or "").strip():
        listing = _recorded(recorded.org_pip or "", request)
        return Source(_count(listing, "as first recorded with the task (org_pip)"), listing, listing.waits)
    elif (recorded.pip or "").strip():
        listing = _recorded(recorded.pip or "", request)
        return Source(_count(listing, "recorded with the task"), listing, listing.waits)
    return _files(request, why_files)


def requirement_files(root: Path, script_dir: Path | None) -> list[Path]:
    """Every ``requirements.txt`` from ``root`` down to ``script_dir``, in this order."""
    folders = [root]
    if script_dir is not None:
        try:
            inner = script_dir.resolve().relative_to(root.resolve())
        except ValueError:
            inner = Path()  # outside of the repository: only the root counts
        for part in inner.parts:
            folders.append(folders[-1] / part)
    return [file for folder in folders if (file := folder / "requirements.txt").is_file()]


def _recorded(text: str, request: EnvironmentRequest) -> Listing:
    listing = expand(text, "", request.repository_root, request.script_dir)
    return attrs.evolve(listing, waits=_waits(listing, request))


def _waits(listing: Listing, request: EnvironmentRequest) -> bool:
    """Whether lines lead into a checkout that is yet to come."""
    if request.repository_root is not None or not request.has_repository:
        return False
    return listing.waits or any(line.option == "--editable" or line.text[:1] in ".~" for line in listing.packages)


def _passed_over(request: EnvironmentRequest, settings: EnvironmentSettings, source: Source) -> list[str]:
    """What else says something about packages and does not count, so that nobody has to guess."""
    if settings.manager != "pip":
        return []  # whoever was asked first has said why it declined
    notes = []
    if not source.listing.packages and (request.requirements.conda or request.requirements.conda_env_json):
        notes.append("conda packages are recorded: agent.package_manager.type: conda installs them")
    root = request.repository_root
    if root is None:
        return notes
    files = _LOCKS if source.listing.packages else {**_LOCKS, **_PROJECTS}
    for file, manager in files.items():
        if (root / file).is_file():
            how = f": agent.package_manager.type: {manager} would" if manager else ""
            notes.append(f"{file} of the repository is not read{how}")
            break
    return notes


def _files(request: EnvironmentRequest, why: str) -> Source:
    root = request.repository_root
    if root is None:
        if request.has_repository:
            return Source(f"requirements.txt of the repository, if it has one{why}", Listing(), waits=True)
        return Source("none recorded, and no repository to look for requirements.txt", Listing())
    files = requirement_files(root, request.script_dir)
    if not files:
        return Source(f"none recorded, and no requirements.txt in the repository{why}", Listing())
    listing = Listing()
    for file in files:
        name = str(file.relative_to(root))
        more = expand(decode(file.read_bytes()), name, file.parent, root, frozenset({file.resolve()}))
        listing = _outdone(listing, more) + more
    names = ", ".join(str(file.relative_to(root)) for file in files)
    return Source(_count(listing, f"in {names}{why}"), listing)


def _count(listing: Listing, where: str) -> str:
    number = len(listing.packages)
    return f"{number} line{'' if number == 1 else 's'} {where}"


def _outdone(listing: Listing, nearer: Listing) -> Listing:
    """``listing`` without the pins of packages that the ``nearer`` file pins otherwise: it used to be installed last."""
    pins: dict[str, Line] = {}
    for line in nearer.packages:
        name, version = pinned(line.text)
        if version:
            pins[name] = line
    kept, notes = [], []
    for line in listing.packages:
        name, version = pinned(line.text)
        winner = pins.get(name, line) if version else line
        if winner is line or pinned(winner.text)[1] == version:
            kept.append(line)
        else:
            notes.append(f"{line.origin}: {line.text}: left out, {winner.origin} says {winner.text}")
    return attrs.evolve(listing, packages=tuple(kept), notes=(*listing.notes, *notes))
