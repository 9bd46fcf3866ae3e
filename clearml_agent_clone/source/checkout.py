"""A run's own working tree: its files are its own, its history is borrowed from the mirror.

The ``.git`` folder is laid out by hand: a clone or a worktree would cost more processes, and a worktree would leave
its administration in the mirror. Whatever a task does in its checkout (commit, ``git gc``, delete it) stays there.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import attrs

from clearml_agent_clone.errors import AgentError, Retryable, UserError
from clearml_agent_clone.source import lfs
from clearml_agent_clone.source.address import Address
from clearml_agent_clone.source.faults import explain, is_missing, reason
from clearml_agent_clone.source.git import Git

_OWN_PREFIXES = (b"refs/remotes/origin/", b"refs/tags/")


class MissingObjectsError(Exception):
    """The mirror lacks the commit, or something that it needs; fetching may cure it."""


@attrs.frozen
class Layout:
    """Where a checkout goes and what it is made from.

    Args:
        root: the tree; a folder that does not exist or is empty.
        git_dir: the repository: ``.git`` in ``root``, or a folder elsewhere that a file ``.git`` points to.
        mirror: a bare repository.
        address: recorded as ``origin``.
        home: the run's own folder.
        partial: the filter of the mirror's partial clone; empty when it is whole.
        lfs_required: large files must be there, not only what points to them.
    """

    root: Path
    git_dir: Path
    mirror: Path
    address: Address
    home: Path
    partial: str = ""
    lfs_required: bool = False

    @property
    def objects(self) -> str:
        """Where the mirror's objects are, as git's ``alternates`` file wants it.

        A mirror in the run's own folder is named relative to the checkout, so that both can be moved together.
        """
        objects = self.mirror / "objects"
        if objects.is_relative_to(self.home):
            return os.path.relpath(objects, self.git_dir / "objects")
        return str(objects.absolute())

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.git_dir, ignore_errors=True)


def lay_out(layout: Layout, commit: str, git: Git, *, may_fetch: bool = False, last_try: bool = False) -> None:
    """Make a detached checkout of ``commit``. After an error nothing of it is left.

    Args:
        layout: where and from what.
        commit: a full commit id.
        git: with credentials where filters (git-lfs) have to load files.
        may_fetch: what a partial mirror lacks is fetched into it; its lock is the caller's.
        last_try: damage among kept large files has been looked for.

    Raises:
        MissingObjectsError: the mirror does not have all that it takes.
        UserError, Retryable, Fatal: git cannot write the tree.
    """
    if may_fetch:
        git = _fetching(layout, git)
    try:
        _make_git_dir(layout, commit)
        finished = git.with_config(lfs.configuration(layout.mirror)).quiet(
            "reset", "--hard", "--quiet", commit, cwd=layout.root
        )
    except OSError as error:
        layout.remove()
        raise _unwritable(layout.root, error) from error
    except BaseException:  # also when somebody asks to stop: no half tree stays behind
        layout.remove()
        raise
    if finished.ok:
        try:
            _settle(layout, git)
        except UserError:
            layout.remove()
            raise
        return
    layout.remove()
    if lfs.failed(finished):
        fault = lfs.explain(finished, layout.address)
        if last_try or fault.code != "lfs-failed":
            raise fault
        lfs.heal(layout.mirror)
        lay_out(layout, commit, git, may_fetch=may_fetch, last_try=True)
        return
    if is_missing(finished):
        raise MissingObjectsError(reason(finished))
    raise explain(finished, layout.address)


def _fetching(layout: Layout, git: Git) -> Git:
    """Git that fetches, in one go, what the tree needs and the mirror lacks, and keeps it in the mirror."""
    there = git.for_transfer(layout.mirror).with_environ({"GIT_OBJECT_DIRECTORY": str(layout.mirror / "objects")})
    return there.with_config(_promises(layout))


def _promises(layout: Layout) -> list[tuple[str, str]]:
    return [("remote.origin.promisor", "true"), ("remote.origin.partialclonefilter", layout.partial)]


def _settle(layout: Layout, git: Git) -> None:
    """What the task's own git has to know from now on."""
    lines = lfs.settle(layout.root, layout.git_dir, git, required=layout.lfs_required)
    if layout.partial:
        lines += f'[remote "origin"]\n\tpromisor = true\n\tpartialclonefilter = {layout.partial}\n'
    if lines:
        with (layout.git_dir / "config").open("a") as config:
            config.write(lines)


def _make_git_dir(layout: Layout, commit: str) -> None:
    git_dir, mirror = layout.git_dir, layout.mirror
    layout.root.mkdir(parents=True, exist_ok=True)
    beside = git_dir != layout.root / ".git"
    (git_dir / "objects" / "info").mkdir(parents=True)
    (git_dir / "objects" / "pack").mkdir()
    remote = git_dir / "refs" / "remotes" / "origin"
    remote.mkdir(parents=True)
    (git_dir / "refs" / "heads").mkdir()
    (git_dir / "refs" / "tags").mkdir()
    (git_dir / "HEAD").write_text(commit + "\n")
    tree = os.path.relpath(layout.root, git_dir) if beside else ""
    (git_dir / "config").write_text(_config(commit, layout.address, tree))
    (git_dir / "objects" / "info" / "alternates").write_text(f"{layout.objects}\n")
    (git_dir / "packed-refs").write_bytes(_refs(mirror))
    for name, target in (("refs/remotes/origin/HEAD", remote / "HEAD"), ("shallow", git_dir / "shallow")):
        source = mirror / name
        if source.is_file():
            shutil.copyfile(source, target)
    if beside:
        (layout.root / ".git").write_text(f"gitdir: {os.path.relpath(git_dir, layout.root)}\n")


def _unwritable(root: Path, error: OSError) -> AgentError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Retryable(f"no space left for the checkout {root}", remedy="Free some disk space", code="disk-full")
    return UserError(f"cannot write {error.filename or root}: {error.strerror}", code="not-writable")


def _config(commit: str, address: Address, tree: str) -> str:
    wide = len(commit) == 64  # the repository uses SHA-256
    extension = "[extensions]\n\tobjectFormat = sha256\n" if wide else ""
    worktree = f"\tworktree = {_value(tree)}\n" if tree else ""
    return (
        f"[core]\n\trepositoryformatversion = {int(wide)}\n\tfilemode = true\n\tbare = false\n"
        f"\tlogallrefupdates = true\n{worktree}{extension}"
        f'[remote "origin"]\n\turl = {_value(address.url)}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
    )


def _value(text: str) -> str:
    """``text`` as a value of git's configuration."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _refs(mirror: Path) -> bytes:
    """The mirror's branches and tags; a line with ``^`` tells what the tag before it points at."""
    try:
        lines = (mirror / "packed-refs").read_bytes().splitlines(keepends=True)
    except OSError:
        return b""
    kept, wanted = [], False
    for line in lines:
        if line.startswith(b"#"):
            kept.append(line)
            continue
        if not line.startswith(b"^"):
            wanted = line.partition(b" ")[2].startswith(_OWN_PREFIXES)
        if wanted:
            kept.append(line)
    return b"".join(kept)
