"""The whole command line, and what is shown of it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_agent_clone.config.settings_docker import DockerSettings, HideDockerEnvSettings
from clearml_agent_clone.containers.arguments import Source, parse_arguments, split_arguments
from clearml_agent_clone.containers.compose import ContainerRequest, compose
from clearml_agent_clone.containers.gpus import GpuHost, gpu_switches
from clearml_agent_clone.containers.mounts import Mount
from clearml_agent_clone.containers.names import Identity, container_name
from clearml_agent_clone.containers.options import Engine
from clearml_agent_clone.containers.shown import MASK, Hider
from clearml_agent_clone.containers.template import TaskValues
from clearml_agent_clone.errors import UserError

IDENTITY = Identity("t1", "r1", "box:gpu0", "box")
HIDER = Hider.of(HideDockerEnvSettings(), ["configured-secret"])
REQUEST = ContainerRequest(Engine.DOCKER, "img:1", ("/helper", "run"), IDENTITY)


def options(text: str, *, strangers: bool = True) -> ContainerRequest:
    return attrs.evolve(REQUEST, options=parse_arguments(split_arguments(text), Source.TASK, strangers=strangers))


def test_the_whole_line() -> None:
    request = attrs.evolve(
        options("--shm-size=1g -e A=1 --brand-new -v /d:/d"),
        gpus=gpu_switches("0,1", GpuHost(nvidia=True), Engine.DOCKER),
        mounts=(Mount("/c/pip", "/root/.cache/pip"), Mount("/h", "/helper", True)),
        variables={"CLEARML_AGENT_SERVICE_TASK": "1"},
        name="clearml-x",
        labels=("team=a",),
        host_ip="10.0.0.1",
    )
    made = compose(request, HIDER)
    assert made.argv == (
        "docker", "create", "--init", "--interactive", '--gpus="device=0,1"', "--shm-size=1g", "--env=A=1",
        "--volume=/d:/d", "--label=team=a", "--label=clearml-worker-id=box:gpu0", "--label=clearml-parent-worker-id=box",
        "--label=clearml-task-id=t1", "--label=clearml-run-id=r1", "--env=CLEARML_AGENT_SERVICE_TASK",
        "--env=CLEARML_WORKER_ID", "--env=CLEARML_DOCKER_IMAGE", "--env=CLEARML_TASK_ID", "--env=CLEARML_AGENT_HOST_IP",
        "--name=clearml-x", "--mount=type=bind,source=/c/pip,target=/root/.cache/pip",
        "--mount=type=bind,source=/h,target=/helper,readonly", "--brand-new", "--", "img:1", "/helper", "run",
    )  # fmt: skip
    assert made.environment == {
        "CLEARML_AGENT_SERVICE_TASK": "1", "CLEARML_WORKER_ID": "box:gpu0", "CLEARML_DOCKER_IMAGE": "img:1",
        "CLEARML_TASK_ID": "t1", "CLEARML_AGENT_HOST_IP": "10.0.0.1",
    }  # fmt: skip
    assert made.handed == {"NVIDIA_VISIBLE_DEVICES": "all"}
    assert made.shown == shlex.join(made.argv)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("-e DB_PASSWORD=hunter2", "DB_PASSWORD", "hunter2"),
        ("--env=AWS_SECRET_ACCESS_KEY=hunter2", "AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("-eGITHUB_TOKEN=hunter2", "GITHUB_TOKEN", "hunter2"),
        ("-e URL=https://me:hunter2@h/x", "URL", "https://me:hunter2@h/x"),
        ("-e URL=https://hunter2@h/x", "URL", "https://hunter2@h/x"),
        ("-e PLAIN=configured-secret", "PLAIN", "configured-secret"),
        ("-e A_TOKEN=x -e A_TOKEN=hunter2", "A_TOKEN", "hunter2"),
    ],
)
def test_a_secret_is_handed_over_and_stands_nowhere(text: str, name: str, value: str) -> None:
    made = compose(options(text), HIDER)
    assert made.handed == {name: value}
    assert not any(value in word for word in (*made.argv, *made.environment.values(), made.shown, repr(made)))


@pytest.mark.parametrize(
    "name", ["DOCKER_HOST", "LD_PRELOAD", "PATH", "HOME", "BASH_ENV", "DOCKER_CONFIG", "CLEARML_X"]
)
def test_what_a_task_wrote_never_is_in_the_environment_of_the_engines_program(name: str) -> None:
    made = compose(options(f"-e {name}=evil"), HIDER)
    assert f"--env={name}=evil" in made.argv
    assert name not in made.environment


def test_a_bare_name_takes_nothing_from_the_host() -> None:
    assert not any("AWS" in word for word in compose(options("-e AWS_SECRET_ACCESS_KEY"), HIDER).argv)


def test_the_permitted_name_of_a_task_replaces_ours() -> None:
    made = compose(attrs.evolve(options("--name=mine"), name="ours"), HIDER)
    assert [word for word in made.argv if word.startswith("--name")] == ["--name=mine"]
    assert made.name == "mine"


def test_the_image_is_looked_at_once_more() -> None:
    for image in ("", "-v", "a b"):
        with pytest.raises(UserError):
            compose(attrs.evolve(REQUEST, image=image), HIDER)
    with pytest.raises(UserError, match="name of a variable"):
        compose(options("-e =x"), HIDER)


@pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker here to ask")
def test_the_engine_can_read_the_line() -> None:
    """Its client reads the whole command line before it looks for the engine, which is not there."""
    made = compose(
        attrs.evolve(
            options(
                "--shm-size=1g -e 'A=b c' --ulimit memlock=-1 --net none -v /data --tmpfs /run:size=1m -p 80 -m 1g"
            ),
            gpus=gpu_switches("0,1", GpuHost(nvidia=True), Engine.DOCKER),
            mounts=(Mount("/c,d/p:ip", "/root/.cache/pip", True),),
            name="clearml-x",
            restart="on-failure:3",
        ),
        HIDER,
    )
    environ = {"PATH": os.environ["PATH"], "DOCKER_HOST": "unix:///nowhere/docker.sock", **made.environment}
    asked = subprocess.run(made.argv, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert "nowhere/docker.sock" in asked.stderr


def test_podman_and_a_restart_policy() -> None:
    made = compose(attrs.evolve(REQUEST, engine=Engine.PODMAN, restart="on-failure:3"), HIDER)
    assert made.argv[:5] == ("podman", "create", "--init", "--interactive", "--restart=on-failure:3")


@pytest.mark.parametrize(
    "words",
    [
        ["-e", "DB_PASSWORD=hunter2"], ["--env", "DB_PASSWORD=hunter2"], ["--env=DB_PASSWORD=hunter2"],
        ["-eDB_PASSWORD=hunter2"], ["-e=DB_PASSWORD=hunter2"], ["-iteDB_PASSWORD=hunter2"], ["-e DB_PASSWORD=hunter2"],
        ["--label=api_token=hunter2"], ["-e", "MINE=hunter2"], ["-e", "U=https://me:hunter2@h"],
        ["-e", "CLEARML_DOCKER_IMAGE=img -e DB_PASSWORD=hunter2"], ["--build-arg=TOKEN=hunter2"],
        ["-e", "CLEARML_API_SECRET_KEY=hunter2"], ["https://me:hunter2@h/x"], ["-e", "DB_PASSWORD=a\nhunter2"],
        ["-e", "CLEARML_DOCKER_IMAGE=img -eDB_PASSWORD=hunter2"], ["-e", "B='DB_PASSWORD=hunter2'"],
    ],
)  # fmt: skip
def test_every_spelling_is_masked(words: list[str]) -> None:
    shown = Hider.of(HideDockerEnvSettings(enabled=False, extra_keys=("MINE",))).line(words)
    assert "hunter2" not in shown
    assert MASK in shown


def test_what_is_no_secret_is_shown() -> None:
    words = ["docker", "create", "-e", "A=1", "--shm-size=1g", "-v", "/a:/b", "--label=x=y", "-eA=b c"]
    assert HIDER.line(words) == shlex.join(words)
    plain = Hider.of(HideDockerEnvSettings(enabled=False, parse_embedded_urls=False), ["configured-secret"])
    assert plain.line(["-e", "DB_PASSWORD=x", "A=configured-secret"]) == "-e DB_PASSWORD=x 'A=****'"


@given(st.sampled_from(["-e", "--env=", "-ite", "-e="]), st.text(alphabet="abz:/@=- '\"\n\\", min_size=1, max_size=20))
def test_no_value_gets_around_the_mask(head: str, value: str) -> None:
    word = f"{head}API_TOKEN={value}"
    assert HIDER.word(word) == f"{head}API_TOKEN={MASK}"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("clearml-id-{task_id}-{rand_string:.8}", "clearml-id-t1-abcdefgh"),
        ("{worker_id}-{task_id}", "box_gpu0-t1"),
        ("{project}", "a_b___id_"),
        ("", ""),
        ("{nothing}", ""),
        ("{task_id.__class__}", ""),
        ("{task_id[0]}", ""),
        ("{", ""),
        ("{}", ""),
        ("-{task_id}", ""),
        ("{task_id} x", ""),
        ("{rand_string:d}", ""),
    ],
)
def test_the_name_of_a_container(pattern: str, name: str) -> None:
    docker = DockerSettings(
        container_name_format=pattern, container_name_format_fields={"project": "task.project.name"}
    )
    values = TaskValues(task={"project": {"name": "a/b;$(id)"}})
    made = container_name(docker, IDENTITY, values, "abcdefghijklmnopqrstuvwxyzabcdef")
    assert made.text == name
    assert bool(made.remark) is (pattern != "" and name == "")
