"""Reading HOCON through pyhocon: plain values, the lines they stand in, and errors that a user can act on.

This is imported only when a file has to be parsed, because pyhocon is slow to load and slow to run.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyhocon
import pyparsing
from pyhocon import config_parser
from pyhocon.config_tree import NoneValue

from clearml_agent_clone.config.known import known_keys
from clearml_agent_clone.config.parsed import Parsed
from clearml_agent_clone.config.positions import Include, Positions, scan, without_comment_lines
from clearml_agent_clone.config.trees import Tree, find, put
from clearml_agent_clone.errors import UserError

logging.getLogger("pyhocon").addHandler(logging.NullHandler())  # what it warns of is reported as a problem

_lock = threading.Lock()
_QUOTING = "Put a value with special characters such as @ # , = + ? ! in double quotes"
_DEEPEST_INCLUDE = 20


def parse_file(path: Path, environ: Mapping[str, str], *, below: str = "") -> Parsed:
    """The values of the file ``path``.

    Args:
        path: the file.
        environ: for ``${NAME}``.
        below: the dotted key that the whole file is the content of.

    Raises:
        UserError: it cannot be read, or is no HOCON; names file and line.
    """
    return parse_text(_read(path), str(path), environ=environ, folder=path.parent, below=below)


def parse_text(
    text: str, source: str, *, environ: Mapping[str, str], folder: Path | None = None, below: str = ""
) -> Parsed:
    """As ``parse_file``, of a text; ``folder`` is where its includes are looked for."""
    positions = scan(text)
    found = Parsed({})
    numbers: dict[str, str] = {}
    _gather(positions, folder or Path(), below, (Path(source),), found=found, numbers=numbers)
    raw = _values(without_comment_lines(text, positions), source, environ=environ, folder=folder, found=found)
    if not isinstance(raw, Mapping):
        raise UserError(f"{source}: the file holds a list, not keys and values", code="config-syntax")
    tree: Tree = plain(raw)
    if below:
        put(found.tree, below, tree)
    else:
        found.tree = tree
    for path, number in numbers.items():
        _keep_digits(found.tree, path, number)
    return found


def plain(value: Any) -> Any:
    """A value of pyhocon as JSON could hold it."""
    if isinstance(value, Mapping):
        return {str(name).strip('"'): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, NoneValue):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(
            f"cannot read the configuration file {path}: {error.strerror}", code="config-unreadable"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"cannot read the configuration file {path}: byte {error.start} is not UTF-8", code="config-unreadable"
        ) from error


def _keep_digits(tree: Tree, path: str, number: str) -> None:
    """A version 3.10 is not 3.1 and a password 007 is not 7: give keys that hold text the text."""
    row = known_keys().get(path)
    value = find(tree, path)
    textual = (row is not None and row.kind.textual) or path.startswith("environment.")
    if textual and isinstance(value, int | float) and not isinstance(value, bool) and str(value) != number:
        put(tree, path, number)


def _gather(
    positions: Positions, folder: Path, below: str, files: tuple[Path, ...], *, found: Parsed, numbers: dict[str, str]
) -> None:
    """Note lines and numbers of a file, and of those that it includes.

    Args:
        positions: of the file's keys.
        folder: where its includes are looked for.
        below: the key that it is the content of.
        files: the files that led here by including one another, the last one this.
        found: gets lines, sources, included files.
        numbers: gets numbers as they are written.
    """
    prefix = f"{below}." if below else ""
    for include in positions.includes:
        deeper = (prefix + include.below).rstrip(".")
        for file in _included(include, folder, found):
            if file in files or len(files) > _DEEPEST_INCLUDE:
                raise UserError(f"the configuration file {file} includes itself", code="config-syntax")
            found.files.append(file)
            if file.is_file():
                _gather(scan(_read(file)), file.parent, deeper, (*files, file), found=found, numbers=numbers)
            elif len(files) == 1:
                found.missing.append((include.line, include.target))
    for path, line in positions.lines.items():
        found.lines[prefix + path] = line
        if len(files) > 1:
            found.sources[prefix + path] = str(files[-1])
    numbers.update((prefix + path, number) for path, number in positions.numbers.items())


def _included(include: Include, folder: Path, found: Parsed) -> list[Path]:
    """The files that an include statement means; none for what is not on this machine."""
    remote = include.target.startswith(("http://", "https://", "file://"))
    if "url" in include.how or "package" in include.how or remote:
        found.repeatable = False
        return []
    path = folder / include.target
    if any(sign in include.target for sign in "*?"):
        found.repeatable = False  # a file may be added
        return sorted(path.parent.glob(path.name))
    return [path]


def _values(
    text: str,
    source: str,
    *,
    environ: Mapping[str, str],
    folder: Path | None,
    found: Parsed,
) -> Any:
    if not text.strip():
        return {}
    try:
        with _surroundings(environ, found.variables):
            return pyhocon.ConfigFactory.parse_string(text, str(folder) if folder else None)
    except pyparsing.ParseBaseException as error:
        raise _included_error(found.files) or _syntax_error(error, text, source) from None
    except pyhocon.ConfigException as error:
        raise _contradiction(str(error), source) from None
    except (OSError, UnicodeError):
        raise UserError(f"{source}: an included file or address cannot be read", code="config-unreadable") from None
    except Exception as error:  # noqa: BLE001 - on odd input the parser fails in ways of its own, all of them "no HOCON"
        reason = type(error).__name__  # its text may repeat a value, and a value may be secret
        raise UserError(f"{source}: cannot be read as HOCON ({reason})", code="config-syntax") from None


def _included_error(files: Sequence[Path]) -> UserError | None:
    """The error of an included file that is no HOCON: pyhocon only says that the include statement was wrong."""
    for file in reversed(files):
        text = _read(file) if file.is_file() else ""
        try:
            with _surroundings({}, {}):
                pyhocon.ConfigFactory.parse_string(text, str(file.parent), resolve=False)
        except pyparsing.ParseBaseException as error:
            return _syntax_error(error, text, str(file))
    return None


class _Recording:
    """``os.environ`` as pyhocon sees it: the caller's mapping, and a note of what was asked for."""

    def __init__(self, environ: Mapping[str, str], used: dict[str, str | None]) -> None:
        self._environ = environ
        self._used = used

    def get(self, name: str, default: str | None = None) -> str | None:
        self._used[name] = self._environ.get(name)
        return self._environ.get(name, default)


@contextmanager
def _surroundings(environ: Mapping[str, str], used: dict[str, str | None]) -> Iterator[None]:
    """Pyhocon with our environment, and without its habit of making ``5m`` an object of time.

    It offers no setting for either, so the names that it looks up in its module are replaced for the moment.
    """
    stand_in = {
        "os": SimpleNamespace(environ=_Recording(environ, used), path=os.path),
        "get_period_expr": pyparsing.NoMatch,
    }
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own deprecations, and of includes that we report ourselves
        kept = {name: getattr(config_parser, name) for name in stand_in}
        try:
            for name, value in stand_in.items():
                setattr(config_parser, name, value)
            yield
        finally:
            for name, value in kept.items():
                setattr(config_parser, name, value)


def _syntax_error(error: pyparsing.ParseBaseException, text: str, source: str) -> UserError:
    line, column = error.lineno, error.column
    opened = scan(text).open_braces if error.loc >= len(text.rstrip()) else []
    if opened:
        return UserError(
            f"{source}: the brace or bracket opened in line {opened[-1]} is never closed", code="config-syntax"
        )
    content = text.splitlines()[line - 1] if line <= len(text.splitlines()) else ""
    found = content[column - 1 : column]
    key = re.match(r'\s*"?([\w.\- ]+?)"?\s*[:=]', content)  # the name alone: the value may be a secret
    where = f", in the value of {key[1].strip()}" if key and column > key.end() else ""
    shown = "a double quote" if found == '"' else f'"{found}"'
    what = f"{shown} was not expected here (column {column}{where})" if found.strip() else "the line is not complete"
    return UserError(f"{source}:{line}: {what}", remedy=_QUOTING, code="config-syntax")


def _contradiction(message: str, source: str) -> UserError:
    """What pyhocon found after reading. Its own words are not repeated: they may quote a value, which may be secret."""
    match = re.search(r"Cannot resolve variable \$\{(?P<name>[^}]*)\} \(line: (?P<line>\d+)", message)
    if match:
        return UserError(
            f"{source}:{match['line']}: ${{{match['name']}}} is neither a key of this file nor an environment variable",
            remedy=f"Set the variable, or write ${{?{match['name']}}} to leave the value out when it is not set",
            code="config-syntax",
        )
    if "cycles" in message:
        return UserError(f"{source}: substitutions refer to each other in a circle", code="config-syntax")
    line = re.search(r"\(line: ?(?P<line>\d+)", message)
    place = f"{source}:{line['line']}" if line else source
    return UserError(
        f"{place}: values of different kinds are joined, such as a list or an object and text",
        remedy="Put text that has brackets or braces in it in double quotes",
        code="config-syntax",
    )
