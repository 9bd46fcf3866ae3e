"""How to reach a server: address, credentials, patience."""

from __future__ import annotations

import math
import os
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from clearml_agent_clone.api.token import parse_version
from clearml_agent_clone.errors import UserError

if TYPE_CHECKING:
    from clearml_agent_clone.config import ApiSettings

METHODS = ("GET", "POST", "PUT")


@attrs.frozen
class Timeout:
    """Seconds until a connection must stand, and seconds without a byte of the answer."""

    connect: float = 10.0
    read: float = 30.0


@attrs.frozen
class Retry:
    """How often and how long a call is repeated.

    Args:
        attempts: how often the request is sent at most, the first time included.
        total: seconds from the first attempt after which no new one starts.
        base: upper end in seconds of the first pause; it doubles with each further pause.
        cap: upper end in seconds that no pause exceeds, unless the server asks for a longer one.
        stubborn: go on also after what somebody has to mend first: refused credentials, an untrusted certificate, HTTP
            500.
    """

    attempts: int = 8
    total: float = 120.0
    base: float = 0.5
    cap: float = 10.0
    stubborn: bool = False

    def pause(self, repeat: int, rng: random.Random, asked: float | None = None) -> float:
        """Seconds to wait before repetition number ``repeat`` (from 0).

        From the upper half of what is below the exponential bound: many agents that lost the same server do not come
        back in the same moment, and how often one asks has a limit. A pause ``asked`` for by the server is kept in full.
        """
        jitter = min(self.cap, self.base * 2.0 ** min(repeat, 30)) * rng.uniform(0.5, 1.0)
        return jitter if asked is None else asked + min(jitter, 1.0)

    @classmethod
    def forever(cls) -> Retry:
        """For the few calls that must arrive, such as a task's last status: only ``stop`` or the server's word that it
        will not do it ends them.
        """
        return cls(attempts=sys.maxsize, total=math.inf, stubborn=True)


ONCE = Retry(attempts=1)
"""Send the request once and no more."""


def _url(value: str) -> str:
    text = value.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not host:
        shown = text.rpartition("@")[2]
        raise UserError(
            f'api.api_server "{shown}" is not a URL of a server',
            remedy="Write it as http://host:8008 or https://api.example.com",
            code="api-server-invalid",
        )
    # User and password in the URL would be sent nowhere (the token takes that header) and shown everywhere: drop them.
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}{parts.path}"


def _method(value: str) -> str:
    return value.strip().upper()


def _token(value: str) -> str:
    text = value.strip()
    if not text.isascii() or any(character.isspace() or not character.isprintable() for character in text):
        raise UserError(
            "the API token contains blanks or characters that no token has",
            remedy="Set CLEARML_AUTH_TOKEN to the token alone, or unset it to use a key pair",
            code="token-invalid",
        )
    return text


@attrs.frozen
class ServerAccess:
    """All that a session needs to know about its server.

    Args:
        url: base URL of the API server, for example ``http://localhost:8008``; a user part in it is dropped.
        access_key: with ``secret_key``, the key pair to log in with.
        token: log in with this bearer token instead; it wins over the key pair.
        verify: check the server's certificate; a path names the CA file or folder to check against.
        method: HTTP method of every call: GET, POST or PUT.
        timeout: of ordinary calls.
        login_timeout: of the login, which should notice a wrong address sooner.
        retry: of ordinary calls.
        login_retry: of the login that a command begins with, where somebody may be watching.
        max_request_size: bytes at which JSON lines are cut into several requests.
        refresh_threshold: seconds of remaining life at which a token is renewed.
        requested_lifetime: life in seconds to ask for when logging in; None leaves it to the server.
        max_api_version: never speak a newer API level than this.
    """

    url: str = attrs.field(converter=_url)
    access_key: str = attrs.field(default="", repr=False)
    secret_key: str = attrs.field(default="", repr=False)
    token: str = attrs.field(default="", repr=False, converter=_token)
    verify: bool | Path = True
    method: str = attrs.field(default="POST", converter=_method, validator=attrs.validators.in_(METHODS))
    timeout: Timeout = attrs.Factory(Timeout)
    login_timeout: Timeout = Timeout(5.0, 15.0)
    retry: Retry = attrs.Factory(Retry)
    login_retry: Retry = Retry(attempts=5)
    max_request_size: int = 15 * 1024 * 1024
    refresh_threshold: float = 12 * 3600.0
    requested_lifetime: int | None = None
    max_api_version: tuple[int, int] | None = None

    @property
    def is_encrypted(self) -> bool:
        return self.url.startswith("https:")

    @classmethod
    def from_settings(cls, settings: ApiSettings, environ: Mapping[str, str] = os.environ) -> ServerAccess:
        """The access that the configuration describes.

        A limit of repetitions counts where it is lower than ours. Where it is higher, the caller comes back later: a
        call that is repeated for hours would keep everything behind it waiting.

        Raises:
            UserError: the server's address, the token or CLEARML_AGENT_FORCE_MAX_API_VERSION is not what it should be.
        """
        retries, ours = settings.retries, Retry()
        limits = [
            limit for limit in (retries.total, retries.connect, retries.read, retries.status) if limit is not None
        ]
        retry = Retry(
            attempts=min([ours.attempts, *(limit + 1 for limit in limits)]),
            base=min(ours.base, retries.backoff_factor),
            cap=min(ours.cap, retries.backoff_max),
        )
        lifetime = settings.request_token_expiration_sec
        return cls(
            url=settings.api_server,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
            token=settings.auth_token,
            verify=settings.verify_certificate,
            method=settings.default_method,
            retry=retry,
            login_retry=attrs.evolve(retry, attempts=settings.initial_connect_retries + 1),
            max_request_size=settings.max_req_size,
            refresh_threshold=settings.token_expiration_threshold_sec,
            requested_lifetime=None if lifetime is None else int(lifetime),
            max_api_version=_version_limit(environ),
        )


def _version_limit(environ: Mapping[str, str]) -> tuple[int, int] | None:
    from clearml_agent_clone.config.variables_table import FORCE_MAX_API_VERSION  # noqa: PLC0415 - loaded by then

    value = FORCE_MAX_API_VERSION.get(environ)
    if not value:
        return None
    limit = parse_version(value)
    if limit == (0, 0):
        raise UserError(
            f'CLEARML_AGENT_FORCE_MAX_API_VERSION "{value}" is not a version of the API',
            remedy="Write it as 2.13, or unset it",
            code="api-version-invalid",
        )
    return limit
