"""What will be fetched for a task, decided without touching disk or network."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath
from typing import Literal as OneOf

import attrs

from clearml_agent_clone.api.types import Script
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source.address import Address, Login, parse_address
from clearml_agent_clone.source.literal import SHELLS, Literal, is_literal, plan_literal, split_places
from clearml_agent_clone.source.settings import SourceSettings
from clearml_agent_clone.util.files import slug

_FULL_COMMIT = re.compile(r"[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?")
_SHORT_COMMIT = re.compile(r"[0-9a-fA-F]{4,64}")
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|^\.|\.$|/$|^/|\.lock(?:/|$)|^@$")
_HUNK = re.compile(r"^@@ ", re.MULTILINE)


@attrs.frozen
class Revision:
    """Which state of a repository is wanted.

    ``kind`` ``any`` is a recorded version that is no commit id: it may be a tag, a branch or a full ref name.
    """

    kind: OneOf["commit", "tag", "branch", "any", "head"]
    name: str = ""

    def __str__(self) -> str:
        """For people: ``commit 1a2b``, ``branch main``, ``default branch``."""
        names = {"head": "default branch", "any": f"revision {self.name}"}
        return names.get(self.kind, f"{self.kind} {self.name}")

    @property
    def is_exact(self) -> bool:
        """Whether it names one commit for ever, so that a mirror that has it need not ask the network."""
        return self.kind == "commit" and bool(_FULL_COMMIT.fullmatch(self.name))


@attrs.frozen
class SourcePlan:
    """A task's code as it will be fetched; a value without side effects.

    Args:
        settings: as given.
        address: the repository, rewritten for the transport that will be used; None when there is none.
        login: user and password that stood in the task's URL.
        revision: what to check out.
        branch, tag: as recorded with the task.
        diff: uncommitted changes as a unified diff, or empty.
        literal: a script that stands in the task, or None.
        working_dir: folder to start in, relative to the root; may be absolute when there is no code to fetch.
        entry_point: as it will be started, arguments included.
        shell: it is a shell that starts it.
        code_dir: a folder of this machine to use as it is (CLEARML_AGENT_FORCE_CODE_DIR).
    """

    settings: SourceSettings = attrs.field(repr=False)
    address: Address | None = None
    login: Login = attrs.Factory(Login)
    revision: Revision = Revision("head")
    branch: str = ""
    tag: str = ""
    diff: str = attrs.field(default="", repr=False)
    literal: Literal | None = None
    working_dir: str = ""
    entry_point: str = ""
    shell: bool = False
    code_dir: Path | None = None

    @property
    def name(self) -> str:
        """The folder that the checkout gets inside the run's own."""
        return slug(self.address.name) if self.address else "code"

    @property
    def mirror(self) -> Path | None:
        """The folder that keeps the repository's mirror, or None when there is no repository or no cache."""
        return mirror_folder(self.address, self.settings) if self.address is not None else None

    def describe(self) -> list[str]:
        """The plan in lines for people, without secrets."""
        lines = []
        if self.code_dir is not None:
            lines.append(f"code: {self.code_dir}, used as it is")
        if self.address is not None:
            lines += [f"repository: {self.address.url}", f"revision: {self.revision}"]
            lines += [f"branch: {self.branch}"] if self.branch and self.revision.kind != "branch" else []
            lines.append(f"mirror: {self.mirror or 'none, the cache is switched off'}")
        if self.diff:
            files = sum(line.startswith("diff ") for line in self.diff.splitlines())
            lines.append(f"uncommitted changes: {files} file(s), {len(_HUNK.findall(self.diff))} hunk(s)")
        if self.literal is not None:
            lines.append(f"script: {self.literal.name}, {len(self.literal.text.splitlines())} lines, from the task")
        lines.append(f"working folder: {self.working_dir or '.'}")
        lines.append(f"entry point: {self.entry_point or 'none'}")
        return lines


def mirror_folder(address: Address, settings: SourceSettings) -> Path | None:
    """The folder that keeps the mirror of ``address``; None without cache.

    One that holds less than all has a name of its own, so that the setting may change.
    """
    if not settings.vcs_cache_enabled:
        return None
    key = address.url + (f" {settings.clone_depth} {settings.clone_filter}" if settings.holds_less else "")
    digest = hashlib.md5(key.encode(errors="replace"), usedforsecurity=False).hexdigest()
    return settings.vcs_cache_path / "mirrors" / f"{slug(address.name)[:80]}.{digest}"


def plan_source(script: Script, settings: SourceSettings) -> SourcePlan:
    """Decide what to fetch for ``script``.

    Raises:
        UserError: ``no-script``, ``bad-repository``, ``bad-revision``, ``bad-working-dir``.
    """
    shell = PurePosixPath(script.binary.split(" ")[0]).name in SHELLS
    folder, entry, name = _places(script, settings)
    plan = SourcePlan(settings, working_dir=folder, entry_point=entry, shell=shell)
    if settings.force_code_dir:
        return attrs.evolve(plan, code_dir=Path(settings.force_code_dir))
    if script.is_empty:
        raise UserError(
            "the task has no script: repository, entry point and code are all empty",
            remedy="Create the task with the SDK (Task.init, Task.create) or fill in its execution section. If the SDK made"
            " it and enqueued it at once, it may have lost what it found: set sdk.development.vcs_repo_detect_async: false"
            " in the clearml.conf there and enqueue it anew",
            code="no-script",
        )
    changes = script.diff.removeprefix("\ufeff")
    literal = is_literal(changes)
    if literal:
        text, entry = plan_literal(changes, entry, name, shell=shell, keep_folders=bool(script.repository))
        plan = attrs.evolve(plan, literal=text, entry_point=entry)
    elif script.repository and any(line.startswith("diff ") for line in changes.splitlines()):
        plan = attrs.evolve(plan, diff=changes)
    if not entry and not literal:
        raise UserError(
            "the task has no entry point",
            remedy="Set script.entry_point to the file, or to -m and a module, that should be started",
            code="no-script",
        )
    return _with_repository(plan, script) if script.repository else attrs.evolve(plan, working_dir=_free(plan))


def _with_repository(plan: SourcePlan, script: Script) -> SourcePlan:
    settings = plan.settings
    address, login = parse_address(script.repository, allow_local=settings.allow_local)
    if plan.working_dir.startswith("/"):
        raise UserError(
            f'working folder "{plan.working_dir}" is absolute',
            remedy="Give it relative to the repository's root",
            code="outside-checkout",
        )
    branch = _ref("branch", script.branch.removeprefix("refs/heads/").removeprefix("origin/"))
    tag = _ref("tag", script.tag.removeprefix("refs/tags/"))
    return attrs.evolve(
        plan,
        address=rewrite(address, settings),
        login=login,
        branch="" if branch == "HEAD" else branch,
        tag=tag,
        revision=_revision(script.version_num, tag, branch),
    )


def rewrite(address: Address, settings: SourceSettings) -> Address:
    """``address`` for the transport that the settings ask for."""
    if address.mercurial:
        return address  # the settings speak of git
    host = settings.force_ssh_host.partition("://")[2] or settings.force_ssh_host
    wanted = not host or host.split("/")[0].split(":")[0].casefold() == address.host.casefold()
    if settings.force_ssh and wanted and address.is_web:
        return Address("ssh", address.host, settings.force_ssh_port or None, address.path, settings.force_ssh_user)
    if settings.force_ssh and wanted and address.scheme == "ssh":
        return _own_user_and_port(address, settings)
    credential = settings.credential_for(address) if address.scheme == "ssh" else None
    if settings.translate_ssh and not settings.force_ssh and credential is not None:
        # The port was that of the ssh server; only the credential can know another one of the web server.
        port = credential.port if credential.host else None
        return Address(settings.translate_scheme, address.host, port, "/" + address.path.lstrip("/"))
    return address


def _own_user_and_port(address: Address, settings: SourceSettings) -> Address:
    user = settings.force_ssh_user if settings.force_ssh_user != "git" else address.user
    port = settings.force_ssh_port or address.port
    if (user, port) == (address.user, address.port):
        return address
    path = "/" + address.path if address.short and not address.path.startswith("/") else address.path
    return Address("ssh", address.host, port, path, user, short=False)


def _revision(version: str, tag: str, branch: str) -> Revision:
    if version and _SHORT_COMMIT.fullmatch(version):
        return Revision("commit", version.lower())
    if version and version != "HEAD":
        return Revision("any", _ref("version_num", version.removeprefix("origin/")))
    if tag:
        return Revision("tag", tag)
    return Revision("branch", branch) if branch and branch != "HEAD" else Revision("head")


def _ref(field: str, value: str) -> str:
    if value.startswith("-") or _BAD_REF.search(value):
        raise UserError(
            f'{field} "{_visible(value)}" is no valid git name',
            remedy="Correct it in the task's execution section",
            code="bad-revision",
        )
    return value


def _places(script: Script, settings: SourceSettings) -> tuple[str, str, str]:
    folder, entry, name = split_places(script.working_dir, script.entry_point)
    if settings.force_exec_script:
        first, colon, second = settings.force_exec_script.rpartition(":")
        folder, entry, name = (first, second, "") if colon else ("", settings.force_exec_script, "")
    for field, value in (("working folder", folder), ("entry point", entry)):
        if "\x00" in value or "\n" in folder:
            raise UserError(
                f'{field} "{_visible(value)}" has control characters in it',
                remedy="Correct it in the task's execution section",
                code="bad-working-dir",
            )
    return "" if folder in {".", "./"} else folder, entry, name


def _free(plan: SourcePlan) -> str:
    """The working folder without a repository: a script of the task's own starts where it is written."""
    return "" if plan.literal is not None else plan.working_dir


def _visible(value: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in value)
