"""Runs in the container as its first program of ours: prepares what has to be prepared there, then becomes the task.

The file is mounted and run by whatever Python the image has, so it needs nothing but Python 3.6 and its library. What
it is to do comes as one JSON text on its standard input (``containers/order.py`` says what stands in it): nothing of it
is in a command line, in ``docker inspect`` or in an image.
"""
# ruff: noqa: UP006, UP035, UP045, PTH100, PTH101, PTH102, PTH103, PTH111, PTH112, PTH117, PTH118, PTH123
# Python 3.6 writes types in no other way, and pathlib is an import that costs time.

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from typing import Any, Dict, List, Optional

_PREFIX = "clearml_agent: "
_NOT_PREPARED = 125  # as engines say that a container did not get to run its command
_SHELLS = ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash", "/bin/sh")
_PLACES = ("/tmp", "/var/tmp", "/run", "/dev/shm")  # noqa: S108 - a private folder is made there; the last is memory

# What the shell itself sets, and what is ours.
_NOT_CARRIED = frozenset(["_", "SHLVL", "PWD", "OLDPWD", "BASH_EXECUTION_STRING"])
_OURS = "CLEARML_HELPER_"

# A script is sourced, so that what it exports reaches the task, as it always has. Its failing lines are named; they
# end nothing, unless it says so itself (exit, set -e).
_WRAPPER = """\
CLEARML_HELPER_SCRIPT=$1 CLEARML_HELPER_PYTHON=$2 CLEARML_HELPER_FILE=$3 CLEARML_HELPER_OUT=$4 CLEARML_HELPER_LEFT=1
CLEARML_HELPER_LINE=
set --
clearml_helper_over() {
  set -- "$?"
  trap - EXIT
  "$CLEARML_HELPER_PYTHON" -I "$CLEARML_HELPER_FILE" note "$CLEARML_HELPER_OUT" "$CLEARML_HELPER_LEFT" "$CLEARML_HELPER_LINE"
  exit "$1"
}
clearml_helper_failed() {
  if [ "$3" = "$CLEARML_HELPER_SCRIPT" ]; then
    CLEARML_HELPER_LINE=$2
    printf 'clearml_agent: WARNING: %s, line %s: exit code %s\\n' "$CLEARML_HELPER_ORIGIN" "$2" "$1" >&2
  fi
}
trap clearml_helper_over EXIT
if [ -n "${BASH_VERSION-}" ]; then
  set -E
  trap 'clearml_helper_failed "$?" "$LINENO" "${BASH_SOURCE[0]-}"' ERR
fi
. "$CLEARML_HELPER_SCRIPT"
CLEARML_HELPER_LEFT=0
exit 0
"""


class Refused(Exception):  # noqa: N818 - what it is to whoever reads the console
    """The task cannot be started; the text says why and what to do."""


def main(arguments: List[str]) -> int:
    """Do what the order on our standard input says; returns only when that failed."""
    if arguments[:1] == ["note"]:
        note_environment(arguments[1], arguments[3] if arguments[2] == "1" else "")
        return 0
    try:
        order = read_order()
        open_console(order["console"])
        run_order(order)
    except Refused as error:
        say(f"ERROR: {error}")
    except OSError as error:
        say(f"ERROR: {error}")
    return _NOT_PREPARED


def read_order() -> Dict[str, Any]:
    """The JSON on our standard input, which is empty from now on."""
    with os.fdopen(0, "rb", closefd=False) as source:
        data = source.read()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    try:
        order = json.loads(data.decode())
    except ValueError:
        order = None
    if not isinstance(order, dict):
        raise Refused("the agent's order did not arrive: its connection to the container ended")
    return order


def open_console(path: str) -> None:
    """Make the console's file our stdout and stderr. Each write is appended, so that no writer overwrites another."""
    if not path:
        return
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    except OSError as error:
        raise Refused(f"the console cannot be written by user {os.getuid()} of the image: {error}") from None
    for standard in (1, 2):
        os.dup2(handle, standard)
        os.set_inheritable(standard, True)
    if handle > 2:
        os.close(handle)


def run_order(order: Dict[str, Any]) -> None:
    """Everything up to the task's first instruction."""
    env = own_environment()
    env.pop("TINI_KILL_PROCESS_GROUP", None)
    env.update(order["variables"])
    place = private_place(env)
    for file in order["files"]:
        path = os.path.join(place, file["name"])
        write_private(path, file["text"])
        env[file["variable"]] = path
        for twin in file["twins"]:
            env[twin] = path
    for source, target in order["copies"]:
        copy_private(source, os.path.expanduser(target) if env.get("HOME") else "")
    for number, script in enumerate(order["scripts"]):
        env = run_script(script, env, os.path.join(place, f"script-{number}"))
    for name in order["removed"]:
        env.pop(name, None)
    for name, value in order["defaults"].items():
        env.setdefault(name, value)
    env.update(order["task_variables"])
    for name, folders in order["in_front"].items():
        env[name] = os.pathsep.join([*folders, env[name]] if env.get(name) else folders)
    for name, folders in order["behind"].items():
        env[name] = os.pathsep.join([env[name], *folders] if env.get(name) else folders)
    become(order["argv"], order["cwd"], env)


def own_environment() -> Dict[str, str]:
    """What the container was started with. Not ``os.environ``: Python itself adds to that."""
    try:
        with open("/proc/self/environ", "rb") as file:
            pairs = [item.partition(b"=") for item in file.read().split(b"\0") if b"=" in item]
    except OSError:
        return dict(os.environ)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def private_place(env: Dict[str, str]) -> str:
    """A folder that nobody else can read, also where the container's file system is read-only."""
    for parent in (env.get("TMPDIR", ""), _PLACES[0], env.get("HOME", ""), *_PLACES[1:]):
        if os.path.isabs(parent):
            try:
                return tempfile.mkdtemp(prefix=".clearml-", dir=parent)
            except OSError:
                continue
    raise Refused("no folder of the container can be written; give it one, such as --tmpfs /tmp")


def write_private(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def copy_private(source: str, target: str) -> None:
    """Copy ssh keys and git's configuration into the home folder, ours alone, as ssh insists. Failing is no error."""
    if not (os.path.isdir(source) and os.path.isabs(target)):
        return
    for folder, _, names in os.walk(source):
        there = os.path.normpath(os.path.join(target, os.path.relpath(folder, source)))
        try:
            os.makedirs(there, mode=0o700, exist_ok=True)
            for name in names:
                shutil.copyfile(os.path.join(folder, name), os.path.join(there, name))
                os.chmod(os.path.join(there, name), stat.S_IRUSR | stat.S_IWUSR)
        except OSError as error:
            say(f"WARNING: {source} cannot be copied to {target}: {error}")
            return


def run_script(script: Dict[str, str], env: Dict[str, str], path: str) -> Dict[str, str]:
    """Run one shell script; returns the environment that it leaves behind."""
    shell = next((name for name in _SHELLS if os.access(name, os.X_OK)), None)
    if shell is None:
        raise Refused("{}: the image has no shell to run it with".format(script["origin"]))
    os.mkdir(path, 0o700)
    file, wrapper, out = (os.path.join(path, name) for name in (script["name"], "wrapper", "environment"))
    write_private(file, script["text"])
    write_private(wrapper, _WRAPPER)
    say("running the {}".format(script["origin"]))
    command = [shell, wrapper, file, sys.executable, os.path.abspath(__file__), out]
    code = subprocess.call(command, env=dict(env, CLEARML_HELPER_ORIGIN=script["origin"]))
    left = read_note(out)
    shutil.rmtree(path, ignore_errors=True)
    if code != 0:
        how = f"exit code {code}" if code > 0 else f"it was ended by signal {-code}"
        line = " (the last line that failed is {})".format(left["line"]) if left is not None and left["line"] else ""
        raise Refused("{}: {}{}. The task is not started".format(script["origin"], how, line))
    if left is None:
        return env
    found: Dict[str, str] = left["environment"]
    return {name: value for name, value in found.items() if name in env or name not in _NOT_CARRIED}


def note_environment(path: str, line: str) -> None:
    """Called by the wrapper at a script's end: write down the variables that it leaves, and its last failing line."""
    env = own_environment()
    record = {
        "environment": {name: value for name, value in env.items() if not name.startswith(_OURS)},
        "line": line,
    }
    write_private(path, json.dumps(record))


def read_note(path: str) -> Optional[Dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError):
        return None


def become(argv: List[str], folder: str, env: Dict[str, str]) -> None:
    """Become the task. Python ignores two signals, which would be handed on."""
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.chdir(folder)
        env["PWD"] = folder
        os.execvpe(argv[0], argv, env)  # noqa: S606 - no shell is wanted
    except OSError as error:
        raise Refused(f'cannot start "{argv[0]}" in {folder} of the container: {error.strerror}') from None


def say(text: str) -> None:
    os.write(2, (_PREFIX + text + "\n").encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
