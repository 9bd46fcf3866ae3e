"""The demo's project: a commit, and a change on top of it that applies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from clearml_agent_clone.demo.project import SCRIPT, make_project


def test_the_recorded_change_turns_the_commit_into_what_the_user_has(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    copy = tmp_path / "copy"
    subprocess.run(["git", "clone", "--quiet", project.url, copy], check=True)
    subprocess.run(["git", "checkout", "--quiet", project.commit], cwd=copy, check=True)
    subprocess.run(["git", "apply", "-"], cwd=copy, input=project.diff.encode(), check=True)
    assert (copy / SCRIPT).read_text() == (project.folder / SCRIPT).read_text()


def test_the_script_fits_its_line_without_any_package(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    done = subprocess.run(
        [sys.executable, "-S", SCRIPT, "--epochs", "200"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "this line was never committed" in done.stdout
    assert done.stdout.splitlines()[-1] == "fitted y = 2.99 x + 1.00"
