"""All processes of one run, whatever they did to leave it."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import attrs

from clearml_agent_clone.launch.cgroups import Cgroup
from clearml_agent_clone.launch.plan import RUN_MARK
from clearml_agent_clone.launch.processes import Entry, ProcessId, process_table, read_entry


@attrs.frozen
class Family:
    """Finds the processes of a run by all marks that it may have; each finds what others miss.

    The control group finds everything. Where there is none: the session of the user's process; the environment
    variable, for those that left the session; the children of the keeper, to whom the kernel gives the orphans, for
    those that also wiped their environment; and the descendants of all of these.

    Args:
        run_id: the value of the mark in their environment.
        main: the user's process.
        keeper: its parent (``keeper.py``), which is none of them.
        cgroup: the run's group.
        heir: this process gets the orphans when the keeper is gone.
        strangers: children of this process that are none of the run.
    """

    run_id: str
    main: ProcessId | None = None
    keeper: ProcessId | None = None
    cgroup: Cgroup | None = None
    heir: bool = False
    strangers: frozenset[ProcessId] = frozenset()

    def members(self) -> list[int]:
        """Pids of those that live now. Our own process is never among them, nor is the keeper, nor are zombies."""
        grouped = set(self.cgroup.pids()) if self.cgroup is not None else set()
        table = process_table()
        children: dict[int, list[Entry]] = {}
        for entry in table.values():
            children.setdefault(entry.parent, []).append(entry)
        spared = {os.getpid(), 0, 1, 2}
        if self.keeper is not None:
            spared.add(self.keeper.pid)
        found = grouped | self._roots(table, children)
        waiting = list(found)
        while waiting:
            for entry in children.get(waiting.pop(), ()):
                if entry.pid not in found and entry.pid not in spared:
                    found.add(entry.pid)
                    waiting.append(entry.pid)
        dead = {pid for pid in found if pid in table and table[pid].dead}
        # who was in the group and is not in the table has gone, and may have left a child there that nobody saw yet
        return sorted(found - spared - dead)

    def kill(self) -> None:
        """SIGKILL to all that can be hit in one step, also those that live too briefly to be seen by ``members``."""
        main = self.main
        if main is not None and _same_boot(main):
            entry = read_entry(main.pid)
            if entry is None or entry.started == main.started:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(main.pid, signal.SIGKILL)  # no other group can have the number while this one lives
        keeper = self.keeper.pid if self.keeper is not None else 0
        if self.cgroup is not None and set(self.cgroup.pids()) - {keeper}:
            self.cgroup.kill()

    def bury(self) -> None:
        """Wait for the orphans that came to this process and have ended: where pid 1 does not, zombies pile up."""
        own, known = os.getpid(), {(process.pid, process.started) for process in self.strangers}
        for entry in process_table().values():
            if entry.parent == own and entry.dead and (entry.pid, entry.started) not in known:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(entry.pid, os.WNOHANG)

    def _roots(self, table: dict[int, Entry], children: dict[int, list[Entry]]) -> set[int]:
        found = self._session(table)
        if self.keeper is not None and self.keeper.alive:
            found |= {entry.pid for entry in children.get(self.keeper.pid, ())}
        elif self.heir:
            found |= {
                entry.pid
                for entry in children.get(os.getpid(), ())
                if not any(known.pid == entry.pid and known.started == entry.started for known in self.strangers)
            }
        mark = f"{RUN_MARK}={self.run_id}".encode()
        for pid in table.keys() - found:
            with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
                if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.add(pid)
        found.discard(os.getpid())
        if self.keeper is not None:
            found.discard(self.keeper.pid)
        return found

    def _session(self, table: dict[int, Entry]) -> set[int]:
        main = self.main
        if main is None or not _same_boot(main):
            return set()
        leader = table.get(main.pid)
        if leader is not None and leader.started != main.started:
            return set()  # the kernel has given the number to somebody else, so the session had ended
        return {entry.pid for entry in table.values() if entry.session == main.pid}


def own_children() -> frozenset[ProcessId]:
    """The living children of this process."""
    try:
        lists = [file.read_text() for file in Path("/proc/self/task").glob("*/children")]
    except OSError:  # a thread that has just ended
        lists = []
    if lists:
        pids = [int(word) for text in lists for word in text.split()]
    else:  # a kernel without these files
        pids = [entry.pid for entry in process_table().values() if entry.parent == os.getpid()]
    found = (ProcessId.of(pid) for pid in pids)
    return frozenset(child for child in found if child is not None)


def _same_boot(process: ProcessId) -> bool:
    own = ProcessId.of(os.getpid())
    return own is not None and own.boot == process.boot
