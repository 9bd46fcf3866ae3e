"""Which list of packages counts: what was recorded with the task, the repository's files, or none."""

from __future__ import annotations

from pathlib import Path

import attrs

from clearml_agent_clone.environment.lines import Listing, expand
from clearml_agent_clone.environment.model import EnvironmentRequest
from clearml_agent_clone.environment.settings import EnvironmentSettings


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
    recorded = request.requirements
    why_files = ""
    if settings.force_repo_requirements_txt:
        why_files = ", because agent.package_manager.force_repo_requirements_txt is set"
    elif settings.force_original_requirements and (recorded.org_pip or "").strip():
        listing = _recorded(recorded.org_pip or "", request)
        return Source(_count(listing, "as first recorded with the task (org_pip)"), listing)
    elif (recorded.pip or "").strip():
        listing = _recorded(recorded.pip or "", request)
        return Source(_count(listing, "recorded with the task"), listing)
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
    return expand(text, "", request.script_dir, request.repository_root)


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
        text = file.read_bytes().decode("utf-8-sig", errors="replace")
        listing += expand(text, name, file.parent, root, frozenset({file.resolve()}))
    names = ", ".join(str(file.relative_to(root)) for file in files)
    return Source(_count(listing, f"in {names}{why}"), listing)


def _count(listing: Listing, where: str) -> str:
    number = len(listing.packages)
    return f"{number} line{'' if number == 1 else 's'} {where}"
