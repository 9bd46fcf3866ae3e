"""Notebooks run as scripts, with and without IPython, and Task.init where it is forced."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as some

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source import SourceSettings, check_entry_point
from clearml_agent_clone.source.notebooks import to_script
from clearml_agent_clone.source.prepare import with_task_init

from .conftest import Fetch, Recorder, Upstream


def notebook(*cells: str, **more: object) -> str:
    listed = [{"cell_type": "markdown", "source": ["# Title\n", "text"]}]
    listed += [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    return json.dumps({"nbformat": 4, "cells": listed, **more})


def run(folder: Path, text: str) -> str:
    """What the script prints, by a Python without site packages: there is no IPython."""
    (folder / "script.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "script.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_cells_share_their_names_and_keep_their_order(tmp_path: Path) -> None:
    assert run(tmp_path, to_script(notebook("x = 1", "", "x += 1\nprint(x)"))) == "2\n"


def test_plain_python_is_left_alone() -> None:
    cell = 'text = """\n!not a command\n%not magic\n"""\na = 7 \\\n  % 4\nb = a != 3'
    script = to_script(notebook(cell))
    assert cell in script
    assert "get_ipython" not in script


def test_commands_and_magics_without_ipython(tmp_path: Path) -> None:
    cells = (
        "%matplotlib inline\nname = 'wor' + 'ld'\n!echo hello {name}\nlines = !printf 'a\\nb\\n'\nprint(lines)",
        "%env COLOUR=blue\nif True:\n    !echo $COLOUR\nname?",
        "%%bash\necho from bash",
        "%%time\nspent = 3",
        "%%writefile made.txt\ncontent of {name}",
        "print(spent, open('made.txt').read().strip())",
        '%time print("timed")',
        '!echo one \\\n  two\nlong = """\n!no command\n"""\nprint(long.strip())',
    )
    printed = run(tmp_path, to_script(notebook(*cells))).splitlines()
    assert printed == [
        "hello world", "['a', 'b']", "blue", "from bash", "3 content of {name}", "timed", "one two", "!no command"
    ]  # fmt: skip


def test_future_imports_stay_on_top(tmp_path: Path) -> None:
    script = to_script(notebook("from __future__ import annotations\n!echo x", "def f(x: nothing): ...\nprint(1)"))
    assert run(tmp_path, script) == "x\n1\n"


def test_an_unknown_magic_is_named_and_passed_over(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(to_script(notebook("%strange a b\nprint(1)")))
    done = subprocess.run([sys.executable, "-I", "-S", tmp_path / "s.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert "%strange is left out" in done.stderr


@pytest.mark.parametrize("text", ["", "print(1)", "[]", "{}", '{"cells": 3}', '{"cells": [7, {"cell_type": "raw"}]}'])
def test_odd_texts(text: str) -> None:
    assert to_script(text) == ("" if "cell_type" in text else text)


def test_older_notebooks() -> None:
    sheet = {"cells": [{"cell_type": "code", "input": ["print(3)"]}]}
    assert "print(3)" in to_script(json.dumps({"nbformat": 3, "worksheets": [sheet]}))


@given(some.lists(some.sampled_from(["x = 1", "!ls {x}", "%cd /", "x?", "if x:", "  !ls", "  y = %env", "a, b = !ls"])))
def test_whatever_stands_in_a_cell_the_rest_is_python(lines: list[str]) -> None:
    cell = "\n".join(lines)
    script = to_script(notebook(cell))
    with_calls = script.partition("# In[1]:\n")[2]
    plain = [line for line in with_calls.splitlines() if "get_ipython" not in line and "pass  #" not in line]
    assert not any(line.lstrip().startswith(("!", "%")) for line in plain)


def test_a_notebook_of_a_repository(upstream: Upstream, fetch: Fetch, console: Recorder) -> None:
    upstream.write("work/study.ipynb", notebook("import sys\nprint(sys.argv[1:])"))
    upstream.write("work/taken.ipynb", notebook("print('taken')"))
    upstream.write("work/taken.py", "print('module')\n")
    upstream.commit()
    result = fetch(
        repository=str(upstream.path), working_dir="work", entry_point="study.ipynb --url https://h//x 'a b'"
    )
    assert result.entry_point == "study.py --url https://h//x 'a b'"
    check_entry_point(result)
    assert "notebook study.ipynb is run as the script study.py" in console.text
    result = fetch(repository=str(upstream.path), entry_point="work/taken.ipynb")
    assert result.entry_point == "work/taken_ipynb.py"
    assert (result.root / "work/taken.py").read_text() == "print('module')\n"
    with pytest.raises(UserError, match="missing"):
        check_entry_point(fetch(repository=str(upstream.path), entry_point="missing.ipynb"))


def test_a_notebook_of_the_task_itself(fetch: Fetch) -> None:
    """The SDK records the script of a notebook, sometimes the notebook; either is called ``.ipynb``."""
    for diff in ("print(1)\n", notebook("print(1)")):
        result = fetch(diff=diff, entry_point="study.ipynb")
        assert result.entry_point == "study.py"
        assert "print(1)" in (result.working_dir / "study.py").read_text()


def test_a_notebook_that_leads_out_is_refused(upstream: Upstream, fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "outside.ipynb").write_text(notebook("print(1)"))
    (upstream.path / "in.ipynb").symlink_to(tmp_path / "outside.ipynb")
    upstream.commit()
    with pytest.raises(UserError) as caught:
        fetch(repository=str(upstream.path), entry_point="in.ipynb")
    assert caught.value.code == "outside-checkout"
    assert not (tmp_path / "outside.py").exists()


INIT = 'from clearml import Task\n(__name__ != "__main__") or Task.init()\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("print(1)\n", INIT + "print(1)\n"),
        (
            "#!/usr/bin/python\n# coding: utf-8\nprint(1)\n",
            "#!/usr/bin/python\n# coding: utf-8\n" + INIT + "print(1)\n",
        ),
        (
            '"""Doc."""\nfrom __future__ import annotations\nx = 1',
            '"""Doc."""\nfrom __future__ import annotations\n' + INIT + "x = 1",
        ),
        ("from __future__ import (\n    annotations,\n)", "from __future__ import (\n    annotations,\n)\n" + INIT),
        ("", INIT),
        ("from clearml import Task\nTask.init()\n", None),
        ("import clearml\ntask = clearml.Task.init(project_name='p')\n", None),
        ("not python(", None),
    ],
)
def test_task_init_is_put_where_python_allows_it(before: str, after: str | None) -> None:
    result = with_task_init(before)
    assert result == (before if after is None else after)
    if after is not None:
        compile(result, "x", "exec")
        assert ast.parse(result)


def test_task_init_is_forced_by_setting(upstream: Upstream, fetch: Fetch, settings: SourceSettings) -> None:
    forced = attrs.evolve(settings, force_task_init=True)
    result = fetch(forced, repository=str(upstream.path), entry_point="train.py --a")
    assert (result.root / "train.py").read_text().startswith(INIT)
    assert (result.packages, result.entry_point) == (("clearml",), "train.py --a")
    assert fetch(forced, repository=str(upstream.path), entry_point="-m tools.x").entry_point == "-m tools.x"
    upstream.write("study.ipynb", notebook("print(1)"))
    upstream.commit()
    result = fetch(forced, repository=str(upstream.path), entry_point="study.ipynb")
    assert INIT in (result.root / "study.py").read_text()
    shell = fetch(forced, repository=str(upstream.path), binary="bash", entry_point="tools/make.sh")
    assert (shell.root / "tools/make.sh").read_text() == "echo made\n"
    assert shell.packages == ()
