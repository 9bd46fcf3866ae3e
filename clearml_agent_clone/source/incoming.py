"""Cloning a mirror: aside first and then into its place, so that it is there whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from clearml_agent_clone.source.address import Address
from clearml_agent_clone.source.faults import explain
from clearml_agent_clone.source.git import check_version
from clearml_agent_clone.source.habits import Habits
from clearml_agent_clone.source.transfer import Transfer

_APPENDED_CONFIG = "[core]\n\tbare = true\n[gc]\n\tauto = 0\n\tpruneExpire = never\n[maintenance]\n\tauto = false\n"


def clone(transfer: Transfer, folder: Path, address: Address, habits: Habits) -> None:
    """Clone ``address`` to ``mirror`` in ``folder``, whose lock the caller holds; one that is there is replaced.

    Raises:
        UserError, Retryable, Fatal: it cannot be cloned; what was there is as it was.
        Cancelled: somebody asked to stop.
    """
    check_version(transfer.git, folder)
    transfer.git = transfer.git.for_transfer(folder)
    partial = (f"--filter={habits.filter}",) if habits.filter else ()
    incoming = Path(tempfile.mkdtemp(prefix="incoming-", dir=folder))
    try:
        finished = transfer.run(
            "clone", "--no-checkout", "--no-local", "--template=", "--no-recurse-submodules",
            "--no-single-branch", "--origin=origin", *habits.options, *partial, "--", address.url, incoming,
            cwd=folder, again=incoming,
        )  # fmt: skip
        if not finished.ok:
            raise explain(finished, address)
        _move_in(incoming / ".git", folder / "mirror")
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _move_in(git_dir: Path, mirror: Path) -> None:
    shutil.rmtree(git_dir / "refs" / "heads", ignore_errors=True)  # its own branch, which nobody would update
    (git_dir / "refs" / "heads").mkdir(parents=True)
    with (git_dir / "config").open("a") as config:
        config.write(_APPENDED_CONFIG)
    if not mirror.exists():
        git_dir.rename(mirror)
        return
    old = Path(tempfile.mkdtemp(prefix="incoming-", dir=mirror.parent))
    mirror.rename(old / "damaged")
    git_dir.rename(mirror)
    shutil.rmtree(old, ignore_errors=True)
