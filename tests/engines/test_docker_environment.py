"""Environments for containers, with a real docker: other users, a root that cannot be written, images without Python."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.containers.engine import CliEngine
from clearml_agent_clone.containers.environment import InsideEnvironment, prepare_inside
from clearml_agent_clone.containers.options import Engine
from clearml_agent_clone.environment import EnvironmentRequest, EnvironmentSettings
from clearml_agent_clone.environment.uv_tools import find_uv
from clearml_agent_clone.errors import Cancelled, UserError
from clearml_agent_clone.util.process import Finished
from tests.helpers.consoles import Recorder
from tests.helpers.docker_tools import HOST, IMAGE, docker, need_docker
from tests.unit.environment.conftest import make_wheel

pytestmark = pytest.mark.engine

_NAME = "local/clearml-test-environment"
_USER = f"""\
FROM {IMAGE}
RUN useradd --create-home --uid 4321 somebody
USER somebody
"""
_LABEL = "clearml-environment-test"


@attrs.define
class Lab:
    """Prepares environments and runs Python in them."""

    settings: EnvironmentSettings
    console: Recorder = attrs.Factory(Recorder)
    engine: CliEngine = attrs.Factory(lambda: CliEngine(Engine.DOCKER))
    made: list[InsideEnvironment] = attrs.Factory(list)

    def prepare(self, image: str, *packages: str, cancel: threading.Event | None = None) -> InsideEnvironment:
        request = EnvironmentRequest(Requirements(pip="\n".join(packages)), task_id="t1")
        found = self.engine.image_id(image)
        assert found is not None
        made = prepare_inside(
            self.engine, found, request, self.settings, self.console, labels={_LABEL: "1"}, cancel=cancel
        )
        self.made.append(made)
        return made

    def run(self, image: str, made: InsideEnvironment, code: str, *options: str) -> str:
        mounts = [mount.option.token for mount in made.mounts]
        words = ["run", "--rm", HOST, *options, *mounts, f"--entrypoint={made.python}", "--", image, "-c", code]
        return docker(*words).stdout.strip()


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("links")
    make_wheel(folder, "alpha", "1.0")
    make_wheel(folder, "alpha", "2.0")
    make_wheel(folder, "beta", "1.0", "alpha>=1.0", script=True)
    return folder


@pytest.fixture(scope="module")
def kept() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def lab(kept: Path, links: Path) -> Iterator[Lab]:
    need_docker()
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(kept / "home"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(links),
        "CLEARML_BOOTSTRAP_UV_EXEC": find_uv({}),
    }
    settings = EnvironmentSettings(kept / "state", kept / "store", kept / "builds", kept / "cache", environ=environ)
    lab = Lab(settings)
    yield lab
    for made in lab.made:
        if made.lease is not None:
            made.lease.release()
    assert docker("ps", "-aq", "--filter", f"label={_LABEL}").stdout == ""


def build(name: str, dockerfile: str) -> str:
    docker("build", "-q", "-t", f"{_NAME}:{name}", "-", data=dockerfile.encode())
    return f"{_NAME}:{name}"


@pytest.fixture(scope="module")
def users() -> Iterator[str]:
    """An image whose processes are not root's."""
    need_docker()
    name = build("user", _USER)
    yield name
    docker("rmi", "--force", name)


def kept_in(made: InsideEnvironment) -> Path:
    """The kept environment, below what the task has to itself."""
    return Path(made.mounts[0].inside)


WHO = "import os, alpha, beta; print(os.getuid(), alpha.VERSION, beta.VERSION)"


def test_another_user_and_a_root_that_cannot_be_written(lab: Lab, users: str) -> None:
    made = lab.prepare(users, "beta==1.0", "alpha==1.0")
    assert lab.run(users, made, WHO, "--read-only") == "4321 1.0 1.0"
    owners = {file.lstat().st_uid for file in kept_in(made).rglob("*")}
    assert owners == {os.geteuid()}
    again = lab.prepare(users, "beta==1.0", "alpha==1.0")
    assert (kept_in(again), again.reused) == (kept_in(made), True)
    assert "Installing" in lab.console.text


def test_images_with_the_same_python_share(lab: Lab, users: str) -> None:
    one, two = lab.prepare(users, "alpha==2.0"), lab.prepare(IMAGE, "alpha==2.0")
    assert kept_in(two) == kept_in(one) or lab.console.text.count("with pip") == 2
    assert lab.run(IMAGE, two, "import os, alpha; print(os.getuid(), alpha.VERSION)") == "0 2.0"


def test_programs_and_pip_of_an_environment_start(lab: Lab, users: str) -> None:
    made = lab.prepare(users, "beta==1.0", "alpha==1.0")
    code = "import subprocess, sys\nfor p in ('beta', 'pip'): subprocess.run([sys.argv[1] + '/' + p] + ['--version'][:p == 'pip'])"
    mounts = [mount.option.token for mount in made.mounts]
    words = ["run", "--rm", *mounts, f"--entrypoint={made.python}", users, "-c", code, made.bin_dir]
    told = docker(*words).stdout
    assert told.startswith("1.0\npip ")


def test_packages_of_the_image_are_used(lab: Lab, links: Path) -> None:
    wheel = (links / "alpha-1.0-py3-none-any.whl").name
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / wheel).write_bytes((links / wheel).read_bytes())
        (folder / "Dockerfile").write_text(
            f"FROM {IMAGE}\nCOPY {wheel} /tmp/\nRUN python3 -m venv /opt/mine && /opt/mine/bin/pip install "
            f"--no-index /tmp/{wheel}\nENV VIRTUAL_ENV=/opt/mine PATH=/opt/mine/bin:$PATH\n"
        )
        docker("build", "-q", "-t", f"{_NAME}:mine", str(folder))
    try:
        made = lab.prepare(f"{_NAME}:mine", "beta==1.0")
        code = "import alpha, beta; print(alpha.__file__, alpha.VERSION)"
        told = lab.run(f"{_NAME}:mine", made, code).split()
        assert told[0].startswith("/opt/mine/lib/")
        assert told[1] == "1.0"
        assert {"alpha==1.0", "beta==1.0"} <= set(made.installed)
        plain = attrs.evolve(lab, settings=attrs.evolve(lab.settings, skip=True)).prepare(f"{_NAME}:mine")
        assert (plain.python, plain.mounts) == ("/opt/mine/bin/python", ())
    finally:
        docker("rmi", "--force", f"{_NAME}:mine")


def test_a_package_that_cannot_be_had_fails_and_leaves_no_container(lab: Lab) -> None:
    with pytest.raises(UserError, match="gamma") as failed:
        lab.prepare(IMAGE, "gamma==3.0")
    assert failed.value.code == "packages-failed"


def test_a_cancelled_build_takes_its_container_with_it(lab: Lab, tmp_path: Path) -> None:
    source = tmp_path / "slow-1.0"
    source.mkdir()
    (source / "setup.py").write_text("import time; print('building', flush=True); time.sleep(120)\n")
    archive = tmp_path / "slow-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(source, "slow-1.0")
    cancel = threading.Event()

    def soon() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not docker("ps", "-q", "--filter", f"label={_LABEL}").stdout:
            time.sleep(0.1)
        time.sleep(0.5)
        cancel.set()

    lab.settings = attrs.evolve(lab.settings, extra_pip_install_flags=("--no-build-isolation",))
    lab.prepare(IMAGE)  # so that the image is known and the next container is the one that builds
    threading.Thread(target=soon, daemon=True).start()
    begin = time.monotonic()
    with pytest.raises(Cancelled):
        lab.prepare(IMAGE, f"slow @ file://{archive}", cancel=cancel)
    assert time.monotonic() - begin < 60


@pytest.fixture(scope="module")
def empty() -> Iterator[str]:
    """An image with nothing in it at all."""
    need_docker()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        note = tarfile.TarInfo("etc/note")
        packed.addfile(note, io.BytesIO(b""))
    docker("import", "-", f"{_NAME}:empty", data=buffer.getvalue())
    yield f"{_NAME}:empty"
    docker("rmi", "--force", f"{_NAME}:empty")


def test_an_image_with_nothing_in_it(lab: Lab, empty: str) -> None:
    with pytest.raises(UserError, match="the image has no Python") as failed:
        lab.prepare(empty, "alpha==1.0")
    assert failed.value.code == "python-missing"


def test_what_is_handed_in_is_in_no_container(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = CliEngine.run_once

    def watched(self: CliEngine, image: str, argv: tuple[str, ...], **how: object) -> Finished:
        seen.append(repr((image, argv, {name: value for name, value in how.items() if name != "stdin"})))
        return original(self, image, argv, **how)  # type: ignore[arg-type] # as it came

    monkeypatch.setattr(CliEngine, "run_once", watched)
    environ = {**lab.settings.environ, "PIP_NO_INDEX": "0"}
    quick = attrs.evolve(lab.settings.installing, pauses=())
    secret = ("http://me:hunter2@127.0.0.1:9/simple",)
    lab.settings = attrs.evolve(lab.settings, extra_index_url=secret, environ=environ, installing=quick)
    with pytest.raises(UserError):
        lab.prepare(IMAGE, "gamma==3.1")
    assert seen
    assert all("hunter2" not in call for call in seen)
    assert "hunter2" not in lab.console.text
