"""Switches for GPUs."""

from __future__ import annotations

import pytest

from clearml_agent_clone.containers.gpus import GpuHost, gpu_switches, visible_devices
from clearml_agent_clone.containers.options import Engine

NVIDIA = GpuHost(nvidia=True)
AMD = GpuHost(nvidia=False, amd=True, render_nodes=(128, 129))
KFD, VIDEO = "--device=/dev/kfd", "--group-add=video"
NODE = "--device=/dev/dri/renderD"


@pytest.mark.parametrize(
    ("visible", "host", "engine", "skip", "tokens", "inside"),
    [
        (None, NVIDIA, "docker", False, ["--gpus=all"], "all"),
        ("all", NVIDIA, "docker", False, ["--gpus=all"], "all"),
        ("0,1", NVIDIA, "docker", False, ['--gpus="device=0,1"'], "all"),
        ("0.1", NVIDIA, "docker", False, ['--gpus="device=0:1"'], "all"),
        ("0:1,1:0", NVIDIA, "docker", False, ['--gpus="device=0:1,1:0"'], "all"),
        ("GPU-8d", NVIDIA, "docker", False, ['--gpus="device=GPU-8d"'], "all"),
        ("0,1", NVIDIA, "podman", False, ["--gpus=0,1"], "all"),
        (None, NVIDIA, "podman", False, ["--gpus=all"], "all"),
        ("none", NVIDIA, "docker", False, ["--env=NVIDIA_VISIBLE_DEVICES=none"], "none"),
        ("none", AMD, "docker", False, ["--env=NVIDIA_VISIBLE_DEVICES=none"], "none"),
        ("", NVIDIA, "docker", False, [], "all"),
        (None, NVIDIA, "docker", True, ["--env=NVIDIA_VISIBLE_DEVICES=all"], "all"),
        ("0.1", NVIDIA, "docker", True, ["--env=NVIDIA_VISIBLE_DEVICES=0:1"], "0:1"),
        (None, AMD, "docker", False, [KFD, NODE + "128", NODE + "129", VIDEO], None),
        ("all", AMD, "docker", False, [KFD, NODE + "128", NODE + "129", VIDEO], None),
        ("0,3", AMD, "docker", False, [KFD, NODE + "128", NODE + "131", "--env=HIP_VISIBLE_DEVICES=0,3",
                                       "--env=ROCR_VISIBLE_DEVICES=0,3", VIDEO], None),
        (None, GpuHost(nvidia=True, amd=True), "docker", False, ["--gpus=all"], "all"),
        (None, GpuHost(nvidia=False), "docker", False, [], None),
        (None, GpuHost(), "docker", False, ["--gpus=all"], "all"),
        ("0", GpuHost(nvidia=False), "docker", False, ['--gpus="device=0"'], "all"),
    ],
)  # fmt: skip
def test_the_table(  # noqa: PLR0917 - the columns of the table
    visible: str | None, host: GpuHost, engine: str, skip: bool, tokens: list[str], inside: str | None
) -> None:
    switches = gpu_switches(visible, host, Engine(engine), skip_flag=skip)
    assert [option.token for option in switches.options] == tokens
    assert switches.inside == ({} if inside is None else {"NVIDIA_VISIBLE_DEVICES": inside})


def test_the_agents_choice_stands_in_its_variables() -> None:
    assert visible_devices({}) is None
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "1"}) == "1"
    assert visible_devices({"NVIDIA_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "1"}) == "0"
