"""A task recorded by the real SDK, cloned with other parameters, run by a worker, read back by the SDK."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

pytestmark = pytest.mark.sdk


@attrs.frozen
class Rerun:
    """A clone of the training task after the worker had it."""

    task: dict[str, Any]
    console: str
    seen: dict[str, Any]


@pytest.fixture(scope="module")
def rerun(user: Any, worker: Any, trained: str) -> Rerun:
    """Cloned with ``--epochs 5`` for 3, and rate 0.5 for 0.1."""
    clone = user.clone(
        trained, Args__epochs="5", Args__name="second run", General__rate="0.5", General__shuffle="False"
    )
    user.enqueue(clone, worker.queue)
    console = user.completed(clone, worker)
    return Rerun(user.server.call("tasks.get_by_id", task=clone)["task"], console, user.read(clone))


def test_command_line_arguments_of_the_clone_win(rerun: Rerun) -> None:
    assert "epochs=5 name='second run'" in rerun.console


def test_connected_parameters_of_the_clone_win_and_keep_their_types(rerun: Rerun) -> None:
    assert "rate=0.5 layers=[8, 4] shuffle=False" in rerun.console


def test_connected_configuration_reaches_the_code(rerun: Rerun) -> None:
    assert "warmup=5" in rerun.console


def test_the_agents_environment_reaches_the_code(rerun: Rerun) -> None:
    assert "from the environment: green" in rerun.console


def test_parameters_read_back(rerun: Rerun) -> None:
    parameters = rerun.seen["parameters"]
    assert parameters["Args/epochs"] == "5"
    assert parameters["General/rate"] == "0.5"


def test_scalars_read_back(rerun: Rerun) -> None:
    curve = rerun.seen["scalars"]["loss"]["train"]
    assert curve["x"] == [0, 1, 2, 3, 4]
    assert curve["y"][1] == pytest.approx(0.60653, abs=1e-4)
    assert rerun.seen["single"] == {"accuracy": 0.75}


def test_plots_read_back(rerun: Rerun) -> None:
    assert "curve" in rerun.seen["plots"]


def test_artifacts_read_back(rerun: Rerun) -> None:
    assert rerun.seen["artifacts"]["summary"] == {"epochs": 5, "rate": 0.5}


def test_models_read_back(rerun: Rerun) -> None:
    assert rerun.seen["models"] == {"tiny": "weights after 5 epochs\n"}


def test_console_reads_back(rerun: Rerun) -> None:
    assert "epochs=5" in rerun.seen["console"]


def test_installed_packages_are_written_back_and_the_original_kept(user: Any, rerun: Rerun, trained: str) -> None:
    recorded = user.server.call("tasks.get_by_id", task=trained)["task"]["script"]["requirements"]["pip"]
    requirements = rerun.task["script"]["requirements"]
    assert requirements["org_pip"] == recorded
    installed = requirements["pip"]
    lines = installed if isinstance(installed, list) else installed.splitlines()
    assert any(line.replace(" ", "").startswith("clearml==") for line in lines)


def test_the_commit_stays_recorded(user: Any, rerun: Rerun, trained: str) -> None:
    original = user.server.call("tasks.get_by_id", task=trained)["task"]["script"]
    assert rerun.task["script"]["version_num"] == original["version_num"] != ""


def test_the_worker_is_named(worker: Any, rerun: Rerun) -> None:
    assert rerun.task["last_worker"] == f"{worker.name}-on-{worker.queue}"
