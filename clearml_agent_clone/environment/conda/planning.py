"""Decide about a conda environment: which list, which channels, which Python, what installs it."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs

from clearml_agent_clone.environment.conda.lists import Packages, choose_packages
from clearml_agent_clone.environment.conda.prepared import plan_prepared
from clearml_agent_clone.environment.conda.programs import base_prefix, find_tool
from clearml_agent_clone.environment.conda.secrets import shown
from clearml_agent_clone.environment.conda.specs import Spec
from clearml_agent_clone.environment.conda.wish import Wish
from clearml_agent_clone.environment.interpreter import Wanted, wanted_python
from clearml_agent_clone.environment.keys import environment_key
from clearml_agent_clone.environment.model import EnvironmentPlan, EnvironmentRequest, Mode, Project
from clearml_agent_clone.environment.plan import plan_lines
from clearml_agent_clone.environment.probe import Probe
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.environment.sources import Source
from clearml_agent_clone.errors import UserError

ENGINE = "conda"
_CUDA_ONLY = frozenset({"cudatoolkit", "cuda-toolkit", "cudnn", "cupti"})


def plan(request: EnvironmentRequest, settings: EnvironmentSettings) -> EnvironmentPlan:
    """The plan for the task's conda packages.

    Raises:
        UserError: ``conda-missing``, ``packages-failed`` or ``python-missing``; it cannot be made on this machine.
    """
    prepared = plan_prepared(request, settings)
    if prepared is not None:
        return prepared
    wanted = _wanted(request, settings)
    found = choose_packages(request, settings, wanted.version)
    tool = find_tool(settings.environ)
    specs, notes = _fitted(found, wanted, settings)
    lines = plan_lines(Source(found.text, found.listing, waits=found.waits, open=bool(specs)), request, settings)
    wish = Wish(
        channels=_channels(found, settings),
        specs=tuple(specs),
        rigid=found.rigid,
        variables=dict(found.variables),
        pip=lines.engine,
        gpu=settings.conda.gpu,
    )
    places = shown(", ".join(wish.channels) or "nowhere, no channel is configured")
    made = attrs.evolve(
        lines,
        engine=ENGINE,
        engine_reason=tool.described,
        project=Project("conda", request.repository_root or Path(), found.files, text=wish.to_text(), places=places),
        brings_python=True,
        notes=(*found.notes, *notes, *lines.notes),
    )
    if settings.conda.base:
        return _into_base(made, settings)
    if made.mode is Mode.STORED and not found.waits:
        return attrs.evolve(made, key=environment_key(made, None, settings))
    return made


def _wanted(request: EnvironmentRequest, settings: EnvironmentSettings) -> Wanted:
    """The version of Python, always a concrete one, so that the same lists come to the same environment."""
    wanted = wanted_python(request, ignore=settings.ignore_requested_python_version)
    if "." in wanted.version:
        return wanted
    binary = settings.python_binary.rsplit("/", 1)[-1].removeprefix("python")
    for version, origin in (
        (binary, "agent.python_binary"),
        (settings.default_python, "agent.default_python"),
        ("{}.{}".format(*sys.version_info[:2]), "the agent's own"),
    ):
        if "." in version:
            return Wanted(version=version, origin=origin, notes=wanted.notes)
    raise AssertionError  # the last one has a dot


def _fitted(found: Packages, wanted: Wanted, settings: EnvironmentSettings) -> tuple[list[Spec], list[str]]:
    """The packages as they fit this machine, Python first, and what was changed."""
    specs = {spec.name: spec for spec in found.specs}
    notes = list(wanted.notes)
    python = specs.pop("python", None)
    if python is not None and (python.version or "[" in python.raw):
        if wanted.firm and f"{wanted.version}." not in f"{python.version.lstrip('=')}.":
            notes.append(f"{python.text}: the list of packages decides, not {wanted.origin}")
    else:
        python = Spec("python", f"{wanted.version}.*")
        notes.append(f"python {wanted.version}: {wanted.origin}")
    if not found.rigid and not settings.conda.has_cuda:
        unfit = [specs.pop(name) for name in sorted(_CUDA_ONLY & specs.keys())]
        notes += [f"{spec.text}: left out, there is no CUDA on this machine" for spec in unfit]
        if "tensorflow-gpu" in specs:
            specs["tensorflow"] = attrs.evolve(specs.pop("tensorflow-gpu"), name="tensorflow")
            notes.append("tensorflow-gpu: tensorflow is installed, there is no CUDA on this machine")
        if "pytorch" in specs and "cpuonly" not in specs and "pytorch" in settings.conda.channels:
            specs["cpuonly"] = Spec("cpuonly", optional=True)
            notes.append("cpuonly: added for pytorch, there is no CUDA on this machine")
    return [python, *(specs[name] for name in sorted(specs))], notes


def _channels(found: Packages, settings: EnvironmentSettings) -> tuple[str, ...]:
    """The channels of the list before those of the configuration, as conda has it."""
    configured = () if found.own_channels and found.channels else settings.conda.channels
    return tuple(dict.fromkeys((*found.channels, *configured)))


def _into_base(made: EnvironmentPlan, settings: EnvironmentSettings) -> EnvironmentPlan:
    base = base_prefix(settings.environ)
    python = base / "bin" / "python" if base else None
    found = Probe(settings.state_dir / "interpreters.json", settings.environ).ask(python) if python else None
    if found is None:
        where = f"there is no Python in {base}" if base else "there is no conda on this machine"
        raise UserError(
            f"agent.package_manager.use_conda_base_env is set, and {where}",
            remedy="Install conda, or unset it: every task then gets an environment of its own",
            code="conda-missing",
        )
    return attrs.evolve(
        made,
        mode=Mode.EXISTING,
        interpreter=attrs.evolve(found, found="the base environment of conda"),
        brings_python=False,
        reason="agent.package_manager.use_conda_base_env is set",
        key=None,
    )
