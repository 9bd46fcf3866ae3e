"""Read ``pyproject.toml`` and lock files: what a project is called, what it needs, and where its code is."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PACKAGES = re.compile(r"^\[\[packages?\]\]", re.MULTILINE)
_LOCAL = re.compile(r'^source = \{ (?:editable|directory|virtual) = "([^"]*)" \}', re.MULTILINE)


def read_toml(file: Path) -> dict[str, Any]:
    """The content of ``file``.

    Raises:
        UserError: code ``project-invalid``; it cannot be read, or is no TOML.
    """
    try:
        content: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file.name}: {error}", remedy="Correct the file", code="project-invalid") from error
    return content


def table(data: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The table ``[a.b.c]`` of ``data``; empty when it is not there or is something else."""
    found: Any = data
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def words(value: object) -> list[str]:
    """The texts of a list; empty for anything else."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


@attrs.frozen
class Manifest:
    """A ``pyproject.toml``."""

    file: Path
    data: Mapping[str, Any] = attrs.field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """That of ``folder``; None when it has none."""
        file = folder / "pyproject.toml"
        return cls(file, read_toml(file)) if file.is_file() else None

    def table(self, *names: str) -> Mapping[str, Any]:
        return table(self.data, *names)

    @property
    def project(self) -> Mapping[str, Any]:
        return self.table("project")

    @property
    def poetry(self) -> Mapping[str, Any]:
        return self.table("tool", "poetry")

    @property
    def backend(self) -> str:
        """What builds the package; empty when the file does not say."""
        return str(self.table("build-system").get("build-backend") or "")

    @property
    def requires_python(self) -> str:
        """The versions of Python that the project is made for, in its own words."""
        return str(
            self.project.get("requires-python") or self.table("tool", "poetry", "dependencies").get("python") or ""
        )

    @property
    def is_uv_package(self) -> bool:
        """Whether uv would install the project itself."""
        default = bool(self.table("build-system"))
        return bool(self.project) and bool(self.table("tool", "uv").get("package", default))

    @property
    def is_poetry_package(self) -> bool:
        """Whether poetry would install the project itself."""
        return self.poetry.get("package-mode", True) is not False


def count_packages(lock: Path) -> int:
    """How many packages a lock file of any kind names. The file may be large: it is not parsed."""
    return len(_PACKAGES.findall(_text(lock)))


def names_package(lock: Path, name: str) -> bool:
    """Whether the lock file has the package ``name``."""
    return f'\nname = "{name}"\n' in _text(lock)


def local_folders(lock: Path) -> list[str]:
    """The folders of the project itself, its workspace and its path dependencies, as ``uv.lock`` names them."""
    return _LOCAL.findall(_text(lock))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
