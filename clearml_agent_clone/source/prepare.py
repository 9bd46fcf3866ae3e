"""The last touches to a task's entry file: a notebook becomes a script, and Task.init is called where that is wanted."""

from __future__ import annotations

import ast
import os
from pathlib import Path

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source.confine import inside
from clearml_agent_clone.source.entry import Start, entry_file
from clearml_agent_clone.source.literal import first_word, quoted
from clearml_agent_clone.util.process import Console

_INIT = 'from clearml import Task\n(__name__ != "__main__") or Task.init()\n'


def prepare_entry(start: Start, console: Console, *, task_init: bool) -> str:
    """Do that, and return the entry point from now on. A file that is not there is for ``check_start`` to name.

    Args:
        start: where the task starts.
        console: is told what was done.
        task_init: make a Python script call ``Task.init`` (CLEARML_AGENT_FORCE_TASK_INIT).

    Raises:
        UserError: ``outside-checkout``, or ``bad-notebook`` when it cannot be read.
    """
    name = "" if start.shell else entry_file(start)
    path = start.working_dir / name
    if not name or not _is_file(path):
        return start.entry_point
    entry = start.entry_point
    if name.endswith(".ipynb"):
        _confined(path, start)
        written = _convert(path)
        rest = "" if entry == name else first_word(entry)[1]
        new = str(Path(name).with_name(written.name))
        console.say(f"notebook {name} is run as the script {new}")
        name, path, entry = new, written, quoted(new) + rest
    if task_init and name.endswith(".py"):
        _confined(path, start)
        if _add_init(path):
            console.say(f"Task.init() is called at the beginning of {name} (CLEARML_AGENT_FORCE_TASK_INIT)")
    return entry


def with_task_init(source: str) -> str:
    """``source`` with a call of ``Task.init`` after its docstring and ``__future__`` imports, unless it has one."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return source  # Python will say it better
    if any(isinstance(node, ast.Attribute) and node.attr == "init" and _is_task(node.value) for node in ast.walk(tree)):
        return source
    line = 0
    for number, node in enumerate(tree.body):
        docstring = number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not (docstring or (isinstance(node, ast.ImportFrom) and node.module == "__future__")):
            break
        line = node.end_lineno or 0
    lines = source.splitlines(keepends=True)
    if not line:  # below what only comments hold: the interpreter's line, the encoding
        line = next((number for number, text in enumerate(lines) if not text.startswith("#")), len(lines))
    if line and not lines[line - 1].endswith("\n"):
        lines[line - 1] += "\n"
    return "".join([*lines[:line], _INIT, *lines[line:]])


def _is_task(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "Task") or (
        isinstance(node, ast.Attribute) and node.attr == "Task"
    )


def _add_init(path: Path) -> bool:
    try:
        before = path.read_text(encoding="utf-8")
        after = with_task_init(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False  # a file that Python may still read: it says in which encoding
    return after != before


def _convert(path: Path) -> Path:
    from clearml_agent_clone.source.notebooks import to_script  # noqa: PLC0415 - few tasks are notebooks

    try:
        script = to_script(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the notebook {path.name} cannot be read: {error}", code="bad-notebook") from error
    for target in (path.with_suffix(".py"), path.with_name(f"{path.stem}_ipynb.py")):
        try:
            with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "w") as file:
                file.write(script)
        except FileExistsError:
            continue  # a module of that name may be imported by others
        except OSError as error:
            raise UserError(f"cannot write {target}: {error.strerror}", code="not-writable") from error
        return target
    raise UserError(
        f"the notebook {path.name} cannot be made a script: {path.stem}.py and {path.stem}_ipynb.py are there already",
        remedy="Rename the notebook",
        code="bad-notebook",
    )


def _confined(path: Path, start: Start) -> None:
    if start.confined:
        inside(path, start.root, f'entry point "{start.entry_point}"')


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # longer than a name can be
        return False
