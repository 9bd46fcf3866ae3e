"""From what a task records to what will be fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clearml_agent_clone.api.types import Script
from clearml_agent_clone.config import Credential, GitSettings, VcsCacheSettings
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source import GitCredential, Revision, SourceSettings, plan_source

URL = "https://host/team/project.git"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def script(**fields: str) -> Script:
    return Script(**{"repository": URL, "entry_point": "train.py", **fields})  # type: ignore[arg-type] # texts only


@pytest.mark.parametrize(
    ("fields", "revision"),
    [
        ({"version_num": COMMIT, "tag": "v1", "branch": "main"}, Revision("commit", COMMIT)),
        ({"version_num": COMMIT.upper()}, Revision("commit", COMMIT)),
        ({"version_num": "0123abc", "branch": "main"}, Revision("commit", "0123abc")),
        ({"version_num": "v1.0", "branch": "main"}, Revision("any", "v1.0")),
        ({"version_num": "HEAD", "branch": "main"}, Revision("branch", "main")),
        ({"version_num": "origin/topic"}, Revision("any", "topic")),
        ({"version_num": "refs/pull/7/head"}, Revision("any", "refs/pull/7/head")),
        ({"tag": "v1", "branch": "main"}, Revision("tag", "v1")),
        ({"branch": "feature/x"}, Revision("branch", "feature/x")),
        ({"branch": "origin/main"}, Revision("branch", "main")),
        ({"branch": "refs/heads/main"}, Revision("branch", "main")),
        ({"branch": "HEAD"}, Revision("head")),
        ({}, Revision("head")),
    ],
)
def test_the_commit_counts_before_tag_branch_and_default(fields: dict[str, str], revision: Revision) -> None:
    assert plan_source(script(**fields), SourceSettings()).revision == revision


@pytest.mark.parametrize("field", ["branch", "tag", "version_num"])
@pytest.mark.parametrize(
    "value",
    ["--upload-pack=x", "-x", "a b", "a..b", "a:b", "a~1", "a^{}", "x@{1}", "*", "a\\b", "a.lock", "/a", "a/", "a\tb"],
)
def test_a_name_that_git_could_misunderstand_is_refused(field: str, value: str) -> None:
    with pytest.raises(UserError) as caught:
        plan_source(script(**{field: value}), SourceSettings())
    assert caught.value.code == "bad-revision"


def test_a_task_without_script_is_refused() -> None:
    lost_by_the_sdk = Script(binary="python", branch="main", version_num="2a53ce6a", working_dir=".")
    for empty in (Script(), Script(diff="  \n"), Script(branch="main", working_dir="."), lost_by_the_sdk):
        with pytest.raises(UserError) as caught:
            plan_source(empty, SourceSettings())
        assert caught.value.code == "no-script"
    with pytest.raises(UserError, match="no entry point"):
        plan_source(Script(repository=URL), SourceSettings())


def test_a_diff_and_a_script_are_told_apart() -> None:
    diff = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
    for text in (diff, "\n" + diff, "Submodule lib 12..34:\n" + diff):
        plan = plan_source(script(diff=text), SourceSettings())
        assert plan.diff == text
        assert plan.literal is None
    for text in ("print(1)\n", "# diff --git\n", "different = 1\n"):
        plan = plan_source(script(diff=text), SourceSettings())
        assert plan.diff == ""
        assert plan.literal is not None
        assert plan.literal.text == text


def test_a_note_about_submodules_is_no_script() -> None:
    plan = plan_source(script(diff="Submodule lib contains untracked content\n"), SourceSettings())
    assert plan.literal is None


@pytest.mark.parametrize(
    ("fields", "name", "entry", "folder"),
    [
        ({"entry_point": "train.py"}, "train.py", "train.py", ""),
        (
            {"entry_point": "src/train.py --url https://h//x ./a/../b"},
            "train.py",
            "train.py --url https://h//x ./a/../b",
            "",
        ),
        ({"entry_point": ""}, "untitled.py", "untitled.py", ""),
        ({"entry_point": "", "binary": "bash"}, "untitled.sh", "untitled.sh", ""),
        ({"entry_point": "-m torch.distributed.run train.py"}, "untitled.py", "-m torch.distributed.run train.py", ""),
        ({"entry_point": "-c 'echo 1'", "binary": "/bin/bash"}, "untitled.sh", "-c 'echo 1'", ""),
        ({"entry_point": "-m pkg", "working_dir": "src:code.py"}, "code.py", "-m pkg", ""),
        ({"entry_point": "train"}, "train", "train", ""),
        ({"entry_point": "note book.ipynb"}, "note book.ipynb", "'note book.ipynb'", ""),
        ({"entry_point": "run.sh -x", "binary": "sh"}, "run.sh", "run.sh -x", ""),
        ({"entry_point": "train.py:src --n 1:2"}, "train.py", "train.py --n 1:2", ""),
        ({"entry_point": "train.py --at host:80"}, "train.py", "train.py --at host:80", ""),
        ({"entry_point": "src/a.py", "repository": URL, "working_dir": "lib"}, "src/a.py", "src/a.py", "lib"),
        ({"entry_point": "a.py:lib", "repository": URL}, "a.py", "a.py", "lib"),
        ({"entry_point": "a.py", "repository": URL, "working_dir": "lib:b.py"}, "b.py", "a.py", "lib"),
    ],
)
def test_a_script_is_named_after_the_entry_point(fields: dict[str, str], name: str, entry: str, folder: str) -> None:
    plan = plan_source(Script(diff="print(1)\n", **fields), SourceSettings())  # type: ignore[arg-type] # texts only
    assert plan.literal is not None
    assert (plan.literal.name, plan.entry_point, plan.working_dir) == (name, entry, folder)


@pytest.mark.parametrize(
    "entry",
    ["train.py --url https://host//x --path a/../b $HOME ~/x", "-m pkg --at h:80", '"my script.py" a', "-c 'import x'"],
)
def test_arguments_are_left_as_they_are(entry: str) -> None:
    assert plan_source(script(entry_point=entry), SourceSettings()).entry_point == entry


def test_forced_code_and_script() -> None:
    settings = SourceSettings(force_code_dir="/opt/code", force_exec_script="src:other.py")
    plan = plan_source(script(diff="diff --git a/x b/x\n"), settings)
    assert plan.code_dir == Path("/opt/code")
    assert (plan.working_dir, plan.entry_point, plan.diff, plan.address) == ("src", "other.py", "", None)
    plan = plan_source(script(working_dir="lib"), SourceSettings(force_exec_script="other.py"))
    assert (plan.working_dir, plan.entry_point) == ("", "other.py")


def test_the_plan_is_described_without_secrets() -> None:
    settings = SourceSettings(credentials=(GitCredential("", "me", "hunter2"),))
    plan = plan_source(
        script(
            repository="https://bob:s3cret@host/a/b.git", branch="main", version_num=COMMIT, diff="diff --git a/x b/x\n"
        ),
        settings,
    )
    text = "\n".join(plan.describe())
    assert "https://host/a/b.git" in text
    assert f"commit {COMMIT}" in text
    assert "branch: main" in text
    for secret in ("s3cret", "hunter2", "bob"):
        assert secret not in text + repr(plan)


def test_an_absolute_working_folder_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        plan_source(script(working_dir="/etc"), SourceSettings())
    assert caught.value.code == "outside-checkout"


def test_settings_come_from_configuration_and_environment() -> None:
    git = GitSettings(
        user="me",
        password="hunter2",
        host="github.com",
        extra_credentials=(Credential("you", "two", "gitlab.com"), Credential("nobody", "", "x")),
        fetch_args=("--all", "--tags", "--jobs=4", "--depth=1", "--upload-pack=evil", "--recurse-submodules"),
        cache=VcsCacheSettings(enabled=False, path=Path("/c")),
        force_ssh_protocol=True,
        force_ssh_port=22022,
    )
    environ = {"CLEARML_AGENT_GIT_CLONE_VERBOSE": "1", "CLEARML_AGENT_FORCE_CODE_DIR": "/x", "HOME": "/h"}
    settings = SourceSettings.from_settings(git, environ, allow_local=True)
    assert [credential.host for credential in settings.credentials] == ["gitlab.com", "github.com"]
    assert (settings.vcs_cache_enabled, settings.vcs_cache_path) == (False, Path("/c"))
    assert (settings.force_ssh, settings.force_ssh_host, settings.force_ssh_port) == (True, "github.com", 22022)
    assert settings.allow_local
    assert settings.clone_verbose
    assert settings.force_code_dir == "/x"
    assert settings.usable_fetch_args() == (("--jobs=4",), ("--upload-pack=evil",))
    assert (settings.clone_depth, settings.clone_filter) == (1, "")
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, (0, "")),
        ({"clone_depth": 3, "clone_filter": "blob:none"}, (3, "blob:none")),
        ({"fetch_args": ("--depth=2", "--filter=tree:0")}, (2, "tree:0")),
        ({"clone_depth": -1}, (0, "")),
    ],
)
def test_shallow_and_partial_clones_are_settings(keys: dict[str, Any], expected: tuple[int, str]) -> None:
    settings = SourceSettings.from_settings(GitSettings(**keys), {})
    assert (settings.clone_depth, settings.clone_filter) == expected
    plan = plan_source(Script(repository="https://host/a", entry_point="a.py"), settings)
    whole = plan_source(
        Script(repository="https://host/a", entry_point="a.py"), SourceSettings.from_settings(GitSettings(), {})
    )
    assert (plan.mirror == whole.mirror) is not settings.holds_less


def test_a_filter_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="--upload-pack=x") as caught:
        SourceSettings.from_settings(GitSettings(clone_filter="--upload-pack=x"), {})
    assert caught.value.code == "bad-setting"
