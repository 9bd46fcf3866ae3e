"""The shell scripts that run in a container before the task, as files: what, in which order, and whose.

The classic agent joins their lines with semicolons into one command, which any ``if``, heredoc or function breaks. Here
each is a file of its own, as it was written, so that a failure has a line number and an owner.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from clearml_agent_clone.config.settings_docker import DockerSettings
from clearml_agent_clone.containers.arguments import Source
from clearml_agent_clone.errors import UserError


@attrs.frozen
class ScriptFile:
    """One script. ``origin`` is how messages call it; ``source`` tells the owner's from the task's."""

    name: str
    text: str = attrs.field(repr=False)
    origin: str
    source: Source


def plan_scripts(docker: DockerSettings, setup_script: str, setup_from: Source) -> tuple[ScriptFile, ...]:
    """What to run, in this order: the owner's preparation, the owner's additions, the task's setup script.

    Raises:
        UserError: a script holds a NUL byte, which no shell can read.
    """
    key = "agent.docker_{}_bash_script"
    asked = [
        ("preprocess.sh", "\n".join(docker.preprocess_bash_script), key.format("preprocess"), Source.EXTRA),
        ("init.sh", _init(docker), key.format("init"), Source.EXTRA),
        ("extra.sh", "\n".join(docker.extra_shell_script), "agent.extra_docker_shell_script", Source.EXTRA),
        ("setup.sh", setup_script, f"setup script of {setup_from.value}", setup_from),
    ]
    return tuple(
        ScriptFile(name, _clean(text, origin), origin, source) for name, text, origin, source in asked if _does(text)
    )


def _does(text: str) -> bool:
    """Whether there is anything but blank lines and comments."""
    return any(line.strip() and not line.strip().startswith("#") for line in text.splitlines())


def _clean(text: str, origin: str) -> str:
    """With the line ends of Unix: what was typed into a form in a browser has others."""
    if "\0" in text:
        raise UserError(f"{origin}: it holds a NUL byte", remedy="Remove it", code="setup-script")
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n") + "\n"


def _init(docker: DockerSettings) -> str:
    """The owner's preparation. It is a format text with doubled braces, as the classic agent has it."""
    text = "\n".join(docker.init_bash_script)
    fields = {
        "python": "python3",
        "python_single_digit": "python3",
        "pip_version": "",
        "clearml_agent_wheel": "",
        "mount_ssh": docker.mounts.ssh_folder,
        "mount_ssh_ro": docker.mounts.ssh_ro_folder,
        "mount_git_ro": docker.mounts.ssh_ro_folder + ".git",
    }
    try:
        return _Fields().vformat(text, (), fields)
    except (ValueError, KeyError, IndexError):
        return text  # written by somebody who does not know that braces are doubled


class _Fields(string.Formatter):
    """Fields by name only: no attributes or items of them."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002 - the base class has it
        return kwargs[field_name], field_name
