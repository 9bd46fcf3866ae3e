"""Environments for containers, built by the real uv and pip in processes that stand for containers."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import attrs
import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.containers.arguments import Option
from clearml_agent_clone.containers.engine import ContainerEngine
from clearml_agent_clone.containers.environment import InsideEnvironment, build_user, prepare_inside
from clearml_agent_clone.containers.image_choice import as_interpreter, sight_of
from clearml_agent_clone.containers.image_python import look_into
from clearml_agent_clone.containers.image_venv import Sight, write_environment
from clearml_agent_clone.environment import EnvironmentRequest, EnvironmentSettings, Interpreter
from clearml_agent_clone.environment.build import containers_folder
from clearml_agent_clone.environment.inventory import inventory
from clearml_agent_clone.environment.uv_tools import find_uv
from clearml_agent_clone.errors import Cancelled, UserError
from clearml_agent_clone.util.process import Finished
from tests.helpers.consoles import Recorder
from tests.helpers.local_engine import LocalEngine
from tests.unit.environment.conftest import make_wheel

_BASE = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


def venv(folder: Path) -> Path:
    """A virtual environment with nothing in it."""
    interpreter = Interpreter(_BASE, _BASE, f"{MINOR}.0", "", "", "", _BASE)
    write_environment(folder, interpreter, Sight())
    return folder


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("links")
    make_wheel(folder, "alpha", "1.0")
    make_wheel(folder, "alpha", "2.0")
    make_wheel(folder, "beta", "1.0", "alpha>=1.0")
    return folder


@pytest.fixture
def console() -> Recorder:
    return Recorder()


@pytest.fixture
def store() -> Iterator[Path]:
    """A folder with a short name: the first line of a program has no room for a long one."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def settings(tmp_path: Path, store: Path, links: Path) -> EnvironmentSettings:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "SECRET_OF_THE_AGENT": "swordfish",
        "PIP_CONFIG_FILE": os.devnull,
        "UV_COMPILE_BYTECODE": "0",
        "UV_HTTP_RETRIES": "0",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(links),
        "CLEARML_BOOTSTRAP_UV_EXEC": find_uv({}),
    }
    return EnvironmentSettings(
        state_dir=tmp_path / "state",
        store_dir=store,
        builds_dir=tmp_path / "builds",
        uv_cache_dir=tmp_path / "cache",
        python_binary="/usr/bin/no-python-of-this-machine",
        environ=environ,
    )


@pytest.fixture
def image(tmp_path: Path) -> LocalEngine:
    """An image that has activated a virtual environment with nothing in it."""
    folder = venv(tmp_path / "image-venv")
    return LocalEngine({"VIRTUAL_ENV": str(folder)}, {"python3": str(folder / "bin" / "python3")})


class Prepare:
    """``prepare_inside`` with few words; leases end with the test."""

    def __init__(self, engine: LocalEngine, settings: EnvironmentSettings, console: Recorder) -> None:
        self.engine, self.settings, self.console = engine, settings, console
        self.made: list[InsideEnvironment] = []

    def __call__(
        self, *packages: str, image: str = "sha256:1", change: dict[str, Any] | None = None, **more: Any
    ) -> InsideEnvironment:
        request = EnvironmentRequest(Requirements(pip="\n".join(packages)), task_id="t1")
        request = attrs.evolve(request, **{key: more.pop(key) for key in tuple(more) if hasattr(request, key)})
        settings = attrs.evolve(self.settings, **(change or {}))
        engine = cast("ContainerEngine", self.engine)
        self.made.append(prepare_inside(engine, image, request, settings, self.console, **more))
        return self.made[-1]


@pytest.fixture
def prepare(image: LocalEngine, settings: EnvironmentSettings, console: Recorder) -> Iterator[Prepare]:
    call = Prepare(image, settings, console)
    yield call
    for made in call.made:
        if made.lease is not None:
            made.lease.release()


def version(made: InsideEnvironment, module: str = "alpha") -> str:
    code = f"import {module}; print({module}.VERSION)"
    return subprocess.run([made.python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def kept_in(made: InsideEnvironment) -> Path:
    """The kept environment, below what the task has to itself."""
    return Path(made.mounts[0].inside)


def test_what_a_task_installs_is_its_own_and_goes_with_it(prepare: Prepare, links: Path) -> None:
    made = prepare("alpha==1.0")
    argv = [made.python, "-m", "pip", "install", "-q", "--no-index", "--find-links", str(links), "alpha==2.0", "beta"]
    subprocess.run(argv, check=True, env={"PIP_CONFIG_FILE": os.devnull, "PATH": os.defpath})
    assert (version(made), version(made, "beta")) == ("2.0", "1.0")
    other = prepare("alpha==1.0")
    assert (version(other), other.reused, kept_in(other)) == ("1.0", True, kept_in(made))
    assert made.lease is not None
    made.lease.release()
    assert not Path(made.python).parent.parent.exists()


def test_built_once_then_found_without_a_container(prepare: Prepare, image: LocalEngine) -> None:
    made = prepare("beta==1.0", "alpha==1.0")
    assert (version(made), made.reused) == ("1.0", False)
    assert made.installed[:2] == ("alpha==1.0", "beta==1.0")
    assert [mount.read_only for mount in made.mounts] == [True, False]
    assert all(mount.host == mount.inside for mount in made.mounts)
    probes = [call for call in image.calls if call.argv[1:] == ("-I", "-")]
    assert len(image.calls) == len(probes) == 2  # one that asked, one that installed
    kept = {entry.kind: entry for entry in inventory(prepare.settings)}
    assert kept["environment"].key == kept_in(made).parts[-2]
    assert kept["download"].path.parent == containers_folder(prepare.settings)
    again = prepare("alpha==1.0", "beta==1.0")
    assert (kept_in(again), again.reused) == (kept_in(made), True)
    assert len(image.calls) == 2


def test_images_without_packages_of_their_own_share_environments(prepare: Prepare) -> None:
    assert kept_in(prepare("alpha==1.0")) == kept_in(prepare("alpha==1.0", image="sha256:2"))


def test_packages_of_the_image_count_and_make_it_part_of_the_key(
    prepare: Prepare, image: LocalEngine, links: Path
) -> None:
    uv, python = prepare.settings.environ["CLEARML_BOOTSTRAP_UV_EXEC"], image.programs["python3"]
    argv = [uv, "pip", "install", "--offline", "--no-index", "-q", "--find-links", str(links), "--python", python]
    subprocess.run([*argv, "alpha==1.0"], check=True, env={"PATH": os.defpath, "UV_NO_CACHE": "1"})
    made = prepare("beta")
    assert (version(made), version(made, "beta")) == ("1.0", "1.0")
    site = next(kept_in(made).glob("lib/python*/site-packages"))
    assert not (site / "alpha.py").exists()
    assert made.installed == ("beta==1.0", "alpha==1.0")
    assert "Installing 1 requirement with pip" in prepare.console.text
    known = look_into(cast("ContainerEngine", image), "sha256:1", prepare.settings.state_dir / "images").pythons[0]
    sight = sight_of(known, seen=True)
    identities = {as_interpreter(known, name, sight).identity for name in ("sha256:1", "sha256:2")}
    assert len(identities) == 2
    alone = prepare("beta", change={"environ": {**prepare.settings.environ, _FORCE: "false"}})
    assert version(alone) == "2.0"


_FORCE = "CLEARML_AGENT_FORCE_SYSTEM_SITE_PACKAGES"


def test_secrets_and_the_agents_variables_stay_out_of_command_lines_and_of_the_container(
    prepare: Prepare, image: LocalEngine
) -> None:
    with pytest.raises(UserError) as failed:
        prepare(
            "gamma==1.0",
            change={
                "extra_index_url": ("http://me:hunter2@127.0.0.1:9/simple",),
                "environ": {**prepare.settings.environ, "PIP_NO_INDEX": "0"},
                "installing": attrs.evolve(prepare.settings.installing, pauses=()),
            },
        )
    assert failed.value.code == "packages-failed"
    assert all("hunter2" not in call.shown and "swordfish" not in call.shown for call in image.calls)
    assert all(b"swordfish" not in call.stdin for call in image.calls)
    assert b"hunter2" in image.calls[-1].stdin
    assert "hunter2" not in prepare.console.text + str(failed.value)


def test_a_package_that_is_nowhere_fails_as_on_the_host(prepare: Prepare, settings: EnvironmentSettings) -> None:
    with pytest.raises(UserError, match="gamma") as failed:
        prepare("gamma==1.0")
    assert failed.value.code == "packages-failed"
    assert not list(containers_folder(settings).glob("_temp.environments-1/*/env"))


def test_a_cancelled_build_leaves_nothing(prepare: Prepare, image: LocalEngine, settings: EnvironmentSettings) -> None:
    prepare()
    cancel = threading.Event()

    def answer(_: Sequence[str]) -> None:
        cancel.set()

    image.answer = answer
    with pytest.raises(Cancelled):
        prepare("alpha==1.0", cancel=cancel)
    assert len(list(containers_folder(settings).glob("_temp.environments-1/*/env"))) == 1


def test_other_users_can_read_what_was_built(prepare: Prepare) -> None:
    old = os.umask(0o077)
    try:
        made = prepare("alpha==1.0")
    finally:
        os.umask(old)
    env = kept_in(made)
    closed = [
        file for file in (env, *env.rglob("*")) if not file.is_symlink() and not file.stat().st_mode & stat.S_IROTH
    ]
    assert closed == []


def test_the_build_gets_the_network_of_the_task_and_nothing_else(prepare: Prepare, image: LocalEngine) -> None:
    options = (Option("network", "host"), Option("user", "7"), Option("volume", "/:/host"), Option("add-host", "a:1"))
    prepare("alpha==1.0", options=options)
    given = [option.token for option in image.calls[-1].options]
    assert given == ["--network=host", "--add-host=a:1", f"--user={os.geteuid()}:{os.getegid()}"]
    assert [option.token for option in image.calls[0].options] == []


def test_indexes_that_the_container_is_told_of_count(prepare: Prepare, image: LocalEngine) -> None:
    options = tuple(
        Option("env", text) for text in ("PIP_NO_INDEX=0", "UV_DEFAULT_INDEX=http://127.0.0.1:9/of-mine", "OTHER=1")
    )
    quick = attrs.evolve(prepare.settings.installing, pauses=())
    with pytest.raises(UserError, match="of-mine"):
        prepare("gamma==1.0", options=options, change={"installing": quick})
    assert b"OTHER" not in image.calls[-1].stdin


def test_without_packages_no_container_builds_anything(prepare: Prepare, image: LocalEngine) -> None:
    made = prepare()
    assert subprocess.run([made.python, "-m", "pip", "--version"], check=False, capture_output=True).returncode == 0
    assert len(image.calls) == 1


def test_the_image_decides_about_python(prepare: Prepare, image: LocalEngine) -> None:
    prepare("alpha==1.0", binary="python3.3")
    assert f'the image has no Python 3.3, script.binary "python3.3": its Python {MINOR}' in prepare.console.text
    made = prepare(change={"skip": True})
    assert made.python == made.helper_python == image.programs["python3"].removesuffix("3")
    assert made.mounts == ()
    shell = prepare(binary="bash")
    assert (shell.python, shell.helper_python) == ("", made.python)


def test_an_activated_environment_can_be_left_out(prepare: Prepare, image: LocalEngine) -> None:
    image.programs = {"python3": str(_BASE)}
    prepare(use_activated_venv=False)
    assert f"at {image.variables['VIRTUAL_ENV']}" not in prepare.console.text
    prepare()
    assert f"at {image.variables['VIRTUAL_ENV']}" in prepare.console.text


@pytest.mark.parametrize("manager", ["conda", "poetry", "uv"])
def test_what_cannot_be_done_in_containers_says_so(prepare: Prepare, tmp_path: Path, manager: str) -> None:
    root = tmp_path / "code"
    root.mkdir()
    (root / "pyproject.toml").write_text(
        '[project]\nname="a"\nversion="1"\n[tool.poetry]\nname="a"\nversion="1"\ndescription=""\nauthors=[]\n'
    )
    with pytest.raises(UserError, match=f"agent.package_manager.type is {manager}") as failed:
        prepare("alpha", repository_root=root, has_repository=True, change={"manager": manager})
    assert failed.value.code == "not-in-containers"


def test_a_poetry_agent_installs_plain_lists_in_containers(prepare: Prepare, tmp_path: Path) -> None:
    made = prepare("alpha==1.0", repository_root=tmp_path / "code", change={"manager": "poetry"})
    assert version(made) == "1.0"


def empty(argv: Sequence[str], *told: str) -> Finished:
    """What an image without Python answers."""
    if argv[0] == "sh":
        return Finished(tuple(argv), 0, "".join(f"clearml-probe:{line}\n" for line in told))
    return Finished(tuple(argv), 127, "", 'exec: "python3": executable file not found in $PATH: unknown.')


def test_an_image_without_python(prepare: Prepare, image: LocalEngine) -> None:
    image.answer = lambda argv: empty(argv, "machine=x86_64", "libc=glibc", "uid=0")
    with pytest.raises(UserError, match="the image has no Python 3") as failed:
        prepare("alpha")
    assert "agent.python_install: true" in str(failed.value.remedy)
    calls = len(image.calls)
    with pytest.raises(UserError):
        prepare("alpha")
    assert len(image.calls) == calls  # remembered


def test_an_image_without_python_and_without_a_shell(prepare: Prepare, image: LocalEngine) -> None:
    image.answer = lambda argv: Finished(tuple(argv), 127, "", f'exec: "{argv[0]}": executable file not found')
    with pytest.raises(UserError, match="no C library that one could be brought for"):
        prepare("alpha", change={"python_install": True})


def test_an_image_that_cannot_run(prepare: Prepare, image: LocalEngine) -> None:
    image.answer = lambda argv: Finished(tuple(argv), 125, "", "exec format error")
    with pytest.raises(UserError, match="exec format error") as failed:
        prepare("alpha")
    assert failed.value.code == "image-broken"
    assert not (prepare.settings.state_dir / "images").exists()  # it may be repaired


@pytest.mark.parametrize(
    ("engine", "uid", "environ", "user"),
    [
        ("docker", 0, {}, "0:9"),
        ("docker", 7, {}, "7:9"),
        ("docker", 7, {"DOCKER_HOST": "unix:///run/user/7/docker.sock"}, "0:0"),
        ("podman", 7, {}, "0:0"),
        ("podman", 0, {}, "0:9"),
    ],
)
def test_who_builds(monkeypatch: pytest.MonkeyPatch, engine: str, uid: int, environ: dict[str, str], user: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(os, "getegid", lambda: 9)
    assert build_user(engine, environ) == user


_BACKEND = """
import zipfile
def build_wheel(folder, settings=None, metadata=None):
    name = "delta-3-py3-none-any.whl"
    with zipfile.ZipFile(folder + "/" + name, "w") as wheel:
        wheel.write("delta.py")
        wheel.writestr("delta-3.dist-info/METADATA", "Metadata-Version: 2.1\\nName: delta\\nVersion: 3\\n")
        wheel.writestr("delta-3.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("delta-3.dist-info/RECORD", "")
    return name
"""


def source_package(folder: Path, while_built: str = "") -> Path:
    """The source of a package ``delta`` that builds itself."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (folder / "backend.py").write_text(_BACKEND + while_built)
    (folder / "delta.py").write_text("VERSION = '3'\n")
    return folder


@pytest.mark.parametrize("place", ["env/pyvenv.cfg", "env/bin/activate.mine", "scratch"])
def test_links_that_a_build_leaves_in_our_way_are_not_followed(prepare: Prepare, tmp_path: Path, place: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("swordfish")
    code = f"""
import glob, os
for folder in glob.glob({str(containers_folder(prepare.settings))!r} + "/tasks/*/*/scratch"):
    place = os.path.join(os.path.dirname(folder), {place!r})
    if os.path.islink(place):
        continue
    if os.path.exists(place):
        os.rename(place, place + ".old")
    os.symlink({str(secret)!r}, place)
"""
    package = source_package(tmp_path / "delta", code)
    with pytest.raises(UserError, match="by a link while it was built") as failed:
        prepare(f"delta @ {package.as_uri()}")
    assert failed.value.code == "packages-failed"


def test_packages_from_git_are_fetched_here_and_recorded_as_such(
    prepare: Prepare, image: LocalEngine, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    source_package(repository / "lib")
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "a"], ["tag", "v3"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    line = f"delta @ git+file://{repository}@v3#subdirectory=lib"
    made = prepare(line)
    assert version(made, "delta") == "3"
    assert made.installed[0].replace("file:///", "file:/") == f"delta @ git+file:{repository}@{commit}#subdirectory=lib"
    assert f"git+file://{repository}" not in image.calls[-1].stdin.decode()
    with pytest.raises(UserError, match="not-there"):
        prepare(f"delta @ git+file://{repository}@not-there")


_INSTALLER = """#!/bin/sh
# Stands for the uv of this machine where Python is installed, for which there is no network; else it is the real one.
[ "$1 $2" = "python install" ] || exec '{uv}' "$@"
[ "$3 $5" = "--install-dir --" ] || exit 2
case "$6" in cpython-{minor}-linux-x86_64-gnu) ;; *) echo "no download found for $6" >&2; exit 1;; esac
mkdir -p "$4/cpython-{minor}.77-linux-x86_64-gnu/bin"
exec ln -s '{base}' "$4/cpython-{minor}.77-linux-x86_64-gnu/bin/python{minor}"
"""


def test_an_image_without_python_gets_one(
    prepare: Prepare, image: LocalEngine, tmp_path: Path, settings: EnvironmentSettings
) -> None:
    program = tmp_path / "uv"
    program.write_text(_INSTALLER.format(uv=find_uv({}), minor=MINOR, base=_BASE))
    program.chmod(0o755)
    bare = ("python3", "sh")
    image.answer = lambda argv: empty(argv, "machine=x86_64", "libc=glibc") if argv[0] in bare else None
    change = {"python_install": True, "environ": {**settings.environ, "CLEARML_BOOTSTRAP_UV_EXEC": str(program)}}
    made = prepare("alpha==1.0", change=change)
    folder = settings.state_dir / "pythons" / "x86_64-gnu"
    assert (version(made), made.mounts[0].host, made.mounts[0].read_only) == ("1.0", str(folder), True)
    assert made.helper_python.startswith(f"{folder}/cpython-{MINOR}.77-linux-x86_64-gnu/bin/")
    assert folder.stat().st_mode & 0o005 == 0o005
    calls = len(image.calls)
    again = prepare("alpha==1.0", change=change)
    assert (again.reused, len(image.calls)) == (True, calls)
    with pytest.raises(UserError, match=r"uv could not install Python 3\.3 for it: no download found") as failed:
        prepare("alpha==1.0", binary="python3.3", change=change)
    assert failed.value.code == "python-missing"
