"""Which values of a configuration are secret, for the redactor, and how they are shown to the user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from clearml_agent_clone.config.known import is_known, known_keys, resembles_secret
from clearml_agent_clone.config.masking import url_passwords
from clearml_agent_clone.config.trees import Tree, find, leaves
from clearml_agent_clone.config.variables_table import TABLE

_SHORTEST = 4
_SHORTEST_NUMBER = 6
_LARGEST_FILE = 1024 * 1024
_SECRET_NAME = re.compile(
    r"secret|passw|passphrase|(^|_)(pass|pat|pwd)($|_)|token|credential|(api|access|account|private|storage|auth)_?key",
    re.IGNORECASE,
)
_NOT_SECRET_NAME = re.compile(r"(key_id|credentials_json|path|file|dir|_sec|user|url|host)$", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>\S+)")
_PLAIN_WORDS = frozenset(
    [
        "true",
        "false",
        "none",
        "null",
        "yes",
        "off",
        "auto",
        "default",
        "enabled",
        "disabled",
        "required",
        "optional",
        "password",
        "passwd",
        "secret",
        "token",
        "admin",
        "root",
        "user",
        "username",
        "test",
        "guest",
        "public",
        "private",
        "changeme",
        "example",
        "dummy",
        "xxxx",
        "basic",
        "bearer",
    ]
)
_CLOUD_NAME = re.compile(
    r"^(AWS_ACCESS_KEY_ID|AWS_SESSION_TOKEN|.*(SAS_TOKEN|CONNECTION_STRING|SIGNATURE))$", re.IGNORECASE
)
_CONNECTION_PART = re.compile(
    r"(?:AccountKey|SharedAccessKey|SharedAccessSignature|Password|pwd)=([^;\s]+)", re.IGNORECASE
)
_NETRC_PASSWORD = re.compile(r"(?:^|\s)password\s+(\S+)")
_INI_PASSWORD = re.compile(r"^\s*(?:password|token|api_token)\s*[=:]\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_remembered: set[str] = set()
_CREDENTIAL_FILES = (
    ".netrc",
    "_netrc",
    ".git-credentials",
    ".config/git/credentials",
    ".pypirc",
    ".pip/pip.conf",
    ".config/pip/pip.conf",
    ".config/uv/uv.toml",
)


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
    found.update(_of_environment(environ))
    found.update(_of_files(environ))
    secrets = frozenset(filter(worth_masking, found))
    _remembered.update(secrets)
    return secrets


def remembered() -> frozenset[str]:
    """All that this process has come to know, for the line that tells why it failed."""
    return frozenset(_remembered)


def worth_masking(value: str) -> bool:
    """Whether ``value`` can be told from ordinary text.

    What is short, a common word, a small number, one character over and over or a path stands in every console.
    Masking it there would hide nothing, since everybody can guess it, and make the console useless.
    """
    text = value.strip()
    if len(text) < _SHORTEST or text.lower() in _PLAIN_WORDS or len(set(text)) == 1:
        return False
    if text.replace(".", "", 1).isdigit():
        return len(text) >= _SHORTEST_NUMBER
    return not (text.startswith(("/", "~/", "./")) and re.fullmatch(r"[\w./~@ -]+", text))


def variable_secrets(variables: Mapping[str, str]) -> Iterator[str]:
    """The secrets among environment variables, by name, and the user info of URLs in any of them."""
    for name, value in variables.items():
        if looks_secret(name) or _CLOUD_NAME.match(name):
            yield value
        yield from _of_text(value)


def text_secrets(text: str) -> Iterator[str]:
    """The secrets in a command line such as ``-e DB_PASSWORD=value``, and in its URLs."""
    return filter(worth_masking, _in_text(text))


def _in_text(text: str) -> Iterator[str]:
    yield from _of_text(text)
    for match in _ASSIGNMENT.finditer(text):
        if looks_secret(match["name"]):
            yield match["value"].strip("\"'")


def _of_environment(environ: Mapping[str, str]) -> Iterator[str]:
    return filter(worth_masking, variable_secrets(environ))


def _of_text(text: str) -> Iterator[str]:
    """Secrets in the URLs and connection strings of ``text``."""
    for password in url_passwords(text):
        yield password
        yield unquote(password)
    if "=" in text:
        yield from _CONNECTION_PART.findall(text)


def _of_files(environ: Mapping[str, str]) -> Iterator[str]:
    """Passwords in the files where git, pip, uv, twine and curl keep theirs; a file that cannot be read has none."""
    home = environ.get("HOME")
    named = [environ[name] for name in ("NETRC", "PIP_CONFIG_FILE", "UV_CONFIG_FILE") if environ.get(name)]
    for path in [*(Path(home, name) for name in _CREDENTIAL_FILES if home), *map(Path, named)]:
        try:
            if path.stat().st_size > _LARGEST_FILE:
                continue
            text = path.read_text(errors="replace")
        except OSError:
            continue
        yield from _of_text(text)
        if "netrc" in path.name:
            yield from _NETRC_PASSWORD.findall(text)
        else:
            yield from (value.strip("\"'") for value in _INI_PASSWORD.findall(text))


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
        yield from _in_text(value)


def _texts(value: Any) -> Iterator[str]:
    """The secret texts in the value of a secret key; of a list of credentials the passwords."""
    if isinstance(value, list):
        for item in value:
            yield from _texts(item.get("pass") if isinstance(item, Mapping) else item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)
