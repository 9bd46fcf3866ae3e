"""What the set-up wizard makes of what people paste and type, and the file that it writes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from clearml_agent_clone.config.hosts import files_server_of, port_of, why_unusable, with_port
from clearml_agent_clone.config.trees import find
from clearml_agent_clone.errors import UserError

_VARIABLE_LINE = re.compile(r"\s*(?:export\s+|set\s+|%env\s+)?(?:CLEARML|TRAINS)_(?P<name>\w+)\s*=\s*(?P<value>.*)")
_BY_VARIABLE = {
    "API_HOST": "api_server",
    "WEB_HOST": "web_server",
    "FILES_HOST": "files_server",
    "API_ACCESS_KEY": "access_key",
    "API_SECRET_KEY": "secret_key",
}
_PREFIXES = (("demoapp.", "demoapi.", "demofiles."), ("app.", "api.", "files."))


@attrs.frozen
class Hosts:
    """The three addresses of a server; empty means unknown."""

    web: str = ""
    api: str = ""
    files: str = ""


@attrs.frozen
class Pasted:
    """What was found in the pasted text; empty means not found."""

    access_key: str = ""
    secret_key: str = attrs.field(default="", repr=False)
    hosts: Hosts = Hosts()

    @property
    def has_credentials(self) -> bool:
        return bool(self.access_key and self.secret_key)


@attrs.frozen
class Answers:
    """All that the wizard learned."""

    hosts: Hosts
    access_key: str
    secret_key: str = attrs.field(repr=False)
    git_user: str = ""
    git_pass: str = attrs.field(default="", repr=False)
    extra_index_urls: tuple[str, ...] = attrs.field(default=(), repr=False)
    default_output_uri: str = ""


def parse_pasted(text: str) -> Pasted:
    """Credentials and addresses in ``text``: a piece of clearml.conf, JSON, or lines that set variables."""
    variables = _variables(text)
    if variables:
        return _pasted(variables)
    from clearml_agent_clone.config.hocon import parse_text  # noqa: PLC0415 - slow to import, needed once

    try:
        tree = parse_text(text, "the pasted text", environ={}).tree
    except UserError:
        return Pasted()
    values = {
        "access_key": _first(tree, "api.credentials.access_key", "credentials.access_key", "access_key"),
        "secret_key": _first(tree, "api.credentials.secret_key", "credentials.secret_key", "secret_key"),
        "api_server": _first(tree, "api.api_server", "api.host", "api_server", "host"),
        "web_server": _first(tree, "api.web_server", "web_server"),
        "files_server": _first(tree, "api.files_server", "files_server"),
    }
    return _pasted(values)


def _pasted(values: Mapping[str, str]) -> Pasted:
    hosts = [normal_url(values.get(name, "")) or "" for name in ("web_server", "api_server", "files_server")]
    return Pasted(values.get("access_key", ""), values.get("secret_key", ""), Hosts(*hosts))


def _variables(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = _VARIABLE_LINE.fullmatch(line)
        if match and match["name"] in _BY_VARIABLE:
            try:
                words = shlex.split(match["value"], comments=True)
            except ValueError:
                words = [match["value"]]
            found[_BY_VARIABLE[match["name"]]] = words[0].strip() if words else ""
    return found


def _first(tree: Mapping[str, Any], *paths: str) -> str:
    for path in paths:
        value = find(tree, path)
        if isinstance(value, str | int) and str(value).strip():
            return str(value).strip()
    return ""


def normal_url(text: str) -> str | None:
    """``text`` as the address of a server, or None when it cannot be one. Query and fragment are dropped."""
    text = text.strip()
    if not text:
        return None
    if "://" not in text:
        text = ("http://" if ":" in text else "https://") + text
    if why_unusable(text):
        return None
    return urlsplit(text)._replace(query="", fragment="").geturl().rstrip("/")


def related_hosts(address: str, *, is_web: bool) -> Hosts | None:
    """The three addresses that follow from one; None when it has neither a known name nor a port.

    Args:
        address: what was entered.
        is_web: it was entered as the web application's, which counts where the address itself does not tell.
    """
    url = urlsplit(address)
    for web, api, files in _PREFIXES:
        for prefix in (web, api):
            if url.netloc.startswith(prefix):
                rest = url.netloc.removeprefix(prefix)
                return Hosts(*(url._replace(netloc=name + rest).geturl() for name in (web, api, files)))
    port = port_of(url)
    if port in (8008, 8080):
        return Hosts(with_port(url, 8080), with_port(url, 8008), with_port(url, 8081))
    if port is None:
        return None
    return Hosts(web=address, files=files_server_of(address)) if is_web else Hosts(api=address)


def hosts_with_ports(address: str, web: int | None, api: int | None, files: int | None) -> Hosts:
    """The three addresses on one machine; None for no port."""
    url = urlsplit(address)
    return Hosts(with_port(url, web), with_port(url, api), with_port(url, files))


def render_conf(answers: Answers) -> str:
    """The text of clearml.conf. Only what was answered is written, so that defaults can improve with the agent."""
    hosts = answers.hosts
    lines = [
        "# Configuration of ClearML and of the ClearML agent, written by clearml-agent init.",
        "# clearml-agent config prints every key with its value; keys that are not in here have their defaults.",
        "",
        "api {",
        f"    api_server: {_quoted(hosts.api)}",
        f"    web_server: {_quoted(hosts.web)}",
        f"    files_server: {_quoted(hosts.files)}",
        "    credentials {",
        f'        "access_key" = {_quoted(answers.access_key)}',
        f'        "secret_key" = {_quoted(answers.secret_key)}',
        "    }",
        "}",
        "",
        "agent {",
        "    # User and password (or personal access token) for repositories over https; leave empty for ssh keys.",
        f"    git_user: {_quoted(answers.git_user)}",
        f"    git_pass: {_quoted(answers.git_pass)}",
    ]
    if answers.extra_index_urls:
        urls = ", ".join(map(_quoted, answers.extra_index_urls))
        lines += ["", "    # Further package indexes.", f"    package_manager.extra_index_url: [{urls}]"]
    lines += ["}", ""]
    if answers.default_output_uri:
        lines += ["# Where models and artifacts are stored.", "sdk {"]
        lines += [f"    development.default_output_uri: {_quoted(answers.default_output_uri)}", "}", ""]
    return "\n".join(lines)


def why_unwritable(text: str) -> str:
    """Why ``text`` cannot stand in the file; empty when it can."""
    return "" if text.isprintable() else "control characters are not allowed"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
