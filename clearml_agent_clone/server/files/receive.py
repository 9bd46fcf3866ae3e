"""Uploads on their way to disk: each is written beside the files, and moved into place when it is whole."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from clearml_agent_clone.server.files.paths import INCOMING, locate
from clearml_agent_clone.util.files import private_dir, sync_dir


class BadUpload(Exception):  # noqa: N818 - it is an answer to the client, not a failure of ours
    """The body is not what its headers say; its text says why."""


class Receiver(Protocol):
    """Takes the body of an upload piece by piece. The methods block; ``finish`` or ``drop`` ends it."""

    def write(self, data: bytes) -> None: ...

    def finish(self) -> list[str]:
        """Move what came into place; returns the names."""
        ...

    def drop(self) -> None:
        """Forget what came. May be called after ``finish``."""
        ...


def clear_incoming(root: Path) -> None:
    """Throw away what an earlier server left half-written, and make the folder for new uploads."""
    shutil.rmtree(root / INCOMING, ignore_errors=True)
    private_dir(root / INCOMING)


class FileReceiver:
    """One file, the body being its content."""

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self._name = name.lstrip("/")
        self._place = locate(root, name)
        self._written = root / INCOMING / secrets.token_hex(16)
        handle = os.open(self._written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: BinaryIO = os.fdopen(handle, "wb")

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def finish(self) -> list[str]:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        for _ in range(3):  # a delete may take the emptied folder away between the two steps
            self._place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                self._written.replace(self._place)
                break
        sync_dir(self._place.parent)
        return [self._name]

    def drop(self) -> None:
        self._file.close()
        self._written.unlink(missing_ok=True)


class FormReceiver:
    """A multipart form: each file field is one file, named by the field; other fields are passed over."""

    def __init__(self, root: Path, boundary: bytes) -> None:
        self._root = root
        self._files: list[FileReceiver] = []
        self._current: FileReceiver | None = None
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        self._whole = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._part_named,
                    "on_part_data": self._part_data,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise BadUpload(str(error)) from None

    def write(self, data: bytes) -> None:
        with _explained():
            self._parser.write(data)

    def finish(self) -> list[str]:
        if not self._whole:
            raise BadUpload("the form ends before its last boundary")
        if not self._files:
            raise BadUpload("the form holds no file")
        return [name for file in self._files for name in file.finish()]

    def drop(self) -> None:
        for file in self._files:
            file.drop()

    def _part_begin(self) -> None:
        self._current = None
        self._disposition = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _header_end(self) -> None:
        name, value = self._header
        if bytes(name).lower() == b"content-disposition":
            self._disposition = bytes(value)
        self._header = (bytearray(), bytearray())

    def _part_named(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" in options and options.get(b"name"):
            self._current = FileReceiver(self._root, options[b"name"].decode(errors="replace"))
            self._files.append(self._current)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current is not None:
            self._current.write(data[start:end])

    def _end(self) -> None:
        self._whole = True


def boundary_of(content_type: str) -> bytes:
    """The boundary in a ``Content-Type`` header of a form. Raises ``BadUpload`` when it is not one."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise BadUpload("the body is not multipart/form-data with a boundary")
    return boundary


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise BadUpload(f"broken form: {error}") from None
