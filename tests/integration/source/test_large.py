"""Large files (git-lfs), long histories and partial clones, from a server."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source import GitCredential, SourceSettings
from tests.helpers.git_http import GitHost, serve
from tests.helpers.git_ssh import install_debian

from .conftest import Fetch, Recorder, Upstream

CONTENT = b"weights " * 1000
LOGIN = ("ada", "large-pass")


@pytest.fixture(scope="session")
def git_lfs() -> None:
    """The program. Where it is not, root gets it from the distribution; others skip the test."""
    if shutil.which("git-lfs") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        install_debian("git-lfs")
    if shutil.which("git-lfs") is None:
        pytest.skip("there is no git-lfs (Debian package git-lfs)")


@pytest.fixture
def large(git_host: GitHost, upstream: Upstream) -> Upstream:
    """A repository with one large file, whose attributes stand in the folder of the file."""
    upstream.write("data/.gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    upstream.write("data/model.bin", git_host.add_large(CONTENT))
    upstream.commit("large")
    return upstream


@pytest.fixture
def private(git_host: GitHost, settings: SourceSettings) -> SourceSettings:
    git_host.passwords["127.0.0.1"] = LOGIN
    return attrs.evolve(settings, credentials=(GitCredential.parse("", *LOGIN),), allow_local=False)


@pytest.mark.usefixtures("git_lfs", "large")
def test_large_files_are_loaded_once(git_host: GitHost, fetch: Fetch, private: SourceSettings) -> None:
    first = fetch(private, repository=git_host.url("project"))
    assert (first.root / "data/model.bin").read_bytes() == CONTENT
    assert {secret for _, secret in git_host.logins} == {":".join(LOGIN)}
    assert Upstream(first.root).git("status", "--porcelain") == ""
    config = (first.root / ".git" / "config").read_text()
    assert LOGIN[1] not in config
    git_host.status = 503  # no network at all
    again = fetch(private, repository=git_host.url("project"), version_num=first.commit)
    assert (again.root / "data/model.bin").read_bytes() == CONTENT
    assert again.reused == ("mirror", "commit")


@pytest.mark.usefixtures("git_lfs", "large")
def test_a_large_file_that_was_never_pushed(git_host: GitHost, fetch: Fetch, private: SourceSettings) -> None:
    git_host.large.clear()
    with pytest.raises(UserError, match=r"a large file of .*/project cannot be loaded: .*model.bin") as caught:
        fetch(private, repository=git_host.url("project"))
    assert caught.value.code == "lfs-failed"
    assert "git lfs push" in caught.value.remedy


@pytest.mark.usefixtures("git_lfs")
@pytest.mark.parametrize("known", [False, True], ids=["a stranger", "with credentials of its own"])
def test_large_files_of_another_host(
    git_host: GitHost, large: Upstream, fetch: Fetch, private: SourceSettings, tmp_path: Path, *, known: bool
) -> None:
    """A repository may name any host for its large files: that one gets what is for it, and nothing else."""
    (tmp_path / "elsewhere").mkdir()
    with serve(tmp_path / "elsewhere") as other:
        other.add_large(CONTENT)
        other.passwords["localhost"] = ("bob", "other-pass")
        large.write(".lfsconfig", f"[lfs]\n\turl = {other.url('x/info/lfs', 'localhost')}\n")
        large.commit()
        own = GitCredential.parse("http://localhost", "bob", "other-pass")
        mine = attrs.evolve(private, credentials=(*private.credentials, *((own,) if known else ())))
        if known:
            assert (fetch(mine, repository=git_host.url("project")).root / "data/model.bin").read_bytes() == CONTENT
        else:
            with pytest.raises(UserError):
                fetch(mine, repository=git_host.url("project"))
        assert other.asked
        assert {login for _, login in other.logins} == ({"bob:other-pass"} if known else set())


@pytest.mark.usefixtures("large")
def test_without_the_program_the_console_says_so(
    git_host: GitHost, fetch: Fetch, settings: SourceSettings, console: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(shutil.which("git") or "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tmp_path / "bin"))
        mine = attrs.evolve(settings, environ=dict(os.environ))
        result = fetch(mine, repository=git_host.url("project"))
        with pytest.raises(UserError, match=r"data/model\.bin are kept with git-lfs") as caught:
            fetch(attrs.evolve(mine, lfs_required=True), repository=git_host.url("project"))
    assert caught.value.code == "lfs-missing"
    assert list((tmp_path / "run2").iterdir()) == []
    assert (result.root / "data/model.bin").read_bytes().startswith(b"version https://git-lfs")
    assert (
        "WARNING: 1 file(s) such as data/model.bin are kept with git-lfs, which is not on this machine" in console.text
    )


def history(upstream: Upstream, length: int) -> list[str]:
    commits = []
    for number in range(length):
        upstream.write("big.txt", os.urandom(20_000).hex())
        upstream.write("train.py", f"print({number})\n")
        commits.append(upstream.commit(f"number {number}"))
    return commits


def size(settings: SourceSettings) -> int:
    return sum(file.stat().st_size for file in settings.vcs_cache_path.rglob("*.pack"))


def test_a_shallow_mirror_has_each_commit_that_is_asked_for(
    git_host: GitHost, upstream: Upstream, fetch: Fetch, settings: SourceSettings
) -> None:
    commits = history(upstream, 6)
    shallow = attrs.evolve(settings, clone_depth=1)
    result = fetch(shallow, repository=git_host.url("project"))
    assert result.commit == commits[-1]
    log = subprocess.run(["git", "log", "--format=%H"], cwd=result.root, capture_output=True, check=True, text=True)
    assert log.stdout.split() == [commits[-1]]
    for number in (3, 4):  # older and newer than what was fetched before
        older = fetch(shallow, repository=git_host.url("project"), version_num=commits[number])
        assert (older.root / "train.py").read_text() == f"print({number})\n"
    before = size(shallow)
    assert before < 5 * 20_000 * 1.3
    short = fetch(shallow, repository=git_host.url("project"), version_num=commits[1][:10])  # only by looking at all
    assert short.commit == commits[1]
    assert Upstream(result.root).git("status", "--porcelain") == ""


def test_a_partial_mirror_gets_what_a_checkout_needs_and_keeps_it(
    git_host: GitHost, upstream: Upstream, fetch: Fetch, settings: SourceSettings, tmp_path: Path
) -> None:
    upstream.git("config", "uploadpack.allowFilter", "true")
    commits = history(upstream, 6)
    partial = attrs.evolve(settings, clone_filter="blob:none")
    result = fetch(partial, repository=git_host.url("project"), version_num=commits[2])
    assert (result.root / "train.py").read_text() == "print(2)\n"
    assert Upstream(result.root).git("status", "--porcelain") == ""
    assert size(partial) < 2 * 20_000 * 1.3
    assert list((result.root / ".git/objects/pack").iterdir()) == []
    upstream.write("train.py", "print('newer')\n")
    newer = upstream.commit("newer")
    assert fetch(partial, repository=git_host.url("project"), version_num=newer).reused == ("mirror",)
    git_host.status = 503
    again = fetch(partial, repository=git_host.url("project"), version_num=commits[2])
    assert again.reused == ("mirror", "commit")
    assert (again.root / "big.txt").stat().st_size == 40_000
