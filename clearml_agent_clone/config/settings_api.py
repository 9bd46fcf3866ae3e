"""The keys of the ``api`` section."""
# ruff: noqa: RUF009 - key() makes an attrs field, it is no default that instances would share

from __future__ import annotations

from pathlib import Path

import attrs

from clearml_agent_clone.config.kinds import (
    CONNECT_RETRIES,
    MAYBE_SECONDS,
    MAYBE_WHOLE,
    NUMBER,
    SECONDS,
    SWITCH,
    TEXT,
    VERIFY,
    WHOLE,
    WORDS,
    choice,
)
from clearml_agent_clone.config.schema import Section, group, key


@attrs.frozen(eq=False, repr=False)
class RetrySettings(Section):
    """How often a call is repeated. None means without limit."""

    total: int | None = key("api.http.retries.total", MAYBE_WHOLE, 240, "How often one call is repeated at most")
    connect: int | None = key("api.http.retries.connect", MAYBE_WHOLE, 240, "The same for connections that fail")
    read: int | None = key("api.http.retries.read", MAYBE_WHOLE, 240, "The same for answers that break off")
    redirect: int | None = key("api.http.retries.redirect", MAYBE_WHOLE, 240, "How many redirects are followed")
    status: int | None = key("api.http.retries.status", MAYBE_WHOLE, 240, "The same for answers such as 502 and 503")
    backoff_factor: float = key(
        "api.http.retries.backoff_factor", NUMBER, 1.0, "First pause between repetitions, doubled each time"
    )
    backoff_max: float = key("api.http.retries.backoff_max", SECONDS, 120.0, "Longest pause between repetitions")


@attrs.frozen(eq=False, repr=False)
class ApiSettings(Section):
    """Where the server is and how to talk to it. Server addresses carry no trailing slash; empty means unknown."""

    api_server: str = key("api.api_server", TEXT, "", "Address of the API server, such as http://localhost:8008")
    web_server: str = key(
        "api.web_server", TEXT, "", "Address of the web application; derived from the API server when absent"
    )
    files_server: str = key(
        "api.files_server", TEXT, "", "Address of the file server; derived from the web server when absent"
    )
    access_key: str = key(
        "api.credentials.access_key", TEXT, "", "Access key of the credentials made in the web application"
    )
    secret_key: str = key("api.credentials.secret_key", TEXT, "", "Secret key of the same credentials", secret=True)
    auth_token: str = key(
        "api.auth_token",
        TEXT,
        None,
        "Bearer token to use in place of a key pair; usually set as CLEARML_AUTH_TOKEN",
        secret=True,
        own=True,
    )
    verify_certificate: bool | Path = key(
        "api.verify_certificate", VERIFY, True, "Check TLS certificates; a path names the CA bundle to check them with"
    )
    default_method: str = key(
        "api.http.default_method",
        choice("post", "get", "put"),
        "post",
        "HTTP method of calls that have no method of their own",
    )
    max_req_size: int = key(
        "api.http.max_req_size", WHOLE, 15728640, "Bytes of one request, above which a batch is split"
    )
    pool_maxsize: int = key("api.http.pool_maxsize", WHOLE, 512, "Connections kept open for one server")
    pool_connections: int = key("api.http.pool_connections", WHOLE, 512, "Servers for which connections are kept open")
    wait_on_maintenance_forever: bool = key(
        "api.http.wait_on_maintenance_forever",
        SWITCH,
        True,
        "Go on repeating a call for as long as the server answers 503",
    )
    retries: RetrySettings = group(RetrySettings)
    initial_connect_retries: int = key(
        "api.http.initial_connect_retries",
        CONNECT_RETRIES,
        4,
        "Repetitions of the first login when nothing answers",
        own=True,
    )
    token_expiration_threshold_sec: float = key(
        "api.auth.token_expiration_threshold_sec",
        SECONDS,
        43200,
        "Ask for a new token when the present one lasts less than this",
    )
    request_token_expiration_sec: float | None = key(
        "api.auth.request_token_expiration_sec",
        MAYBE_SECONDS,
        None,
        "Lifetime to ask for with each token; absent leaves it to the server",
    )
    public_ip_ping: str = key(
        "api.public_ip_ping", TEXT, "8.8.8.8", "Address whose route tells which of this machine's addresses is reported"
    )
    public_ip_service_urls: tuple[str, ...] = key(
        "api.public_ip_service_urls",
        WORDS,
        ["https://api.ipify.org", "https://v4.ident.me"],
        "Services that tell this machine's public address",
    )
    host: str = key("api.host", TEXT, "", "Older name of api.api_server")
