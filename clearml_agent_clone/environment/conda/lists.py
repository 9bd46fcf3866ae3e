"""Where a task's conda packages are written down, and what stands there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.environment.conda.specs import Spec, conda_name, from_pip, pip_name, read_spec
from clearml_agent_clone.environment.lines import Listing, expand
from clearml_agent_clone.environment.model import EnvironmentRequest
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.environment.sources import choose_source
from clearml_agent_clone.errors import UserError

_FILES = ("environment.yml", "environment.yaml")
_NOT_ASKED = frozenset({"pip", "virtualenv"})  # every environment has the one, and none needs the other
_CLEARML = "clearml"


@attrs.frozen
class Packages:
    """What conda and pip are to install.

    Args:
        text: where it comes from, for the console.
        specs: for conda.
        listing: for pip.
        channels: those that the list itself names.
        rigid: written by hand, see ``Wish``.
        own_channels: nothing but ``channels`` may be used.
        variables: for the user's process.
        files: those that were read.
        notes: what was changed, one line each.
        waits: it will be known only with the checkout.
    """

    text: str
    specs: tuple[Spec, ...] = ()
    listing: Listing = attrs.Factory(Listing)
    channels: tuple[str, ...] = ()
    rigid: bool = False
    own_channels: bool = False
    variables: Mapping[str, str] = attrs.Factory(dict)
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    waits: bool = False


def choose_packages(request: EnvironmentRequest, settings: EnvironmentSettings, python: str) -> Packages:
    """The list that counts, in this order: the recorded full environment, recorded conda lines, recorded pip lines,
    ``environment.yml`` of the repository, its ``requirements.txt``.

    Args:
        request: the task.
        settings: the configuration.
        python: the version that markers are asked about.

    Raises:
        UserError: code ``packages-failed``; an ``environment.yml`` is not one.
    """
    recorded = request.requirements
    notes: tuple[str, ...] = ()
    if not settings.force_repo_requirements_txt:
        first = settings.force_original_requirements
        if (recorded.conda_env_json or "").strip() and not first:
            full = _full(recorded.conda_env_json or "", request)
            if full is not None:
                return full
            notes = ("the recorded conda_env_json is no environment of conda: the recorded packages are used",)
        conda = recorded.org_conda if first and recorded.org_conda is not None else recorded.conda
        pip = recorded.org_pip if first and recorded.org_pip is not None else recorded.pip
        if (conda or "").strip():
            found = _recorded(conda or "", pip or "", request)
            return attrs.evolve(found, notes=(*notes, *found.notes))
        if (pip or "").strip():
            listing = expand(pip or "", "", request.script_dir, request.repository_root)
            text = f"{len(listing.packages)} pip lines recorded with the task"
            if conda is not None:  # the machine that recorded them had no conda packages
                return Packages(
                    text, listing=listing, notes=(*notes, "no conda packages were recorded: pip's business")
                )
            return attrs.evolve(_from_lines(text, listing, settings, python), waits=False)
    found = _files(request, settings, python)
    return attrs.evolve(found, notes=(*notes, *found.notes))


def _files(request: EnvironmentRequest, settings: EnvironmentSettings, python: str) -> Packages:
    root = request.repository_root
    if root is None and request.has_repository:
        return Packages("environment.yml or requirements.txt of the repository, if it has one", waits=True)
    folders = [folder for folder in (request.script_dir, root) if folder is not None]
    for file in (folder / name for folder in dict.fromkeys(folders) for name in _FILES):
        if file.is_file():
            return _by_hand(file, request)
    source = choose_source(attrs.evolve(request, requirements=attrs.evolve(request.requirements, pip=None)), settings)
    return _from_lines(source.text, source.listing, settings, python)


def _full(text: str, request: EnvironmentRequest) -> Packages | None:
    """``conda_env_json``: what ``conda env export --json`` printed."""
    try:
        data = json.loads(text)
    except ValueError:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("dependencies"), list):
        return None
    dependencies = data["dependencies"]
    specs, listing, notes = _dependencies(dependencies, "conda_env_json", request, loose=True)
    vcs = {_reference(line.text): line for line in expand(request.requirements.pip or "", "", None, None).packages}
    # ``conda env export`` writes a version where a repository was installed; the pip list knows where that was.
    packages = tuple(vcs.get(line.text.partition("==")[0].lower(), line) for line in listing.packages)
    specs = [spec for spec in specs if not spec.name.startswith("_")]  # these only select builds of others
    return Packages(
        f"the whole conda environment recorded with the task ({len(specs)} packages of conda, {len(packages)} of pip)",
        tuple(specs),
        attrs.evolve(listing, packages=packages),
        notes=notes,
    )


def _reference(line: str) -> str:
    name, mark, url = line.partition(" @ ")
    return name.strip().lower() if mark and url.startswith(("git+", "hg+", "svn+", "bzr+")) else "\n"


def _recorded(conda: str, pip: str, request: EnvironmentRequest) -> Packages:
    """Lines of ``conda list``, of the SDK, or of an agent; or a whole ``environment.yml`` that somebody pasted."""
    if "dependencies:" in conda:
        pasted = _parsed(conda, "the recorded conda packages", request)
        return attrs.evolve(pasted, text="an environment.yml recorded with the task")
    lines = [line.strip() for line in conda.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("#", "@"))]
    specs, listing, notes = _dependencies(lines, "conda", request, loose=True)
    by_name = {conda_name(spec.name): spec for spec in specs}
    others = []
    more = []
    rest = expand(pip, "", request.script_dir, request.repository_root)
    for line in rest.packages:
        name = pip_name(line.text)
        spec = by_name.get(name)
        if spec is None:
            others.append(line)
            continue
        by_name[name], note = _agreed(spec, line.text)
        more += [note] if note else []
    own = [spec for name, spec in by_name.items() if name not in _NOT_ASKED]
    return Packages(
        f"{len(own)} conda packages recorded with the task, and {len(others) + len(listing.packages)} of pip",
        tuple(own),
        attrs.evolve(rest, packages=(*listing.packages, *others)),
        channels=tuple(dict.fromkeys(spec.channel for spec in own if "://" in spec.channel)),
        notes=(*notes, *more),
    )


def _agreed(spec: Spec, line: str) -> tuple[Spec, str]:
    """``spec`` with the version that the pip list has, which is where people edit versions; and a note if it differs."""
    asked = from_pip(line, "3")
    if not isinstance(asked, Spec):
        return spec, ""
    spec = attrs.evolve(spec, pip=asked.pip)
    if not asked.version or asked.version == spec.version or spec.raw:
        return spec, ""
    return (
        attrs.evolve(spec, version=asked.version, build=""),
        f"{spec.text}: used as {asked.pip}, the task's pip list says so",
    )


def _dependencies(
    items: Iterable[object], origin: str, request: EnvironmentRequest, *, loose: bool
) -> tuple[list[Spec], Listing, tuple[str, ...]]:
    specs: dict[str, Spec] = {}
    listing, notes, pip = Listing(), [], []
    for item in items:
        if isinstance(item, Mapping):
            pip += [str(line) for line in item.get("pip") or ()]
            continue
        spec = read_spec(str(item), loose=loose)
        if spec is None:
            notes.append(f"{origin}: {item}: left out, not understood")
        elif not spec.name:
            pip.append(spec.pip)
        elif spec.name not in _NOT_ASKED:
            named = loose and spec.name == "torch" and not spec.raw
            notes += [f"{origin}: {item}: called pytorch in conda"] if named else []
            spec = attrs.evolve(spec, name="pytorch") if named else spec
            spec = spec if loose else attrs.evolve(spec, raw=str(item).strip())
            specs[spec.name] = spec
    folder = request.script_dir or request.repository_root
    listing = expand("\n".join(pip), f"{origin} (pip)", folder, request.repository_root)
    return list(specs.values()), listing, tuple(notes)


def _from_lines(text: str, listing: Listing, settings: EnvironmentSettings, python: str) -> Packages:
    """Requirement lines of pip of which conda takes what it can."""
    specs, rest, notes = [], [], []
    for line in listing.packages:
        found = "it is linked, not installed" if line.option else from_pip(line.text, python)
        if isinstance(found, Spec) and found.name.startswith(_CLEARML) and _CLEARML not in settings.conda.channels:
            found = "clearml is released there first"
        if isinstance(found, Spec):
            if found.name not in _NOT_ASKED:
                specs.append(found)
        elif found:
            rest.append(line)
            notes.append(f"{line.origin}: {line.text}: installed by pip, {found}")
        else:
            notes.append(f"{line.origin}: {line.text}: not for this Python")
    if listing.constraints or any(line.option == "--require-hashes" for line in listing.options):
        return Packages(text, listing=listing, notes=("installed by pip: conda knows no constraints and no hashes",))
    return Packages(text, tuple(specs), attrs.evolve(listing, packages=tuple(rest)), notes=tuple(notes))


def _by_hand(file: Path, request: EnvironmentRequest) -> Packages:
    root = request.repository_root
    name = str(file.relative_to(root)) if root is not None and file.is_relative_to(root) else file.name
    found = _parsed(file.read_bytes().decode("utf-8-sig", errors="replace"), name, request, file.parent)
    return attrs.evolve(found, text=f"{name} of the repository", files=(file,))


def _parsed(text: str, name: str, request: EnvironmentRequest, folder: Path | None = None) -> Packages:
    import yaml  # noqa: PLC0415 - tasks without an environment.yml do not wait for it

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise _unusable(f"{name}{where}: {getattr(error, 'problem', None) or 'no YAML'}") from error
    if not isinstance(data, dict) or not isinstance(data.get("dependencies") or [], list):
        raise _unusable(f'{name}: it has no list "dependencies"')
    here = attrs.evolve(request, script_dir=folder) if folder is not None else request
    specs, listing, notes = _dependencies(data.get("dependencies") or [], name, here, loose=False)
    channels = [str(channel) for channel in _sequence(data.get("channels"))]
    return Packages(
        name,
        tuple(specs),
        listing,
        tuple(channel for channel in channels if channel != "nodefaults"),
        rigid=True,
        own_channels="nodefaults" in channels,
        variables=_variables(data.get("variables")),
        notes=notes,
    )


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _variables(value: object) -> dict[str, str]:
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, Mapping) else {}


def _unusable(why: str) -> UserError:
    return UserError(
        why, remedy="Correct it, or record packages with the task, which count before it", code="packages-failed"
    )
