"""What fetching a task's code came to, for the next steps, for people, and for the task's record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.api.types import Script

_FROM = {"mirror": "mirror (nothing was transferred)", "fetch": "fetch into the mirror", "clone": "new clone"}


@attrs.frozen
class SourceResult:
    """A task's code on this machine.

    Args:
        root: the checkout, or the folder of a script without repository.
        working_dir: the working folder for the user's process.
        entry_point: as it is to be started, relative to ``working_dir``, arguments included.
        vcs: ``git`` or ``hg``; empty without repository.
        repository: the address that was used, without credentials; empty without repository.
        commit: the commit that is checked out.
        branch: the branch that the task records or that was followed; the checkout itself is detached.
        tag: as recorded.
        dirty: whether the tree differs from the commit (diff or script of the task).
        reused: ``mirror`` when it was there before, ``commit`` when it had all that was needed without asking.
        seconds: time by step: ``fetch``, ``checkout``, ``submodules``, ``diff``.
        shell: it is a shell that starts the entry point.
        confined: the entry point belongs inside ``root``.
        packages: what the way of running needs beside the task's requirements (``clearml``).
    """

    root: Path
    working_dir: Path
    entry_point: str
    vcs: str = ""
    repository: str = ""
    commit: str = ""
    branch: str = ""
    tag: str = ""
    dirty: bool = False
    reused: tuple[str, ...] = ()
    seconds: Mapping[str, float] = attrs.Factory(dict)
    shell: bool = False
    confined: bool = True
    packages: tuple[str, ...] = ()

    @property
    def came_from(self) -> str:
        """``mirror`` (nothing was transferred), ``fetch``, ``clone``; ``task`` for a script without repository."""
        if not self.repository:
            return "task" if self.dirty else "machine"
        return {0: "clone", 1: "fetch"}.get(len(self.reused), "mirror")

    @property
    def facts(self) -> dict[str, str]:
        """What was used; what does not apply is left out."""
        facts = {
            "repository": self.repository,
            "branch": self.branch,
            "tag": self.tag,
            "commit": self.commit,
            "state": ("dirty" if self.dirty else "clean") if self.repository else "",
            "from": self.came_from,
        }
        return {name: value for name, value in facts.items() if value}

    def describe(self) -> list[str]:
        """The same for the console, in the words of the classic agent; empty without repository."""
        if not self.repository:
            return []
        facts = {**self.facts, "from": _FROM[self.came_from], "root": str(self.root)}
        if self.dirty:
            facts["state"] = "dirty (with the task's uncommitted changes)"
        shown = {"type": self.vcs, "url": facts.pop("repository"), **facts}
        return ["Code of the task:", *(f"  {name}: {value}" for name, value in shown.items())]

    def missing_in(self, script: Script) -> dict[str, str]:
        """Fields of ``script`` that were left open and that this has filled: they name the commit from now on."""
        if not self.commit or script.version_num not in {"", "HEAD"}:
            return {}
        fields = {"version_num": self.commit}
        if self.branch and not (script.branch or script.tag):
            fields["branch"] = self.branch
        return fields
