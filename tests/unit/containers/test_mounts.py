"""What of the host containers see without asking."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.config.settings_docker import DockerSettings
from clearml_agent_clone.containers.mounts import (
    HostFacts,
    HostMount,
    Mount,
    MountPlan,
    Purpose,
    for_siblings,
    plan_mounts,
)
from clearml_agent_clone.errors import UserError

DOCKER = DockerSettings(pip_cache=Path("/c/pip"), apt_cache=Path("/c/apt"), poetry_cache=Path("/c/poetry"))
FACTS = HostFacts(
    existing=("/home/a/.ssh",), home="/home/a", ssh_copy="/run/1/ssh", sdk_cache="/c/sdk", pip_download="/c/down",
    vcs="/c/vcs", venvs="/c/venvs",
)  # fmt: skip


def pairs(plan: MountPlan) -> list[str]:
    return [f"{mount.host}:{mount.inside}" + ":ro" * mount.read_only for mount in plan.mounts]


def test_the_table() -> None:
    plan = plan_mounts(DOCKER, FACTS)
    assert pairs(plan) == [
        "/run/1/ssh:/.ssh:ro",
        "/c/apt:/var/cache/apt/archives",
        "/c/pip:/root/.cache/pip",
        "/c/down:/root/.clearml/pip-download-cache",
        "/c/sdk:/clearml_agent_cache",
    ]
    assert plan.copy_ssh_from == "/home/a/.ssh"
    every = plan_mounts(DOCKER, attrs.evolve(FACTS, poetry=True, slot=2), frozenset(Purpose))
    assert "/c/apt.2:/var/cache/apt/archives" in pairs(every)
    assert pairs(every)[-4:] == [
        "/c/down:/root/.clearml/pip-download-cache",
        "/c/sdk:/clearml_agent_cache",
        "/c/vcs:/root/.clearml/vcs-cache",
        "/c/venvs:/root/.clearml/venvs-cache",
    ]
    assert "/c/poetry:/root/.cache/pypoetry" in pairs(every)


def test_the_ssh_agent_takes_the_place_of_the_keys() -> None:
    plan = plan_mounts(DOCKER, attrs.evolve(FACTS, ssh_auth_sock="/tmp/agent.sock"))
    assert pairs(plan)[0] == "/tmp/agent.sock:/tmp/agent.sock"
    assert not any(".ssh" in pair for pair in pairs(plan))
    assert plan.copy_ssh_from == ""


def test_no_keys_where_there_are_none_or_they_are_not_wanted() -> None:
    for docker, facts in (
        (attrs.evolve(DOCKER, disable_ssh_mount=True), attrs.evolve(FACTS, ssh_auth_sock="/tmp/agent.sock")),
        (DOCKER, attrs.evolve(FACTS, existing=())),
    ):
        plan = plan_mounts(docker, facts)
        assert not any("ssh" in pair or "agent.sock" in pair for pair in pairs(plan))
        assert plan.copy_ssh_from == ""
    with_git = plan_mounts(
        attrs.evolve(DOCKER, disable_ssh_mount=True), attrs.evolve(FACTS, existing=("/home/a/.gitconfig",))
    )
    assert pairs(with_git)[0] == "/home/a/.gitconfig:/.ssh.git/.gitconfig:ro"


def test_a_mount_on_the_command_line() -> None:
    assert Mount("/a b", "/x").option.token == "--mount=type=bind,source=/a b,target=/x"
    assert Mount("/a:b", "/x", True).option.token == "--mount=type=bind,source=/a:b,target=/x,readonly"
    assert Mount("/a,b", "/x").option.token == '--mount=type=bind,"source=/a,b",target=/x'
    for path in ('/a"b', "a", "/a\nb", "~/.ssh"):
        with pytest.raises(UserError):
            _ = Mount(path, "/x").option


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/root/.clearml/cache", "/opt/agent/cache"),
        ("/root/.clearml", "/opt/agent"),
        ("/root/.clearml/a/../b", "/opt/agent/b"),
        ("/root/.clearml/../x", None),
        ("/root/.clearml2", None),
        ("/c/pip", None),
    ],
)
def test_paths_as_the_host_has_them(path: str, host: str | None) -> None:
    assert HostMount.parse("/opt/agent:/root/.clearml/").translate(path) == host


def test_what_the_host_does_not_have_is_left_out() -> None:
    plan = MountPlan((Mount("/root/.clearml/sdk", "/x"), Mount("/c/pip", "/y")), "/root/.ssh")
    translated = for_siblings(plan, HostMount.parse("/opt/agent:/root/.clearml"))
    assert pairs(translated) == ["/opt/agent/sdk:/x"]
    assert translated.remarks == ("Warning: K8S mount missing, ignoring cached folder /c/pip",)
    for text in ("", "/a", "a:/b", "/a:b", "/a:/b:/c"):
        with pytest.raises(UserError, match="HOST_MOUNT"):
            HostMount.parse(text)
