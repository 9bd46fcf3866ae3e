"""The part of the configuration that says with what requirement lines are installed, and how patiently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from clearml_agent_clone.config.settings import Settings

# What agents have been delivered with: a configuration file that repeats one of these asks for nothing.
_SHIPPED = (
    (
        "<20.2 ; python_version < '3.10'",
        "<22.3 ; python_version >= '3.10' and python_version <= '3.11'",
        ">=23,<26 ; python_version >= '3.12'",
    ),
    ("<20.2 ; python_version < '3.10'", "<22.3 ; python_version >= '3.10'"),
    ("<20.2",),
    ("<20",),
)


@attrs.frozen
class InstallSettings:
    """How requirement lines are installed.

    Args:
        engine: ``uv``, ``pip``, or ``auto``: uv, and pip where something asks for the real one.
        asked_by: the name of the setting that said so, for the console.
        pip_version: which pip goes into an environment that pip itself installs into, as specifiers with markers;
            empty for the one that virtualenv carries.
        pip_legacy_resolver: versions of pip that are told to use their old resolver.
        uv_version: which uv to use, as specifiers; empty for any. ``CLEARML_BOOTSTRAP_UV_EXEC`` beats it.
        pauses: seconds to wait before each further try, after a failure that may be gone in a moment.
        tell_every: seconds between two lines about a long installation.
    """

    engine: str = "auto"
    asked_by: str = "agent.package_manager.pip_engine"
    pip_version: tuple[str, ...] = ()
    pip_legacy_resolver: tuple[str, ...] = (">=20.3,<24.3",)
    uv_version: tuple[str, ...] = ()
    pauses: tuple[float, ...] = (5.0, 20.0)
    tell_every: float = 5.0

    @classmethod
    def from_settings(cls, settings: Settings, environ: Mapping[str, str]) -> InstallSettings:
        """Gather what matters here from the whole configuration and the agent's variables."""
        from clearml_agent_clone.config.variables_table import PACKAGE_ENGINE  # noqa: PLC0415 - rows for all rooms

        manager = settings.agent.package_manager
        found = PACKAGE_ENGINE.find(environ)
        return cls(
            engine=PACKAGE_ENGINE.get(environ) or manager.pip_engine,
            asked_by=found[0] if found else "agent.package_manager.pip_engine",
            pip_version=() if _shipped(manager.pip_version) else tuple(manager.pip_version),
            pip_legacy_resolver=manager.pip_legacy_resolver,
            uv_version=manager.uv_version,
        )


def _shipped(versions: tuple[str, ...]) -> bool:
    given = tuple("".join(version.split()).replace('"', "'") for version in versions if version.strip())
    return not given or given in {tuple("".join(version.split()) for version in known) for known in _SHIPPED}
