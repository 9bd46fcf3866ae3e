from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.environment.custom_build import BuildOrder, Built, run_build_script
from clearml_agent_clone.errors import Cancelled, UserError
from clearml_agent_clone.util.process import Cancel
from tests.helpers.consoles import Recorder

TASK = {"id": "t1", "name": "A task", "script": {"entry_point": "train.py", "diff": "small"}}


@pytest.fixture
def order(tmp_path: Path) -> BuildOrder:
    root = tmp_path / "code"
    root.mkdir()
    (root / "train.py").touch()
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    return BuildOrder(str(tmp_path / "build.sh"), TASK, "train.py --lr 1", ".", root, tmp_path / "run", environ)


def script(order: BuildOrder, text: str) -> BuildOrder:
    path = Path(order.script)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return order


def answering(order: BuildOrder, **answer: Any) -> BuildOrder:
    return script(order, f"cat > $CLEARML_CUSTOM_BUILD_OUTPUT <<'END'\n{json.dumps(answer)}\nEND")


def test_its_answer_is_what_is_run(order: BuildOrder, console: Recorder) -> None:
    full = answering(order, binary=sys.executable, entry_point="train.py", working_dir=str(order.root))
    assert run_build_script(full, console) == Built(Path(sys.executable), "train.py", order.root)
    assert run_build_script(answering(order, binary=sys.executable), console) == Built(Path(sys.executable))
    assert "Running agent.custom_build_script" in console.text


def test_it_is_told_all_about_the_task(order: BuildOrder, console: Recorder) -> None:
    told = run_build_script(script(order, "env > seen; pwd >> seen; echo hello; echo oops >&2"), console)
    assert told is None
    seen = (order.root / "seen").read_text()
    values = dict(line.partition("=")[::2] for line in seen.splitlines() if "=" in line)
    assert json.loads(values["CLEARML_CUSTOM_BUILD_TASK_CONFIG_JSON"]) == TASK
    assert json.loads(Path(values["CLEARML_CUSTOM_BUILD_TASK_CONFIG_FILE"]).read_text()) == TASK
    assert values["CLEARML_TASK_SCRIPT_ENTRY"] == "train.py --lr 1"
    assert values["CLEARML_TASK_WORKING_DIR"] == "."
    assert values["CLEARML_GIT_ROOT"] == str(order.root)
    assert values["CLEARML_AGENT_CUSTOM_BUILD_SCRIPT"] == order.script
    assert not Path(values["CLEARML_VENV_PATH"]).exists()
    assert not Path(values["CLEARML_CUSTOM_BUILD_OUTPUT"]).exists()
    assert seen.splitlines()[-1] == str(order.root)
    assert b"hello\noops\n" in console.raw


def test_a_task_that_is_too_large_for_a_variable_is_told_without_its_diff(order: BuildOrder, console: Recorder) -> None:
    for task, expected in (
        (
            {"id": "t1", "script": {"entry_point": "a", "diff": "x" * 500_000}},
            {"id": "t1", "script": {"entry_point": "a"}},
        ),
        ({"id": "t1", "more": "x" * 500_000}, {"id": "t1"}),
    ):
        large = attrs.evolve(order, task=task)
        run_build_script(script(large, 'printf "%s" "$CLEARML_CUSTOM_BUILD_TASK_CONFIG_JSON" > seen'), console)
        assert json.loads((order.root / "seen").read_text()) == expected
        assert json.loads((order.folder / "task.json").read_text()) == task


def test_its_path_may_lie_in_the_checkout(order: BuildOrder, console: Recorder) -> None:
    inside = order.root / "build.sh"
    script(attrs.evolve(order, script=str(inside)), "touch built")
    run_build_script(attrs.evolve(order, script="$CLEARML_GIT_ROOT/build.sh"), console)
    assert (order.root / "built").exists()


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("true", "it wrote nothing"),
        ("echo nonsense > $CLEARML_CUSTOM_BUILD_OUTPUT", "is not JSON"),
        ('echo "[]" > $CLEARML_CUSTOM_BUILD_OUTPUT', 'has no "binary"'),
        ('echo "{}" > $CLEARML_CUSTOM_BUILD_OUTPUT', 'has no "binary"'),
        ('echo \'{"binary": "python"}\' > $CLEARML_CUSTOM_BUILD_OUTPUT', "not the absolute path of a program"),
        ('echo \'{"binary": "/etc/passwd"}\' > $CLEARML_CUSTOM_BUILD_OUTPUT', "not the absolute path of a program"),
        ('echo \'{"binary": "/bin/sh", "working_dir": "/no"}\' > $CLEARML_CUSTOM_BUILD_OUTPUT', "is not a folder"),
        ('echo \'{"binary": "/bin/sh", "entry_point": "/no"}\' > $CLEARML_CUSTOM_BUILD_OUTPUT', "is not a file"),
    ],
)
def test_an_answer_that_cannot_be_used_is_said_and_the_usual_way_taken(
    order: BuildOrder, console: Recorder, text: str, warning: str
) -> None:
    assert run_build_script(script(order, text), console) is None
    (line,) = (line for line in console.lines if "WARNING" in line)
    assert warning in line
    assert line.endswith("Going on without it")


def test_one_that_is_not_there_is_said(order: BuildOrder, console: Recorder) -> None:
    assert run_build_script(attrs.evolve(order, script="~/nowhere.sh"), console) is None
    assert "WARNING: agent.custom_build_script: there is no file" in console.text


def test_one_that_fails_fails_the_task_with_its_last_words(order: BuildOrder, console: Recorder) -> None:
    with pytest.raises(UserError) as caught:
        run_build_script(script(order, "echo the mirror is gone >&2; exit 3"), console)
    assert caught.value.code == "build-script-failed"
    assert caught.value.message.endswith("ended with exit code 3: the mirror is gone")


def test_an_old_answer_does_not_count(order: BuildOrder, console: Recorder) -> None:
    assert run_build_script(answering(order, binary=sys.executable), console) is not None
    assert run_build_script(script(order, "true"), console) is None


def test_an_abort_ends_it_and_what_it_started(order: BuildOrder, console: Recorder) -> None:
    cancel = Cancel()
    waiting = script(order, "sleep 60 &\necho $! > child; wait")
    threading.Thread(target=_set_when, args=(cancel, order.root / "child")).start()
    with pytest.raises(Cancelled):
        run_build_script(waiting, console, cancel)
    child = int((order.root / "child").read_text())
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def _set_when(cancel: Cancel, file: Path) -> None:
    while not (file.exists() and file.read_text().strip()):
        threading.Event().wait(0.01)
    cancel.set()


def test_an_environment_of_its_own_goes_first_on_path(tmp_path: Path) -> None:
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    assert Built(folder / "python").as_environment().bin_dir is None
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    assert Built(folder / "python").as_environment().bin_dir == folder
