"""The fast engine: uv makes the environment and installs into it what pip would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.environment.engine_choice import parse_flags, uv_flags
from clearml_agent_clone.environment.engines import EngineUnavailable, Work
from clearml_agent_clone.environment.engines.running import Command, attempt
from clearml_agent_clone.environment.engines.stages import install_stages
from clearml_agent_clone.environment.failures import Failure
from clearml_agent_clone.environment.model import Indexes, Stage, masked
from clearml_agent_clone.environment.progress import growth
from clearml_agent_clone.environment.seeds import carried_wheel, plant
from clearml_agent_clone.environment.torch import TorchIndexGone, is_about, stage_without_builds, torch_line
from clearml_agent_clone.environment.uv_tools import link_mode, link_with
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.files import private_dir, write_atomic
from clearml_agent_clone.util.process import Console, Finished

_UNPACKED = "uv-cache"
_LONG_TIMEOUT = 60.0
_BUILDS = frozenset({"UV_TORCH_BACKEND", "UV_CUDA_DRIVER_VERSION"})
_AWAY = frozenset({"unreachable", "timeout", "cut-off", "server-error", "tls"})


@attrs.frozen
class UvEngine:
    """``uv venv`` and ``uv pip install``."""

    program: str
    name: str = "uv"

    def create(self, work: Work) -> None:
        argv = [self.program, "venv", "--no-project", "--python", str(work.interpreter.path)]
        if work.settings.system_site_packages:
            argv.append("--system-site-packages")
        made = self._run([*argv, "--", str(work.folder)], work)
        if not made.ok:
            raise EngineUnavailable(f"uv cannot make an environment: {made.last_line}")
        self.seed(work, work.python, work.interpreter.minor)

    def install(self, work: Work, python: Path) -> None:
        if link_mode(self._cache(work), work.scratch) == "copy":
            work.console.say(
                "uv's cache is on another disk than the environments, so files are copied, which takes longer"
            )
        failure = install_stages(work, lambda stage: self._stage(stage, work, python))
        if failure is None:
            return
        if failure.engine_only:
            raise EngineUnavailable(f"uv gave up: {failure.message}")
        newest = self._newest(failure.package, work, python) if failure.list_versions else ""
        raise failure.error(newest)

    def _stage(self, stage: Stage, work: Work, python: Path) -> Failure | None:
        argv = self.install_argv(stage, work, python)
        with_torch = any(torch_line(line) for line in stage.lines)
        torch = work.plan.torch if with_torch else None
        builds = (torch.variables if torch is not None else {}) if with_torch else None
        failure = self._attempt(argv, work, builds)
        if failure is not None and torch is not None and builds and is_about(failure):
            if failure.kind in _AWAY:
                raise TorchIndexGone(failure.message)
            work.console.say(f"{masked(failure.message)}. Looking for it in {work.plan.indexes.shown} instead")
            builds = {}
            argv = self.install_argv(stage_without_builds(stage, torch), work, python)
            failure = self._attempt(argv, work, builds)
        if failure is None or not failure.conflict or not work.plan.pins:
            return failure
        work.console.say(
            "The recorded versions contradict each other. They were used together where they were recorded, so "
            "they are installed as recorded."
        )
        overrides = work.scratch / "recorded.txt"
        write_atomic(overrides, "".join(f"{pin}\n" for pin in work.plan.pins), durable=False)
        return self._attempt([*argv, "--override", str(overrides)], work, builds)

    def _attempt(self, argv: list[str], work: Work, more: Mapping[str, str] | None = None) -> Failure | None:
        environment = self._environment(work)
        if more is not None:  # PyTorch's packages are among the lines, and ours is the choice of builds
            environment = {name: value for name, value in environment.items() if name not in _BUILDS} | {**more}
        command = Command(argv, environment, work.scratch, fetched=growth(self._cache(work)))
        try:
            return attempt(command, work)
        except (UserError, OSError) as error:  # not there, not executable, built for another machine
            raise EngineUnavailable(f"uv does not start: {error}") from error

    def install_argv(self, stage: Stage, work: Work, python: Path) -> list[str]:
        """The command that installs ``stage`` for ``python``; writes the files that it names."""
        plan = work.plan
        requirements = work.scratch / "requirements.txt"
        write_atomic(requirements, "".join(f"{line}\n" for line in stage.lines), durable=False)
        argv = [self.program, "pip", "install", "--python", str(python), "--requirement", str(requirements)]
        if plan.constraints:
            constraints = work.scratch / "constraints.txt"
            write_atomic(constraints, "".join(f"{line}\n" for line in plan.constraints), durable=False)
            argv += ["--constraint", str(constraints)]
        for file in plan.indexes.constraints:
            argv += ["--constraint", file]
        flags = parse_flags(work.settings.extra_pip_install_flags)
        argv += dict.fromkeys((*uv_flags(plan.engine_flags), *flags.for_uv))
        if plan.indexes.none:
            argv.append("--no-index")
        if work.settings.force_upgrade and "--upgrade" not in argv:
            argv.append("--upgrade")
        return argv

    def seed(self, work: Work, python: Path, minor: str) -> None:
        """Put in pip (and setuptools below 3.12), as virtualenv would: user code calls them, and nothing else has them.

        The files are those that virtualenv carries, so that no index is needed.
        """
        cache = self._cache(work)
        link = link_with(link_mode(cache, work.scratch))
        wheels = [
            str(wheel)
            for name, wheel in seeds(minor)
            if name not in work.plan.named and not plant(wheel, python.parent.parent, minor, cache, link)
        ]
        argv = [self.program, "pip", "install", "--python", str(python), "--offline", "--no-index", "--no-deps"]
        if wheels and not (done := self._run([*argv, "--", *wheels], work)).ok:
            raise EngineUnavailable(f"uv cannot install pip: {done.last_line}")

    def install_pip(self, specs: tuple[str, ...], work: Work, python: Path) -> Failure | None:
        """Put the pip that ``specs`` ask for into the environment of ``python``, where it replaces another."""
        argv = [self.program, "pip", "install", "--python", str(python)]
        argv += ["--no-index"] if work.plan.indexes.none else []
        return self._attempt([*argv, "--", *specs], work)

    def _newest(self, package: str, work: Work, python: Path) -> str:
        """The newest version of ``package`` that the indexes have for this interpreter; empty when they have none."""
        argv = [self.program, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-deps"]
        argv += ["--no-index"] if work.plan.indexes.none else []
        asked = work.run(
            [*argv, "--python", str(python), "-"],
            cwd=work.scratch,
            env=self._environment(work),
            stdin=f"{package}\n".encode(),
            timeout=30.0,
            separate_errors=True,
        )
        return asked.output.partition("==")[2].split()[0] if asked.ok and "==" in asked.output else ""

    def _run(self, argv: list[str], work: Work, console: Console | None = None) -> Finished:
        try:
            return work.run(argv, cwd=work.scratch, env=self._environment(work), console=console)
        except (UserError, OSError) as error:  # not there, not executable, built for another machine
            raise EngineUnavailable(f"uv does not start: {error}") from error

    def _cache(self, work: Work) -> Path:
        return private_dir(work.settings.uv_cache_dir or work.scratch / _UNPACKED)

    def _environment(self, work: Work) -> dict[str, str]:
        cache = self._cache(work)
        return work.variables(
            {
                "NO_COLOR": "1",
                "UV_PYTHON_DOWNLOADS": "never",
                "UV_CACHE_DIR": str(cache),
                "UV_LINK_MODE": link_mode(cache, work.scratch),
                "UV_BREAK_SYSTEM_PACKAGES": work.settings.environ.get("PIP_BREAK_SYSTEM_PACKAGES", "0"),
                **_patience(work),
                **index_variables(work.plan.indexes),
            }
        )


def _patience(work: Work) -> dict[str, str]:
    """How often uv itself tries a request again: four times a long timeout is not what its author had in mind."""
    environ = work.settings.environ
    if environ.get("UV_HTTP_RETRIES"):
        return {}
    if retries := environ.get("PIP_RETRIES", "").strip():
        return {"UV_HTTP_RETRIES": retries}
    try:
        return {"UV_HTTP_RETRIES": "1"} if float(work.plan.indexes.timeout or "0") > _LONG_TIMEOUT else {}
    except ValueError:
        return {}


def index_variables(indexes: Indexes) -> dict[str, str]:
    """``indexes`` as uv's variables. Files and variables may carry passwords, arguments may not.

    With one index uv's own rule holds. With several, pip takes the best version wherever it is, and so must uv.
    """
    values = {
        "UV_DEFAULT_INDEX": indexes.main,
        "UV_INDEX": " ".join(indexes.extra),
        "UV_FIND_LINKS": ",".join(indexes.find_links),
        "UV_INSECURE_HOST": " ".join(indexes.trusted),
        "UV_INDEX_STRATEGY": indexes.strategy or ("unsafe-best-match" if indexes.extra else ""),
        "SSL_CERT_FILE": indexes.certificate,
        "UV_HTTP_TIMEOUT": indexes.timeout,
        "ALL_PROXY": indexes.proxy,
    }
    return {name: value for name, value in values.items() if value}


def seeds(minor: str) -> list[tuple[str, Path]]:
    """The wheels that virtualenv puts into a new environment of Python ``minor``."""
    names = ["pip", "setuptools"] if int(minor.split(".")[1]) < 12 else ["pip"]
    return [(name, wheel) for name in names if (wheel := carried_wheel(name, minor)) is not None]
