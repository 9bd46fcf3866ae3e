"""What ``.condarc`` says of channels, for py-rattler, which does not read it. conda and mamba read it by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

_ALIAS = "https://conda.anaconda.org"
_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")


@attrs.frozen
class Condarc:
    """Where channel names lead.

    Args:
        alias: the URL below which channels are looked for.
        defaults: what ``defaults`` stands for.
        custom: URLs below which single channels are, by name.
        variables: for the program that downloads: certificates and proxies.
    """

    alias: str = _ALIAS
    defaults: tuple[str, ...] = _DEFAULTS
    custom: Mapping[str, str] = attrs.Factory(dict)
    variables: dict[str, str] = attrs.Factory(dict)

    def urls(self, channel: str) -> list[str]:
        """The URLs of ``channel``, which is a name, a path or a URL."""
        if channel == "defaults":
            return [self._url(name) for name in self.defaults]
        return [self._url(channel)]

    def spec(self, text: str) -> str:
        """``text`` with the channel in front of it, if there is one, as a URL."""
        channel, mark, rest = text.partition("::")
        return f"{self._url(channel)}::{rest}" if mark else text

    def _url(self, channel: str) -> str:
        if "://" in channel:
            return channel
        if channel.startswith(("/", "./", "~")):
            return Path(channel).expanduser().resolve().as_uri()
        first = channel.partition("/")[0]
        return f"{self.custom.get(channel, self.custom.get(first, self.alias)).rstrip('/')}/{channel}"


def read_condarc(environ: Mapping[str, str]) -> Condarc:
    """The files that conda would read, later ones first, and the variables that beat them."""
    import yaml  # noqa: PLC0415 - a build without conda needs it

    values: dict[str, Any] = {}
    for file in _files(environ):
        try:
            data = yaml.safe_load(file.read_text(encoding="utf-8", errors="replace"))
        except (OSError, yaml.YAMLError):
            continue  # conda itself would complain; where it is not installed, a stray file must not stop a task
        values.update(data if isinstance(data, dict) else {})
    alias = environ.get("CONDA_CHANNEL_ALIAS") or values.get("channel_alias") or _ALIAS
    verify = environ.get("CONDA_SSL_VERIFY") or values.get("ssl_verify")
    proxies = values.get("proxy_servers")
    variables = {
        f"{scheme.upper()}_PROXY": str(url)
        for scheme, url in (proxies.items() if isinstance(proxies, dict) else ())
        if scheme in {"http", "https"}
    }
    if isinstance(verify, str) and "/" in verify:
        variables["SSL_CERT_FILE"] = verify
    custom = values.get("custom_channels")
    defaults = values.get("default_channels")
    return Condarc(
        str(alias),
        tuple(map(str, defaults)) if isinstance(defaults, list) and defaults else _DEFAULTS,
        {str(name): str(url) for name, url in custom.items()} if isinstance(custom, dict) else {},
        variables,
    )


def _files(environ: Mapping[str, str]) -> list[Path]:
    home = Path(environ.get("HOME") or Path.home())
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    places = [Path("/etc/conda/.condarc"), Path("/etc/conda/condarc"), Path("/var/lib/conda/.condarc")]
    root = environ.get("CONDA_ROOT") or environ.get("MAMBA_ROOT_PREFIX")
    places += [Path(root, ".condarc")] if root else []
    places += [config / "conda" / ".condarc", home / ".conda" / ".condarc", home / ".condarc", home / ".mambarc"]
    named = environ.get("CONDARC") or environ.get("MAMBARC")
    return [*places, *([Path(named)] if named else [])]
