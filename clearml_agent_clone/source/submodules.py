"""Submodules: each from a mirror of its own, checked out as the task's repository is.

git would clone them anew for every task. Doing it by hand also keeps names, paths and addresses that a repository
gives from reaching any command: each is checked here, and no ``update`` command of a repository is looked at.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import attrs

from clearml_agent_clone.errors import AgentError, UserError
from clearml_agent_clone.source.access import grants_for, lend
from clearml_agent_clone.source.address import Address, parse_address
from clearml_agent_clone.source.confine import inside
from clearml_agent_clone.source.git import Git
from clearml_agent_clone.source.plan import Revision, rewrite
from clearml_agent_clone.source.settings import SourceSettings
from clearml_agent_clone.source.trees import Trees, Wanted

_KEY = re.compile(r"submodule\.(?P<name>.+)\.(?P<key>path|url|update)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DEEPEST = 16


@attrs.frozen
class Superproject:
    """A checkout that may have submodules.

    Args:
        root: its tree.
        git_dir: its repository.
        address: where it came from; relative addresses start there.
        depth: how many superprojects it has itself.
    """

    root: Path
    git_dir: Path
    address: Address
    depth: int = 0


@attrs.frozen
class _Submodule:
    name: str
    path: str
    url: str


class Submodules:
    """Checks submodules out below ``top``; ``git`` has what is lent for the task's repository."""

    def __init__(self, top: Superproject, trees: Trees, git: Git) -> None:
        self._top = top
        self._trees = trees
        self._git = git
        self._settings = _bound(trees.settings, top.address)

    def update(self) -> None:
        """Check out all submodules, theirs too.

        Raises:
            UserError, Retryable, Fatal: one cannot be had; the message names it.
            Cancelled: somebody asked to stop.
        """
        self._update(self._top)

    def move(self, path: str, commit: str) -> None:
        """Bring the submodule ``path`` to ``commit``, as the task's uncommitted changes say; empty removes nothing.

        The superproject's index is left as it is, so that ``git status`` shows what its author saw.

        Raises:
            UserError, Retryable, Fatal: it cannot be had.
        """
        submodule = next((one for one in self._listed(self._top) if one.path == path), None)
        if commit and submodule is not None:
            self._put(self._top, submodule, commit)

    def _say(self, text: str) -> None:
        if self._git.console is not None:
            self._git.console.say(text)

    def _update(self, project: Superproject) -> None:
        if project.depth > _DEEPEST:
            raise UserError(
                f"submodules are nested more than {_DEEPEST} deep in {project.address.url}",
                remedy="Do two repositories have each other as submodules?",
                code="bad-submodule",
            )
        listed = list(self._listed(project))
        commits = self._recorded(project, [one.path for one in listed])
        for submodule in listed:
            if submodule.path in commits:
                self._put(project, submodule, commits[submodule.path])

    def _listed(self, project: Superproject) -> Iterator[_Submodule]:
        """What ``.gitmodules`` names; entries that lack something, or should not be updated, are left out."""
        file = project.root / ".gitmodules"
        if file.is_symlink() or not file.is_file():
            return
        found = self._git.quiet("config", "--file", str(file), "--null", "--list", cwd=project.root)
        sections: dict[str, dict[str, str]] = {}
        for entry in found.output.split("\0"):
            key, _, value = entry.partition("\n")
            match = _KEY.fullmatch(key)
            if match:
                sections.setdefault(match["name"], {})[match["key"]] = value
        for name, values in sections.items():
            if values.get("path") and values.get("url") and values.get("update") != "none":
                yield _Submodule(name, values["path"].rstrip("/"), values["url"])

    def _recorded(self, project: Superproject, paths: list[str]) -> dict[str, str]:
        """Commits by path, as the superproject's index has them."""
        if not paths:
            return {}
        found = self._git.quiet("--literal-pathspecs", "ls-files", "--stage", "-z", "--", *paths, cwd=project.root)
        entries = (entry.partition("\t") for entry in found.output.split("\0"))
        return {path: about.split()[1] for about, _, path in entries if about.startswith("160000 ")}

    def _put(self, project: Superproject, submodule: _Submodule, commit: str) -> None:
        root, git_dir = _places(project, submodule)
        shown = root.relative_to(self._top.root)
        _clear(root, git_dir)
        try:
            address, login = parse_address(
                resolve(submodule.url, project.address), allow_local=self._settings.allow_local
            )
            address = rewrite(address, self._settings)
            own = grants_for(address, login, SourceSettings(environ={})) if login.user else ()
            with lend(own, self._git, self._trees.folder) as git:
                wanted = Wanted(address, Revision("commit", commit))
                self._trees.put(wanted, root, git.for_transfer(project.root), git_dir=git_dir)
        except AgentError as error:
            raise type(error)(f'submodule "{shown}": {error.message}', remedy=error.remedy, code=error.code) from error
        self._say(f'submodule "{shown}" is {address.url} at {commit}')
        _register(project, submodule, address)
        if (root / ".gitmodules").is_file():
            self._update(Superproject(root, git_dir, address, project.depth + 1))


def resolve(url: str, base: Address) -> str:
    """A submodule's address as ``.gitmodules`` writes it, seen from its superproject's."""
    if not url.startswith(("./", "../")):
        return url
    place = base.url.rstrip("/")
    while True:
        if url.startswith("./"):
            url = url[2:]
        elif url.startswith("../"):
            url = url[3:]
            head, slash, _ = place.rpartition("/")
            if not slash:
                head, colon, _ = place.rpartition(":")
                return f"{head}{colon}{url}"
            place = head
        else:
            return f"{place}/{url}"


def _bound(settings: SourceSettings, address: Address) -> SourceSettings:
    """Settings for submodules: what names no host means that of the task's repository, and no other."""
    credentials = tuple(
        credential
        if credential.host
        else attrs.evolve(credential, host=address.host, port=address.port if address.is_web else None)
        for credential in settings.credentials
        if credential.host or address.host
    )
    return attrs.evolve(
        settings, credentials=credentials, force_ssh_host=settings.force_ssh_host or address.host or "-"
    )


def _places(project: Superproject, submodule: _Submodule) -> tuple[Path, Path]:
    """Tree and repository of a submodule.

    Raises:
        UserError: code ``bad-submodule``; name or path lead elsewhere.
    """
    for what, text in (("name", submodule.name), ("path", submodule.path)):
        parts = text.split("/")
        if _CONTROL.search(text) or text.startswith(("/", "-")) or {"", ".", ".."} & set(parts):
            raise _refused(submodule, f"its {what} leads elsewhere")
        if any(part.casefold() == ".git" for part in parts):
            raise _refused(submodule, f"its {what} goes into .git")
    root = project.root / submodule.path
    inside(root.parent, project.root, f'submodule "{submodule.path}"')
    if root.is_symlink():
        raise _refused(submodule, "a symbolic link stands in its place")
    modules = project.git_dir / "modules"
    git_dir = modules / submodule.name
    above = [place for place in git_dir.parents if place.is_relative_to(modules) and place != modules]
    if any((place / "HEAD").exists() for place in above):
        raise _refused(submodule, "its repository would be inside that of another one")
    return root, git_dir


def _refused(submodule: _Submodule, why: str) -> UserError:
    visible = "".join(letter if letter.isprintable() else "?" for letter in submodule.path)
    return UserError(
        f'submodule "{visible}" is refused: {why}',
        remedy="Correct .gitmodules of the repository",
        code="bad-submodule",
    )


def _clear(root: Path, git_dir: Path) -> None:
    """Make room: an earlier commit of the same submodule, or the empty folder that git makes."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.rmtree(git_dir, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)


def _register(project: Superproject, submodule: _Submodule, address: Address) -> None:
    """Tell the superproject's repository, as ``git submodule init`` would."""
    name = submodule.name.replace("\\", "\\\\").replace('"', '\\"')
    url = address.url.replace("\\", "\\\\").replace('"', '\\"')
    section = f'[submodule "{name}"]\n\tactive = true\n\turl = "{url}"\n'
    config = project.git_dir / "config"
    if section not in config.read_text():
        with os.fdopen(os.open(config, os.O_WRONLY | os.O_APPEND), "a") as file:
            file.write(section)
