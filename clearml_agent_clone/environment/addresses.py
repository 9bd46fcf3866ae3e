"""Addresses of packages: the variables in them, and the secrets.

``${NAME}`` in requirement files stands for a variable of the agent's environment, as in pip.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit, urlunsplit

_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_USER_INFO = re.compile(r"://[^/\s]*@")


def filled(text: str, environ: Mapping[str, str]) -> str:
    """``text`` with the values of the variables; those that are not set stay as they are."""
    return _VARIABLE.sub(lambda match: environ.get(match[1]) or match[0], text) if "${" in text else text


def named_variables(text: str) -> list[str]:
    """The names of the variables in ``text``."""
    return _VARIABLE.findall(text) if "${" in text else []


def missing(text: str, environ: Mapping[str, str]) -> list[str]:
    """The names of those that are not set."""
    return [name for name in named_variables(text) if not environ.get(name)]


def secrets_in(texts: Iterable[str], environ: Mapping[str, str]) -> frozenset[str]:
    """What ``texts`` have that nobody must see: passwords in addresses, and what variables stand for."""
    found: set[str] = set()
    for text in texts:
        found.update(environ[name] for name in named_variables(text) if environ.get(name))
        if "@" in text and "://" in text:
            from clearml_agent_clone.config.masking import url_passwords  # noqa: PLC0415 - few lists have such

            found.update(url_passwords(text))
    return frozenset(found)


def without_secrets(url: str) -> str:
    """``url`` without a password; a bare user name stays, because ``ssh://git@host`` needs it."""
    return _with_user(url, lambda _: "")


def shareable(url: str) -> str:
    """``url`` without secrets; variables in the place of secrets stay, they tell nobody anything."""
    return _with_user(url, _variables_only)


def bare(url: str) -> str:
    """``url`` as it can be compared: without user, fragment, and the revision of a repository."""
    url = without_secrets(url).partition("#")[0]
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{place}{_without_revision(parts.scheme, parts.path)}"


def at_revision(url: str, revision: str) -> str:
    """The address ``url`` of a repository, with ``revision`` in place of its own."""
    url = url.partition("#")[0]
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return urlunsplit(parts._replace(path=f"{_without_revision('git+', parts.path)}@{revision}"))


def _without_revision(scheme: str, path: str) -> str:
    return path.rpartition("@")[0] if "+" in scheme and "@" in path else path


def _with_user(url: str, keep: Callable[[str], str]) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that do not match
        return _USER_INFO.sub("://", url)
    user, _, host = parts.netloc.rpartition("@")
    kept = keep(user)
    if not kept and parts.scheme.rpartition("+")[2] not in {"http", "https"}:
        kept = user.partition(":")[0]
    return re.sub(r"#$", "", urlunsplit(parts._replace(netloc=f"{kept}@{host}" if kept else host)))


def _variables_only(userinfo: str) -> str:
    user, mark, password = userinfo.partition(":")
    secret = password if mark else user
    return userinfo if secret and not _VARIABLE.sub("", secret) else ""
