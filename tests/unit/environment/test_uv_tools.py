from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.environment import EnvironmentSettings
from clearml_agent_clone.environment.interpreter import find_python
from clearml_agent_clone.environment.uv_tools import find_uv, install_python, link_mode, owners
from clearml_agent_clone.errors import UserError
from tests.helpers.consoles import Recorder

from .conftest import Build
from .test_interpreter import fake_python


def offer(folder: Path, version: str) -> Path:
    """A list of downloads for uv with one interpreter in it; returns the list."""
    minor = version.rpartition(".")[0]
    root = folder / "python"
    fake_python(root / "bin" / f"python{minor}", version)
    library = root / "lib" / f"python{minor}"
    library.mkdir(parents=True)
    (library / "_sysconfigdata__linux_test.py").write_text(
        "# system configuration generated and used by the sysconfig module\nbuild_time_vars = {}\n"
    )
    with tarfile.open(folder / "python.tar.gz", "w:gz") as archive:
        archive.add(root, "python")
    major, middle, patch = (int(part) for part in version.split("."))
    entry = {
        "name": "cpython",
        "arch": {"family": platform.machine(), "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": major,
        "minor": middle,
        "patch": patch,
        "prerelease": "",
        "sha256": None,
        "variant": None,
        "url": (folder / "python.tar.gz").as_uri(),
        "build": "20240101",
    }
    (folder / "downloads.json").write_text(json.dumps({f"cpython-{version}-linux-{platform.machine()}-gnu": entry}))
    return folder / "downloads.json"


@pytest.mark.skipif(sys.platform != "linux", reason="the offered interpreter is one for Linux")
def test_an_interpreter_can_be_installed(settings: EnvironmentSettings, console: Recorder, tmp_path: Path) -> None:
    environ = {
        **settings.environ,
        "UV_PYTHON_DOWNLOADS_JSON_URL": str(offer(tmp_path, "3.97.1")),
        "UV_PYTHON_INSTALL_DIR": str(tmp_path / "pythons"),
    }
    mine = attrs.evolve(settings, environ=environ)
    version = subprocess.run([find_uv(environ), "--version"], check=True, capture_output=True, text=True).stdout
    if tuple(int(part) for part in version.split()[1].split(".")[:2]) < (0, 7):
        pytest.skip("this uv cannot be given a list of downloads")
    assert find_python("3.97", mine) is None
    install_python("3.97", mine, console, None)
    found = find_python("3.97", mine)
    assert found is not None
    assert (found.version, found.found) == ("3.97.1", "found in uv's store")
    assert not (tmp_path / "home" / ".local" / "bin").exists(), "nothing is put on PATH"
    assert console.lines[0] == "Installing Python 3.97"


def test_one_that_cannot_be_installed_is_named(build: Build) -> None:
    with pytest.raises(UserError) as caught:
        build(binary="python3.777", python_install=True)
    assert caught.value.code == "python-missing"
    assert "Python 3.777 is not on this machine, and uv could not install it: " in caught.value.message


def test_files_are_linked_where_that_is_possible(tmp_path: Path) -> None:
    assert link_mode(tmp_path, tmp_path) in {"clone", "hardlink"}
    assert list(tmp_path.iterdir()) == []
    assert link_mode(tmp_path, Path("/proc")) == "copy"


def test_uv_is_the_one_that_came_with_the_agent(tmp_path: Path) -> None:
    assert os.access(find_uv({"PATH": str(tmp_path)}), os.X_OK)


def test_files_belong_to_packages(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    (site / "a_b-1.0.dist-info").mkdir(parents=True)
    (site / "a_b-1.0.dist-info" / "RECORD").write_text('a_b/x.py,sha256=1,2\n"a_b/y,z.py",,\n../../../bin/ab,,\n')
    assert owners(tmp_path, ["lib/python3.11/site-packages/a_b/y,z.py"]) == {"a_b"}
    assert owners(tmp_path, ["bin/ab"]) == {"a_b"}
    assert owners(tmp_path, ["lib/python3.11/site-packages/other.py"]) == set()
