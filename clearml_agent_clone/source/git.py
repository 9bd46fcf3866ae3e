"""Starting git so that a repository, a URL or a user's configuration cannot make it do anything else."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.config.passwords import without_passwords
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source.address import without_user_info
from clearml_agent_clone.util.process import Cancel, Console, Finished, run

_SSH = "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=30 -oServerAliveCountMax=4"
_OLDEST = (2, 31)  # the first git that reads GIT_CONFIG_COUNT, on which the safety settings below rest

# Variables that point git at another repository, or let it run or tell things that we do not want.
_DROPPED = re.compile(
    r"GIT_(?:DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|NAMESPACE|PREFIX"
    r"|TEMPLATE_DIR|EXTERNAL_DIFF|PAGER|EDITOR|SEQUENCE_EDITOR|ALLOW_PROTOCOL|PROTOCOL_FROM_USER"
    r"|DEFAULT_REF_FORMAT|DEFAULT_HASH|QUARANTINE_PATH|REPLACE_REF_BASE|SHALLOW_FILE|GRAFT_FILE"
    r"|(?:[A-Z]+_)?PATHSPECS|TRACE\w*)"
    r"|SSH_ASKPASS|(?:CLEARML|TRAINS)_(?:API_SECRET_KEY|API_ACCESS_KEY|AUTH_TOKEN)|LC_\w+|LANG|LANGUAGE"
)

_SAFETY = {
    "safe.directory": "*",  # a cache folder may belong to another user; the user's own configuration stays untouched
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "protocol.ext.allow": "never",
    "gc.auto": "0",  # checkouts borrow the mirror's objects, so nothing may ever be pruned there
    "maintenance.auto": "false",
    "fetch.unpackLimit": "1",  # a pack appears whole or not at all; loose objects of a killed fetch would not
    "fetch.recurseSubmodules": "false",
    "fetch.writeCommitGraph": "false",
    "submodule.recurse": "false",
    "advice.detachedHead": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "120",
}


@attrs.frozen
class Git:
    """A git with its environment, and where its output goes."""

    environ: Mapping[str, str] = attrs.field(repr=False)
    console: Console | None = None
    cancel: Cancel | None = None

    def quiet(
        self, *arguments: str | Path, cwd: Path, stdin: bytes | None = None, extra: Mapping[str, str] | None = None
    ) -> Finished:
        """Run ``git *arguments`` with stdout and stderr apart; nothing is shown."""
        environ = {**self.environ, **extra} if extra else self.environ
        return run(["git", *arguments], cwd=cwd, env=environ, stdin=stdin, cancel=self.cancel, separate_errors=True)

    def shown(self, *arguments: str | Path, cwd: Path) -> Finished:
        """Run ``git *arguments``; its output goes to the console as it comes, without credentials in URLs."""
        console = _WithoutCredentials(self.console) if self.console is not None else None
        try:
            return run(["git", *arguments], cwd=cwd, env=self.environ, console=console, cancel=self.cancel)
        finally:
            if console is not None:
                console.flush()

    def for_transfer(self, cwd: Path) -> Git:
        """The same git, leaving ssh to ``core.sshCommand`` when the user has configured that and no variable."""
        if not self._has_our_ssh:
            return self
        configured = self.quiet("config", "--get", "core.sshCommand", cwd=cwd).ok
        return attrs.evolve(self, environ=_without(self.environ, "GIT_SSH_COMMAND")) if configured else self

    @property
    def _has_our_ssh(self) -> bool:
        return self.environ.get("GIT_SSH_COMMAND", "").startswith(_SSH)

    def with_ssh_options(self, options: Iterable[str]) -> Git:
        """The same git with further ``-o`` options of ssh; a command of the user's own stays as it is."""
        if not self._has_our_ssh:
            return self
        words = [self.environ["GIT_SSH_COMMAND"], *(shlex.quote(f"-o{option}") for option in options)]
        return self.with_environ({"GIT_SSH_COMMAND": " ".join(words)})

    def with_environ(self, changes: Mapping[str, str]) -> Git:
        return attrs.evolve(self, environ={**self.environ, **changes})

    def with_config(self, entries: Iterable[tuple[str, str]]) -> Git:
        """The same git with further configuration, none of which may be secret."""
        return attrs.evolve(self, environ=_add_config(dict(self.environ), entries))


def git_environ(environ: Mapping[str, str], *, allow_local: bool) -> dict[str, str]:
    """The environment for git: no prompts, no hooks, only transports that are allowed, English messages.

    Args:
        environ: what to start from; the user's ssh command and ``GIT_CONFIG_*`` entries are kept.
        allow_local: whether ``file://`` and paths may be cloned from.
    """
    clean = {name: value for name, value in without_passwords(environ).items() if not _DROPPED.fullmatch(name)}
    clean.update(
        LC_ALL="C.UTF-8",  # our error messages rest on git's, which it would translate
        GIT_TERMINAL_PROMPT="0",
        GIT_ALLOW_PROTOCOL="https:http:ssh:git" + (":file" if allow_local else ""),
        GIT_DEFAULT_REF_FORMAT="files",
        GIT_OPTIONAL_LOCKS="0",
    )
    clean.setdefault("GIT_ASKPASS", "/bin/false")  # else core.askPass could open a window on a desktop
    if "GIT_SSH" not in clean:
        clean.setdefault("GIT_SSH_COMMAND", _SSH)
    return _add_config(clean, _SAFETY.items())


def check_version(git: Git, cwd: Path) -> None:
    """Refuse a git that is too old.

    Raises:
        UserError: code ``git-too-old``, or ``program-missing`` when there is no git.
    """
    text = git.quiet("--version", cwd=cwd).output
    match = re.search(r"(\d+)\.(\d+)", text)
    if match and (int(match[1]), int(match[2])) < _OLDEST:
        raise UserError(
            f"this machine has {text.strip()}, which is too old",
            remedy=f"Install git {_OLDEST[0]}.{_OLDEST[1]} or newer",
            code="git-too-old",
        )


def _without(environ: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in environ.items() if key != name}


def _add_config(environ: dict[str, str], entries: Iterable[tuple[str, str]]) -> dict[str, str]:
    count = environ.get("GIT_CONFIG_COUNT", "")
    number = int(count) if count.isdigit() else 0
    for name, value in entries:
        environ[f"GIT_CONFIG_KEY_{number}"] = name
        environ[f"GIT_CONFIG_VALUE_{number}"] = value
        number += 1
    environ["GIT_CONFIG_COUNT"] = str(number)
    return environ


class _WithoutCredentials:
    """A console that takes user and password out of the URLs in what passes, a line at a time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rest = b""

    def say(self, text: str) -> None:
        self._console.say(without_user_info(text))

    def write(self, data: bytes) -> None:
        data = self._rest + data
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        self._rest = data[end:]
        self._pass_on(data[:end])

    def flush(self) -> None:
        rest, self._rest = self._rest, b""
        self._pass_on(rest)

    def _pass_on(self, data: bytes) -> None:
        if b"://" in data:
            data = without_user_info(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")
        if data:
            self._console.write(data)
