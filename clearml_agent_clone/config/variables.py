"""Environment variables: what one is, how it is read, and how it sets a configuration key."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import attrs

from clearml_agent_clone.config.kinds import Kind
from clearml_agent_clone.config.problems import Problem
from clearml_agent_clone.config.schema import plain
from clearml_agent_clone.config.trees import Layer, Origin, Tree, find, put
from clearml_agent_clone.errors import UserError

T = TypeVar("T")


@attrs.frozen(eq=False)
class Variable(Generic[T]):
    """One row of the table of variables. Empty text counts as unset everywhere.

    Args:
        name: its first name; one that begins with CLEARML_ may also be written TRAINS_.
        kind: what it may be.
        help: one line.
        key: the configuration key that it sets; empty for one that is read where it is needed.
        aliases: further names; the first that is set wins.
        secret: its value must never be shown.
        unused: why it has no effect here; empty for one in use.
        written: the agent sets it for the task's process; it is not read.
    """

    name: str
    kind: Kind[T]
    help: str
    key: str = ""
    aliases: tuple[str, ...] = ()
    secret: bool = False
    unused: str = ""
    written: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it may have, the preferred one first: its own and its aliases, each before its TRAINS_ twin."""
        found: list[str] = []
        for name in (self.name, *self.aliases):
            found.append(name)
            if name.startswith("CLEARML_"):
                found.append("TRAINS_" + name.removeprefix("CLEARML_"))
        return tuple(found)

    def find(self, environ: Mapping[str, str]) -> tuple[str, str] | None:
        """The name under which it is set, and its text without blanks around; None when it is not set."""
        for name in self.names:
            text = environ.get(name, "").strip()
            if text:
                return name, text
        return None

    def get(self, environ: Mapping[str, str]) -> T | None:
        """Its value, or None when it is not set.

        Raises:
            UserError: it is set to something that it cannot be; names the variable and its value.
        """
        found = self.find(environ)
        if found is None:
            return None
        name, text = found
        try:
            return self.kind.parse(text, environ)
        except ValueError as error:
            raise UserError(
                f"environment variable {name}: {error}, found {self.shown(text)}",
                remedy="Correct or unset the variable",
                code="bad-variable",
            ) from None

    def shown(self, text: str) -> str:
        """``text`` as a message may have it."""
        return "a secret value" if self.secret else f'"{text}"'


def _shell_words(value: Any, _environ: Mapping[str, str]) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(value))
    except ValueError:
        raise ValueError("expected words as a shell would split them (a quotation mark is not closed)") from None


SHELL_WORDS: Kind[tuple[str, ...]] = Kind("words as in a shell", _shell_words)


def layer(table: tuple[Variable[Any], ...], environ: Mapping[str, str], below: Tree) -> tuple[Layer, list[Problem]]:
    """The keys that variables set, and what is wrong with variables of the table.

    Args:
        table: the variables.
        environ: the process environment.
        below: the layers below, for the list of Azure containers, which is added to.
    """
    tree: Tree = {}
    sources: dict[str, str] = {}
    problems: list[Problem] = []
    for variable in table:
        found = None if variable.written else variable.find(environ)
        if found is None:
            continue
        name, text = found
        try:
            value = variable.kind.parse(text, environ)
        except ValueError as error:
            message = f"{error}, found {variable.shown(text)}"
            problems.append(Problem.at(Origin(name), variable.key or name, message, "It is ignored"))
            continue
        if variable.key:
            put(tree, variable.key, plain(value))
            sources[variable.key] = name
    _azure(environ, below, tree, sources)
    return Layer(tree, "environment", sources=sources), problems


def _azure(environ: Mapping[str, str], below: Tree, tree: Tree, sources: dict[str, str]) -> None:
    """AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY make one more container beside those of the files."""
    account, secret = environ.get("AZURE_STORAGE_ACCOUNT", ""), environ.get("AZURE_STORAGE_KEY", "")
    if account and secret:
        path = "sdk.azure.storage.containers"
        others = find(below, path, [])
        container = {"account_name": account, "account_key": secret}
        put(tree, path, [*(others if isinstance(others, list) else []), container])
        sources[path] = "AZURE_STORAGE_ACCOUNT"
