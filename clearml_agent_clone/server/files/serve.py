"""How a stored file is given out: with a type that is true, and so that it cannot act on the other ports."""

from __future__ import annotations

import mimetypes
import os
import stat
from pathlib import Path

from starlette.responses import FileResponse, Response

SAFE_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-site",
    "referrer-policy": "no-referrer",
    "cache-control": "private, no-cache",
}
"""On every answer. The sandbox gives a page, should a browser show one, no scripts and an origin of its own."""

_SHOWN = frozenset(
    {
        "application/json",
        "image/avif",
        "image/bmp",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/tiff",
        "image/webp",
        "text/plain",
    }
)
_AS_TEXT = frozenset({".cfg", ".conf", ".ini", ".log", ".md", ".out", ".toml", ".yaml", ".yml"})
_PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


class _Chunked(FileResponse):
    chunk_size = 512 * 1024  # each piece costs a hop into a thread


def content_type(name: str) -> str:
    """The media type of a file by its name; what is not known is bytes."""
    if Path(name).suffix.lower() in _AS_TEXT:
        return "text/plain"
    kind, packing = mimetypes.guess_type(name)
    if packing is not None:  # we give out the packed file as it is, so its inner type would be a lie
        return _PACKED.get(packing, "application/octet-stream")
    return kind or "application/octet-stream"


def file_response(place: Path, *, download: bool) -> Response:
    """The answer that gives ``place`` out, whole or by ``Range``. Anything but an inert type is an attachment."""
    try:
        found = os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        return refusal(404, "no such file")
    if not stat.S_ISREG(found.st_mode):
        return refusal(404, "no such file")
    kind = content_type(place.name)
    shown = kind in _SHOWN or kind.startswith(("audio/", "video/"))
    return _Chunked(
        place,
        headers=SAFE_HEADERS,
        media_type=kind,
        filename=place.name,
        stat_result=found,
        content_disposition_type="inline" if shown and not download else "attachment",
    )


def refusal(code: int, why: str) -> Response:
    """A plain-text answer that says why not."""
    return Response(f"{why}\n", code, SAFE_HEADERS, media_type="text/plain")
