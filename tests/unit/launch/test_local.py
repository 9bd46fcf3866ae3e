"""The start and the end of real processes, with the keeper between and without."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.launch.local import Launcher, clear, find
from clearml_agent_clone.launch.place import Place
from clearml_agent_clone.launch.plan import RUN_MARK, LaunchPlan
from clearml_agent_clone.launch.processes import ProcessId, read_entry
from clearml_agent_clone.launch.running import Manner
from tests.unit.launch.conftest import Begin

Patiently = Callable[[Callable[[], object]], None]

with_and_without = pytest.mark.parametrize("keeper", [True, False])
SHOW_SELF = """
import json, os, signal
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
print(json.dumps({
    "signals": {name: status[name].strip() for name in ("SigBlk", "SigIgn")},
    "handled": [int(s) for s in signal.valid_signals() if signal.getsignal(s) not in (signal.SIG_DFL, signal.SIG_IGN)],
    "cwd": os.getcwd(),
    "leads": os.getpid() == os.getsid(0) == os.getpgid(0),
    "fds": sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + n)),
    "stdin": os.readlink("/proc/self/fd/0"),
    "umask": os.umask(0),
    "odd": os.environ["ODD"].encode("utf-8", "surrogateescape").hex(),
    "env": sorted(os.environ),
    "nice": os.nice(0),
}), flush=True)
"""


@with_and_without
@pytest.mark.parametrize(
    ("code", "exit_code"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -9), ("pass", 0)]
)
def test_the_exit_code_is_the_processes_own(begin: Begin, code: str, exit_code: int, keeper: bool) -> None:
    started = begin(f"print('hello', flush=True); {code}", keeper=keeper)
    assert started.running.ended(30)
    assert started.running.exit_code() == exit_code
    assert started.said == "hello\n"


def test_the_keeper_changes_nothing_that_the_process_can_see(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD", os.fsdecode(b"a\xff\n="))
    seen = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    for keeper in (True, False):
        started = begin(SHOW_SELF, keeper=keeper)
        seen.append(json.loads(started.says()[0]))
    signal.signal(signal.SIGINT, before)
    with_keeper, without = seen
    for one, number in ((with_keeper, "0"), (without, "1")):
        assert one.pop("cwd").endswith(number)
        assert one["leads"]
        assert one["handled"] == [signal.SIGINT]  # Python's own
        assert bytes.fromhex(one["odd"]) == b"a\xff\n="
    assert with_keeper == without


def test_held_descriptors_stay_open_as_long_as_the_process_lives(begin: Begin, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    launcher = Launcher.open(Place(tmp_path, "held"))
    plan = LaunchPlan(("sleep", "60"), tmp_path, {**os.environ, RUN_MARK: "held"})
    with (tmp_path / "out").open("wb") as file:
        running = launcher.start(plan, file.fileno(), (write_end,))
    os.close(write_end)
    os.set_blocking(read_end, False)
    with pytest.raises(BlockingIOError):
        os.read(read_end, 1)
    assert running.stop(Manner()) == []
    assert os.read(read_end, 1) == b""  # the keeper does not hold it either
    running.settle()
    os.close(read_end)


@with_and_without
def test_a_program_that_is_not_there_is_named(tmp_path: Path, keeper: bool) -> None:
    place = Place(tmp_path, "missing")
    launcher = Launcher.open(place)
    if not keeper:
        launcher.close()
        launcher = Launcher(place, None)
    plan = LaunchPlan(("no-such-program",), Path("/"), {RUN_MARK: "missing"})
    with (tmp_path / "out").open("wb") as file, pytest.raises(UserError, match=r"no-such-program.*No such file"):
        launcher.start(plan, file.fileno())
    assert launcher.close() == []
    assert place.user() is None


def test_a_wait_ends_early_when_woken(begin: Begin) -> None:
    running = begin("import time; time.sleep(60)").running
    read_end, write_end = os.pipe()
    os.write(write_end, b"x")
    assert not running.ended(30, wake=read_end)
    assert not running.ended(0)
    os.close(read_end)
    os.close(write_end)


def test_the_keeper_is_deaf_and_leaves_with_the_last_process(begin: Begin, patiently: Patiently) -> None:
    started = begin("import time; print(1, flush=True); time.sleep(60)")
    started.says()
    keeper = started.running.family.keeper
    assert keeper is not None
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGPIPE):
        os.kill(keeper.pid, number)
    assert Path(f"/proc/{keeper.pid}/comm").read_text() == "clearml-keeper\n"
    held = {link.readlink() for link in Path(f"/proc/{keeper.pid}/fd").iterdir()}
    assert held == {Path(os.devnull), started.running.place.exit_file.path}
    os.kill(started.running.main.pid, signal.SIGTERM)
    assert started.running.ended(30)
    assert started.running.exit_code() == -15
    patiently(lambda: not keeper.alive)


def test_a_keeper_without_an_order_leaves_with_its_runner(tmp_path: Path) -> None:
    launcher = Launcher.open(Place(tmp_path, "idle"))
    keeper = launcher.place.family().keeper
    while keeper is None:
        keeper = launcher.place.family().keeper
    assert ProcessId.of(keeper.pid) == keeper
    assert launcher.close() == []
    assert read_entry(keeper.pid) is None, "it was waited for"


def test_when_the_keeper_is_killed_the_exit_code_is_still_known(begin: Begin) -> None:
    started = begin("import time; print(1, flush=True); time.sleep(0.3); raise SystemExit(7)")
    started.says()
    keeper = started.running.family.keeper
    assert keeper is not None
    os.kill(keeper.pid, signal.SIGKILL)
    assert started.running.ended(30)
    assert started.running.exit_code() == 7


def test_when_the_keeper_is_killed_before_its_order_the_process_starts_all_the_same(tmp_path: Path) -> None:
    launcher = Launcher.open(Place(tmp_path, "keeperless"))
    keeper = launcher.place.family().keeper
    while keeper is None:
        keeper = launcher.place.family().keeper
    os.kill(keeper.pid, signal.SIGKILL)
    os.waitpid(keeper.pid, 0)
    plan = LaunchPlan((sys.executable, "-c", "raise SystemExit(4)"), tmp_path, {RUN_MARK: "keeperless"})
    with (tmp_path / "out").open("wb") as file:
        running = launcher.start(plan, file.fileno())
    assert running.ended(30)
    assert running.exit_code() == 4
    assert running.sweep() == []
    running.settle()


def test_a_stopped_keeper_is_woken_for_its_news(begin: Begin) -> None:
    started = begin("print(1, flush=True); raise SystemExit(5)")
    keeper = started.running.family.keeper
    assert keeper is not None
    os.kill(keeper.pid, signal.SIGSTOP)
    assert started.running.ended(30)
    assert started.running.exit_code() == 5


def test_another_runner_finds_all_that_it_has_to_know(begin: Begin) -> None:
    started = begin("import time; print(1, flush=True); time.sleep(60)")
    started.says()
    place = started.launcher.place
    found = find(place)
    assert found is not None
    assert found.main == started.running.main
    assert found.family == attrs.evolve(started.running.family, heir=False, strangers=frozenset())
    assert not found.ended(0)
    assert found.stop(Manner(grace=20)) == []
    assert found.exit_code() == -15
    found.settle()
    again = find(place)
    assert again is not None
    assert again.ended(0)
    assert again.exit_code() == -15


def test_nothing_was_started(tmp_path: Path) -> None:
    assert find(Place(tmp_path, "nothing")) is None
    assert clear(Place(tmp_path, "nothing")) == []


def test_the_age_of_a_process(begin: Begin) -> None:
    started = begin("import time; print(1, flush=True); time.sleep(60)")
    started.says()
    assert 0 <= started.running.main.age < 30


def test_a_process_is_known_beyond_its_pid() -> None:
    own = ProcessId.of(os.getpid())
    assert own is not None
    assert own.alive
    assert own.there
    assert ProcessId.from_record(own.to_record()) == own
    assert not attrs.evolve(own, started=own.started + 1).alive
    assert not attrs.evolve(own, boot="another boot").alive
    assert ProcessId.from_record({"pid": "x"}) is None
