"""Runs in a container that builds an environment: becomes the installing program, with the variables that it is handed.

It is read from standard input with the order behind it, because variables may hold passwords of package indexes: a
container's variables and its command line are there to be looked at. Python 3.6 and later, standard library only.
"""
# ruff: noqa: UP006, UP035, PTH103 - Python 3.6 writes types in no other way; os is faster

import os
import sys
import tempfile
from typing import Any, Dict

MISLEADING = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "CONDA_PREFIX")


def main(order: Dict[str, Any]) -> None:
    """Become ``order["argv"]``. Ends with 127 when that is not there, as a shell would."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in MISLEADING and not name.startswith(("PIP_", "UV_"))
    }
    environment = dict(kept, **order["env"])
    os.umask(0o022)  # the task may run as another user than the one that builds
    for name in ("HOME", "TMPDIR"):
        os.makedirs(environment[name], exist_ok=True)
    os.chdir(order["cwd"])
    with tempfile.TemporaryFile() as given:
        given.write(order["stdin"].encode("utf-8"))
        given.seek(0)
        os.dup2(given.fileno(), 0)
    argv = order["argv"]
    try:
        os.execve(argv[0], argv, environment)  # noqa: S606 - an argument list of the agent's
    except OSError as error:
        sys.stderr.write(f"cannot start {argv[0]}: {error.strerror}\n")
        sys.exit(127)
