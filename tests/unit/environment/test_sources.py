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
