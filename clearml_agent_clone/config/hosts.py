"""Server addresses that follow from one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

import attrs

from clearml_agent_clone.config.masking import mask_urls
from clearml_agent_clone.config.problems import Problem
from clearml_agent_clone.config.settings_api import ApiSettings
from clearml_agent_clone.config.trees import Origin

_WEB_OF_API = {"demoapi.": "demoapp.", "api.": "app."}
_FILES_OF_WEB = {"demoapp.": "demofiles.", "app.": "files."}


def complete_hosts(api: ApiSettings) -> tuple[ApiSettings, dict[str, Origin]]:
    """``api`` with the addresses that were not given, and the origins of those."""
    origins: dict[str, Origin] = {}
    server = _trimmed(api.api_server)
    if not server and api.host:
        server = _trimmed(api.host)
        origins["api.api_server"] = Origin("api.host")
    web, files = _trimmed(api.web_server), _trimmed(api.files_server)
    if not web and server:
        web = web_server_of(server)
        origins["api.web_server"] = Origin("derived from api.api_server")
    if not files and web:
        files = files_server_of(web)
        origins["api.files_server"] = Origin("derived from api.web_server")
    return attrs.evolve(api, api_server=server, web_server=web, files_server=files, host=server), origins


def web_server_of(api_server: str) -> str:
    """The web application that belongs to an API server; empty when its address does not tell."""
    url = urlsplit(api_server)
    for prefix, other in _WEB_OF_API.items():
        if url.netloc.startswith(prefix):
            return url._replace(netloc=other + url.netloc.removeprefix(prefix)).geturl()
    return with_port(url, 8080) if port_of(url) == 8008 else ""


def files_server_of(web_server: str) -> str:
    """The file server that belongs to a web application."""
    url = urlsplit(web_server)
    if port_of(url) is None:
        for prefix, other in _FILES_OF_WEB.items():
            if url.netloc.startswith(prefix):
                return url._replace(netloc=other + url.netloc.removeprefix(prefix)).geturl()
    return with_port(url, 8081)


def port_of(url: SplitResult) -> int | None:
    """The port that ``url`` names; None for none, or for one that is no number."""
    try:
        return url.port
    except ValueError:
        return None


def with_port(url: SplitResult, port: int | None) -> str:
    """``url`` with another port, or with none."""
    head, _, tail = url.netloc.rpartition("@")
    closing = tail.rfind("]")  # an IPv6 address has colons of its own
    name = tail[: tail.find(":", closing + 1)] if ":" in tail[closing + 1 :] else tail
    netloc = (f"{head}@" if head else "") + name + ("" if port is None else f":{port}")
    return url._replace(netloc=netloc).geturl()


def host_problems(api: ApiSettings, origins: Mapping[str, Origin]) -> Iterator[Problem]:
    """Addresses that cannot be used. Only the API server's stops the agent."""
    for name in ("api_server", "web_server", "files_server"):
        address = getattr(api, name)
        reason = address and why_unusable(address)
        if reason:
            key = f"api.{name}"
            severe = name == "api_server"
            yield Problem.at(
                origins[key],
                key,
                f'"{mask_urls(address)}" {reason}',
                "Write it as http://host:port or https://host",
                severity="error" if severe else "warning",
            )


def why_unusable(address: str) -> str:
    """What is wrong with a server's address; empty when nothing is."""
    try:
        url = urlsplit(address)
        port = url.port
    except ValueError:
        return "is not a URL (its port or brackets)"
    if url.scheme not in ("http", "https"):
        return "does not begin with http:// or https://"
    if not url.hostname or any(sign.isspace() for sign in address):
        return "names no host"
    return "has no valid port" if port == 0 else ""


def _trimmed(address: str) -> str:
    return address.strip().rstrip("/")
