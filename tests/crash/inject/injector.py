"""What ``sitecustomize`` puts into the agent's processes; see there."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

_HOME = os.environ.get("HOME", "/")
_DIR = os.environ.get("CRASH_DIR", "")
_KILL, _OPEN, _WRITE = os.kill, os.open, os.write
_NAMES = (
    (re.compile(r"\d{8}-\d{6}-[0-9a-f]{1,8}-[0-9a-f]{6}"), "RUN"),
    (re.compile(r"(?<=RUN)-\d+$|(?<=RUN)-\d+(?=/)"), ""),
    (re.compile(r"(^|/)\.([^/]+)\.[A-Za-z0-9_]{8}$"), r"\1.\2.TMP"),
    (re.compile(r"/tmp[a-z0-9_]{8}(?=$|/)"), "/TMP"),
    (re.compile(r"(?<=/incoming-)[a-z0-9_]{8}"), "TMP"),
    (re.compile(r"\b[0-9a-f]{6,}\b"), "HEX"),
    (re.compile(r"(?<=/link-)\d+"), "N"),
    (re.compile(r"py3\.\d+-HEX"), "KEY"),
)
_BOOT = "/proc/sys/kernel/random/boot_id"
_WATCHED_WRITES = ("console.remarks", "console.spool", "/exit.json", "/user.json")


class _Role:
    """Who this process is; a fork moves on from daemon to nursery to runner to keeper."""

    name = ""
    counts: dict[str, int] = {}  # noqa: RUF012 - one process, one role
    armed = ""


class _Inside(threading.local):
    quiet = False


_inside = _Inside()


def install() -> None:
    """Find out who we are and wrap what is to be watched."""
    words = sys.orig_argv
    name = "daemon" if "daemon" in words else "execute" if "execute" in words else ""
    if any(word.endswith("clearml_agent_clone.runner") for word in words):
        name = "runner"
    if not name or "--stop" in words:
        return
    _born(name)
    os.register_at_fork(after_in_child=_forked)
    for function, describe in (
        ("replace", lambda source, target, **_: f"replace {_place(target)}{_content(source, target)}"),
        ("rename", lambda source, target, **_: f"rename {_place(source)} to {_place(target)}"),
        ("mkdir", lambda path, *_, **__: "" if os.path.isdir(path) else f"mkdir {_place(path)}"),  # noqa: PTH112
        ("unlink", lambda path, *_, **__: f"unlink {_place(path)}" if os.path.lexists(path) else ""),
        ("fsync", lambda fd: f"fsync {_place(_path_of(fd))}"),
        ("truncate", lambda path, *_: f"truncate {_place(path)}"),
        ("ftruncate", lambda fd, *_: f"ftruncate {_place(_path_of(fd))}"),
        ("write", _describe_write),
        ("pwrite", _describe_write),
        ("open", _describe_open),
        ("fork", lambda: "fork"),
        ("kill", lambda pid, number: f"kill {signal.Signals(number).name}" if number and pid != os.getpid() else ""),
        ("killpg", lambda _, number: f"killpg {signal.Signals(number).name}"),
    ):
        setattr(os, function, _wrapped(getattr(os, function), describe))
    os.remove = os.unlink
    setattr(shutil, "rmtree", _wrapped(shutil.rmtree, lambda path, *_, **__: f"rmtree {_place(path)}", quiet=True))  # noqa: B010
    start = subprocess.Popen._execute_child  # type: ignore[attr-defined]
    subprocess.Popen._execute_child = _wrapped(start, _describe_start)  # type: ignore[attr-defined]
    from requests.adapters import HTTPAdapter

    _new_boot()
    HTTPAdapter.send = _wrapped(HTTPAdapter.send, lambda _, request, *__, **___: _describe_call(request))  # type: ignore[method-assign]


def _new_boot() -> None:
    """Let the machine look as if it had been started anew, when the test says so by a file ``boot``."""
    import pathlib  # not before ``os`` is wrapped

    read = pathlib.Path.read_text

    def read_text(path: pathlib.Path, *args: Any, **options: Any) -> str:
        other = pathlib.Path(_DIR, "boot")
        return read(other if str(path) == _BOOT and other.exists() else path, *args, **options)

    pathlib.Path.read_text = read_text  # type: ignore[method-assign,assignment]


def _born(name: str) -> None:
    _Role.name, _Role.counts = name, {}
    _append("pids", f"{name}\t{os.getpid()}\n")


def _forked() -> None:
    _born({"daemon": "nursery", "nursery": "runner"}.get(_Role.name, "keeper"))


def _append(file: str, line: str) -> None:
    handle = _OPEN(f"{_DIR}/{file}", os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        _WRITE(handle, line.encode())
    finally:
        os.close(handle)


def _wrapped(original: Callable[..., Any], describe: Callable[..., str], *, quiet: bool = False) -> Callable[..., Any]:
    @functools.wraps(original)
    def around(*args: Any, **options: Any) -> Any:
        event = "" if _inside.quiet or options.get("dir_fd") is not None else _described(describe, args, options)
        if not event:
            return original(*args, **options)
        _reached(f"before {event}")
        role = _Role.name
        with _silence(quiet):
            result = original(*args, **options)
        if _Role.name == role:  # a forked child comes along here too
            _reached(f"after {event}")
        return result

    return around


def _described(describe: Callable[..., str], args: Any, options: Any) -> str:
    try:
        event = describe(*args, **options)
    except (OSError, TypeError, ValueError):
        return ""
    # What is in an environment is its engine's business; the hundreds of files differ from version to version.
    return "" if "?" in event or "/env/lib/" in event or "/env/bin/" in event else event


@contextlib.contextmanager
def _silence(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    _inside.quiet = True
    try:
        yield
    finally:
        _inside.quiet = False


def _reached(event: str) -> None:
    """Trace ``event`` and die, or let others die, if this is the moment."""
    _append("trace", f"{_Role.name}\t{event}\n")
    try:
        with open(f"{_DIR}/armed.json", encoding="utf-8") as file:  # noqa: PTH123 - pathlib is not to be imported yet
            armed = json.load(file)
    except (OSError, ValueError):
        return
    if armed["id"] != _Role.armed:
        _Role.armed, _Role.counts = armed["id"], {}
    if armed["role"] != _Role.name or armed["event"] != event:
        return
    _Role.counts[event] = _Role.counts.get(event, 0) + 1
    if _Role.counts[event] != armed["nth"]:
        return
    try:
        os.close(_OPEN(f"{_DIR}/fired-{armed['id']}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    _kill_all(armed["kill"])


def _kill_all(roles: list[str]) -> None:
    """SIGKILL for all living processes of these roles, ourselves last."""
    own = os.getpid()
    with open(f"{_DIR}/pids", encoding="utf-8") as file:  # noqa: PTH123
        known = [line.rstrip("\n").split("\t") for line in file]
    for role, pid in known:
        if role in roles and int(pid) != own and _is_ours(int(pid)):
            with contextlib.suppress(ProcessLookupError):
                _KILL(int(pid), signal.SIGKILL)
    if _Role.name in roles:
        _KILL(own, signal.SIGKILL)


def _is_ours(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
            return f"CRASH_DIR={_DIR}".encode() in file.read().split(b"\0")
    except OSError:
        return False


def _place(path: Any) -> str:
    """``path`` below the agent's state folder (or home) with all that changes from run to run replaced; ? elsewhere."""
    text = os.fspath(path)
    if not isinstance(text, str) or not text.startswith(_HOME + "/"):
        return "?"
    text = text.removeprefix(_HOME + "/").removeprefix(".clearml/agent/")
    for pattern, name in _NAMES:
        text = pattern.sub(name, text)
    return text


def _content(source: Any, target: Any) -> str:
    """What tells one write of a record from the next."""
    name = os.path.basename(os.fspath(target))  # noqa: PTH119
    if name not in {"state.json", "console.shipped"}:
        return ""
    with open(source, encoding="utf-8") as file:  # noqa: PTH123
        record = json.load(file)
    if name == "state.json":
        return f"={record.get('state')}"
    return "=sending" if record.get("sending") else "=sent"


def _path_of(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115


def _describe_write(fd: int, *_: Any) -> str:
    path = _path_of(fd)
    return f"write {_place(path)}" if path.endswith(_WATCHED_WRITES) else ""


def _describe_open(path: Any, flags: int, *_: Any, **__: Any) -> str:
    text = os.fspath(path)
    return f"create {_place(path)}" if flags & os.O_CREAT and not os.path.exists(text) else ""  # noqa: PTH110


def _describe_start(_: Any, args: Any, *rest: Any, **__: Any) -> str:
    words = [args] if isinstance(args, str) else [os.fspath(word) for word in args]
    env = next((part for part in rest if isinstance(part, dict)), {})
    if "CLEARML_TASK_ID" in env:
        return "start the task's process"
    program = os.path.basename(words[0])  # noqa: PTH119
    if program == "git" and "--version" not in words:
        program += " " + next((w for p, w in itertools.pairwise(words) if w[0] != "-" and p != "-c"), "")
    return f"start {re.sub(r'[0-9.]+$', '', program)}"


def _describe_call(request: Any) -> str:
    return "call " + str(request.path_url).partition("?")[0].rpartition("/")[2]
