"""git-lfs: large files that a repository only points to are loaded while it is checked out, once per machine.

The filter is switched on when the program is there, whether or not its owner ran ``git lfs install``. Files are kept
beside the mirror, by their hash, so that later checkouts need no network.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from clearml_agent_clone.errors import AgentError, Retryable, UserError
from clearml_agent_clone.source import faults
from clearml_agent_clone.source.address import Address
from clearml_agent_clone.source.git import Git
from clearml_agent_clone.util.process import Finished

_FILTER = (
    ("filter.lfs.process", "git-lfs filter-process"),
    ("filter.lfs.smudge", "git-lfs smudge -- %f"),
    ("filter.lfs.clean", "git-lfs clean -- %f"),
    ("filter.lfs.required", "true"),
)
_USED = re.compile(rb"filter=lfs\b")
_POINTER = b"version https://git-lfs.github.com/spec/v1"
_POINTERS_SIZE = 1024
_SAYS = re.compile(r"smudge filter lfs failed|filter '?git-lfs|Smudge error|Error downloading object|batch response")
_GONE = re.compile(r"does not exist|not found|\[404\]|404", re.IGNORECASE)
_TELLING = re.compile(r"^(?:Error downloading object|batch response|Smudge error).*", re.MULTILINE)


def configuration(mirror: Path) -> list[tuple[str, str]]:
    """Git's configuration for a checkout from ``mirror``; empty when git-lfs is not installed."""
    if shutil.which("git-lfs") is None:
        return []
    return [*_FILTER, ("lfs.storage", str(_storage(mirror)))]


def heal(mirror: Path) -> None:
    """Remove kept files that are not what their name, a hash, says. (git-lfs does so by size, and fails that once.)"""
    for file in _storage(mirror).glob("objects/??/??/*"):
        if not _is_itself(file):
            file.unlink(missing_ok=True)


def _storage(mirror: Path) -> Path:
    return (mirror.parent / "lfs").absolute()


def _is_itself(file: Path) -> bool:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as content:
            while part := content.read(1 << 20):
                digest.update(part)
    except OSError:
        return False
    return digest.hexdigest() == file.name


def settle(root: Path, git_dir: Path, git: Git, *, required: bool) -> str:
    """Configuration that a checkout with large files keeps, so that the task's own git finds it unchanged.

    Without git-lfs the console is told which files are not what they seem.

    Raises:
        UserError: code ``lfs-missing``; they are ``required`` to be what they seem.
    """
    if not _uses_it(root, git_dir, git):
        return ""
    if shutil.which("git-lfs") is not None:
        lines = (f'\t{key.rpartition(".")[2]} = "{value}"\n' for key, value in _FILTER)
        return '[filter "lfs"]\n' + "".join(lines)
    pointers = _pointers(root, git)
    what = f"{len(pointers)} file(s) such as {pointers[0]} are kept with git-lfs" if pointers else ""
    if what and required:
        raise UserError(
            f"{what}, which is not on this machine",
            remedy="Install git-lfs, or unset agent.git_lfs_required if the task can do with pointers to them",
            code="lfs-missing",
        )
    if what and git.console is not None:
        git.console.say(
            f"WARNING: {what}, which is not on this machine: the task gets small text files in their place. "
            "Install git-lfs and enqueue it again, or set agent.git_lfs_required to have such tasks fail"
        )
    return ""


def failed(finished: Finished) -> bool:
    """Whether git failed because a large file could not be had."""
    return bool(_SAYS.search(finished.errors or finished.output))


def explain(finished: Finished, address: Address) -> AgentError:
    """The error for that."""
    text = finished.errors or finished.output
    telling = _TELLING.search(text)
    what = telling[0].strip() if telling else faults.reason(finished)
    if re.search(r"git-lfs: (?:command )?not found|cannot run git-lfs", text):
        return UserError(
            f"{address.url} has files that are kept with git-lfs, which is not on this machine",
            remedy="Install git-lfs, or unset filter.lfs.required in the agent's git configuration",
            code="lfs-missing",
        )
    error = faults.explain(finished, address)
    if error.code in {"git-auth-failed", "git-tls", "disk-full", "repository-unreachable"}:
        return error
    kind = UserError if _GONE.search(text) else Retryable
    return kind(
        f"a large file of {address.url} cannot be loaded: {what}",
        remedy="Was it pushed (git lfs push)? GIT_LFS_SKIP_SMUDGE=1 in the agent's environment leaves such files out",
        code="lfs-failed",
    )


def _uses_it(root: Path, git_dir: Path, git: Git) -> bool:
    if _asks_for_it(root / ".gitattributes"):
        return True
    try:
        nested = b"/.gitattributes" in (git_dir / "index").read_bytes()
    except OSError:
        return False
    if not nested:
        return False
    names = git.quiet("ls-files", "-z", "--", ":(glob)**/.gitattributes", cwd=root).output.split("\0")
    return any(_asks_for_it(root / name) for name in names if name)


def _asks_for_it(file: Path) -> bool:
    try:
        return bool(_USED.search(file.read_bytes()))
    except OSError:
        return False


def _pointers(root: Path, git: Git) -> list[str]:
    """Files that still are what points to the large ones."""
    found = git.quiet("ls-files", "-z", "--", ":(attr:filter=lfs)", cwd=root).output.split("\0")
    return [name for name in found if name and _is_pointer(root / name)]


def _is_pointer(file: Path) -> bool:
    try:
        return file.stat().st_size < _POINTERS_SIZE and file.read_bytes().startswith(_POINTER)
    except OSError:
        return False
