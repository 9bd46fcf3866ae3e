"""Command lines as they are shown: on the console, in the log, in errors."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

import attrs

from clearml_agent_clone.config.masking import mask_known
from clearml_agent_clone.config.secret_values import looks_secret, text_secrets
from clearml_agent_clone.config.settings_docker import HideDockerEnvSettings

MASK = "********"
_ALWAYS = frozenset(
    {
        "CLEARML_AGENT_GIT_PASS",
        "CLEARML_API_SECRET_KEY",
        "CLEARML_AUTH_TOKEN",
        "TRAINS_AGENT_GIT_PASS",
        "TRAINS_API_SECRET_KEY",
        "TRAINS_AUTH_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AZURE_STORAGE_KEY",
    }
)
_ASSIGNED = re.compile(
    r"(?P<head>--[A-Za-z-]+[= ]|-[A-Za-z]*?e[= ]?|)(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)=(?P<value>.*)", re.DOTALL
)
_WORD = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>[^\s\"']+)")
_USER_INFO = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/@]+@")
_URL = re.compile(r"(?P<head>[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?=@)")


@attrs.frozen
class Hider:
    """What is hidden in a command line: values of variables by name, passwords in URLs, known secrets."""

    enabled: bool = True
    names: frozenset[str] = frozenset()
    urls: bool = True
    secrets: frozenset[str] = attrs.field(default=frozenset(), repr=False)

    @classmethod
    def of(cls, settings: HideDockerEnvSettings, secrets: Iterable[str] = ()) -> Hider:
        """By ``agent.hide_docker_command_env_vars``; naming variables of one's own turns it on."""
        enabled = settings.enabled or bool(settings.extra_keys)
        return cls(enabled, frozenset(settings.extra_keys), settings.parse_embedded_urls, frozenset(secrets))

    def hides(self, name: str) -> bool:
        """Whether the value of a variable or label of this name is secret."""
        return name in _ALWAYS or name in self.names or looks_secret(name)

    def is_secret(self, name: str, value: str) -> bool:
        """Whether a variable must not be seen by whoever may look at the container from outside."""
        if self.hides(name) or any(secret in value for secret in self.secrets if secret):
            return True
        # A user alone may be a token, so this goes further than what is masked.
        return _USER_INFO.search(value) is not None or any(text_secrets(value))

    def word(self, word: str) -> str:
        """One word of a command line, in every way that a variable can be written there."""
        match = _ASSIGNED.fullmatch(word) if self.enabled else None
        if match and self.hides(match["name"]):
            return f"{match['head']}{match['name']}={MASK}"
        if match:
            word = f"{match['head']}{match['name']}={self._inner(match['value'])}"
        if self.enabled and self.urls:
            word = _URL.sub(rf"\g<head>{MASK}", word)
        return mask_known(word, self.secrets)

    def _inner(self, value: str) -> str:
        """The value of a variable that holds a command line itself, such as CLEARML_DOCKER_IMAGE."""
        return _WORD.sub(lambda found: f"{found['name']}={MASK}" if self.hides(found["name"]) else found[0], value)

    def line(self, words: Sequence[str]) -> str:
        """The words as one line that a shell would read the same way."""
        return shlex.join(map(self.word, words))
