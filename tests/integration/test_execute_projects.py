"""``clearml-agent execute`` with repositories that are uv and poetry projects: from the task to what it recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.package_index import PackageIndex, serve
from tests.helpers.projects import module, repository
from tests.helpers.worker_tools import Agent
from tests.unit.environment.conftest import make_wheel

TRAIN = """import os, subprocess, sys
from importlib.metadata import version
import alpha, demo
print("alpha", alpha.VERSION, "demo", version("demo"), os.path.relpath(demo.__file__))
print(subprocess.run(["demo"], capture_output=True, text=True, check=True).stdout)
print("place", sys.prefix)
print("left", sorted(os.listdir(".")))
"""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    folder = tmp_path / "links"
    folder.mkdir()
    make_wheel(folder, "alpha", "1.0")
    make_wheel(folder, "alpha", "2.0")
    with serve(PackageIndex(folder)) as index:
        yield index


def run_twice(agent: Agent, root: Path) -> None:
    """The first task builds, the second finds; both see their own checkout and record what they used."""
    places = []
    for number in range(2):
        task = agent.task(
            "", repository=str(root), branch="main", entry_point="train.py", requirements={"pip": "gone==9\n"}
        )
        ended = agent.run("execute", "--id", task)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        console = agent.console(task)
        assert f"alpha 2.0 demo 1.2 {Path('src/demo/__init__.py')}" in console
        assert "demo speaks" in console
        assert "left ['.git', 'pyproject.toml', 'src', 'train.py']" in console.replace("'poetry.lock', ", "").replace(
            "'uv.lock', ", ""
        )
        assert ("Installing what" in console) == (number == 0)
        assert "the line recorded with the task is not used: the project decides" in console
        places.append(next(line.split()[1] for line in console.splitlines() if line.startswith("place ")))
        recorded = agent.get(task)["script"]["requirements"]
        assert recorded["pip"] == "alpha==2.0"
        assert recorded["org_pip"] == "gone==9\n"
    assert places[0] != places[1]
    assert Path(places[0]).parent == Path(places[1]).parent, "one environment, a layer for each"
    assert not any(Path(place).exists() for place in places), "and the layers are gone"


def test_a_uv_project(agent: Agent, index: PackageIndex, tmp_path: Path) -> None:
    text = f"""[project]
name = "demo"
version = "1.2"
requires-python = ">=3.10"
dependencies = ["alpha"]
[project.scripts]
demo = "demo:main"
[[tool.uv.index]]
name = "here"
url = "{index.url}"
default = true
[build-system]
requires = ["uv_build"]
build-backend = "uv_build"
"""
    root = repository(
        tmp_path / "r", {"pyproject.toml": text, "src/demo/__init__.py": module("demo"), "train.py": TRAIN}
    )
    agent.variables = {**agent.variables, "CLEARML_AGENT_FORCE_UV": "1"}
    run_twice(agent, root)


@pytest.mark.slow
def test_a_poetry_project(agent: Agent, index: PackageIndex, tmp_path: Path) -> None:
    text = f"""[tool.poetry]
name = "demo"
version = "1.2"
description = ""
authors = []
packages = [{{include = "demo", from = "src"}}]
[tool.poetry.dependencies]
python = ">=3.10"
alpha = "^2.0"
[tool.poetry.scripts]
demo = "demo:main"
[[tool.poetry.source]]
name = "here"
url = "{index.url}/"
priority = "primary"
"""
    root = repository(
        tmp_path / "r", {"pyproject.toml": text, "src/demo/__init__.py": module("demo"), "train.py": TRAIN}
    )
    agent.variables = {**agent.variables, "CLEARML_AGENT_FORCE_POETRY": "1"}
    run_twice(agent, root)
