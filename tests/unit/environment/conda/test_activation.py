"""What activation comes to for a process, without a shell at every start."""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.environment import EnvironmentSettings, Mode
from clearml_agent_clone.environment.conda.activation import fill, state, variables_of
from clearml_agent_clone.environment.engines import Work
from clearml_agent_clone.environment.model import EnvironmentPlan
from tests.helpers.consoles import Recorder


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    made = tmp_path / "env"
    for folder in ("bin", "conda-meta", "etc/conda/activate.d", "etc/conda/env_vars.d"):
        (made / folder).mkdir(parents=True)
    (made / "bin/python").symlink_to(os.path.realpath("/proc/self/exe"))
    return made


def activated(prefix: Path, console: Recorder, settings: EnvironmentSettings, **environ: str) -> dict[str, str]:
    scratch = prefix.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    settings = attrs.evolve(settings, environ={"PATH": os.defpath, "HOME": "/h", **environ})
    plan = EnvironmentPlan(Mode.STORED, settings)
    return variables_of(prefix, Work(plan, None, prefix, scratch, console, None, {}))


def test_without_scripts_no_program_is_started(
    prefix: Path, console: Recorder, settings: EnvironmentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    (prefix / "conda-meta/state").write_text(json.dumps({"version": 1, "env_vars": {"A": "1", "B": "***unset***"}}))
    (prefix / "etc/conda/env_vars.d/own.json").write_text('{"C": "3", "A": "0"}')
    assert activated(prefix, console, settings) == {
        "CONDA_PREFIX": str(prefix),
        "CONDA_DEFAULT_ENV": str(prefix),
        "CONDA_SHLVL": "1",
        "A": "1",
        "C": "3",
    }
    (prefix / "conda-meta/state").write_text("broken")
    assert activated(prefix, console, settings)["A"] == "0"


def test_scripts_see_the_environment_and_what_they_change_is_kept(
    prefix: Path, console: Recorder, settings: EnvironmentSettings
) -> None:
    scripts = prefix / "etc/conda/activate.d"
    (scripts / "1.sh").write_text(
        'echo "hello from 1"\nexport ONE="$CONDA_PREFIX/1 $A"\nexport LINES="a\nb"\nlocal=2\n'
    )
    (scripts / "2.sh").write_text(
        'export PATH="$CONDA_PREFIX/2:$PATH:/after"\nexport MANPATH="$MANPATH:/man"\nexit 3\n'
    )
    (scripts / "1.fish").write_text("set -x WRONG 1\n")
    state(prefix, {"A": "x y"})
    found = activated(prefix, console, settings, SECRET="s", MANPATH="/there")
    assert found["ONE"] == f"{prefix}/1 x y"
    assert found["LINES"] == "a\nb"
    assert found["PATH"] == f"{prefix}/2:{prefix}/bin:${{PATH}}:/after"
    assert found["MANPATH"] == "${MANPATH}:/man"
    assert {"SECRET", "WRONG", "local", "SHLVL", "PWD", "ASKED_ANSWER", "HOME"}.isdisjoint(found)
    assert b"hello from 1" in console.raw
    filled = fill(found, {"PATH": "/usr/bin"})
    assert filled["PATH"] == f"{prefix}/2:{prefix}/bin:/usr/bin:/after"
    assert filled["MANPATH"] == "/man"


def test_scripts_that_fail_are_told(prefix: Path, console: Recorder, settings: EnvironmentSettings) -> None:
    (prefix / "etc/conda/activate.d/bad.sh").write_text("echo out of luck >&2\nkill -9 $$\n")
    assert activated(prefix, console, settings)["CONDA_PREFIX"] == str(prefix)
    assert "The activation scripts of the environment failed: out of luck" in console.lines
