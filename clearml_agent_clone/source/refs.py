"""Which refs of a repository are asked for, and where a mirror keeps them.

Branches are kept as ``refs/remotes/origin/*`` and tags as ``refs/tags/*``, as a checkout has them, so that its refs
are a copy of the mirror's file; all else that was fetched stands below ``refs/agent/``.
"""

from __future__ import annotations

from collections.abc import Iterator

from clearml_agent_clone.source.plan import Revision

HEADS = "+refs/heads/*:refs/remotes/origin/*"
TAGS = "+refs/tags/*:refs/tags/*"
REQUESTS = tuple(
    f"+refs/{name}/*:refs/agent/{name}/*" for name in ("pull", "merge-requests", "pull-requests", "changes")
)


def steps(revision: Revision, branch: str, tag: str, *, fresh: bool) -> Iterator[tuple[str, ...]]:
    """Refspecs to fetch, one set after the other until the revision is here: the smallest first.

    Args:
        revision: what is wanted.
        branch: recorded with it.
        tag: likewise.
        fresh: all branches and tags have just been fetched.
    """
    if revision.is_exact:
        yield (f"{revision.name}:refs/agent/commits/{revision.name}",)
    if not fresh:
        for heads, tags in _named(revision, branch, tag):
            yield tuple(
                [f"+refs/heads/{name}:refs/remotes/origin/{name}" for name in heads]
                + [f"+refs/tags/{name}:refs/tags/{name}" for name in tags]
            )
        yield (HEADS, TAGS)
    if revision.kind == "any" and revision.name.startswith("refs/"):
        yield (f"+{revision.name}:refs/agent/{revision.name.removeprefix('refs/')}",)
    if revision.kind in {"commit", "any"}:
        yield REQUESTS


def local_names(revision: Revision) -> tuple[str, ...]:
    """Under which names a mirror may have the revision, the likeliest first."""
    name = revision.name
    match revision.kind:
        case "commit" if revision.is_exact:
            return (name,)
        case "commit":
            # Few digits may as well be the name of a tag or a branch.
            return (name, f"refs/tags/{name}", f"refs/remotes/origin/{name}")
        case "tag":
            return (f"refs/tags/{name}",)
        case "branch":
            return (f"refs/remotes/origin/{name}",)
        case "any":
            inner = name.removeprefix("refs/")
            return (f"refs/tags/{name}", f"refs/remotes/origin/{name}", f"refs/agent/{inner}")
        case _:
            return ("refs/remotes/origin/HEAD", "refs/remotes/origin/master", "refs/remotes/origin/main")


def _named(revision: Revision, branch: str, tag: str) -> Iterator[tuple[list[str], list[str]]]:
    """Branches and tags to fetch by name, in turn."""
    match revision.kind:
        case "tag":
            yield [], [revision.name]
        case "branch":
            yield [revision.name], []
        case _:
            if branch:
                yield [branch], []
            if tag:
                yield [], [tag]
