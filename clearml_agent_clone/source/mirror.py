"""One bare mirror per repository: only fetches write to it, one at a time; checkouts borrow its objects.

Objects never leave a mirror, because a running task's checkout may need them: nothing here prunes, and git is told
not to. Branches are kept as ``refs/remotes/origin/*`` and tags as ``refs/tags/*``, as a checkout has them, so that
its refs are a copy of the mirror's file; all else that was fetched stands below ``refs/agent/``.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from clearml_agent_clone.errors import Cancelled, Fatal, Retryable, UserError
from clearml_agent_clone.source.address import Address
from clearml_agent_clone.source.faults import explain, is_corruption, is_no_such_revision, reason
from clearml_agent_clone.source.git import Git, check_version
from clearml_agent_clone.source.plan import Revision
from clearml_agent_clone.util.files import private_dir, read_json, write_json
from clearml_agent_clone.util.process import Finished

_HEADS = "+refs/heads/*:refs/remotes/origin/*"
_TAGS = "+refs/tags/*:refs/tags/*"
_REQUESTS = tuple(
    f"+refs/{name}/*:refs/agent/{name}/*" for name in ("pull", "merge-requests", "pull-requests", "changes")
)
_STALE_LOCK = re.compile(r"Unable to create '(?P<path>[^']+\.lock)': File exists")
_MANY_PACKS = 40
_PAUSES = (1.0, 4.0)
_LOCK_PAUSE = 1.0  # longer than any git holds a lock on a ref
_APPENDED_CONFIG = "[core]\n\tbare = true\n[gc]\n\tauto = 0\n\tpruneExpire = never\n[maintenance]\n\tauto = false\n"


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

    def __init__(
        self,
        folder: Path,
        address: Address,
        git: Git,
        *,
        fetch_args: tuple[str, ...] = (),
        attempts: int = 3,
        clone_on_fail: bool = False,
        verbose: bool = False,
    ) -> None:
        self.path = folder / "mirror"
        self._folder = folder
        self._address = address
        self._git = git
        self._fetch_args = fetch_args
        self._attempts = attempts
        self._clone_on_fail = clone_on_fail
        self._verbose = ("--verbose",) if verbose else ()

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
        with self._locked():
            self._clean_up()
            try:
                found = self._obtain_locked(revision, branch, tag, asked)
            except _DamagedError:
                self._say(f"the mirror of {self._address.url} is damaged, cloning it again")
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
        with self._locked():
            if self.identity != identity:
                return
            self._say(f"the mirror of {self._address.url} is damaged, cloning it again")
            self._clone()

    def _obtain_locked(self, revision: Revision, branch: str, tag: str, asked: float) -> Found | None:
        if not self.exists:
            self._clone()
            commit = self._find(revision)
            if commit:
                return Found(commit, "clone", self._default_branch() if revision.kind == "head" else "")
            fresh = True
        else:
            fresh = self._fetched_since(asked, revision)
            if fresh or revision.kind == "commit":
                commit = self._find(revision)
                if commit:
                    return Found(commit, "mirror", self._default_branch() if revision.kind == "head" else "")
        return self._fetch(revision, branch, tag, fresh=fresh)

    # --- looking -----------------------------------------------------------------------------------------------

    def _find(self, revision: Revision) -> str:
        """The commit in the mirror, or an empty string."""
        for name in _local_names(revision):
            found = self._git.quiet(
                "rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}", cwd=self.path
            )
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
        self._git = self._git.for_transfer(self.path)
        if revision.kind == "head":
            return self._fetch_default()
        for refspecs in self._steps(revision, branch, tag, fresh=fresh):
            started = time.time()
            finished = self._transfer(
                "fetch", *self._arguments(prune=_HEADS in refspecs), "--", self._address.url, *refspecs
            )
            if not finished.ok and not is_no_such_revision(finished):
                raise self._failed_fetch(finished)
            if not finished.ok:
                self._say("looking further")  # git has said what the host does not have
                continue  # what the mirror has under this name is stale
            self._gather()
            self._remember(started, revision, everything=_HEADS in refspecs)
            commit = self._find(revision)
            if commit:
                return Found(commit, "fetch")
        return None

    def _steps(self, revision: Revision, branch: str, tag: str, *, fresh: bool) -> Iterator[tuple[str, ...]]:
        """Refspecs to fetch, one set after the other until the revision is here: the smallest first."""
        if revision.is_exact:
            yield (f"{revision.name}:refs/agent/commits/{revision.name}",)
        if not fresh:
            for heads, tags in _named(revision, branch, tag):
                yield tuple(
                    [f"+refs/heads/{name}:refs/remotes/origin/{name}" for name in heads]
                    + [f"+refs/tags/{name}:refs/tags/{name}" for name in tags]
                )
            yield (_HEADS, _TAGS)
        if revision.kind == "any" and revision.name.startswith("refs/"):
            yield (f"+{revision.name}:refs/agent/{revision.name.removeprefix('refs/')}",)
        if revision.kind in {"commit", "any"}:
            yield _REQUESTS

    def _failed_fetch(self, finished: Finished) -> Exception:
        """The error for a failed fetch, or that of a damaged mirror when the fault lies there."""
        error = explain(finished, self._address)
        if isinstance(error, Fatal) and (self._clone_on_fail or is_corruption(finished) or not self._is_sound()):
            return _DamagedError()
        return error

    def _is_sound(self) -> bool:
        return self._git.quiet("fsck", "--connectivity-only", "--no-dangling", "--no-progress", cwd=self.path).ok

    def _fetch_default(self) -> Found | None:
        answer = self._transfer("ls-remote", "--symref", "--", self._address.url, "HEAD", shown=False)
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

    def _arguments(self, *, prune: bool) -> list[str]:
        """Arguments of ``git fetch``. A branch that became a folder of branches blocks a fetch unless it is pruned."""
        chosen = [
            "--no-tags",
            "--no-write-fetch-head",
            "--recurse-submodules=no",
            "--progress",
            *self._verbose,
            *self._fetch_args,
        ]
        return [*chosen, "--prune"] if prune else chosen

    def _gather(self) -> None:
        """Keep the mirror quick to read: all refs in one file, which checkouts copy, and not too many packs.

        A geometric repack keeps every object of the packs that it joins, whether anything refers to it or not.
        """
        self._transfer("pack-refs", "--all", shown=False)
        if len(list((self.path / "objects" / "pack").glob("*.pack"))) > _MANY_PACKS:
            self._git.quiet("repack", "--geometric=2", "-d", "--quiet", cwd=self.path)

    def _clean_up(self) -> None:
        """Remove what transfers that were killed left behind; the lock is ours, so nobody needs it."""
        for left_over in self._folder.glob("incoming-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        for file in (self.path / "objects" / "pack").glob("tmp_*"):
            file.unlink(missing_ok=True)

    # --- cloning -----------------------------------------------------------------------------------------------

    def _clone(self) -> None:
        """Clone aside and move it into place, so that a mirror is there whole or not at all."""
        check_version(self._git, self._folder)
        self._git = self._git.for_transfer(self._folder)
        started = time.time()
        incoming = Path(tempfile.mkdtemp(prefix="incoming-", dir=self._folder))
        try:
            finished = self._transfer(
                "clone", "--no-checkout", "--no-local", "--template=", "--no-recurse-submodules", "--progress",
                "--origin=origin", *self._verbose, "--", self._address.url, incoming,
                cwd=self._folder, again=incoming,
            )  # fmt: skip
            if not finished.ok:
                raise explain(finished, self._address)
            self._move_in(incoming / ".git")
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        self._remember(started, None, everything=True)

    def _move_in(self, git_dir: Path) -> None:
        shutil.rmtree(git_dir / "refs" / "heads", ignore_errors=True)  # its own branch, which nobody would update
        (git_dir / "refs" / "heads").mkdir(parents=True)
        with (git_dir / "config").open("a") as config:
            config.write(_APPENDED_CONFIG)
        if self.path.exists():
            old = Path(tempfile.mkdtemp(prefix="incoming-", dir=self._folder))
            self.path.rename(old / "damaged")
            git_dir.rename(self.path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            git_dir.rename(self.path)

    # --- what both need ----------------------------------------------------------------------------------------

    def _transfer(
        self, *arguments: str | Path, cwd: Path | None = None, again: Path | None = None, shown: bool = True
    ) -> Finished:
        """Run git; a network that fails in its midst gets another chance after a pause.

        ``again`` is what a failed attempt may leave behind and has to be gone before the next.
        """
        run = self._git.shown if shown else self._git.quiet
        pauses = iter(_PAUSES[: max(self._attempts - 1, 0)])
        freed: set[Path] = set()
        while True:
            finished = run(*arguments, cwd=cwd or self.path)
            if finished.ok:
                return finished
            stale = _STALE_LOCK.search(finished.errors or finished.output)
            lock = Path(stale["path"]) if stale else None
            pause = _LOCK_PAUSE if lock and lock not in freed else next(pauses, None)
            error = explain(finished, self._address)
            if pause is None or not (lock or (isinstance(error, Retryable) and error.code != "disk-full")):
                return finished
            self._say(f"{reason(finished)}; trying again in {pause:.0f} s")
            self._wait(pause)
            if lock:
                freed.add(lock)
                self._remove_lock(lock)
            if again is not None:
                shutil.rmtree(again, ignore_errors=True)

    def _remove_lock(self, path: Path) -> None:
        """Remove a lock file of a git that was killed: who holds our lock is the only one to write here."""
        path = self.path / path  # git names it relative to the mirror, or by its full path
        if path.resolve().is_relative_to(self.path.resolve()):
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock, Timeout  # noqa: PLC0415 - a task whose commit is here never locks

        private_dir(self._folder)
        lock = FileLock(self._folder / "lock", mode=0o600)
        told = False
        while True:
            try:
                lock.acquire(timeout=0.25, poll_interval=0.05)
            except Timeout:
                if not told:
                    self._say(f"waiting for another task that fetches {self._address.url}")
                told = True
                self._wait(0)
                continue
            break
        try:
            yield
        finally:
            lock.release()

    def _wait(self, seconds: float) -> None:
        cancel = self._git.cancel
        if cancel is None:
            time.sleep(seconds)
        elif cancel.wait(seconds):
            raise Cancelled

    def _fetched_since(self, asked: float, revision: Revision) -> bool:
        stamps = read_json(self.path / "stamps.json")
        if not isinstance(stamps, dict):
            return False
        times = (stamps.get("everything"), stamps.get(str(revision)))
        return any(isinstance(started, float) and started >= asked for started in times)

    def _remember(self, started: float, revision: Revision | None, *, everything: bool) -> None:
        """Note when the last transfers began: who asked before need not ask the network again."""
        stamps = read_json(self.path / "stamps.json")
        stamps = stamps if isinstance(stamps, dict) else {}
        stamps = {name: value for name, value in stamps.items() if isinstance(value, float) and value > started - 3600}
        if everything:
            stamps["everything"] = started
        if revision is not None:
            stamps[str(revision)] = started
        write_json(self.path / "stamps.json", stamps, durable=False)

    def _say(self, text: str) -> None:
        if self._git.console is not None:
            self._git.console.say(text)


def _local_names(revision: Revision) -> tuple[str, ...]:
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
