"""The real pip, on request or as the last resort: virtualenv makes the environment, pip installs into it."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

from clearml_agent_clone.environment.engine_choice import parse_flags
from clearml_agent_clone.environment.engines import EngineUnavailable, Work
from clearml_agent_clone.environment.engines.running import Command, attempt, tell_failure
from clearml_agent_clone.environment.engines.stages import install_stages
from clearml_agent_clone.environment.engines.uv import UvEngine
from clearml_agent_clone.environment.failures import Failure
from clearml_agent_clone.environment.model import Indexes, Stage
from clearml_agent_clone.util.files import private_dir, write_atomic
from clearml_agent_clone.util.process import run

_HIDDEN = re.compile(r"(Could not fetch URL .*|.*none of the wheel's tags .*|.*too many 5\d\d error.*)")


@attrs.frozen
class PipEngine:
    """``virtualenv``, else ``python -m venv``; then ``pip install``. ``uv`` puts a pinned pip in, where there is one."""

    uv: str = ""
    name: str = "pip"

    def create(self, work: Work) -> None:
        site = ["--system-site-packages"] if work.settings.system_site_packages else []
        python = str(work.interpreter.path)
        quiet = ["--no-download", "--no-periodic-update", "--quiet"]
        ways = [
            [sys.executable, "-m", "virtualenv", *quiet, "--python", python, *site],
            [python, "-m", "venv", *site],
        ]
        last = ""
        for argv in ways:
            done = run([*argv, "--", str(work.folder)], env=work.variables({}), cancel=work.cancel)
            if done.ok:
                return
            last = done.last_line
        raise EngineUnavailable(f"neither virtualenv nor venv can make an environment: {last}")

    def install(self, work: Work, python: Path) -> None:
        specs = chosen(work.plan.pip, work.interpreter.version)
        if specs:
            self._pin(specs, work, python)
        legacy = self._legacy(work)
        failure = install_stages(work, lambda stage: self._stage(stage, work, python, legacy))
        if failure is not None:
            raise failure.error()

    def _stage(self, stage: Stage, work: Work, python: Path, legacy: Sequence[str]) -> Failure | None:
        plan = work.plan
        file = work.scratch / "requirements.txt"
        places = plan.pip_indexes
        if plan.torch is not None and plan.torch.for_pip:
            places = attrs.evolve(places, extra=(plan.torch.for_pip, *places.extra))
        content = [*option_lines(places), *stage.lines]
        write_atomic(file, "".join(f"{line}\n" for line in content), durable=False)
        argv = ["-r", str(file), *legacy]
        if plan.constraints:
            constraints = work.scratch / "constraints.txt"
            write_atomic(constraints, "".join(f"{line}\n" for line in plan.constraints), durable=False)
            argv += ["-c", str(constraints)]
        argv += [flag for flag in plan.engine_flags if flag not in argv]
        argv += parse_flags(work.settings.extra_pip_install_flags).words
        if work.settings.force_upgrade:
            argv.append("--upgrade")
        return self._attempt(argv, work, python)

    def _attempt(self, argv: Sequence[str], work: Work, python: Path) -> Failure | None:
        log = work.scratch / "pip.log"
        indexes = work.plan.pip_indexes
        told = {"PIP_CERT": indexes.certificate, "PIP_PROXY": indexes.proxy, "PIP_DEFAULT_TIMEOUT": indexes.timeout}
        # Its temporary files go with the environment that is not finished, whatever ends it.
        told["TMPDIR"] = str(private_dir(work.scratch / "tmp"))
        quiet = ["--disable-pip-version-check", "--no-input", "--log", str(log)]
        command = Command(
            [str(python), "-m", "pip", *quiet, "install", "--progress-bar=off", *argv],
            work.variables({name: value for name, value in told.items() if value}),
            work.scratch,
            more=lambda: _hidden(log),
        )
        log.unlink(missing_ok=True)
        return attempt(command, work)

    def _pin(self, specs: tuple[str, ...], work: Work, python: Path) -> None:
        """Put the pip that is asked for into the environment; by uv, which takes a tenth of the time."""
        work.console.say(f"Installing {', '.join(specs)}, to install the packages with")
        failure: Failure | None = None
        if self.uv:
            failure = UvEngine(self.uv).install_pip(specs, work, python)
        else:
            file = work.scratch / "pip.txt"
            write_atomic(file, "".join(f"{line}\n" for line in option_lines(work.plan.pip_indexes)), durable=False)
            failure = self._attempt(["--upgrade", "-r", str(file), "--", *specs], work, python)
        if failure is not None:
            tell_failure(failure, specs, work)
            raise attrs.evolve(failure, message=f"the pip that is asked for cannot be had: {failure.message}").error()

    def _legacy(self, work: Work) -> list[str]:
        """The flag for the old resolver, where the pip that is there is one that is to use it and knows it."""
        sites = [*work.folder.glob("lib/python*/site-packages"), *(Path(site) for site in work.interpreter.packages)]
        version = next((name[1] for site in sites if (name := _pip_in(site))), "")
        if version and any(matches(version, spec) for spec in work.settings.installing.pip_legacy_resolver):
            return ["--use-deprecated=legacy-resolver"] if matches(version, ">=20.3") else []
        return []


def _pip_in(site: Path) -> re.Match[str] | None:
    return next((match for entry in site.glob("pip-*-info") if (match := re.match(r"pip-([^-]+)\.", entry.name))), None)


def matches(version: str, spec: str) -> bool:
    """Whether ``version`` is one of those that the specifier ``spec`` names; not when it cannot be understood."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - slow to import, and rare

    try:
        return SpecifierSet(spec).contains(version, prereleases=True)
    except InvalidSpecifier:
        return False


def chosen(specs: Sequence[str], python: str) -> tuple[str, ...]:
    """Those of ``specs`` whose marker holds for Python ``python``, without their markers."""
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - slow to import, and rare

    found = []
    for spec in specs:
        try:
            requirement = Requirement(spec)
        except InvalidRequirement:
            found.append(spec)  # the engine will say what is wrong with it
            continue
        minor = ".".join(python.split(".")[:2])
        if requirement.marker is None or requirement.marker.evaluate(
            {"python_version": minor, "python_full_version": python}
        ):
            found.append(f"pip{requirement.specifier}")
    return tuple(dict.fromkeys(found))


def _hidden(log: Path) -> str:
    """What pip writes into its log alone, although it is why it failed."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(dict.fromkeys(match[1] for line in text.splitlines() if (match := _HIDDEN.search(line))))


def option_lines(indexes: Indexes) -> list[str]:
    """``indexes`` as lines of a requirement file, which may carry passwords where arguments may not."""
    lines = [f"--index-url {indexes.main}"] if indexes.main else []
    lines += [f"--extra-index-url {url}" for url in indexes.extra]
    lines += [f"--find-links {place}" for place in indexes.find_links]
    lines += [f"--trusted-host {host}" for host in indexes.trusted]
    return [*lines, "--no-index"] if indexes.none else lines
