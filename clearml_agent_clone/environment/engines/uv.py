"""The fast engine: uv makes the environment and installs into it what pip would."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.environment.engines import EngineUnavailable, Work
from clearml_agent_clone.environment.failures import diagnose
from clearml_agent_clone.environment.model import EnvironmentPlan, Indexes
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.files import private_dir, write_atomic
from clearml_agent_clone.util.process import Cancel, Console, Finished, run

_CLONE = 0x40049409  # FICLONE: let two files share their blocks until one is written to
_FLAGS = {"--pre": "--prerelease=allow", "--require-hashes": "--require-hashes"}
_CLEAN_PATIENCE = 60.0
_UNPACKED = "uv-cache"


def find_uv(environ: Mapping[str, str]) -> str:
    """Path of the uv program: the one installed with the agent, else the first on PATH; empty when there is none."""
    try:
        from uv import find_uv_bin  # noqa: PLC0415 - only a build needs it

        return os.fspath(find_uv_bin())
    except (ImportError, FileNotFoundError):  # its own error is a FileNotFoundError
        return shutil.which("uv", path=environ.get("PATH", "")) or ""


@attrs.frozen
class UvEngine:
    """``uv venv`` and ``uv pip install``."""

    program: str
    name: str = "uv"

    def create(self, work: Work) -> None:
        argv = [self.program, "venv", "--no-project", "--python", str(work.interpreter.path)]
        if work.settings.system_site_packages:
            argv.append("--system-site-packages")
        made = self._run([*argv, "--", str(work.folder)], work, shown=False)
        if not made.ok:
            raise EngineUnavailable(f"uv cannot make an environment: {made.last_line}")
        self._seed(work)

    def install(self, work: Work, python: Path) -> None:
        argv = self._install_argv(work, python)
        done = self._run(argv, work, shown=True)
        if done.ok:
            return
        failure = diagnose(done.output, work.plan.indexes.shown)
        pins = _pins(work.plan)
        if failure.conflict and pins:
            work.console.say(
                "The recorded versions contradict each other. They were used together where they were recorded, so "
                "they are installed as recorded."
            )
            overrides = work.scratch / "recorded.txt"
            write_atomic(overrides, "".join(f"{pin}\n" for pin in pins), durable=False)
            done = self._run([*argv, "--override", str(overrides)], work, shown=True)
            if done.ok:
                return
            failure = diagnose(done.output, work.plan.indexes.shown)
        if failure.engine_only:
            raise EngineUnavailable(f"uv gave up: {failure.message}")
        newest = self._newest(failure.package, work, python) if failure.package else ""
        raise failure.error(newest)

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

    def _seed(self, work: Work) -> None:
        """Put in pip (and setuptools below 3.12), as virtualenv would: user code calls them, and nothing else has them.

        The files are those that virtualenv carries, so that no index is needed.
        """
        wheels = [str(wheel) for name, wheel in seeds(work.interpreter.minor) if name not in work.plan.named]
        argv = [self.program, "pip", "install", "--python", str(work.python), "--offline", "--no-index", "--no-deps"]
        if wheels and not (done := self._run([*argv, "--", *wheels], work, shown=False)).ok:
            raise EngineUnavailable(f"uv cannot install pip: {done.last_line}")

    def _newest(self, package: str, work: Work, python: Path) -> str:
        """The newest version of ``package`` that the indexes have for this interpreter; empty when they have none."""
        argv = [self.program, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-deps"]
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

    def _run(self, argv: list[str], work: Work, *, shown: bool) -> Finished:
        console = work.console if shown else None
        try:
            return run(argv, cwd=work.scratch, env=self._environment(work), console=console, cancel=work.cancel)
        except (UserError, OSError) as error:  # not there, not executable, built for another machine
            raise EngineUnavailable(f"uv does not start: {error}") from error

    def _environment(self, work: Work) -> dict[str, str]:
        cache = work.settings.uv_cache_dir or work.scratch / _UNPACKED
        private_dir(cache)
        return work.variables(
            {
                "NO_COLOR": "1",
                "UV_NO_PROGRESS": "1",
                "UV_PYTHON_DOWNLOADS": "never",
                "UV_CACHE_DIR": str(cache),
                "UV_LINK_MODE": link_mode(cache, work.scratch),
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
    }
    return {name: value for name, value in values.items() if value}


def link_mode(cache: Path, target: Path) -> str:
    """How files get from uv's cache into an environment: shared blocks, else hard links, else copies."""
    if _can(cache, target, _clone):
        return "clone"
    return "hardlink" if _can(cache, target, os.link) else "copy"


def _can(cache: Path, target: Path, link: Callable[[str, str], None]) -> bool:
    here = target / f"link-{os.getpid()}"
    try:
        with tempfile.NamedTemporaryFile(dir=cache) as there:
            there.write(b"probe")
            there.flush()
            link(there.name, str(here))
    except OSError:
        return False
    else:
        return True
    finally:
        here.unlink(missing_ok=True)


def _clone(there: str, here: str) -> None:
    with open(there, "rb") as source, open(here, "wb") as copy:  # noqa: PTH123 - the counterpart of os.link
        fcntl.ioctl(copy.fileno(), _CLONE, source.fileno())


def seeds(minor: str) -> list[tuple[str, Path]]:
    """The wheels that virtualenv puts into a new environment of Python ``minor``."""
    from virtualenv.seed.wheels.embed import get_embed_wheel  # noqa: PLC0415 - only a build needs it

    names = ["pip", "setuptools"] if int(minor.split(".")[1]) < 12 else ["pip"]
    wheels = [(name, get_embed_wheel(name, minor)) for name in names]
    return [(name, wheel.path) for name, wheel in wheels if wheel is not None]


def install_python(version: str, settings: EnvironmentSettings, console: Console, cancel: Cancel | None) -> None:
    """Have uv install Python ``version`` into its own store.

    Raises:
        UserError: code ``python-missing``; it could not.
    """
    console.say(f"Installing Python {version}")
    program = find_uv(settings.environ)
    environment = {**settings.environ, "NO_COLOR": "1", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "manual"}
    done = run([program or "uv", "python", "install", "--", version], env=environment, console=console, cancel=cancel)
    if not done.ok:
        raise UserError(
            f"Python {version} is not on this machine, and uv could not install it: {done.last_line}",
            remedy="Install it, or set UV_PYTHON_INSTALL_MIRROR to a mirror that this machine can reach",
            code="python-missing",
        )


def forget(env: Path, names: list[str], settings: EnvironmentSettings) -> None:
    """Have uv's cache drop the packages that the files ``names`` of ``env`` belong to."""
    program = find_uv(settings.environ)
    packages = owners(env, names)
    if program and packages and settings.uv_cache_dir is not None:
        environment = {**settings.environ, "UV_CACHE_DIR": str(settings.uv_cache_dir)}
        run([program, "cache", "clean", "--", *sorted(packages)], env=environment, timeout=_CLEAN_PATIENCE)


def owners(env: Path, names: list[str]) -> set[str]:
    """The packages in ``env`` that the files ``names`` belong to."""
    wanted = set(names)
    found = set()
    for record in env.glob("lib*/python*/site-packages/*.dist-info/RECORD"):
        site = record.parent.parent
        files = (line.rsplit(",", 2)[0].strip('"') for line in record.read_text(errors="replace").splitlines())
        if any(os.path.normpath(f"{site.relative_to(env)}/{file}") in wanted for file in files):
            found.add(record.parent.name.removesuffix(".dist-info").rsplit("-", 1)[0])
    return found


def _pins(plan: EnvironmentPlan) -> list[str]:
    return [line for line in plan.lines if "==" in line and not line.startswith("-") and "--hash" not in line]
