"""Real uv with projects whose packages come from an index on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from virtualenv.seed.wheels.embed import get_embed_wheel

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import (
    EnvironmentRequest,
    EnvironmentResult,
    EnvironmentSettings,
    build_environment,
    hold,
    plan_environment,
)
from clearml_agent_clone.environment.projects.settings import ProjectSettings
from clearml_agent_clone.environment.uv_tools import find_uv
from clearml_agent_clone.errors import UserError
from tests.helpers.consoles import Recorder
from tests.helpers.package_index import PackageIndex, serve
from tests.helpers.projects import UV_BUILD, checkout, commit, module, repository, status

PROJECT = """[project]
name = "demo"
version = "1.2"
requires-python = ">=3.10"
dependencies = ["beta", "side"]
[project.optional-dependencies]
more = ["tool"]
[project.scripts]
demo = "demo:main"
[tool.uv.sources]
side = { workspace = true }
[tool.uv.workspace]
members = ["libs/*"]
"""
SIDE = '[project]\nname = "side"\nversion = "0.3"\nrequires-python = ">=3.10"\ndependencies = []\n'
FILES = {
    "pyproject.toml": PROJECT + UV_BUILD,
    "src/demo/__init__.py": module("demo"),
    "libs/side/pyproject.toml": SIDE + UV_BUILD,
    "libs/side/src/side/__init__.py": module("side"),
    "train.py": "import demo\n",
}


@pytest.fixture(scope="module")
def index(links: Path) -> Iterator[PackageIndex]:
    with serve(PackageIndex(links)) as index:
        yield index


@pytest.fixture(scope="module")
def lock(index: PackageIndex, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The lock file of ``FILES``."""
    root = checkout(tmp_path_factory.mktemp("locked"), FILES)
    environment = {"PATH": os.environ["PATH"], "HOME": str(root), "UV_DEFAULT_INDEX": index.url}
    subprocess.run([find_uv(os.environ), "lock", "-q"], cwd=root, env=environment, check=True)
    return (root / "uv.lock").read_text()


@pytest.fixture(scope="module")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def settings(settings: EnvironmentSettings, index: PackageIndex, remembered: Path) -> EnvironmentSettings:
    """uv's own variable names the index, as on a machine whose uv is set up; pip's is not there for uv projects."""
    environ = {**settings.environ, "PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "UV_DEFAULT_INDEX": index.url}
    return attrs.evolve(settings, environ=environ, manager="uv", state_dir=remembered)


Build = Any


@pytest.fixture
def build(settings: EnvironmentSettings, console: Recorder) -> Iterator[Build]:
    results: list[EnvironmentResult] = []

    def call(
        root: Path, folder: Path | None = None, extra_index_url: tuple[str, ...] = (), **more: Any
    ) -> EnvironmentResult:
        store_dir = more.pop("store_dir", settings.store_dir)
        mine = attrs.evolve(
            settings, projects=ProjectSettings(**more), extra_index_url=extra_index_url, store_dir=store_dir
        )
        request = EnvironmentRequest(Requirements(pip="gone==1"), "", root, folder or root, "t1", has_repository=True)
        made = plan_environment(request, mine)
        for line in made.describe():
            console.say(line)
        results.append(build_environment(made, console))
        return results[-1]

    yield call
    for result in results:
        if result.lease is not None:
            result.lease.release()


def run(result: EnvironmentResult, code: str, cwd: Path | None = None) -> str:
    assert result.python is not None
    argv = [str(result.python), "-B", "-c", code]
    return subprocess.run(argv, check=True, capture_output=True, text=True, cwd=cwd or "/").stdout.strip()


def test_a_project_and_its_workspace(
    build: Build, lock: str, tmp_path: Path, settings: EnvironmentSettings, console: Recorder
) -> None:
    root = repository(tmp_path / "r", {**FILES, "uv.lock": lock})
    result = build(root)
    assert result.installed == ("alpha==2.0", "beta==1.0", "./libs/side")
    assert (result.reused, result.engine) == (False, "uv sync")
    assert "Packages: uv.lock of the repository (5 packages)" in console.lines
    assert any(line.startswith("uv 0.") for line in console.lines), "the version of uv is told"
    assert run(result, "import demo; print(demo.__file__)") == str(root / "src" / "demo" / "__init__.py")
    assert run(result, "import side, beta, pip; print(side.__file__)") == str(root / "libs/side/src/side/__init__.py")
    code = "from importlib.metadata import version, distribution as d; print(version('demo'), version('side'), d('demo').requires)"
    assert run(result, code) == "1.2 0.3 ['beta', 'side']"
    assert result.bin_dir is not None
    program = subprocess.run([result.bin_dir / "demo"], check=True, capture_output=True, text=True)
    assert program.stdout == "demo speaks\n"
    assert run(result, "import sys; print(sys.prefix)") == result.variables["VIRTUAL_ENV"] == str(result.bin_dir.parent)
    assert status(root) == "", "nothing is written into the checkout"
    assert result.lease is not None
    kept = result.lease.folder
    assert str(tmp_path / "r") not in "".join(
        file.read_text(errors="replace") for file in (kept / "env").rglob("*") if file.suffix in {".pth", ".json"}
    ), "what is kept does not lead into a checkout"
    result.lease.release()
    assert not list(kept.glob("task.*")), "the layer goes with the lease"
    assert settings.store_dir is not None
    assert (kept / "env").is_dir()


def test_the_second_task_starts_nothing_and_has_its_own_checkout(
    build: Build, lock: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: PackageIndex
) -> None:
    files = {**FILES, "uv.lock": lock}
    first = build(checkout(tmp_path / "a", files))
    asked = len(index.requests)

    def never(*_: object, **__: object) -> object:
        pytest.fail("a program was started")

    root = checkout(tmp_path / "b", {**files, "src/demo/__init__.py": "HERE = 'b'\n"})
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.Popen", never)
        second = build(root)
    assert second.reused
    assert len(index.requests) == asked, "and asks no index"
    assert second.installed == first.installed
    assert second.seconds["total"] < 0.3
    assert run(second, "import demo; print(demo.HERE)") == "b"
    assert "a" in Path(run(first, "import demo; print(demo.__file__)")).parts, "each task has its own layer"
    assert second.python is not None
    assert second.python != first.python
    second.lease.release()
    assert not second.python.exists(), "a layer goes with its task, not with the last one"
    assert first.python is not None
    assert first.python.exists()


def test_what_the_task_installs_stays_in_its_layer(build: Build, lock: str, tmp_path: Path, links: Path) -> None:
    result = build(checkout(tmp_path / "a", {**FILES, "uv.lock": lock}))
    pip = [str(result.python), "-m", "pip", "install", "-q", "--no-index", "--find-links", str(links), "tool"]
    subprocess.run(pip, check=True, env={"PATH": os.environ["PATH"], "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    assert run(result, "import tool; print(tool.VERSION)") == "1.0"
    result.lease.release()
    second = build(checkout(tmp_path / "b", {**FILES, "uv.lock": lock}))
    assert second.reused, "it did not change what others use"
    with pytest.raises(subprocess.CalledProcessError):
        run(second, "import tool")


def test_a_runner_that_takes_over_has_the_layer_too(
    build: Build, lock: str, tmp_path: Path, settings: EnvironmentSettings
) -> None:
    result = build(checkout(tmp_path / "a", {**FILES, "uv.lock": lock}))
    assert result.python is not None
    lease = hold(result.python, settings)
    assert lease is not None
    layer = result.python.parent.parent
    assert lease.layer == layer
    lease.release()
    assert not layer.exists()


def test_extras_and_further_packages(build: Build, lock: str, tmp_path: Path) -> None:
    root = checkout(tmp_path / "a", {**FILES, "uv.lock": lock, "my.env": "COLOUR=red\n"})
    run_args = ("--env-file", "my.env", "--with", "alpha>=2")
    result = build(root, uv_sync_arguments=("--extra", "more"), uv_run_arguments=run_args)
    assert "tool==1.0" in result.installed
    assert result.variables["COLOUR"] == "red"
    assert result.bin_dir is not None
    program = subprocess.run([result.bin_dir / "tool"], check=True, capture_output=True, text=True)
    assert program.stdout == "1.0\n", "programs of kept packages run in the layer"
    assert f"{result.bin_dir}/python" in (result.bin_dir / "tool").read_text()


def test_without_the_project_itself(build: Build, lock: str, tmp_path: Path) -> None:
    root = checkout(tmp_path / "a", {**FILES, "uv.lock": lock})
    result = build(root, uv_sync_arguments=("--no-install-workspace",))
    assert result.python is not None
    assert result.python.parent.parent.name == "env", "then no layer is needed"


def test_a_lock_file_that_does_not_fit_any_more(build: Build, lock: str, tmp_path: Path, console: Recorder) -> None:
    files = {**FILES, "pyproject.toml": FILES["pyproject.toml"].replace('"side"]', '"side", "tool"]')}
    root = repository(tmp_path / "r", {**files, "uv.lock": lock})
    result = build(root)
    assert result.installed == ("alpha==2.0", "beta==1.0", "tool==1.0", "./libs/side")
    assert "uv.lock does not fit pyproject.toml any more: uv chooses versions for what changed" in console.text
    assert status(root) == ""
    assert run(result, "import side; print(side.__file__)") == str(root / "libs/side/src/side/__init__.py")


def test_a_project_without_a_lock_file(build: Build, tmp_path: Path, console: Recorder) -> None:
    text = PROJECT.partition("[tool.uv.sources]")[0].replace(', "side"', "")
    root = repository(
        tmp_path / "r", {"sub/pyproject.toml": text + UV_BUILD, "sub/src/demo/__init__.py": module("demo")}
    )
    result = build(root, root / "sub")
    assert result.installed == ("alpha==2.0", "beta==1.0")
    assert "pyproject.toml in sub, without a lock file: uv chooses the versions" in console.text
    assert run(result, "import demo; print(demo.__file__)") == str(root / "sub/src/demo/__init__.py")
    assert status(root) == "", "the lock file that uv writes is not in the checkout"
    assert build(root, root / "sub").reused


def test_an_environment_that_is_not_kept(build: Build, lock: str, tmp_path: Path) -> None:
    root = checkout(tmp_path / "r", {**FILES, "uv.lock": lock})
    result = build(root, store_dir=None)
    assert run(result, "import demo, side, beta; print(demo.__file__)") == str(root / "src/demo/__init__.py")
    result.lease.release()
    assert not result.lease.folder.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--extra", "nope"), "the project has no such extra: nope"),
        (("--bad",), "there is no option --bad"),
    ],
)
def test_a_failure_is_that_of_the_task(
    build: Build, lock: str, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    root = checkout(tmp_path / "r", {**FILES, "uv.lock": lock})
    with pytest.raises(UserError) as caught:
        build(root, uv_sync_arguments=arguments)
    assert (caught.value.code, caught.value.message) == ("packages-failed", message)


def test_two_tasks_at_once_do_the_work_once(
    build: Build, lock: str, tmp_path: Path, index: PackageIndex, console: Recorder
) -> None:
    roots = [checkout(tmp_path / name, {**FILES, "uv.lock": lock}) for name in "ab"]
    results: list[EnvironmentResult] = []
    threads = [threading.Thread(target=lambda root=root: results.append(build(root))) for root in roots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.reused for result in results) == [False, True]
    assert len({result.lease.folder for result in results if result.lease is not None}) == 1
    assert console.lines.count("Installing what uv.lock says with uv sync") == 1


def test_credentials_of_an_index_are_shown_nowhere(
    build: Build, tmp_path: Path, links: Path, console: Recorder, settings: EnvironmentSettings
) -> None:
    with serve(PackageIndex(links)) as private:
        private.password = "joe:s3cr3t"
        named = f'[[tool.uv.index]]\nname = "private"\nurl = "{private.url}"\ndefault = true\n'
        text = PROJECT.partition("[tool.uv.sources]")[0].replace(', "side"', "")
        root = repository(tmp_path / "r", {"pyproject.toml": text + named})
        url = private.url.replace("://", "://joe:s3cr3t@")
        with pytest.raises(UserError) as caught:
            build(root, uv_sync_arguments=("--index", url.replace("s3cr3t", "wr0ng")))
        assert "wr0ng" not in f"{caught.value} {console.text}"
        result = build(root, extra_index_url=(url,))
    assert result.installed == ("alpha==2.0", "beta==1.0")
    assert "s3cr3t" not in console.text
    kept = "".join(
        file.read_text(errors="replace")
        for file in result.lease.folder.rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    )
    assert "s3cr3t" not in kept


def test_pylock(build: Build, tmp_path: Path, lock: str, index: PackageIndex, settings: EnvironmentSettings) -> None:
    root = checkout(tmp_path / "r", {**FILES, "uv.lock": lock})
    export = [
        find_uv(os.environ),
        "export",
        "-q",
        "--format",
        "pylock.toml",
        "--no-emit-workspace",
        "-o",
        "pylock.toml",
    ]
    subprocess.run(export, cwd=root, check=True, env={**settings.environ, "HOME": str(tmp_path)})
    (root / "uv.lock").unlink()
    repository(root, {})
    commit(root)
    result = build(root)
    assert result.installed == ("alpha==2.0", "beta==1.0")
    assert run(result, "import demo, beta, pip; print(demo.__file__)") == str(root / "src/demo/__init__.py")
    assert status(root) == ""
    assert build(root).reused


def test_a_package_that_only_its_backend_can_install(
    build: Build, tmp_path: Path, settings: EnvironmentSettings, links: Path, console: Recorder
) -> None:
    """setuptools reads the version from a file, and its editable install is a program that finds modules."""
    text = """[project]
name = "demo"
dynamic = ["version"]
dependencies = ["alpha"]
requires-python = ">=3.10"
[tool.setuptools]
packages = ["demo"]
package-dir = { demo = "code" }
[tool.setuptools.dynamic]
version = { file = "VERSION" }
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
"""
    index_folder = tmp_path / "links"
    index_folder.mkdir()
    carried = [get_embed_wheel(name, f"3.{sys.version_info[1]}") for name in ("setuptools", "wheel")]
    for wheel in (*(wheel.path for wheel in carried if wheel is not None), *links.glob("alpha*")):
        shutil.copy(wheel, index_folder)
    root = checkout(tmp_path / "r", {"pyproject.toml": text, "VERSION": "7.5", "code/__init__.py": module("demo")})
    with serve(PackageIndex(index_folder)) as index:
        result = build(root, uv_sync_arguments=("--default-index", index.url))
    assert run(result, "import demo; print(demo.__file__)") == str(root / "code/__init__.py")
    assert run(result, "from importlib.metadata import version; print(version('demo'))") == "7.5"
    assert (
        "Building demo for this task: its backend has to be asked (the folders that setuptools is told to look in)"
        in console.text
    )
    assert result.installed == ("alpha==2.0",)


def test_what_a_task_that_was_killed_left_goes_with_the_next_one(build: Build, lock: str, tmp_path: Path) -> None:
    files = {**FILES, "uv.lock": lock}
    first = build(checkout(tmp_path / "a", files))
    assert first.lease is not None
    left = first.lease.folder / "task.0000"
    left.mkdir()
    second = build(checkout(tmp_path / "b", files))
    second.lease.release()
    assert left.exists(), "somebody still uses the environment: it may be theirs"
    first.lease.release()
    assert not left.exists()
