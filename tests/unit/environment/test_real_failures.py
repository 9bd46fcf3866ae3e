"""Faults of a real index and of real builds, met by the real uv and the real pip: what the task is told."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.environment import EnvironmentSettings
from clearml_agent_clone.environment.install_settings import InstallSettings
from clearml_agent_clone.errors import Cancelled, UserError
from clearml_agent_clone.util.process import Cancel
from tests.helpers.consoles import Recorder
from tests.helpers.git_http import make_certificate
from tests.helpers.package_index import Fault, PackageIndex, serve
from tests.helpers.sources import make_sdist

from .conftest import Build, make_wheel

ENGINES = ["uv", pytest.param("pip", marks=pytest.mark.slow)]
AT_ONCE = InstallSettings(pauses=())


@attrs.frozen
class Case:
    """What is asked for, what the index does, and what the task is told."""

    pip: str
    message: str
    faults: tuple[Fault, ...] = ()
    url: str = ""
    password: str = ""
    remedy: str = ""
    pip_message: str = ""


CASES = {
    "no such package": Case(
        "nope-at-all", 'package "nope-at-all" does not exist in http://127.0.0.1', remedy="its name"
    ),
    "no such version": Case("alpha==9.0", "package alpha has no version ==9.0", remedy="Ask for a version that exists"),
    "no file for this machine": Case("winonly", "package winonly has no file that fits this"),
    "other Python": Case(
        "newer==1.0",
        "package newer==1.0 does not support this Python",
        remedy="Run the task with a Python that it supports (script.binary)",
    ),
    "conflict": Case("beta\ngamma", "contradict each other: ", remedy="Loosen one of the two"),
    "nobody listens": Case(
        "alpha", "an index cannot be reached", url="http://127.0.0.1:9/simple", remedy="Check the network"
    ),
    "no such host": Case("alpha", "an index cannot be reached", url="https://nowhere.invalid/simple"),
    "silent": Case("alpha", "an index does not answer", (Fault("alpha", hang=20),), remedy="PIP_DEFAULT_TIMEOUT"),
    "own fault": Case(
        "alpha", "an index has a fault of its own", (Fault("/simple/alpha", status=503),), remedy="Try again later"
    ),
    "breaks off": Case("alpha", "the connection to an index breaks off", (Fault("/simple/alpha", reset=True),)),
    "half a file": Case("alpha", "the connection to an index breaks off", (Fault("/files/alpha", cut=300),)),
    "wrong password": Case(
        "alpha", "an index refuses the credentials", password="me:right", remedy="user and password"
    ),
    "forbidden": Case("alpha", "an index refuses the credentials", (Fault("/simple/alpha", status=403),)),
    "missing file": Case("alpha", "a file that an index names is not there", (Fault("/files/alpha", status=404),)),
    "another file": Case(
        f"alpha==1.0 --hash=sha256:{'1' * 64}", "the file of package alpha==1.0 is not the one whose hash was recorded"
    ),
    "header": Case("noheader", "package noheader could not be built: the header nonexistent/thing.h is missing"),
    "compiler": Case(
        "nocompiler", "nocompiler could not be built: the compiler x86_64-gcc-99 is missing", remedy="build-essential"
    ),
    "build needs a module": Case(
        "unsaid",
        "unsaid could not be built: its build imports not_said without asking for it",
        remedy="priority_packages",
    ),
    "memory": Case("greedy", "the build of package greedy was killed, most likely because the memory was used up"),
    "broken build": Case("broken", "package broken could not be built: RuntimeError: this never worked"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    links = tmp_path_factory.mktemp("faulty")
    for name, version, *needs in (
        ("alpha", "1.0"),
        ("alpha", "2.0"),
        ("beta", "1.0", "alpha>=2.0"),
        ("gamma", "1.0", "alpha<2.0"),
        ("newer", "1.0"),
        ("winonly", "1.0"),
    ):
        make_wheel(links, name, version, *needs)
    (links / "winonly-1.0-py3-none-any.whl").rename(links / "winonly-1.0-cp311-cp311-win_amd64.whl")
    make_sdist(
        links,
        "noheader",
        "1.0",
        "subprocess.run(['gcc', '-c', 'x.c'], check=True)",
        x__c="#include <nonexistent/thing.h>\n",
    )
    make_sdist(links, "nocompiler", "1.0", "subprocess.run(['x86_64-gcc-99', '-c', 'x.c'], check=True)")
    make_sdist(links, "unsaid", "1.0", "import not_said")
    make_sdist(links, "greedy", "1.0", "os.kill(os.getpid(), 9)")
    make_sdist(links, "broken", "1.0", "raise RuntimeError('this never worked')")
    return links


@pytest.fixture
def index(folder: Path) -> Iterator[PackageIndex]:
    with serve(PackageIndex(folder)) as server:
        server.requires_python["newer-1.0-py3-none-any.whl"] = ">=3.99"
        yield server


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that all of this fails to get into."""
    env = tmp_path_factory.mktemp("there") / "env"
    subprocess.run(
        [sys.executable, "-m", "virtualenv", "--no-download", "--no-periodic-update", "-q", str(env)], check=True
    )
    return env / "bin" / "python"


def asking(settings: EnvironmentSettings, url: str, engine: str, **environ: str) -> dict[str, object]:
    """What makes a build install from ``url``; requests are not repeated, to save time."""
    kept = {name: value for name, value in settings.environ.items() if name not in {"PIP_NO_INDEX", "PIP_FIND_LINKS"}}
    quick = {"UV_HTTP_RETRIES": "0", "PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "2", "PIP_NO_CACHE_DIR": "1"}
    return {
        "environ": {**kept, **quick, "PIP_INDEX_URL": url, **environ},
        "installing": attrs.evolve(AT_ONCE, engine=engine),
    }


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CASES)
def test_one_cause_is_named(  # noqa: PLR0917 - fixtures
    build: Build,
    console: Recorder,
    settings: EnvironmentSettings,
    index: PackageIndex,
    there: Path,
    tmp_path: Path,
    name: str,
    engine: str,
) -> None:
    case = CASES[name]
    index.faults = list(case.faults)
    index.password = case.password
    url = case.url or (index.url.replace("//", "//me:wrong-word@") if case.password else index.url)
    with pytest.raises(UserError) as caught:
        build(case.pip, install_into=str(there), uv_cache_dir=tmp_path / "cache", **asking(settings, url, engine))
    error = caught.value
    assert case.message in error.message, console.text
    assert error.code == "packages-failed"
    assert "\n" not in error.message
    assert error.remedy
    assert case.remedy in error.remedy
    assert "wrong-word" not in console.text + str(error)
    (command,) = [line for line in console.lines if line.startswith("This failed: ")]
    assert "install" in command
    assert "exit code" in command
    assert f"  {case.pip.splitlines()[0]}" in console.lines, "the lines that were to be installed"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_certificate_that_is_not_trusted(  # noqa: PLR0917 - fixtures
    build: Build, settings: EnvironmentSettings, folder: Path, there: Path, tmp_path: Path, engine: str
) -> None:
    certificate = make_certificate(tmp_path, "127.0.0.1")
    index = PackageIndex(folder)
    index.secured(certificate, certificate)
    with serve(index), pytest.raises(UserError, match="certificate of an index is not trusted") as caught:
        build("alpha", install_into=str(there), uv_cache_dir=tmp_path / "cache", **asking(settings, index.url, engine))
    assert "PIP_CERT" in caught.value.remedy


@contextmanager
def tiny_disk(place: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    place.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(argv, check=False, capture_output=True).returncode != 0:
        pytest.skip("a disk can be mounted by root alone")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_full_disk(  # noqa: PLR0917 - fixtures
    build: Build,
    settings: EnvironmentSettings,
    there: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    with zipfile.ZipFile(make_wheel(links, "alpha", "1.0"), "a") as wheel:
        wheel.writestr("blob", os.urandom(3_000_000))
    with serve(PackageIndex(links)) as index, tiny_disk(tmp_path / "disk") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with pytest.raises(UserError, match="the disk is full") as caught:
            build("alpha", install_into=str(there), uv_cache_dir=disk / "cache", **asking(settings, index.url, engine))
        assert "Free some space" in caught.value.remedy


@pytest.mark.parametrize("engine", ENGINES)
def test_what_passes_is_tried_again_and_what_does_not_is_not(  # noqa: PLR0917 - fixtures
    build: Build, console: Recorder, settings: EnvironmentSettings, index: PackageIndex, tmp_path: Path, engine: str
) -> None:
    more = asking(settings, index.url, engine)
    more["installing"] = InstallSettings(engine, pauses=(0.0, 0.0))
    index.faults = [
        Fault("/simple/alpha", status=503, times=2 if engine == "uv" else 4)
    ]  # a real pip is asked why, too
    assert build("alpha==1.0", uv_cache_dir=tmp_path / "cache", **more).installed == ("alpha==1.0",)
    tries = [line for line in console.lines if "Trying again" in line]
    assert [line.rpartition(". ")[2] for line in tries] == [
        "Trying again in 0 s (2 of 3)",
        "Trying again in 0 s (3 of 3)",
    ]
    assert all(line.startswith("an index has a fault of its own") for line in tries)
    asked = len(index.requests)
    with pytest.raises(UserError, match="does not exist"):
        build("nope-at-all", uv_cache_dir=tmp_path / "cache", **more)
    assert len(index.requests) - asked <= 2
    assert len([line for line in console.lines if "Trying again" in line]) == 2


@pytest.mark.parametrize("engine", ENGINES)
def test_an_abort_kills_the_installer_at_once_and_leaves_nothing(
    build: Build, settings: EnvironmentSettings, index: PackageIndex, tmp_path: Path, engine: str
) -> None:
    """While a build runs: its processes go too."""
    cancel = Cancel()
    marker = f"slowly-{os.getpid()}-{engine}"
    make_sdist(
        index.folder,
        "slow",
        "1.0",
        f"subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)', '{marker}'])",
    )
    begun = threading.Event()

    def watch() -> None:
        while not begun.wait(0.05):
            if _running(marker):
                begun.set()
                cancel.set()

    threading.Thread(target=watch, daemon=True).start()
    start = time.monotonic()
    with pytest.raises(Cancelled):
        build("slow", cancel=cancel, uv_cache_dir=tmp_path / "cache", **asking(settings, index.url, engine))
    begun.set()
    assert time.monotonic() - start < 30
    assert not _running(marker)
    assert settings.store_dir is not None
    assert not [path for path in settings.store_dir.glob("*/py*") if path.is_dir()]


def _running(marker: str) -> bool:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if marker in file.read_text(errors="replace"):
                return True
    return False


def test_an_abort_between_two_tries(
    build: Build, console: Recorder, settings: EnvironmentSettings, index: PackageIndex, tmp_path: Path
) -> None:
    cancel = Cancel()
    more = asking(settings, index.url, "uv")
    more["installing"] = InstallSettings(pauses=(600.0,))
    index.faults = [Fault("/simple/alpha", status=503)]
    say = console.say

    def told(text: str) -> None:
        say(text)
        if "Trying again in 600 s" in text:
            cancel.set()

    console.say = told  # type: ignore[method-assign]  # hears when the pause begins
    with pytest.raises(Cancelled):
        build("alpha", cancel=cancel, uv_cache_dir=tmp_path / "cache", **more)
