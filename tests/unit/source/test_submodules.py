"""Submodules: from mirrors of their own, and never anywhere but below the checkout."""

from __future__ import annotations

import shutil
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source import SourceSettings
from clearml_agent_clone.source.address import parse_address
from clearml_agent_clone.source.submodules import Superproject, _places, _Submodule, resolve

from .conftest import Fetch, GitHost, Recorder, Upstream


def add(upstream: Upstream, path: str, url: str, *, name: str = "", commit: str = "", **more: str) -> str:
    """Record a submodule without help of ``git submodule``, which would refuse what we want to test."""
    name = name or path
    if not commit:
        library = Upstream.new(upstream.path.parent / Path(path).name)
        library.write("lib.py", "x = 1\n")
        library.write("name", path)
        commit = library.commit()
    for key, value in {"path": path, "url": url, **more}.items():
        upstream.git("config", "--file", ".gitmodules", f"submodule.{name}.{key}", value)
    upstream.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path.strip('/')}")
    upstream.git("add", ".gitmodules")
    upstream.git("commit", "--quiet", "--message", "submodule")
    return upstream.git("rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("base", "url", "expected"),
    [
        ("https://h/team/app.git", "../lib.git", "https://h/team/lib.git"),
        ("https://h:8443/team/app", "../../other/lib", "https://h:8443/other/lib"),
        ("https://h/team/app/", "./sub", "https://h/team/app/sub"),
        ("git@h:team/app", "../lib", "git@h:team/lib"),
        ("git@h:app", "../lib", "git@h:lib"),
        ("ssh://git@h:22/app", "../lib", "ssh://git@h:22/lib"),
        ("/srv/app", "../lib", "/srv/lib"),
        ("https://h/app", "https://other/lib", "https://other/lib"),
        ("https://h/app", "git@other:lib", "git@other:lib"),
    ],
)
def test_relative_addresses(base: str, url: str, expected: str) -> None:
    assert resolve(url, parse_address(base, allow_local=True)[0]) == expected


def test_the_second_task_needs_no_network(git_host: GitHost, upstream: Upstream, fetch: Fetch) -> None:
    commit = add(upstream, "deep/library", "../library")
    first = fetch(repository=git_host.url("project"), version_num=commit)
    git_host.status = 503
    second = fetch(repository=git_host.url("project"), version_num=commit)
    for result in (first, second):
        assert (result.root / "deep/library/lib.py").read_text() == "x = 1\n"
        checkout = Upstream(result.root)
        assert checkout.git("status", "--porcelain") == ""
        assert checkout.raw("submodule", "status").startswith(b" ")
        assert checkout.git("-C", "deep/library", "remote", "get-url", "origin") == git_host.url("library")
        assert checkout.git("config", "submodule.deep/library.url") == git_host.url("library")


@pytest.mark.parametrize("cached", [True, False])
def test_a_run_can_be_moved_and_worked_in(
    upstream: Upstream, fetch: Fetch, settings: SourceSettings, *, cached: bool
) -> None:
    """Without cache the mirrors are in the run's folder and move with it."""
    add(upstream, "library", "../library")
    result = fetch(attrs.evolve(settings, vcs_cache_enabled=cached), repository=str(upstream.path))
    moved = result.root.parent.rename(result.root.parent.with_name("moved")) / result.root.name
    inside = Upstream(moved / "library")
    inside.write("lib.py", "x = 2\n")
    inside.commit("by the task")
    assert "library" in Upstream(moved).git("status", "--porcelain")


def test_what_should_not_be_updated_is_left_alone(upstream: Upstream, fetch: Fetch) -> None:
    add(upstream, "library", "../library", update="none")
    upstream.git("config", "--file", ".gitmodules", "submodule.gone.path", "gone")  # an entry without a commit
    upstream.git("config", "--file", ".gitmodules", "submodule.gone.url", "../gone")
    upstream.git("commit", "--quiet", "--message", "gone", "--", ".gitmodules")
    result = fetch(repository=str(upstream.path))
    assert list((result.root / "library").iterdir()) == []


def test_no_command_of_a_repository_runs(upstream: Upstream, fetch: Fetch, tmp_path: Path) -> None:
    add(upstream, "library", "../library", update=f"!touch {tmp_path}/ran")
    result = fetch(repository=str(upstream.path))
    assert (result.root / "library/lib.py").exists()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "attack",
    [
        ("../../evil", "a", "../a"),
        ("x/../../hooks", "a", "../a"),
        ("-u", "a", "../a"),
        (".git", "a", "../a"),
        ("a", "a", "ext::sh -c 'touch ran'"),
        ("a", "a", "--upload-pack=touch ran"),
        ("a", "a", "ssh://-oProxyCommand=touch/x"),
        ("a", "a", "../../../../../../../../etc\r"),
        ("a", "a\r", "../a"),
        ("a/x\x1b", "a", "../a"),
    ],
)
def test_attacks_are_refused(upstream: Upstream, fetch: Fetch, tmp_path: Path, attack: tuple[str, str, str]) -> None:
    name, path, url = attack
    library = Upstream.new(tmp_path / "upstream" / "a")
    add(upstream, path, url, name=name, commit=library.commit())
    with pytest.raises(UserError, match="submodule") as caught:
        fetch(repository=str(upstream.path))
    assert caught.value.code in {"bad-submodule", "bad-repository"}
    assert not list(tmp_path.rglob("ran"))
    assert not caught.value.message.count("\r")


def test_a_link_in_the_way_leads_nowhere(tmp_path: Path) -> None:
    """The classic attack: a link ``a``, and a submodule ``a/b`` behind it, or in its place."""
    victim, root = tmp_path / "victim", tmp_path / "root"
    for folder in (victim, root):
        folder.mkdir()
    (root / "a").symlink_to(victim)
    project = Superproject(root, root / ".git", parse_address("https://h/x", allow_local=False)[0])
    for path in ("a/b", "a"):
        with pytest.raises(UserError):
            _places(project, _Submodule("x", path, "../y"))


def test_one_repository_inside_another_is_refused(upstream: Upstream, fetch: Fetch) -> None:
    add(upstream, "one", "../one")
    add(upstream, "two", "../two", name="one/objects")
    with pytest.raises(UserError, match="inside that of another") as caught:
        fetch(repository=str(upstream.path))
    assert caught.value.code == "bad-submodule"


def test_a_local_submodule_of_a_remote_repository(
    git_host: GitHost, upstream: Upstream, fetch: Fetch, settings: SourceSettings, console: Recorder
) -> None:
    """A repository of a host must not make the agent read paths of its machine."""
    secret = Upstream.new(upstream.path.parent.parent / "secret")
    add(upstream, "secret", str(secret.path), commit=secret.commit())
    with pytest.raises(UserError, match='submodule "secret"') as caught:
        fetch(attrs.evolve(settings, allow_local=False), repository=git_host.url("project"))
    assert caught.value.code == "bad-repository"


@pytest.mark.parametrize("same", [True, False], ids=["renamed", "another one"])
def test_uncommitted_changes_add_and_remove_submodules(upstream: Upstream, fetch: Fetch, *, same: bool) -> None:
    """Recorded before they were committed: one that is new, one that goes, and a file beside them."""
    base = add(upstream, "old", "../old")
    commit = "" if not same else upstream.git("rev-parse", ":old")
    if same:
        shutil.copytree(upstream.path.parent / "old", upstream.path.parent / "fresh")
    add(upstream, "fresh", "../fresh", commit=commit)
    upstream.write("train.py", "print('changed')\n")
    upstream.git("rm", "--quiet", "--cached", "old")
    upstream.git("config", "--file", ".gitmodules", "--remove-section", "submodule.old")
    upstream.git("add", "train.py", ".gitmodules")
    diff = upstream.raw("diff", "--cached", "--submodule=short", base).decode()
    result = fetch(repository=str(upstream.path), version_num=base, diff=diff)
    assert (result.root / "fresh/lib.py").read_text() == "x = 1\n"
    assert (result.root / "train.py").read_text() == "print('changed')\n"
    assert "submodule.old" not in (result.root / ".gitmodules").read_text()
