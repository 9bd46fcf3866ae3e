"""Writes ``examples/clearml.conf`` and the tables of ``docs/configuration.md`` from the tables of keys and variables.

    python -m clearml_agent_clone.config.reference .

A test fails when the files are not what this would write.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clearml_agent_clone.config.known import known_keys
from clearml_agent_clone.config.schema import Key, plain
from clearml_agent_clone.config.trees import Tree, put
from clearml_agent_clone.config.variables import Variable
from clearml_agent_clone.config.variables_table import TABLE

_INTRODUCTION = """\
# An example of clearml.conf with every key of the agent. Keys that are commented out show their defaults.
# docs/configuration.md says more; clearml-agent config prints what is in force, and --origin where it came from.
# The sdk section belongs to the ClearML SDK; the agent hands it to tasks as it is.
"""
_FILLED = {
    "api.api_server": "http://localhost:8008",
    "api.web_server": "http://localhost:8080",
    "api.files_server": "http://localhost:8081",
    "api.credentials.access_key": "",
    "api.credentials.secret_key": "",
}
_SECTIONS = """\

# Variables to set for the agent and its tasks (unless agent.apply_environment is false).
# environment {
#     HTTPS_PROXY: "http://proxy.example.com:3128"
# }

# Files to write before work begins (unless agent.apply_files is false).
# files {
#     pip_conf {
#         path: "~/.config/pip/pip.conf"
#         contents: "[global]\\ntimeout = 30\\n"
#         mode: "0600"
#     }
# }

sdk {
}
"""
_MARK = "<!-- {name}: made by python -m clearml_agent_clone.config.reference -->"


def example_conf() -> str:
    """The text of ``examples/clearml.conf``."""
    nested: Tree = {}
    for path, row in known_keys().items():
        if not row.unused:
            put(nested, path, row)
    return _INTRODUCTION + "\n" + "\n".join(_render(nested, 0)) + "\n" + _SECTIONS


def with_tables(page: str) -> str:
    """``page`` with the text between its marks replaced by the tables of today."""
    for name, table in (("keys", keys_table()), ("variables", variables_table())):
        begin, end = _MARK.format(name=name), _MARK.format(name=f"end of {name}")
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n\n{table}\n{end}{rest.partition(end)[2]}"
    return page


def keys_table() -> str:
    """Every key with kind, default and meaning."""
    rows = ((f"`{row.path}`", row.kind.name, _cell(row.default), _meaning(row)) for row in known_keys().values())
    return _table(("key", "kind", "default", "meaning"), rows)


def variables_table() -> str:
    """Every variable with kind, key and meaning."""
    rows = (
        (
            ", ".join(f"`{name}`" for name in (variable.name, *variable.aliases)),
            variable.kind.name,
            f"`{variable.key}`" if variable.key else "",
            _meaning(variable),
        )
        for variable in TABLE
    )
    return _table(("variable", "kind", "sets the key", "meaning"), rows)


def _meaning(row: Key | Variable[Any]) -> str:
    text = row.help
    if isinstance(row, Key) and row.own:
        text += " (this agent only)"
    if isinstance(row, Variable) and row.written:
        text += " (set for the task's process)"
    return f"{text} (no effect: {row.unused})" if row.unused else text


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _cell(default: Any) -> str:
    if default is None:
        return ""
    text = json.dumps(default, ensure_ascii=False)
    return f"`{text}`" if len(text) <= 100 else "see `examples/clearml.conf`"


def _render(node: Tree, depth: int) -> Iterator[str]:
    pad = "    " * depth
    for name, item in node.items():
        if isinstance(item, Key):
            yield f"{pad}# {item.help} ({item.kind.name})"
            if item.path in _FILLED:
                yield f"{pad}{name}: {json.dumps(_FILLED[item.path])}"
            else:
                yield from (f"{pad}# {line}" for line in f"{name}: {_value(item)}".splitlines())
        else:
            yield f"{pad}{name} {{"
            yield from _render(item, depth + 1)
            yield f"{pad}}}"


def _value(row: Key) -> str:
    value = plain(row.kind.parse(None, {})) if row.default is None else row.default
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else json.dumps(value, ensure_ascii=False, indent=4)


def main(root: Path) -> None:
    """Write both files below ``root``."""
    (root / "examples/clearml.conf").write_text(example_conf(), encoding="utf-8")
    page = root / "docs/configuration.md"
    page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
