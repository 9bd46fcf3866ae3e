"""What is read from project files and arguments, without installing anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearml_agent_clone.environment.engines.poetry import credentials
from clearml_agent_clone.environment.projects.arguments import poetry_arguments, uv_arguments
from clearml_agent_clone.environment.projects.causes import explain
from clearml_agent_clone.environment.projects.editable import Package, read_package
from clearml_agent_clone.environment.projects.layer import read_variables
from clearml_agent_clone.environment.projects.manifest import Manifest
from clearml_agent_clone.environment.projects.mirror import mirror
from clearml_agent_clone.environment.projects.tools import poetry_lines
from clearml_agent_clone.environment.projects.versions import allows, lowest_minor


@pytest.mark.parametrize(
    ("requirement", "yes", "no"),
    [
        (">=3.10", "3.10.0", "3.9.19"),
        (">=3.10,<3.13", "3.12.9", "3.13.0"),
        (">=3.10, <4", "3.99.0", "4.0.0"),
        (">3.11.2", "3.11.3", "3.11.2"),
        ("<=3.11.2", "3.11.2", "3.11.3"),
        ("^3.10", "3.14.0", "3.9.1"),
        ("^3.10.4", "3.10.4", "3.10.3"),
        ("~3.11", "3.11.9", "3.12.0"),
        ("~3.11.4", "3.11.5", "3.11.3"),
        ("~=3.11", "3.12.0", "3.10.0"),
        ("~=3.11.2", "3.11.7", "3.12.0"),
        ("==3.11.*", "3.11.7", "3.12.0"),
        ("3.11.*", "3.11.7", "3.10.0"),
        ("==3.11.7", "3.11.7", "3.11.8"),
        (">=3.9,!=3.11.*", "3.10.1", "3.11.2"),
        (">=3.9,!=3.9.7", "3.9.8", "3.9.7"),
        ("~3.9 || ~3.11", "3.11.1", "3.10.1"),
        (">=3.10,<4.0", "3.13.0rc1", "3.9.0"),
    ],
)
def test_the_versions_that_a_project_is_made_for(requirement: str, yes: str, no: str) -> None:
    assert allows(requirement, yes)
    assert not allows(requirement, no)


def test_what_is_not_understood_allows_everything() -> None:
    assert allows("", "3.11.1")
    assert allows("whatever", "3.11.1")


@pytest.mark.parametrize(
    ("requirement", "lowest"), [(">=3.12", "3.12"), ("^3.11", "3.11"), (">3.11.4,<3.12", "3.11"), (">=4", "")]
)
def test_the_lowest_version_to_install(requirement: str, lowest: str) -> None:
    assert lowest_minor(requirement) == lowest


def test_arguments_of_poetry() -> None:
    made = poetry_arguments(("--with dev", "--extras", "a b", "--no-root", "--sync"))
    assert made.passed == ("--with", "dev", "--extras", "a", "b")
    assert (made.root, made.local, made.packages) == (False, True, True)
    only = poetry_arguments(("--only-root",))
    assert (only.passed, only.root, only.local, only.packages) == ((), True, False, False)
    assert not poetry_arguments(("--no-directory",)).local


def test_arguments_of_uv_sync_and_uv_run_become_one_call() -> None:
    made = uv_arguments(
        ("--extra", "x", "--no-dev --python 3.9", "--index=https://me:pw@h/simple", "--inexact"),
        ("--group=docs", "--no-dev", "--with", "rich>=13,<14,attrs[a,b]", "--env-file", ".env", "--quiet", "-m", "x"),
    )
    assert made.passed == ("--extra", "x", "--no-dev", "--group=docs")
    assert made.lines == ("rich>=13,<14", "attrs[a,b]")
    assert made.env_files == (".env",)
    assert made.indexes.extra == ("https://me:pw@h/simple",), "a password is kept out of what is passed"
    assert made.notes == (
        "uv_run_extra_args: -m is left out: tasks are started without uv run, and this says nothing about packages",
    )


def test_every_place_for_an_index_of_uv() -> None:
    made = uv_arguments(("--default-index", "https://a", "-f /w", "--extra-index-url=https://b"), ()).indexes
    assert (made.main, made.extra, made.find_links) == ("https://a", ("https://b",), ("/w",))


def test_a_command_after_the_arguments_of_uv_run_is_no_argument() -> None:
    made = uv_arguments((), ("--extra", "x", "--", "python", "--with", "y"))
    assert (made.passed, made.lines) == (("--extra", "x"), ())
    assert uv_arguments((), ("--with-requirements", "more.txt")).notes[0].endswith("name the packages by --with")


@pytest.mark.parametrize(
    ("versions", "lines"),
    [
        ((), ("poetry",)),
        (("1.8.3",), ("poetry==1.8.3",)),
        (("<2",), ("poetry<2",)),
        (("<2 ; python_version < '3.10'", ">=2; python_version >= '3.10'"), None),
    ],
)
def test_the_version_of_poetry(versions: tuple[str, ...], lines: tuple[str, ...] | None) -> None:
    assert poetry_lines(versions) == (lines or tuple(f"poetry{version}" for version in versions))


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (
            (
                "Installing dependencies from lock file\n\npyproject.toml changed significantly since poetry.lock was last "
                "generated. Run `poetry lock` to fix the lock file.\n"
            ),
            "poetry.lock does not fit pyproject.toml any more",
        ),
        (
            "Current Python version (3.11.7) is not allowed by the project (^3.12).\nPlease change python executable",
            "the project requires Python ^3.12, and the task runs with 3.11.7",
        ),
        ("\nGroup(s) not found: nope (via --with)\n", "the project has no such group: nope (via --with)"),
        ("\nExtra [nope] is not specified.\n", "the project has no such extra: nope"),
        ('\nThe option "--bad" does not exist\n', "there is no option --bad"),
        (
            "Because demo depends on beta (^9.0) which doesn't match any versions, version solving failed.",
            "package beta has no version ^9.0 in the project's sources",
        ),
        (
            (
                "Because beta (1.0) depends on alpha (>=2.0)\n and demo depends on alpha (<2), beta is forbidden.\n"
                "So, because demo depends on beta (1.0), version solving failed."
            ),
            "the requirements contradict each other: Because beta (1.0) depends on alpha (>=2.0) and demo",
        ),
        (
            (
                "error: The requested interpreter resolved to Python 3.11.2, which is incompatible with the project's Python "
                "requirement: `>=3.12` (from workspace member `demo`'s `project.requires-python`)."
            ),
            "the project requires Python >=3.12, and the task runs with 3.11.2",
        ),
        ("error: Extra `nope` is not defined in the `optional-dependencies` table for `demo`", "no such extra: nope"),
        ("error: Group `nope` is not defined in the project's `dependency-groups` table", "no such group: nope"),
        ("error: unexpected argument '--bad' found\n\nUsage: uv sync", "there is no option --bad"),
        ("error: Failed to parse `uv.lock`\n  cause: TOML parse error", "uv.lock cannot be read"),
        ("error: No space left on device (os error 28)", "the disk is full"),
    ],
)
def test_causes(said: str, cause: str) -> None:
    assert cause in explain(said, "PyPI").message


def write(folder: Path, text: str, *files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(text)
    for name in files:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text('__version__ = "4.5"\n')
    return folder


_HATCH = '[build-system]\nrequires=["hatchling"]\nbuild-backend = "hatchling.build"\n'
_SETUPTOOLS = '[build-system]\nrequires=["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'


def test_a_project_with_all_that_a_layer_can_have(tmp_path: Path) -> None:
    text = f"""{_HATCH}[project]
name = "My.Demo"
version = "1.2"
requires-python = ">=3.10"
dependencies = ["beta>=1"]
[project.scripts]
demo = "demo.cli:main"
[project.gui-scripts]
look = "demo.gui:App.run"
[project.entry-points."demo.plugins"]
one = "demo.one"
"""
    package = read_package(write(tmp_path / "p", text, "src/demo/__init__.py"))
    assert isinstance(package, Package)
    assert (package.name, package.version, package.file_name) == ("My.Demo", "1.2", "my_demo")
    assert package.sources == (tmp_path / "p" / "src", tmp_path / "p")
    assert package.programs == {"demo": "demo.cli:main", "look": "demo.gui:App.run"}
    assert "Requires-Dist: beta>=1\n" in package.metadata()
    assert "[demo.plugins]\none = demo.one\n" in package.entry_points_text()


def test_a_classic_poetry_project(tmp_path: Path) -> None:
    text = """[tool.poetry]
name = "demo"
version = "1.0"
packages = [{include = "demo", from = "lib"}]
[tool.poetry.dependencies]
python = "^3.10"
beta = "^1.0"
other = {version = "*", optional = true}
[tool.poetry.scripts]
demo = "demo:main"
old = {callable = "demo:old"}
file = {reference = "bin/x.sh", type = "file"}
[tool.poetry.plugins."group.a"]
x = "demo.x"
"""
    package = read_package(write(tmp_path / "p", text, "lib/demo/__init__.py"))
    assert isinstance(package, Package)
    assert package.sources == (tmp_path / "p" / "lib",)
    assert package.requires == ("beta",)
    assert package.programs == {"demo": "demo:main", "old": "demo:old"}
    assert package.entry_points["group.a"] == {"x": "demo.x"}


@pytest.mark.parametrize(
    ("text", "file"),
    [
        (
            f'{_HATCH}[project]\nname="d"\ndynamic=["version"]\n[tool.hatch.version]\npath="src/d/about.py"\n',
            "src/d/about.py",
        ),
        (
            (
                f'{_SETUPTOOLS}[project]\nname="d"\ndynamic=["version"]\n[tool.setuptools.dynamic]\n'
                'version = {attr = "d.__version__"}\n'
            ),
            "src/d/__init__.py",
        ),
        (
            '[build-system]\nbuild-backend = "flit_core.buildapi"\n[project]\nname="d"\ndynamic=["version"]\n',
            "d.py",
        ),
    ],
)
def test_a_version_that_stands_in_the_code(tmp_path: Path, text: str, file: str) -> None:
    package = read_package(write(tmp_path / "p", text, file))
    assert isinstance(package, Package)
    assert package.version == "4.5"


@pytest.mark.parametrize(
    ("text", "files", "why"),
    [
        ('[build-system]\nbuild-backend = "maturin"\n[project]\nname="d"\nversion="1"\n', (), "build backend maturin"),
        (f'{_SETUPTOOLS}[project]\nname="d"\nversion="1"\n', ("setup.py",), "setup.py"),
        (f'{_SETUPTOOLS}[project]\nname="d"\ndynamic=["version"]\n', (), "dynamic version"),
        (
            f'{_SETUPTOOLS}[project]\nname="d"\ndynamic=["version"]\n[tool.setuptools_scm]\nx=1\n',
            (),
            "[tool.setuptools_scm]",
        ),
        (
            f'{_HATCH}[project]\nname="d"\nversion="1"\n[tool.hatch.build.hooks.x]\na=1\n',
            (),
            "[tool.hatch.build.hooks]",
        ),
        ('[tool.poetry]\nname="d"\nversion="1"\nbuild="build.py"\n', (), "[tool.poetry.build]"),
        (f'{_SETUPTOOLS}[project]\nname="d"\nversion="1"\n[tool.setuptools.package-dir]\nd="x"\n', (), "the folders"),
    ],
)
def test_what_only_the_backend_can_do_is_left_to_it(
    tmp_path: Path, text: str, files: tuple[str, ...], why: str
) -> None:
    found = read_package(write(tmp_path / "p", text, *files))
    assert isinstance(found, str)
    assert found.startswith(why)


def test_variables_of_a_file() -> None:
    text = '# x\nA=1\nexport B = two words # c\nC=\'a # b\'\nD="x\\ny \\"q\\""\nE=\nnonsense\nF=a#b\n'
    assert read_variables(text) == {"A": "1", "B": "two words", "C": "a # b", "D": 'x\ny "q"', "E": "", "F": "a#b"}


def test_credentials_of_the_agent_are_for_the_source_with_the_same_address(tmp_path: Path) -> None:
    text = '[[tool.poetry.source]]\nname = "my-own"\nurl = "https://h/simple/"\n[[tool.poetry.source]]\nname="b"\nurl="https://b"\n'
    manifest = Manifest.read(write(tmp_path / "p", text))
    assert credentials(manifest, ("https://me:p%40w@h/simple", "https://b")) == {
        "POETRY_HTTP_BASIC_MY_OWN_USERNAME": "me",
        "POETRY_HTTP_BASIC_MY_OWN_PASSWORD": "p@w",
    }


def test_a_stand_in_for_the_checkout(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    write(root, "", "lib/x.py", "uv.lock")
    write(root / "app", "name=1", "code/y.py")
    (root / "app" / ".venv").mkdir()
    place = mirror(root, root / "app", tmp_path / "m")
    assert place == tmp_path / "m" / "app"
    (place / "pyproject.toml").write_text("changed")
    (place / "poetry.lock").write_text("new")
    (place.parent / "uv.lock").write_text("new")
    assert (root / "app" / "pyproject.toml").read_text() == "name=1"
    assert (root / "uv.lock").read_text() != "new"
    assert {item.name for item in (root / "app").iterdir()} == {".venv", "code", "pyproject.toml"}
    assert (place / ".." / "lib" / "x.py").is_file()
    assert not (place / ".venv").exists()
