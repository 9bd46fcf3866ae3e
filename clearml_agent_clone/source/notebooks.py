"""Notebooks (``.ipynb``) as scripts: their code cells in order, with what only IPython understands put into calls.

Nothing has to be installed for it. Where the task's environment has IPython, magics are IPython's; else a small
stand-in runs commands, does what common magics do and names those that it leaves out.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

_LINE_MAGIC = re.compile(
    r"(?P<indent>\s*)(?:(?P<target>[\w\s,.\[\]'\"]+?)\s*=\s*)?%(?P<name>[A-Za-z_]\w*)(?:\s+(?P<rest>.*))?"
)
_COMMAND = re.compile(r"(?P<indent>\s*)(?:(?P<target>[\w\s,]+?)\s*=\s*)?!(?P<more>!?)(?P<rest>.+)")
_HELP = re.compile(r"\s*(?:\?{1,2}[\w.*]+|[\w.*]+\?{1,2})\s*")
_CELL_MAGIC = re.compile(r"%%(?P<name>[A-Za-z_!]\w*)[ \t]*(?P<rest>[^\n]*)\n?(?P<body>.*)", re.DOTALL)
_QUOTES = re.compile(r'"""|\'\'\'')
_FUTURE = re.compile(r"^from\s+__future__\s+import\s+.*$", re.MULTILINE)

_STAND_IN = """\
def _notebook_shell():
    try:
        from IPython.core.interactiveshell import InteractiveShell
        return InteractiveShell.instance(user_ns=globals())
    except ImportError:
        pass
    import os, re, subprocess, sys

    def filled(text):
        def value(match):
            try:
                return str(eval(match[1] or match[2], globals()))
            except Exception:  # whatever it raises, it is text then, as in IPython
                return match[0]
        return re.sub(r"\\{([^{}]+)\\}|\\$(\\w+)", value, text)

    class Shell:
        def system(self, command):
            sys.stdout.flush()
            return subprocess.call(["/bin/sh", "-c", filled(command)])
        def getoutput(self, command):
            return subprocess.run(
                ["/bin/sh", "-c", filled(command)], stdout=subprocess.PIPE, universal_newlines=True
            ).stdout.splitlines()
        def run_line_magic(self, name, line):
            line = filled(line)
            if name in ("pip", "conda"):
                return subprocess.call([sys.executable, "-m", name, *line.split()])
            if name == "cd":
                return os.chdir(os.path.expanduser(line.strip() or "~"))
            if name in ("env", "set_env") and "=" in line:
                os.environ.update([line.split("=", 1)])
            elif name in ("time", "timeit", "prun"):
                exec(line, globals())
            elif name == "run":
                import runpy
                globals().update(runpy.run_path(line.split()[0], run_name="__main__"))
            elif name not in ("matplotlib", "load_ext", "reload_ext", "autoreload", "config", "pylab", "reset"):
                print("notebook: %" + name + " is left out, there is no IPython here", file=sys.stderr)
        def run_cell_magic(self, name, line, cell):
            if name in ("time", "timeit", "capture", "prun"):
                exec(cell, globals())
            elif name in ("bash", "sh", "script", "!"):
                program = line.split() if name == "script" else ["bash" if name == "bash" else "sh"]
                sys.stdout.flush()
                subprocess.run(program, input=cell.encode(), check=True)
            elif name in ("writefile", "file"):
                append = line.startswith("-a ")
                with open(line[3:].strip() if append else line.strip(), "a" if append else "w") as file:
                    file.write(cell)
            elif name not in ("html", "HTML", "javascript", "js", "latex", "markdown", "svg", "SVG"):
                print("notebook: %%" + name + " is left out, there is no IPython here", file=sys.stderr)
    return Shell()


try:
    get_ipython
except NameError:
    _the_shell = _notebook_shell()
    def get_ipython():
        return _the_shell

"""


def to_script(text: str) -> str:
    """The script that does what running all cells of a notebook does; a text that is no notebook stays as it is."""
    cells = _cells(text)
    if cells is None:
        return text
    parts = [
        f"# In[{number}]:\n{_plain(source.rstrip())}\n" for number, source in enumerate(cells, 1) if source.strip()
    ]
    code = "\n\n".join(parts)
    if "get_ipython()" not in code:
        return code
    future = "".join(line + "\n" for line in _FUTURE.findall(code))
    return future + _STAND_IN + "\n" + _FUTURE.sub(lambda match: f"# {match[0]}", code)


def _cells(text: str) -> list[str] | None:
    """The sources of the code cells, or None."""
    try:
        notebook = json.loads(text)
    except ValueError:
        return None
    if not isinstance(notebook, dict):
        return None
    cells: Any = notebook.get("cells")
    if cells is None:  # format 3
        sheets = notebook.get("worksheets")
        cells = sheets[0].get("cells") if isinstance(sheets, list) and sheets and isinstance(sheets[0], dict) else None
    if not isinstance(cells, list):
        return None
    found = []
    for cell in cells:
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source", cell.get("input", ""))
            found.append("".join(map(str, source)) if isinstance(source, list) else str(source))
    return found


def _plain(source: str) -> str:
    """One cell in Python. A cell that is Python already is left alone, whatever its lines begin with."""
    magic = _CELL_MAGIC.fullmatch(source.lstrip("\n"))
    if magic:
        body = _plain(magic["body"]) if magic["name"] in {"time", "timeit", "capture", "prun"} else magic["body"]
        if magic["name"] in {"time", "timeit", "capture", "prun"}:
            return f"# %%{magic['name']} {magic['rest']}".rstrip() + f"\n{body}"  # its names belong to all cells
        return f"get_ipython().run_cell_magic({magic['name']!r}, {magic['rest']!r}, {body + chr(10)!r})"
    if _is_python(source):
        return source
    lines, done, inside = source.split("\n"), [], False
    number = 0
    while number < len(lines):
        line = lines[number]
        if not inside and _is_special(line):
            while line.endswith("\\") and number + 1 < len(lines):
                number += 1
                line = line[:-1] + lines[number].lstrip()
            line = _call(line)
        if len(_QUOTES.findall(line)) % 2:
            inside = not inside
        done.append(line)
        number += 1
    return "\n".join(done)


def _is_python(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True


def _is_special(line: str) -> bool:
    return not _is_python(line.strip()) and bool(
        _LINE_MAGIC.fullmatch(line) or _COMMAND.fullmatch(line) or _HELP.fullmatch(line)
    )


def _call(line: str) -> str:
    magic = _LINE_MAGIC.fullmatch(line)
    if magic:
        target = f"{magic['target']} = " if magic["target"] else ""
        return f"{magic['indent']}{target}get_ipython().run_line_magic({magic['name']!r}, {magic['rest'] or ''!r})"
    command = _COMMAND.fullmatch(line)
    if command:
        rest = command["rest"].strip()
        if command["target"] or command["more"]:
            target = f"{command['target']} = " if command["target"] else ""
            return f"{command['indent']}{target}get_ipython().getoutput({rest!r})"
        return f"{command['indent']}get_ipython().system({rest!r})"
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}pass  # {line.strip()}"
