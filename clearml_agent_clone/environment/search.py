"""Where interpreters may be on this machine: PATH, pyenv, uv's own store, and what the agent itself runs on."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_VERSIONED = re.compile(r"python(3\.\d+)$")
_NUMBERED = re.compile(r"(?:cpython-)?(3\.\d+)(?:\.(\d+))?(?:$|[^\d.])")


def candidates(version: str, environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Files that are likely to be Python ``version`` (``3.11`` or ``3.11.7``), best first, with how they were found.

    The shims folder of pyenv stands for the versions that pyenv keeps: a shim of a version that is not switched on
    fails, although the interpreter is there.
    """
    minor = ".".join(version.split(".")[:2])
    shims = str(pyenv_root(environ) / "shims")
    seen_pyenv = False
    for folder in _path(environ):
        if folder == shims:
            seen_pyenv = True
            yield from _pyenv(version, environ)
            continue
        if _runnable(f"{folder}/python{minor}"):
            yield Path(folder, f"python{minor}"), "found on PATH"
    if not seen_pyenv:
        yield from _pyenv(version, environ)
    yield from _uv(version, environ)
    yield from _system(minor, environ)
    own = own_base()
    if own is not None and f"{sys.version_info[0]}.{sys.version_info[1]}" == minor:
        yield own, "the agent's own"
    # Last, because only asking tells which version a plain name is.
    for folder in _path(environ):
        for name in ("python3", "python"):
            if folder != shims and _runnable(f"{folder}/{name}"):
                yield Path(folder, name), "found on PATH"


def available(environ: Mapping[str, str]) -> list[str]:
    """The versions that seem to be on this machine, lowest first, by the names of files alone."""
    found: set[str] = set()
    shims = str(pyenv_root(environ) / "shims")
    for folder in (*_path(environ), *_usual(environ)):
        if folder != shims:
            found.update(match[1] for name in _names(Path(folder)) if (match := _VERSIONED.match(name)))
    for root in (pyenv_root(environ) / "versions", uv_root(environ)):
        found.update(match[1] for name in _names(root) if (match := _NUMBERED.match(name)))
    if own_base() is not None:
        found.add(f"{sys.version_info[0]}.{sys.version_info[1]}")
    return sorted(found, key=_order)


def own_base() -> Path | None:
    """The interpreter that the agent runs on; the one below it when the agent lives in a virtual environment."""
    for name in (f"python{sys.version_info[0]}.{sys.version_info[1]}", "python3", "python"):
        place = Path(sys.base_prefix, "bin", name)
        if place.exists():
            return place
    return Path(sys.executable) if sys.executable else None


def pyenv_root(environ: Mapping[str, str]) -> Path:
    """Where pyenv lives, or would live."""
    named = environ.get("PYENV_ROOT", "")
    return Path(named) if named else _home(environ) / ".pyenv"


def uv_root(environ: Mapping[str, str]) -> Path:
    """Where uv keeps the interpreters that it installed."""
    named = environ.get("UV_PYTHON_INSTALL_DIR", "")
    if named:
        return Path(named)
    data = environ.get("XDG_DATA_HOME", "")
    return (Path(data) if data else _home(environ) / ".local" / "share") / "uv" / "python"


def _pyenv(version: str, environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    yield from _kept(pyenv_root(environ) / "versions", version, "found in pyenv")


def _uv(version: str, environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    yield from _kept(uv_root(environ), version, "found in uv's store")


def _system(minor: str, environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    for folder in _usual(environ):
        if _runnable(f"{folder}/python{minor}"):
            yield Path(folder, f"python{minor}"), f"found in {folder}"


def _kept(root: Path, version: str, how: str) -> Iterator[tuple[Path, str]]:
    """Folders named by version: ``3.11.7`` (pyenv), ``cpython-3.11.7-linux-x86_64-gnu`` (uv); highest patch first."""
    parts = version.split(".")
    minor = ".".join(parts[:2])
    fitting: list[tuple[int, str]] = []
    for name in _names(root):
        match = _NUMBERED.match(name)
        if match and match[1] == minor and (len(parts) < 3 or match[2] == parts[2]):
            fitting.append((int(match[2] or 0), name))
    for _, name in sorted(fitting, reverse=True):
        place = root / name / "bin" / f"python{minor}"
        if _runnable(str(place)):
            yield place, how


def _path(environ: Mapping[str, str]) -> list[str]:
    folders = (folder.rstrip("/") or "/" for folder in environ.get("PATH", "").split(os.pathsep) if folder)
    return list(dict.fromkeys(folders))


def _usual(environ: Mapping[str, str]) -> list[str]:
    """Where systems keep their interpreters, as far as PATH, which a service may have short, does not name it."""
    known = _path(environ)
    return [folder for folder in ("/usr/local/bin", "/usr/bin") if folder not in known]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return []


def _runnable(path: str) -> bool:
    return os.access(path, os.X_OK)


def _home(environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME", "")
    return Path(home) if home else Path.home()


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
