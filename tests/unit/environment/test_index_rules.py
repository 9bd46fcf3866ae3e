"""Real installations from small indexes on this machine: which index is asked, and what is recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import EnvironmentSettings, write_back
from clearml_agent_clone.environment.install_settings import InstallSettings
from clearml_agent_clone.errors import UserError
from tests.helpers.consoles import Recorder
from tests.helpers.package_index import PackageIndex, serve

from .conftest import Build, make_wheel

PASSWORD = "t0p-secret"


@pytest.fixture
def indexes(tmp_path: Path) -> Iterator[tuple[PackageIndex, PackageIndex]]:
    """Ours has alpha 1.0 and ours 1.0, the public one has alpha 9.0: what somebody uploads who knows the name."""
    folders = [tmp_path / "ours", tmp_path / "public"]
    for folder in folders:
        folder.mkdir()
    make_wheel(folders[0], "alpha", "1.0")
    make_wheel(folders[0], "ours", "1.0", "alpha")
    make_wheel(folders[1], "alpha", "9.0")
    with ExitStack() as stack:
        ours, public = (stack.enter_context(serve(PackageIndex(folder))) for folder in folders)
        yield ours, public


@pytest.fixture
def plain(settings: EnvironmentSettings) -> dict[str, str]:
    """The environment without an index of its own."""
    return {name: value for name, value in settings.environ.items() if not name.startswith("PIP_")} | {
        "PIP_CONFIG_FILE": "/dev/null"
    }


@pytest.mark.parametrize("engine", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_one_index_is_the_only_one(
    build: Build, indexes: tuple[PackageIndex, PackageIndex], plain: dict[str, str], engine: str
) -> None:
    ours, public = indexes
    text = f"--index-url {ours.url}\nours\n"
    result = build(text, environ={**plain, "PIP_EXTRA_INDEX_URL": public.url}, installing=InstallSettings(engine))
    assert result.installed == (f"--index-url {ours.url}", "alpha==1.0", "ours==1.0")
    # pip's own configuration is overruled by the list, as in pip, also where it names a second index.
    assert public.requests == []


@pytest.mark.parametrize("engine", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_of_several_indexes_the_best_version_counts(
    build: Build, indexes: tuple[PackageIndex, PackageIndex], plain: dict[str, str], engine: str
) -> None:
    ours, public = indexes
    environ = {**plain, "PIP_INDEX_URL": public.url}
    result = build("ours", environ=environ, extra_index_url=(ours.url,), installing=InstallSettings(engine))
    assert result.installed == ("alpha==9.0", "ours==1.0")


def test_uv_s_own_rule_for_several_indexes_holds_where_it_is_asked_for(
    build: Build, indexes: tuple[PackageIndex, PackageIndex], plain: dict[str, str]
) -> None:
    ours, public = indexes
    environ = {**plain, "PIP_INDEX_URL": public.url, "UV_INDEX_STRATEGY": "first-index"}
    assert "alpha==1.0" in build("ours", environ=environ, extra_index_url=(ours.url,)).installed


@pytest.mark.parametrize("engine", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_an_address_with_a_variable_is_recorded_as_it_was_written(
    build: Build,
    console: Recorder,
    indexes: tuple[PackageIndex, PackageIndex],
    plain: dict[str, str],
    engine: str,
) -> None:
    ours, _ = indexes
    ours.password = f"me:{PASSWORD}"
    place = f"127.0.0.1:{ours.server_port}"
    recorded = (
        "# Python 3.11.7 | packaged by somebody\n\n"
        f"--index-url http://me:${{INDEX_PASSWORD}}@{place}/simple\n"
        f"alpha @ http://me:${{INDEX_PASSWORD}}@{place}/files/alpha-1.0-py3-none-any.whl?sig=${{INDEX_PASSWORD}}\n"
        "ours\n"
    )
    environ = {**plain, "INDEX_PASSWORD": PASSWORD}
    work = {"environ": environ, "installing": InstallSettings(engine), "ignore_requested_python_version": True}
    result = build(recorded, **work)
    assert result.installed[0] == f"--index-url http://me:${{INDEX_PASSWORD}}@{place}/simple"
    assert result.installed[1].startswith(
        f"alpha @ http://me:${{INDEX_PASSWORD}}@{place}/files/alpha-1.0-py3-none-any.whl?"
    )
    assert result.installed[2:] == ("ours==1.0",)
    shows_less = engine == "uv" and tuple(map(int, version("uv").split(".")[:2])) >= (0, 13)
    if shows_less:  # pip and older ones print the whole address, which only the runner's redactor masks
        assert PASSWORD not in console.text
    assert result.lease is not None
    assert PASSWORD not in (result.lease.folder / "meta.json").read_text()
    written = write_back(Requirements(pip=recorded), result.installed)
    assert written is not None
    assert written["org_pip"] == recorded
    lines = written["pip"]
    assert isinstance(lines, list)
    assert lines[0] == "# Python 3.11.7 | packaged by somebody"
    clone = build("\n".join(lines), **work)  # another task, which is to have the same packages
    assert clone.installed == result.installed


@pytest.mark.parametrize("engine", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_an_index_without_credentials_gets_those_of_the_configuration(
    build: Build, indexes: tuple[PackageIndex, PackageIndex], plain: dict[str, str], engine: str
) -> None:
    ours, _ = indexes
    ours.password = f"me:{PASSWORD}"
    known = ours.url.replace("://", f"://me:{PASSWORD}@")
    environ = {**plain, "PIP_INDEX_URL": known}
    result = build(f"--index-url {ours.url}\nalpha\n", environ=environ, installing=InstallSettings(engine))
    assert result.installed == (f"--index-url {ours.url}", "alpha==1.0")


def test_a_requirement_list_and_constraints_on_a_web_server(
    build: Build, indexes: tuple[PackageIndex, PackageIndex], plain: dict[str, str]
) -> None:
    ours, public = indexes
    (ours.folder / "constraints.txt").write_text("alpha<9\n")
    (ours.folder / "more.txt").write_text("ours\n")
    files = f"http://127.0.0.1:{ours.server_port}/files"
    text = f"-c {files}/constraints.txt\n-r {files}/more.txt\n"
    result = build(text, environ={**plain, "PIP_INDEX_URL": public.url}, extra_index_url=(ours.url,))
    assert result.installed == ("alpha==1.0", "ours==1.0")
    assert not result.reused
    assert attrs.asdict(result, filter=lambda field, _: field.name == "reused") == {"reused": False}


def test_what_stands_first_and_last(build: Build, console: Recorder, settings: EnvironmentSettings) -> None:
    order = attrs.evolve(
        settings.order,
        priority=frozenset({"alpha"}),
        priority_optional=frozenset({"missing"}),
        post=frozenset({"tool"}),
    )
    result = build("tool\nbeta\nmissing==1\nalpha\n", order=order)
    assert result.installed == ("alpha==2.0", "beta==1.0", "tool==1.0")
    assert "Going on without missing==1" in console.text
    first = console.text.index("First, by agent.package_manager.priority_packages: alpha")
    assert first < console.text.index("Last, by agent.package_manager.post_packages: tool")


@pytest.mark.parametrize("engine", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_one_hash_asks_for_all(
    build: Build, indexes: tuple[PackageIndex, PackageIndex], plain: dict[str, str], engine: str
) -> None:
    ours, _ = indexes
    sums = {
        name: hashlib.sha256((ours.folder / f"{name}-1.0-py3-none-any.whl").read_bytes()).hexdigest()
        for name in ("alpha", "ours")
    }
    work = {"environ": {**plain, "PIP_INDEX_URL": ours.url}, "installing": InstallSettings(engine)}
    lines = [f"{name}==1.0 \\\n    --hash=sha256:{digest}\n" for name, digest in sums.items()]
    assert build("".join(lines), **work).installed == ("alpha==1.0", "ours==1.0")
    with pytest.raises(UserError, match="hash"):
        build(lines[1], **work)  # its dependency has none
    with pytest.raises(UserError, match="hash"):
        build(lines[0].replace(sums["alpha"], 64 * "0"), **work)


def test_what_is_kept_needs_no_network(
    build: Build, indexes: tuple[PackageIndex, PackageIndex], plain: dict[str, str]
) -> None:
    ours, _ = indexes
    text = f"--index-url {ours.url}\nours==1.0\n"
    first = build(text, environ=plain)
    assert first.lease is not None
    first.lease.release()
    asked = len(ours.requests)
    ours.shutdown()
    ours.server_close()
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "PATH": "/nonexistent"}
    again = build(text, environ={**plain, **nowhere})
    assert (first.reused, again.reused, len(ours.requests)) == (False, True, asked)
    assert again.installed == first.installed
