"""The two agents under test, each in an environment and a home of its own, and their daemons."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import final

import attrs
import psutil
from filelock import FileLock
from uv import find_uv_bin

PEER = "clearml-agent==3.0.3"
"""The classic agent. Pinned, so that figures of different days speak of the same thing."""

_ROOT = Path(__file__).resolve().parent.parent


@attrs.frozen
class Contender:
    """An agent as a user would have installed it.

    ``home`` holds its configuration, its state and all its caches; nothing of the user's own is read or written.
    """

    name: str
    python: Path
    home: Path
    program: tuple[str, ...]

    @classmethod
    def installed(cls, name: str, folder: Path) -> Contender:
        """The one whose environment is ``folder/venv`` and whose home is ``folder/home``."""
        programs = folder / "venv" / "bin"
        return cls(name, programs / "python", folder / "home", (str(programs / "clearml-agent"),))

    def environ(self, **extra: str) -> dict[str, str]:
        """The environment variables it runs with: ours, without what would lead it back to the user's own agent."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CLEARML_", "TRAINS_", "XDG_", "PYTHON")) and name != "VIRTUAL_ENV"
        }
        temporary = self.home / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        # The real interpreter goes first: launchers such as pyenv's look for their versions in HOME.
        path = os.pathsep.join([str(Path(sys.base_prefix) / "bin"), kept.get("PATH", os.defpath)])
        own = {
            "HOME": str(self.home),
            "TMPDIR": str(temporary),
            "PATH": path,
            "CLEARML_AGENT__AGENT__GIT_ALLOW_LOCAL": "true",  # the repositories here are folders; the peer ignores it
        }
        return {**kept, **own, **extra}

    def configure(self, text: str) -> None:
        """Write ``text`` as its clearml.conf."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.home.joinpath("clearml.conf").write_text(text)

    def version(self) -> str:
        result = subprocess.run(
            [*self.program, "--version"], env=self.environ(), capture_output=True, text=True, check=True
        )
        return result.stdout.strip()


def make_peer(folder: Path) -> Contender:
    """The classic agent from PyPI, installed on first use into ``folder``."""
    contender = Contender.installed("peer", folder / "peer")
    stamp = folder / "peer" / "installed"
    stamp.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(stamp.with_suffix(".lock")):  # tests in two processes may want it at once
        if not stamp.exists() or stamp.read_text() != PEER:
            _make_venv(folder / "peer" / "venv")
            _install(contender, PEER)
            stamp.write_text(PEER)
    return contender


def make_ours(folder: Path) -> Contender:
    """This project, installed anew as a user gets it: a built package with the server's extra."""
    contender = Contender.installed("ours", folder / "ours")
    _make_venv(folder / "ours" / "venv")
    _install(contender, f"clearml-agent-clone[server] @ {_ROOT.as_uri()}")
    return contender


def _install(contender: Contender, package: str) -> None:
    # Compiled, as pip leaves it: a command must not be measured while it compiles itself.
    _uv("pip", "install", "--compile-bytecode", "--python", str(contender.python), package)


def _make_venv(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _uv("venv", "--python", sys.executable, str(folder))


def _uv(*arguments: str) -> None:
    subprocess.run([find_uv_bin(), "--quiet", *arguments], check=True)


@final
class Daemon:
    """A running ``clearml-agent daemon --foreground``; use it in a ``with`` statement."""

    def __init__(self, contender: Contender, queue: str, *options: str, **environ: str) -> None:
        self.contender = contender
        self.queue = queue
        self.worker = f"{contender.name}-on-{queue}"
        self.log = contender.home / f"daemon-{queue}.log"
        self._argv = [*contender.program, "daemon", "--queue", queue, "--create-queue", "--foreground", *options]
        self._environ = contender.environ(CLEARML_WORKER_ID=self.worker, **environ)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Daemon:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._argv,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.contender.home,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        end_all(self.contender.home)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def tree(self) -> list[psutil.Process]:
        """The daemon's process and all below it."""
        assert self._process is not None
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]


def end_all(home: Path) -> None:
    """Kill what still runs with ``home`` as its HOME: a measurement leaves no process behind, however it ended."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it ended by itself, or is not ours to look into
            if process.environ().get("HOME") == str(home):
                process.kill()
