from __future__ import annotations

from pathlib import Path

import pytest

from clearml_agent_clone.launch.command import Entry
from clearml_agent_clone.launch.plan import Devices, LaunchPlan, TaskIdentity, plan_launch


def make(
    inherited: dict[str, str], entry_point: str = "pkg/train.py", devices: Devices | None = None, **extra: str
) -> LaunchPlan:
    return plan_launch(
        Entry("python", entry_point, Path("/code/work")),
        TaskIdentity("t1", "run1", "host:0", Path("/run/clearml.conf")),
        python=Path("/env/bin/python"),
        bin_dir=Path("/env/bin"),
        devices=devices or Devices(),
        inherited=inherited,
        extra=extra,
    )


def test_the_sdk_finds_its_task_under_both_names() -> None:
    env = make({"HOME": "/h"}).env
    for name in ("TASK_ID", "CONFIG_FILE", "LOG_LEVEL", "LOG_TASK_TO_BACKEND", "WORKER_ID"):
        assert env[f"CLEARML_{name}"] == env[f"TRAINS_{name}"]
    assert env["CLEARML_TASK_ID"] == "t1"
    assert env["CLEARML_LOG_TASK_TO_BACKEND"] == "0"
    assert env["HOME"] == "/h"


def test_an_agent_without_a_key_pair_lends_its_token() -> None:
    entry = Entry("python", "train.py", Path("/code"))
    identity = TaskIdentity("t1", "run1", "host:0", Path("/run/clearml.conf"), token="renewed")
    plan = plan_launch(
        entry,
        identity,
        python=Path("/env/bin/python"),
        bin_dir=None,
        devices=Devices(),
        inherited={"CLEARML_AUTH_TOKEN": "old"},
        extra={},
    )
    assert plan.env["CLEARML_AUTH_TOKEN"] == "renewed"
    assert "renewed" not in repr(identity)
    assert "CLEARML_AUTH_TOKEN" not in make({}).env


def test_the_agents_git_password_stays_with_the_agent() -> None:
    names = ("CLEARML_AGENT_GIT_PASS", "TRAINS_AGENT_GIT_PASS")
    assert not set(names) & set(make(dict.fromkeys(names, "secret")).env)
    asked = make({}, CLEARML_AGENT_GIT_PASS="given by the task")
    assert asked.env[names[0]] == "given by the task"


def test_programs_of_the_environment_come_first() -> None:
    env = make({"PATH": "/usr/bin", "PYTHONHOME": "/x"}).env
    assert env["PATH"] == "/env/bin:/usr/bin"
    assert env["VIRTUAL_ENV"] == "/env"
    assert "PYTHONHOME" not in env


def test_code_can_import_what_lies_beside_it() -> None:
    assert make({"PYTHONPATH": "/lib"}).env["PYTHONPATH"] == "/lib:/code/work:/code/work/pkg"
    assert make({}, "-m pkg.train").env["PYTHONPATH"] == "/code/work"


@pytest.mark.parametrize(
    ("visible", "inherited", "nvidia", "cuda"),
    [
        ("0,1", {}, "0,1", "0,1"),
        ("none", {"CUDA_VISIBLE_DEVICES": "3"}, "none", "none"),
        ("all", {"CUDA_VISIBLE_DEVICES": "3"}, "all", None),
        (None, {"CUDA_VISIBLE_DEVICES": "3"}, "3", "3"),
        (None, {}, None, None),
    ],
)
def test_gpus_are_shown_or_hidden(
    visible: str | None, inherited: dict[str, str], nvidia: str | None, cuda: str | None
) -> None:
    env = make(inherited, devices=Devices(visible)).env
    assert (env.get("NVIDIA_VISIBLE_DEVICES"), env.get("CUDA_VISIBLE_DEVICES")) == (nvidia, cuda)
    assert env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_the_task_may_set_variables_and_the_agents_cache_settings_do_not_leak() -> None:
    env = make({"UV_CACHE_DIR": "/x", "MODE": "a"}, MODE="b").env
    assert "UV_CACHE_DIR" not in env
    assert env["MODE"] == "b"


def test_a_plan_does_not_print_its_environment() -> None:
    assert "hunter2" not in repr(make({"TOKEN": "hunter2"}))
