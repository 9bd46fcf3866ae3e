"""What a task does to its environment, and what other tasks see of it: nothing, but while they run side by side."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clearml_agent_clone.environment import EnvironmentResult, EnvironmentSettings
from tests.helpers.consoles import Recorder

Build = Callable[..., EnvironmentResult]


def module(result: EnvironmentResult) -> Path:
    (found,) = env(result).glob("lib/python*/site-packages/alpha.py")
    return found


def env(result: EnvironmentResult) -> Path:
    assert result.lease is not None
    return result.lease.env


def say(result: EnvironmentResult, code: str) -> str:
    argv, environ = [str(result.python), "-c", code], {"PATH": os.environ["PATH"]}
    return subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout.strip()


def edit_in_place(file: Path) -> None:
    file.write_text("VERSION = 'poison'\n")


def append(file: Path) -> None:
    with file.open("a") as text:
        text.write("VERSION = 'poison'\n")


def same_size_and_old_stamp(file: Path) -> None:
    """As a careful patcher would: same length, and the time put back to within the second."""
    before = file.stat()
    file.write_text(file.read_text().replace("2.0", "6.6"))
    os.utime(file, (before.st_atime, int(before.st_mtime)))


def chmod(file: Path) -> None:
    file.chmod(0o600)


def delete(file: Path) -> None:
    file.unlink()


def new_file(file: Path) -> None:
    (file.parent / "sitecustomize.py").write_text("raise SystemExit('poison')\n")


def replace(file: Path) -> None:
    other = file.with_suffix(".new")
    other.write_text("VERSION = 'poison'\n")
    other.replace(file)


def own_link(file: Path) -> None:
    (file.parent / "linked.py").symlink_to("/etc/hostname")


EDITS = [edit_in_place, append, same_size_and_old_stamp, chmod, delete, new_file, replace, own_link]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_what_a_task_did_reaches_no_later_task(build: Build, edit: Callable[[Path], None]) -> None:
    first = build("alpha")
    good, mode = module(first).read_text(), module(first).stat().st_mode
    edit(module(first))
    assert first.lease is not None
    first.lease.release()
    again, other = build("alpha"), build("alpha\ntool")
    assert not again.reused
    for each in (again, other):
        assert module(each).read_text() == good
        assert module(each).stat().st_mode == mode
        assert {path.name for path in module(each).parent.glob("*.py")} <= {"_virtualenv.py", "alpha.py", "tool.py"}
        assert say(each, "import alpha; print(alpha.VERSION)") == "2.0"


def test_bytecode_and_a_look_are_no_change(build: Build) -> None:
    first = build("alpha")
    assert say(first, "import alpha; print(alpha.VERSION)") == "2.0"
    assert list(module(first).parent.glob("__pycache__/alpha.*"))
    assert first.lease is not None
    first.lease.release()
    assert build("alpha").reused


@pytest.mark.parametrize("edit", [append, new_file], ids=lambda edit: edit.__name__)
def test_what_a_running_task_did_reaches_no_task_that_starts_then(
    build: Build, console: Recorder, edit: Callable[[Path], None]
) -> None:
    first = build("alpha")
    edit(module(first))
    second, other = build("alpha"), build("alpha\ntool")
    assert not second.reused
    assert "A task that is running has changed the kept environment" in console.text
    for each in (second, other):
        assert env(each) != env(first)
        assert say(each, "import alpha; print(alpha.VERSION)") == "2.0"
    assert env(first).is_dir(), "it is still in use"


def test_a_change_in_the_cache_alone_is_noticed_by_the_next_build(build: Build, console: Recorder) -> None:
    first = build("alpha")
    assert module(first).stat().st_nlink > 1
    old = [file.stat().st_mtime for file in module(first).parent.rglob("*") if file.is_file()]
    append(module(first))
    os.utime(module(first), (max(old) + 60, max(old) + 60))  # long after it was unpacked
    other = build("alpha\ntool")  # of another content, so nobody compares the first one before
    assert "A task has changed packages in uv's cache" in console.text
    assert say(other, "import alpha; print(alpha.VERSION)") == "2.0"


def test_tasks_side_by_side_see_the_same_files(build: Build) -> None:
    """Known, and said in docs/environments.md: they share one environment while both run."""
    first, second = build("alpha"), build("alpha")
    assert env(first) == env(second)


_BUILDER = """
import json, os, sys, time
from pathlib import Path
from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import EnvironmentRequest, EnvironmentSettings, build_environment, plan_environment
class Quiet:
    def say(self, text): pass
    def write(self, data): pass
state, store, cache = (Path(name) for name in sys.argv[1:4])
settings = EnvironmentSettings(state, store, state / "builds", cache, environ=dict(os.environ))
plan = plan_environment(EnvironmentRequest(Requirements(pip="beta\\ntool")), settings)
sys.stdin.read()
result = build_environment(plan, Quiet())
print(json.dumps([str(result.python), result.reused]))
result.lease.release()
"""


def test_builders_in_several_processes_do_the_work_once(settings: EnvironmentSettings) -> None:
    arguments = [str(settings.state_dir), str(settings.store_dir), str(settings.uv_cache_dir)]
    environ = {**settings.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", _BUILDER, *arguments]
    with contextlib.ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        builders = [
            stack.enter_context(subprocess.Popen(argv, env=environ, text=True, **pipes))  # type: ignore[call-overload]
            for _ in range(6)
        ]
        for builder in builders:  # all have planned by then
            builder.stdin.close()
        said = [json.loads(builder.stdout.read()) for builder in builders]
    assert [builder.returncode for builder in builders] == [0] * 6
    assert len({python for python, _ in said}) == 1
    assert sorted(reused for _, reused in said) == [False, True, True, True, True, True]
