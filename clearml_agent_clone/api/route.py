"""The way to a server: which proxy the environment names, whose certificates count, and connections that are observed."""

from __future__ import annotations

import contextlib
import os
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy

from clearml_agent_clone.api.access import ServerAccess, Timeout
from clearml_agent_clone.api.exchange import POOLS
from clearml_agent_clone.errors import UserError

_KEPT_CONNECTIONS = 8


@attrs.frozen
class Route:
    """How requests to one server are sent.

    Args:
        proxy: its URL, or an empty string for a direct connection.
        tls: how an encrypted connection checks the server's certificate; None when it does not.
    """

    proxy: str = attrs.field(default="", repr=False)
    tls: ssl.SSLContext | None = None

    @classmethod
    def to(cls, access: ServerAccess) -> Route:
        """The route to ``access.url`` by the variables that ``requests`` knows.

        These are the proxies' (``no_proxy`` too), ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE``. Unless the
        configuration names the CAs, those that this machine trusts count as well.

        Raises:
            UserError: the proxy cannot be used, or the CA file or folder is missing or holds no certificate.
        """
        with requests.Session() as session:
            found = session.merge_environment_settings(access.url, _exemptions(), True, bool(access.verify), None)
        proxy = _usable((select_proxy(access.url, found["proxies"]) or "").strip())
        if not access.is_encrypted:
            return cls(proxy)
        if access.verify is False:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            return cls(proxy)
        return cls(proxy, _tls(access.verify, found["verify"]))

    def open(self) -> HTTPAdapter:
        """Connections of their own along this route."""
        return _Adapter(self.tls)

    def send(self, adapter: HTTPAdapter, request: requests.PreparedRequest, timeout: Timeout) -> requests.Response:
        """Send ``request`` over connections of this route; the answer's body is yet to be read."""
        return adapter.send(
            request,
            stream=True,
            timeout=(timeout.connect, timeout.read),
            verify=self.tls is not None,
            proxies={"all": self.proxy} if self.proxy else {},
        )


class _Adapter(HTTPAdapter):
    """Keeps connections of our own classes. It repeats nothing, follows nothing and reads no ``.netrc``."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = {} if tls is None else {"ssl_context": tls}
        super().__init__(pool_connections=1, pool_maxsize=_KEPT_CONNECTIONS)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **self._tls, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> urllib3.ProxyManager:
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, **self._tls, **options)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Do nothing: whether to check, the connections know from their pool, and the CAs stand in its context.

        The inherited one would have all CAs read again for each new connection, which takes 35 ms.
        """


def _exemptions() -> dict[str, str]:
    """``no_proxy`` for ``requests``, which does not know the widespread ``*.example.com`` for ``.example.com``."""
    names = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return {"no_proxy": names.replace("*.", ".")} if "*." in names else {}


def _usable(proxy: str) -> str:
    """``proxy`` as a URL; told here when it is none, as the errors of libraries would show its password."""
    if not proxy:
        return ""
    url = proxy if "://" in proxy else f"http://{proxy}"
    with contextlib.suppress(ValueError):  # a port that is no number, a bracket that is not closed
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return url
    shown = proxy.rpartition("@")[2]
    raise UserError(
        f'the proxy "{shown}" cannot be used: only http and https proxies are known',
        remedy="Correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name the server in NO_PROXY",
        code="proxy-invalid",
    )


def _tls(named: Path | bool, bundle: bool | str | None) -> ssl.SSLContext:
    """A context that knows the CAs: those that the configuration named, or the ``bundle`` and this machine's own."""
    if isinstance(named, Path):
        context, path, origin = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), named.expanduser(), "api.verify_certificate"
    else:
        context = ssl.create_default_context()
        path = Path(bundle if isinstance(bundle, str) else DEFAULT_CA_BUNDLE_PATH)
        origin = "REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE"
    try:
        folder = path.is_dir()
        context.load_verify_locations(cafile=None if folder else path, capath=path if folder else None)
    except (OSError, ssl.SSLError) as error:
        reason = "it does not exist" if isinstance(error, FileNotFoundError) else "it holds no certificates"
        raise UserError(
            f'{origin} "{path}" cannot be used as CA file: {reason}',
            remedy="Name a file of PEM certificates, or a folder that OpenSSL's rehash has prepared",
            code="ca-invalid",
        ) from error
    return context
