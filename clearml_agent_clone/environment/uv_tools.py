"""What is asked of uv, or done for it, apart from installing packages."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.errors import AgentError, UserError
from clearml_agent_clone.util.process import Cancel, Console, run

_CLONE = 0x40049409  # FICLONE: let two files share their blocks until one is written to
_CONFIGURED = ("CLEARML_BOOTSTRAP_UV_EXEC", "TRAINS_BOOTSTRAP_UV_EXEC")
_CLEAN_PATIENCE = 60.0


def find_uv(environ: Mapping[str, str]) -> str:
    """Path of the uv program: the configured one, else that installed with the agent, else the first on PATH.

    Empty when there is none. A configured one that is not there is returned as it is, so that starting it tells why.
    """
    configured = next((environ[name] for name in _CONFIGURED if environ.get(name, "").strip()), "").strip()
    if configured:
        path = os.path.expanduser(configured)  # noqa: PTH111 - a bare name is looked for on PATH
        return shutil.which(path, path=environ.get("PATH", "")) or path
    try:
        from uv import find_uv_bin  # noqa: PLC0415 - only a build needs it

        return os.fspath(find_uv_bin())
    except (ImportError, FileNotFoundError):  # its own error is a FileNotFoundError
        return shutil.which("uv", path=environ.get("PATH", "")) or ""


def install_python(version: str, settings: EnvironmentSettings, console: Console, cancel: Cancel | None) -> None:
    """Have uv install Python ``version`` into its own store.

    Raises:
        UserError: code ``python-missing``; it could not.
    """
    console.say(f"Installing Python {version}")
    program = find_uv(settings.environ)
    quiet = {"NO_COLOR": "1", "UV_NO_PROGRESS": "1"}
    # Into uv's own folder alone: a program of that name on PATH would change what other tasks find.
    environment = {**settings.environ, **quiet, "UV_PYTHON_DOWNLOADS": "manual", "UV_PYTHON_INSTALL_BIN": "0"}
    done = run([program or "uv", "python", "install", "--", version], env=environment, console=console, cancel=cancel)
    if not done.ok:
        raise UserError(
            f"Python {version} is not on this machine, and uv could not install it: {done.last_line}",
            remedy="Install it, or set UV_PYTHON_INSTALL_MIRROR to a mirror that this machine can reach",
            code="python-missing",
        )


def link_mode(cache: Path, target: Path) -> str:
    """How files get from uv's cache into an environment: shared blocks, else hard links, else copies."""
    if _can(cache, target, _clone):
        return "clone"
    return "hardlink" if _can(cache, target, os.link) else "copy"


def link_with(mode: str) -> Callable[[str, str], object]:
    """What makes a file (its second argument) from another in the way that ``link_mode`` named."""
    links: dict[str, Callable[[str, str], object]] = {"clone": _clone, "hardlink": os.link}
    return links.get(mode, shutil.copyfile)


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


def forget(env: Path, names: list[str], settings: EnvironmentSettings) -> None:
    """Have uv's cache drop the packages that the files ``names`` of ``env`` belong to."""
    program = find_uv(settings.environ)
    packages = owners(env, names)
    if program and packages and settings.uv_cache_dir is not None:
        environment = {**settings.environ, "UV_CACHE_DIR": str(settings.uv_cache_dir)}
        with contextlib.suppress(AgentError, OSError):  # the task is over, and nothing of it may fail for this
            run([program, "cache", "clean", "--", *sorted(packages)], env=environment, timeout=_CLEAN_PATIENCE)


def owners(env: Path, names: list[str]) -> set[str]:
    """The packages in ``env`` that the files ``names`` belong to."""
    wanted = set(names)
    found = set()
    for record in env.glob("lib/python*/site-packages/*.dist-info/RECORD"):
        site = record.parent.parent
        files = (line.rsplit(",", 2)[0].strip('"') for line in record.read_text(errors="replace").splitlines())
        if any(os.path.normpath(f"{site.relative_to(env)}/{file}") in wanted for file in files):
            found.add(record.parent.name.removesuffix(".dist-info").rsplit("-", 1)[0])
    return found
