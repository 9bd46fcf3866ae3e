"""The proxy that the environment names, by the variables that curl, pip and git know too."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def proxy_for(url: str, environ: Mapping[str, str]) -> str:
    """The proxy's URL for requests to ``url``, or an empty string for a direct connection.

    ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` count in either case, lower case first.
    """
    parts = urlsplit(url)
    proxy = _variable(environ, f"{parts.scheme}_proxy") or _variable(environ, "all_proxy")
    if not proxy or _is_exempt(parts.hostname or "", parts.port, _variable(environ, "no_proxy")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _is_exempt(host: str, port: int | None, no_proxy: str) -> bool:
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        if entry == "*" or (entry and _matches(host, port, entry)):
            return True
    return False


def _matches(host: str, port: int | None, entry: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        pass  # one of the two is a name
    name, _, wanted = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
    name = name.lstrip("*").lstrip(".")
    return (host == name or host.endswith(f".{name}")) and (not wanted or wanted == str(port))
