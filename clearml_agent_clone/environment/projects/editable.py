"""Make a package of the checkout importable without building it: metadata, programs and a path, from ``pyproject.toml``.

What build backends do for an editable install of plain Python code comes to this. Where it would come to more
(compiled code, generated files, a version that only the backend knows), ``read_package`` says why, and the backend is
asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.environment.projects.manifest import Manifest, table, words

_BACKENDS = {
    "poetry.core.masonry.api": "poetry",
    "poetry.masonry.api": "poetry",
    "hatchling.build": "hatch",
    "setuptools.build_meta": "setuptools",
    "flit_core.buildapi": "flit",
    "uv_build": "uv",
    "pdm.backend": "pdm",
}
# Tables of pyproject.toml that have the backend run code or rearrange files
_BUILDS = (
    ("tool", "poetry", "build"),
    ("tool", "hatch", "build", "hooks"),
    ("tool", "hatch", "build", "targets", "wheel", "hooks"),
    ("tool", "hatch", "build", "targets", "wheel", "force-include"),
    ("tool", "hatch", "build", "targets", "wheel", "sources"),
    ("tool", "hatch", "metadata", "hooks"),
    ("tool", "setuptools_scm"),
    ("tool", "setuptools-git-versioning"),
    ("tool", "poetry-dynamic-versioning"),
    ("tool", "pdm", "build", "run-setuptools"),
)
_DECIDING = {"version", "scripts", "gui-scripts", "entry-points", "name"}
_ASSIGNED = r"""^%s\s*(?::\s*str\s*)?=\s*["']([^"']+)["']"""


@attrs.frozen
class Package:
    """What is written for a package.

    Args:
        name: as its file says it.
        version: as its file says it.
        requires: what it needs, as its file says it.
        python: the versions of Python it is made for; empty when its file does not say so by ``requires-python``.
        sources: folders that Python has to look in.
        entry_points: group → name → object.
    """

    name: str
    version: str
    requires: tuple[str, ...] = ()
    python: str = ""
    sources: tuple[Path, ...] = ()
    entry_points: Mapping[str, Mapping[str, str]] = attrs.Factory(dict)

    @property
    def file_name(self) -> str:
        """The beginning of its files' names."""
        return re.sub(r"[-_.]+", "_", self.name).lower()

    @property
    def programs(self) -> dict[str, str]:
        return {**self.entry_points.get("console_scripts", {}), **self.entry_points.get("gui_scripts", {})}

    def metadata(self) -> str:
        lines = ["Metadata-Version: 2.1", f"Name: {self.name}", f"Version: {self.version}"]
        lines += [f"Requires-Python: {self.python}"] if self.python else []
        return "\n".join([*lines, *(f"Requires-Dist: {line}" for line in self.requires), ""])

    def entry_points_text(self) -> str:
        parts = []
        for group, entries in self.entry_points.items():
            parts += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()), ""]
        return "\n".join(parts)


def read_package(folder: Path) -> Package | str:
    """What to write for the package in ``folder``; or why its backend has to be asked.

    Raises:
        UserError: its ``pyproject.toml`` is broken.
    """
    manifest = Manifest.read(folder)
    if manifest is None or (folder / "setup.py").exists():
        return "setup.py"
    poetry = not manifest.backend and bool(manifest.poetry)
    backend = _BACKENDS.get(manifest.backend or ("poetry.core.masonry.api" if poetry else ""), "")
    if not backend:
        return f"build backend {manifest.backend or 'setuptools'}"
    if more := next((names for names in _BUILDS if manifest.table(*names[:-1]).get(names[-1])), None):
        return f"[{'.'.join(more)}]"
    project = manifest.project
    dynamic = _DECIDING & set(words(project.get("dynamic")))
    name = str(project.get("name") or manifest.poetry.get("name") or "")
    version = str(project.get("version") or manifest.poetry.get("version") or "")
    sources = _sources(folder, manifest, backend)
    if sources is None:
        return f"the folders that {backend} is told to look in"
    if "version" in dynamic and not version:
        version = _written_version(folder, manifest, backend, sources)
        dynamic -= {"version"} if version else set()
    if backend == "poetry":
        dynamic = set() if name and version else dynamic
    if dynamic or not name or not version:
        return f"dynamic {', '.join(sorted(dynamic)) or 'name and version'}"
    requires, python = _requires(manifest), str(project.get("requires-python") or "")
    return Package(name, version, requires, python, sources, _entry_points(manifest))


def _requires(manifest: Manifest) -> tuple[str, ...]:
    if manifest.project:
        return tuple(words(manifest.project.get("dependencies")))
    # Poetry's own notation of versions is not everybody's: the names are what matters here
    needed = manifest.table("tool", "poetry", "dependencies")
    return tuple(
        name
        for name, value in needed.items()
        if name != "python" and not (isinstance(value, Mapping) and value.get("optional"))
    )


def _entry_points(manifest: Manifest) -> dict[str, dict[str, str]]:
    project, poetry = manifest.project, manifest.poetry
    groups: dict[str, Mapping[str, Any]] = {
        "console_scripts": {**table(poetry, "scripts"), **table(project, "scripts")},
        "gui_scripts": table(project, "gui-scripts"),
        **{str(group): entries for group, entries in table(poetry, "plugins").items() if isinstance(entries, Mapping)},
        **{
            str(group): entries
            for group, entries in table(project, "entry-points").items()
            if isinstance(entries, Mapping)
        },
    }
    found = {
        group: {str(name): target for name, value in entries.items() if (target := _target(value))}
        for group, entries in groups.items()
    }
    return {group: entries for group, entries in found.items() if entries}


def _target(value: object) -> str:
    """``module:object``; poetry also has ``{callable = …}``. A file that is copied is no entry point."""
    if isinstance(value, Mapping):
        reference = value.get("reference") if value.get("type", "console") == "console" else ""
        value = value.get("callable") or reference
    return value if isinstance(value, str) and re.fullmatch(r"[\w.]+(?::[\w.]+)?(?:\s*\[.*\])?", value) else ""


def _sources(folder: Path, manifest: Manifest, backend: str) -> tuple[Path, ...] | None:
    """The folders that have to be on Python's path; None when the backend arranges them in another way."""
    told = _told_sources(manifest, backend)
    if told is None:
        return None
    usual = ["src", ""] if not told else []
    found = [folder / place for place in [*told, *usual]]
    return tuple(dict.fromkeys(place for place in found if place.is_dir())) or (folder,)


def _told_sources(manifest: Manifest, backend: str) -> list[str] | None:
    """The folders that the file names; None when it rearranges packages."""
    tool = manifest.table("tool")
    if backend == "setuptools":
        return _setuptools_sources(table(tool, "setuptools"))
    told: dict[str, list[str]] = {
        "poetry": _poetry_sources(manifest.poetry.get("packages")),
        "hatch": _hatch_sources(table(tool, "hatch", "build")),
        "uv": [str(table(tool, "uv", "build-backend").get("module-root", "src"))],
        "pdm": words([table(tool, "pdm", "build").get("package-dir")]),
    }
    return told.get(backend, [])


def _poetry_sources(packages: object) -> list[str]:
    items = packages if isinstance(packages, list) else []
    return [str(item.get("from") or "") for item in items if isinstance(item, Mapping)]


def _hatch_sources(build: Mapping[str, Any]) -> list[str]:
    packages = words(table(build, "targets", "wheel").get("packages")) or words(build.get("packages"))
    return words(build.get("dev-mode-dirs")) or [str(Path(item).parent) for item in packages]


def _setuptools_sources(tool: Mapping[str, Any]) -> list[str] | None:
    folders = table(tool, "package-dir")
    if folders.keys() - {""} or tool.get("ext-modules"):
        return None
    return [*words([folders.get("")]), *words(table(tool, "packages", "find").get("where"))]


def _written_version(folder: Path, manifest: Manifest, backend: str, sources: Iterable[Path]) -> str:
    """A version that stands in a file as plain text; empty when only the backend can tell it."""
    if backend == "hatch":
        told = manifest.table("tool", "hatch", "version")
        if told.get("source", "regex") != "regex" or "pattern" in told:
            return ""
        return _assigned(folder / str(told.get("path") or ""), "(?:__version__|VERSION)")
    if backend == "setuptools":
        told = manifest.table("tool", "setuptools", "dynamic", "version")
        module, _, variable = str(told.get("attr") or "").rpartition(".")
        places = [source / module.replace(".", "/") for source in sources] if module else []
        files = [file for place in places for file in (place / "__init__.py", place.with_suffix(".py"))]
        return next((found for file in files if (found := _assigned(file, re.escape(variable)))), "")
    if backend == "flit":
        module = str(manifest.table("tool", "flit", "module").get("name") or manifest.project.get("name") or "")
        places = [source / module.replace("-", "_") for source in sources]
        files = [file for place in places for file in (place / "__init__.py", place.with_suffix(".py"))]
        return next((found for file in files if (found := _assigned(file, "__version__"))), "")
    return ""


def _assigned(file: Path, variable: str) -> str:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(_ASSIGNED % variable, text, re.MULTILINE)
    return match[1] if match else ""
