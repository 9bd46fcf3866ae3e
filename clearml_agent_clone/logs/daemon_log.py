"""The daemon's own log: one line per event, turned over by size, private, without secrets."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.logs.log_file import LogFile
from clearml_agent_clone.logs.redact import Redactor
from clearml_agent_clone.logs.repeats import Repeats
from clearml_agent_clone.util.files import private_dir

_PACKAGE = "clearml_agent_clone"
_OURS = "_clearml_agent_clone_handler"
_TASK = re.compile(r"\btask ([0-9a-f]{32})\b")


@attrs.frozen
class LogOptions:
    """``agent.log_format`` (``text`` or ``json``), ``agent.log_max_bytes`` and ``agent.log_backups``; and whose log it
    is.
    """

    style: str = "text"
    max_bytes: int = 10 * 1024 * 1024
    backups: int = 5
    worker: str = ""


def configure(log_file: Path | None, debug: bool, redactor: Redactor, options: LogOptions | None = None) -> None:
    """Send the agent's log records to ``log_file``, or to stderr when it is None.

    Calling it again replaces what was set up before (after a change of configuration, or in a child process). Other
    libraries log warnings and errors only, unless ``debug``.

    Args:
        log_file: mode 0600; see ``LogFile`` for what becomes of it when it grows or the disk is full.
        debug: also records of level DEBUG, and repeated warnings each by itself.
        redactor: what every line passes, tracebacks included.
        options: how lines look and how long the file may become.

    Raises:
        UserError: the folder or the file cannot be made.
    """
    options = options or LogOptions()
    handler = _Handler(_open(log_file, options) if log_file else None, None if debug else Repeats())
    style: type[_Lines] = _JsonLines if options.style == "json" else _TextLines
    handler.setFormatter(style(redactor, options.worker))
    setattr(handler, _OURS, True)
    root = logging.getLogger()
    for old in [known for known in root.handlers if hasattr(known, _OURS)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else logging.WARNING)
    logging.getLogger(_PACKAGE).setLevel(logging.DEBUG if debug else logging.INFO)


def _open(path: Path, options: LogOptions) -> LogFile:
    private_dir(path.parent)
    try:
        return LogFile(path, options.max_bytes, options.backups)
    except OSError as error:
        raise UserError(
            f"the log {path} cannot be written: {error.strerror or error}",
            remedy="Check its owner and mode, or log to the terminal with --foreground",
            code="log-file",
        ) from error


class _Handler(logging.Handler):
    """Writes to a file, or to whatever stderr is at that moment."""

    def __init__(self, file: LogFile | None, repeats: Repeats | None) -> None:
        super().__init__()
        self._file = file
        self._repeats = repeats

    def emit(self, record: logging.LogRecord) -> None:
        try:
            for admitted in self._repeats.admit(record) if self._repeats else [record]:
                self._write(admitted)
        except Exception:  # noqa: BLE001 - a line that cannot be made must not end what it tells about
            self.handleError(record)

    def close(self) -> None:
        if self._repeats is not None:
            for record in self._repeats.rest():
                self._write(record)
            self._repeats = None
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()

    def _write(self, record: logging.LogRecord) -> None:
        line = self.format(record) + "\n"
        if self._file is None:
            sys.stderr.write(line)
            sys.stderr.flush()
            return
        self._file.write(line.encode(errors="backslashreplace"))
        dropped = self._file.take_dropped()
        if dropped:
            text = f"{dropped} lines before this one are missing here: the disk was full, or could not be written"
            self._write(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None))


class _Lines(logging.Formatter):
    """What both styles know of a record. Everything foreign is redacted."""

    def __init__(self, redactor: Redactor, worker: str) -> None:
        super().__init__()
        self._redactor = redactor
        self._worker = worker

    def _message(self, record: logging.LogRecord) -> str:
        return self._redactor.redact(record.getMessage())

    def _traceback(self, record: logging.LogRecord) -> str:
        parts = [self.formatException(record.exc_info)] if record.exc_info else []
        parts += [self.formatStack(record.stack_info)] if record.stack_info else []
        return self._redactor.redact("\n".join(parts))


class _TextLines(_Lines):
    """One line per record; what a message or a traceback has in further lines is indented.

    ``2026-03-01T12:00:00.123+01:00 INFO    host:0 worker.claims [claim] the message``
    """

    def format(self, record: logging.LogRecord) -> str:
        stamp = dt.datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        parts = [stamp, f"{record.levelname:<7}", self._worker, _component(record)]
        loop = _loop(record)
        parts += [f"[{loop}]"] if loop else []
        text = "\n".join(filter(None, [self._message(record), self._traceback(record)]))
        return " ".join(filter(None, [*parts, text])).replace("\n", "\n    ")


class _JsonLines(_Lines):
    """One object per record: time (UTC), level, logger, message; worker, loop, task and traceback where there are."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = dt.datetime.fromtimestamp(record.created, dt.timezone.utc).isoformat(timespec="milliseconds")
        message = self._message(record)
        fields: dict[str, Any] = {
            "time": stamp.replace("+00:00", "Z"),
            "level": record.levelname,
            "worker": self._worker,
            "logger": _component(record),
            "loop": _loop(record),
            "task": _task(record),
            "message": message,
            "traceback": self._traceback(record),
        }
        return json.dumps({name: value for name, value in fields.items() if value or name == "message"})


def _component(record: logging.LogRecord) -> str:
    """``clearml_agent_clone.worker.claims`` is known by ``worker.claims``."""
    return record.name.removeprefix(f"{_PACKAGE}.")


def _loop(record: logging.LogRecord) -> str:
    """Threads have the names of their loops."""
    name = record.threadName or ""
    return "" if name == "MainThread" else name


def _task(record: logging.LogRecord) -> str:
    """The task that a record is about: named by ``extra={"task": …}``, else by its message."""
    named = getattr(record, "task", "")
    if named:
        return str(named)
    found = _TASK.search(record.getMessage())
    return found[1] if found else ""
