"""Archives of conda-pack: an environment in a tar file, with a program that puts its new place into its files."""

from __future__ import annotations

from pathlib import Path

from clearml_agent_clone.environment.engines import Work
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.files import private_dir
from clearml_agent_clone.util.process import run


def unpack(archive: Path, prefix: Path, work: Work) -> None:
    """Unpack ``archive`` to ``prefix``.

    Raises:
        UserError: code ``packages-failed``; it is no archive of an environment.
    """
    work.console.say(f"Unpacking {archive}")
    private_dir(prefix)
    argv = ["tar", "--extract", "--no-same-owner", "--file", str(archive), "--directory", str(prefix)]
    done = run(argv, cwd=work.scratch, env=work.variables({}), console=work.console, cancel=work.cancel)
    if not done.ok:
        raise _unusable(archive, f"tar says: {done.last_line}")
    python, program = prefix / "bin" / "python", prefix / "bin" / "conda-unpack"
    if not python.exists():
        raise _unusable(archive, "there is no bin/python in it")
    if not program.exists():
        work.console.say(f"{archive} has no conda-unpack: programs in it may lead to where it was packed")
        return
    done = run([python, program], cwd=prefix, env=work.variables({}), console=work.console, cancel=work.cancel)
    if not done.ok:
        raise _unusable(archive, f"conda-unpack says: {done.last_line}")


def _unusable(archive: Path, why: str) -> UserError:
    return UserError(
        f"{archive} cannot be used as a conda environment: {why}",
        remedy="Pack it again: conda-pack --output environment.tar.gz",
        code="packages-failed",
    )
