"""From an address to a tree on disk: the mirror when it can have the commit at once, else after a fetch."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from clearml_agent_clone.source.address import Address
from clearml_agent_clone.source.checkout import Layout, MissingObjectsError, lay_out
from clearml_agent_clone.source.git import Git
from clearml_agent_clone.source.habits import Habits
from clearml_agent_clone.source.mirror import Found, Mirror
from clearml_agent_clone.source.plan import Revision, mirror_folder
from clearml_agent_clone.source.settings import SourceSettings


class Stopwatch:
    """Seconds by step. What happens within a step counts for that step alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running = False

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        if self._running:
            yield
            return
        self._running = True
        begin = time.monotonic()
        try:
            yield
        finally:
            self._running = False
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - begin


@attrs.frozen
class Wanted:
    """A state of a repository; ``branch`` and ``tag`` say where to look for it when the host hands out no commits."""

    address: Address
    revision: Revision
    branch: str = ""
    tag: str = ""


@attrs.frozen
class Trees:
    """Gets trees of repositories.

    Args:
        settings: the worker owner's.
        folder: the run's own, where mirrors are without cache.
        watch: gets the time that fetches and checkouts take.
    """

    settings: SourceSettings
    folder: Path
    watch: Stopwatch

    def put(self, wanted: Wanted, root: Path, git: Git, *, git_dir: Path | None = None) -> tuple[Found, bool]:
        """Check ``wanted`` out into ``root``; what was found, and whether there was a mirror before.

        Args:
            wanted: what to check out.
            root: does not exist, or is an empty folder.
            git: with the credentials for the address.
            git_dir: where the repository of a submodule goes; None for ``.git`` in ``root``.

        Raises:
            UserError, Retryable, Fatal: it cannot be had.
            Cancelled: somebody asked to stop.
        """
        mirror = self._mirror(wanted.address, git)
        layout = Layout(
            root,
            git_dir or root / ".git",
            mirror.path,
            wanted.address,
            self.folder,
            self.settings.clone_filter,
            self.settings.lfs_required,
        )
        had_mirror, identity = mirror.exists, mirror.identity
        if wanted.revision.is_exact and had_mirror:
            with contextlib.suppress(MissingObjectsError):
                self._lay_out(layout, wanted.revision.name, git)
                if mirror.identity == identity:
                    return Found(wanted.revision.name, "mirror"), True
                layout.remove()  # it was replaced meanwhile: some refs may be missing in what was copied from it
        found = self._obtain(mirror, wanted)
        identity = mirror.identity
        try:
            self._lay_out(layout, found.commit, git, mirror)
        except MissingObjectsError:
            with self.watch.step("fetch"):
                mirror.rebuild(identity)
            found = attrs.evolve(self._obtain(mirror, wanted), how="clone")
            self._lay_out(layout, found.commit, git, mirror)
        return found, had_mirror

    def _mirror(self, address: Address, git: Git) -> Mirror:
        settings = self.settings
        digest = hashlib.md5(address.url.encode(errors="replace"), usedforsecurity=False).hexdigest()
        own = self.folder / f".mirror-{digest[:8]}"
        habits = Habits(
            settings.usable_fetch_args()[0],
            settings.clone_depth,
            settings.clone_filter,
            settings.attempts,
            settings.clone_on_pull_fail,
            settings.clone_verbose,
        )
        return Mirror(mirror_folder(address, settings) or own, address, git, habits)

    def _obtain(self, mirror: Mirror, wanted: Wanted) -> Found:
        with self.watch.step("fetch"):
            return mirror.obtain(wanted.revision, branch=wanted.branch, tag=wanted.tag)

    def _lay_out(self, layout: Layout, commit: str, git: Git, mirror: Mirror | None = None) -> None:
        """Check out; what a partial mirror lacks is fetched into it, which takes its lock."""
        lock = mirror.locked() if mirror is not None and layout.partial else None
        with self.watch.step("checkout"), lock or contextlib.nullcontext():
            lay_out(layout, commit, git, may_fetch=lock is not None)
