"""Where a repository is: its URL taken apart, refused when it is not safe, and put together without secrets."""

from __future__ import annotations

import re
from urllib.parse import unquote

import attrs

from clearml_agent_clone.errors import UserError

WEB = frozenset({"https", "http"})
_REMOTE = {
    "https": "https",
    "http": "http",
    "ssh": "ssh",
    "git": "git",
    "git+ssh": "ssh",
    "ssh+git": "ssh",
    "git+https": "https",
    "git+http": "http",
    "hg+ssh": "ssh",
    "hg+https": "https",
    "hg+http": "http",
}
_DEFAULT_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.-]*::")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]")
_SCP = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>\[[^\]]*\]|[^/:@\[]+):(?P<path>.*)", re.DOTALL)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_USER_INFO = re.compile(r"(?<=://)[^/\s]*@")


@attrs.frozen
class Login:
    """User and password that stood in a URL. For web addresses a user alone may be a token, so both are secret."""

    user: str = attrs.field(default="", repr=False)
    password: str = attrs.field(default="", repr=False)


@attrs.frozen
class Address:
    """A repository's address, without password.

    Args:
        scheme: ``https``, ``http``, ``ssh``, ``git`` or ``file``.
        host: as written; empty for ``file``.
        port: None for the scheme's own.
        path: with its leading slash, except in the short ssh form ``host:path``.
        user: login name for ssh, else empty.
        short: it was written ``user@host:path``.
        mercurial: it says that it is a Mercurial repository: ``hg+https://`` or the ssh user ``hg``.
    """

    scheme: str
    host: str = ""
    port: int | None = None
    path: str = ""
    user: str = ""
    short: bool = False
    mercurial: bool = False

    @property
    def url(self) -> str:
        """What git is given and what is shown: it holds no secret."""
        if self.scheme == "file":
            return self.path
        user = f"{self.user}@" if self.user else ""
        if self.short:
            return f"{user}{self.host}:{self.path}"
        port = f":{self.port}" if self.port is not None else ""
        return f"{self.scheme}://{user}{self.host}{port}{self.path}"

    @property
    def name(self) -> str:
        """The last part of the path without ``.git``, as the folder of a clone is called."""
        parts = [part for part in self.path.replace(":", "/").split("/") if part]
        if len(parts) > 1 and parts[-1] == ".git":
            parts.pop()
        return parts[-1].removesuffix(".git") if parts else ""

    @property
    def real_port(self) -> int:
        """The port that is connected to, 0 for local paths."""
        return self.port or _DEFAULT_PORTS.get(self.scheme, 0)

    @property
    def is_web(self) -> bool:
        return self.scheme in WEB


def parse_address(text: str, *, allow_local: bool) -> tuple[Address, Login]:
    """Take a repository's URL apart.

    Args:
        text: the URL, ``user@host:path`` or an absolute path.
        allow_local: whether ``file://`` and paths of this machine may be used.

    Raises:
        UserError: code ``bad-repository``; the transport is not allowed, or the value could be taken for an option.
    """
    text = text.strip()
    if not text or _CONTROL.search(text):
        raise _refused(text, "is empty or has control characters in it")
    if text.startswith("-"):
        raise _refused(text, "begins with a dash")
    if _HELPER.match(text):
        raise _refused(text, "names a git remote helper, which may run any command")
    with_scheme = _SCHEME.fullmatch(text)
    if with_scheme:
        return _with_scheme(text, with_scheme["scheme"].lower(), with_scheme["rest"], allow_local)
    short = None if text.startswith("/") else _SCP.fullmatch(text)
    if short:
        return _short(text, short)
    return _local(text, text, allow_local), Login()


def without_user_info(text: str) -> str:
    """``text`` with user and password taken out of every URL in it."""
    return _USER_INFO.sub("", text)


def _with_scheme(text: str, scheme: str, rest: str, allow_local: bool) -> tuple[Address, Login]:
    if scheme == "file":
        if not rest.startswith("/"):
            raise _refused(text, "has a host in a file:// URL")
        return _local(text, unquote(rest), allow_local), Login()
    known = _REMOTE.get(scheme)
    if known is None:
        raise _refused(text, f"uses the transport {scheme}", remedy="Use https, http, ssh or git")
    authority, slash, path = rest.partition("/")
    login, _, place = authority.rpartition("@")
    host, port = _split_port(text, place)
    if not path.strip("/"):
        raise _refused(text, "names no repository on the host")
    user, _, password = login.partition(":")
    user, password = unquote(user), unquote(password)
    mercurial = scheme.startswith("hg+") or (known == "ssh" and user == "hg")
    if known != "ssh":
        return Address(known, host, port, slash + path, mercurial=mercurial), Login(user, password)
    if user and not _USER.fullmatch(user):
        raise _refused(text, "has a user name that ssh could take for an option")
    return Address(known, host, port, slash + path, user, mercurial=mercurial), Login()


def _split_port(text: str, place: str) -> tuple[str, int | None]:
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        host, port = place, ""
    if not _HOST.fullmatch(host):
        raise _refused(text, "has no valid host name")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise _refused(text, "has no valid port")
    return host, int(port) if port else None


def _short(text: str, match: re.Match[str]) -> tuple[Address, Login]:
    user, host, path = match["user"] or "", match["host"], match["path"]
    if len(host) == 1 and path.startswith(("\\", "/")):
        raise _refused(text, "is a path of a Windows machine")
    if not _HOST.fullmatch(host) or (user and not _USER.fullmatch(user)):
        raise _refused(text, "has no valid host name")
    if not path.strip("/") or path.startswith("-"):
        raise _refused(text, "names no repository on the host")
    return Address("ssh", host, None, path, user, short=True), Login()


def _local(text: str, path: str, allow_local: bool) -> Address:
    if not path.startswith("/") or path.startswith("//"):
        raise _refused(text, "is neither a URL nor an absolute path")
    if _CONTROL.search(path):
        raise _refused(text, "has control characters in it")
    if not allow_local:
        raise _refused(
            text,
            "is a path of one machine",
            remedy="Record the task from a clone of a shared repository, or set agent.git_allow_local to true on this agent",
        )
    return Address("file", path=path)


def _refused(text: str, why: str, remedy: str = "") -> UserError:
    shown = without_user_info(_CONTROL.sub("?", text))
    return UserError(
        f'repository "{shown}" {why}',
        remedy=remedy or "Use an address such as https://host/path.git or git@host:path.git",
        code="bad-repository",
    )
