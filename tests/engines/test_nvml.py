"""The GPU reader on a machine that has GPUs. The made-up driver of the unit tests shows the rest."""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest

from clearml_agent_clone.monitoring import MachineReader, NoGpus, Sampler, open_gpus

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def cards() -> list[dict[str, str]]:
    """The GPUs as ``nvidia-smi`` lists them."""
    program = shutil.which("nvidia-smi")
    if program is None:
        pytest.skip("no GPU: nvidia-smi is not installed")
    fields = ("index", "uuid", "memory.total", "temperature.gpu", "mig.mode.current")
    answer = subprocess.run(
        [program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if answer.returncode or not answer.stdout.strip():
        pytest.skip(f"no GPU: nvidia-smi says {(answer.stdout + answer.stderr).strip()[:200]!r}")
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.stdout.splitlines()]
    return [dict(zip(fields, row, strict=True)) for row in rows]


@pytest.fixture
def whole(cards: list[dict[str, str]]) -> list[dict[str, str]]:
    if any(card["mig.mode.current"] == "Enabled" for card in cards):
        pytest.skip("a GPU is divided into MIG instances")
    return cards


def test_the_reader_agrees_with_nvidia_smi(whole: list[dict[str, str]]) -> None:
    reader = open_gpus("all")
    gpus = reader.read()
    reader.close()
    assert [gpu.index for gpu in gpus] == [int(card["index"]) for card in whole]
    for gpu, card in zip(gpus, whole, strict=True):
        assert gpu.memory_used is not None
        assert gpu.memory_free is not None
        # What the driver keeps for itself is in the total, but neither used nor free.
        assert gpu.memory_used + gpu.memory_free == pytest.approx(float(card["memory.total"]), rel=0.03)
        assert gpu.temperature == pytest.approx(float(card["temperature.gpu"]), abs=15)
        assert gpu.usage is not None
        assert 0 <= gpu.usage <= 100


def test_gpus_are_chosen_by_number_and_uuid(whole: list[dict[str, str]]) -> None:
    last = whole[-1]
    for visible in (last["index"], last["uuid"], last["uuid"].upper()):
        reader = open_gpus(visible)
        assert [gpu.index for gpu in reader.read()] == [int(last["index"])]
        reader.close()
    assert isinstance(open_gpus("none"), NoGpus)


def test_the_whole_sample(cards: list[dict[str, str]]) -> None:
    sampler = Sampler(MachineReader(), open_gpus("all"))
    sampler.step(0.0)
    wire = sampler.take().to_wire()
    sampler.close()
    for name in ("gpu_usage", "gpu_temperature", "gpu_memory_used", "gpu_memory_free"):
        assert len(wire[name]) >= len(cards)
        assert all(isinstance(value, int | float) for value in wire[name])


def test_looking_is_cheap(cards: list[dict[str, str]]) -> None:
    sampler = Sampler(MachineReader(), open_gpus("all"))
    sampler.take()
    begin = time.process_time()
    for _ in range(20):
        sampler.step(0.0)
    per_look = (time.process_time() - begin) / 20
    sampler.close()
    # Every five seconds, under 0.2 % of a core.
    assert per_look / len(cards) < 0.005
