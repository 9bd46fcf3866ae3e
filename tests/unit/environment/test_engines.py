"""Which engine installs, with which pip and which uv, in which order; by the real ones."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.config import load_settings
from clearml_agent_clone.environment import EnvironmentRequest, EnvironmentSettings, plan_environment
from clearml_agent_clone.environment.engine_choice import choose_engine, parse_flags
from clearml_agent_clone.environment.engines import Work
from clearml_agent_clone.environment.engines.pip import chosen, matches
from clearml_agent_clone.environment.install_settings import InstallSettings
from clearml_agent_clone.environment.model import EnvironmentPlan, Mode
from clearml_agent_clone.environment.order import OrderSettings
from clearml_agent_clone.environment.requirements import Requirement
from clearml_agent_clone.environment.uv_choice import uv_program, uv_specs
from clearml_agent_clone.environment.uv_tools import find_uv
from clearml_agent_clone.errors import UserError
from tests.helpers.consoles import Recorder
from tests.helpers.sources import make_sdist

from .conftest import Build, make_wheel

ENGINES = ["uv", pytest.param("pip", marks=pytest.mark.slow)]
SOME = (Requirement("alpha", "alpha"),)
PINNED = (*SOME, Requirement("pip==23.0", "pip", "23.0"))


@pytest.mark.parametrize(
    ("settings", "flags", "requirements", "name", "reason", "pip"),
    [
        (InstallSettings(), (), SOME, "uv", "", ()),
        (InstallSettings("pip"), (), (), "uv", "", ()),
        (InstallSettings("pip"), (), SOME, "pip", "agent.package_manager.pip_engine asks for it", ()),
        (InstallSettings("pip"), (), PINNED, "pip", "asks for it", ("pip==23.0",)),
        (InstallSettings(pip_version=("<22",)), (), SOME, "pip", "pip_version asks for <22", ("pip<22",)),
        (InstallSettings(pip_version=("19.3.1",)), (), SOME, "pip", "asks for 19.3.1", ("pip==19.3.1",)),
        (InstallSettings("uv", pip_version=("<22",)), (), SOME, "uv", "pip_engine is uv", ()),
        (InstallSettings(), (), PINNED, "pip", "the task asks for pip==23.0", ("pip==23.0",)),
        (InstallSettings(pip_version=("<22",)), (), PINNED, "pip", "the task asks", ("pip==23.0",)),
        (InstallSettings(), (), (*SOME, Requirement("pip", "pip")), "uv", "", ()),
        (InstallSettings(), ("--use-feature=fast-deps",), SOME, "pip", "has --use-feature, which uv does not know", ()),
        (InstallSettings(), ("--no-deps", "-U", "--prefer-binary"), SOME, "uv", "", ()),
    ],
)
def test_the_engine_and_why(  # noqa: PLR0917 - columns of the table
    settings: InstallSettings,
    flags: tuple[str, ...],
    requirements: tuple[Requirement, ...],
    name: str,
    reason: str,
    pip: tuple[str, ...],
) -> None:
    choice = choose_engine(settings, parse_flags(flags), requirements)
    assert (choice.name, choice.pip) == (name, pip)
    assert reason in choice.reason
    assert bool(choice.reason) == bool(reason)


def test_flags_are_taken_apart() -> None:
    given = (
        "--extra-index-url",
        "https://u:p@h/simple",
        "-f",
        "/wheels",
        "--no-index",
        "--no-binary",
        "a,b",
        "-U",
        "--pre",
    )
    flags = parse_flags(given)
    assert [(line.option, line.value) for line in flags.places] == [
        ("--extra-index-url", "https://u:p@h/simple"),
        ("--find-links", "/wheels"),
        ("--no-index", ""),
    ]
    assert flags.words == ("--no-binary=a,b", "-U", "--pre")
    assert flags.for_uv == ("--no-binary=a", "--no-binary=b", "--upgrade", "--prerelease=allow")
    assert parse_flags(("--upgrade-strategy", "eager")).foreign == "--upgrade-strategy=eager"
    assert parse_flags(("-t", "/x")).words == ("-t", "/x")


@pytest.mark.parametrize(
    ("version", "specs", "python", "expected"),
    [
        (None, (), "3.11.7", ()),
        ("[\"<20.2 ; python_version < '3.10'\", \"<22.3 ; python_version >= '3.10'\"]", (), "3.11.7", ()),
        ('""', (), "3.11.7", ()),
        ('"<21"', ("pip<21",), "3.11.7", ("pip<21",)),
        (
            '["<20 ; python_version < \'3.8\'", "<24"]',
            ("pip<20 ; python_version < '3.8'", "pip<24"),
            "3.11.7",
            ("pip<24",),
        ),
    ],
)
def test_a_pinned_pip_is_told_from_the_shipped_default(
    tmp_path: Path, version: str | None, specs: tuple[str, ...], python: str, expected: tuple[str, ...]
) -> None:
    text = f"agent.package_manager.pip_version: {version}\n" if version is not None else ""
    (tmp_path / "clearml.conf").write_text(text)
    settings = load_settings(tmp_path / "clearml.conf", {}).settings
    installing = InstallSettings.from_settings(settings, {})
    choice = choose_engine(installing, parse_flags(()), SOME)
    assert choice.pip == specs
    assert chosen(choice.pip, python) == expected


def test_versions_match() -> None:
    assert matches("22.3.1", ">=20.3,<24.3")
    assert not matches("24.3", ">=20.3,<24.3")
    assert not matches("24.3", "nonsense")


@pytest.fixture(scope="session")
def more_links(links: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of ``links``, two that need each other to build, and an older pip."""
    from virtualenv.seed.wheels.embed import get_embed_wheel

    folder = tmp_path_factory.mktemp("more")
    for wheel in links.iterdir():
        shutil.copy(wheel, folder)
    make_sdist(folder, "needs_alpha", "1.0", "import alpha")
    make_sdist(folder, "never", "1.0", "raise SystemExit('never')")
    bundled = get_embed_wheel("pip", "3.11")
    assert bundled is not None
    renumbered(Path(bundled.path), folder, "21.3.99")
    return folder


def renumbered(wheel: Path, folder: Path, version: str) -> None:
    """The same pip with another number: which one is used has to be seen."""
    old = wheel.name.split("-")[1]
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(folder / f"pip-{version}-py3-none-any.whl", "w") as target:
        names = [name for name in source.namelist() if not name.endswith("/RECORD")]
        for name in names:
            data = source.read(name)
            if name.endswith(("/METADATA", "pip/__init__.py")):
                data = data.replace(old.encode(), version.encode())
            target.writestr(name.replace(f"pip-{old}.dist-info", f"pip-{version}.dist-info"), data)
        record = [name.replace(f"pip-{old}.dist-info", f"pip-{version}.dist-info") for name in names]
        info = f"pip-{version}.dist-info/RECORD"
        target.writestr(info, "".join(f"{name},,\n" for name in [*record, info]))


def from_more(settings: EnvironmentSettings, folder: Path) -> dict[str, str]:
    return {**settings.environ, "PIP_FIND_LINKS": str(folder)}


def pip_of(result: Any) -> str:
    (info,) = result.python.parent.parent.glob("lib/python*/site-packages/pip-*.dist-info")
    return str(info.name.removeprefix("pip-").removesuffix(".dist-info"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["configured", "by the task", "without uv"])
def test_a_pinned_pip_is_installed_and_used(  # noqa: PLR0917 - fixtures
    build: Build,
    console: Recorder,
    settings: EnvironmentSettings,
    more_links: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    (old,) = more_links.glob("pip-*.whl")
    version = old.name.split("-")[1]
    environ = from_more(settings, more_links)
    if how == "without uv":
        monkeypatch.setattr("clearml_agent_clone.environment.uv_choice.find_uv", lambda _: "")
    if how == "by the task":
        result = build(f"beta\npip=={version}", environ=environ)
        assert f"pip=={version}" in result.installed
    else:
        result = build("beta", environ=environ, installing=InstallSettings(pip_version=(version,)))
    assert result.engine == "pip"
    assert pip_of(result) == version
    assert {"alpha==2.0", "beta==1.0"} <= set(result.installed)
    assert f"Installing pip=={version}, to install the packages with" in console.lines


@pytest.mark.slow
def test_a_pip_that_is_to_use_its_old_resolver_does(build: Build, console: Recorder) -> None:
    old = InstallSettings("pip", pip_legacy_resolver=(">=20.3",))
    assert build("beta==1.0\nalpha==1.0", installing=old).installed == ("alpha==1.0", "beta==1.0")
    assert "contradict" not in console.text.lower() or "beta 1.0 requires" in console.text


def test_a_pinned_pip_that_cannot_be_had_is_an_error(build: Build) -> None:
    with pytest.raises(UserError, match=r"the pip that is asked for cannot be had: .*pip"):
        build("alpha", installing=InstallSettings(pip_version=("==1.2.3",)))


@pytest.mark.parametrize("engine", ENGINES)
def test_packages_can_come_before_all_others_and_after(
    build: Build, console: Recorder, settings: EnvironmentSettings, more_links: Path, engine: str
) -> None:
    """A package whose build imports another one works where that is installed first and the build is not isolated."""
    order = OrderSettings(priority=frozenset({"alpha"}), post_optional=frozenset({"never"}))
    result = build(
        "needs_alpha\nalpha==2.0\nnever\ntool",
        environ=from_more(settings, more_links),
        order=order,
        installing=InstallSettings(engine),
        extra_pip_install_flags=("--no-build-isolation",),
    )
    assert result.installed == ("alpha==2.0", "needs_alpha==1.0", "tool==1.0")
    assert any(line.startswith("Going on without never: package never could not be built") for line in console.lines)


@pytest.mark.slow
def test_what_the_interpreter_has_is_not_installed_again(
    build: Build, console: Recorder, settings: EnvironmentSettings
) -> None:
    made = plan_environment(
        EnvironmentRequest(Requirements(pip="alpha")), attrs.evolve(settings, system_site_packages=True)
    )
    assert (made.engine, "uv does not see" in made.engine_reason) == ("pip", True)
    assert made.interpreter is not None
    there = next(
        entry.name.removesuffix(".dist-info").split("-")
        for entry in sorted(Path(made.interpreter.packages[0]).iterdir())
        if entry.name.endswith(".dist-info")
    )
    result = build(f"{there[0]}=={there[1]}\nalpha", system_site_packages=True)
    assert result.engine == "pip"
    assert result.python is not None
    assert "already satisfied" in console.text
    assert not list(result.python.parent.parent.glob(f"lib/python*/site-packages/{there[0]}-*.dist-info"))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_environment_that_sees_its_interpreters_packages(build: Build, engine: str) -> None:
    result = build("alpha", system_site_packages=True, installing=InstallSettings(engine), force_upgrade=True)
    assert "alpha==2.0" in result.installed
    assert result.python is not None
    config = (result.python.parent.parent / "pyvenv.cfg").read_text()
    assert "include-system-site-packages = true" in config


@pytest.mark.parametrize("engine", ENGINES)
def test_configured_flags_reach_both_engines(
    build: Build, settings: EnvironmentSettings, links: Path, engine: str
) -> None:
    bare = {name: value for name, value in settings.environ.items() if name != "PIP_FIND_LINKS"}
    flags = ("--find-links", str(links), "--no-deps")
    result = build("beta", environ=bare, extra_pip_install_flags=flags, installing=InstallSettings(engine))
    assert result.installed == ("beta==1.0",)


def work_for(settings: EnvironmentSettings, console: Recorder, tmp_path: Path) -> Work:
    return Work(EnvironmentPlan(Mode.STORED, settings), None, tmp_path, tmp_path, console, None, {})


def test_the_configured_uv_is_used(
    settings: EnvironmentSettings, console: Recorder, build: Build, tmp_path: Path
) -> None:
    mine = tmp_path / "my-uv"
    mine.symlink_to(find_uv({}))
    environ = {**settings.environ, "CLEARML_BOOTSTRAP_UV_EXEC": str(mine)}
    assert uv_program(work_for(attrs.evolve(settings, environ=environ), console, tmp_path)) == str(mine)
    gone = {**settings.environ, "CLEARML_BOOTSTRAP_UV_EXEC": "/nowhere/uv"}
    assert find_uv(gone) == "/nowhere/uv"
    assert build("alpha", environ={**environ}).engine == "uv"


def test_another_version_of_uv_is_installed_beside_the_agents(
    settings: EnvironmentSettings, console: Recorder, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_wheel(wheels, "uv", "0.1.2", script=True)
    environ = {**settings.environ, "PIP_FIND_LINKS": str(wheels)}
    asked = attrs.evolve(settings, environ=environ, installing=InstallSettings(uv_version=("0.1.2",)))
    program = uv_program(work_for(asked, console, tmp_path))
    assert Path(program).is_relative_to(settings.state_dir)
    assert Path(program).name == "uv"
    assert console.lines[0].startswith("Installing uv ==0.1.2, because agent.package_manager.uv_version asks for it")
    fits = attrs.evolve(settings, installing=InstallSettings(uv_version=(">=0.5", "<99")))
    assert uv_program(work_for(fits, console, tmp_path)) == find_uv(settings.environ)
    assert uv_specs(("0.5.1", " ", ">1")) == ("==0.5.1", ">1")
