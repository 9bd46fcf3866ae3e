"""A channel of real conda packages in a folder, made on the spot: what conda, mamba and rattler read over file://."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import os
import platform
import struct
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

SUBDIR = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}.get(platform.machine(), "linux-64")
PLACEHOLDER = "/opt/placeholder" + "_" * 20
MINOR = "{}.{}".format(*sys.version_info[:2])
VERSION = "{}.{}.{}".format(*sys.version_info[:3])
_LEFT_OUT = {
    "__pycache__", "dist-packages", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tests",
    "tkinter", "turtledemo",
}  # fmt: skip


@attrs.frozen
class File:
    """A file of a package; ``link`` is what a symbolic link leads to."""

    data: bytes = b""
    mode: int = 0o644
    link: str = ""


@attrs.frozen
class Channel:
    """A folder with packages and their index.

    ``password`` parts of URLs and the like are the server's business; here are only files.
    """

    folder: Path

    @property
    def url(self) -> str:
        return self.folder.as_uri()

    def add(
        self,
        name: str,
        version: str,
        files: Mapping[str, File],
        *,
        build: str = "0",
        depends: tuple[str, ...] = (),
        noarch: str = "",
        entry_points: tuple[str, ...] = (),
        old_format: bool = False,
    ) -> None:
        """Make a package and put it into the index. ``old_format`` is ``.tar.bz2``, else ``.conda``."""
        subdir = "noarch" if noarch else SUBDIR
        index: dict[str, Any] = {"name": name, "version": version, "build": build, "build_number": 0}
        index |= {"depends": list(depends), "subdir": subdir, **({"noarch": noarch} if noarch else {})}
        info = {
            "info/index.json": File(json.dumps(index).encode()),
            "info/paths.json": File(json.dumps({"paths": _paths(files), "paths_version": 1}).encode()),
        }
        if noarch == "python":
            link = {"noarch": {"type": "python", "entry_points": list(entry_points)}, "package_metadata_version": 1}
            info["info/link.json"] = File(json.dumps(link).encode())
        folder = self.folder / subdir
        stem = f"{name}-{version}-{build}"
        for needed in (folder, self.folder / "noarch", self.folder / SUBDIR):
            needed.mkdir(parents=True, exist_ok=True)
            if not (needed / "repodata.json").exists():
                empty = {"info": {"subdir": needed.name}, "packages": {}, "packages.conda": {}, "repodata_version": 1}
                (needed / "repodata.json").write_text(json.dumps(empty))
        if old_format:
            package = folder / f"{stem}.tar.bz2"
            package.write_bytes(bz2.compress(_tar({**info, **files}), 1))
        else:
            package = folder / f"{stem}.conda"
            with zipfile.ZipFile(package, "w") as archive:
                archive.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
                archive.writestr(f"pkg-{stem}.tar.zst", _zstd(_tar(files)))
                archive.writestr(f"info-{stem}.tar.zst", _zstd(_tar(info)))
        self._enter(package, index)

    def _enter(self, package: Path, index: dict[str, Any]) -> None:
        raw = package.read_bytes()
        digests = {"md5": hashlib.md5(raw).hexdigest(), "sha256": hashlib.sha256(raw).hexdigest()}
        file = package.parent / "repodata.json"
        data = json.loads(file.read_text())
        kind = "packages.conda" if package.suffix == ".conda" else "packages"
        data[kind][package.name] = {**index, **digests, "size": len(raw), "timestamp": 1}
        file.write_text(json.dumps(data))

    def add_python(self) -> None:
        """The interpreter that runs the tests, as a package: program, library, a script with its prefix."""
        name = f"python{MINOR}"
        files = {
            f"bin/{name}": File(Path(os.path.realpath(sys.executable)).read_bytes(), 0o755),
            "bin/python": File(link=name),
            "bin/python3": File(link=name),
            "bin/where": File(f"#!{PLACEHOLDER}/bin/python\nprint({PLACEHOLDER!r})\n".encode(), 0o755),
        }
        library = Path(sysconfig.get_path("stdlib"))
        for root, folders, names in os.walk(library):
            folders[:] = [folder for folder in folders if folder not in _LEFT_OUT and not folder.startswith("config-")]
            for path in (Path(root, name) for name in names):
                if path.suffix != ".a":
                    files[f"lib/{name}/{path.relative_to(library)}"] = File(path.read_bytes())
        if sysconfig.get_config_var("Py_ENABLE_SHARED"):
            shared = str(sysconfig.get_config_var("INSTSONAME"))
            files[f"lib/{shared}"] = File(Path(sysconfig.get_config_var("LIBDIR"), shared).read_bytes(), 0o755)
        self.add("python", VERSION, files, build=f"h1_{MINOR.replace('.', '')}")

    def add_module(self, name: str, version: str, *depends: str, build: str = "0", script: str = "") -> None:
        """A noarch Python package with one module that knows its version, as pip would describe it."""
        info = f"site-packages/{name.replace('-', '_')}-{version}.dist-info"
        files = {
            f"site-packages/{name}.py": File(
                f"VERSION, FROM = {version!r}, 'conda'\n\ndef main():\n    print(VERSION)\n".encode()
            ),
            f"{info}/METADATA": File(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()),
            f"{info}/INSTALLER": File(b"conda\n"),
            f"{info}/direct_url.json": File(b'{"dir_info": {}, "url": "file:///home/conda/feedstock_root/work"}'),
            f"{info}/RECORD": File(f"{name}.py,sha256=notwhatitis,1\n".encode()),
        }
        points = (f"{script} = {name}:main",) if script else ()
        self.add(name, version, files, build=build, depends=("python", *depends), noarch="python", entry_points=points)


def _paths(files: Mapping[str, File]) -> list[dict[str, Any]]:
    found = []
    for path, file in files.items():
        entry: dict[str, Any] = {"_path": path, "path_type": "softlink" if file.link else "hardlink"}
        if not file.link:
            entry |= {"sha256": hashlib.sha256(file.data).hexdigest(), "size_in_bytes": len(file.data)}
        if PLACEHOLDER.encode() in file.data:
            entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
        found.append(entry)
    return found


def _tar(files: Mapping[str, File]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, file in files.items():
            member = tarfile.TarInfo(name)
            member.mode = file.mode
            if file.link:
                member.type, member.linkname = tarfile.SYMTYPE, file.link
                archive.addfile(member)
            else:
                member.size = len(file.data)
                archive.addfile(member, io.BytesIO(file.data))
    return buffer.getvalue()


def _zstd(data: bytes) -> bytes:
    """``data`` as a zstd frame of blocks that are not compressed: no library is needed, and it takes no time."""
    parts = [struct.pack("<I", 0xFD2FB528), b"\xe0", struct.pack("<Q", len(data))]
    size = 1 << 17
    for start in range(0, max(len(data), 1), size):
        block = data[start : start + size]
        last = start + size >= len(data)
        parts += [((len(block) << 3) | last).to_bytes(3, "little"), block]
    return b"".join(parts)
