"""Placeholders in container arguments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_agent_clone.containers.arguments import Source, parse_arguments
from clearml_agent_clone.containers.template import OPEN_KEYS, TaskValues, fill, fill_text, harmless_keys
from clearml_agent_clone.errors import UserError

VALUES = TaskValues(
    singles={"QUEUE_NAME": "fast", "QUEUE_ID": "q1", "WORKER_ID": "box:0", "PROJECT_NAME": ""},
    task={
        "id": "t1",
        "name": "--privileged",
        "comment": " Two\nLines ",
        "project": "p1",
        "empty": "",
        "tags": ["a", "b"],
        "container": {"image": "img:1"},
        "hyperparams": {"General": {"lr-x": {"value": "0.1"}}},
        "runtime": {"gpu": 2, "on": True, "none": None},
    },
    config={
        "api": {"credentials": {"secret_key": "s3cret", "access_key": "acc"}, "api_server": "http://api:8008",
                "web_server": "http://u:pass@w"},
        "agent": {"git_pass": "g1tpass", "worker_id": "", "extra_docker_arguments": ["-e", "TOKEN=x"],
                  "docker_force_pull": True, "git_user": "me"},
        "sdk": {"aws": {"s3": {"secret": "aws"}}},
    },
    readable=OPEN_KEYS,
    user={"name": "Ann", "api_token": "tok"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${CLEARML_QUEUE_NAME}", "fast"),
        ("$CLEARML_QUEUE_NAME/x", "fast/x"),
        ("x-${CLEARML_QUEUE_ID}-${CLEARML_WORKER_ID}", "x-q1-box:0"),
        ("${CLEARML_TASK.id}:$CLEARML_TASK.project.", "t1:p1."),
        ("${CLEARML_TASK.project.id}", "p1"),
        ("${CLEARML_TASK.container.image}", "img:1"),
        ("${CLEARML_TASK.tags}", "a,b"),
        ("${CLEARML_TASK.runtime.gpu}/${CLEARML_TASK.runtime.on}", "2/true"),
        ("${CLEARML_TASK.hyperparams.General.lr-x.value}", "0.1"),
        ("${CLEARML_PROJECT_NAME:unknown}", "unknown"),
        ("${CLEARML_TASK.nothing:my-def/a b(1)}", "my-def/a b(1)"),
        ("${CLEARML_TASK.nothing:01:00:00}", "01:00:00"),
        ("${CLEARML_TASK.nothing:}", ""),
        ("${CLEARML_TASK.empty:default}", ""),
        ("${CLEARML_TASK.container:mapping}", "mapping"),
        ("${CLEARML_CONFIG.api.api_server}", "http://api:8008"),
        ("${CLEARML_CONFIG.agent.nothing:else}", "else"),
        ("${CLEARML_USER.name}", "Ann"),
        ("${CLEARML_TASK.comment}", " TwoLines "),
        ("${CLEARML_TASK.comment|raw}", " Two\nLines "),
        ("${CLEARML_TASK.comment|strip|lower}", "twolines"),
        ("${CLEARML_|TASK.comment|lower}", " twolines "),
        ("${CLEARML_TASK.name|strip(-)}", "privileged"),
        ("${CLEARML_TASK.name|strip(-)|capitalize}", "Privileged"),
        ("${CLEARML_TASK.nothing:ABC|lower}", "abc"),
        ("${CLEARML_TASK.nothing|lower:ABC}", "abc"),
        # What is not ours stays.
        ("$$ $HOME ${HOME} $${CLEARML_QUEUE_NAME} ${clearml_QUEUE_NAME}", None),
        ("${CLEARML_API_SECRET_KEY} $CLEARML_QUEUE_NAMES ${CLEARML_} ${CLEARML_TASK}", None),
        ("${CLEARML_QUEUE_NAME.x}", None),
    ],
)
def test_is_filled_in(text: str, filled: str | None) -> None:
    assert fill_text(text, VALUES, "here") == (text if filled is None else filled)


@pytest.mark.parametrize(
    "text",
    [
        "${CLEARML_TASK.nothing}",
        "$CLEARML_TASK.nothing",
        "${CLEARML_PROJECT_NAME}",
        "${CLEARML_TASK.runtime.none}",
        "${CLEARML_TASK.container}",
        "${CLEARML_TASK.name|upper}",
        "${CLEARML_TASK.name|}",
        "${CLEARML_CONFIG.api.credentials.secret_key}",
        "${CLEARML_CONFIG.api.credentials.access_key}",
        "${CLEARML_CONFIG.agent.git_pass}",
        "${CLEARML_CONFIG.agent.git_user}",
        "${CLEARML_CONFIG.agent.extra_docker_arguments}",
        "${CLEARML_CONFIG.sdk.aws.s3.secret}",
        "${CLEARML_CONFIG.api.web_server}",
        "${CLEARML_USER.api_token}",
        "${CLEARML_USER_VAULTS.secret}",
        "${CLEARML_PROVIDERS_INFO.x}",
    ],
)
def test_without_a_value_it_is_an_error_and_never_a_secret(text: str) -> None:
    with pytest.raises(UserError) as caught:
        fill_text(text, VALUES, "container arguments of the task")
    assert caught.value.code == "placeholder"
    assert "container arguments of the task" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("s3cret", "g1tpass", "aws\n"))


def test_a_value_fills_a_word_and_is_read_as_an_option_afterwards() -> None:
    """Nothing is substituted after the arguments were judged; the last word is no exception."""
    words = fill(["-e", "A=1", "${CLEARML_TASK.name}"], VALUES, "task")
    assert [option.name for option in parse_arguments(words, Source.TASK)] == ["env", "privileged"]
    assert fill(["-e", "A=${CLEARML_TASK.name} -v /:/x"], VALUES, "task") == ("-e", "A=--privileged -v /:/x")


def test_what_the_owner_may_read_holds_no_secret_either() -> None:
    keys = harmless_keys()
    assert keys >= OPEN_KEYS
    assert "agent.docker_force_pull" in keys
    assert not {"agent.git_pass", "api.credentials.secret_key", "agent.extra_docker_arguments"} & keys


@given(st.text(alphabet="${}CLEARML_TASK.name:|lower() \n", max_size=40), st.text(max_size=10))
def test_values_are_not_filled_in_again(text: str, value: str) -> None:
    values = TaskValues(task={"name": "${CLEARML_TASK.id}" + value, "id": "inner"})
    try:
        filled = fill_text(text + "${CLEARML_TASK.name|raw}", values, "here")
    except UserError:
        return
    assert filled.endswith("${CLEARML_TASK.id}" + value) or text.endswith("$")
