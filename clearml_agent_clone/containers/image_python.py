"""What an image has of Python: asked once in a container that is thrown away, and remembered by the image's id.

An id stands for a content, so what was found holds for as long as the image is there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.containers.arguments import Option
from clearml_agent_clone.containers.engine import ContainerEngine
from clearml_agent_clone.environment.model import Interpreter
from clearml_agent_clone.errors import Retryable, UserError
from clearml_agent_clone.util.files import private_dir, read_json, slug, write_json
from clearml_agent_clone.util.process import Cancel, Finished

_FORMAT = 1
_PATIENCE = 300.0  # seconds; a large image that was not used for long is read from a slow disk
_REMEMBERED = 300
_INSIDE = Path(__file__).parent / "inside"
_MARK = "clearml-probe:"
_OLDEST = (3, 6)
BARE = frozenset({"pip", "setuptools", "wheel", "distribute", "virtualenv", "uv"})
"""Packages that are there to install others."""


@attrs.frozen
class ImagePython:
    """An interpreter of an image.

    Args:
        interpreter: as environments know it; ``found`` says where it was.
        virtual: it belongs to a virtual environment.
        packages: its folders of packages, in the image.
        listed: what is in them: name → version.
    """

    interpreter: Interpreter
    virtual: bool = False
    packages: tuple[str, ...] = ()
    listed: Mapping[str, str] = attrs.Factory(dict)

    @property
    def is_bare(self) -> bool:
        """Whether it brings nothing but tools to install with, so that it does not matter who sees it."""
        return not (self.listed.keys() - BARE)

    @property
    def path(self) -> str:
        """How it is started."""
        return str(self.interpreter.path)


@attrs.frozen
class ImageFindings:
    """What was found in an image.

    Args:
        id: of the image.
        machine: ``x86_64``.
        libc: ``glibc-2.36``, ``musl-1.2``; without a version where only a shell was there to ask; empty when unknown.
        uid: of the user whom its processes run as; None when unknown.
        pythons: its interpreters, the one to take first in front.
        activated: the virtual environment that it has activated, or nothing.
    """

    id: str
    machine: str = ""
    libc: str = ""
    uid: int | None = None
    pythons: tuple[ImagePython, ...] = ()
    activated: str = ""

    @property
    def is_musl(self) -> bool:
        return self.libc.startswith("musl")


def look_into(
    engine: ContainerEngine,
    image_id: str,
    memory: Path,
    *,
    options: Sequence[Option] = (),
    labels: Mapping[str, str] | None = None,
    cancel: Cancel | None = None,
) -> ImageFindings:
    """What the image has; from ``memory`` (a folder) when it was asked before.

    Raises:
        UserError: code ``image-broken``; no program of it runs.
        Cancelled: ``cancel`` was set; the container is gone.
    """
    file = memory / f"{slug(image_id.removeprefix('sha256:'))}.json"
    known = read_json(file)
    if isinstance(known, dict) and known.get("format") == _FORMAT:
        return _read(image_id, known)
    said = _ask(engine, image_id, options, labels, cancel)
    _remember(file, {"format": _FORMAT, **said})
    return _read(image_id, said)


def ask_python(engine: ContainerEngine, image_id: str, python: str, memory: Path, **how: Any) -> ImagePython | None:
    """What ``python``, which ``how`` mounts, is in a container of the image; None when it does not start there."""
    file = memory / f"{slug(image_id.removeprefix('sha256:'))}-{slug(python)[-80:]}.json"
    known = read_json(file)
    if not (isinstance(known, dict) and known.get("format") == _FORMAT):
        done = engine.run_once(image_id, (python, "-I", "-"), stdin=(_INSIDE / "probe.py").read_bytes(), **how)
        said = _said(done)
        if said is None:
            return None
        known = {"format": _FORMAT, **said}
        _remember(file, known)
    found = _read(image_id, known).pythons
    return next((each for each in found if each.path == python), None)


def _ask(
    engine: ContainerEngine,
    image_id: str,
    options: Sequence[Option],
    labels: Mapping[str, str] | None,
    cancel: Cancel | None,
) -> dict[str, Any]:
    program = (_INSIDE / "probe.py").read_bytes()

    def run(argv: Sequence[str], stdin: bytes) -> Finished:
        return engine.run_once(
            image_id, argv, options=options, labels=labels, stdin=stdin, timeout=_PATIENCE, cancel=cancel
        )

    done = run(("python3", "-I", "-"), program)
    if (said := _said(done)) is not None:
        return said
    shell = run(("sh", "-s"), (_INSIDE / "probe.sh").read_bytes())
    facts = list(_facts(shell.output))
    for name, path in facts:
        if name == "python" and (said := _said(run((path, "-I", "-"), program))) is not None:
            return said
    if not facts and done.exit_code == 124:
        raise Retryable(f"the image did not answer within {_PATIENCE:g} s", code="image-silent")
    if not facts and not _only_missing(done, shell):
        raise UserError(
            f"no program of the image runs: {shell.last_line or done.last_line}",
            remedy="Try it by hand: " + f"{engine.name} run --rm --entrypoint sh {image_id} -c true",
            code="image-broken",
        )
    told = dict(facts)
    uid = told.get("uid", "")
    return {
        "machine": told.get("machine", ""),
        "libc": told.get("libc", ""),
        "uid": int(uid) if uid.isdigit() else None,
        "interpreters": [],
    }


def _only_missing(*runs: Finished) -> bool:
    """Whether the engine said of each that the program is not there: such an image is not broken, only empty."""
    return all(done.exit_code == 127 or "executable file not found" in done.errors + done.output for done in runs)


def _said(done: Finished) -> dict[str, Any] | None:
    text = next((line for line in reversed(done.output.splitlines()) if line.startswith(_MARK)), "")
    try:
        said = json.loads(text.removeprefix(_MARK)) if text else None
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _facts(output: str) -> Iterator[tuple[str, str]]:
    for line in output.splitlines():
        name, mark, value = line.removeprefix(_MARK).partition("=")
        if line.startswith(_MARK) and mark:
            yield name, value.strip()


def _remember(file: Path, content: Mapping[str, Any]) -> None:
    private_dir(file.parent)
    write_json(file, content, durable=False)
    with contextlib.suppress(OSError):  # another agent removes the same ones
        old = sorted(file.parent.glob("*.json"), key=lambda entry: entry.stat().st_mtime)[:-_REMEMBERED]
        for entry in old:
            entry.unlink()


def _read(image_id: str, said: Mapping[str, Any]) -> ImageFindings:
    libc = str(said.get("libc") or "")
    pythons = tuple(_python(entry, libc) for entry in said.get("interpreters") or () if _fit(entry))
    uid = said.get("uid")
    return ImageFindings(
        image_id,
        str(said.get("machine") or ""),
        libc,
        uid if isinstance(uid, int) else None,
        pythons,
        str(said.get("activated") or ""),
    )


def _fit(entry: Mapping[str, Any]) -> bool:
    parts = str(entry.get("version", "")).split(".")
    return len(parts) >= 2 and all(part.isdigit() for part in parts[:2]) and tuple(map(int, parts[:2])) >= _OLDEST


def _python(entry: Mapping[str, Any], libc: str) -> ImagePython:
    path = Path(str(entry["path"]))
    base = Path(str(entry.get("base") or path))
    interpreter = Interpreter(
        path=path,
        real_path=Path(str(entry.get("real") or path)),
        version=str(entry["version"]),
        build=str(entry.get("build") or ""),
        platform=f"{entry.get('system') or ''} {libc}".strip(),
        abi=str(entry.get("abi") or ""),
        base=base if entry.get("virtual") else path,
        found=str(entry.get("found") or "in the image"),
        inside=True,
    )
    listed = entry.get("listed") or {}
    return ImagePython(
        interpreter,
        bool(entry.get("virtual")),
        tuple(str(folder) for folder in entry.get("packages") or ()),
        {str(name): str(version) for name, version in listed.items()},
    )
