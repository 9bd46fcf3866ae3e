from __future__ import annotations

import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.launch.gpus import GpuChoice, choose_gpus


@pytest.mark.parametrize(
    ("gpus", "choice"),
    [
        ("0", GpuChoice("0", "gpu0")),
        ("0,1", GpuChoice("0,1", "gpu0,1")),
        ("0-3", GpuChoice("0,1,2,3", "gpu0-3")),
        ("all", GpuChoice("all", "gpuall")),
        ("none", GpuChoice("none", "cpu")),
        ("0:1,1:0", GpuChoice("0:1,1:0", "gpu0.1,1.0")),
        ("0.1", GpuChoice("0:1", "gpu0.1")),
        ("GPU-8f1a-22", GpuChoice("GPU-8f1a-22", "gpuGPU-8f1a-22")),
        ("0,0,1", GpuChoice("0,1", "gpu0,0,1")),
    ],
)
def test_lists_are_read(gpus: str, choice: GpuChoice) -> None:
    assert choose_gpus(gpus, cpu_only=False, environ={}) == choice


@pytest.mark.parametrize("gpus", ["", "0,", "3-1", "a", "-1", "0;rm", "0 1", "0-99999999"])
def test_what_is_no_gpu_is_named(gpus: str) -> None:
    with pytest.raises(UserError, match="--gpus"):
        choose_gpus(gpus, cpu_only=False, environ={})


def test_flags_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(UserError, match="contradict"):
        choose_gpus("0", cpu_only=True, environ={})


@pytest.mark.parametrize(
    ("environ", "label"),
    [
        ({}, ""),
        ({"NVIDIA_VISIBLE_DEVICES": "none"}, "cpu"),
        ({"CUDA_VISIBLE_DEVICES": "1"}, "gpu1"),
        ({"NVIDIA_VISIBLE_DEVICES": "2", "CUDA_VISIBLE_DEVICES": "1"}, "gpu2"),
        ({"NVIDIA_VISIBLE_DEVICES": ""}, ""),
    ],
)
def test_without_flags_the_variables_name_the_worker(environ: dict[str, str], label: str) -> None:
    assert choose_gpus(None, cpu_only=False, environ=environ) == GpuChoice(None, label)


def test_in_kubernetes_the_device_plugin_has_chosen() -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "NVIDIA_VISIBLE_DEVICES": "GPU-1"}
    assert choose_gpus("0", cpu_only=False, environ=environ) == GpuChoice(None, "gpuGPU-1")
