"""Decide about a task's environment: packages, interpreter, engine, and whether it can be kept."""

from __future__ import annotations

import attrs

from clearml_agent_clone.environment.engine_choice import choose_engine, parse_flags
from clearml_agent_clone.environment.indexes import from_pip, with_options
from clearml_agent_clone.environment.interpreter import SHELLS, Choice, choose_interpreter, existing_python
from clearml_agent_clone.environment.keys import environment_key
from clearml_agent_clone.environment.lines import Line
from clearml_agent_clone.environment.model import Declined, EnvironmentPlan, EnvironmentRequest, Indexes, Mode
from clearml_agent_clone.environment.order import additions, stages, unique
from clearml_agent_clone.environment.report import kept_options
from clearml_agent_clone.environment.requirements import Requirement, rewrite
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.environment.sources import Source, choose_source
from clearml_agent_clone.environment.torch import choose_torch, with_index


def plan_environment(
    request: EnvironmentRequest, settings: EnvironmentSettings, chosen: Choice | None = None
) -> EnvironmentPlan:
    """What ``build_environment`` will do for ``request``. Reads files and looks for interpreters, changes nothing.

    Args:
        request: the task.
        settings: the configuration.
        chosen: the interpreter, where it is not one of this machine.

    Raises:
        UserError: code ``python-missing``; the interpreter that the task asks for is not on this machine.
    """
    shell = request.binary.strip().rsplit("/", 1)[-1] in SHELLS
    needless = not (request.requirements.pip or "").strip() and not (request.has_repository or request.repository_root)
    if shell and (settings.skip or needless):
        return EnvironmentPlan(Mode.NONE, settings, reason="a shell script without packages")
    if settings.skip:
        return EnvironmentPlan(Mode.OWN, settings, reason="CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL is set")
    unused = f"{settings.manager} is not used: packages go into an interpreter that is there"
    declined = Declined(unused if settings.install_into and settings.manager != "pip" else "")
    if not settings.install_into:
        special = _special(request, settings)
        if isinstance(special, EnvironmentPlan):
            return special
        declined = special
    source = choose_source(request, settings)
    plan = plan_lines(source, request, settings)
    if chosen is not None:
        choice = chosen
    elif settings.install_into:
        choice = existing_python(request, settings)
        reason = "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL is set"
        plan = attrs.evolve(plan, mode=Mode.EXISTING, reason=reason, key=None)
    else:
        choice = choose_interpreter(request, settings, keep_virtual=False)
    plan = attrs.evolve(
        plan,
        interpreter=choice.interpreter,
        install_python=choice.install,
        notes=(*choice.notes, *([declined.note] if declined.note else []), *plan.notes),
    )
    if plan.mode is Mode.STORED and choice.interpreter is not None and not source.waits:
        plan = attrs.evolve(plan, key=environment_key(plan, choice.interpreter, settings))
    return plan


def _special(request: EnvironmentRequest, settings: EnvironmentSettings) -> EnvironmentPlan | Declined:
    """The plan of a package manager that reads more than requirement lines."""
    if settings.manager in {"poetry", "uv"}:
        from clearml_agent_clone.environment.projects import plan_project  # noqa: PLC0415 - by configuration only

        return plan_project(request, settings)
    if settings.manager == "conda":
        from clearml_agent_clone.environment.conda import plan_conda  # noqa: PLC0415 - by configuration only

        return plan_conda(request, settings)
    return Declined()


def plan_lines(source: Source, request: EnvironmentRequest, settings: EnvironmentSettings) -> EnvironmentPlan:
    """The plan for the requirement lines of ``source``, without an interpreter and without a key."""
    requirements, notes = _rewritten(source.listing.packages, request, settings)
    constraints, more = _rewritten(source.listing.constraints, request, settings)
    requirements, dropped = unique(requirements)
    added, why_added = additions(requirements, request.extra)
    hashed = any(requirement.hashed for requirement in requirements)
    requirements += added
    notes += (*dropped, *why_added)
    pip, told = from_pip(settings.environ)
    configured = parse_flags(settings.extra_pip_install_flags)
    said = (*source.listing.options, *configured.places)
    options = with_options(pip, settings.extra_index_url, said, settings.environ)
    beside = settings.system_site_packages and not settings.install_into
    choice = choose_engine(settings.installing, configured, requirements, sees_system=beside)
    notes += choice.notes
    torch = choose_torch(requirements, options.indexes, settings.torch, choice.name)
    requirements = list(torch.requirements)
    notes += torch.notes
    indexes, flags = (
        with_index(options.indexes, torch.torch),
        (*options.flags, *_hashes(hashed=hashed, added=bool(added))),
    )
    told_by_us = with_options(Indexes(), settings.extra_index_url, said, settings.environ, known=pip).indexes
    told_by_us = with_index(told_by_us, torch.torch)
    if choice.name == "uv" and requirements and pip != Indexes():
        notes.append(f"indexes and certificates as pip has them, from {', '.join(told) or 'the variables of uv'}")
    # What is checked by hashes has to be seen as a whole.
    steps = () if hashed else stages(requirements, settings.order)
    notes += [f"{stage.reason}: {', '.join(stage.lines)}" for stage in steps if stage.reason]
    mode, why = _mode(requirements, indexes, settings)
    if not requirements and not source.open:
        indexes, told_by_us, flags = Indexes(), Indexes(), ()  # nothing is looked up anywhere
    return EnvironmentPlan(
        mode,
        settings,
        reason=why,
        source=source.text,
        lines=tuple(requirement.text for requirement in requirements),
        stages=steps,
        constraints=tuple(requirement.text for requirement in constraints),
        engine=choice.name,
        engine_flags=tuple(dict.fromkeys(flags)),
        engine_reason=choice.reason,
        pip=choice.pip,
        torch=torch.torch,
        indexes=indexes,
        pip_indexes=told_by_us,
        notes=(*source.listing.notes, *notes, *more, *options.notes),
        options=kept_options(source.listing.options, request.repository_root),
        named=tuple(sorted({requirement.name for requirement in requirements if requirement.name})),
        pins=tuple(requirement.text for requirement in requirements if requirement.pin),
        root=request.repository_root,
        task_id=request.task_id,
    )


def _hashes(*, hashed: bool, added: bool) -> tuple[str, ...]:
    """One hash asks for all, as in pip; not where we add lines of our own, which have none."""
    return ("--require-hashes",) if hashed and not added else ()


def _rewritten(
    lines: tuple[Line, ...], request: EnvironmentRequest, settings: EnvironmentSettings
) -> tuple[list[Requirement], list[str]]:
    requirements, notes = [], []
    for line in lines:
        requirement, note = rewrite(line, request.repository_root, settings.environ)
        if requirement is not None:
            requirements.append(requirement)
        if note:
            notes.append(note)
    return requirements, notes


def _mode(requirements: list[Requirement], indexes: Indexes, settings: EnvironmentSettings) -> tuple[Mode, str]:
    if settings.store_dir is None:
        return Mode.PRIVATE, "agent.venvs_cache.path is empty"
    loose = next((requirement for requirement in requirements if not requirement.fixed), None)
    if loose is not None:
        return Mode.PRIVATE, f'what "{loose.text}" contains may change'
    far = next((file for file in indexes.constraints if "://" in file), "")
    if requirements and far:
        return Mode.PRIVATE, f'what "{far}" contains may change'
    return Mode.STORED, ""
