from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.worker.registry import WorkerName, live_workers, register


@pytest.mark.parametrize(
    ("worker_id", "label", "first"),
    [
        ("", "", "host:0"),
        ("", "cpu", "host:cpu:0"),
        ("", "gpu0,1", "host:gpu0,1"),
        ("", "gpuall", "host:gpuall"),
        ("mine", "gpu0", "mine"),
    ],
)
def test_worker_ids_have_the_shapes_that_others_know(worker_id: str, label: str, first: str) -> None:
    assert WorkerName.of(worker_id, "host", label).at(0) == first


def test_slots_are_given_and_given_back(tmp_path: Path) -> None:
    name = WorkerName.of("", "host", "")
    first = register(tmp_path, name)
    first.describe(("default",))
    second = register(tmp_path, name)
    second.describe(("other",))
    assert [first.worker_id, second.worker_id] == ["host:0", "host:1"]
    assert [(worker.worker_id, worker.queues) for worker in live_workers(tmp_path)] == [
        ("host:0", ("default",)),
        ("host:1", ("other",)),
    ]
    first.release()
    third = register(tmp_path, name)
    assert third.worker_id == "host:0"


def test_the_same_fixed_id_twice_is_refused(tmp_path: Path) -> None:
    name = WorkerName.of("", "host", "gpu0")
    register(tmp_path, name)
    with pytest.raises(UserError, match=r"WORKER_ID \[host:gpu0\]"):
        register(tmp_path, name)


def test_a_killed_agent_leaves_its_slot_free(tmp_path: Path) -> None:
    code = (
        "import os,sys; from pathlib import Path\n"
        "from clearml_agent_clone.worker.registry import WorkerName, register\n"
        "register(Path(sys.argv[1]), WorkerName.of('', 'host', '')).describe(('q',))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert (tmp_path / "workers" / "host_0" / "worker.json").exists()
    assert live_workers(tmp_path) == []
    assert register(tmp_path, WorkerName.of("", "host", "")).worker_id == "host:0"


def test_an_order_to_stop_is_not_inherited(tmp_path: Path) -> None:
    name = WorkerName.of("mine", "host", "")
    register(tmp_path, name).release()
    stop = tmp_path / "workers" / "mine" / "stop.json"
    stop.write_text(json.dumps({"mode": "stop"}))
    register(tmp_path, name)
    assert not stop.exists()


def test_plain_names_do_not_mean_agents_with_gpus() -> None:
    name = WorkerName.of("", "host", "")
    assert name.matches("host:3")
    assert not name.matches("host:gpu0")
    assert not name.matches("host:cpu:0")
    assert not name.matches("other:0")
