"""The helper that becomes the task, run as a program as in a container."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.containers.arguments import Source
from clearml_agent_clone.containers.order import HELPER, Order, SecretFile
from clearml_agent_clone.containers.scripts import ScriptFile

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


@attrs.define
class Inside:
    """One start of the helper."""

    folder: Path

    def run(self, order: Order | bytes, **variables: str) -> subprocess.CompletedProcess[bytes]:
        self.console.touch()
        return subprocess.run(
            [sys.executable, "-I", str(HELPER)],
            input=order if isinstance(order, bytes) else order.to_bytes(),
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "TMPDIR": str(self.folder), **variables},
            capture_output=True,
            check=False,
            timeout=30,
        )

    def order(self, *argv: str, setup: str = "", **fields: object) -> Order:
        scripts = (ScriptFile("setup.sh", setup, "setup script of the task", Source.TASK),) if setup else ()
        base = Order(argv, str(self.folder), str(self.console), scripts=scripts)
        return attrs.evolve(base, **fields)  # type: ignore[arg-type]  # whichever field a test wants

    @property
    def console(self) -> Path:
        return self.folder / "console"

    @property
    def said(self) -> str:
        return self.console.read_text()

    @property
    def shown(self) -> dict[str, str]:
        """The environment that ``SHOW`` has printed last."""
        found: dict[str, str] = json.loads(self.said.splitlines()[-1])
        return found


@pytest.fixture
def inside(tmp_path: Path) -> Inside:
    return Inside(tmp_path)


def test_python_3_6_can_read_it() -> None:
    ast.parse(HELPER.read_text(), feature_version=(3, 6))


def test_the_tasks_output_and_exit_code_are_its_own(inside: Inside) -> None:
    done = inside.run(inside.order("sh", "-c", "echo out; echo err >&2; exit 7"))
    assert (done.returncode, done.stdout, done.stderr) == (7, b"", b"")
    assert inside.said == "out\nerr\n"


def test_what_others_wrote_to_the_console_stays(inside: Inside) -> None:
    inside.console.write_text("before\n")
    inside.run(inside.order("echo", "after"))
    assert inside.said == "before\nafter\n"


def test_variables_come_from_where_they_should(inside: Inside) -> None:
    order = inside.order(
        sys.executable,
        "-c",
        SHOW,
        setup="export SCRIPT=$EARLY D=script\nPATH=/scripts:$PATH\nunset GONE\n",
        variables={"EARLY": "e", "SECRET": "s"},
        task_variables={"LATE": "l", "EARLY": "task"},
        defaults={"D": "default", "E": "default"},
        in_front={"PATH": ["/venv/bin"]},
        behind={"PYTHONPATH": ["/code"]},
        removed=("PYTHONHOME",),
    )
    assert inside.run(order, PYTHONHOME="/x", GONE="g", PYTHONPATH="/image").returncode == 0
    shown = inside.shown
    assert {name: shown[name] for name in ("SCRIPT", "EARLY", "LATE", "SECRET", "D", "E")} == {
        "SCRIPT": "e",
        "EARLY": "task",
        "LATE": "l",
        "SECRET": "s",
        "D": "script",
        "E": "default",
    }
    assert shown["PATH"] == "/venv/bin:/scripts:/usr/bin:/bin"
    assert shown["PYTHONPATH"] == "/image:/code"
    assert not {"PYTHONHOME", "GONE"} & shown.keys()
    assert not [name for name in shown if "HELPER" in name]


def test_a_script_may_hold_anything_that_a_shell_reads(inside: Inside) -> None:
    script = "if true; then\n  f() { echo \"in $1\"; }\nfi\nf one\ncat <<END\nheredoc; '$HOME'\nEND\nfor i in 1 2\ndo echo $i; done"
    inside.run(inside.order("echo", "task", setup=script))
    assert inside.said.splitlines()[1:] == ["in one", f"heredoc; '{inside.folder}'", "1", "2", "task"]


def test_a_line_that_fails_is_named_and_ends_nothing(inside: Inside) -> None:
    assert inside.run(inside.order("echo", "task", setup="true\nfalse\necho on\n")).returncode == 0
    assert "WARNING: setup script of the task, line 2: exit code 1\non\ntask\n" in inside.said


@pytest.mark.parametrize("script", ["echo begun\nexit 3\n", "set -e\n(exit 3)\necho never\n"])
def test_a_script_that_ends_itself_ends_the_task(inside: Inside, script: str) -> None:
    assert inside.run(inside.order("echo", "task", setup=script)).returncode == 125
    assert "ERROR: setup script of the task: exit code 3" in inside.said
    assert "The task is not started" in inside.said
    assert "never" not in inside.said
    assert not inside.said.endswith("task\n")


def test_a_secret_file_is_private_and_named_by_its_variables(inside: Inside) -> None:
    file = SecretFile("clearml.conf", '{"secret": 1}', ("CLEARML_CONFIG_FILE", "TRAINS_CONFIG_FILE"))
    show = 'stat -c %a "$CLEARML_CONFIG_FILE"; stat -c %a "$(dirname "$TRAINS_CONFIG_FILE")"; cat "$TRAINS_CONFIG_FILE"'
    inside.run(inside.order("sh", "-c", show, files=(file,)))
    assert inside.said == '600\n700\n{"secret": 1}'


def test_keys_are_copied_for_their_user_alone(inside: Inside, tmp_path: Path) -> None:
    source = tmp_path / "ro"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "id").write_text("key")
    (source / "deep" / "id").chmod(0o644)
    inside.run(inside.order("true", copies=((str(source), "~/.ssh"), ("/not/there", "~"))))
    copied = tmp_path / ".ssh" / "deep" / "id"
    assert (copied.read_text(), copied.stat().st_mode & 0o777) == ("key", 0o600)


@pytest.mark.parametrize("data", [b"", b'{"argv": ["tru', b"[]"])
def test_an_order_that_did_not_arrive_whole_starts_nothing(inside: Inside, data: bytes) -> None:
    done = inside.run(data)
    assert done.returncode == 125
    assert b"the agent's order did not arrive" in done.stderr


def test_a_program_that_is_not_there_is_named(inside: Inside) -> None:
    assert inside.run(inside.order("no-such-program")).returncode == 125
    assert 'ERROR: cannot start "no-such-program"' in inside.said


def test_the_task_reads_nothing_of_ours_and_finds_its_signals(inside: Inside) -> None:
    code = "import signal, sys; print(repr(sys.stdin.read()), signal.getsignal(signal.SIGPIPE))"
    inside.run(inside.order("sh", "-c", f"cat; exec grep SigIgn /proc/self/status; {sys.executable} -c '{code}'"))
    title, ignored = inside.said.split()
    # The C library keeps signals 32 and 33 to itself, and whoever started the tests may have them ignored.
    assert (title, int(ignored, 16) & 0x7FFFFFFF) == ("SigIgn:", 0)
