"""Where our own control group is, on machines of all kinds."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearml_agent_clone.launch.cgroups import Cgroup, folder_of


def mount(root: str, point: Path, kind: str = "cgroup2") -> str:
    return f"41 31 0:38 {root} {point} rw,relatime shared:9 - {kind} {kind} rw"


@pytest.mark.parametrize(
    ("group", "root", "inside"),
    [
        ("/", "/", "."),
        ("/user.slice/app.scope", "/", "user.slice/app.scope"),
        ("/docker/abc/task", "/docker/abc", "task"),
        ("/docker/abc", "/docker/abc", "."),
    ],
)
def test_a_group_is_found_below_its_mount(tmp_path: Path, group: str, root: str, inside: str) -> None:
    (tmp_path / inside).mkdir(parents=True, exist_ok=True)
    lines = [mount("/", tmp_path, "cgroup"), mount(root, tmp_path)]
    assert folder_of(group, lines) == tmp_path / inside


@pytest.mark.parametrize(("group", "root"), [("/other", "/docker/abc"), ("/../..", "/"), ("/missing", "/")])
def test_a_group_that_we_cannot_see_is_none(tmp_path: Path, group: str, root: str) -> None:
    assert folder_of(group, [mount(root, tmp_path)]) is None


def test_blanks_in_a_mount_point(tmp_path: Path) -> None:
    point = tmp_path / "a b"
    point.mkdir()
    line = mount("/", point).replace("a b", "a\\040b")
    assert folder_of("/", [line]) == point


def test_without_cgroups_there_is_no_group(tmp_path: Path) -> None:
    assert folder_of("/", []) is None
    assert Cgroup.create("run", tmp_path) is None, "a folder that is no control group"
    assert list(tmp_path.iterdir()) == []
    assert Cgroup.create("run", tmp_path / "missing") is None
    gone = Cgroup(tmp_path / "gone")
    assert gone.pids() == []
    assert gone.remove()
