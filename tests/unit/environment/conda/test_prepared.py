"""Environments that are there: a folder, an archive of conda-pack, the base of an installed conda."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.environment import EnvironmentSettings
from clearml_agent_clone.errors import UserError
from tests.helpers.conda_channel import Channel
from tests.helpers.consoles import Recorder

from .conftest import Build

_UNPACK = """#!/usr/bin/env python
import pathlib, sys
here = pathlib.Path(__file__).resolve().parent.parent
script = here / "bin/where"
script.write_text(script.read_text().replace("PACKED", str(here)))
"""


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory, channel: Channel) -> Path:
    """A conda environment with alpha and an activation script, made by hand."""
    import asyncio

    import rattler

    place = tmp_path_factory.mktemp("prepared") / "env"
    cache = place.parent / "cache"

    async def install() -> None:
        gateway = rattler.Gateway(cache_dir=cache / "repodata")
        records = await rattler.solve([rattler.Channel(channel.url)], ["python", "alpha ==1.0", "acts"], gateway)
        await rattler.install(records, place, cache_dir=cache / "packages", show_progress=False)

    asyncio.run(install())
    return place


def test_a_folder_is_used_as_it_is(make: Build, prefix: Path, console: Recorder) -> None:
    result = make(conda="alpha == 2.0", pip="tool", prepared=str(prefix))
    assert result.python == prefix / "bin" / "python"
    assert result.bin_dir == prefix / "bin"
    assert (result.lease, result.installed) == (None, ())
    assert result.variables["CONDA_PREFIX"] == str(prefix)
    assert result.variables["ACTS"] == "env", "its activation scripts count"
    assert not list(prefix.glob("lib/python*/site-packages/tool*")), "nothing is added to it"
    assert f"Packages: those of {prefix}, as they are" in console.lines
    assert "Installed by" not in console.text


def test_the_container_image_may_name_a_folder(make: Build, prefix: Path) -> None:
    assert make(by_image=True, image=str(prefix)).python == prefix / "bin" / "python"
    with pytest.raises(UserError, match=r'there is no conda environment "docker:image" \(the task.s container image'):
        make(by_image=True, image="docker:image")


def test_an_archive_is_unpacked_once(make: Build, prefix: Path, tmp_path: Path, console: Recorder) -> None:
    """What conda-pack makes: the files, with a mark for the prefix, and a program that puts the new one in."""
    program, script = tmp_path / "conda-unpack", tmp_path / "where"
    program.write_text(_UNPACK)
    script.write_text((prefix / "bin/where").read_text().replace(str(prefix), "PACKED"))
    archive = tmp_path / "environment.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as file:
        for item in prefix.iterdir():
            file.add(item, item.name, filter=lambda member: None if member.name == "bin/where" else member)
        for added in (program, script):
            added.chmod(0o755)
            file.add(added, f"bin/{added.name}")
    result = make(conda="gamma", prepared=str(archive))
    assert result.bin_dir is not None
    where = subprocess.run([result.bin_dir / "where"], check=True, capture_output=True, text=True).stdout
    assert where == f"{result.bin_dir.parent}\n"
    assert result.variables["CONDA_PREFIX"] == str(result.bin_dir.parent)
    copy = archive.rename(tmp_path / "the-same.tar.gz")
    again = make(prepared=str(copy))
    assert (again.reused, again.python) == (True, result.python)


def test_what_is_no_environment_is_refused(make: Build, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.tar.gz").write_text("no archive")
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as file:
        file.add(tmp_path / "text.tar.gz", "readme")
    for name, why in (
        ("gone", 'there is no conda environment "'),
        ("empty", "is no conda environment: .*bin/python does not start"),
        ("text.tar.gz", "cannot be used as a conda environment: tar says: "),
        ("other.tar.gz", "cannot be used as a conda environment: there is no bin/python in it"),
    ):
        with pytest.raises(UserError, match=why):
            make(prepared=str(tmp_path / name))


def test_the_base_environment_gets_what_is_missing_and_keeps_the_rest(
    make: Build, prefix: Path, conda: EnvironmentSettings, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="use_conda_base_env is set, and there is no conda") as caught:
        make(conda="beta == 1.0", base=True)
    assert caught.value.code == "conda-missing"
    base = tmp_path / "base"
    subprocess.run(["cp", "-a", prefix, base], check=True)
    environ = {**conda.environ, "MAMBA_ROOT_PREFIX": str(base)}
    result = make(conda="beta == 1.0", pip="tool", base=True, settings=attrs.evolve(conda, environ=environ))
    assert result.python == base / "bin" / "python"
    names = {file.name.rsplit("-", 2)[0] for file in (base / "conda-meta").glob("*.json")}
    assert names == {"python", "alpha", "acts", "beta"}
    assert list(base.glob("lib/python*/site-packages/tool.py"))
    assert result.variables["CONDA_PREFIX"] == str(base)
    assert sys.prefix != str(base)
