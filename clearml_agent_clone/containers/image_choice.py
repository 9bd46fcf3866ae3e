"""Which of an image's interpreters a task gets, and what of the image's packages it sees."""

from __future__ import annotations

import attrs

from clearml_agent_clone.containers.image_python import BARE, ImageFindings, ImagePython
from clearml_agent_clone.containers.image_venv import Sight
from clearml_agent_clone.environment.interpreter import wanted_python
from clearml_agent_clone.environment.model import EnvironmentRequest, Interpreter
from clearml_agent_clone.environment.settings import EnvironmentSettings

_OFF = frozenset({"0", "false", "no", "off"})
_VARIABLE = "CLEARML_AGENT_FORCE_SYSTEM_SITE_PACKAGES"


@attrs.frozen
class ImageChoice:
    """The interpreter, and what there is to say about it."""

    python: ImagePython
    notes: tuple[str, ...] = ()


def choose_python(
    findings: ImageFindings, request: EnvironmentRequest, settings: EnvironmentSettings, *, activated: bool
) -> ImageChoice | None:
    """The interpreter for ``request``; None when the image has none.

    Whoever chose the image chose its Python: where it has not the version that the task was recorded with, its own is
    used, and that is said. ``activated``: an environment that the image has activated counts.
    """
    wanted = wanted_python(request, ignore=settings.ignore_requested_python_version)
    there = [python for python in findings.pythons if activated or not _is_activated(python, findings)]
    if not there:
        return None
    if wanted.path is not None:
        for python in there:
            if wanted.path in {python.interpreter.path, python.interpreter.real_path}:
                return ImageChoice(python, wanted.notes)
    fitting = [python for python in there if _fits(python.interpreter.version, wanted.version)]
    if fitting:
        return ImageChoice(fitting[0], wanted.notes)
    python = there[0]
    note = f"the image has no Python {wanted.version}, {wanted.origin}: its Python {python.interpreter.version} is used"
    return ImageChoice(python, (*wanted.notes, note))


def sees_image(settings: EnvironmentSettings) -> bool:
    """Whether tasks in containers see the packages of their image: always, unless that is switched off."""
    return settings.environ.get(_VARIABLE, "").strip().lower() not in _OFF or settings.system_site_packages


def sight_of(python: ImagePython, *, seen: bool) -> Sight:
    """What an environment made with ``python`` sees of the image."""
    if not seen:
        return Sight()
    return Sight(folders=python.packages) if python.virtual else Sight(interpreters=True)


def as_interpreter(python: ImagePython, image_id: str, sight: Sight) -> Interpreter:
    """``python`` for the plan. Where packages of the image are seen, the image is part of what the environment is."""
    beside = " ".join((f"interpreters={sight.interpreters}", *sight.folders))
    if sight != Sight() and not python.is_bare:
        beside += f" {image_id}"
    return attrs.evolve(python.interpreter, beside=beside)


def listed_with(installed: tuple[str, ...], python: ImagePython, *, seen: bool) -> tuple[str, ...]:
    """``installed`` and the packages of the image that the task sees beside them, as ``pip freeze`` would list them."""
    from clearml_agent_clone.environment.requirements import normal  # noqa: PLC0415 - slow to import

    if not seen:
        return installed
    own = {normal(line.partition(" @ ")[0].partition("==")[0].strip()) for line in installed}
    more = {normal(name): f"{name}=={version}" for name, version in python.listed.items() if version}
    return (*installed, *(more[name] for name in sorted(more) if name not in own and name not in BARE))


def _is_activated(python: ImagePython, findings: ImageFindings) -> bool:
    folder = findings.activated.rstrip("/")
    return bool(folder) and python.virtual and python.path.startswith(f"{folder}/")


def _fits(version: str, wanted: str) -> bool:
    parts = wanted.split(".") if wanted else []
    return version.split(".")[: len(parts)] == parts
