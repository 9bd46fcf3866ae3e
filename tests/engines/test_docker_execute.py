"""``execute --docker`` with a real docker: one task in its image, from choice to removal."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from tests.helpers.docker_tools import IMAGE, contained, containers, docker, inspected
from tests.helpers.registry import registry, small_image
from tests.helpers.worker_tools import Agent

pytestmark = pytest.mark.engine

SHOW = """\
import json, os, sys
conf = open(os.environ["CLEARML_CONFIG_FILE"]).read()
names = ("CLEARML_TASK_ID", "TRAINS_TASK_ID", "CLEARML_WORKER_ID", "CLEARML_DOCKER_IMAGE", "MINE")
print("seen", json.dumps({
    **{name: os.environ.get(name) for name in names},
    "cwd": os.getcwd(), "pid1": open("/proc/1/comm").read().strip(), "conf": "credentials" in conf,
    "agent_secret": "git_pass" in conf, "script": __file__, "in": sys.stdin.read(),
}), flush=True)
"""


def seen(text: str) -> dict[str, object]:
    line = next(line for line in text.splitlines() if line.startswith("seen "))
    found: dict[str, object] = json.loads(line.removeprefix("seen "))
    return found


def test_a_task_runs_in_its_image_and_nothing_is_left(boxed: Agent) -> None:
    setup = "echo from the script\nif true; then\n  export MINE=yes\nfi\nfalse\n"
    task = contained(boxed, SHOW, setup_shell_script=setup)
    ended = boxed.run("execute", "--id", task, "--docker", CLEARML_AGENT_GIT_PASS="agents-own-password")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = seen(ended.stdout)
    assert (found["CLEARML_TASK_ID"], found["TRAINS_TASK_ID"]) == (task, task)
    assert (found["CLEARML_DOCKER_IMAGE"], found["MINE"]) == (IMAGE, "yes")
    assert (found["conf"], found["agent_secret"], found["in"]) == (True, False, "")
    assert str(found["pid1"]) in {"docker-init", "tini"}
    assert f"Running task '{task}' inside docker: {IMAGE} arguments: --network=host" in ended.stdout
    assert "Executing: docker create --init" in ended.stdout
    assert "from the script" in ended.stdout
    assert "setup script of the task, line 5: exit code 1" in ended.stdout
    assert boxed.get(task)["status"] == "completed"
    assert containers(task) == []
    assert list((boxed.state / "runs").iterdir()) == []


def test_a_default_container_is_recorded_and_the_exit_code_is_the_tasks_own(boxed: Agent) -> None:
    task = boxed.task("raise SystemExit(7)\n", binary="python3")
    ended = boxed.run("execute", "--id", task, "--docker", f"{IMAGE} -e A=1 --hostname box")
    assert ended.returncode == 7, ended.stdout + ended.stderr
    assert f"using default docker image: {IMAGE} -e A=1 --hostname box (default docker command" in ended.stdout
    assert f"inside default docker: {IMAGE}" in ended.stdout
    seen_task = boxed.get(task)
    assert (seen_task["status"], seen_task["status_reason"]) == ("failed", "worker execution exit code 7")
    assert seen_task["container"]["image"] == IMAGE
    assert seen_task["container"]["arguments"] == "-e A=1 --hostname box"


def test_memory_that_runs_out_is_told_from_an_exit_code(boxed: Agent) -> None:
    task = contained(boxed, "x = bytearray(400 << 20)\n", arguments="--memory=64m --memory-swap=64m")
    ended = boxed.run("execute", "--id", task, "--docker")
    assert ended.returncode == 137, ended.stdout + ended.stderr
    assert boxed.get(task)["status_reason"] == "worker execution exit code 137 (out of memory, the container's limit)"
    plain = contained(boxed, "raise SystemExit(137)\n")
    assert boxed.run("execute", "--id", plain, "--docker").returncode == 137
    assert boxed.get(plain)["status_reason"] == "worker execution exit code 137"


def test_a_script_that_ends_itself_and_a_program_that_is_not_there(boxed: Agent) -> None:
    task = contained(boxed, setup_shell_script="echo one\nexit 4\n")
    ended = boxed.run("execute", "--id", task, "--docker")
    assert "ERROR: setup script of the task: exit code 4" in ended.stdout
    assert "hello" not in ended.stdout
    assert boxed.get(task)["status"] == "failed"


def test_an_argument_that_reaches_beyond_the_container_is_refused(boxed: Agent) -> None:
    task = contained(boxed, arguments="--privileged -v /:/host")
    ended = boxed.run("execute", "--id", task, "--docker")
    assert ended.returncode == 1
    assert "--privileged" in ended.stdout
    assert boxed.get(task)["status"] == "failed"
    assert containers(task) == []


SAVES = """\
import signal, sys, time
def save(number, frame):
    print("saving", flush=True); time.sleep(0.5); print("saved", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("up", flush=True)
time.sleep(300)
"""


def started(boxed: Agent, task: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        boxed.command("execute", "--id", task, "--docker", *arguments),
        env=boxed.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_an_abort_gives_time_to_save_and_the_container_is_gone(boxed: Agent) -> None:
    task = contained(boxed, SAVES)
    child = started(boxed, task)
    boxed.shows(task, "up")
    (container,) = containers(task)
    labels = inspected(container)["Config"]["Labels"]
    assert (labels["clearml-task-id"], labels["clearml-parent-worker-id"][:7]) == (task, "tester:")
    boxed.server.call("tasks.stop", task=task)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 254, output
    assert "saving\nsaved\n" in output
    assert boxed.get(task)["status"] == "stopped"
    assert containers(task) == []


def test_a_deaf_task_is_killed_after_its_grace(boxed: Agent) -> None:
    code = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(300)\n"
    )
    task = contained(boxed, code)
    boxed.variables = {**boxed.variables, "CLEARML_AGENT__AGENT__ABORT_GRACE_SEC": "1"}
    child = started(boxed, task)
    boxed.shows(task, "up")
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 254, output
    assert containers(task) == []


def test_the_client_may_be_killed_and_the_task_goes_on(boxed: Agent) -> None:
    code = "import time\nprint('up', flush=True)\ntime.sleep(4)\nprint('still here', flush=True)\nraise SystemExit(3)\n"
    task = contained(boxed, code)
    child = started(boxed, task)
    boxed.shows(task, "up")
    (container,) = containers(task)
    pids = subprocess.run(["pgrep", "-f", f"docker start .*{container}"], capture_output=True, text=True, check=True)
    for pid in pids.stdout.split():
        subprocess.run(["kill", "-9", pid], check=True)
    output, _ = child.communicate(timeout=60)
    assert "still here" in output
    assert child.returncode == 3, output


def test_an_image_that_cannot_be_pulled_fails_the_task(boxed: Agent) -> None:
    task = contained(boxed, image="127.0.0.1:9/no/such:image")
    ended = boxed.run("execute", "--id", task, "--docker")
    assert ended.returncode == 1
    assert "Pulling image 127.0.0.1:9/no/such:image" in ended.stdout
    assert "image failed: image 127.0.0.1:9/no/such:image cannot be pulled" in boxed.get(task)["status_reason"]


def test_a_pull_shows_its_progress_and_an_image_without_python_is_named(boxed: Agent) -> None:
    with registry(small_image(os.urandom(200_000))) as address:
        image = f"{address}/clearml-test/small:1"
        task = contained(boxed, image=image)
        ended = boxed.run("execute", "--id", task, "--docker")
        docker("rmi", image, check=False)
    assert ended.returncode == 1
    assert f"Pulling image {image}" in ended.stdout
    assert "Pull complete" in ended.stdout
    assert f"Pulled image {image} in " in ended.stdout
    assert boxed.get(task)["status"] == "failed"
    assert "the image has no Python 3.6 or later" in boxed.get(task)["status_reason"]


def test_another_user_and_a_file_system_that_is_read_only(boxed: Agent) -> None:
    code = "import os\nopen('out', 'w').write('x')\nprint('uid', os.getuid(), os.environ['CLEARML_CONFIG_FILE'])\n"
    task = contained(boxed, code, arguments="--user 1234:1234 --read-only --tmpfs /tmp")
    ended = boxed.run("execute", "--id", task, "--docker")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "uid 1234 /tmp/" in ended.stdout


def test_the_image_may_have_an_entry_point(boxed: Agent) -> None:
    script = b'FROM %s\nENTRYPOINT ["/bin/sh", "-c", "echo banner; exec \\"$@\\"", "entry"]\n' % IMAGE.encode()
    docker("build", "-q", "-t", "local/clearml-test-entry", "-", data=script)
    try:
        task = contained(boxed, image="local/clearml-test-entry")
        ended = boxed.run("execute", "--id", task, "--docker")
    finally:
        docker("rmi", "local/clearml-test-entry", check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "banner\n" in ended.stdout
    assert "hello\n" in ended.stdout


def test_a_free_port_is_found_and_told(boxed: Agent) -> None:
    boxed.variables = {**boxed.variables, "CLEARML_AGENT__AGENT__EXTRA_DOCKER_ARGUMENTS": "[]"}
    task = contained(boxed, "print('hi')\n", arguments="-p 8080:80")
    boxed.run("execute", "--id", task, "--docker")
    assert boxed.get(task)["runtime"]["_external_host_tcp_port_mapping"].endswith(":80")
