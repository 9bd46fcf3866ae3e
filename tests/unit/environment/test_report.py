from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import write_back
from clearml_agent_clone.environment.report import list_installed, without_secrets


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
