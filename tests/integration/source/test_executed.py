"""A whole agent with real git servers: what it tells about the code, and what it keeps to itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.git_http import GitHost
from tests.helpers.git_watch import files_with, watching
from tests.helpers.worker_tools import Agent
from tests.integration.conftest import Server

from .conftest import Upstream

LOGIN = ("ada-of-the-agent", "pass-of-the-agent")
BACKEND = """
import zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name, info = "privlib-1.0-py3-none-any.whl", "privlib-1.0.dist-info/"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("privlib.py", "WORD = 'from a private repository'\\n")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: privlib\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.fixture
def agent(shared_server: Server, tmp_path: Path) -> Iterator[Agent]:
    home = tmp_path / "home"
    home.mkdir()
    made = Agent(shared_server, home)
    yield made
    made.close()


@pytest.fixture
def private(git_host: GitHost, upstream: Upstream) -> GitHost:
    """Repositories that ask for the password: ``project``, and ``privlib``, which is a package."""
    library = Upstream.new(git_host.root / "privlib")
    library.write("pyproject.toml", PROJECT)
    library.write("backend.py", BACKEND)
    library.commit()
    upstream.write("train.py", "import os, privlib\nprint(privlib.WORD)\nprint(sorted(os.environ.items()))\n")
    upstream.commit("uses the package")
    git_host.passwords["127.0.0.1"] = LOGIN
    return git_host


@pytest.mark.parametrize(("installer", "told"), [("uv", "by configuration"), ("pip", "by flags")])
def test_code_and_package_of_a_private_host(
    private: GitHost, agent: Agent, upstream: Upstream, installer: str, told: str
) -> None:
    """The task's repository and a git requirement get the password; nobody else gets to see it.

    With flags the agent itself shows it, as its user wanted, and nothing that it starts does.
    """
    user, password = LOGIN
    flags = ["--git-user", user, "--git-pass", password] if told == "by flags" else []
    conf = agent.home.parent / "clearml.conf"
    section = "" if flags else f"\nagent {{ git_user: {user}, git_pass: {password} }}\n"
    conf.write_text(agent.server.conf.read_text() + section)
    conf.chmod(0o600)
    commit, url = upstream.git("rev-parse", "HEAD"), private.url("project")
    pip = {"pip": f"privlib @ git+{private.url('privlib')}\n"}
    task = agent.task("", repository=url, entry_point="train.py", requirements=pip)
    with watching(agent.home) as seen:
        done = agent.run(
            "execute", "--id", task, *flags,
            CLEARML_CONFIG_FILE=str(conf), CLEARML_AGENT__AGENT__PACKAGE_MANAGER__TYPE=f'"{installer}"',
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "from a private repository" in done.stdout
    assert any("/privlib/" in path and login for _, path, login in private.asked)

    words = (password,)
    assert {command.split()[0] for command in seen.showing("project")} >= {"git"}
    showing = [command for command in seen.showing(*words) if not (flags and "clearml_agent_clone" in command)]
    assert showing == []
    assert seen.readable == set()
    found = files_with(agent.home, *words)  # the parsed configuration is kept, for its owner only
    assert [path for path in found if path.parent.name != "config-cache" or path.stat().st_mode & 0o077] == []
    record = agent.get(task)
    assert not any(
        word in text for word in words for text in (done.stdout, done.stderr, agent.console(task), str(record))
    )

    block = f"Code of the task:\n  type: git\n  url: {url}\n  branch: main\n  commit: {commit}\n  state: clean\n"
    assert block in done.stdout
    assert block in agent.console(task)
    assert (record["script"]["version_num"], record["script"]["branch"]) == (commit, "main")
    assert record["script"]["repository"] == url
    facts = f"repository={url}, branch=main, commit={commit}, state=clean, from=clone"
    assert record["runtime"]["_exec_agent_source"] == facts
    assert "privlib" in record["script"]["requirements"]["pip"]


def test_what_was_recorded_stays(agent: Agent, upstream: Upstream) -> None:
    """A task that names its commit keeps what it names; where its packages fail the code is told all the same."""
    commit = upstream.git("rev-parse", "HEAD")
    upstream.write("model.py", "x = 1\n")
    script = {"repository": str(upstream.path), "version_num": commit[:10], "branch": "main", "entry_point": "train.py"}
    task = agent.task(upstream.diff(), **script, requirements={"pip": "no such requirement\n"})
    done = agent.run("execute", "--id", task)
    assert done.returncode == 1
    record = agent.get(task)
    assert {name: record["script"][name] for name in script} == script
    state = "dirty (with the task's uncommitted changes)"
    assert f"  commit: {commit}\n  state: {state}\n  from: new clone\n" in agent.console(task)
    assert f"commit={commit}, state=dirty, from=clone" in record["runtime"]["_exec_agent_source"]
