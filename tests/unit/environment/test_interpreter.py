from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import EnvironmentRequest, EnvironmentResult, EnvironmentSettings
from clearml_agent_clone.environment.interpreter import choose_interpreter, existing_python, find_python, wanted_python
from clearml_agent_clone.environment.probe import Probe
from clearml_agent_clone.environment.search import available, own_base
from clearml_agent_clone.errors import UserError

Build = Callable[..., EnvironmentResult]
OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"


def fake_python(path: Path, version: str) -> Path:
    """A program that answers the agent's question as an interpreter of ``version`` would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {
        "executable": str(path),
        "base": str(path),
        "version": version,
        "build": "fake",
        "platform": "p",
        "abi": "a",
    }
    path.write_text(f"#!/bin/sh\necho '{json.dumps(said)}'\n")
    path.chmod(0o755)
    return path


def broken_python(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\necho not found >&2\nexit 127\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, settings: EnvironmentSettings) -> EnvironmentSettings:
    """A machine whose PATH is one folder, with Python 3.98.4 in it and nothing else."""
    fake_python(tmp_path / "bin" / "python3.98", "3.98.4")
    return attrs.evolve(settings, environ={"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path / "home")})


def choose(settings: EnvironmentSettings, binary: str = "", pip: str | None = None) -> tuple[str, str, tuple[str, ...]]:
    request = EnvironmentRequest(Requirements(pip=pip), binary=binary)
    choice = choose_interpreter(request, settings, keep_virtual=False)
    assert choice.interpreter is not None
    return choice.interpreter.version, choice.interpreter.found, choice.notes


def test_the_version_that_the_task_recorded_is_found_on_path(machine: EnvironmentSettings) -> None:
    assert choose(machine, "python3.98") == ("3.98.4", "found on PATH", ())
    assert choose(machine, "/home/alice/venv/bin/python3.98")[0] == "3.98.4"
    assert choose(machine, "python3.98.4")[0] == "3.98.4"


def test_a_version_that_is_not_there_is_said_with_what_is(machine: EnvironmentSettings) -> None:
    with pytest.raises(UserError) as caught:
        choose(machine, "python3.99")
    assert caught.value.code == "python-missing"
    assert 'Python 3.99 is not on this machine: the task asks for it by script.binary "python3.99"' in str(caught.value)
    assert "3.98" in caught.value.message
    assert OWN in caught.value.message
    assert "agent.python_install" in caught.value.remedy
    with pytest.raises(UserError, match=r"script\.binary"):
        choose(machine, "python3.98.5")


def test_it_may_be_installed_where_that_is_allowed(machine: EnvironmentSettings) -> None:
    choice = choose_interpreter(
        EnvironmentRequest(binary="python3.99"), attrs.evolve(machine, python_install=True), keep_virtual=False
    )
    assert (choice.interpreter, choice.install) == (None, "3.99")


def test_another_version_only_where_the_task_is_to_be_ignored(machine: EnvironmentSettings) -> None:
    ignoring = attrs.evolve(machine, ignore_requested_python_version=True)
    assert choose(ignoring, "python3.99")[0].startswith(OWN)
    assert choose(attrs.evolve(ignoring, default_python="3.98"), "python3.99")[0] == "3.98.4"


@pytest.mark.parametrize("binary", ["", "python", "python3", "bash"])
def test_a_task_that_names_no_version_gets_the_recorded_one_then_the_default(
    machine: EnvironmentSettings, binary: str
) -> None:
    assert choose(machine, binary)[0].startswith(OWN)
    assert choose(attrs.evolve(machine, default_python="3.98"), binary)[0] == "3.98.4"
    assert choose(machine, binary, "# Python 3.98.1 (main) [GCC]\n\nsix\n")[0] == "3.98.4"


def test_a_version_that_is_recorded_above_the_packages_is_not_replaced_either(machine: EnvironmentSettings) -> None:
    packages = "# Python 3.99.1 (main) [GCC]\n\nsix\n"
    with pytest.raises(UserError) as caught:
        choose(attrs.evolve(machine, default_python="3.98"), "python", packages)
    assert caught.value.code == "python-missing"
    assert "Python 3.99 is not on this machine: it is recorded above the task's packages" in caught.value.message
    assert choose(attrs.evolve(machine, ignore_requested_python_version=True), "python", packages)[0].startswith(OWN)
    request = EnvironmentRequest(Requirements(pip=packages), binary="python")
    installing = attrs.evolve(machine, python_install=True)
    assert choose_interpreter(request, installing, keep_virtual=False).install == "3.99"
    configured = attrs.evolve(machine, python_binary="python3.98")
    version, _, notes = choose(configured, "python", packages)
    assert version == "3.98.4"
    assert notes == ("agent.python_binary is used in place of Python 3.99, recorded above the task's packages",)
    there = existing_python(request, attrs.evolve(machine, install_into="found"))  # prepared by whoever asks for it
    assert there.interpreter is not None


def test_the_configured_interpreter(machine: EnvironmentSettings, tmp_path: Path) -> None:
    other = fake_python(tmp_path / "other" / "mypython", "3.97.0")
    configured = attrs.evolve(machine, python_binary=str(other))
    assert choose(configured, "python")[:2] == ("3.97.0", "agent.python_binary")
    assert choose(configured, "python3.97")[0] == "3.97.0"
    assert choose(configured, "python3.98")[0] == "3.98.4"  # it does not stand in for another version
    assert choose(attrs.evolve(machine, python_binary="python3.98"), "python")[0] == "3.98.4"
    with pytest.raises(UserError, match=r"agent\.python_binary names it"):
        choose(attrs.evolve(machine, python_binary="/nowhere/python"), "python")


def test_a_path_that_the_task_names_is_used_when_it_is_there(machine: EnvironmentSettings, tmp_path: Path) -> None:
    here = fake_python(tmp_path / "opt" / "python3.97", "3.97.9")
    assert choose(machine, str(here))[:2] == ("3.97.9", "the path that the task names")
    version, _, notes = choose(machine, "/nowhere/python")
    assert version.startswith(OWN)
    assert notes == ('script.binary "/nowhere/python" is not on this machine',)


def test_a_shim_of_pyenv_that_fails_does_not_hide_what_pyenv_has(machine: EnvironmentSettings, tmp_path: Path) -> None:
    root = tmp_path / "pyenv"
    shim = broken_python(root / "shims" / "python3.97")
    shim.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexit 127\n")
    for version in ("3.97.2", "3.97.10"):
        fake_python(root / "versions" / version / "bin" / "python3.97", version)
    environ = {**machine.environ, "PYENV_ROOT": str(root), "PATH": f"{root}/shims:{machine.environ['PATH']}"}
    pyenv = attrs.evolve(machine, environ=environ)
    assert choose(pyenv, "python3.97")[:2] == ("3.97.10", "found in pyenv")
    assert not (tmp_path / "asked").exists()
    assert available(environ)[-2:] == ["3.97", "3.98"]


def test_what_uv_installed_is_found(machine: EnvironmentSettings, tmp_path: Path) -> None:
    root = tmp_path / "uv-pythons"
    fake_python(root / "cpython-3.97.1-linux-x86_64-gnu" / "bin" / "python3.97", "3.97.1")
    uv = attrs.evolve(machine, environ={**machine.environ, "UV_PYTHON_INSTALL_DIR": str(root)})
    assert choose(uv, "python3.97")[:2] == ("3.97.1", "found in uv's store")


def test_a_broken_interpreter_is_passed_over(machine: EnvironmentSettings, tmp_path: Path) -> None:
    broken_python(tmp_path / "bin1" / "python3.98")
    environ = {**machine.environ, "PATH": f"{tmp_path}/bin1:{machine.environ['PATH']}"}
    assert choose(attrs.evolve(machine, environ=environ), "python3.98")[0] == "3.98.4"


def test_an_agent_in_a_virtual_environment_uses_the_interpreter_below_it(settings: EnvironmentSettings) -> None:
    environ = {**settings.environ, "PATH": str(Path(sys.executable).parent)}
    choice = choose_interpreter(
        EnvironmentRequest(binary=f"python{OWN}"), attrs.evolve(settings, environ=environ), keep_virtual=False
    )
    assert choice.interpreter is not None
    assert choice.interpreter.real_path == Path(os.path.realpath(sys.executable))
    assert not choice.interpreter.path.is_relative_to(sys.prefix) or sys.prefix == sys.base_prefix
    kept = existing_python(EnvironmentRequest(), attrs.evolve(settings, install_into=sys.executable))
    assert kept.interpreter is not None
    assert kept.interpreter.path == Path(sys.executable)


def test_an_interpreter_is_asked_once_until_it_changes(
    tmp_path: Path, settings: EnvironmentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = own_base()
    assert base is not None
    memory = tmp_path / "state" / "interpreters.json"
    first = Probe(memory, settings.environ).ask(base)
    assert first is not None
    assert first.version.startswith(OWN)
    assert first.abi
    assert first.packages

    def never(*_: object, **__: object) -> object:
        pytest.fail("it was asked again")

    monkeypatch.setattr("clearml_agent_clone.util.process.run", never)
    assert Probe(memory, settings.environ).ask(base) == first
    memory.write_text(memory.read_text().replace('"stamp":["', '"stamp":["elsewhere'))
    with pytest.raises(pytest.fail.Exception):
        Probe(memory, settings.environ).ask(base)


def test_a_service_with_a_short_path_finds_what_the_system_has(
    machine: EnvironmentSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_python(tmp_path / "usr" / "python3.97", "3.97.3")
    monkeypatch.setattr("clearml_agent_clone.environment.search._usual", lambda _: [str(tmp_path / "usr")])
    assert choose(machine, "python3.97")[:2] == ("3.97.3", f"found in {tmp_path / 'usr'}")
    assert "3.97" in available(machine.environ)


@pytest.mark.parametrize("minor", ["3.10", "3.11", "3.12", "3.13"])
def test_an_environment_of_each_version_runs(build: Build, settings: EnvironmentSettings, minor: str) -> None:
    environ = {**settings.environ, "HOME": str(Path.home())}
    if find_python(minor, attrs.evolve(settings, environ=environ)) is None:
        pytest.skip(f"Python {minor} is not on this machine")
    result = build("tool", binary=f"python{minor}", environ=environ)
    assert result.bin_dir is not None
    code = "import sys, tool, pip; print('%d.%d' % sys.version_info[:2], tool.VERSION, sys.prefix != sys.base_prefix)"
    assert subprocess.check_output([str(result.python), "-c", code], text=True).split() == [minor, "1.0", "True"]
    assert subprocess.check_output([result.bin_dir / "tool"], text=True) == "1.0\n"
    assert f"python {minor})" in subprocess.check_output([result.bin_dir / "pip", "--version"], text=True)
    listed = subprocess.check_output([result.bin_dir / "pip", "list", "--format=freeze"], text=True)
    expected = {"pip", "tool"} | ({"setuptools"} if minor in {"3.10", "3.11"} else set())
    assert {line.partition("==")[0] for line in listed.splitlines()} == expected


def test_what_the_task_asks_for() -> None:
    strange = wanted_python(EnvironmentRequest(binary="node"), ignore=False)
    assert strange.notes == ('script.binary "node" is no Python and no shell: taken for python',)
    assert wanted_python(EnvironmentRequest(binary="python3.11"), ignore=True).version == ""
    assert wanted_python(EnvironmentRequest(binary="python3"), ignore=False).version == ""
