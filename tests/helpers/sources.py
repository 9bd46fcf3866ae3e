"""Packages as sources, made on the spot, whose build does what a test wants."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

_PROJECT = """[build-system]
requires = [{requires}]
build-backend = "backend"
backend-path = ["."]
[project]
name = "{name}"
version = "{version}"
"""
_BACKEND = """import base64, hashlib, os, subprocess, sys, zipfile
def get_requires_for_build_wheel(config_settings=None):
    return []
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
{body}
    info = "{name}-{version}.dist-info"
    files = {{
        "{name}.py": "",
        info + "/METADATA": "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n",
        info + "/WHEEL": "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    name = "{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(info + "/RECORD", "".join(path + ",,\\n" for path in [*files, info + "/RECORD"]))
    return name
"""


def make_sdist(folder: Path, name: str, version: str, body: str = "pass", requires: str = "", **files: str) -> Path:
    """A source archive whose build runs ``body`` first; ``requires`` is what it says its build needs."""
    content = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "pyproject.toml": _PROJECT.format(name=name, version=version, requires=requires),
        "backend.py": _BACKEND.format(
            name=name, version=version, body="\n".join(f"    {x}" for x in body.splitlines())
        ),
        **{file.replace("__", "."): text for file, text in files.items()},
    }
    archive = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path, text in content.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{path}")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return archive
