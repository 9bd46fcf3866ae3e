"""Which list counts, in which order, and what is changed in it; plans of machines with and without a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import (
    EnvironmentPlan,
    EnvironmentRequest,
    EnvironmentSettings,
    Mode,
    plan_environment,
)
from clearml_agent_clone.environment.conda.wish import Wish

Lists = dict[str, str]


def plan(settings: EnvironmentSettings, **more: Any) -> EnvironmentPlan:
    lists = {field.name for field in attrs.fields(Requirements)}
    requirements = Requirements(**{key: value for key, value in more.items() if key in lists})
    rest = {key: value for key, value in more.items() if key not in lists}
    return plan_environment(EnvironmentRequest(requirements=requirements, task_id="t1", **rest), settings)


def wish(made: EnvironmentPlan) -> Wish:
    assert made.project is not None
    return Wish.from_text(made.project.text)


def asked(made: EnvironmentPlan) -> list[str]:
    return [spec.text for spec in wish(made).specs[1:]]


ALL: Lists = {
    "conda_env_json": json.dumps({"dependencies": ["full=1.0=0", {"pip": ["pip-full==1"]}]}),
    "conda": "recorded == 1.0",
    "pip": "pip-recorded==1.0",
    "org_conda": "first == 1.0",
    "org_pip": "pip-first==1.0",
}


@pytest.mark.parametrize(
    ("without", "expected", "lines"),
    [
        ((), ["full=1.0=0"], ("pip-full==1",)),
        (("conda_env_json",), ["recorded ==1.0"], ("pip-recorded==1.0",)),
        (("conda_env_json", "conda"), ["pip-recorded ==1.0"], ()),
        (("conda_env_json", "conda", "pip"), ["written=1.0"], ()),
    ],
)
def test_the_order_of_the_lists(
    conda: EnvironmentSettings, tmp_path: Path, without: tuple[str, ...], expected: list[str], lines: tuple[str, ...]
) -> None:
    (tmp_path / "environment.yaml").write_text("dependencies: [written=1.0]\n")
    (tmp_path / "requirements.txt").write_text("in-file==1.0\n")
    given = {name: text for name, text in ALL.items() if name not in without}
    made = plan(conda, repository_root=tmp_path, has_repository=True, **given)
    assert (asked(made), made.lines) == (expected, lines)
    repository = attrs.evolve(conda, force_repo_requirements_txt=True)
    assert asked(plan(repository, repository_root=tmp_path, has_repository=True, **given)) == ["written=1.0"]


def test_an_empty_conda_list_is_a_list(conda: EnvironmentSettings) -> None:
    made = plan(conda, conda="", pip="alpha==1.0")
    assert (asked(made), made.lines) == ([], ("alpha==1.0",))
    assert "no conda packages were recorded: pip's business" in made.notes


def test_requirements_txt_where_there_is_nothing_else(conda: EnvironmentSettings, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("alpha==1.0\nbeta[x]\n")
    made = plan(conda, repository_root=tmp_path, has_repository=True)
    assert (asked(made), made.lines) == (["alpha ==1.0"], ("beta[x]",))


def test_a_record_that_is_none_is_passed_over(conda: EnvironmentSettings) -> None:
    for text in ("[]", "{", '{"dependencies": 1}'):
        made = plan(conda, conda_env_json=text, conda="alpha == 1.0", pip="")
        assert asked(made) == ["alpha ==1.0"]
        assert "the recorded conda_env_json is no environment of conda: the recorded packages are used" in made.notes


def test_an_environment_yml_that_changes_is_another_environment(conda: EnvironmentSettings, tmp_path: Path) -> None:
    keys = set()
    for text in ("dependencies: []\n", "dependencies: [alpha]\n", "dependencies: [alpha]  # as tested\n"):
        (tmp_path / "environment.yml").write_text(text)
        keys.add(plan(conda, repository_root=tmp_path, has_repository=True).key)
    assert len(keys) == 3


def test_original_requirements(conda: EnvironmentSettings) -> None:
    made = plan(attrs.evolve(conda, force_original_requirements=True), **ALL)
    assert (asked(made), made.lines) == (["first ==1.0"], ("pip-first==1.0",))


def test_before_the_checkout_the_files_are_not_known(conda: EnvironmentSettings) -> None:
    made = plan(conda, has_repository=True)
    assert made.key is None
    assert made.source == "environment.yml or requirements.txt of the repository, if it has one"


def test_an_environment_yml_in_place_of_conda_lines(conda: EnvironmentSettings) -> None:
    made = plan(conda, conda="channels: [mine]\ndependencies:\n- alpha\n- pip: [tool]\n")
    assert (asked(made), made.lines) == (["alpha"], ("tool",))
    assert wish(made).channels == ("mine", *conda.conda.channels)


def test_explicit_lists_bring_their_channels(conda: EnvironmentSettings) -> None:
    url = "https://repo.invalid/pkgs/main"
    made = plan(conda, conda=f"# platform: linux-64\n@EXPLICIT\n{url}/noarch/six-1.16.0-py_1.conda#0123\n")
    assert asked(made) == [f"{url}::six=1.16.0=py_1"]
    assert wish(made).channels == (url, *conda.conda.channels)


def test_what_goes_to_pip_at_once(conda: EnvironmentSettings) -> None:
    made = plan(conda, pip="clearml==1.9.0\nalpha[x]==1.0\na @ git+https://h/a.git\ntorch==1.0; python_version < '3'\n")
    assert asked(made) == []
    assert made.lines == ("clearml==1.9.0", "alpha[x]==1.0", "a @ git+https://h/a.git")
    notes = "\n".join(made.notes)
    assert "clearml==1.9.0: installed by pip, clearml is released there first" in notes
    assert "alpha[x]==1.0: installed by pip, conda has no such requirements" in notes
    assert "torch==1.0; python_version < '3': not for this Python" in notes
    assert made.mode is Mode.PRIVATE, "a branch may change"
    channel = attrs.evolve(conda, conda=attrs.evolve(conda.conda, channels=("clearml",)))
    assert asked(plan(channel, pip="clearml==1.9.0")) == ["clearml ==1.9.0"]


def test_hashes_and_constraints_are_left_to_pip(conda: EnvironmentSettings) -> None:
    made = plan(conda, pip="--require-hashes\nalpha==1.0 --hash=sha256:00\n")
    assert (asked(made), made.lines) == ([], ("alpha==1.0 --hash=sha256:00",))


def test_a_gpu_decides_about_some_packages(conda: EnvironmentSettings) -> None:
    own = attrs.evolve(conda.conda, channels=("pytorch", "conda-forge"))
    lists = {"conda": "torch == 1.13.1\ncudatoolkit == 11.7\ncudnn == 8\ntensorflow-gpu == 2.10", "pip": ""}
    without = plan(attrs.evolve(conda, conda=own), **lists)
    assert asked(without) == ["cpuonly", "pytorch ==1.13.1", "tensorflow ==2.10"]
    assert [note for note in without.notes if "CUDA" in note] == [
        "cudatoolkit ==11.7: left out, there is no CUDA on this machine",
        "cudnn ==8: left out, there is no CUDA on this machine",
        "tensorflow-gpu: tensorflow is installed, there is no CUDA on this machine",
        "cpuonly: added for pytorch, there is no CUDA on this machine",
    ]
    assert "conda: torch == 1.13.1: called pytorch in conda" in without.notes
    own.driver.write_text("NVRM version: 550.1\nGCC\n")
    driver = plan(attrs.evolve(conda, conda=own), **lists)
    assert asked(driver) == ["cudatoolkit ==11.7", "cudnn ==8", "pytorch ==1.13.1", "tensorflow-gpu ==2.10"]
    assert wish(driver).gpu == "NVRM version: 550.1"
    off = plan(attrs.evolve(conda, conda=attrs.evolve(own, cuda="0")), **lists)
    assert asked(off) == asked(without)
    assert len({without.key, driver.key, off.key}) == 3


def test_the_version_of_python(conda: EnvironmentSettings) -> None:
    def python(**more: Any) -> tuple[str, str]:
        made = plan(more.pop("settings", conda), **more)
        return wish(made).specs[0].text, next(note for note in made.notes if "python" in note)

    assert python(pip="# Python 3.8.10\n\nx") == ("python 3.8.*", "python 3.8: recorded above the task's packages")
    assert python(binary="python3.9") == ("python 3.9.*", 'python 3.9: script.binary "python3.9"')
    listed = python(conda="python == 3.7.1\nx", binary="python3.9", pip="")
    assert listed == ("python ==3.7.1", 'python ==3.7.1: the list of packages decides, not script.binary "python3.9"')
    default = attrs.evolve(conda, default_python="3.6")
    assert python(settings=default, binary="python3")[0] == "python 3.6.*"
    own = attrs.evolve(default, python_binary="/opt/python3.5")
    assert python(settings=own) == ("python 3.5.*", "python 3.5: agent.python_binary")


def test_the_key_tells_environments_apart(conda: EnvironmentSettings, tmp_path: Path) -> None:
    keys = [
        plan(conda, **lists).key
        for lists in (
            {"conda": "alpha == 1.0", "pip": ""},
            {"conda": "alpha == 1.0", "pip": "tool"},
            {"conda": "alpha == 2.0", "pip": ""},
            {"conda": "alpha=1.0=h0", "pip": ""},
            {"conda": "alpha == 1.0", "pip": "", "binary": "python3.8"},
        )
    ]
    other = attrs.evolve(conda, conda=attrs.evolve(conda.conda, channels=("elsewhere",)))
    keys.append(plan(other, conda="alpha == 1.0", pip="").key)
    assert len(set(keys)) == 6
    assert None not in keys
    assert plan(conda, conda="# other comment\nalpha==1.0\n\n", pip="").key == keys[0]


def test_a_token_in_a_channel_is_not_shown(conda: EnvironmentSettings) -> None:
    channels = ("https://me:s3cr-et@h.invalid/x", "https://h.invalid/t/tk-s3cr-et/y")
    made = plan(attrs.evolve(conda, conda=attrs.evolve(conda.conda, channels=channels)), conda="alpha", pip="")
    shown = "\n".join(made.describe())
    assert "from https://****@h.invalid/x, https://h.invalid/t/****/y" in shown
    assert "s3cr-et" not in shown + repr(attrs.evolve(made, project=None))
