from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import write_back
from clearml_agent_clone.environment.addresses import without_secrets
from clearml_agent_clone.environment.lines import split_lines
from clearml_agent_clone.environment.report import kept_options, list_installed, written_addresses


def add(site: Path, name: str, version: str, origin: Mapping[str, object] | None = None) -> None:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))


def test_packages_are_listed_as_pip_would(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    git = {"url": "https://me:pw@h/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}, "subdirectory": "s"}
    add(tmp_path / "a", "six", "1.16.0")
    add(tmp_path / "a", "Zope.Interface", "6.0")
    add(tmp_path / "a", "pip", "24.0")
    add(tmp_path / "a", "clearml-agent", "3.0.3")
    add(tmp_path / "a", "from-git", "1.0", git)
    add(tmp_path / "a", "from-checkout", "1.0", {"url": (root / "lib").as_uri(), "dir_info": {"editable": True}})
    add(tmp_path / "a", "checkout", "1.0", {"url": root.as_uri(), "dir_info": {}})
    add(tmp_path / "a", "from-file", "1.0", {"url": "https://h/f.whl", "archive_info": {}})
    add(tmp_path / "a", "odd", "1.0", {"no": "url"})
    add(tmp_path / "b", "six", "1.0.0")
    assert list_installed([tmp_path / "a", tmp_path / "b"], (), root) == (
        ".",
        "-e ./lib",
        "from-file @ https://h/f.whl",
        "from-git @ git+https://h/x.git@abc#subdirectory=s",
        "odd==1.0",
        "six==1.16.0",
        "Zope.Interface==6.0",
    )
    assert "pip==24.0" in list_installed([tmp_path / "a"], ("pip",), root)


def test_what_was_recorded_first_is_kept_once() -> None:
    assert write_back(Requirements(pip="numpy\n", conda="c"), ["numpy==2.0"]) == {
        "org_pip": "numpy\n",
        "org_conda": "c",
        "pip": ["numpy==2.0"],
    }
    assert write_back(Requirements(pip="numpy==2.0", org_pip="first"), ["numpy==2.1"]) == {
        "org_pip": "first",
        "pip": ["numpy==2.1"],
    }
    assert write_back(Requirements(), ["numpy==2.0"]) == {"pip": ["numpy==2.0"]}


def test_nothing_is_written_back_where_there_is_nothing_new() -> None:
    assert write_back(Requirements(pip="numpy"), []) is None
    assert write_back(Requirements(pip="a==1\nb==2", org_pip="a"), ["a==1", "b==2"]) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://me:pw@h/simple", "https://h/simple"),
        ("https://token@h:8443/simple", "https://h:8443/simple"),
        ("ssh://git@h/x.git", "ssh://git@h/x.git"),
        ("ssh://git:pw@h/x.git", "ssh://git@h/x.git"),
        ("file:///a/b", "file:///a/b"),
    ],
)
def test_no_password_is_recorded(url: str, expected: str) -> None:
    assert without_secrets(url) == expected


def test_archives_are_recorded_with_their_sum(tmp_path: Path) -> None:
    sums = {"hashes": {"sha256": "ab12"}, "hash": "sha256=ab12"}
    add(tmp_path, "a", "1.0", {"url": "https://me:pw@h/a.zip", "archive_info": sums, "subdirectory": "s"})
    add(tmp_path, "b", "1.0", {"url": "file:///b.whl", "archive_info": sums})
    assert list_installed([tmp_path], (), None) == (
        "a @ https://h/a.zip#subdirectory=s&sha256=ab12",
        "b @ file:///b.whl",
    )


@pytest.mark.parametrize(
    ("written", "installed", "recorded"),
    [
        ("a @ git+https://${T}@h/x.git@main", "https://secret@h/x.git", "a @ git+https://${T}@h/x.git@abc"),
        ("a @ git+https://me:${T}@h/x.git@f/x#egg=a", "https://h/x.git", "a @ git+https://me:${T}@h/x.git@abc"),
        ("git+https://me:pw${T}@h/x.git ; python_version>'3'", "https://h/x.git", "a @ git+https://h/x.git@abc"),
        ("a @ git+https://h/${T}/x.git", "https://h/secret/x.git", "a @ git+https://h/${T}/x.git@abc"),
        ("a @ git+ssh://git@h/${T}/x.git", "ssh://git@h/secret/x.git", "a @ git+ssh://git@h/${T}/x.git@abc"),
        ("a @ git+https://h/other/${T}.git", "https://h/x.git", "a @ git+https://h/x.git@abc"),
    ],
)
def test_variables_are_recorded_in_place_of_what_they_stand_for(
    tmp_path: Path, written: str, installed: str, recorded: str
) -> None:
    add(tmp_path, "a", "1.0", {"url": installed, "vcs_info": {"vcs": "git", "commit_id": "abc"}})
    addresses = written_addresses([written, "six"], {"T": "secret"})
    assert list_installed([tmp_path], (), None, addresses) == (recorded,)


def test_what_a_list_says_of_indexes_is_recorded_without_passwords(tmp_path: Path) -> None:
    text = """
        -i https://me:pw@h/simple
        --extra-index-url https://me:${PASSWORD}@h/more
        --find-links ./wheels
        --find-links https://token@h/page
        --trusted-host h
        --pre
    """
    options = list(split_lines(text, "r.txt", tmp_path / "sub"))
    assert kept_options(options, tmp_path) == (
        "--index-url https://h/simple",
        "--extra-index-url https://me:${PASSWORD}@h/more",
        "--find-links ./sub/wheels",
        "--find-links https://h/page",
        "--trusted-host h",
    )


def test_the_line_that_names_the_python_stays_above() -> None:
    header = "# Python 3.11.7 | packaged by conda-forge"
    first = write_back(Requirements(pip=f"{header}\n\nnumpy\n"), ["numpy==2.0"])
    assert first == {"org_pip": f"{header}\n\nnumpy\n", "pip": [header, "numpy==2.0"]}
    again = Requirements.from_wire(first)
    assert write_back(again, ["numpy==2.0"]) is None
    assert write_back(again, []) is None
