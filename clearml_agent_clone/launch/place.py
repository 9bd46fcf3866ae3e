"""What the launch writes down in the run's folder, for a runner that comes after this one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs

from clearml_agent_clone.launch.cgroups import Cgroup
from clearml_agent_clone.launch.family import Family
from clearml_agent_clone.launch.processes import ProcessId
from clearml_agent_clone.util.files import read_json

_WIDTH = 160


@attrs.frozen
class Slot:
    """A file for one short JSON value, which comes later or never.

    It has its full size from the beginning and is written in place: a full disk cannot keep the value out, and it
    takes no time when time counts. A value that was written by halves is none.
    """

    path: Path

    def create(self) -> int:
        """Make it, without value unless it has one; returns a descriptor for ``write_slot``."""
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not os.fstat(handle).st_size:
            write_slot(handle, "")
        return handle

    def put(self, value: object) -> None:
        """Make it, with a value."""
        handle = self.create()
        write_slot(handle, json.dumps(value))
        os.close(handle)

    def read(self) -> object:
        """The value, None while there is none."""
        return read_json(self.path)


def write_slot(handle: int, text: str) -> None:
    """Write JSON to a descriptor that ``Slot.create`` returned."""
    data = text.encode()
    assert len(data) < _WIDTH
    os.pwrite(handle, data.ljust(_WIDTH - 1) + b"\n", 0)


@attrs.frozen
class Place:
    """The files of one run; ``folder`` is the run's."""

    folder: Path
    run_id: str

    @property
    def user_file(self) -> Slot:
        """Who the user's process is."""
        return Slot(self.folder / "user.json")

    @property
    def exit_file(self) -> Slot:
        """How the user's process ended: its exit code, negative for the signal that ended it."""
        return Slot(self.folder / "exit.json")

    @property
    def keeper_file(self) -> Path:
        """Who the keeper is, and in which control group the run lives."""
        return self.folder / "keeper.json"

    def user(self) -> ProcessId | None:
        """The user's process, None when none was started."""
        return ProcessId.from_record(self.user_file.read())

    def exit_code(self) -> int | None:
        """Its exit code, None while nobody has written one down."""
        code = self.exit_file.read()
        return code if isinstance(code, int) else None

    def family(self) -> Family:
        """The run's processes, as far as it is written down how to find them."""
        record = read_json(self.keeper_file)
        return Family(
            self.run_id,
            main=self.user(),
            keeper=ProcessId.from_record(record),
            cgroup=group_at(record.get("cgroup")) if isinstance(record, dict) else None,
        )


def group_at(path: object) -> Cgroup | None:
    """The control group that was written down as ``path``."""
    return Cgroup(Path(path)) if isinstance(path, str) and path else None
