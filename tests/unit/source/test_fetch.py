"""From a plan to a working tree: revisions, what costs a network, what a task may do to its checkout."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.api.types import Script
from clearml_agent_clone.errors import Cancelled, UserError
from clearml_agent_clone.source import SourceSettings, check_entry_point
from clearml_agent_clone.util.process import Cancel

from .conftest import Fetch, GitHost, Recorder, Upstream


def mirror_of(settings: SourceSettings) -> Path:
    [folder] = (settings.vcs_cache_path / "mirrors").iterdir()
    return folder / "mirror"


def test_a_commit_is_checked_out_detached(upstream: Upstream, fetch: Fetch) -> None:
    first = upstream.git("rev-parse", "HEAD")
    upstream.git("tag", "-a", "v1", "-m", "version 1")
    upstream.write("train.py", "print('second')\n")
    upstream.commit()
    result = fetch(repository=str(upstream.path), version_num=first, branch="main")
    checkout = Upstream(result.root)
    assert result.root.name == "project"
    assert (result.commit, result.branch, result.dirty) == (first, "main", False)
    assert result.working_dir == result.root
    assert (result.root / "train.py").read_text().startswith("import model")
    assert checkout.git("status", "--porcelain") == ""
    assert checkout.git("rev-parse", "--abbrev-ref", "HEAD") == "HEAD"
    assert checkout.git("remote", "get-url", "origin") == str(upstream.path)
    assert checkout.git("describe", "--tags") == "v1"
    assert checkout.git("rev-parse", "origin/main") == upstream.git("rev-parse", "main")
    assert checkout.git("rev-parse", "origin/HEAD") == upstream.git("rev-parse", "main")
    checkout.git("fsck", "--strict")


def test_a_known_commit_needs_no_network(upstream: Upstream, fetch: Fetch) -> None:
    commit = upstream.git("rev-parse", "HEAD")
    assert fetch(repository=str(upstream.path), version_num=commit).reused == ()
    shutil.move(upstream.path, upstream.path.with_name("gone"))
    result = fetch(repository=str(upstream.path), version_num=commit)
    assert result.reused == ("mirror", "commit")
    assert "fetch" not in result.seconds
    assert fetch(repository=str(upstream.path), version_num=commit[:9]).commit == commit


def test_branch_tag_and_default_branch_follow_the_remote(upstream: Upstream, fetch: Fetch) -> None:
    upstream.git("tag", "v1")
    url = str(upstream.path)
    first = fetch(repository=url, branch="main").commit
    assert fetch(repository=url).branch == "main"
    upstream.write("train.py", "print('second')\n")
    second = upstream.commit()
    result = fetch(repository=url, branch="main")
    assert (result.commit, result.reused) == (second, ("mirror",))
    assert fetch(repository=url, tag="v1", branch="main").commit == first
    upstream.git("tag", "--force", "v1")
    assert fetch(repository=url, tag="v1").commit == second
    upstream.git("checkout", "--quiet", "-b", "next")
    third = upstream.commit()
    result = fetch(repository=url)
    assert (result.commit, result.branch) == (third, "next")
    assert fetch(repository=url, version_num="next").commit == third
    assert fetch(repository=url, version_num="v1").commit == second
    assert Upstream(result.root).git("rev-parse", "HEAD") == third


def test_a_commit_is_found_wherever_it_is(upstream: Upstream, fetch: Fetch) -> None:
    url = str(upstream.path)
    fetch(repository=url)
    upstream.git("checkout", "--quiet", "--detach")
    hidden = upstream.commit("only a pull request has it")
    upstream.git("update-ref", "refs/pull/7/head", hidden)
    upstream.git("checkout", "--quiet", "main")
    upstream.git("config", "uploadpack.allowAnySHA1InWant", "false")
    assert fetch(repository=url, version_num=hidden[:10]).commit == hidden  # needs the request's ref
    upstream.git("checkout", "--quiet", "--detach")
    lost = upstream.commit("nothing refers to it")
    upstream.git("checkout", "--quiet", "main")
    assert fetch(repository=url, version_num=lost).commit == lost
    upstream.git("checkout", "--quiet", "--detach")
    other = upstream.commit("a request by its full name")
    upstream.git("update-ref", "refs/merge-requests/3/head", other)
    assert fetch(repository=url, version_num="refs/merge-requests/3/head").commit == other


def test_the_users_configuration_is_read_and_never_written(
    upstream: Upstream, fetch: Fetch, plain_git: Path, git_host: GitHost
) -> None:
    """Agents that start together must not fight over ~/.gitconfig; here somebody else holds its lock all the time."""
    config, lock = plain_git / ".gitconfig", plain_git / ".gitconfig.lock"
    before = config.read_bytes()
    lock.touch()
    try:
        assert fetch(repository=git_host.url("project")).commit == upstream.git("rev-parse", "HEAD")
    finally:
        lock.unlink()
    assert config.read_bytes() == before


def test_a_branch_that_became_a_folder_of_branches(upstream: Upstream, fetch: Fetch) -> None:
    upstream.git("branch", "topic")
    fetch(repository=str(upstream.path), branch="topic")
    upstream.git("branch", "--delete", "topic")
    upstream.git("checkout", "--quiet", "-b", "topic/one")
    commit = upstream.commit()
    assert fetch(repository=str(upstream.path), branch="topic/one").commit == commit


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"version_num": "0" * 39 + "1"}, "commit-not-found", r"commit 0{39}1 is not in .*git push"),
        ({"version_num": "0" * 39 + "1", "branch": "gone"}, "commit-not-found", "nor does it have a branch gone"),
        ({"version_num": "abcdef12"}, "commit-not-found", "commit abcdef12 is not in"),
        ({"branch": "mian"}, "branch-not-found", 'no branch mian. Did you mean "main"'),
        ({"tag": "v1.00"}, "tag-not-found", 'no tag v1.00. Did you mean "v1.0"'),
        ({"version_num": "v1.00"}, "commit-not-found", 'no revision v1.00. Did you mean "v1.0"'),
    ],
)
def test_what_is_not_there_is_named(
    upstream: Upstream, fetch: Fetch, fields: dict[str, str], code: str, text: str
) -> None:
    upstream.git("tag", "v1.0")
    for _ in range(2):  # with a new mirror and with one that is there
        with pytest.raises(UserError, match=text) as caught:
            fetch(repository=str(upstream.path), **fields)
        assert caught.value.code == code


def test_an_empty_repository(tmp_path: Path, fetch: Fetch) -> None:
    Upstream.new(tmp_path / "empty")
    with pytest.raises(UserError, match="is empty"):
        fetch(repository=str(tmp_path / "empty"))


def test_what_is_no_repository(tmp_path: Path, fetch: Fetch, settings: SourceSettings) -> None:
    with pytest.raises(UserError) as caught:
        fetch(repository=str(tmp_path / "nowhere"))
    assert caught.value.code == "repository-not-found"
    assert not list((settings.vcs_cache_path / "mirrors").glob("*/*mirror*"))


def test_without_cache_every_task_clones(upstream: Upstream, fetch: Fetch, settings: SourceSettings) -> None:
    commit = upstream.git("rev-parse", "HEAD")
    result = fetch(attrs.evolve(settings, vcs_cache_enabled=False), repository=str(upstream.path), version_num=commit)
    assert not settings.vcs_cache_path.exists()
    moved = result.root.parent.rename(result.root.parent.with_name("moved"))
    assert Upstream(moved / "project").git("log", "--format=%H") == commit


def test_what_a_task_does_to_its_checkout_stays_there(
    upstream: Upstream, fetch: Fetch, settings: SourceSettings
) -> None:
    commit = upstream.git("rev-parse", "HEAD")
    one = fetch(repository=str(upstream.path), version_num=commit)
    mirror = mirror_of(settings)
    before = {path: path.read_bytes() for path in mirror.rglob("*") if path.is_file()}
    checkout = Upstream(one.root)
    checkout.write("train.py", "print('changed by the task')\n")
    checkout.commit("by the task")
    checkout.git("gc", "--prune=now", "--aggressive", "--quiet")
    checkout.git("repack", "-a", "-d", "--quiet")
    checkout.git("branch", "mine")
    assert {path: path.read_bytes() for path in mirror.rglob("*") if path.is_file()} == before
    two = fetch(repository=str(upstream.path), version_num=commit)
    shutil.rmtree(one.root)
    assert (two.root / "train.py").read_text().startswith("import model")
    Upstream(two.root).git("fsck")


def test_a_mirror_keeps_what_a_running_checkout_needs(
    upstream: Upstream, fetch: Fetch, settings: SourceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The author throws a commit away; fetches, repacks and a ``git gc`` by hand leave it in the mirror."""
    monkeypatch.setattr("clearml_agent_clone.source.mirror._MANY_PACKS", 2)
    url = str(upstream.path)
    fetch(repository=url)
    upstream.git("checkout", "--quiet", "-b", "doomed")
    upstream.write("doomed.py", "x\n" * 100)
    doomed = upstream.commit()
    result = fetch(repository=url, branch="doomed")
    upstream.git("checkout", "--quiet", "main")
    upstream.git("branch", "--quiet", "-D", "doomed")
    for number in range(4):
        upstream.write("train.py", f"print({number})\n")
        upstream.commit()
        fetch(repository=url, branch="main")
    with pytest.raises(UserError):
        fetch(repository=url, branch="doomed")  # all refs are fetched anew, the stale one is gone
    mirror = mirror_of(settings)
    packs = len(list((mirror / "objects/pack").glob("*.pack")))
    assert packs < 4
    Upstream(mirror).git("gc", "--quiet")
    assert Upstream(result.root).git("show", f"{doomed}:doomed.py").startswith("x")
    assert fetch(repository=url, version_num=doomed).reused == ("mirror", "commit")


def test_hooks_and_filters_of_a_repository_never_run(
    upstream: Upstream, fetch: Fetch, plain_git: Path, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    hooks = plain_git / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "post-merge", "reference-transaction", "fsmonitor"):
        hook = hooks / name
        hook.write_text(f"#!/bin/sh\ntouch '{trap}'\n")
        hook.chmod(0o755)
    config = plain_git / ".gitconfig"
    kept = config.read_text()
    try:
        config.write_text(kept + f"[core]\n\thooksPath = {hooks}\n\tfsmonitor = {hooks}/fsmonitor\n")
        upstream.write(".gitattributes", "*.py filter=evil\n")
        upstream.write(".gitconfig", f"[filter \"evil\"]\n\tsmudge = touch '{trap}'\n")
        upstream.git("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "add", "--all")
        upstream.git("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "commit", "--quiet", "-m", "trap")
        trap.unlink(missing_ok=True)
        fetch(repository=str(upstream.path))
    finally:
        config.write_text(kept)
        shutil.rmtree(hooks)
    assert not trap.exists()
    assert config.read_text() == kept  # no safe.directory either


def with_submodule(upstream: Upstream, url: str) -> tuple[Upstream, str]:
    library = Upstream.new(upstream.path.parent / "library")
    library.write("lib.py", "x = 1\n")
    library.commit()
    upstream.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../library", "third/library")
    upstream.git("config", "--file", ".gitmodules", "submodule.third/library.url", url)
    return library, upstream.commit("with submodule")


def test_submodules_are_checked_out(upstream: Upstream, fetch: Fetch) -> None:
    library, commit = with_submodule(upstream, "../library")
    inner = Upstream.new(upstream.path.parent / "inner")
    inner.write("inner.py", "y = 1\n")
    inner.commit()
    library.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../inner", "inner")
    library.commit()
    upstream.git("-C", "third/library", "-c", "protocol.file.allow=always", "pull", "--quiet", "origin", "main")
    commit = upstream.commit("newer library")
    result = fetch(repository=str(upstream.path), version_num=commit)
    assert (result.root / "third/library/lib.py").read_text() == "x = 1\n"
    assert (result.root / "third/library/inner/inner.py").read_text() == "y = 1\n"
    assert Upstream(result.root).git("status", "--porcelain") == ""
    assert "submodules" in result.seconds


def test_a_submodule_that_cannot_be_had_is_named(upstream: Upstream, fetch: Fetch) -> None:
    _, commit = with_submodule(upstream, "../elsewhere")
    with pytest.raises(UserError, match=r'submodule "third/library": there is no repository at .*elsewhere') as caught:
        fetch(repository=str(upstream.path), version_num=commit)
    assert caught.value.code == "repository-not-found"


def test_uncommitted_changes_of_a_submodule(upstream: Upstream, fetch: Fetch) -> None:
    library, commit = with_submodule(upstream, "../library")
    library.write("lib.py", "x = 2\n")
    newer = library.commit("newer")
    inside = Upstream(upstream.path / "third/library")
    inside.git("-c", "protocol.file.allow=always", "fetch", "--quiet")
    inside.git("checkout", "--quiet", newer)
    upstream.write("train.py", "print('changed too')\n")
    moved = upstream.diff()
    result = fetch(repository=str(upstream.path), version_num=commit, diff=moved)
    assert (result.root / "third/library/lib.py").read_text() == "x = 2\n"
    assert (result.root / "train.py").read_text() == "print('changed too')\n"
    assert Upstream(result.root).git("diff", "--cached", "--name-only") == ""
    assert Upstream(result.root).diff() == moved
    inside.write("lib.py", "x = 3\n")
    content = upstream.diff("--submodule=diff")
    result = fetch(repository=str(upstream.path), version_num=commit, diff=content)
    assert (result.root / "third/library/lib.py").read_text() == "x = 3\n"


def test_a_script_without_repository(fetch: Fetch) -> None:
    result = fetch(entry_point="src/go.py --x 1", diff="print('go')\n", working_dir="src")
    assert result.root.name == "code"
    assert result.working_dir == result.root
    assert (result.root / "go.py").read_text() == "print('go')\n"
    assert result.entry_point == "go.py --x 1"
    assert (result.repository, result.commit, result.dirty) == ("", "", True)
    check_entry_point(result)


def test_a_script_beside_a_repository(upstream: Upstream, fetch: Fetch, console: Recorder) -> None:
    result = fetch(repository=str(upstream.path), entry_point="nb.py", working_dir="notebooks", diff="print('nb')\n")
    assert (result.root / "notebooks/nb.py").read_text() == "print('nb')\n"
    assert result.working_dir == result.root / "notebooks"
    assert result.dirty
    result = fetch(repository=str(upstream.path), entry_point="train.py", diff="print('other')\n")
    assert (result.root / "train.py").read_text().startswith("import model")
    assert not result.dirty
    assert "is not used" in console.text
    with pytest.raises(UserError) as caught:
        fetch(repository=str(upstream.path), entry_point="x.py", working_dir="../out", diff="print(1)\n")
    assert caught.value.code == "outside-checkout"


def test_code_of_this_machine(tmp_path: Path, fetch: Fetch, settings: SourceSettings) -> None:
    code = tmp_path / "installed"
    (code / "src").mkdir(parents=True)
    (code / "src" / "run.py").write_text("print(1)\n")
    forced = attrs.evolve(settings, force_code_dir=str(code), force_exec_script="src:run.py")
    result = fetch(forced, repository="https://nowhere.invalid/x", entry_point="train.py", diff="diff --git a/x b/x\n")
    assert (result.root, result.working_dir, result.entry_point) == (code, code / "src", "run.py")
    check_entry_point(result)
    result = fetch(entry_point=f"{code}/src/run.py --x", working_dir=str(code))
    assert result.working_dir == code
    check_entry_point(result)
    environ = {**os.environ, "CODE": str(code)}
    result = fetch(attrs.evolve(settings, environ=environ), entry_point="$CODE/src/run.py $CODE")
    assert result.entry_point == f"{code}/src/run.py $CODE"
    with pytest.raises(UserError, match="FORCE_CODE_DIR"):
        fetch(attrs.evolve(settings, force_code_dir=str(code / "not")))


def test_cancel_before_and_during(upstream: Upstream, fetch: Fetch, tmp_path: Path) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        fetch(repository=str(upstream.path), cancel=cancel)
    commit = upstream.git("rev-parse", "HEAD")
    assert fetch(repository=str(upstream.path), version_num=commit).commit == commit
    with pytest.raises(Cancelled):
        fetch(repository=str(upstream.path), version_num=commit, cancel=cancel)
    assert not (tmp_path / "run3" / "project").exists()


def test_a_folder_that_cannot_be_written(upstream: Upstream, fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "run1").mkdir()
    (tmp_path / "run1" / "project").write_text("in the way")
    with pytest.raises(UserError) as caught:
        fetch(repository=str(upstream.path))
    assert caught.value.code == "not-writable"


def test_no_git(upstream: Upstream, settings: SourceSettings, fetch: Fetch, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        fetch(attrs.evolve(settings, environ={"PATH": str(tmp_path)}), repository=str(upstream.path))
    assert caught.value.code == "program-missing"


def test_an_old_git(upstream: Upstream, settings: SourceSettings, fetch: Fetch, tmp_path: Path) -> None:
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho git version 2.25.1\n")
    fake.chmod(0o755)
    with pytest.raises(UserError, match=r"git version 2.25.1, which is too old") as caught:
        fetch(attrs.evolve(settings, environ={"PATH": str(fake.parent)}), repository=str(upstream.path))
    assert caught.value.code == "git-too-old"


def test_what_was_used_is_told(upstream: Upstream, fetch: Fetch, console: Recorder) -> None:
    url, commit = str(upstream.path), upstream.git("rev-parse", "HEAD")
    first = fetch(repository=url, branch="main")
    known = {"repository": url, "commit": commit, "branch": "main"}
    assert first.facts == {**known, "state": "clean", "from": "clone"}
    upstream.write("model.py", "x = 1\n")
    changed = fetch(repository=url, branch="main", version_num=commit, diff=upstream.diff())
    assert changed.facts == {**known, "state": "dirty", "from": "mirror"}
    assert "\n".join(changed.describe()) in console.text
    assert changed.describe() == [
        "Code of the task:",
        "  type: git",
        f"  url: {url}",
        "  branch: main",
        f"  commit: {commit}",
        "  state: dirty (with the task's uncommitted changes)",
        "  from: mirror (nothing was transferred)",
        f"  root: {changed.root}",
    ]
    newer = upstream.commit()
    assert fetch(repository=url, branch="main").facts == {**known, "commit": newer, "state": "clean", "from": "fetch"}
    assert fetch(diff="print(1)").facts == {"from": "task"}


def test_what_the_task_left_open_is_filled(upstream: Upstream, fetch: Fetch) -> None:
    url, commit = str(upstream.path), upstream.commit()
    upstream.git("tag", "v1")

    def filled(**fields: str) -> dict[str, str]:
        return fetch(repository=url, **fields).missing_in(Script(repository=url, **fields))  # type: ignore[arg-type] # texts

    assert filled() == filled(version_num="HEAD") == {"version_num": commit, "branch": "main"}
    assert filled(branch="main") == filled(tag="v1") == {"version_num": commit}
    assert filled(version_num=commit) == filled(version_num=commit[:8]) == filled(version_num="main") == {}
    assert fetch(diff="print(1)").missing_in(Script(diff="print(1)")) == {}
