"""One bare mirror per repository: only fetches write to it, one at a time; checkouts borrow its objects.

Objects never leave a mirror, because a running task's checkout may need them: nothing here prunes, and git is told
not to.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from clearml_agent_clone.errors import Fatal, UserError
from clearml_agent_clone.source.address import Address
from clearml_agent_clone.source.faults import explain, is_corruption, is_no_such_revision
from clearml_agent_clone.source.git import Git
from clearml_agent_clone.source.habits import Habits
from clearml_agent_clone.source.incoming import clone
from clearml_agent_clone.source.lock import held
from clearml_agent_clone.source.plan import Revision
from clearml_agent_clone.source.refs import HEADS, REQUESTS, TAGS, local_names, steps
from clearml_agent_clone.source.stamps import Stamps
from clearml_agent_clone.source.transfer import Transfer
from clearml_agent_clone.util.process import Finished

_MANY_PACKS = 40
_NO_NETWORK = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}  # a partial clone fetches when it is looked at


@attrs.frozen
class Found:
    """A commit that the mirror has.

    ``how`` says where it came from: ``mirror`` (no transfer), ``fetch`` or ``clone``.
    """

    commit: str
    how: str
    branch: str = ""


class _DamagedError(Exception):
    """Objects in the mirror cannot be read."""


class Mirror:
    """The mirror of ``address`` in ``folder``; ``git`` must hold the credentials for transfers."""

    def __init__(self, folder: Path, address: Address, git: Git, habits: Habits) -> None:
        self.path = folder / "mirror"
        self._folder = folder
        self._address = address
        self._habits = habits
        self._transfer = Transfer(git, self.path, address, habits.attempts)
        self._stamps = Stamps(self.path)

    @property
    def exists(self) -> bool:
        return (self.path / "HEAD").is_file()

    def obtain(self, revision: Revision, *, branch: str = "", tag: str = "") -> Found:
        """The commit that ``revision`` names, fetched when it is not here.

        A commit that is here costs no network. Branches, tags and the default branch are asked for anew, because
        they move; but not when another task fetched them while this one waited for its turn.

        Args:
            revision: what is wanted.
            branch: recorded with a commit; it is looked for there when the remote does not hand out commits.
            tag: likewise.

        Raises:
            UserError, Retryable, Fatal: see ``faults``; ``commit-not-found``, ``branch-not-found``, ``tag-not-found``.
            Cancelled: while waiting or fetching.
        """
        asked = time.time()
        with self.locked():
            self._clean_up()
            try:
                found = self._obtain_locked(revision, branch, tag, asked)
            except _DamagedError:
                self._transfer.say(f"the mirror of {self._address.url} is damaged, cloning it again")
                self._clone()
                found = self._obtain_locked(revision, branch, tag, asked)
        if found is None:
            raise self._not_found(revision, branch)
        return found

    @property
    def identity(self) -> int:
        """A number that changes when the mirror is replaced."""
        try:
            return (self.path / "objects").stat().st_ino
        except OSError:
            return 0

    def rebuild(self, identity: int) -> None:
        """Replace a damaged mirror by a fresh clone; checkouts that borrow from it then borrow from the clone.

        Nothing is done when it is no longer the one of ``identity``: another task was here first.
        """
        with self.locked():
            if self.identity != identity:
                return
            self._transfer.say(f"the mirror of {self._address.url} is damaged, cloning it again")
            self._clone()

    def _obtain_locked(self, revision: Revision, branch: str, tag: str, asked: float) -> Found | None:
        if not self.exists:
            self._clone()
            commit = self._find(revision)
            if commit:
                return Found(commit, "clone", self._default_branch() if revision.kind == "head" else "")
            fresh = True
        else:
            fresh = self._stamps.fetched_since(asked, revision)
            if fresh or revision.kind == "commit":
                commit = self._find(revision)
                if commit:
                    return Found(commit, "mirror", self._default_branch() if revision.kind == "head" else "")
        return self._fetch(revision, branch, tag, fresh=fresh)

    @property
    def _git(self) -> Git:
        return self._transfer.git

    @property
    def _remote(self) -> str:
        """What to fetch from. A partial clone needs its remote by name, to know what was left out on purpose."""
        return "origin" if self._habits.filter else self._address.url

    # --- looking -----------------------------------------------------------------------------------------------

    def _find(self, revision: Revision) -> str:
        """The commit in the mirror, or an empty string."""
        for name in local_names(revision):
            found = self._git.quiet(
                "rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}",
                cwd=self.path, extra=_NO_NETWORK,
            )  # fmt: skip
            if found.ok:
                return found.output.strip()
        return ""

    def _default_branch(self) -> str:
        head = self.path / "refs" / "remotes" / "origin" / "HEAD"
        with contextlib.suppress(OSError):
            return head.read_text().strip().rpartition("refs/remotes/origin/")[2]
        return ""

    def _not_found(self, revision: Revision, branch: str) -> UserError:
        from clearml_agent_clone.source.suggest import revision_not_found  # noqa: PLC0415 - only for the unlucky

        return revision_not_found(self.path, self._address, revision, branch)

    # --- fetching ----------------------------------------------------------------------------------------------

    def _fetch(self, revision: Revision, branch: str, tag: str, *, fresh: bool) -> Found | None:
        self._transfer.git = self._git.for_transfer(self.path)
        if revision.kind == "head":
            return self._fetch_default()
        for refspecs in steps(revision, branch, tag, fresh=fresh):
            started = time.time()
            finished = self._transfer.run("fetch", *self._arguments(refspecs), "--", self._remote, *refspecs)
            if not finished.ok and not is_no_such_revision(finished):
                raise self._failed_fetch(finished)
            if not finished.ok:
                self._transfer.say("looking further")  # git has said what the host does not have
                continue  # what the mirror has under this name is stale
            self._gather()
            self._stamps.remember(started, revision, everything=HEADS in refspecs)
            commit = self._find(revision)
            if commit:
                return Found(commit, "fetch")
        return self._deepen(revision)

    def _deepen(self, revision: Revision) -> Found | None:
        """What a shallow mirror does not reach may be found in the whole history."""
        if not (self.path / "shallow").exists() or revision.kind not in {"commit", "any"}:
            return None
        self._transfer.say("looking through the whole history")
        started = time.time()
        whole = self._arguments((HEADS, TAGS), deep=True)
        finished = self._transfer.run("fetch", "--unshallow", *whole, "--", self._remote, HEADS, TAGS)
        if not finished.ok:
            raise self._failed_fetch(finished)
        self._gather()
        self._stamps.remember(started, revision, everything=True)
        commit = self._find(revision)
        return Found(commit, "fetch") if commit else None

    def _failed_fetch(self, finished: Finished) -> Exception:
        """The error for a failed fetch, or that of a damaged mirror when the fault lies there."""
        error = explain(finished, self._address)
        if isinstance(error, Fatal) and (self._habits.clone_on_fail or is_corruption(finished) or not self._is_sound()):
            return _DamagedError()
        return error

    def _is_sound(self) -> bool:
        return self._git.quiet("fsck", "--connectivity-only", "--no-dangling", "--no-progress", cwd=self.path).ok

    def _fetch_default(self) -> Found | None:
        answer = self._transfer.run("ls-remote", "--symref", "--", self._address.url, "HEAD", shown=False)
        if not answer.ok:
            raise explain(answer, self._address)
        commit = re.search(r"^([0-9a-f]{40,64})\tHEAD$", answer.output, re.MULTILINE)
        branch = re.search(r"^ref: refs/heads/(\S+)\tHEAD$", answer.output, re.MULTILINE)
        if commit is None:
            return None
        name = branch[1] if branch else ""
        wanted = Revision("commit", commit[1])
        known = self._find(wanted)
        found = Found(known, "mirror") if known else self._fetch(wanted, name, "", fresh=False)
        return attrs.evolve(found, branch=name) if found else None

    def _arguments(self, refspecs: tuple[str, ...], *, deep: bool = False) -> list[str]:
        """Arguments of ``git fetch``; ``deep`` for history of any length.

        A branch that became a folder of branches blocks a fetch unless it is pruned. A shallow fetch of nothing
        (there are no pull requests) fails without a word.
        """
        chosen = ["--no-tags", "--no-write-fetch-head", "--recurse-submodules=no"]
        chosen += [*self._habits.options, *self._habits.fetch_args]
        if deep or refspecs == REQUESTS:
            chosen = [option for option in chosen if not option.startswith("--depth=")]
        return [*chosen, "--prune"] if HEADS in refspecs else chosen

    def _gather(self) -> None:
        """Keep the mirror quick to read: all refs in one file, which checkouts copy, and not too many packs.

        A geometric repack keeps every object of the packs that it joins, whether anything refers to it or not. It would
        mix the packs of a partial clone with those that are whole.
        """
        self._transfer.run("pack-refs", "--all", shown=False)
        if not self._habits.filter and len(list((self.path / "objects" / "pack").glob("*.pack"))) > _MANY_PACKS:
            self._git.quiet("repack", "--geometric=2", "-d", "--quiet", cwd=self.path)

    def _clean_up(self) -> None:
        """Remove what transfers that were killed left behind; the lock is ours, so nobody needs it."""
        for left_over in self._folder.glob("incoming-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        for file in (self.path / "objects" / "pack").glob("tmp_*"):
            file.unlink(missing_ok=True)

    # --- what both need ----------------------------------------------------------------------------------------

    def _clone(self) -> None:
        started = time.time()
        clone(self._transfer, self._folder, self._address, self._habits)
        self._stamps.remember(started, None, everything=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that allows to write to the mirror."""
        message = f"waiting for another task that fetches {self._address.url}"
        with held(self._folder, self._git.cancel, lambda: self._transfer.say(message)):
            yield
