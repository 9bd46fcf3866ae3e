"""Programs that build environments and are no part of them, such as poetry: each version in an environment of its own.

They are kept below the agent's state folder in a store like that of the tasks' environments: built once, by whoever
needs them first; whole or not there, whatever kills the builder.
"""

from __future__ import annotations

import attrs

from clearml_agent_clone.environment.build import build_environment
from clearml_agent_clone.environment.indexes import from_pip, with_options
from clearml_agent_clone.environment.keys import environment_key
from clearml_agent_clone.environment.model import EnvironmentPlan, EnvironmentResult, Mode
from clearml_agent_clone.environment.probe import Probe
from clearml_agent_clone.environment.search import own_base
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.process import Cancel, Console

_KEPT = 4


def tool(
    lines: tuple[str, ...], settings: EnvironmentSettings, console: Console, cancel: Cancel | None
) -> EnvironmentResult:
    """The environment of the program that ``lines`` name; its lease is to be released after use.

    Raises:
        UserError: code ``packages-failed``; it cannot be installed.
    """
    own = attrs.evolve(
        settings,
        store_dir=settings.state_dir / "tools",
        builds_dir=settings.state_dir / "tools",
        system_site_packages=False,
        force_upgrade=False,
        extra_pip_install_flags=(),
        max_entries=_KEPT,
        free_space=0,
    )
    base = own_base()
    interpreter = Probe(settings.state_dir / "interpreters.json", settings.environ).ask(base) if base else None
    if interpreter is None:
        raise UserError(f"the agent's own interpreter {base} does not answer", code="python-missing")
    pip, _ = from_pip(settings.environ)
    indexes = with_options(pip, settings.extra_index_url, (), settings.environ).indexes
    plan = EnvironmentPlan(
        Mode.STORED,
        own,
        source="a tool of the agent",
        interpreter=interpreter,
        lines=lines,
        indexes=indexes,
        pip_indexes=with_options(type(pip)(), settings.extra_index_url, (), settings.environ).indexes,
        task_id="tool",
    )
    plan = attrs.evolve(plan, key=environment_key(plan, interpreter, own))
    return build_environment(plan, _Brief(console), cancel)


@attrs.frozen
class _Brief:
    """A console that leaves out what programs print: the tool's dozens of packages are not the task's."""

    console: Console

    def say(self, text: str) -> None:
        self.console.say(text)

    def write(self, data: bytes) -> None:
        """Nothing: what goes wrong is told by the error."""


def poetry_lines(versions: tuple[str, ...]) -> tuple[str, ...]:
    """What to install for ``poetry_version``: ``<2``, ``1.8.3``, or one specifier per Python with markers."""
    given = [version.strip() for version in versions if version.strip()]
    return tuple(f"poetry{'==' if version[0].isdigit() else ''}{version}" for version in given) or ("poetry",)
