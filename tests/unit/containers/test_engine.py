"""The engine's command line, answered by a program that says what docker and podman say. tests/engines has the real one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.containers.engine import CliEngine
from clearml_agent_clone.containers.mounts import Mount
from clearml_agent_clone.containers.options import Engine
from clearml_agent_clone.errors import Retryable, UserError
from clearml_agent_clone.util.process import Cancel

AWAY = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"


class Lines:
    """A console that remembers."""

    def __init__(self) -> None:
        self.data = b""

    def say(self, text: str) -> None:
        self.data += text.encode() + b"\n"

    def write(self, data: bytes) -> None:
        self.data += data


@attrs.define
class Script:
    """A made-up docker."""

    folder: Path
    kind: Engine = Engine.DOCKER

    def answers(self, output: str = "", errors: str = "", code: int = 0) -> CliEngine:
        (self.folder / "out").write_text(output)
        (self.folder / "err").write_text(errors)
        program = self.folder / "engine"
        program.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" >"$0.asked"\ncat "$0/../out"; cat "$0/../err" >&2; exit {code}\n'
        )
        program.write_text(program.read_text().replace('"$0/../', f'"{self.folder}/'))
        program.chmod(0o755)
        return CliEngine(self.kind, str(program), {**os.environ, "CLEARML_AGENT_GIT_PASS": "secret"})

    @property
    def asked(self) -> list[str]:
        return (self.folder / "engine.asked").read_text().splitlines()


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def test_an_engine_that_is_away_is_no_verdict_about_anything(script: Script) -> None:
    engine = script.answers(errors=AWAY, code=1)
    for ask in (
        lambda: engine.image("a"),
        lambda: engine.inspect("c"),
        lambda: engine.remove("c"),
        lambda: engine.kill("c"),
        lambda: engine.labelled({"a": ""}),
        lambda: engine.pull("a", Lines(), Cancel()),
    ):
        with pytest.raises(Retryable, match="Is the docker daemon running") as caught:
            ask()
        assert caught.value.code == "engine-away"


@pytest.mark.parametrize(
    "errors",
    [
        "Error: No such object: x",
        "Error response from daemon: No such container: x",
        'Error: no such container "x"',
        "[]\nError: No such image: x",
        "Error: x: image not known",
    ],
)
def test_what_is_not_there_is_none(script: Script, errors: str) -> None:
    engine = script.answers("[]\n", errors, 1)
    assert (engine.inspect("x"), engine.image("x"), engine.image_id("x")) == (None, None, None)
    engine.remove("x")
    engine.kill("x")


@pytest.mark.parametrize(
    ("state", "running", "code"),
    [
        ({"Status": "running", "Running": True, "ExitCode": 0, "Pid": 7}, True, None),
        ({"Status": "paused", "Running": False, "Paused": True, "ExitCode": 0}, True, None),
        ({"Status": "created", "ExitCode": 127, "Error": "no such file"}, False, None),
        ({"Status": "exited", "ExitCode": 3}, False, 3),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, False, 137),
    ],
)
def test_a_state_is_read(script: Script, state: dict[str, object], running: bool, code: int | None) -> None:
    text = json.dumps([{"Id": "abc", "State": state, "Image": "f00", "Config": {"Labels": {"a": "b"}}}])
    found = script.answers(text).inspect("abc")
    assert found is not None
    assert (found.running, found.exit_code, found.labels, found.image) == (running, code, {"a": "b"}, "sha256:f00")
    assert found.oom_killed == ("OOMKilled" in state)
    assert found.error == state.get("Error", "")


def test_an_image_is_read_as_either_engine_tells_it(script: Script) -> None:
    config = {"User": "app", "Entrypoint": ["/e", "x"], "Env": ["A=1=2", "B="]}
    for text in ("sha256:aa", "aa"):
        found = script.answers(json.dumps([{"Id": text, "Config": config}])).image("i")
        assert found is not None
        assert (found.id, found.user, found.entrypoint) == ("sha256:aa", "app", ("/e", "x"))
        assert found.environment == {"A": "1=2", "B": ""}


def test_a_failed_pull_says_why_and_shows_its_progress(script: Script) -> None:
    said = "Using default tag: latest\nError response from daemon: manifest unknown\n"
    console = Lines()
    with pytest.raises(UserError, match="image i cannot be pulled: manifest unknown") as caught:
        script.answers(errors=said, code=1).pull("i", console, Cancel())
    assert caught.value.code == "image-pull"
    assert console.data.decode() == said


def test_a_throw_away_container_goes_past_the_entry_point(script: Script) -> None:
    engine = script.answers("out\n", "err\n")
    done = engine.run_once("i:1", ("/py", "-c", "x"), mounts=[Mount("/a", "/b", True)], variables={"A": "1"})
    assert (done.output, done.errors) == ("out\n", "err\n")
    asked = script.asked
    assert asked[:4] == ["run", "--rm", "--init", "--interactive"]
    assert asked[4].startswith("--name=clearml-once-")
    assert asked[5:] == [
        "--env=A=1",
        "--mount=type=bind,source=/a,target=/b,readonly",
        "--entrypoint=/py",
        "--",
        "i:1",
        "-c",
        "x",
    ]


def test_labels_are_asked_for_by_value_or_by_name(script: Script) -> None:
    assert script.answers("a\nb\n").labelled({"x": "1", "y": ""}) == ("a", "b")
    assert script.asked == ["ps", "--all", "--no-trunc", "--quiet", "--filter=label=x=1", "--filter=label=y"]


def test_the_agents_git_password_is_none_of_the_engines_business(script: Script) -> None:
    assert "CLEARML_AGENT_GIT_PASS" not in script.answers().environment()
