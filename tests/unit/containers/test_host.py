"""What of this machine a container is given, looked at and made."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.config import Settings, load_settings
from clearml_agent_clone.containers.gpus import GpuHost
from clearml_agent_clone.containers.host import gpu_host, host_mounts, own_mounts
from clearml_agent_clone.containers.life import home_mark
from clearml_agent_clone.containers.mounts import Mount
from clearml_agent_clone.errors import UserError


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ((), GpuHost(nvidia=False)),
        (("dev/nvidia0",), GpuHost(nvidia=True)),
        (("dev/kfd", "dev/dri/renderD129", "dev/dri/renderD128", "dev/dri/card0"), GpuHost(False, True, (128, 129))),
    ],
)
def test_graphics_cards_are_known_by_their_device_files(
    tmp_path: Path, files: tuple[str, ...], expected: GpuHost
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert gpu_host(tmp_path) == expected


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "empty.conf").touch()
    return load_settings(tmp_path / "empty.conf").settings


def test_caches_are_made_and_keys_are_copied_without_sockets(settings: Settings, tmp_path: Path) -> None:
    keys = tmp_path / ".ssh"
    (keys / "more").mkdir(parents=True)
    (keys / "id").write_text("key")
    (keys / "more" / "known").write_text("host")
    with socket.socket(socket.AF_UNIX) as open_socket:
        open_socket.bind(os.path.relpath(keys / "mux"))
        run = tmp_path / "run"
        run.mkdir()
        plan = host_mounts(settings, {}, run, {"HOME": str(tmp_path)})
    assert (run / "ssh" / "id").read_text() == "key"
    assert (run / "ssh" / "more" / "known").stat().st_mode & 0o777 == 0o600
    assert not (run / "ssh" / "mux").exists()
    by_target = {mount.inside: mount for mount in plan.mounts}
    assert by_target["/.ssh"] == attrs.evolve(by_target["/.ssh"], host=str(run / "ssh"), read_only=True)
    assert all(Path(mount.host).is_dir() for mount in plan.mounts)
    assert by_target["/clearml_agent_cache"].host == str(tmp_path / ".clearml" / "cache")


def test_beside_the_agents_own_container_what_is_needed_must_be_there() -> None:
    environ = {"CLEARML_AGENT_K8S_HOST_MOUNT": "/host/agent:/root/.clearml"}
    mounts = (Mount("/root/.clearml/runs/1/code", "/clearml/code"),)
    assert own_mounts(mounts, environ)[0].host == "/host/agent/runs/1/code"
    with pytest.raises(UserError, match="/elsewhere is not below the folder"):
        own_mounts((*mounts, Mount("/elsewhere", "/x")), environ)


def test_a_state_folder_has_one_mark_for_ever(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    found = home_mark(tmp_path)
    assert len(found) == 16
    assert home_mark(tmp_path) == found != home_mark(tmp_path / "other")
