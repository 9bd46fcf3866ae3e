from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.config import settings as config
from clearml_agent_clone.environment import (
    EnvironmentPlan,
    EnvironmentRequest,
    EnvironmentSettings,
    Mode,
    build_environment,
    plan_environment,
)
from clearml_agent_clone.environment.install_settings import InstallSettings
from clearml_agent_clone.environment.keys import environment_key
from clearml_agent_clone.environment.model import masked
from clearml_agent_clone.environment.order import OrderSettings
from tests.helpers.consoles import Recorder


def plan(settings: EnvironmentSettings, pip: str | None = None, **more: Any) -> EnvironmentPlan:
    mine = attrs.evolve(settings, **{key: value for key, value in more.items() if hasattr(settings, key)})
    rest = {key: value for key, value in more.items() if not hasattr(settings, key)}
    return plan_environment(EnvironmentRequest(**{"requirements": Requirements(pip=pip), **rest}), mine)


def test_a_plan_can_be_read(settings: EnvironmentSettings, links: Path) -> None:
    made = plan(
        settings,
        "# Python\nalpha==1.0\nnumpy @ file:///croot/numpy\n",
        extra_index_url=("https://me:pw@h/simple",),
        environ={**settings.environ, "PIP_NO_INDEX": "0"},
    )
    lines = made.describe()
    assert lines[0].startswith(f"Python: {sys.version_info[0]}.{sys.version_info[1]}")
    assert lines[0].endswith("(the agent's own)")
    assert lines[1:] == [
        "Packages: 2 lines recorded with the task",
        "  line 3: numpy @ file:///croot/numpy: used as numpy, the file is not here",
        "  indexes and certificates as pip has them, from PIP_* variables",
        f"Installed by: uv, from PyPI, https://****@h/simple, {links}",
        f"Environment: kept as {made.key}",
    ]
    assert made.lines == ("alpha==1.0", "numpy")


def test_planning_changes_nothing_but_what_is_remembered_of_interpreters(
    settings: EnvironmentSettings, tmp_path: Path
) -> None:
    plan(settings, "alpha")
    assert {path.name for path in tmp_path.iterdir()} <= {"state"}


def test_tasks_that_need_nothing_share_one_environment(settings: EnvironmentSettings, tmp_path: Path) -> None:
    empty = plan(settings)
    assert empty.mode is Mode.STORED
    assert plan(settings, "# Python 3\n").key == empty.key
    assert plan(settings, extra_index_url=("https://h/simple",)).key == empty.key
    assert plan(settings, repository_root=tmp_path).key == empty.key


def test_what_does_not_change_the_content_does_not_change_the_key(settings: EnvironmentSettings) -> None:
    key = plan(settings, "alpha==1.0\nbeta >= 1 ; python_version > '3'\n").key
    assert key == plan(settings, "# x\nbeta>=1; python_version > '3'\n\nalpha == 1.0\nalpha == 1.0\n").key
    assert plan(settings, "alpha @ https://me:pw@h/a.zip").key == plan(settings, "alpha @ https://h/a.zip").key
    with_password = plan(settings, "alpha", extra_index_url=("https://me:pw@h/simple",)).key
    assert with_password == plan(settings, "alpha", extra_index_url=("https://you:other@h/simple",)).key


@pytest.mark.parametrize(
    "change",
    [
        {"pip": "alpha==2.0"},
        {"pip": "--pre\nalpha==1.0"},
        {"extra_index_url": ("https://h/simple",)},
        {"installing": InstallSettings("pip")},
        {"system_site_packages": True},
        {"force_upgrade": True},
    ],
)
def test_what_changes_the_content_changes_the_key(settings: EnvironmentSettings, change: dict[str, Any]) -> None:
    assert plan(settings, **{"pip": "alpha==1.0", **change}).key != plan(settings, "alpha==1.0").key


@pytest.mark.parametrize("part", ["real_path", "version", "build", "platform", "abi"])
def test_another_interpreter_is_another_key(settings: EnvironmentSettings, part: str) -> None:
    made = plan(settings, "alpha")
    assert made.interpreter is not None
    change: dict[str, Any] = {part: Path("/x") if part == "real_path" else "3.99.9"}
    other = attrs.evolve(made.interpreter, **change)
    assert environment_key(made, other, settings) != environment_key(made, made.interpreter, settings) == made.key


def test_a_constraint_counts(settings: EnvironmentSettings, tmp_path: Path) -> None:
    keys = set()
    for text in ("alpha<2", "alpha<3"):
        (tmp_path / "limits.txt").write_text(text)
        made = plan(settings, "-c limits.txt\nalpha", repository_root=tmp_path)
        assert made.constraints == (text,)
        keys.add(made.key)
    assert len(keys) == 2


def test_what_may_change_is_not_kept(settings: EnvironmentSettings, tmp_path: Path) -> None:
    local = plan(settings, "alpha\n-e .\n", repository_root=tmp_path)
    assert (local.mode, local.key) == (Mode.PRIVATE, None)
    assert local.describe()[-1] == f'Environment: for this task alone (what "-e {tmp_path}" contains may change)'
    assert plan(settings, "x @ git+https://h/x.git@main").mode is Mode.PRIVATE
    assert plan(settings, "alpha", store_dir=None).reason == "agent.venvs_cache.path is empty"


def test_shell_scripts_need_no_python(settings: EnvironmentSettings, console: Recorder, tmp_path: Path) -> None:
    made = plan(settings, binary="/bin/bash")
    assert made.mode is Mode.NONE
    assert made.describe() == ["Python: none needed (a shell script without packages)"]
    result = build_environment(made, console)
    assert (result.python, result.bin_dir, result.installed) == (None, None, ())
    assert plan(settings, "alpha", binary="bash").mode is Mode.STORED
    assert plan(settings, binary="bash", repository_root=tmp_path).mode is Mode.STORED
    assert plan(settings, binary="sh", has_repository=True).mode is Mode.STORED


def test_python_work_can_be_skipped(settings: EnvironmentSettings, console: Recorder) -> None:
    made = plan(settings, "alpha", skip=True, binary="python3.99")
    assert made.describe() == ["Python: the agent's own (CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL is set)"]
    assert build_environment(made, console).python == Path(sys.executable)
    assert plan(settings, "alpha", skip=True, binary="bash").mode is Mode.NONE


def test_the_environment_can_be_skipped(settings: EnvironmentSettings) -> None:
    made = plan(settings, "alpha", install_into=sys.executable)
    assert made.mode is Mode.EXISTING
    assert made.interpreter is not None
    assert made.interpreter.path == Path(sys.executable)
    assert "packages go into the interpreter above" in made.describe()[-1]


def test_flags_that_uv_does_not_know_ask_for_pip(settings: EnvironmentSettings) -> None:
    made = plan(settings, "alpha", extra_pip_install_flags=("--pre", "--use-feature=fast-deps"))
    assert made.engine == "pip"
    assert "--use-feature" in made.engine_reason
    assert plan(settings, "alpha", extra_pip_install_flags=("-U", "--prefer-binary")).engine == "uv"


def test_before_the_checkout_the_plan_says_what_it_will_look_for(settings: EnvironmentSettings) -> None:
    made = plan(settings, has_repository=True)
    assert made.key is None
    assert made.describe()[1:] == [
        "Packages: requirements.txt of the repository, if it has one",
        "Environment: kept",
    ]


def test_what_the_way_of_running_needs_is_added(settings: EnvironmentSettings) -> None:
    made = plan(settings, "ipython==8.0", extra=("nbconvert", "IPython"))
    assert made.lines == ("ipython==8.0", "nbconvert")
    assert "nbconvert: added, the way the task is run needs it" in made.notes


def test_settings_follow_the_configuration(tmp_path: Path) -> None:
    whole = config.Settings(state_dir=tmp_path)
    environ = {
        "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL": "/usr/bin/python3",
        "CLEARML_EXTRA_PIP_INSTALL_FLAGS": "--pre '--no-binary=a b'",
        "CLEARML_AGENT_PACKAGE_ENGINE": "pip",
        "UV_CACHE_DIR": "/cache",
    }
    read = EnvironmentSettings.from_settings(whole, environ, {"GIT_ASKPASS": "x"})
    assert (read.state_dir, read.installing.engine, read.install_into) == (tmp_path, "pip", "/usr/bin/python3")
    assert read.extra_pip_install_flags == ("--pre", "--no-binary=a b")
    assert (read.uv_cache_dir, read.variables, read.skip) == (Path("/cache"), {"GIT_ASKPASS": "x"}, False)
    assert read.free_space == 2_000_000_000
    plain = EnvironmentSettings.from_settings(whole, {"CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL": "1"})
    assert plain.skip
    assert plain.uv_cache_dir == whole.agent.pip_download_cache.path / "uv"
    assert (
        EnvironmentSettings.from_settings(whole, {"CLEARML_AGENT_SKIP_PIP_VENV_INSTALL": "true"}).install_into
        == "found"
    )


def test_what_must_not_be_shown_is_told_to_whoever_shows_things(settings: EnvironmentSettings) -> None:
    text = "a @ git+https://me:pass-one@h/a.git@main\n--extra-index-url https://h/${PART}/simple\nhttps://h/${OTHER}/b.whl\n"
    variables = {"PART": "part-two", "OTHER": "part-three"}
    made = plan(settings, text, environ={**settings.environ, **variables, "PIP_INDEX_URL": "https://u:pass-four@h/s"})
    assert made.secrets == {"pass-one", "part-two", "part-three", "pass-four"}
    assert not plan(settings, "alpha").secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a https://me:p@ss@h/x.git@main b", "a https://****@h/x.git@main b"),
        ("https://h/x.whl?sig=abc#sha256=1", "https://h/x.whl?****#sha256=1"),
        ("git+ssh://git@h/x.git what?", "git+ssh://****@h/x.git what?"),
    ],
)
def test_addresses_are_shown_without_secrets(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_packages_are_ordered_as_configured(tmp_path: Path) -> None:
    manager = config.Settings(state_dir=tmp_path).agent.package_manager
    assert OrderSettings.from_manager(manager) == OrderSettings()
    changed = attrs.evolve(manager, priority_packages=("Cython", "numpy==1.2"), post_packages=())
    order = OrderSettings.from_manager(changed)
    assert (order.priority, order.post) == (frozenset({"cython", "numpy"}), frozenset())


def test_priority_packages_stay_among_the_others(settings: EnvironmentSettings) -> None:
    order = OrderSettings(frozenset({"numpy"}), frozenset(), frozenset({"horovod"}), frozenset({"extra-thing"}))
    made = plan(settings, "six\nNumPy==1.26\nhorovod\nextra_thing\n-c https://h/c.txt\n", order=order)
    assert [(stage.lines, stage.optional) for stage in made.stages] == [
        (("-c https://h/c.txt", "NumPy==1.26"), False),
        (("six", "NumPy==1.26", "-c https://h/c.txt"), False),
        (("-c https://h/c.txt", "horovod"), False),
        (("-c https://h/c.txt", "extra_thing"), True),
    ]
    assert made.lines == ("six", "NumPy==1.26", "horovod", "extra_thing", "-c https://h/c.txt")
    keys = {plan(settings, "six\nnumpy", order=one).key for one in (order, OrderSettings())}
    assert len(keys) == 2


def test_hashes_ask_for_all_unless_we_add_lines(settings: EnvironmentSettings) -> None:
    text = f"six==1.16 --hash=sha256:{64 * 'a'}\nhorovod==1.0 --hash=sha256:{64 * 'a'}\n"
    assert plan(settings, text).engine_flags == ("--require-hashes",)
    assert plan(settings, text).stages == ()
    assert plan(settings, text, extra=("nbconvert",)).engine_flags == ()


def test_a_folder_of_packages_counts_by_its_content(settings: EnvironmentSettings, tmp_path: Path) -> None:
    keys = []
    for place, content in (("one", "a"), ("two", "a"), ("three", "b")):
        wheels = tmp_path / place / "wheels"
        wheels.mkdir(parents=True)
        (wheels / "six-1.0-py3-none-any.whl").write_text(content)
        made = plan(settings, "--find-links wheels\nsix\n", repository_root=tmp_path / place)
        assert made.mode is Mode.STORED
        keys.append(made.key)
    assert keys[0] == keys[1] != keys[2]
    outside = f"--find-links {tmp_path}/one/wheels\nsix\n"
    before = plan(settings, outside).key
    assert before not in keys
    (tmp_path / "one" / "wheels" / "six-1.1-py3-none-any.whl").touch()
    assert plan(settings, outside).key != before


def test_constraints_that_only_the_engine_can_read_are_not_kept(settings: EnvironmentSettings) -> None:
    far = {**settings.environ, "PIP_CONSTRAINT": "https://me:pw@h/c.txt"}
    made = plan(settings, "alpha", environ=far)
    assert made.mode is Mode.PRIVATE
    assert made.describe()[-1] == 'Environment: for this task alone (what "https://****@h/c.txt" contains may change)'
    assert plan(settings, "", environ=far).mode is Mode.STORED


def test_what_only_pip_understands_is_left_to_pip(settings: EnvironmentSettings) -> None:
    made = plan(settings, "hg+https://h/x@1\n")
    assert (made.engine, made.engine_reason) == ("pip", "the list of packages has hg+https://, which uv does not know")
