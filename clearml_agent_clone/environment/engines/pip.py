"""The real pip, on request or as the last resort: virtualenv makes the environment, pip installs into it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
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

_NOTHING = re.compile(r"satisfies the requirement ([A-Za-z0-9][\w.-]*)[^\n]*\(from versions: none\)")
_HIDDEN = re.compile(
    r"(Could not fetch URL .*|.*none of the wheel's tags .*|.*too many 5\d\d error.*|WARNING: Retrying .*)"
)
_PATIENCE = 60.0


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
            done = work.run([*argv, "--", str(work.folder)], env=work.variables({}))
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
        indexes = work.plan.pip_indexes
        told = {"PIP_CERT": indexes.certificate, "PIP_PROXY": indexes.proxy, "PIP_DEFAULT_TIMEOUT": indexes.timeout}
        # Its temporary files go with the environment that is not finished, whatever ends it.
        told["TMPDIR"] = str(private_dir(work.scratch / "tmp"))
        environment = work.variables({name: value for name, value in told.items() if value})
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        command = Command(
            [*pip, "install", "--progress-bar=off", *argv],
            environment,
            work.scratch,
            more=lambda said: self._hidden(said, pip, environment, work),
        )
        return attempt(command, work)

    def _hidden(self, said: str, pip: Sequence[str], environment: Mapping[str, str], work: Work) -> str:
        """Why pip found nothing: it tells that only when it is told to be talkative, and then it tells too much."""
        nothing = _NOTHING.search(said)
        if nothing is None:
            return ""
        file = work.scratch / "asked.txt"
        content = [*option_lines(work.plan.pip_indexes), nothing[1]]
        write_atomic(file, "".join(f"{line}\n" for line in content), durable=False)
        argv = [*pip, "download", "-vv", "--no-deps", "--dest", str(work.scratch / "asked"), "-r", str(file)]
        done = work.run(argv, cwd=work.scratch, env=environment, timeout=_PATIENCE)
        if done.ok:
            return "Connection reset by the index, or the like: it gives now what it did not give a moment ago"
        return "\n".join(
            dict.fromkeys(match[1] for line in done.output.splitlines() if (match := _HIDDEN.search(line)))
        )

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


def option_lines(indexes: Indexes) -> list[str]:
    """``indexes`` as lines of a requirement file, which may carry passwords where arguments may not."""
    lines = [f"--index-url {indexes.main}"] if indexes.main else []
    lines += [f"--extra-index-url {url}" for url in indexes.extra]
    lines += [f"--find-links {place}" for place in indexes.find_links]
    lines += [f"--trusted-host {host}" for host in indexes.trusted]
    return [*lines, "--no-index"] if indexes.none else lines
