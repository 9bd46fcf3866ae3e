"""From a task to a launch plan: code, packages, command. Every step names itself, so that a failure can say where."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from clearml_agent_clone.api.types import Task
from clearml_agent_clone.config import Loaded
from clearml_agent_clone.config.passwords import without_passwords
from clearml_agent_clone.config.secret_values import worth_masking
from clearml_agent_clone.environment import (
    EnvironmentPlan,
    EnvironmentRequest,
    EnvironmentResult,
    EnvironmentSettings,
    build_environment,
    plan_environment,
)
from clearml_agent_clone.environment.custom_build import BuildOrder, Built, run_build_script
from clearml_agent_clone.launch.command import Entry
from clearml_agent_clone.launch.plan import Devices, LaunchPlan, TaskIdentity, plan_launch
from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.runner.timing import Timing
from clearml_agent_clone.source import (
    SourcePlan,
    SourceResult,
    SourceSettings,
    check_entry_point,
    fetch_source,
    lend_to_installers,
    plan_source,
)
from clearml_agent_clone.util.process import Cancel, Console

if TYPE_CHECKING:
    from clearml_agent_clone.containers.engine import ImageFacts
    from clearml_agent_clone.runner.contained import Contained, MadeContainer


@attrs.frozen
class Prepared:
    """All that is needed to start the task, and what is to be written back about it. ``made`` is its container, if it
    runs in one; ``launch`` is what runs in there then.
    """

    source: SourceResult
    environment: EnvironmentResult
    launch: LaunchPlan
    made: MadeContainer | None = None


@attrs.define
class Preparation:
    """Prepares one task.

    Args:
        on_step: hears the name of what is being done, for the message when it fails.
        on_source: hears which code the task got.
        token: that of ``TaskIdentity``.
        as_sent: asks the server for the whole task.
        on_secrets: hears what the task's list of packages has that must not be shown.
        contained: makes the task's container; None when it runs without.
    """

    task: Task
    job: Job
    folder: RunFolder
    loaded: Loaded
    console: Console
    cancel: Cancel
    timing: Timing
    on_step: Callable[[str], None]
    on_source: Callable[[SourceResult], None]
    token: str = attrs.field(default="", repr=False)
    as_sent: Callable[[], Mapping[str, Any]] = dict
    on_secrets: Callable[[Collection[str]], None] = lambda _: None
    contained: Contained | None = None

    def run(self) -> Prepared:
        """Do all steps.

        Raises:
            AgentError: a step failed.
            Cancelled: ``cancel`` was set meanwhile.
        """
        image = None
        if self.contained is not None:
            self.on_step("image")
            image = self.contained.image()
        self.on_step("source")
        code = source_plan(self.task, self.loaded, by_hand=not self.job.owner_id)
        source = self._source(code)
        self.on_source(source)
        # requirements may be git repositories: their hosts get the credentials that the task's own code got
        with lend_to_installers(code, self.folder.path) as variables:
            if self.contained is not None and image is not None:
                return self._contain(self.contained, image, source, variables)
            built = self._build_script(source, variables)
            environment = built.as_environment() if built else self._environment(source, variables)
        self.on_step("start")
        return Prepared(source, environment, self._launch(source, environment, built))

    def _source(self, plan: SourcePlan) -> SourceResult:
        begin = time.monotonic()
        result = fetch_source(plan, self.folder.code, self.console, self.cancel)
        check_entry_point(result)
        self.timing.source = time.monotonic() - begin
        self.timing.source_reused = tuple(result.reused)
        return result

    def _build_script(self, source: SourceResult, variables: Mapping[str, str]) -> Built | None:
        """What ``agent.custom_build_script`` made; None where there is none, or it made nothing."""
        self.on_step("environment")
        script = self.loaded.settings.agent.custom_build_script
        if not script:
            return None
        begin = time.monotonic()
        task = self.task.script
        folder, environ = self.folder.path / "custom-build", {**os.environ, **variables}
        order = BuildOrder(script, self.as_sent(), task.entry_point, task.working_dir, source.root, folder, environ)
        built = run_build_script(order, self.console, self.cancel)
        self.timing.environment = time.monotonic() - begin
        return built

    def _environment(self, source: SourceResult, variables: Mapping[str, str]) -> EnvironmentResult:
        begin = time.monotonic()
        plan = environment_plan(self.task, self.loaded, source, variables, self.job.visible_devices)
        self.on_secrets([secret for secret in plan.secrets if worth_masking(secret)])
        for line in plan.describe():
            self.console.say(line)
        result = build_environment(plan, self.console, self.cancel)
        self.timing.environment = time.monotonic() - begin
        self.timing.environment_reused = result.reused
        return result

    def _contain(
        self, contained: Contained, image: ImageFacts, source: SourceResult, variables: Mapping[str, str]
    ) -> Prepared:
        """The rest, for a task in a container."""
        self.on_step("environment")
        begin = time.monotonic()
        request = environment_request(self.task, source)
        settings = environment_settings(self.loaded, variables, self.job.visible_devices)
        inside = contained.environment(image, request, settings)
        self.timing.environment = time.monotonic() - begin
        self.timing.environment_reused = inside.reused
        self.on_step("start")
        entry = Entry(self.task.script.binary, source.entry_point, source.working_dir)
        try:
            made = contained.make(image, source, inside, entry)
        except BaseException:  # whatever it is, there is nobody who needs the environment
            if inside.lease is not None:
                inside.lease.release()
            raise
        environment = EnvironmentResult(
            python=Path(inside.python) if inside.lease is not None else None,  # in the store, which has the same path
            reused=inside.reused,
            installed=inside.installed,
            variables=inside.variables,
            lease=inside.lease,
        )
        return Prepared(source, environment, LaunchPlan(made.order.argv, Path(made.order.cwd), {}), made)

    def _launch(self, source: SourceResult, environment: EnvironmentResult, built: Built | None) -> LaunchPlan:
        agent = self.loaded.settings.agent
        extra = dict(environment.variables)
        if agent.enable_task_env:
            extra.update(self.task.hyperparams.get("Environment", {}))
        job = self.job
        entry = Entry(self.task.script.binary, source.entry_point, source.working_dir)
        if built is not None:
            entry = _entry_of(built, entry)
        return plan_launch(
            entry,
            TaskIdentity(job.task_id, job.run_id, job.worker_id, self.folder.sdk_config, job.log_level, self.token),
            python=environment.python,
            bin_dir=environment.bin_dir,
            devices=Devices(job.visible_devices),
            inherited=without_passwords(os.environ),
            extra=extra,
            optimize=job.optimize,
            python_root=source.root if agent.git.force_root_python_path else None,
        )


def _entry_of(built: Built, entry: Entry) -> Entry:
    """What is started when a program of the user's has made the environment: it may say so, in whole or in part."""
    folder = built.working_dir or entry.working_dir
    return Entry(str(built.binary), built.entry_point or entry.entry_point, folder)


def source_plan(task: Task, loaded: Loaded, *, by_hand: bool) -> SourcePlan:
    """Which code the task means; nothing is fetched.

    ``by_hand``: somebody at this machine asked for just this task, who may name a folder of it as the repository.
    """
    git = loaded.settings.agent.git
    settings = SourceSettings.from_settings(git, os.environ, allow_local=by_hand or git.allow_local)
    return plan_source(task.script, settings)


def environment_plan(
    task: Task,
    loaded: Loaded,
    source: SourceResult | None,
    variables: Mapping[str, str] | None = None,
    visible: str | None = None,
) -> EnvironmentPlan:
    """Which packages the task means; nothing is installed. Without ``source`` the repository's files are not seen.

    ``variables`` are for the environment of the programs that install; ``visible`` are the GPUs that the task gets, as
    NVIDIA_VISIBLE_DEVICES says it: without any, packages are chosen for CPU.
    """
    settings = environment_settings(loaded, variables, visible)
    return plan_environment(environment_request(task, source), settings)


def environment_request(task: Task, source: SourceResult | None) -> EnvironmentRequest:
    """What the task says about its packages."""
    in_repository = source is not None and bool(source.repository)
    return EnvironmentRequest(
        requirements=task.script.requirements,
        binary=task.script.binary,
        repository_root=source.root if source is not None and in_repository else None,
        script_dir=source.working_dir if source is not None and in_repository else None,
        task_id=task.id,
        has_repository=bool(task.script.repository),
        extra=source.packages if source is not None else (),
        image=task.container.image,
    )


def environment_settings(
    loaded: Loaded, variables: Mapping[str, str] | None, visible: str | None
) -> EnvironmentSettings:
    """The settings for packages; see ``environment_plan``."""
    environ = dict(without_passwords(os.environ)) | ({} if visible is None else {"NVIDIA_VISIBLE_DEVICES": visible})
    return EnvironmentSettings.from_settings(loaded.settings, environ, variables)


def dry_run(task: Task, loaded: Loaded, say: Callable[[str], None], container: Sequence[str] = ()) -> None:
    """Print what would be done for ``task`` and do none of it. ``container``: what is to be said of its container.

    Raises:
        UserError: the task cannot be run as it is recorded.
    """
    say(f"Task {task.id} ({task.name or 'no name'}), status {task.status.value}")
    for line in source_plan(task, loaded, by_hand=True).describe():
        say(line)
    if container:
        for line in container:
            say(line)
        say("Packages are decided by the Python of the image, which is looked at when the task runs.")
        say(f"Command: {task.script.binary or 'python'} {task.script.entry_point or '(the recorded script)'}")
        return
    script = loaded.settings.agent.custom_build_script
    if script:
        say(
            f"agent.custom_build_script {script} is run first; if it answers, what follows about Python does not count."
        )
    for line in environment_plan(task, loaded, None).describe():
        say(line)
    if task.script.repository:
        say("Requirement files of the repository are read after its checkout and may change the packages.")
    say(f"Command: {task.script.binary or 'python'} {task.script.entry_point or '(the recorded script)'}")
