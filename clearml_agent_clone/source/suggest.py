"""Telling what there is in place of what was not found. Only failures import this."""

from __future__ import annotations

from pathlib import Path

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source.address import Address
from clearml_agent_clone.source.plan import Revision
from clearml_agent_clone.util.names import did_you_mean


def revision_not_found(mirror: Path, address: Address, revision: Revision, branch: str) -> UserError:
    """The error for a revision that the repository does not have; codes ``commit-``, ``branch-``, ``tag-not-found``."""
    branches, tags = _names(mirror)
    if not branches and not tags:
        return UserError(
            f"the repository {address.url} is empty",
            remedy="Push the task's branch to it",
            code="commit-not-found",
        )
    if revision.kind == "commit":
        gone = f", nor does it have a branch {branch}" if branch and branch not in branches else ""
        return UserError(
            f"commit {revision.name} is not in {address.url}{gone}",
            remedy="Push the commit (git push) and enqueue the task again, or record the task from a pushed commit",
            code="commit-not-found",
        )
    known = {"branch": branches, "tag": tags}.get(revision.kind, branches + tags)
    kind = revision.kind if revision.kind in {"branch", "tag"} else "commit"
    remedy = did_you_mean(revision.name, known) or "Push it, or correct the task's execution section"
    return UserError(f"{address.url} has no {revision}", remedy=remedy, code=f"{kind}-not-found")


def _names(mirror: Path) -> tuple[list[str], list[str]]:
    import git  # noqa: PLC0415 - slow to import, and only failures come here

    with git.Repo(mirror) as repository:
        branches = [str(name.path).removeprefix("refs/remotes/origin/") for name in repository.references]
        tags = [str(tag.name) for tag in repository.tags]
    return [name for name in branches if not name.startswith("refs/") and name != "HEAD"], tags
