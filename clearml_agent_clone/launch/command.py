"""From a recorded entry point to an argument list.

The recorded text is what the user's shell saw, so it is split the way a shell splits it, and nothing inside the
arguments is normalised or expanded: ``--url https://host/x`` must arrive as it was written.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import attrs

from clearml_agent_clone.errors import UserError

SHELLS = frozenset({"bash", "sh", "zsh"})


@attrs.frozen
class Entry:
    """What to start: an interpreter of the user's choice and its arguments.

    ``binary`` is ``task.script.binary`` (``python3.11``, ``bash``, a path, or nothing), ``entry_point`` the recorded
    text, ``working_dir`` the absolute folder that it is relative to.
    """

    binary: str
    entry_point: str
    working_dir: Path

    @property
    def shell(self) -> str:
        """The shell's name when this is a shell task, else an empty string."""
        name = Path(self.binary.split()[0]).name if self.binary.split() else ""
        return name if name in SHELLS else ""


def build_argv(entry: Entry, python: Path | None, optimize: int = 0) -> tuple[str, ...]:
    """The argument list that starts ``entry``.

    Args:
        entry: what to start.
        python: the environment's interpreter; None only when no Python environment is needed.
        optimize: how often ``-O`` is given to Python (0 to 2).

    Raises:
        UserError: there is no entry point, its quotes do not close, or it needs a Python that there is not.
    """
    arguments = _arguments(entry)
    if entry.shell:
        return (entry.binary.split()[0], *arguments)
    if python is None:
        raise UserError(
            f'the task starts "{entry.entry_point}" with Python, but its Python environment was skipped',
            remedy="Unset CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL or name an interpreter in script.binary",
            code="python-missing",
        )
    flags = ("-" + "O" * min(optimize, 2),) if optimize else ()
    return (str(python), "-u", *flags, *arguments)


def _arguments(entry: Entry) -> list[str]:
    text = entry.entry_point.strip()
    if not text:
        raise UserError(
            "the task has no entry point",
            remedy="Set script.entry_point to the file to run",
            code="entry-point-missing",
        )
    if not text.startswith("-") and (entry.working_dir / text).is_file():
        return [text]  # a file whose name holds blanks is one argument
    if text.startswith("-c ") and entry.shell:
        return ["-c", text[3:].strip()]
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(
            f"script.entry_point cannot be split into arguments: {text!r} ({error})",
            remedy="Close its quotes",
            code="entry-point-unreadable",
        ) from error
