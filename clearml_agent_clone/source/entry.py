"""The entry point: where it starts, and whether it is there."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source.confine import inside
from clearml_agent_clone.source.literal import first_word
from clearml_agent_clone.util.names import did_you_mean

_SHELL_ENDINGS = (".sh", ".bash", ".zsh")
_LOOKED_AT = 5000
_IGNORED = frozenset({".git", "__pycache__", "node_modules", ".venv"})


@attrs.frozen
class Start:
    """Where a task's process starts.

    Args:
        root: the checkout, or the folder of a script without repository.
        working_dir: the process's working folder.
        entry_point: as it will be started.
        shell: it is a shell that starts it.
        confined: the entry point has to be inside ``root``.
    """

    root: Path
    working_dir: Path
    entry_point: str
    shell: bool = False
    confined: bool = True


def find_working_dir(root: Path, folder: str) -> Path:
    """The working folder below ``root``.

    Raises:
        UserError: ``outside-checkout``, or ``working-dir-missing`` with the folders that may be meant.
    """
    path = root / folder if folder else root
    inside(path, root, f'working folder "{folder}"')
    if not path.is_dir():
        folders = sorted({str(Path(name).parent) for name in _files(root)} - {"."})
        raise UserError(
            f'working folder "{folder}" is not in the repository',
            remedy=did_you_mean(folder, folders)
            or "Correct script.working_dir; it is relative to the repository's root",
            code="working-dir-missing",
        )
    return path


def entry_file(start: Start) -> str:
    """The file that the entry point names, as it is written there; empty for modules, commands and options."""
    entry = start.entry_point
    if entry.startswith("-") or not entry:
        return ""
    if _is_file(start.working_dir / entry):
        return entry  # a name with blanks in it
    word, _ = first_word(entry)
    if start.shell and not word.endswith(_SHELL_ENDINGS) and "/" not in word:
        return ""  # a shell may be given a command of its own
    return word


def check_start(start: Start) -> None:
    """Refuse an entry point that is not there or leads out of the checkout.

    Raises:
        UserError: ``entry-point-missing`` with the files that may be meant, or ``outside-checkout``.
    """
    name = entry_file(start)
    if not name:
        return
    path = start.working_dir / name
    if start.confined:
        inside(path, start.root, f'entry point "{name}"')
    if not _is_file(path):
        shown = start.working_dir.relative_to(start.root) if start.confined else start.working_dir
        place = "" if str(shown) == "." else f' in working folder "{shown}"'
        raise UserError(
            f'entry point "{name}" is not there{place}',
            remedy=_near(name, start) or "Correct script.entry_point; is the file committed and pushed?",
            code="entry-point-missing",
        )


def _near(name: str, start: Start) -> str:
    if not start.working_dir.is_dir():
        return ""
    files = list(_files(start.working_dir))
    same_name = sorted(file for file in files if Path(file).name == Path(name).name)
    if same_name:
        return "Did you mean " + " or ".join(f'"{file}"' for file in same_name[:3]) + "?"
    return did_you_mean(name, files)


def _files(folder: Path) -> list[str]:
    """Files below ``folder``, relative to it; not more than are quick to look at."""
    found: list[str] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _IGNORED]
        found += [os.path.relpath(os.path.join(place, name), folder) for name in names]  # noqa: PTH118 - thousands
        if len(found) > _LOOKED_AT:
            break
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # longer than a name can be: it is a command line
        return False
