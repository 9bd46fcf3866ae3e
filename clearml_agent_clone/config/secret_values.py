"""Which values of a configuration are secret, for the redactor, and how they are shown to the user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from clearml_agent_clone.config.known import is_known, known_keys, resembles_secret
from clearml_agent_clone.config.masking import url_passwords
from clearml_agent_clone.config.trees import Tree, find, leaves
from clearml_agent_clone.config.variables_table import TABLE

_SHORTEST = 4
_SECRET_NAME = re.compile(
    r"secret|passw|passphrase|(^|_)(pass|pat|pwd)($|_)|token|credential|(api|access|account|private|storage|auth)_?key",
    re.IGNORECASE,
)
_NOT_SECRET_NAME = re.compile(r"(key_id|credentials_json|path|file|dir|_sec|user|url|host)$", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>\S+)")
_PLAIN_WORDS = frozenset({"true", "false", "none", "null"})


def looks_secret(name: str) -> bool:
    """Whether a variable or key of this name usually holds a secret."""
    return bool(_SECRET_NAME.search(name)) and not _NOT_SECRET_NAME.search(name)


def secret_values(tree: Tree, environ: Mapping[str, str]) -> frozenset[str]:
    """Every value that must never be shown; those too short to be told from ordinary text are left out."""
    found: set[str] = set()
    for path, row in known_keys().items():
        if row.secret:
            found.update(_texts(find(tree, path)))
    found.update(_below(tree))
    for path, value in leaves({name: tree[name] for name in ("api", "agent") if name in tree}):
        if not is_known(path) and resembles_secret(path):
            found.update(_texts(value))
    for variable in TABLE:
        given = variable.find(environ) if variable.secret else None
        if given:
            found.add(given[1])
    return frozenset(value for value in found if len(value) >= _SHORTEST and value.lower() not in _PLAIN_WORDS)


def _below(value: Any, path: str = "") -> Iterator[str]:
    """Secrets that are found by the name of a key outside the table, in a URL, or in a ``-e NAME=value``."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _below(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _below(item, path)
    elif looks_secret(path.rpartition(".")[2]) and not is_known(path):
        yield from _texts(value)
    if isinstance(value, str):
        for password in url_passwords(value):
            yield password
            yield unquote(password)
        for match in _ASSIGNMENT.finditer(value):
            if looks_secret(match["name"]):
                yield match["value"]


def _texts(value: Any) -> Iterator[str]:
    """The secret texts in the value of a secret key; of a list of credentials the passwords."""
    if isinstance(value, list):
        for item in value:
            yield from _texts(item.get("pass") if isinstance(item, Mapping) else item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)
