"""uv or the real pip: what decides, and how the flags of one are called by the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from clearml_agent_clone.environment.install_settings import InstallSettings
from clearml_agent_clone.environment.lines import Line
from clearml_agent_clone.environment.requirements import Requirement

# What pip's flags are called by uv; empty for those that mean nothing to it and change nothing.
_UV_FLAGS = {
    "--pre": "--prerelease=allow",
    "--no-deps": "--no-deps",
    "--upgrade": "--upgrade",
    "-U": "--upgrade",
    "--force-reinstall": "--reinstall",
    "--no-build-isolation": "--no-build-isolation",
    "--require-hashes": "--require-hashes",
    "--break-system-packages": "--break-system-packages",
    "--no-cache-dir": "--no-cache",
    "--compile": "--compile-bytecode",
    "--no-compile": "",
    "--prefer-binary": "",
    "--no-input": "",
    "--no-warn-script-location": "",
    "--no-warn-conflicts": "",
    "--disable-pip-version-check": "",
    "--no-python-version-warning": "",
    "--root-user-action": "",
    "--progress-bar": "",
    "--quiet": "",
    "-q": "",
    "--verbose": "",
    "-v": "",
    "--use-deprecated": "",
    "--use-pep517": "",
    "--no-clean": "",
    "--no-color": "",
    "--exists-action": "",
}
_VALUED = frozenset(
    {
        *("--no-binary", "--only-binary", "--root-user-action", "--progress-bar", "--use-deprecated", "--use-feature"),
        *("--exists-action", "--upgrade-strategy", "--retries", "--global-option", "--config-settings", "--platform"),
        *("--python-version", "--implementation", "--abi", "--target", "-t", "--root", "--prefix", "--src", "--log"),
        *(
            "--client-cert",
            "--cache-dir",
            "--report",
            "--constraint",
            "-c",
            "--build-constraint",
            "--requirement",
            "-r",
        ),
    }
)
# Those that say where packages come from. They may carry passwords and go to the engines as the lines of files do.
_PLACES = {
    "-i": "--index-url",
    "--pypi-url": "--index-url",
    "-f": "--find-links",
    **{name: name for name in ("--index-url", "--extra-index-url", "--find-links", "--no-index", "--trusted-host")},
    **{name: name for name in ("--cert", "--proxy", "--timeout", "--default-timeout")},
}
_PLAIN_PLACES = frozenset({"--no-index"})
ORIGIN = "extra_pip_install_flags"


@attrs.frozen
class Flags:
    """Flags that a user configured for pip, taken apart.

    Args:
        places: options that say where packages come from, as lines of a requirement file say it.
        words: the others, one word each: ``--no-binary=numpy``.
    """

    places: tuple[Line, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def foreign(self) -> str:
        """The first that uv has nothing like; empty when there is none."""
        return next((word for word in self.words if _for_uv(word) is None), "")

    @property
    def for_uv(self) -> tuple[str, ...]:
        return uv_flags(self.words)


def uv_flags(words: Iterable[str]) -> tuple[str, ...]:
    """The flags ``words`` of pip as uv calls them; what it has nothing like is left out."""
    return tuple(dict.fromkeys(flag for word in words for flag in _for_uv(word) or ()))


def parse_flags(flags: Sequence[str]) -> Flags:
    """``flags`` as somebody would type them after ``pip install``."""
    places: list[Line] = []
    words: list[str] = []
    left = list(flags)
    while left:
        word = left.pop(0)
        name, mark, value = word.partition("=")
        if (name in _VALUED or (name in _PLACES and name not in _PLAIN_PLACES)) and not mark and left:
            value = left.pop(0)
            word = f"{name}={value}" if name.startswith("--") else word
            if not name.startswith("--") and name not in _PLACES:
                words += [word, value]
                continue
        if name in _PLACES:
            places.append(Line(f"{_PLACES[name]} {value}".strip(), ORIGIN, option=_PLACES[name], value=value))
        else:
            words.append(word)
    return Flags(tuple(places), tuple(words))


@attrs.frozen
class EngineChoice:
    """Name of the engine, why, and the pip that goes into the environment (empty: the one that virtualenv carries)."""

    name: str
    reason: str = ""
    pip: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def choose_engine(
    settings: InstallSettings, flags: Flags, requirements: Sequence[Requirement], *, sees_system: bool = False
) -> EngineChoice:
    """What installs ``requirements``; ``sees_system``: into an environment that sees its interpreter's own packages."""
    if not requirements:
        return EngineChoice("uv")
    pinned = next((line.text for line in requirements if line.name == "pip" and line.text.strip() != "pip"), "")
    specs = (pinned,) if pinned else pip_specs(settings.pip_version)
    only = next((line.pip_only for line in requirements if line.pip_only), "")
    reason = _real_pip(settings, flags, pinned, sees_system=sees_system)
    reason = reason or (f"the list of packages has {only}, which uv does not know" if only else "")
    if reason:
        return EngineChoice("pip", reason, specs)
    if settings.engine == "auto":
        return EngineChoice("uv")
    told = f"{settings.asked_by} is uv"
    wanted = ", ".join(settings.pip_version)
    what = f"{pinned}: goes into the environment and" if pinned else f"agent.package_manager.pip_version ({wanted})"
    return EngineChoice("uv", told, notes=(f"{what} installs nothing, because {told}",) if specs else ())


def _real_pip(settings: InstallSettings, flags: Flags, pinned: str, *, sees_system: bool) -> str:
    """What asks for the real pip; empty when nothing does."""
    if settings.engine == "pip":
        return f"{settings.asked_by} asks for it"
    if flags.foreign:
        return f"extra_pip_install_flags has {flags.foreign.partition('=')[0]}, which uv does not know"
    if settings.engine == "uv":
        return ""
    if pinned:
        return f"the task asks for {pinned}"
    if settings.pip_version:
        return f"agent.package_manager.pip_version asks for {', '.join(settings.pip_version)}"
    # uv would install another copy of all that a container's image brings, such as its own build of torch
    return "system_site_packages is set, and uv does not see the packages that are there" if sees_system else ""


def pip_specs(versions: Sequence[str]) -> tuple[str, ...]:
    """``pip_version`` as requirement lines: ``<20.2 ; python_version < '3.10'`` → ``pip<20.2 ; …``."""
    given = [version.strip() for version in versions if version.strip()]
    return tuple(f"pip{'==' if version[0].isdigit() else ''}{version}" for version in given)


def _for_uv(word: str) -> tuple[str, ...] | None:
    name, _, value = word.partition("=")
    if name in {"--no-binary", "--only-binary"}:
        return tuple(f"{name}={part.strip()}" for part in value.split(","))
    if name not in _UV_FLAGS:
        return None
    return (_UV_FLAGS[name],) if _UV_FLAGS[name] else ()
