"""The demo's git project: one script, one commit, and one change that was never committed."""

from __future__ import annotations

import textwrap
from pathlib import Path

import attrs

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.process import run

SCRIPT = "train.py"

_TRAIN = '''\
"""Fit a straight line by gradient descent: small, but reported like a real training."""

import argparse
import platform
import sys

try:
    from clearml import Task
except ImportError:  # the task runs without packages where the demo has no SDK
    Task = None

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=5)
task = Task.init(project_name="demo", task_name="train", auto_resource_monitoring=False) if Task else None
arguments = parser.parse_args()

print(f"Python {platform.python_version()} in {sys.prefix}")
points = [(x / 10, 3 * x / 10 + 1) for x in range(10)]
slope, offset, rate = 0.0, 0.0, 0.2
for epoch in range(arguments.epochs):
    errors = [slope * x + offset - y for x, y in points]
    loss = sum(error * error for error in errors) / len(points)
    slope -= rate * sum(2 * error * x for error, (x, _) in zip(errors, points)) / len(points)
    offset -= rate * sum(2 * error for error in errors) / len(points)
    print(f"epoch {epoch}: loss {loss:.4f}")
    if task:
        task.get_logger().report_scalar("loss", "train", value=loss, iteration=epoch)
print(f"fitted y = {slope:.2f} x + {offset:.2f}")
'''
_CHANGE = ('print(f"fitted y', 'print("this line was never committed")\nprint(f"fitted y')


@attrs.frozen
class Project:
    """What a task needs to know of it."""

    folder: Path
    commit: str
    diff: str

    @property
    def url(self) -> str:
        return self.folder.as_uri()


def make_project(folder: Path) -> Project:
    """Make the repository in ``folder`` (new).

    Raises:
        UserError: git is missing or does not work.
    """
    folder.mkdir()
    script = folder / SCRIPT
    script.write_text(_TRAIN)
    _git(folder, "init", "--quiet", "--initial-branch", "main")
    _git(folder, "add", "--", SCRIPT)
    _git(folder, "commit", "--quiet", "--message", "Fit a line")
    script.write_text(_TRAIN.replace(*_CHANGE))
    return Project(folder, _git(folder, "rev-parse", "HEAD").strip(), _git(folder, "diff"))


def _git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false")
    done = run(["git", *identity, *arguments], cwd=folder)
    if not done.ok:
        said = textwrap.shorten(done.last_line, 200)
        raise UserError(f"git {arguments[0]} failed: {said}", remedy="Check that git works here", code="git-failed")
    return done.output
