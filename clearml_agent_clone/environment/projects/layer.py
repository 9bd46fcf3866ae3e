"""What a task has to itself on top of a kept environment: the packages in its checkout, and variables from its files.

The layer is a virtual environment without packages: its interpreter is the one that the kept environment was made with,
and its ``site-packages`` leads to those of the kept one and to the checkout. It lies beside the kept environment, in
the folder that the task's lease holds in place, and goes with the lease. What the task installs while it runs goes into
the layer, not into what others use. Making it takes some milliseconds and starts nothing, unless a package of the checkout
has to be built.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from pathlib import Path

import attrs

from clearml_agent_clone.environment.model import EnvironmentPlan, EnvironmentResult, Project
from clearml_agent_clone.environment.projects.editable import Package, read_package
from clearml_agent_clone.environment.projects.local import Local, read_local
from clearml_agent_clone.environment.store import LAYER
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.process import Cancel, Console

_KINDS = frozenset({"poetry", "uv", "pylock"})
_SCRIPT = 64 * 1024  # bytes; what is larger is a program of its own and does not name its interpreter in text
_LONGEST_SHEBANG = 127


def add_checkout(
    plan: EnvironmentPlan, result: EnvironmentResult, console: Console, cancel: Cancel | None
) -> EnvironmentResult:
    """``result`` with the packages in the checkout and the variables of the project's files.

    Raises:
        UserError: code ``packages-failed``; a package cannot be built.
    """
    project, lease = plan.project, result.lease
    if project is None or project.kind not in _KINDS or lease is None:
        return result
    try:
        variables = {**result.variables, **_variables(project, console)}
        packages = read_local(lease.env)
        if not packages:
            return attrs.evolve(result, variables=variables)
        layer = lease.folder / f"{LAYER}{secrets.token_hex(4)}"
        lease.layer = layer
        make_layer(layer, lease.env)
        task = _Layer(layer, plan, project, console, cancel)
        for package in packages:
            task.add(package)
    except BaseException:  # whatever ended it, nobody will use the environment for this task
        lease.release()
        raise
    return attrs.evolve(
        result,
        python=layer / "bin" / "python",
        bin_dir=layer / "bin",
        installed=(*result.installed, *_lines(packages, plan, project)),
        variables={**variables, "VIRTUAL_ENV": str(layer)},
    )


def _lines(packages: list[Local], plan: EnvironmentPlan, project: Project) -> list[str]:
    """How the packages beside the project itself are recorded with the task: by their place in the repository."""
    root = (plan.root or project.folder).resolve()
    places = [(project.folder / package.place).resolve() for package in packages if package.place != "."]
    return [f"./{place.relative_to(root)}" if place.is_relative_to(root) else str(place) for place in places]


def make_layer(layer: Path, below: Path) -> None:
    """Make an environment at ``layer`` that has everything of ``below``."""
    for folder in (layer, layer / "bin"):
        folder.mkdir(mode=0o700)
    shutil.copyfile(below / "pyvenv.cfg", layer / "pyvenv.cfg")
    for entry in below.iterdir():
        if entry.name not in {"bin", "lib", "lib64", "pyvenv.cfg"}:
            (layer / entry.name).symlink_to(entry)
    old, new = str(below / "bin" / "python").encode(), str(layer / "bin" / "python").encode()
    for entry in (below / "bin").iterdir():
        if entry.name.startswith("activate"):  # shells that read it are to find what the task finds
            (layer / "bin" / entry.name).write_bytes(entry.read_bytes().replace(bytes(below), bytes(layer)))
        else:
            _copy_program(entry, layer / "bin" / entry.name, old, new)
    for site in below.glob("lib/python*/site-packages"):
        here = layer / site.relative_to(below)
        here.mkdir(parents=True)
        # Last by its name: what the task's own checkout has comes before what is kept
        (here / "zz_kept_packages.pth").write_text(f"import site; site.addsitedir({str(site)!r})\n")
    if (below / "lib64").is_symlink():
        (layer / "lib64").symlink_to("lib")


def _copy_program(source: Path, target: Path, old: bytes, new: bytes) -> None:
    """A link to ``source``; but a script that names its interpreter is copied, to have it name ours."""
    if source.name.startswith("python") and source.is_symlink():
        target.symlink_to(source.readlink())
        return
    if source.is_file() and source.stat().st_size <= _SCRIPT:
        with source.open("rb") as file:
            content = file.read() if file.read(2) == b"#!" else b""
        first, _, rest = content.partition(b"\n")
        if first.strip() == old:
            content = _start(os.fsdecode(new)).encode() + rest
        elif old in content[:1024]:
            content = b"#!" + content.replace(old, new, 1)
        else:
            content = b""
        if content:
            target.write_bytes(content)
            target.chmod(0o755)
            return
    target.symlink_to(source)


def _start(python: str) -> str:
    """The first line of a program for ``python``; what the kernel does not take, a shell does."""
    line = f"#!{python}\n"
    if len(line) <= _LONGEST_SHEBANG and " " not in python:
        return line
    return f"#!/bin/sh\n'''exec' '{python}' \"$0\" \"$@\"\n' '''\n"


@attrs.frozen
class _Layer:
    place: Path
    plan: EnvironmentPlan
    project: Project
    console: Console
    cancel: Cancel | None

    def add(self, local: Local) -> None:
        """Have Python find the package ``local`` in the checkout."""
        folder = Path(os.path.normpath(self.project.folder / local.place))
        if not folder.is_dir():
            raise UserError(
                f"package {local.name} is missing: there is no folder {local.place} in the checkout",
                remedy="Commit it, or correct the path in pyproject.toml and lock anew",
                code="packages-failed",
            )
        package = read_package(folder)
        if isinstance(package, Package):
            for site in self.place.glob("lib/python*/site-packages"):
                _write(package, folder, site, self.place / "bin")
            return
        self.console.say(f"Building {local.name} for this task: its backend has to be asked ({package})")
        from clearml_agent_clone.environment.projects.building import build_into  # noqa: PLC0415 - rare

        build_into(self.place, folder, self.plan, self.console, self.cancel)


def _write(package: Package, folder: Path, site: Path, programs: Path) -> None:
    info = site / f"{package.file_name}-{package.version}.dist-info"
    info.mkdir()
    url = json.dumps({"url": folder.resolve().as_uri(), "dir_info": {"editable": True}})
    files = {
        site / f"__editable__{package.file_name}.pth": "".join(f"{place}\n" for place in package.sources),
        info / "METADATA": package.metadata(),
        info / "INSTALLER": "clearml-agent\n",
        info / "direct_url.json": url,
        info / "entry_points.txt": package.entry_points_text(),
    }
    for name, target in package.programs.items():
        place = programs / name
        if "/" not in name and name not in {".", ".."}:
            place.unlink(missing_ok=True)  # a program of a kept package: the project's own counts
            files[place] = _program(programs / "python", target)
    for file, content in files.items():
        file.write_text(content, encoding="utf-8")
        if file.parent == programs:
            file.chmod(0o755)
    names = [os.path.relpath(file, site) for file in files]
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in [*names, f"{info.name}/RECORD"]))


def _program(python: Path, target: str) -> str:
    module, _, name = re.sub(r"\s*\[.*", "", target).partition(":")
    call = f"{name}()" if name else "None"
    first = name.split(".")[0]
    lines = [f"from {module} import {first}" if name else f"import {module}"]
    lines += ['if __name__ == "__main__":', f"    sys.exit({call})", ""]
    return "\n".join([f"{_start(str(python))}import sys", *lines])


def _variables(project: Project, console: Console) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in project.env_files:
        found.update(_env_file(file, console))
    return found


def _env_file(file: Path, console: Console) -> dict[str, str]:
    try:
        return read_variables(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        console.say(f"uv_run_extra_args: --env-file {file.name} cannot be read: {error}")
        return {}


def read_variables(text: str) -> dict[str, str]:
    """The variables of a ``.env`` file: ``NAME=value`` lines, quoted or not, with comments."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$", line)
        if match:
            value = match[2]
            quoted = re.match(r"""'([^']*)'|"((?:[^"\\]|\\.)*)\"""", value)
            if quoted:
                plain = quoted[2] is not None
                value = (
                    re.sub(r"\\(.)", lambda part: {"n": "\n", "t": "\t"}.get(part[1], part[1]), quoted[2])
                    if plain
                    else quoted[1]
                )
            else:
                value = re.sub(r"(?:^|\s)#.*$", "", value)
            found[match[1]] = value
    return found
