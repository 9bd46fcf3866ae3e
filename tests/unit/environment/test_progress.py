from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from clearml_agent_clone.environment import EnvironmentSettings
from clearml_agent_clone.environment.install_settings import InstallSettings
from clearml_agent_clone.environment.progress import Progress, growth
from tests.helpers.consoles import Recorder
from tests.helpers.package_index import Fault, PackageIndex, serve

from .conftest import Build, make_wheel


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def at(progress: Progress, clock: Clock, seconds: float) -> None:
    clock.now = 1000.0 + seconds
    progress.tick()


def test_single_packages_are_summed_up(console: Recorder, clock: Clock) -> None:
    fetched = 0
    progress = Progress(console, lambda: fetched, clock=clock)
    progress.write(b"Resolved 5 packages in 1s\nDownloading torch (846.9MiB)\nDownloading big (5.7MiB)\nBuil")
    progress.write(b"ding slow==1.0\n Downloaded big\n")
    at(progress, clock, 4.9)
    assert console.lines == [], "a short installation says nothing"
    at(progress, clock, 5)
    fetched = 812_000_000
    at(progress, clock, 6)
    at(progress, clock, 10)
    progress.write(b" Downloaded torch\n      Built slow==1.0\nInstalled 5 packages in 1s\n")
    at(progress, clock, 15)
    assert console.lines == [
        "Still installing: 5 s; downloading torch (846.9MiB), building slow==1.0",
        "Still installing: 10 s; 812 MB fetched so far; downloading torch (846.9MiB), building slow==1.0",
        "Still installing: 15 s; 812 MB fetched so far; after: Installed 5 packages in 1s",
    ]
    assert console.raw == b"Resolved 5 packages in 1s\nInstalled 5 packages in 1s\n"


def test_many_packages_are_counted(console: Recorder, clock: Clock) -> None:
    progress = Progress(console, clock=clock)
    progress.write(b"".join(b"Downloading p%d (2.0MiB)\n" % number for number in range(47)))
    at(progress, clock, 5)
    assert console.lines[0].endswith(
        "downloading p0 (2.0MiB), downloading p1 (2.0MiB), downloading p2 (2.0MiB) and 44 more"
    )


def test_lines_become_rarer_and_a_talking_program_needs_none(console: Recorder, clock: Clock) -> None:
    progress = Progress(console, clock=clock)
    for second in range(3600):
        at(progress, clock, second)
    spoken = len(console.lines)
    assert 11 + 36 + 48 <= spoken <= 12 + 37 + 51
    for second in range(3600, 3700):
        clock.now = 1000.0 + second
        progress.write(b"Collecting alpha\n")
        progress.tick()
    assert len(console.lines) == spoken


def test_half_a_line_comes_out_at_last(console: Recorder, clock: Clock) -> None:
    progress = Progress(console, clock=clock)
    progress.write(b"compiling ....")
    assert console.raw == b""
    at(progress, clock, 5)
    assert console.raw == b"compiling ...."
    progress.write(b"done")
    progress.close()
    assert console.raw == b"compiling ....done"


def test_only_what_is_new_in_the_cache_counts(tmp_path: Path) -> None:
    old = tmp_path / "archive-v0" / "old"
    old.mkdir(parents=True)
    (old / "file").write_bytes(b"x" * 1000)
    os.utime(old, (1, 1))
    measure = growth(tmp_path)
    assert measure() == 0
    for place in (tmp_path / ".tmpAbc", tmp_path / "archive-v0" / "new"):
        place.mkdir()
        (place / "file").write_bytes(b"x" * 500)
    assert measure() == 1000
    assert growth(tmp_path / "nothing")() == 0


def test_a_long_download_is_told_of_while_it_runs(
    build: Build, console: Recorder, settings: EnvironmentSettings, tmp_path: Path
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    with zipfile.ZipFile(make_wheel(links, "big", "1.0"), "a") as wheel:
        wheel.writestr("blob", os.urandom(6_000_000))
    kept = {name: value for name, value in settings.environ.items() if name not in {"PIP_NO_INDEX", "PIP_FIND_LINKS"}}
    with serve(PackageIndex(links)) as index:
        index.faults = [Fault("/files/big", chunk_pause=0.02)]
        environ = {**kept, "PIP_INDEX_URL": index.url}
        installing = InstallSettings(tell_every=0.2)
        assert build("big", environ=environ, installing=installing, uv_cache_dir=tmp_path / "c").installed == (
            "big==1.0",
        )
    told = [line for line in console.lines if line.startswith("Still installing")]
    assert any("downloading big (5.7MiB)" in line for line in told)
    assert any("MB fetched so far" in line for line in told)
    assert "Downloading" not in console.text
