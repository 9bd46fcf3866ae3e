"""A real sshd for tests: on a free port, as whoever runs the tests, with keys and configuration of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AcceptEnv GIT_PROTOCOL
LogLevel ERROR
"""


@attrs.frozen
class SshHost:
    """A running sshd and the key that it lets in."""

    folder: Path
    port: int
    user: str

    @property
    def key(self) -> Path:
        return self.folder / "user_key"

    @property
    def known(self) -> str:
        """What stands in a known_hosts file for it."""
        kind, key = (self.folder / "host_key.pub").read_text().split()[:2]
        return f"[127.0.0.1]:{self.port} {kind} {key}"

    def url(self, path: Path) -> str:
        return f"ssh://{self.user}@127.0.0.1:{self.port}{path}"


def find_sshd() -> str:
    """The server program. Where it is not, root gets it from the distribution; others skip the test."""
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = shutil.which("sshd", path=search)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        install_debian("openssh-server")
        found = shutil.which("sshd", path=search)
    if found is None:
        pytest.skip("there is no sshd (Debian package openssh-server)")
    return found


def install_debian(package: str) -> None:
    """Try to install a package; that it cannot be had is for the caller to notice."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "--yes", "--no-install-recommends", package]
    subprocess.run(command, env=environ, capture_output=True, check=False, timeout=100)


@contextlib.contextmanager
def serve_ssh(folder: Path) -> Iterator[SshHost]:
    """An sshd with its files in ``folder``."""
    program = find_sshd()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it, and a system without a running one may lack it
    for name in ("host_key", "user_key"):
        make_key(folder / name)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "sshd_config"
    config.write_text(_CONFIG.format(port=port, folder=folder))
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen([program, "-D", "-e", "-f", config], stderr=log)
    try:
        _wait_for(port, server)
        yield SshHost(folder, port, getpass.getuser())
    finally:
        server.terminate()
        server.wait(10)


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


@contextlib.contextmanager
def ssh_agent(key: Path) -> Iterator[str]:
    """An ssh-agent that holds ``key``; the value for ``SSH_AUTH_SOCK``."""
    place = key.parent / "agent"
    server = subprocess.Popen(["ssh-agent", "-D", "-a", place], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not place.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        environ = {**os.environ, "SSH_AUTH_SOCK": str(place)}
        subprocess.run(["ssh-add", "-q", key], env=environ, check=True, capture_output=True)
        yield str(place)
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    pytest.skip("sshd does not start here")
