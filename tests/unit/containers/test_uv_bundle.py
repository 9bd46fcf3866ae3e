"""Where a uv comes from that runs in containers."""

from __future__ import annotations

import os
import platform
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_agent_clone.containers.uv_bundle import uv_for
from clearml_agent_clone.environment import EnvironmentSettings
from clearml_agent_clone.environment.uv_choice import uv_version
from clearml_agent_clone.environment.uv_tools import find_uv
from clearml_agent_clone.errors import UserError
from tests.helpers.consoles import Recorder
from tests.helpers.package_index import PackageIndex, serve

MACHINE = platform.machine()
VERSION = uv_version(find_uv({}))
WHEEL = f"uv-{VERSION}-py3-none-musllinux_1_1_{MACHINE}.whl"
PROGRAM = "#!/bin/sh\necho static\n"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    """An index that has a uv for musl, and wants a password."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = f"uv-{VERSION}.dist-info"
    files = {
        f"uv-{VERSION}.data/scripts/uv": PROGRAM,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: uv\nVersion: {VERSION}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {WHEEL[3 + len(VERSION) + 1 : -4]}\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    with serve(PackageIndex(folder)) as served:
        served.password = "me:hunter2"
        yield served


@pytest.fixture
def settings(tmp_path: Path, index: PackageIndex) -> EnvironmentSettings:
    url = f"http://me:hunter2@127.0.0.1:{index.server_port}/simple"
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": url,
        "UV_HTTP_RETRIES": "0",
    }
    return EnvironmentSettings(tmp_path / "state", tmp_path / "store", tmp_path / "builds", environ=environ)


def test_fetched_once_with_its_hash(settings: EnvironmentSettings, index: PackageIndex) -> None:
    console = Recorder()
    program = uv_for(MACHINE, "musl-1.2", settings, console, None)
    assert program.read_text().endswith("echo static\n")
    assert os.access(program, os.X_OK)
    assert program.stat().st_nlink == 1
    assert sorted(entry.name for entry in program.parent.iterdir()) == ["lock", "uv"]
    asked = len(index.requests)
    assert uv_for(MACHINE, "glibc-2.36", settings, console, None) == program
    assert len(index.requests) == asked
    assert console.lines == [f"Fetching uv {VERSION} for containers, once"]


def test_what_is_not_what_the_index_announced_is_not_used(settings: EnvironmentSettings, index: PackageIndex) -> None:
    index.hashes[WHEEL] = "0" * 64
    console = Recorder()
    with pytest.raises(UserError, match="could not be fetched") as failed:
        uv_for(MACHINE, "musl-1.2", settings, console, None)
    assert failed.value.code == "uv-missing"
    assert "hunter2" not in console.text + str(failed.value)


def test_the_agents_own_where_it_runs(settings: EnvironmentSettings, index: PackageIndex) -> None:
    index.shutdown()
    index.server_close()
    console = Recorder()
    assert uv_for(MACHINE, "glibc-2.36", settings, console, None) == Path(find_uv({})).resolve()
    assert "the agent's own uv is used in the container" in console.text
    with pytest.raises(UserError, match="was not found on the package index") as failed:
        uv_for(MACHINE, "musl-1.2", settings, console, None)
    assert "CLEARML_BOOTSTRAP_UV_EXEC" in str(failed.value.remedy)
    with pytest.raises(UserError, match="the package index has none for sparc"):
        uv_for("sparc", "glibc-2.36", settings, console, None)


def test_a_configured_one_is_used_as_it_is(tmp_path: Path) -> None:
    program = tmp_path / "uv"
    environ = {"PATH": os.environ["PATH"], "CLEARML_BOOTSTRAP_UV_EXEC": str(program)}
    mine = EnvironmentSettings(tmp_path, tmp_path, tmp_path, environ=environ)
    with pytest.raises(UserError, match="which is no program"):
        uv_for(MACHINE, "musl-1.2", mine, Recorder(), None)
    program.write_text(PROGRAM)
    program.chmod(0o755)
    assert uv_for(MACHINE, "musl-1.2", mine, Recorder(), None) == program
