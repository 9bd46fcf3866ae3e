"""Real poetry, in a tool environment of its own, with projects whose packages come from an index on this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.environment import (
    EnvironmentRequest,
    EnvironmentResult,
    EnvironmentSettings,
    build_environment,
    plan_environment,
)
from clearml_agent_clone.environment.projects.settings import ProjectSettings
from clearml_agent_clone.environment.projects.tools import tool
from clearml_agent_clone.errors import UserError
from tests.helpers.consoles import Recorder
from tests.helpers.package_index import PackageIndex, serve
from tests.helpers.projects import checkout, module, repository, status

pytestmark = pytest.mark.slow

PASSWORD = "s3cr3t-p4ss"
SIDE = '[tool.poetry]\nname = "side"\nversion = "0.3"\ndescription = ""\nauthors = []\n'
BUILD_SYSTEM = '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"\n'


def project(url: str) -> str:
    return f"""[tool.poetry]
name = "demo"
version = "1.2"
description = ""
authors = []
packages = [{{include = "demo", from = "src"}}]
[tool.poetry.dependencies]
python = "^3.10"
beta = "^1.0"
side = {{path = "lib", develop = true}}
[tool.poetry.group.dev]
optional = true
[tool.poetry.group.dev.dependencies]
tool = "*"
[tool.poetry.scripts]
demo = "demo:main"
[[tool.poetry.source]]
name = "my-own"
url = "{url}/"
priority = "primary"
{BUILD_SYSTEM}"""


@pytest.fixture(scope="module")
def index(links: Path) -> Iterator[PackageIndex]:
    """An index that wants a password."""
    with serve(PackageIndex(links)) as index:
        index.password = f"joe:{PASSWORD}"
        yield index


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent's state folder, with poetry in it once it is built."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def settings(settings: EnvironmentSettings, tools: Path, uv_cache: Path) -> EnvironmentSettings:
    """The index of this machine, which has poetry."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("POETRY_", "VIRTUAL_ENV"))},
        "HOME": str(tools),
        "POETRY_CACHE_DIR": str(tools / "poetry-cache"),
    }
    return attrs.evolve(settings, environ=environ, manager="poetry", state_dir=tools)


@pytest.fixture(scope="module")
def files(index: PackageIndex, tools: Path, uv_cache: Path) -> dict[str, str]:
    """A project with its lock file."""
    text = project(index.url)
    root = checkout(
        tools / "locked",
        {
            "pyproject.toml": text,
            "src/demo/__init__.py": module("demo"),
            "lib/pyproject.toml": SIDE + BUILD_SYSTEM,
            "lib/side/__init__.py": module("side"),
        },
    )
    own = EnvironmentSettings(tools, None, tools, uv_cache, environ=dict(os.environ))
    try:
        made = tool(("poetry",), own, Recorder(), None)
    except UserError as error:
        if "cannot be reached" not in error.message:
            raise
        pytest.skip("no package index can be reached")
    assert made.bin_dir is not None
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(tools),
        "VIRTUAL_ENV": str(made.bin_dir.parent),
        "POETRY_CACHE_DIR": str(tools / "poetry-cache"),
        "POETRY_HTTP_BASIC_MY_OWN_USERNAME": "joe",
        "POETRY_HTTP_BASIC_MY_OWN_PASSWORD": PASSWORD,
    }
    subprocess.run([made.bin_dir / "poetry", "lock", "-n", "-q"], cwd=root, env=variables, check=True)
    assert made.lease is not None
    made.lease.release()
    return {str(file.relative_to(root)): file.read_text() for file in root.rglob("*") if file.is_file()}


@pytest.fixture
def build(settings: EnvironmentSettings, console: Recorder, index: PackageIndex) -> Iterator[Any]:
    results: list[EnvironmentResult] = []

    def call(root: Path, password: str = PASSWORD, **more: Any) -> EnvironmentResult:
        url = index.url.replace("://", f"://joe:{password}@")
        mine = attrs.evolve(settings, projects=ProjectSettings(**more), extra_index_url=(url,))
        request = EnvironmentRequest(repository_root=root, script_dir=root, task_id="t1", has_repository=True)
        results.append(build_environment(plan_environment(request, mine), console))
        return results[-1]

    yield call
    for result in results:
        if result.lease is not None:
            result.lease.release()


def run(result: EnvironmentResult, code: str) -> str:
    assert result.python is not None
    argv = [str(result.python), "-B", "-c", code]
    return subprocess.run(argv, check=True, capture_output=True, text=True, cwd="/").stdout.strip()


def test_a_locked_project_is_built_once_and_shared(
    build: Any, files: dict[str, str], tmp_path: Path, console: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "r", files)
    result = build(root, poetry_arguments=("--with dev",))
    assert result.installed == ("alpha==2.0", "beta==1.0", "tool==1.0", "./lib")
    assert result.engine == "poetry"
    assert any(line.startswith("poetry ") and "/tools/" in line for line in console.lines), "version and place are told"
    assert run(result, "import demo; print(demo.__file__)") == str(root / "src/demo/__init__.py")
    assert run(result, "import side, beta, pip; print(side.__file__)") == str(root / "lib/side/__init__.py")
    assert run(result, "from importlib.metadata import version; print(version('demo'), version('side'))") == "1.2 0.3"
    assert result.bin_dir is not None
    program = subprocess.run([result.bin_dir / "demo"], check=True, capture_output=True, text=True)
    assert program.stdout == "demo speaks\n"
    with pytest.raises(subprocess.CalledProcessError):
        run(result, "import poetry")
    assert status(root) == "", "nothing is written into the checkout"
    assert PASSWORD not in console.text

    def never(*_: object, **__: object) -> object:
        pytest.fail("a program was started")

    second_root = checkout(tmp_path / "s", {**files, "src/demo/__init__.py": "HERE = 's'\n"})
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.Popen", never)
        second = build(second_root, poetry_arguments=("--with", "dev"))
    assert second.reused
    assert second.seconds["total"] < 0.3
    assert run(second, "import demo; print(demo.HERE)") == "s"


def test_without_a_lock_file_none_is_written_into_the_checkout(
    build: Any, files: dict[str, str], tmp_path: Path, console: Recorder
) -> None:
    """Also the dependencies of a folder that the project names are seen."""
    side = files["lib/pyproject.toml"].replace(
        "[build-system]", '[tool.poetry.dependencies]\nalpha = "*"\n[build-system]'
    )
    text = files["pyproject.toml"].replace('beta = "^1.0"\n', "")
    root = repository(tmp_path / "r", {**files, "pyproject.toml": text, "lib/pyproject.toml": side})
    (root / "poetry.lock").unlink()
    repository(root, {})
    result = build(root)
    assert result.installed == ("alpha==2.0", "./lib")
    assert status(root) == ""
    assert run(result, "import side, demo; print(side.__file__)") == str(root / "lib/side/__init__.py")
    result.lease.release()
    assert not result.lease.folder.exists(), "what a folder of the checkout asks for may change: it is not kept"


def test_a_lock_file_that_does_not_fit_fails_the_task(build: Any, files: dict[str, str], tmp_path: Path) -> None:
    text = files["pyproject.toml"].replace('beta = "^1.0"', 'beta = "^1.0"\nalpha = "*"')
    root = repository(tmp_path / "r", {**files, "pyproject.toml": text})
    with pytest.raises(UserError) as caught:
        build(root)
    assert caught.value.code == "packages-failed"
    assert str(caught.value) == (
        "poetry.lock does not fit pyproject.toml any more. Run poetry lock, commit poetry.lock, and run the task from there"
    )
    assert status(root) == ""


def test_a_refused_password_is_told_without_it(
    build: Any, files: dict[str, str], tmp_path: Path, console: Recorder, settings: EnvironmentSettings
) -> None:
    settings.environ["POETRY_CACHE_DIR"] = str(tmp_path / "cache")  # type: ignore[index] # a dict in these tests
    with pytest.raises(UserError) as caught:
        build(checkout(tmp_path / "r", files), password="wr0ng-one")
    assert "wr0ng-one" not in f"{caught.value} {console.text}"
    assert "my-own" in caught.value.message
