"""The secrets that a task brings along: its console is public to whoever may see the project, they are not."""

from __future__ import annotations

from clearml_agent_clone.api.types import Task
from clearml_agent_clone.config.secret_values import text_secrets, variable_secrets, worth_masking

FACT = "secrets"
"""Under which name they stand in the journal."""


def secrets_of(task: Task) -> frozenset[str]:
    """The secrets among the task's environment variables and in the arguments and setup script of its container.

    Known by the names of the variables, as in the configuration; passwords in URLs too.
    """
    variables = task.hyperparams.get("Environment", {})
    found = set(filter(worth_masking, variable_secrets(variables)))
    for text in (task.container.arguments, task.container.setup_shell_script):
        found.update(text_secrets(text))
    return frozenset(found)


def recorded_secrets(fact: object) -> frozenset[str]:
    """Those that an earlier runner of the task wrote down; none in a record of another version."""
    return frozenset(text for text in fact if isinstance(text, str)) if isinstance(fact, list) else frozenset()
