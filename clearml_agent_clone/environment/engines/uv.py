"""The fast engine: uv makes the environment and installs into it what pip would."""

from __future__ import annotations

from pathlib import Path

import attrs

from clearml_agent_clone.environment.engines import EngineUnavailable, Witness, Work
from clearml_agent_clone.environment.failures import Failure, diagnose
from clearml_agent_clone.environment.model import Indexes
from clearml_agent_clone.environment.uv_tools import link_mode
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.files import private_dir, write_atomic
from clearml_agent_clone.util.process import Console, Finished, run

_FLAGS = {"--pre": "--prerelease=allow", "--require-hashes": "--require-hashes"}
_UNPACKED = "uv-cache"


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
        argv = self._install_argv(work, python)
        failure = self._attempt(argv, work)
        if failure is None:
            return
        if failure.conflict and work.plan.pins:
            work.console.say(
                "The recorded versions contradict each other. They were used together where they were recorded, so "
                "they are installed as recorded."
            )
            overrides = work.scratch / "recorded.txt"
            write_atomic(overrides, "".join(f"{pin}\n" for pin in work.plan.pins), durable=False)
            failure = self._attempt([*argv, "--override", str(overrides)], work)
            if failure is None:
                return
        if failure.engine_only:
            raise EngineUnavailable(f"uv gave up: {failure.message}")
        newest = self._newest(failure.package, work, python) if failure.package else ""
        raise failure.error(newest)

    def _attempt(self, argv: list[str], work: Work) -> Failure | None:
        witness = Witness(work.console)
        done = self._run(argv, work, witness)
        return None if done.ok else diagnose(witness.testimony(done.output), work.plan.indexes.shown)

    def _install_argv(self, work: Work, python: Path) -> list[str]:
        plan = work.plan
        requirements = work.scratch / "requirements.txt"
        write_atomic(requirements, "".join(f"{line}\n" for line in plan.lines), durable=False)
        argv = [self.program, "pip", "install", "--python", str(python), "--requirement", str(requirements)]
        if plan.constraints:
            constraints = work.scratch / "constraints.txt"
            write_atomic(constraints, "".join(f"{line}\n" for line in plan.constraints), durable=False)
            argv += ["--constraint", str(constraints)]
        for file in plan.indexes.constraints:
            argv += ["--constraint", file]
        argv += [_FLAGS.get(flag, flag) for flag in plan.engine_flags]
        if plan.indexes.none:
            argv.append("--no-index")
        if work.settings.force_upgrade:
            argv.append("--upgrade")
        return argv

    def seed(self, work: Work, python: Path, minor: str) -> None:
        """Put in pip (and setuptools below 3.12), as virtualenv would: user code calls them, and nothing else has them.

        The files are those that virtualenv carries, so that no index is needed.
        """
        wheels = [str(wheel) for name, wheel in seeds(minor) if name not in work.plan.named]
        argv = [self.program, "pip", "install", "--python", str(python), "--offline", "--no-index", "--no-deps"]
        if wheels and not (done := self._run([*argv, "--", *wheels], work)).ok:
            raise EngineUnavailable(f"uv cannot install pip: {done.last_line}")

    def _newest(self, package: str, work: Work, python: Path) -> str:
        """The newest version of ``package`` that the indexes have for this interpreter; empty when they have none."""
        argv = [self.program, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-deps"]
        argv += ["--no-index"] if work.plan.indexes.none else []
        asked = run(
            [*argv, "--python", str(python), "-"],
            cwd=work.scratch,
            env=self._environment(work),
            stdin=f"{package}\n".encode(),
            cancel=work.cancel,
            timeout=30.0,
            separate_errors=True,
        )
        return asked.output.partition("==")[2].split()[0] if asked.ok and "==" in asked.output else ""

    def _run(self, argv: list[str], work: Work, console: Console | None = None) -> Finished:
        try:
            return run(argv, cwd=work.scratch, env=self._environment(work), console=console, cancel=work.cancel)
        except (UserError, OSError) as error:  # not there, not executable, built for another machine
            raise EngineUnavailable(f"uv does not start: {error}") from error

    def _cache(self, work: Work) -> Path:
        return private_dir(work.settings.uv_cache_dir or work.scratch / _UNPACKED)

    def _environment(self, work: Work) -> dict[str, str]:
        cache = self._cache(work)
        return work.variables(
            {
                "NO_COLOR": "1",
                "UV_NO_PROGRESS": "1",
                "UV_PYTHON_DOWNLOADS": "never",
                "UV_CACHE_DIR": str(cache),
                "UV_LINK_MODE": link_mode(cache, work.scratch),
                "UV_BREAK_SYSTEM_PACKAGES": work.settings.environ.get("PIP_BREAK_SYSTEM_PACKAGES", "0"),
                **index_variables(work.plan.indexes),
            }
        )


def index_variables(indexes: Indexes) -> dict[str, str]:
    """``indexes`` as uv's variables. Files and variables may carry passwords, arguments may not.

    With one index uv's own rule holds. With several, pip takes the best version wherever it is, and so must uv.
    """
    values = {
        "UV_DEFAULT_INDEX": indexes.main,
        "UV_INDEX": " ".join(indexes.extra),
        "UV_FIND_LINKS": ",".join(indexes.find_links),
        "UV_INSECURE_HOST": " ".join(indexes.trusted),
        "UV_INDEX_STRATEGY": "unsafe-best-match" if indexes.extra else "",
        "SSL_CERT_FILE": indexes.certificate,
        "UV_HTTP_TIMEOUT": indexes.timeout,
        "ALL_PROXY": indexes.proxy,
    }
    return {name: value for name, value in values.items() if value}


def seeds(minor: str) -> list[tuple[str, Path]]:
    """The wheels that virtualenv puts into a new environment of Python ``minor``."""
    from virtualenv.seed.wheels.embed import get_embed_wheel  # noqa: PLC0415 - only a build needs it

    names = ["pip", "setuptools"] if int(minor.split(".")[1]) < 12 else ["pip"]
    wheels = [(name, get_embed_wheel(name, minor)) for name in names]
    return [(name, wheel.path) for name, wheel in wheels if wheel is not None]
