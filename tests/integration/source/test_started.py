"""From the recorded entry point to what the user's process sees: all ways to start, arguments untouched."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.launch.command import Entry, build_argv
from clearml_agent_clone.source import SourceResult, SourceSettings, check_entry_point

from .conftest import Fetch, Upstream

SHOW = "import sys\nprint(__name__, sys.argv[1:])\n"


def start(result: SourceResult, binary: str = "python") -> str:
    """Start it as the agent would; what it prints."""
    check_entry_point(result)
    argv = build_argv(Entry(binary, result.entry_point, result.working_dir), Path(sys.executable))
    done = subprocess.run(argv, cwd=result.working_dir, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def shown(upstream: Upstream) -> Upstream:
    for name in ("show.py", "pkg/show.py", "pkg/__init__.py", "with blank.py"):
        upstream.write(name, SHOW)
    upstream.write("run.sh", 'printf "%s|" "$0" "$@"\n')
    upstream.commit()
    return upstream


@pytest.mark.parametrize(
    ("entry", "printed"),
    [
        ("show.py", "__main__ []"),
        (
            "show.py --url https://host//x/../y ./a $HOME ~",
            "__main__ ['--url', 'https://host//x/../y', './a', '$HOME', '~']",
        ),
        ("show.py 'a  b' --e=\"x y\" ''", "__main__ ['a  b', '--e=x y', '']"),
        ("with blank.py", "__main__ []"),
        ("pkg/show.py -v", "__main__ ['-v']"),
        ("-m pkg.show --u https://h//x", "pkg.show []\n__main__ ['--u', 'https://h//x']"),
        ("-c 'import sys; print(sys.argv)' a//b", "['-c', 'a//b']"),
    ],
)
def test_python(shown: Upstream, fetch: Fetch, entry: str, printed: str) -> None:
    assert start(fetch(repository=str(shown.path), entry_point=entry)).splitlines()[-1] == printed.splitlines()[-1]


ZSH = pytest.param("zsh", marks=pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh"))


@pytest.mark.parametrize("binary", ["bash", "sh", "/bin/bash", ZSH])
def test_shells(shown: Upstream, fetch: Fetch, binary: str) -> None:
    result = fetch(repository=str(shown.path), binary=binary, entry_point="run.sh a 'b  c' https://h//x")
    assert start(result, binary) == "run.sh|a|b  c|https://h//x|"
    literal = fetch(diff='echo "from the task" $1\n', binary=binary, entry_point="mine.sh one")
    assert start(literal, binary) == "from the task one"


def test_forced_scripts_and_folders(shown: Upstream, fetch: Fetch, settings: SourceSettings) -> None:
    forced = attrs.evolve(settings, force_exec_script="pkg:show.py")
    result = fetch(forced, repository=str(shown.path), entry_point="train.py")
    assert result.working_dir == result.root / "pkg"
    assert start(result) == "__main__ []"
    here = attrs.evolve(settings, force_code_dir=str(shown.path))
    result = fetch(here, repository="https://host.invalid/x", entry_point="show.py 1")
    assert (result.root, start(result)) == (shown.path, "__main__ ['1']")


def test_a_script_of_the_task_with_future_imports(fetch: Fetch) -> None:
    """As the SDK records it: its own two lines stand on top."""
    script = (
        'from clearml import Task\n(__name__ != "__main__") or Task.init()\n'
        "from __future__ import annotations\nimport sys\nprint(sys.argv[1:])\n"
    )
    result = fetch(diff=script.replace("or Task.init()", "or (lambda: Task.init)"), entry_point="x.py a//b")
    text = (result.working_dir / "x.py").read_text()
    assert text.startswith("from __future__")
    compile(text, "x.py", "exec")


def test_a_notebook_with_arguments(fetch: Fetch) -> None:
    notebook = '{"nbformat": 4, "cells": [{"cell_type": "code", "source": ["import sys\\n", "!echo {sys.argv[1]}"]}]}'
    assert start(fetch(diff=notebook, entry_point="study.ipynb https://h//x")) == "https://h//x"
