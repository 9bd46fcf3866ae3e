"""A registry of images on this machine's loopback, with one small image: what ``docker pull`` speaks to."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@attrs.frozen
class Image:
    """Blobs by digest, and the manifest."""

    blobs: dict[str, bytes]
    manifest: bytes


def small_image(content: bytes) -> Image:
    """An image with one file and no program."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        info = tarfile.TarInfo("content")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer.getvalue())]},
    }
    parts = [json.dumps(config).encode(), gzip.compress(layer.getvalue(), 1)]
    described = [
        {"mediaType": kind, "size": len(part), "digest": digest(part)} for kind, part in zip(_KINDS, parts, strict=True)
    ]
    manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": described[0], "layers": [described[1]]}
    return Image({digest(part): part for part in parts}, json.dumps(manifest).encode())


_KINDS = ("application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar.gzip")


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@contextlib.contextmanager
def registry(image: Image) -> Iterator[str]:
    """Serve the image under any name; yields ``127.0.0.1:PORT``, which docker takes without TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            kind, data = "application/json", b"{}"
            if "/manifests/" in self.path:
                kind, data = _MANIFEST, image.manifest
            elif "/blobs/" in self.path:
                kind, data = "application/octet-stream", image.blobs[self.path.rpartition("/")[2]]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Docker-Content-Digest", digest(data))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
