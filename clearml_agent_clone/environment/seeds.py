"""Put pip into a new environment without starting a program: its files are linked from a copy that is unpacked once.

User code calls pip, and an environment that uv makes has none. An installation of its own costs a tenth of a second,
more than all the rest of an empty environment.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.util.files import private_dir

FOLDER = "clearml-agent-seeds"
"""Beside what uv keeps."""

_SCRIPT = """\
#!{python}
import sys
from {module} import {function}
if __name__ == "__main__":
    sys.exit({function}())
"""
_LONGEST_SHEBANG = 127


def carried_wheel(name: str, minor: str) -> Path | None:
    """The wheel of ``name`` that virtualenv carries for Python ``minor``.

    The files are read for that: to ask virtualenv takes ten times as long as what is done with the answer.
    """
    found = importlib.util.find_spec("virtualenv")
    for place in found.submodule_search_locations or () if found else ():
        wheels = list(Path(place, "seed", "wheels", "embed").glob(f"{name}-*.whl"))
        for wheel in sorted(wheels, key=_release, reverse=True):
            if _serves(wheel, int(minor.split(".")[1])):
                return wheel
    return None


def _release(wheel: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", wheel.name.split("-")[1])]


def _serves(wheel: Path, minor: int) -> bool:
    """Whether ``wheel`` is for Python 3.``minor``."""
    with zipfile.ZipFile(wheel) as archive:
        file = next((name for name in archive.namelist() if name.endswith(".dist-info/METADATA")), "")
        head = archive.read(file).decode(errors="replace").partition("\n\n")[0] if file else ""
    needs = re.search(r"^Requires-Python:.*>=\s*3\.(\d+)", head, re.MULTILINE)
    return needs is None or int(needs[1]) <= minor


def plant(wheel: Path, env: Path, minor: str, cache: Path, link: Callable[[str, str], object]) -> bool:
    """Install the pure Python ``wheel`` into the virtual environment ``env``; False when that takes a real installer.

    Args:
        wheel: one of those that virtualenv carries.
        env: has nothing of that package yet.
        minor: its Python version, for the names of programs.
        cache: where the unpacked copy is kept; best on the disk of ``env``.
        link: makes its second argument a file with the content of its first.
    """
    sites = list(env.glob("lib/*/site-packages"))
    python = env / "bin" / "python"
    if len(sites) != 1 or len(f"#!{python}") > _LONGEST_SHEBANG or " " in str(python):
        return False
    name, version = wheel.name.split("-")[:2]
    if (sites[0] / name).exists():  # a project may have brought its own
        return False
    source = _unpacked(wheel, cache)
    info = f"{name}-{version}.dist-info"
    record = f"{info}/RECORD"
    made = _link_tree(str(source), str(sites[0]), link, leave=record)
    recorded = (source / record).read_text().splitlines()
    if len(recorded) != made + 1:  # the copy is not whole: somebody has removed files from it
        shutil.rmtree(source, ignore_errors=True)
        return False
    scripts = _write_scripts(source / info / "entry_points.txt", env / "bin", python, minor)
    (sites[0] / info / "INSTALLER").write_text("uv")
    up = os.path.relpath(env / "bin", sites[0])
    added = [f"{info}/INSTALLER,,", *(f"{up}/{name},," for name in scripts)]
    (sites[0] / record).write_text("".join(f"{line}\n" for line in (*recorded, *added)))
    return True


def drop(settings: EnvironmentSettings) -> None:
    """Forget the unpacked copies: a task has changed one of them through its environment."""
    if settings.uv_cache_dir is not None:
        shutil.rmtree(settings.uv_cache_dir / FOLDER, ignore_errors=True)


def _unpacked(wheel: Path, cache: Path) -> Path:
    """The folder that ``wheel`` is unpacked in; a process that dies over it leaves no half of one under that name."""
    place = private_dir(cache / FOLDER) / wheel.stem
    if not place.is_dir():
        unborn = Path(tempfile.mkdtemp(prefix="new.", dir=place.parent))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unborn)
        unborn.chmod(0o755)
        try:
            unborn.rename(place)
        except OSError:  # another process was quicker
            shutil.rmtree(unborn, ignore_errors=True)
    return place


def _link_tree(source: str, target: str, link: Callable[[str, str], object], leave: str) -> int:
    """Link all files below ``source`` but ``leave`` into the same folders below ``target``; how many that were."""
    made = 0
    pending = [""]
    while pending:
        below = pending.pop()
        os.makedirs(f"{target}/{below}", exist_ok=True)  # noqa: PTH103 - hundreds of files, on the way to each build
        with os.scandir(f"{source}/{below}") as entries:
            for entry in entries:
                name = f"{below}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{name}/")
                elif name != leave:
                    link(entry.path, f"{target}/{name}")
                    made += 1
    return made


def _write_scripts(entry_points: Path, folder: Path, python: Path, minor: str) -> list[str]:
    """The programs of a package, and for pip the usual third one with the version in its name."""
    if not entry_points.is_file():
        return []
    written = []
    wanted = False
    for line in entry_points.read_text().splitlines():
        if line.startswith("["):
            wanted = line.strip() == "[console_scripts]"
            continue
        name, _, target = (part.strip() for part in line.partition("="))
        module, _, function = target.partition(":")
        if wanted and name and module and function.isidentifier():
            text = _SCRIPT.format(python=python, module=module, function=function)
            for each in (name, f"pip{minor}") if name == "pip" else (name,):
                (folder / each).write_text(text)
                (folder / each).chmod(0o755)
                written.append(each)
    return written
