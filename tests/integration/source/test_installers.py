"""git requirements of pip and uv get the worker's credentials, each only for its host."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import attrs
import pytest
from uv import find_uv_bin

from clearml_agent_clone.api.types import Script
from clearml_agent_clone.source import GitCredential, SourceSettings, lend_to_installers, plan_source
from tests.helpers.git_http import GitHost

from .conftest import Upstream

LOGIN = ("ada", "pass-for-pip")
METADATA = '[project]\nname = "library"\nversion = "1.2.3"\ndependencies = []\n'


@pytest.fixture
def library(git_host: GitHost) -> str:
    repository = Upstream.new(git_host.root / "library")
    repository.write("pyproject.toml", METADATA)
    repository.commit()
    git_host.passwords["127.0.0.1"] = LOGIN
    return git_host.url("library")


def compile_with(variables: dict[str, str], requirement: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Have uv resolve a requirement: it clones, and reads name and version."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "UV_CACHE_DIR": str(home / "uv"), **variables}
    command = [find_uv_bin(), "--quiet", "pip", "compile", "--no-index", "--no-config", "-"]
    return subprocess.run(command, input=requirement, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("host", ["", "http://127.0.0.1"], ids=["of the repository", "named"])
def test_uv_gets_the_credentials(
    git_host: GitHost, library: str, settings: SourceSettings, tmp_path: Path, host: str
) -> None:
    credential = GitCredential.parse(host, *LOGIN)
    made = plan_source(
        Script(repository=git_host.url("project") if not host else "", diff="print(1)", entry_point="a.py"),
        attrs.evolve(settings, credentials=(credential,)),
    )
    with lend_to_installers(made, tmp_path) as variables:
        assert LOGIN[1] not in str(variables)
        done = compile_with(variables, f"library @ git+{library}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"library @ git+{library}@" in done.stdout
    assert git_host.logins
    assert LOGIN[1] not in done.stdout + done.stderr
    assert not list(tmp_path.glob(".git-access-*"))


def test_other_hosts_get_nothing(git_host: GitHost, library: str, settings: SourceSettings, tmp_path: Path) -> None:
    """The task's repository is elsewhere, so the credential without host is not for this one; nor without repository."""
    credential = GitCredential.parse("", *LOGIN)
    for repository in ("https://example.org/x", ""):
        made = plan_source(
            Script(repository=repository, diff="print(1)", entry_point="a.py"),
            attrs.evolve(settings, credentials=(credential,)),
        )
        with lend_to_installers(made, tmp_path) as variables:
            assert compile_with(variables, f"library @ git+{library}", tmp_path).returncode != 0
    assert git_host.logins == []


def test_ssh_requirements_go_where_the_credentials_are(
    git_host: GitHost, library: str, settings: SourceSettings, tmp_path: Path
) -> None:
    credential = GitCredential.parse(f"127.0.0.1:{git_host.port}", *LOGIN)
    http = attrs.evolve(settings, credentials=(attrs.evolve(credential, scheme="http"),), translate_scheme="http")
    made = plan_source(Script(diff="print(1)", entry_point="a.py"), http)
    with lend_to_installers(made, tmp_path) as variables:
        done = compile_with(variables, "library @ git+ssh://git@127.0.0.1/library", tmp_path)
    assert done.returncode == 0, done.stderr


def test_requirements_go_over_ssh_where_that_is_forced(settings: SourceSettings, tmp_path: Path) -> None:
    """For the forced host, else for that of the task's repository; git itself says where it would go."""
    for host, wanted in (("", "ssh://me@example.org:2222/x/lib"), ("other.org", "https://example.org/x/lib")):
        forced = attrs.evolve(settings, force_ssh=True, force_ssh_host=host, force_ssh_user="me", force_ssh_port=2222)
        made = plan_source(Script(repository="https://example.org/x/main", entry_point="a.py"), forced)
        with lend_to_installers(made, tmp_path) as variables:
            done = subprocess.run(
                ["git", "ls-remote", "--get-url", "https://example.org/x/lib"],
                env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
            )
        assert done.stdout.strip() == wanted
