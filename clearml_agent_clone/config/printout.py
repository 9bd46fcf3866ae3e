"""The effective configuration for people: one line for each value, secrets masked, origins on request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from clearml_agent_clone.config.known import is_known, known_keys, resembles_secret
from clearml_agent_clone.config.loaded import Loaded
from clearml_agent_clone.config.masking import MASK, mask_known, mask_urls
from clearml_agent_clone.config.sdk_tree import effective_values
from clearml_agent_clone.config.secret_values import looks_secret
from clearml_agent_clone.config.settings_agent import PrintoutSettings
from clearml_agent_clone.config.trees import Origin, Tree, merge, put

_ESCAPED = re.compile(r"[\\=!#]")


@attrs.frozen
class Line:
    """One value as it may be shown. ``path`` has a number for each place in a list."""

    path: str
    value: Any
    origin: Origin

    def __str__(self) -> str:
        return f"{self.path} = {_text(self.value)}"


def shown_tree(loaded: Loaded) -> Tree:
    """All that is configured, defaults of ``api`` and ``agent`` included, with every secret masked."""
    tree = merge({}, loaded.values)
    for path, value in effective_values(loaded.settings).items():
        put(tree, path, value)
    masked: Tree = _Mask(loaded).below(tree, ())
    return masked


def shown_lines(loaded: Loaded) -> Iterator[Line]:
    """``shown_tree`` line by line; null and empty lists are left out."""
    for path, value in _flat(shown_tree(loaded), ()):
        yield Line(".".join(path), value, loaded.origins[_key_of(path)])


class _Mask:
    """Decides what is masked: keys the table calls secret, names that the user's rules or ours call secret."""

    def __init__(self, loaded: Loaded) -> None:
        rules = loaded.settings.agent.printout
        usual = PrintoutSettings()
        self._secrets = loaded.secrets
        self._hidden = _Rules(rules.hide_secrets)
        # Keys of the table are known to be secret or not; only rules that the user added reach them.
        self._hidden_too = _Rules(rule for rule in rules.hide_secrets if rule not in usual.hide_secrets)
        self._sections = _Rules(rules.hide_secrets_recursive)
        self._open = _Rules(rules.dont_hide_secrets)

    def below(self, value: Any, path: tuple[str, ...], *, all_hidden: bool = False) -> Any:
        name = path[-1] if path else ""
        hidden = all_hidden or self._sections.match(name)
        if isinstance(value, Mapping) and not self._is_secret(path, leaf=False):
            return {key: self.below(item, (*path, str(key)), all_hidden=hidden) for key, item in value.items()}
        if value is None or value in ("", [], {}):
            return value
        objects = isinstance(value, list) and any(isinstance(item, Mapping) for item in value)
        if hidden or self._is_secret(path, leaf=not objects):
            return MASK
        if path == ("api", "credentials", "access_key"):
            return str(value)[:4] + MASK
        if isinstance(value, list):
            return [self.below(item, path) for item in value]
        return mask_urls(mask_known(value, self._secrets)) if isinstance(value, str) else value

    def _is_secret(self, path: tuple[str, ...], *, leaf: bool) -> bool:
        name = path[-1] if path else ""
        if not name or self._open.match(name):
            return False
        row = known_keys().get(".".join(path))
        if row is not None:
            return row.secret or self._hidden_too.match(name)
        if path[0] in ("api", "agent") and not is_known(".".join(path)):
            return leaf and (looks_secret(name) or resembles_secret(name))
        return self._hidden.match(name) or (leaf and looks_secret(name))


class _Rules:
    """Regular expressions searched in a name; one that is none of them matches nothing."""

    def __init__(self, rules: Iterable[str]) -> None:
        self._patterns = []
        for rule in rules:
            try:
                self._patterns.append(re.compile(rule))
            except re.error:  # noqa: PERF203 - one bad rule must not undo the others
                continue

    def match(self, name: str) -> bool:
        return any(pattern.search(name) for pattern in self._patterns)


def _flat(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, (*path, str(name)))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _flat(item, (*path, str(number)))
    elif value is not None:
        yield path, value


def _key_of(path: tuple[str, ...]) -> str:
    """The key whose origin is that of ``path``: the list, for something in a list."""
    for count in range(len(path), 0, -1):
        if ".".join(path[:count]) in known_keys():
            return ".".join(path[:count])
    end = next((place for place, part in enumerate(path) if part.isdigit()), len(path))
    return ".".join(path[:end])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _ESCAPED.sub(r"\\\g<0>", str(value)).replace("\n", "\\\n")
