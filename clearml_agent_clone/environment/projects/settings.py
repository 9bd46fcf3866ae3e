"""The part of the configuration that poetry and uv projects depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from clearml_agent_clone.config.settings_packages import PackageManagerSettings

_TRUE = {"1", "true", "yes", "on"}
_FORCED = {"poetry": "CLEARML_AGENT_FORCE_POETRY", "uv": "CLEARML_AGENT_FORCE_UV"}


@attrs.frozen
class ProjectSettings:
    """How project files are read and installed.

    Args:
        reason: what asked for poetry or uv, for the console.
        poetry_version: version specifiers of poetry, with markers or without; empty takes what there is.
        poetry_arguments: further arguments of ``poetry install``.
        poetry_in_working_dir: look in the task's working folder first, not at the root of the repository.
        uv_sync_arguments: further arguments of ``uv sync``.
        uv_run_arguments: those of ``uv run``, which the classic agent starts tasks with; what they ask for is
            done without it.
        uv_in_working_dir: like ``poetry_in_working_dir``.
        locked: take ``uv.lock`` as it is while it fits ``pyproject.toml``.
        best_match: let uv take the best version of all indexes.
    """

    reason: str = ""
    poetry_version: tuple[str, ...] = ()
    poetry_arguments: tuple[str, ...] = ()
    poetry_in_working_dir: bool = False
    uv_sync_arguments: tuple[str, ...] = attrs.field(default=(), repr=False)  # an index in them may carry a password
    uv_run_arguments: tuple[str, ...] = attrs.field(default=(), repr=False)
    uv_in_working_dir: bool = False
    locked: bool = True
    best_match: bool = False

    @classmethod
    def from_settings(cls, manager: PackageManagerSettings, environ: Mapping[str, str]) -> ProjectSettings:
        """Gather them from ``agent.package_manager`` and the agent's environment variables."""
        forced = forced_manager(environ)
        reason = f"{_FORCED[forced]} is set" if forced else f'agent.package_manager.type is "{manager.type}"'
        return cls(
            reason=reason,
            poetry_version=manager.poetry_version,
            poetry_arguments=manager.poetry_install_extra_args,
            poetry_in_working_dir=manager.poetry_files_from_repo_working_dir,
            uv_sync_arguments=manager.uv_sync_extra_args,
            uv_run_arguments=manager.uv_run_extra_args,
            uv_in_working_dir=manager.uv_files_from_repo_working_dir,
            locked=manager.uv_sync_locked_if_lock_file,
            best_match=manager.uv_unsafe_best_match,
        )


def forced_manager(environ: Mapping[str, str]) -> str:
    """The package manager that an environment variable asks for, whatever the configuration says; empty for none."""
    return next(
        (manager for manager, name in _FORCED.items() if environ.get(name, "").strip().lower() in _TRUE),
        "",
    )
