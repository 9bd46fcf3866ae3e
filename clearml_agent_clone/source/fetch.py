"""Doing what a plan says: mirror, checkout, submodules, diff, script."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source.access import grants_for, lend
from clearml_agent_clone.source.address import Address
from clearml_agent_clone.source.entry import Start, check_start, find_working_dir
from clearml_agent_clone.source.git import Git, git_environ
from clearml_agent_clone.source.literal import is_too_large_notice, write_literal
from clearml_agent_clone.source.mirror import Found
from clearml_agent_clone.source.plan import SourcePlan
from clearml_agent_clone.source.result import SourceResult
from clearml_agent_clone.source.trees import Stopwatch, Trees, Wanted
from clearml_agent_clone.util.files import private_dir
from clearml_agent_clone.util.process import Cancel, Console

if TYPE_CHECKING:
    from clearml_agent_clone.source.submodules import Submodules


def fetch_source(plan: SourcePlan, folder: Path, console: Console, cancel: Cancel | None = None) -> SourceResult:
    """Put the code of ``plan`` into ``folder``.

    Args:
        plan: from ``plan_source``.
        folder: the run's own, empty; the checkout is made inside it.
        console: gets what happens.
        cancel: when set, git is ended and ``Cancelled`` raised.

    Raises:
        UserError, Retryable, Fatal: the code cannot be had as it is recorded; the message says why.
        Cancelled: somebody asked to stop.
    """
    result = _fetched(plan, folder, console, cancel)
    for line in result.describe():
        console.say(line)
    needed = plan.settings.force_task_init or ".ipynb" in result.entry_point
    if not needed:
        return result
    from clearml_agent_clone.source.prepare import prepare_entry  # noqa: PLC0415 - rare

    entry = prepare_entry(_start(result), console, task_init=plan.settings.force_task_init)
    packages = ("clearml",) if plan.settings.force_task_init and not plan.shell else ()
    return attrs.evolve(result, entry_point=entry, packages=packages)


def _fetched(plan: SourcePlan, folder: Path, console: Console, cancel: Cancel | None) -> SourceResult:
    if plan.code_dir is not None:
        return _use_as_it_is(plan, plan.code_dir, console)
    private_dir(folder)
    if plan.address is not None:
        if plan.address.mercurial or plan.address.scheme == "file":
            from clearml_agent_clone.source.mercurial import is_mercurial  # noqa: PLC0415 - hardly any is

            if is_mercurial(plan.address):
                return _from_mercurial(plan, plan.address, folder, console, cancel)
        return _Repository(plan, plan.address, folder, console, cancel).fetch()
    root = private_dir(folder / plan.name)
    if plan.literal is None:
        console.say("the task has neither repository nor script: its entry point must be on this machine")
        working_dir = _expanded(plan.working_dir, plan, root)
        return SourceResult(root, working_dir, _expanded_entry(plan), shell=plan.shell, confined=False)
    write_literal(plan.literal, root, root)
    console.say(f"script {plan.literal.name} is written from the task")
    return SourceResult(root, root, plan.entry_point, dirty=True, shell=plan.shell)


def check_entry_point(result: SourceResult) -> None:
    """Refuse an entry point that is not there; modules and commands are left to their interpreter.

    Raises:
        UserError: ``entry-point-missing`` with near names, or ``outside-checkout``.
    """
    check_start(_start(result))


def _start(result: SourceResult) -> Start:
    return Start(result.root, result.working_dir, result.entry_point, result.shell, result.confined)


class _Repository:
    """One fetch of a plan with a repository."""

    def __init__(
        self, plan: SourcePlan, address: Address, folder: Path, console: Console, cancel: Cancel | None
    ) -> None:
        self._plan = plan
        self._address = address
        self._folder = folder
        self._console = console
        self._root = folder / plan.name
        self._watch = Stopwatch()
        self._trees = Trees(plan.settings, folder, self._watch)
        self._had_mirror = False
        environ = git_environ(plan.settings.environ, allow_local=plan.settings.allow_local)
        self._git = Git(environ, console, cancel)

    def fetch(self) -> SourceResult:
        plan = self._plan
        grants = grants_for(self._address, plan.login, plan.settings)
        with lend(grants, self._git, self._folder, plan.settings) as git:
            found = self._checkout(git)
            if (self._root / ".gitmodules").is_file():
                with self._watch.step("submodules"):
                    self._submodules(git).update()
            dirty = self._apply(found, git)
        working_dir = _working_dir(plan, self._root)
        if plan.literal is not None:
            dirty = _write_literal(plan, self._root, working_dir, self._console)
        return SourceResult(
            self._root,
            working_dir,
            plan.entry_point,
            vcs="git",
            repository=self._address.url,
            commit=found.commit,
            branch=found.branch or plan.branch,
            tag=plan.tag,
            dirty=dirty,
            reused=self._reused(found),
            seconds=dict(self._watch.seconds),
            shell=plan.shell,
        )

    def _checkout(self, git: Git) -> Found:
        plan = self._plan
        refused = plan.settings.usable_fetch_args()[1]
        if refused:
            self._console.say(f"agent.git_fetch_args: {' '.join(refused)} cannot be used with a mirror and is left out")
        wanted = Wanted(self._address, plan.revision, plan.branch, plan.tag)
        found, self._had_mirror = self._trees.put(wanted, self._root, git)
        return found

    def _submodules(self, git: Git) -> Submodules:
        from clearml_agent_clone.source.submodules import Submodules, Superproject  # noqa: PLC0415 - few have any

        return Submodules(Superproject(self._root, self._root / ".git", self._address), self._trees, git)

    def _reused(self, found: Found) -> tuple[str, ...]:
        if not self._had_mirror or found.how == "clone":
            return ()
        return ("mirror", "commit") if found.how == "mirror" else ("mirror",)

    def _apply(self, found: Found, git: Git) -> bool:
        if not self._plan.diff:
            return False
        from clearml_agent_clone.source.diff import apply_diff  # noqa: PLC0415 - most tasks have none

        with self._watch.step("diff"):
            applied = apply_diff(self._plan.diff, self._root, git, self._base(found))
            for path, commit in applied.submodules:
                self._submodules(git).move(path, commit)
        hint = {"line-ends": ", with the line ends of the files", "three-way": ", by a three-way merge"}
        self._console.say(f"uncommitted changes of {applied.files} file(s) are applied{hint.get(applied.how, '')}")
        if applied.mistaken:
            self._console.say(
                f"WARNING: {', '.join(applied.mistaken[:5])} is not what the task's author had: were its uncommitted "
                "changes edited, or damaged on their way?"
            )
        return True

    def _base(self, found: Found) -> str:
        """Which commit the diff met, for the error."""
        recorded = self._plan.revision
        if recorded.kind == "commit" and found.commit.startswith(recorded.name):
            return f"the checkout is at the recorded commit {found.commit[:12]}"
        return f"the task records no commit and the checkout is at {found.commit[:12]} of the {recorded}"


def _from_mercurial(
    plan: SourcePlan, address: Address, folder: Path, console: Console, cancel: Cancel | None
) -> SourceResult:
    from clearml_agent_clone.source.mercurial import Mercurial  # noqa: PLC0415 - hardly any is

    watch, root = Stopwatch(), folder / plan.name
    mercurial = Mercurial(plan, address, folder, console, cancel)
    with watch.step("fetch"):
        found = mercurial.check_out(root)
    if plan.diff:
        with watch.step("diff"):
            mercurial.apply(root)
        console.say("uncommitted changes are applied")
    working_dir = _working_dir(plan, root)
    written = plan.literal is not None and _write_literal(plan, root, working_dir, console)
    reused = {"mirror": ("mirror", "commit"), "fetch": ("mirror",)}.get(found.how, ())
    return SourceResult(
        root,
        working_dir,
        plan.entry_point,
        vcs="hg",
        repository=address.url,
        commit=found.commit,
        branch=found.branch or plan.branch,
        tag=plan.tag,
        dirty=bool(plan.diff) or written,
        reused=reused,
        seconds=dict(watch.seconds),
        shell=plan.shell,
    )


def _working_dir(plan: SourcePlan, root: Path) -> Path:
    if plan.literal is not None and plan.working_dir:
        from clearml_agent_clone.source.confine import inside  # noqa: PLC0415 - rare

        path = inside(root / plan.working_dir, root, f'working folder "{plan.working_dir}"')
        path.mkdir(parents=True, exist_ok=True)
    return find_working_dir(root, plan.working_dir)


def _write_literal(plan: SourcePlan, root: Path, working_dir: Path, console: Console) -> bool:
    literal = plan.literal
    assert literal is not None
    if is_too_large_notice(literal.text):
        console.say("the task's uncommitted changes were too large to be recorded; it runs without them")
        return False
    written = write_literal(literal, working_dir, root)
    state = "is written from the task" if written else "is in the repository; the text in the task is not used"
    console.say(f"script {literal.name} {state}")
    return written


def _use_as_it_is(plan: SourcePlan, root: Path, console: Console) -> SourceResult:
    if not root.is_dir():
        raise UserError(
            f'CLEARML_AGENT_FORCE_CODE_DIR names "{root}", which is no folder',
            remedy="Correct or unset it",
            code="code-dir-missing",
        )
    console.say(f"using the code in {root} as it is")
    return SourceResult(root, find_working_dir(root, plan.working_dir), plan.entry_point, shell=plan.shell)


def _expanded(text: str, plan: SourcePlan, root: Path) -> Path:
    return root / _with_variables(text, plan.settings.environ)


def _expanded_entry(plan: SourcePlan) -> str:
    """The entry point, where its first word names a file of this machine by ``~`` or ``$NAME``."""
    first, blank, rest = plan.entry_point.partition(" ")
    return _with_variables(first, plan.settings.environ) + blank + rest


def _with_variables(text: str, environ: Mapping[str, str]) -> str:
    if not text.startswith(("~/", "$")):
        return text
    name, slash, rest = text.partition("/")
    value = environ.get("HOME" if name == "~" else name.strip("${}"), "")
    return os.path.normpath(value) + slash + rest if value.startswith("/") else text
