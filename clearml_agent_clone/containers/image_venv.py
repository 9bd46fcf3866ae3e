"""A virtual environment for an interpreter that is in an image, written from outside: it is a few links and small files.

No container has to be started for that, and none knows more about the interpreter than what was asked of it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from clearml_agent_clone.environment.model import Interpreter

_ACTIVATE = """\
# To be read by sh, bash or zsh: . {env}/bin/activate
deactivate() {{
  if [ -n "${{_OLD_VIRTUAL_PATH-}}" ]; then
    PATH="$_OLD_VIRTUAL_PATH"
    export PATH
    unset _OLD_VIRTUAL_PATH
  fi
  unset VIRTUAL_ENV
  [ "${{1-}}" = nondestructive ] || unset -f deactivate
}}
deactivate nondestructive
VIRTUAL_ENV='{env}'
export VIRTUAL_ENV
_OLD_VIRTUAL_PATH="$PATH"
PATH="$VIRTUAL_ENV/bin:$PATH"
export PATH
"""
BESIDE = "zz_image_packages.pth"
"""Its name comes last, so that what is in the environment is found before what the image brings."""


@attrs.frozen
class Sight:
    """What an environment sees beside its own packages: those of its interpreter, and folders of the image."""

    interpreters: bool = False
    folders: tuple[str, ...] = ()


def write_environment(env: Path, interpreter: Interpreter, sight: Sight) -> None:
    """Make an empty virtual environment at ``env``, which must not be there; no pip is in it."""
    base = interpreter.base
    for folder in (env, env / "bin", env / "lib"):
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)  # the task may run as another user, whatever our own mask is
    site = env / "lib" / _library(interpreter) / "site-packages"
    site.mkdir(parents=True)
    for folder in (site, site.parent):
        folder.chmod(0o755)
    (env / "lib64").symlink_to("lib")
    (env / "bin" / "python").symlink_to(base)
    for name in ("python3", f"python{interpreter.minor}"):
        (env / "bin" / name).symlink_to("python")
    seen = "true" if sight.interpreters else "false"
    _write(
        env / "pyvenv.cfg",
        [
            f"home = {base.parent}",
            "implementation = CPython",
            f"version = {interpreter.version}",
            f"include-system-site-packages = {seen}",
            f"executable = {base}",
        ],
    )
    _write(env / "bin" / "activate", [_ACTIVATE.format(env=env).rstrip()])
    if sight.folders:
        _write(site / BESIDE, [f"import site; site.addsitedir({folder!r})" for folder in sight.folders])


def _library(interpreter: Interpreter) -> str:
    kind = "pypy" if interpreter.build.startswith("pypy") else "python"
    return f"{kind}{interpreter.minor}"


def _write(file: Path, lines: Sequence[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines))
    file.chmod(0o644)
