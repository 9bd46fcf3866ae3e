"""A run's own working tree: its files are its own, its history is borrowed from the mirror.

The ``.git`` folder is laid out by hand: a clone or a worktree would cost more processes, and a worktree would leave
its administration in the mirror. Whatever a task does in its checkout (commit, ``git gc``, delete it) stays there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from clearml_agent_clone.errors import AgentError, Retryable, UserError
from clearml_agent_clone.source.address import Address, parse_address
from clearml_agent_clone.source.faults import explain, is_missing, reason
from clearml_agent_clone.source.git import Git
from clearml_agent_clone.source.settings import SourceSettings
from clearml_agent_clone.util.process import Finished

_FAILED_SUBMODULE = re.compile(
    r"clone of '(?P<url>[^']*)' into submodule path '(?P<path>[^']*)' failed"
    r"|in submodule path '(?P<fetched>[^']*)'"
)
_OWN_PREFIXES = (b"refs/remotes/origin/", b"refs/tags/")


class MissingObjectsError(Exception):
    """The mirror lacks the commit, or something that it needs; fetching may cure it."""


def lay_out(root: Path, mirror: Path, commit: str, address: Address, git: Git) -> None:
    """Make ``root`` a checkout of ``commit``, detached, with the objects of ``mirror``.

    Args:
        root: a folder that does not exist; after an error nothing of it is left.
        mirror: a bare repository.
        commit: a full commit id.
        address: recorded as ``origin``.
        git: with credentials where filters (git-LFS) have to load files.

    Raises:
        MissingObjectsError: the mirror does not have all that it takes.
        UserError, Retryable, Fatal: git cannot write the tree.
    """
    try:
        _make_git_dir(root, mirror, commit, address)
        finished = git.quiet("reset", "--hard", "--quiet", commit, cwd=root)
    except OSError as error:
        shutil.rmtree(root, ignore_errors=True)
        raise _unwritable(root, error) from error
    except BaseException:  # also when somebody asks to stop: no half tree stays behind
        shutil.rmtree(root, ignore_errors=True)
        raise
    if finished.ok:
        return
    shutil.rmtree(root, ignore_errors=True)
    if is_missing(finished):
        raise MissingObjectsError(reason(finished))
    raise explain(finished, address)


def has_submodules(root: Path) -> bool:
    """Whether the checkout asks for submodules."""
    return (root / ".gitmodules").is_file()


def update_submodules(root: Path, address: Address, settings: SourceSettings, git: Git) -> None:
    """Check out the submodules, theirs too.

    Raises:
        UserError, Retryable, Fatal: one cannot be fetched.
    """
    equipped = git.for_transfer(root).with_config(_same_transport(address, settings))
    finished = equipped.shown("submodule", "update", "--init", "--recursive", "--force", "--progress", cwd=root)
    if not finished.ok:
        raise _submodule_error(finished, address, root)


def _submodule_error(finished: Finished, address: Address, root: Path) -> AgentError:
    match = _FAILED_SUBMODULE.search(finished.output)
    if match is None:
        return explain(finished, address)
    path = (match["path"] or match["fetched"]).removeprefix(f"{root}/")
    with contextlib.suppress(UserError):
        address = parse_address(match["url"] or "", allow_local=True)[0]
    error = explain(finished, address)
    return type(error)(f'submodule "{path}": {error.message}', remedy=error.remedy, code=error.code)


def _same_transport(address: Address, settings: SourceSettings) -> Iterator[tuple[str, str]]:
    """Configuration that takes submodules over the transport that the settings ask for."""
    if settings.force_ssh:
        host = settings.force_ssh_host.rpartition("://")[2].partition("/")[0] or address.host
        port = f":{settings.force_ssh_port}" if settings.force_ssh_port else ""
        yield f"url.ssh://{settings.force_ssh_user}@{host}{port}/.insteadOf", f"https://{host}/"
    elif settings.translate_ssh:
        for host in dict.fromkeys(credential.host or address.host for credential in settings.credentials):
            for written in (f"git@{host}:", f"ssh://git@{host}/"):
                yield f"url.{settings.translate_scheme}://{host}/.insteadOf", written


def _borrowed(mirror: Path, root: Path) -> str:
    """Where the mirror's objects are, as git's ``alternates`` file wants it.

    A mirror in the run's own folder is named relative to the checkout, so that both can be moved together.
    """
    objects = mirror / "objects"
    if objects.is_relative_to(root.parent):
        return os.path.relpath(objects, root / ".git" / "objects")
    return str(objects.absolute())


def _make_git_dir(root: Path, mirror: Path, commit: str, address: Address) -> None:
    git_dir = root / ".git"
    (git_dir / "objects" / "info").mkdir(parents=True)
    (git_dir / "objects" / "pack").mkdir()
    remote = git_dir / "refs" / "remotes" / "origin"
    remote.mkdir(parents=True)
    (git_dir / "refs" / "heads").mkdir()
    (git_dir / "refs" / "tags").mkdir()
    (git_dir / "HEAD").write_text(commit + "\n")
    (git_dir / "config").write_text(_config(commit, address))
    (git_dir / "objects" / "info" / "alternates").write_text(f"{_borrowed(mirror, root)}\n")
    (git_dir / "packed-refs").write_bytes(_refs(mirror))
    for name, target in (("refs/remotes/origin/HEAD", remote / "HEAD"), ("shallow", git_dir / "shallow")):
        source = mirror / name
        if source.is_file():
            shutil.copyfile(source, target)


def _unwritable(root: Path, error: OSError) -> AgentError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Retryable(f"no space left for the checkout {root}", remedy="Free some disk space", code="disk-full")
    return UserError(f"cannot write {error.filename or root}: {error.strerror}", code="not-writable")


def _config(commit: str, address: Address) -> str:
    wide = len(commit) == 64  # the repository uses SHA-256
    extension = "[extensions]\n\tobjectFormat = sha256\n" if wide else ""
    url = address.url.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f"[core]\n\trepositoryformatversion = {int(wide)}\n\tfilemode = true\n\tbare = false\n"
        f"\tlogallrefupdates = true\n{extension}"
        f'[remote "origin"]\n\turl = "{url}"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
    )


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


def checkout_submodule(root: Path, path: str, commit: str, address: Address, git: Git) -> None:
    """Bring the submodule ``path`` to ``commit``, as the task's uncommitted changes say; empty removes nothing.

    The superproject's index is left as it was, so that ``git status`` shows what its author saw.

    Raises:
        UserError, Retryable, Fatal: the commit cannot be fetched.
    """
    if not commit:
        return
    entry = f"160000,{commit},{path}"
    git.quiet("update-index", "--add", "--cacheinfo", entry, cwd=root)
    finished = git.for_transfer(root).shown(
        "submodule", "update", "--init", "--recursive", "--force", "--", path, cwd=root
    )
    git.quiet("reset", "--quiet", "--", path, cwd=root)
    if not finished.ok:
        raise _submodule_error(finished, address, root)
