"""Processes that do what they can to escape or to stay. None may be left, whichever means the machine has."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from clearml_agent_clone.launch.cgroups import Cgroup, own_group
from clearml_agent_clone.launch.ending import describe
from clearml_agent_clone.launch.processes import ProcessId, name_of, read_entry
from clearml_agent_clone.launch.running import Manner
from tests.helpers.worker_tools import until
from tests.unit.launch.conftest import Begin, Started

Patiently = Callable[[Callable[[], object]], None]

DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)\n"
POLITE = (
    "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(5))\nprint('up', flush=True)\ntime.sleep(60)\n"
)
NAMELESS = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        os.execve("/bin/sleep", ["sleep", "60"], {})
    os._exit(0)
os.wait()
"""
BOMB = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
room = os.open("room", os.O_RDWR | os.O_CREAT)
os.write(room, b"x" * int(sys.argv[1] if len(sys.argv) > 1 else 120))
os.lseek(room, 0, 0)
print("up", flush=True)
while True:
    if os.read(room, 1):  # a shared position: so many processes there will ever be
        if os.fork() == 0:
            os.setsid()
            os.environ.clear()
    else:
        time.sleep(0.01)
"""
FLEETING = """
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
room = os.open("room", os.O_RDWR | os.O_CREAT)
os.write(room, b"x" * 5000)
os.lseek(room, 0, 0)
print("up", flush=True)
while os.read(room, 1):  # each lives for a moment only, and has a child before it goes
    if os.fork():
        os._exit(0)
    SETSID
"""
CHILD = "import os, time\nif os.fork() == 0:\n    time.sleep(60)\nprint('up', flush=True)\n"
ZOMBIE = "import os, time\nchild = os.fork()\nif child == 0:\n    os._exit(0)\ntime.sleep(0.1)\nprint(child, flush=True)\ntime.sleep(60)\n"
ODD_NAME = (
    "import time\nopen('/proc/self/comm', 'wb').write(b'a) R 1\\xff\\n(')\nprint('up', flush=True)\ntime.sleep(60)\n"
)
SILENT = "import os, time\nprint('up', flush=True)\nos.close(1)\nos.close(2)\ntime.sleep(60)\n"
FLOOD = "import signal\nsignal.signal(15, signal.SIG_IGN)\nwhile True:\n    print('x' * 999, flush=True)\n"
LEADERLESS = """
import ctypes, threading, time
def work():
    print('up', flush=True)
    time.sleep(60)
threading.Thread(target=work).start()
time.sleep(0.1)
ctypes.CDLL(None).pthread_exit(None)
"""

means = pytest.mark.parametrize(
    ("keeper", "cgroup"), [(True, True), (True, False), (False, False)], ids=["cgroup", "keeper", "direct"]
)
needs_cgroups = pytest.mark.skipif(
    own_group() is None or not os.access(own_group() or "/", os.W_OK), reason="no writable cgroup v2 on this machine"
)


def nobody_is_left(started: Started) -> bool:
    return started.running.family.members() == []


@means
@pytest.mark.parametrize("code", [DEAF, SILENT, ODD_NAME, ZOMBIE, LEADERLESS], ids=range(5))
def test_each_is_ended(begin: Begin, code: str, keeper: bool, cgroup: bool) -> None:
    started = begin(code, keeper=keeper, cgroup=cgroup)
    started.says()
    assert started.running.family.members() == [started.running.main.pid]
    assert started.running.stop(Manner(grace=0.1)) == []
    assert started.running.ended(5)
    assert started.running.exit_code() in {-signal.SIGTERM, -signal.SIGKILL}
    assert nobody_is_left(started)


def test_a_process_that_obeys_is_not_killed(begin: Begin) -> None:
    started = begin(POLITE)
    started.says()
    assert started.running.stop(Manner(grace=30)) == []
    assert started.running.exit_code() == 5


def test_the_first_signal_can_be_another(begin: Begin) -> None:
    started = begin(POLITE.replace("15", "signal.SIGUSR1"))
    started.says()
    assert started.running.stop(Manner(30, signal.SIGUSR1)) == []
    assert started.running.exit_code() == 5


def test_who_is_in_a_hurry_gets_no_grace(begin: Begin) -> None:
    started = begin(DEAF)
    started.says()
    looks = iter([False, False, True])
    assert started.running.stop(Manner(grace=1000), lambda: next(looks)) == []
    assert started.running.exit_code() == -signal.SIGKILL


def test_a_stopped_process_gets_to_answer_its_signal(begin: Begin) -> None:
    started = begin(POLITE)
    started.says()
    os.kill(started.running.main.pid, signal.SIGSTOP)
    assert started.running.stop(Manner(grace=30)) == []
    assert started.running.exit_code() == 5


@means
def test_who_left_session_parents_and_environment_is_found(begin: Begin, keeper: bool, cgroup: bool) -> None:
    started = begin(NAMELESS, keeper=keeper, cgroup=cgroup)
    hidden = int(started.says()[0])
    assert started.running.ended(10)
    assert started.running.exit_code() == 0
    assert started.running.family.members() == [hidden]
    assert started.running.sweep() == []
    assert ProcessId.of(hidden) is None


def test_it_is_found_even_when_the_keeper_is_killed(begin: Begin) -> None:
    started = begin(NAMELESS.replace("os.wait()", "time.sleep(60)"), cgroup=False)
    hidden = int(started.says()[0])
    keeper = started.running.family.keeper
    assert keeper is not None
    os.kill(keeper.pid, signal.SIGKILL)
    while keeper.alive:
        started.running.ended(0.01)
    assert hidden in started.running.family.members()
    assert started.running.stop(Manner(grace=0.1)) == []
    assert ProcessId.of(hidden) is None


def test_a_child_that_is_left_behind_is_ended(begin: Begin) -> None:
    started = begin(CHILD)
    assert started.running.ended(10)
    assert started.running.exit_code() == 0
    assert len(started.running.family.members()) == 1
    assert started.running.sweep() == []
    assert nobody_is_left(started)


@means
def test_a_fork_bomb_is_ended(begin: Begin, keeper: bool, cgroup: bool) -> None:
    started = begin(BOMB, keeper=keeper, cgroup=cgroup)
    started.says()
    assert started.running.stop(Manner(grace=0.05)) == []
    assert nobody_is_left(started)


@pytest.mark.parametrize("setsid", [pytest.param(True, marks=needs_cgroups), False])
def test_processes_that_live_for_a_moment_only_are_caught(begin: Begin, setsid: bool) -> None:
    """Without a session of their own a kill of their group is enough; with one only the control group helps."""
    started = begin(FLEETING.replace("SETSID", "os.setsid()" if setsid else "pass"), cgroup=setsid)
    started.says()
    assert started.running.stop(Manner()) == []
    group = started.running.family.cgroup
    if group is None:
        with pytest.raises(ProcessLookupError):
            os.killpg(started.running.main.pid, 0)
    else:
        events = group.path / "cgroup.events"
        until(lambda: "populated 0" in events.read_text())  # the keeper is in it too, and leaves after the others


def test_a_flood_is_ended(begin: Begin) -> None:
    started = begin(FLOOD)
    started.says(1000)
    assert started.running.stop(Manner(grace=0.05)) == []
    size = started.output.stat().st_size
    assert nobody_is_left(started)
    assert started.output.stat().st_size == size


def test_names_are_printable(begin: Begin) -> None:
    started = begin(ODD_NAME)
    started.says()
    pid = started.running.main.pid
    entry = read_entry(pid)
    assert entry is not None
    assert entry.parent == (started.running.family.keeper or started.running.main).pid
    assert describe([pid]) == f"{pid} (a) R 1\\xff\n()"
    assert name_of(0) == "?"


def test_a_zombie_is_no_member_and_a_program_without_its_first_thread_is(begin: Begin) -> None:
    zombie = begin(ZOMBIE)
    child = int(zombie.says()[0])
    entry = read_entry(child)
    assert entry is not None
    assert entry.dead
    leaderless = begin(LEADERLESS)
    leaderless.says()
    main = leaderless.running.main
    stat = Path(f"/proc/{main.pid}/stat")
    while b") Z " not in stat.read_bytes():
        leaderless.running.ended(0.01)
    assert main.alive


def test_our_own_children_are_none_of_the_run(begin: Begin) -> None:
    ours = os.spawnvpe(os.P_NOWAIT, "sleep", ["sleep", "60"], {})
    try:
        started = begin(NAMELESS.replace("os.wait()", "time.sleep(60)"), keeper=False, cgroup=False)
        hidden = int(started.says()[0])
        assert started.running.family.members() == sorted([started.running.main.pid, hidden])
    finally:
        os.kill(ours, signal.SIGKILL)
        os.waitpid(ours, 0)


@needs_cgroups
def test_a_control_group_is_made_used_and_removed(begin: Begin) -> None:
    started = begin(DEAF)
    started.says()
    group = started.running.family.cgroup
    assert group is not None
    assert started.running.main.pid in group.pids()
    assert not group.remove(), "somebody is in it"
    assert started.running.stop(Manner()) == []
    started.running.settle()
    assert not group.path.exists()


@needs_cgroups
def test_a_group_that_the_process_made_below_is_emptied_too(begin: Begin) -> None:
    code = f"""
import os, time
base = "{own_group()}"
ours = [line[3:].strip() for line in open("/proc/self/cgroup") if line.startswith("0::")][0]
inner = base + "/" + os.path.basename(ours) + "/inner"
os.mkdir(inner)
open(inner + "/cgroup.procs", "w").write(str(os.getpid()))
os.environ.clear()
print("up", flush=True)
time.sleep(60)
"""
    started = begin(code)
    started.says()
    group = started.running.family.cgroup
    assert group is not None
    assert started.running.main.pid in group.pids()
    assert started.running.stop(Manner()) == []
    started.running.settle()
    assert not group.path.exists()


@needs_cgroups
def test_empty_groups_of_earlier_runs_are_swept_and_young_ones_stay() -> None:
    parent = own_group()
    assert parent is not None
    old, young = parent / "clearml-run-test-old", parent / "clearml-run-test-young"
    for path in (old, young):
        path.mkdir(exist_ok=True)
    os.utime(old, (1, 1))
    made = Cgroup.create("test-new")
    assert made is not None
    try:
        assert not old.exists()
        assert young.exists()
    finally:
        made.remove()
        young.rmdir()
