"""Repositories with poetry and uv projects, for tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

_GIT = ("git", "-c", "user.name=tester", "-c", "user.email=tester@localhost", "-c", "commit.gpgsign=false")
UV_BUILD = '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n'
"""A build system that nothing here ever starts: a test that does fails, for no index has it."""


def repository(root: Path, files: dict[str, str]) -> Path:
    """A git repository at ``root`` with ``files`` committed."""
    checkout(root, files)
    subprocess.run([*_GIT, "init", "-q", "-b", "main", str(root)], check=True)
    commit(root)
    return root


def checkout(root: Path, files: dict[str, str]) -> Path:
    """A folder with ``files``, where nobody asks git."""
    for name, text in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


def commit(root: Path) -> None:
    subprocess.run([*_GIT, "-C", str(root), "add", "-A"], check=True)
    subprocess.run([*_GIT, "-C", str(root), "commit", "-qm", "x", "--allow-empty"], check=True)


def status(root: Path) -> str:
    """What git sees in the checkout that is not committed, ignored files included; empty when it is clean."""
    done = subprocess.run(
        ["git", "-C", str(root), "status", "--short", "--ignored"], check=True, capture_output=True, text=True
    )
    return "".join(line for line in done.stdout.splitlines(keepends=True) if "__pycache__" not in line)


def module(name: str) -> str:
    """A module that says who it is."""
    return f"def main():\n    print('{name} speaks')\n"
