"""What of a task's arguments counts, and hostile ones."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_agent_clone.config.settings_docker import DefaultDockerSettings, DockerSettings
from clearml_agent_clone.containers.arguments import Source, split_arguments
from clearml_agent_clone.containers.leave import needs_leave
from clearml_agent_clone.containers.options import Engine
from clearml_agent_clone.containers.policy import Agreed, Policy, agree, given_away
from clearml_agent_clone.containers.task_mounts import AllowedMount
from clearml_agent_clone.errors import UserError

STRICT = Policy.of(DockerSettings())
PERMISSIVE = attrs.evolve(STRICT, permissive=True)


def decide(text: str, policy: Policy = STRICT, extra: tuple[str, ...] = (), source: Source = Source.TASK) -> Agreed:
    return agree(split_arguments(text), source, extra, policy, environ={"HOST": "here", "CLEARML_API_SECRET_KEY": "s3"})


def tokens(text: str, policy: Policy = STRICT, extra: tuple[str, ...] = (), source: Source = Source.TASK) -> list[str]:
    return [option.token for option in decide(text, policy, extra, source).options]


HOSTILE = """
--privileged
--privileged=true
--privileged=1
-itv /:/host --privileged
-v /:/host
-v=/:/host
-v/:/host
--volume=/:/host:ro
--volume /etc:/etc
-itv/:/host
-v /data/../etc:/x
-v /database:/x
-v /data/a/../b:/x
-v ../etc:/x
-v ~/.ssh:/x
-v postgres_data:/x
-v /data:/x:rshared
-v /data:/x:Z
-v /data:/x:ro,U
-v /readable:/x
-v /readable:/x:rw
-v /var/run/docker.sock:/s
--mount type=bind,source=/,target=/host
--mount type=bind,src=/etc,dst=/x,readonly
--mount TYPE=BIND,SRC=/,DST=/x
--mount type=tmpfs,type=bind,source=/,target=/x
--mount source=/data,source=/,type=bind,target=/x
--mount type=bind,source=/etc,source=/data,target=/x
--mount type=volume,source=postgres_data,target=/x
--mount 'type=volume,target=/x,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/'
--mount 'type=bind,"source=/",target=/x'
--mount type=bind,source=/data,target=/x,bind-propagation=rshared
--mount type=bind,source=/readable,target=/x
--mount type=bind,source=/readable,target=/x,readonly=false
--mount type=npipe,source=/data,target=/x
--mount type=image,source=secret,target=/x
--mount type=bind,source=data,target=/x
--pid=host
--pid container:other
--ipc=container:other
--net=host
--net host
--network=container:other
--network=ns:/proc/1/ns/net
--network=production_default
--uts=host
--userns=host
--cgroupns=host
--device=/dev/sda
--device /dev/mem:/dev/mem:rwm
--device-cgroup-rule='a *:* rwm'
--cap-add=SYS_ADMIN
--cap-add ALL
--security-opt seccomp=unconfined
--security-opt=apparmor:unconfined
--security-opt=no-new-privileges:false
--cgroup-parent=/
--volumes-from other
--volume-driver=evil
--env-file=/etc/shadow
--env-file /proc/1/environ
--label-file=/etc/shadow
--runtime=runc-evil
--sysctl kernel.msgmax=1
--oom-kill-disable
--oom-score-adj=-1000
--link db:db
--log-driver=syslog
--log-opt syslog-address=tcp://evil:514
--storage-opt size=1T
--use-api-socket
--cpu-rt-runtime=950000
--ip=10.0.0.1
--mac-address=02:42:ac:11:00:02
--annotation run.oci.handler=x
--group-add=keep-groups
--disable-content-trust
--isolation=process
""".strip().splitlines()


@pytest.mark.parametrize("text", HOSTILE)
def test_needs_the_owners_leave(text: str) -> None:
    policy = attrs.evolve(STRICT, mounts=(AllowedMount.parse("/data"), AllowedMount.parse("/readable:ro")))
    with pytest.raises(UserError, match="leave of this machine's owner") as caught:
        decide(text, policy)
    assert caught.value.code == "container-argument-refused"
    assert "\n" not in str(caught.value)
    assert decide(text, PERMISSIVE).options
    assert decide(text, STRICT, source=Source.DEFAULT).options


@pytest.mark.parametrize(
    "text", ["--env-host", "--rootfs", "--secret=x", "--uidmap=0:0:1", "--init-path=/x", "--hooks-dir=/x", "--pod=x",
             "--replace", "--rmi", "--authfile=/x", "--creds=a:b", "--group-entry=x", "--seccomp-policy=image"]
)  # fmt: skip
def test_so_do_options_of_podman(text: str) -> None:
    with pytest.raises(UserError, match="leave"):
        decide(text, attrs.evolve(STRICT, engine=Engine.PODMAN))


HARMLESS = """
--shm-size=8g
-e A=1
--env=A=b=c
-m 4g
--cpus 2.5
--ulimit memlock=-1
--ulimit stack=67108864
-v /work
-v /data:/x
-v /data/deep/er:/x:ro
-v /readable/sub:/x:ro
-v datasets:/x
--mount type=bind,source=/data/a,target=/x,readonly
--mount type=bind,src=/readable,dst=/x,ro
--mount type=tmpfs,target=/x,tmpfs-size=1000
--mount type=volume,target=/x
--tmpfs /run:size=1g
--privileged=false
--ipc=private
--network=none
--network bridge
--security-opt=no-new-privileges
--group-add 100
--user 1000:1000
-w /x
-u nobody
-p 8080:80
--hostname box
--add-host=db:10.0.0.1
--label team=a
--oom-score-adj=500
--cap-drop=ALL
--read-only
--platform=linux/amd64
""".strip().splitlines()


@pytest.mark.parametrize("text", HARMLESS)
def test_any_task_may(text: str) -> None:
    mounts = tuple(map(AllowedMount.parse, ("/data", "/readable:ro", "datasets")))
    assert len(decide(text, attrs.evolve(STRICT, mounts=mounts)).options) == 1


IGNORED = """
--rm
-it
-d
--name=production
--gpus all
--gpus="device=7"
-e NVIDIA_VISIBLE_DEVICES=all
-e CLEARML_TASK_ID=other
-e CLEARML_WORKER_ID=other
--env=CLEARML_CONFIG_FILE=/x
-l clearml-worker-id=other
--label=clearml-run-id=other
--label=CLEARML-run-id=other
--entrypoint=/bin/evil
--entrypoint evil
--cidfile=/etc/passwd
--restart=always
--pull=always
-e AWS_SECRET_ACCESS_KEY
--env HOST
""".strip().splitlines()


@pytest.mark.parametrize("text", IGNORED)
def test_is_left_out_with_a_remark(text: str) -> None:
    agreed = decide(text)
    assert agreed.options == ()
    assert agreed.remarks


@pytest.mark.parametrize("text", ["--rm ubuntu", "-e A=1 ubuntu bash", "-- ubuntu", "--privileged true", "-e"])
def test_a_permissive_policy_lets_no_image_in(text: str) -> None:
    with pytest.raises(UserError):
        decide(text, PERMISSIVE)
    with pytest.raises(UserError):
        decide("", extra=split_arguments(text))


def test_every_reason_is_named_at_once() -> None:
    with pytest.raises(UserError) as caught:
        decide("--privileged --pid=host -v /etc:/x -e A=1")
    assert all(text in str(caught.value) for text in ("--privileged", "--pid", "/etc", "docker_task_args_allowed"))


def test_messages_hold_nothing_that_a_terminal_obeys() -> None:
    for text in ("-v '/etc\x1b[2J\r:/x'", "'--pri\x1b[2J'", "--mount 'type=bind,src=/a\r,dst=/x'"):
        with pytest.raises(UserError) as caught:
            decide(text)
        assert str(caught.value).isprintable()


def test_the_owner_may_allow_single_options() -> None:
    policy = Policy.of(DockerSettings(task_args_allowed=("--ipc=host", "device", "--privileged")))
    assert tokens("--ipc=host --device=/dev/fuse --privileged", policy)
    with pytest.raises(UserError):
        decide("--ipc=container:x", policy)
    for text in ("--nonsense", "--privileged=maybe"):
        with pytest.raises(UserError, match="docker_task_args_allowed"):
            Policy.of(DockerSettings(task_args_allowed=(text,)))
    for text in ("relative/path", "", "/data:rx"):
        with pytest.raises(UserError, match="docker_task_mounts_allowed"):
            AllowedMount.parse(text)


def test_what_the_configuration_gives_to_everybody_needs_no_leave() -> None:
    """An image of the shipped rules brings --ipc=host, which is recorded with the task and comes back with its clone."""
    docker = DockerSettings(default=DefaultDockerSettings(arguments=("-v /mnt:/mnt",)))
    given = given_away(docker)
    agreed = agree(["--ipc", "host", "-v", "/mnt:/mnt"], Source.TASK, (), STRICT, given=given)
    assert [option.token for option in agreed.options] == ["--ipc=host", "--volume=/mnt:/mnt"]
    with pytest.raises(UserError):
        agree(["-v", "/mnt:/mnt:rw"], Source.TASK, (), STRICT, given=given)


def test_a_link_on_the_host_is_followed() -> None:
    links = {"/data/link": "/etc", "/data": "/mnt/disk1", "/data/sub": "/mnt/disk1/sub"}
    policy = attrs.evolve(STRICT, mounts=(AllowedMount.parse("/data"),))

    def mounted(text: str) -> list[str]:
        words = split_arguments(text)
        options = agree(words, Source.TASK, (), policy, resolve=lambda path: links.get(path, path)).options
        return [option.token for option in options]

    assert mounted("-v /data/sub:/x:ro") == ["--volume=/mnt/disk1/sub:/x:ro"]
    assert mounted("--mount type=bind,src=/data/sub,dst=/x") == ["--mount=type=bind,source=/mnt/disk1/sub,dst=/x"]
    with pytest.raises(UserError):
        mounted("-v /data/link:/x")


def test_an_allowed_root_covers_everything_and_a_prefix_does_not() -> None:
    assert AllowedMount.parse("/").covers("/etc")
    assert not AllowedMount.parse("/data").covers("/database")
    assert not AllowedMount.parse("data").covers("/data")


@pytest.mark.parametrize(
    ("filters", "text", "kept"),
    [
        (("^--env",), "--env-file=/etc/shadow --env=A=1 -e B=2", ["--env=A=1", "--env=B=2"]),
        (("^-e$",), "-eA=1 --env B=2 --shm-size=1g", ["--env=A=1", "--env=B=2"]),
        (("--shm-size=.*g",), "--shm-size 8g --shm-size=9t", ["--shm-size=8g"]),
        (("--net=none",), "--network none --net=bridge", ["--network=none"]),
        (("^--shm-size", "^-m"), "--memory=1g -m 2g --shm-size=1g", ["--memory=1g", "--memory=2g", "--shm-size=1g"]),
    ],
)
def test_filters_match_whole_options_in_every_spelling(filters: tuple[str, ...], text: str, kept: list[str]) -> None:
    assert tokens(text, Policy.of(DockerSettings(args_filters=filters))) == kept


def test_a_filter_that_is_no_expression_is_told() -> None:
    with pytest.raises(UserError, match="docker_args_filters"):
        Policy.of(DockerSettings(args_filters=("[",)))


def test_forbidden_arguments_are_taken_out_of_both_lists() -> None:
    policy = Policy.of(DockerSettings(forbidden_args=("entrypoint", "net", "-v")))
    agreed = decide(
        "--entrypoint x --network none -e A=1", policy, ("--entrypoint=y", "--volume=/a:/b", "--init=false")
    )
    assert [option.token for option in agreed.options] == ["--env=A=1"]
    assert any(
        "clearml-agent: "
        + remark
        == "clearml-agent: ignoring docker argument(s) --entrypoint; they would override the agent startup script and "
        "prevent the task from running"
        for remark in decide("--entrypoint x").remarks
    )


def test_protected_switches_of_the_owner_win_in_every_spelling() -> None:
    assert tokens("--network=none -e A=1", extra=("--net=host",)) == ["--network=host", "--env=A=1"]
    policy = Policy.of(DockerSettings(extra_precedes_task=False))
    assert tokens("--net=none -e A=1", policy, ("--network", "host", "-e", "A=2")) == [
        "--network=none", "--env=A=1", "--env=A=2",
    ]  # fmt: skip


def test_this_machines_variables_only_where_that_is_set() -> None:
    assert tokens("-e A=$HOST -e B=${HOST}x") == ["--env=A=$HOST", "--env=B=${HOST}x"]
    policy = Policy.of(DockerSettings(allow_host_environ=True))
    assert tokens("-e A=$HOST -e B=${HOST}x -e HOST -e C=$NONE", policy) == [
        "--env=A=here", "--env=B=herex", "--env=HOST=here", "--env=C=$NONE",
    ]  # fmt: skip
    assert tokens("", extra=("-e", "A=$HOST", "-e HOST")) == ["--env=A=here", "--env=HOST=here"]


@pytest.mark.parametrize(
    "text", ["-e A=$CLEARML_API_SECRET_KEY", "-e A=${CLEARML_API_SECRET_KEY}", "-e CLEARML_API_SECRET_KEY"]
)
def test_never_the_agents_own_secrets(text: str) -> None:
    for policy in (Policy.of(DockerSettings(allow_host_environ=True)), PERMISSIVE):
        assert not any("s3" in token for token in tokens(text, policy))


def test_unknown_switches_come_last_and_are_told() -> None:
    agreed = decide("--brand-new --shm-size=1g --other=x", PERMISSIVE)
    assert [option.token for option in agreed.options] == ["--shm-size=1g", "--brand-new", "--other=x"]
    assert len(agreed.remarks) == 2
    with pytest.raises(UserError, match="no option"):
        decide("--brand-new")


WORDS = st.lists(
    st.sampled_from(
        ["-v", "/:/h", "--privileged", "--pid=host", "-e", "A=1", "--net", "host", "-it", "--", "img", "--mount",
         "type=bind,src=/,dst=/h", "--device=/dev/sda", "--gpus", "all", "-ve", "--shm-size=1g", "--name", "-x"]
    ),
    max_size=8,
)  # fmt: skip


@given(WORDS)
def test_nothing_that_needs_leave_gets_through_in_any_combination(words: list[str]) -> None:
    try:
        options = agree(words, Source.TASK, (), STRICT).options
    except UserError:
        return
    for option in options:
        assert option.name not in ("privileged", "device", "gpus", "name", "mount", "pid")
        assert option.name == "volume" or not needs_leave(option)
        assert option.name != "volume" or ":" not in option.text
