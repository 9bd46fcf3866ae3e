"""Which project files count, what is printed about them, and what makes another environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.config import Settings
from clearml_agent_clone.environment import (
    EnvironmentPlan,
    EnvironmentRequest,
    EnvironmentSettings,
    Mode,
    plan_environment,
)
from clearml_agent_clone.environment.projects.settings import ProjectSettings
from clearml_agent_clone.errors import UserError
from tests.helpers.projects import checkout

PROJECT = '[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.10"\n'
UV_LOCK = 'version = 1\n\n[[package]]\nname = "demo"\n\n[[package]]\nname = "alpha"\n'
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


def plan(settings: EnvironmentSettings, root: Path | None, kind: str = "uv", **more: Any) -> EnvironmentPlan:
    mine = {name: more.pop(name) for name in list(more) if hasattr(ProjectSettings, name) or name in _PROJECT}
    rest = {key: more.pop(key) for key in list(more) if not hasattr(settings, key)}
    given = {"script_dir": root, "repository_root": root, "has_repository": True, **rest}
    projects = ProjectSettings(reason=f'agent.package_manager.type is "{kind}"', **mine)
    return plan_environment(
        EnvironmentRequest(**given), attrs.evolve(settings, manager=kind, projects=projects, **more)
    )


@pytest.fixture(scope="module")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One memory of interpreters, so that each is asked once."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def settings(settings: EnvironmentSettings, remembered: Path) -> EnvironmentSettings:
    """On a machine that has just the interpreter of the agent: asking others takes its time."""
    return attrs.evolve(settings, state_dir=remembered, environ={**settings.environ, "PATH": "", "PYENV_ROOT": "/gone"})


_PROJECT = {field.name for field in attrs.fields(ProjectSettings)}


def test_the_decision_is_printed(settings: EnvironmentSettings, tmp_path: Path) -> None:
    root = checkout(tmp_path / "r", {"pyproject.toml": PROJECT, "uv.lock": UV_LOCK})
    made = plan(settings, root, requirements=Requirements(pip="# Python 3\nalpha\nbeta\n"))
    assert made.describe()[1:] == [
        "Packages: uv.lock of the repository (2 packages)",
        "  the 2 lines recorded with the task are not used: the project decides",
        'Installed by: uv sync (agent.package_manager.type is "uv"), from where uv.lock says',
        f"Environment: kept as {made.key}",
    ]
    assert made.mode is Mode.STORED
    assert made.lines == ()


@pytest.mark.parametrize(
    ("kind", "files", "source"),
    [
        ("uv", {"pyproject.toml": PROJECT}, "pyproject.toml of the repository, without a lock file: uv chooses"),
        ("uv", {"pylock.toml": "[[packages]]\nname='a'\n"}, "pylock.toml of the repository (1 package)"),
        ("uv", {"pyproject.toml": PROJECT, "pylock.toml": "x"}, "pylock.toml of the repository"),
        ("uv", {"pyproject.toml": PROJECT, "pylock.toml": "x", "uv.lock": "x"}, "uv.lock of the repository"),
        ("uv", {"pyproject.toml": "[tool.uv.workspace]\nmembers=['a']\n", "uv.lock": ""}, "uv.lock of the repository"),
        ("uv", {"app/pyproject.toml": PROJECT, "app/uv.lock": UV_LOCK}, "uv.lock in app (2 packages)"),
        (
            "poetry",
            {"pyproject.toml": "[tool.poetry]\n", "poetry.lock": "[[package]]\n"},
            "poetry.lock of the repository (1",
        ),
        ("poetry", {"pyproject.toml": "[tool.poetry]\nname='a'\n"}, "pyproject.toml of the repository, without a lock"),
        ("poetry", {"app/pyproject.toml": PROJECT, "app/poetry.lock": "x"}, "poetry.lock in app"),
    ],
)
def test_what_counts(
    settings: EnvironmentSettings, tmp_path: Path, kind: str, files: dict[str, str], source: str
) -> None:
    root = checkout(tmp_path / "r", {"app/train.py": "", **files})
    made = plan(settings, root, kind, script_dir=root / "app")
    assert made.source.startswith(source)
    assert made.engine in {"uv sync", "uv pip sync", "poetry"}
    if "app/" in str(list(files)):
        assert "the root of the repository has no such file" in made.notes


@pytest.mark.parametrize(
    ("kind", "files", "why"),
    [
        ("uv", {"a.py": ""}, "the repository has neither uv.lock, pylock.toml nor pyproject.toml"),
        ("uv", {"pyproject.toml": "[tool.ruff]\n"}, "pyproject.toml describes no project ([project] is missing)"),
        ("uv", {"uv.lock": ""}, "uv.lock comes without a pyproject.toml that describes a project"),
        ("poetry", {"a.py": ""}, "the repository has neither poetry.lock nor pyproject.toml"),
        ("poetry", {"pyproject.toml": "[tool.ruff]\n"}, "pyproject.toml describes no project"),
        ("poetry", {"poetry.lock": ""}, "poetry.lock comes without pyproject.toml"),
    ],
)
def test_without_a_project_pip_takes_over_and_says_so(
    settings: EnvironmentSettings, tmp_path: Path, kind: str, files: dict[str, str], why: str
) -> None:
    root = checkout(tmp_path / "r", files)
    made = plan(settings, root, kind, requirements=Requirements(pip="alpha==1.0"))
    assert made.notes[0] == f'{why}: packages are installed as for "pip"'
    assert made.lines == ("alpha==1.0",)
    assert made.engine == "uv"


def test_a_dry_run_without_the_checkout_says_what_may_come(settings: EnvironmentSettings) -> None:
    assert plan(settings, None).notes[0] == "uv files of the repository come first, if it has them"
    assert plan(settings, None, has_repository=False).notes == ()


@pytest.mark.parametrize("first", [False, True])
def test_the_working_folder_comes_first_if_asked_for(
    settings: EnvironmentSettings, tmp_path: Path, *, first: bool
) -> None:
    files = {"pyproject.toml": PROJECT, "uv.lock": "", "app/pyproject.toml": PROJECT, "app/uv.lock": UV_LOCK}
    root = checkout(tmp_path / "r", files)
    made = plan(settings, root, script_dir=root / "app", uv_in_working_dir=first)
    assert made.project is not None
    assert made.project.folder == (root / "app" if first else root)


def test_a_member_of_a_workspace_has_the_lock_file_of_the_workspace(
    settings: EnvironmentSettings, tmp_path: Path
) -> None:
    workspace = PROJECT + '[tool.uv.workspace]\nmembers = ["app"]\n'
    root = checkout(tmp_path / "r", {"pyproject.toml": workspace, "uv.lock": UV_LOCK, "app/pyproject.toml": PROJECT})
    made = plan(settings, root, script_dir=root / "app", uv_in_working_dir=True)
    assert made.source == "uv.lock of the repository (2 packages)"
    assert made.project is not None
    assert made.project.folder == root / "app"


@pytest.mark.parametrize(
    "change",
    [
        {"uv.lock": UV_LOCK + "\n"},
        {"pyproject.toml": PROJECT + "\n"},
        {"uv_sync_arguments": ("--extra", "x")},
        {"uv_run_arguments": ("--with", "alpha")},
        {"best_match": True},
        {"extra_index_url": ("https://h/simple",)},
    ],
)
def test_what_changes_the_content_changes_the_key(
    settings: EnvironmentSettings, tmp_path: Path, change: dict[str, Any]
) -> None:
    files = {"pyproject.toml": PROJECT, "uv.lock": UV_LOCK}
    key = plan(settings, checkout(tmp_path / "a", {**files, "train.py": "1"})).key
    assert key is not None
    assert plan(settings, checkout(tmp_path / "b", {**files, "train.py": "2"})).key == key
    changed = {name: change.pop(name) for name in list(change) if "." in name}
    assert plan(settings, checkout(tmp_path / "c", {**files, **changed}), **change).key != key


def test_the_files_of_workspace_members_are_part_of_the_key(settings: EnvironmentSettings, tmp_path: Path) -> None:
    lock = UV_LOCK + 'source = { editable = "lib" }\n'
    keys = [
        plan(
            settings,
            checkout(
                tmp_path / name, {"pyproject.toml": PROJECT, "uv.lock": lock, "lib/pyproject.toml": PROJECT + name}
            ),
        ).key
        for name in ("#a", "#b")
    ]
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ("files", "more", "why"),
    [
        ({"pyproject.toml": PROJECT, "uv.lock": ""}, {"store_dir": None}, "agent.venvs_cache.path is empty"),
        ({"pyproject.toml": PROJECT + "[tool.uv.sources]\na = {git = 'x'}\n"}, {}, 'what "git =" leads to may change'),
        ({"pyproject.toml": PROJECT + "[tool.uv.sources]\na = {path = 'x'}\n"}, {}, 'what "path =" leads to'),
        ({"pylock.toml": "[[packages]]\nname='a'\ndirectory = {path='.'}\n"}, {}, "pylock.toml names folders"),
        (
            {"pyproject.toml": PROJECT, "uv.lock": ""},
            {"uv_run_arguments": ("--with", "git+https://h/a")},
            'what "git+https://h/a" contains may change',
        ),
    ],
)
def test_what_may_change_is_not_kept(
    settings: EnvironmentSettings, tmp_path: Path, files: dict[str, str], more: dict[str, Any], why: str
) -> None:
    made = plan(settings, checkout(tmp_path / "r", files), **more)
    assert made.mode is Mode.PRIVATE
    assert why in made.reason


def test_a_python_that_the_project_forbids(settings: EnvironmentSettings, tmp_path: Path) -> None:
    root = checkout(tmp_path / "r", {"pyproject.toml": PROJECT.replace(">=3.10", ">=3.99")})
    with pytest.raises(UserError) as caught:
        plan(settings, root, binary=f"python{MINOR}")
    assert caught.value.code == "python-conflict"
    assert "pyproject.toml requires Python >=3.99, and the task asks for" in caught.value.message
    with pytest.raises(UserError) as missing:
        plan(settings, root, binary="python")
    assert missing.value.code == "python-missing"
    assert "pyproject.toml requires Python >=3.99, which is not on this machine; there is" in missing.value.message


def test_a_python_that_the_task_did_not_ask_for_gives_way(settings: EnvironmentSettings, tmp_path: Path) -> None:
    text = PROJECT.replace(">=3.10", f"!={MINOR}.*")
    root = checkout(tmp_path / "r", {"pyproject.toml": text})
    whole = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    try:
        made = plan(settings, root, environ=whole)
    except UserError as error:
        assert error.code == "python-missing", "this machine has one version of Python only"  # noqa: PT017
        return
    assert made.interpreter is not None
    assert made.interpreter.minor != MINOR
    assert any(f"pyproject.toml requires Python !={MINOR}.*: not {MINOR}." in note for note in made.notes)


def test_a_python_to_be_installed_is_one_that_the_project_allows(settings: EnvironmentSettings, tmp_path: Path) -> None:
    root = checkout(tmp_path / "r", {"pyproject.toml": PROJECT.replace(">=3.10", ">=3.19,<4")})
    assert plan(settings, root, python_install=True).install_python == "3.19"


def test_the_version_file_of_uv(settings: EnvironmentSettings, tmp_path: Path) -> None:
    root = checkout(tmp_path / "r", {"pyproject.toml": PROJECT, ".python-version": "# ours\n3.99\n"})
    assert ".python-version asks for 3.99, which is not on this machine" in plan(settings, root).notes
    assert plan(settings, root, python_install=True).install_python == "3.99"
    assert plan(settings, root, binary=f"python{MINOR}", python_install=True).install_python == "", "the task decides"
    (root / ".python-version").write_text(f"{MINOR}\n")
    made = plan(settings, root)
    assert f".python-version asks for {MINOR}" in made.notes
    assert made.interpreter is not None
    assert made.interpreter.minor == MINOR


def test_a_broken_project_file_is_named(settings: EnvironmentSettings, tmp_path: Path) -> None:
    root = checkout(tmp_path / "r", {"pyproject.toml": "[project\n"})
    with pytest.raises(UserError, match=r"pyproject\.toml: .*line 1") as caught:
        plan(settings, root)
    assert caught.value.code == "project-invalid"


@pytest.mark.parametrize(("name", "kind"), [("CLEARML_AGENT_FORCE_POETRY", "poetry"), ("CLEARML_AGENT_FORCE_UV", "uv")])
def test_a_package_manager_by_variable(name: str, kind: str) -> None:
    made = EnvironmentSettings.from_settings(Settings(), {name: "1", "HOME": "/h"})
    assert (made.manager, made.projects.reason) == (kind, f"{name} is set")
    assert EnvironmentSettings.from_settings(Settings(), {name: "0"}).manager == "pip"


def test_what_a_notebook_needs_is_added(settings: EnvironmentSettings, tmp_path: Path) -> None:
    root = checkout(tmp_path / "r", {"pyproject.toml": PROJECT, "uv.lock": UV_LOCK})
    assert plan(settings, root, extra=("alpha", "nbconvert")).lines == ("nbconvert",), "the lock file has alpha"


def test_an_interpreter_that_is_there_gets_what_pip_would_install(
    settings: EnvironmentSettings, tmp_path: Path
) -> None:
    root = checkout(tmp_path / "r", {"pyproject.toml": PROJECT, "uv.lock": UV_LOCK})
    made = plan(settings, root, install_into="found", requirements=Requirements(pip="alpha==1.0"))
    assert made.mode is Mode.EXISTING
    assert made.notes[0] == "uv is not used: packages go into an interpreter that is there"
