"""Mercurial repositories, with the real program: by path and from its own server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.errors import Retryable, UserError
from clearml_agent_clone.source import SourceSettings
from tests.helpers.git_ssh import install_debian

from .conftest import Fetch


@pytest.fixture(scope="session", autouse=True)
def hg_program() -> None:
    """Where it is not, root gets it from the distribution; others skip these tests."""
    if shutil.which("hg") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        install_debian("mercurial")
    if shutil.which("hg") is None:
        pytest.skip("there is no hg (Debian package mercurial)")


def hg(folder: Path, *arguments: str) -> str:
    environ = {**os.environ, "HGPLAIN": "1", "HGUSER": "Ada", "HGRCPATH": ""}
    done = subprocess.run(["hg", *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with two changesets on ``default`` and one on ``side``."""
    folder = tmp_path / "hg" / "project"
    folder.mkdir(parents=True)
    hg(folder, "init")
    for text in ("one", "two"):
        (folder / "train.py").write_text(f"print('{text}')\n")
        hg(folder, "commit", "--addremove", "--message", text)
    hg(folder, "branch", "side")
    (folder / "train.py").write_text("print('side')\n")
    hg(folder, "commit", "--message", "side")
    hg(folder, "update", "default")
    return folder


def node(folder: Path, revision: str) -> str:
    return hg(folder, "log", "--rev", revision, "--template", "{node}")


@pytest.mark.slow
def test_changeset_branch_and_default(project: Path, fetch: Fetch) -> None:
    first = fetch(repository=str(project), version_num=node(project, "0"))
    assert (first.root / "train.py").read_text() == "print('one')\n"
    assert (first.commit, first.branch, first.repository) == (node(project, "0"), "default", str(project))
    assert (first.dirty, first.reused) == (False, ())
    assert "two" in (fetch(repository=str(project)).root / "train.py").read_text()
    assert "side" in (fetch(repository=str(project), branch="side").root / "train.py").read_text()
    short = fetch(repository=str(project), version_num=node(project, "1")[:12])
    assert short.commit == node(project, "1")
    assert hg(short.root, "paths", "default").strip() == str(project)


def test_the_second_task_needs_no_network(project: Path, fetch: Fetch) -> None:
    commit = node(project, "1")
    fetch(repository=str(project), version_num=commit)
    project.rename(project.with_name("gone"))
    (project / ".hg").mkdir(parents=True)
    again = fetch(repository=str(project), version_num=commit)
    assert again.reused == ("mirror", "commit")
    assert hg(again.root, "status") == ""


@pytest.mark.slow
def test_uncommitted_changes(project: Path, fetch: Fetch) -> None:
    commit = node(project, ".")
    (project / "train.py").write_text("print('changed')\n")
    (project / "new.py").write_text("x = 1\n")
    hg(project, "add", "new.py")
    for options in ([], ["--git"]):
        diff = hg(project, "diff", *options)
        result = fetch(repository=str(project), version_num=commit, diff=diff)
        assert (result.root / "train.py").read_text() == "print('changed')\n"
        assert (result.root / "new.py").read_text() == "x = 1\n"
        assert result.dirty
    with pytest.raises(
        UserError, match=r"uncommitted changes do not apply: train.py: 1 out of 1 hunks? FAILED"
    ) as caught:
        fetch(repository=str(project), version_num=node(project, "0"), diff=diff)
    assert caught.value.code == "diff-failed"


def test_what_is_not_there(project: Path, fetch: Fetch) -> None:
    for fields in ({"version_num": "f" * 40}, {"branch": "nowhere"}):
        with pytest.raises(UserError, match="is not in") as caught:
            fetch(repository=str(project), **fields)
        assert caught.value.code == "commit-not-found"


def test_without_the_program(project: Path, fetch: Fetch, settings: SourceSettings) -> None:
    with pytest.raises(UserError, match="there is no hg on this machine") as caught:
        fetch(attrs.evolve(settings, environ={"PATH": "/nowhere"}), repository=str(project))
    assert caught.value.code == "program-missing"


@pytest.fixture
def address(project: Path, tmp_path: Path) -> Iterator[str]:
    """The repository from Mercurial's own server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "serve.conf"
    config.write_text(f"[paths]\nteam/project = {project}\n")
    server = subprocess.Popen(
        ["hg", "serve", "--address", "127.0.0.1", "--port", str(port), "--web-conf", config],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"hg+http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def test_from_a_server(address: str, project: Path, fetch: Fetch) -> None:
    result = fetch(repository=f"{address}/team/project", version_num=node(project, "1"))
    assert result.commit == node(project, "1")
    assert result.repository == f"{address}/team/project".removeprefix("hg+")
    with pytest.raises(UserError) as caught:
        fetch(repository=f"{address}/team/other")
    assert caught.value.code == "repository-not-found"
    with pytest.raises(Retryable):
        fetch(repository="hg+http://127.0.0.1:1/x")


@pytest.mark.parametrize("name", ["--config=hooks.x=touch ran", 'x" or all() or "'])
def test_a_revision_is_no_option_and_no_expression(project: Path, fetch: Fetch, name: str) -> None:
    with pytest.raises(UserError):
        fetch(repository=str(project), version_num=name)
