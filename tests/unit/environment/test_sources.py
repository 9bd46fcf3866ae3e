from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import EnvironmentRequest, EnvironmentSettings
from clearml_agent_clone.environment.sources import Source, choose_source


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    inner = tmp_path / "checkout" / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "checkout" / "requirements.txt").write_text("root\n")
    (inner.parent / "requirements.txt").write_text("middle\n-r more.txt\n")
    (inner.parent / "more.txt").write_text("more\n")
    (inner / "other.txt").write_text("other\n")
    return tmp_path / "checkout"


def names(source: Source) -> list[str]:
    return [line.text for line in source.listing.packages]


def test_recorded_packages_win(checkout: Path, settings: EnvironmentSettings) -> None:
    request = EnvironmentRequest(Requirements(pip="# Python 3.11\n\nsix\n", org_pip="old"), repository_root=checkout)
    source = choose_source(request, settings)
    assert names(source) == ["six"]
    assert source.text == "1 line recorded with the task"


def test_a_recorded_header_alone_means_that_nothing_is_needed(checkout: Path, settings: EnvironmentSettings) -> None:
    source = choose_source(EnvironmentRequest(Requirements(pip="# Python 3.11\n"), repository_root=checkout), settings)
    assert names(source) == []


@pytest.mark.parametrize("recorded", [None, "", " \n"])
def test_else_every_file_from_the_root_down_to_the_script(
    checkout: Path, settings: EnvironmentSettings, recorded: str | None
) -> None:
    request = EnvironmentRequest(Requirements(pip=recorded), repository_root=checkout, script_dir=checkout / "a" / "b")
    source = choose_source(request, settings)
    assert names(source) == ["root", "middle", "more"]
    assert source.text == "3 lines in requirements.txt, a/requirements.txt"


def test_files_beside_the_way_do_not_count(checkout: Path, settings: EnvironmentSettings) -> None:
    request = EnvironmentRequest(repository_root=checkout, script_dir=checkout)
    assert names(choose_source(request, settings)) == ["root"]
    outside = EnvironmentRequest(repository_root=checkout, script_dir=Path("/"))
    assert names(choose_source(outside, settings)) == ["root"]


def test_forced_files_and_forced_originals(checkout: Path, settings: EnvironmentSettings) -> None:
    request = EnvironmentRequest(Requirements(pip="six", org_pip="old"), repository_root=checkout)
    files = choose_source(request, attrs.evolve(settings, force_repo_requirements_txt=True))
    assert names(files) == ["root"]
    assert "force_repo_requirements_txt" in files.text
    original = choose_source(request, attrs.evolve(settings, force_original_requirements=True))
    assert names(original) == ["old"]
    assert "org_pip" in original.text


def test_without_a_checkout_it_says_what_is_not_known_yet(settings: EnvironmentSettings) -> None:
    waiting = choose_source(EnvironmentRequest(has_repository=True), settings)
    assert waiting.waits
    assert "requirements.txt of the repository" in waiting.text
    alone = choose_source(EnvironmentRequest(), settings)
    assert not alone.waits
    assert alone.text.startswith("none recorded")


def test_a_pin_of_a_nearer_file_outdoes_one_from_above(checkout: Path, settings: EnvironmentSettings) -> None:
    (checkout / "requirements.txt").write_text("numpy==1.21\nsix==1.16\nidna>=2\nold==1; python_version<'3'\n")
    (checkout / "a" / "requirements.txt").write_text("NumPy == 1.26\nsix==1.16\nidna==3\nold==2\n")
    source = choose_source(EnvironmentRequest(repository_root=checkout, script_dir=checkout / "a"), settings)
    assert names(source) == [
        "six==1.16",
        "idna>=2",
        "old==1; python_version<'3'",
        "NumPy == 1.26",
        "six==1.16",
        "idna==3",
        "old==2",
    ]
    assert source.listing.notes == (
        "requirements.txt:1: numpy==1.21: left out, a/requirements.txt:1 says NumPy == 1.26",
    )


@pytest.mark.parametrize("text", ["-r requirements/base.txt\n", "six\n-e .\n", "./lib\n", "-c limits.txt\nsix\n"])
def test_a_recorded_list_that_leads_into_the_checkout_waits_for_it(text: str, settings: EnvironmentSettings) -> None:
    assert choose_source(EnvironmentRequest(Requirements(pip=text), has_repository=True), settings).waits
    assert not choose_source(EnvironmentRequest(Requirements(pip=text)), settings).waits


def test_a_recorded_list_leads_into_the_root_of_the_checkout(checkout: Path, settings: EnvironmentSettings) -> None:
    (checkout / "a" / "requirements.txt").write_text("beside the script\n")
    request = EnvironmentRequest(
        Requirements(pip="-r requirements.txt\n-r more.txt\n"), repository_root=checkout, script_dir=checkout / "a"
    )
    assert names(choose_source(request, settings)) == ["root", "more"]


@pytest.mark.parametrize(
    ("file", "note"),
    [
        ("poetry.lock", "poetry.lock of the repository is not read: agent.package_manager.type: poetry would"),
        ("environment.yml", "environment.yml of the repository is not read: agent.package_manager.type: conda would"),
        (
            "pyproject.toml",
            "pyproject.toml of the repository is not read: agent.package_manager.type: uv or poetry would",
        ),
        ("setup.py", "setup.py of the repository is not read"),
    ],
)
def test_what_does_not_count_is_named(tmp_path: Path, settings: EnvironmentSettings, file: str, note: str) -> None:
    (tmp_path / file).touch()
    request = EnvironmentRequest(repository_root=tmp_path)
    assert choose_source(request, settings).listing.notes == (note,)
    assert choose_source(request, attrs.evolve(settings, manager="uv")).listing.notes == ()
    recorded = attrs.evolve(request, requirements=Requirements(pip="six"))
    assert bool(choose_source(recorded, settings).listing.notes) == (file in {"poetry.lock", "environment.yml"})


def test_conda_packages_alone_are_named(settings: EnvironmentSettings) -> None:
    source = choose_source(EnvironmentRequest(Requirements(conda="numpy==1.21")), settings)
    assert source.listing.notes == ("conda packages are recorded: agent.package_manager.type: conda installs them",)
