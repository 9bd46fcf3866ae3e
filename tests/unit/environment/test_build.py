"""Real environments by the real uv and pip, from wheels made here."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.environment import EnvironmentSettings, hold
from clearml_agent_clone.environment.addresses import without_secrets
from clearml_agent_clone.environment.install_settings import InstallSettings
from clearml_agent_clone.errors import Cancelled, UserError
from clearml_agent_clone.util.process import Cancel
from tests.helpers.consoles import Recorder

from .conftest import Build, make_wheel


def python(result_python: Path | None, code: str) -> str:
    assert result_python is not None
    return subprocess.run([result_python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def kept(settings: EnvironmentSettings) -> list[Path]:
    """The folders of the store, whole or not."""
    assert settings.store_dir is not None
    return [path for path in settings.store_dir.glob("*/py*") if path.is_dir()]


def test_packages_are_installed_and_reported(build: Build, console: Recorder) -> None:
    result = build("# Python\nbeta\ntool==1.0\n")
    assert result.installed == ("alpha==2.0", "beta==1.0", "tool==1.0")
    assert (result.reused, result.engine) == (False, "uv")
    assert python(result.python, "import alpha; print(alpha.VERSION)") == "2.0"
    assert result.bin_dir is not None
    program = subprocess.run([result.bin_dir / "tool"], check=True, capture_output=True, text=True)
    assert program.stdout == "1.0\n"
    assert python(result.python, "import pip; print('pip is there')") == "pip is there"
    assert python(result.python, "import sys; print(sys.prefix)") == result.variables["VIRTUAL_ENV"]
    assert {"lookup", "create", "install", "list", "total"} <= result.seconds.keys()
    assert "Installing 2 requirements with uv" in console.lines


def test_the_second_time_nothing_is_started(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build("alpha==1.0")

    def never(*_: object, **__: object) -> object:
        pytest.fail("a program was started")

    monkeypatch.setattr("subprocess.Popen", never)
    second = build("alpha == 1.0  # the same")
    assert second.reused
    assert (second.python, second.installed, second.engine) == (first.python, first.installed, "")


def test_a_lease_is_held_until_it_is_released(build: Build, settings: EnvironmentSettings) -> None:
    result = build()
    assert result.python is not None
    adopted = hold(result.python, settings)
    assert adopted is not None
    adopted.release()
    assert hold(Path("/usr/bin/python3"), settings) is None


@pytest.mark.parametrize(
    ("pip", "message"),
    [
        ("nonexistent-thing", 'package "nonexistent-thing" does not exist in '),
        ("alpha==9.0", "package alpha has no version ==9.0 for this machine in "),
        ("alpha>=9", "it has only alpha<=2.0"),
    ],
)
def test_a_package_that_cannot_be_had_is_named(
    build: Build, settings: EnvironmentSettings, pip: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        build(pip)
    assert caught.value.code == "packages-failed"
    assert message in caught.value.message
    assert not kept(settings), "nothing half-made is left"


def test_the_newest_version_is_offered(build: Build) -> None:
    with pytest.raises(UserError, match=r"the newest one there is 2\.0"):
        build("alpha==9.0")


def test_recorded_versions_that_contradict_each_other_are_installed_as_recorded(
    build: Build, console: Recorder
) -> None:
    result = build("beta==1.0\nalpha==1.0\n")
    assert result.installed == ("alpha==1.0", "beta==1.0")
    assert "contradict each other" in console.text


@pytest.mark.slow
def test_what_uv_does_not_understand_is_tried_with_pip(build: Build, console: Recorder) -> None:
    with pytest.raises(UserError, match="a requirement is not understood: Invalid requirement: 'alpha beta'"):
        build("alpha beta")
    assert "Trying pip" in console.text


@pytest.mark.slow
@pytest.mark.parametrize("how", ["asked for", "no uv"])
def test_pip_does_the_same_slower(
    build: Build, console: Recorder, settings: EnvironmentSettings, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "no uv":
        monkeypatch.setattr("clearml_agent_clone.environment.uv_choice.find_uv", lambda _: "")
        result = build("beta\ntool")
        assert "uv is not installed. Trying pip" in console.lines
    else:
        result = build("beta\ntool", installing=InstallSettings("pip"))
    assert result.engine == "pip"
    assert result.installed == ("alpha==2.0", "beta==1.0", "tool==1.0")
    assert result.bin_dir is not None
    assert subprocess.run([result.bin_dir / "tool"], check=True, capture_output=True).stdout == b"1.0\n"


@pytest.mark.slow
def test_a_uv_that_does_not_start_is_passed_over(
    build: Build, console: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "uv-broken"
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o755)
    monkeypatch.setattr("clearml_agent_clone.environment.uv_choice.find_uv", lambda _: str(broken))
    assert build("alpha").engine == "pip"
    assert "uv does not start" in console.text


def test_a_package_of_the_checkout_is_installed_for_this_task_alone(
    build: Build, settings: EnvironmentSettings, tmp_path: Path
) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "lib").mkdir(parents=True)
    wheel = make_wheel(checkout / "lib", "mine", "1.0")
    result = build(f"alpha\n./lib/{wheel.name}\n", repository_root=checkout)
    assert result.installed == ("alpha==2.0", f"./lib/{wheel.name}")
    assert result.python is not None
    assert result.python.is_relative_to(settings.builds_dir)
    assert result.lease is not None
    result.lease.release()
    assert not result.python.exists()


def test_packages_can_go_into_an_interpreter_that_is_there(build: Build) -> None:
    there = build()
    result = build("beta", install_into=str(there.python))
    assert result.python == there.python
    assert result.lease is None
    assert result.installed == ("alpha==2.0", "beta==1.0")


def test_what_a_task_writes_reaches_no_other_task(build: Build, settings: EnvironmentSettings) -> None:
    first = build("alpha==2.0")
    linked = build("beta==1.0")  # has alpha 2.0 as well, from the same cache
    assert linked.lease is not None
    linked.lease.release()
    assert first.python is not None
    (module,) = first.python.parent.parent.glob("lib/python*/site-packages/alpha.py")
    with module.open("a") as file:
        file.write("VERSION = 'poison'\n")
    assert first.lease is not None
    first.lease.release()
    for pip in ("alpha==2.0", "beta==1.0", "alpha==2.0\ntool"):
        again = build(pip)
        assert not again.reused
        assert python(again.python, "import alpha; print(alpha.VERSION)") == "2.0"


@pytest.mark.slow
def test_pip_inside_the_environment_works_and_does_not_reach_the_next_task(build: Build, links: Path) -> None:
    first = build()
    assert first.python is not None
    argv = [str(first.python), "-m", "pip", "install", "--no-index", "--find-links", str(links), "-q", "alpha"]
    subprocess.run(argv, check=True, env={"PIP_CONFIG_FILE": os.devnull})
    assert python(first.python, "import alpha; print(alpha.VERSION)") == "2.0"
    assert first.lease is not None
    first.lease.release()
    second = build()
    assert not second.reused
    assert python(second.python, "import importlib.util as u; print(u.find_spec('alpha'))") == "None"


class Index(ThreadingHTTPServer):
    """A package index that asks for a password, and writes down what all processes were started with meanwhile."""

    daemon_threads = True

    def __init__(self, links: Path) -> None:
        super().__init__(("127.0.0.1", 0), _IndexHandler)
        self.links = links
        self.seen_argv: set[str] = set()
        self.served: list[str] = []
        self.silent = threading.Event()


class _IndexHandler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        if self.server.silent.is_set():
            self.server.served.append(self.path)
            threading.Event().wait(20)
            return
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                self.server.seen_argv.add(file.read_text(errors="replace"))
        expected = "Basic " + base64.b64encode(b"me:pass-word").decode()
        if self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            return
        self.server.served.append(self.path)
        name = self.path.rstrip("/").rpartition("/")[2]
        file = self.server.links / name
        if file.suffix == ".whl" and file.exists():
            body = file.read_bytes()
        else:
            files = sorted(self.server.links.glob(f"{name}-*.whl"))
            body = "".join(f'<a href="/files/{file.name}">{file.name}</a>' for file in files).encode()
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html" if file.suffix != ".whl" else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the base class calls it so

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        pass


@pytest.fixture
def index(links: Path) -> Iterator[Index]:
    with Index(links) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def served_by(settings: EnvironmentSettings, index: Index, user: str = "me:pass-word@") -> EnvironmentSettings:
    url = f"http://{user}127.0.0.1:{index.server_port}/simple"
    kept = {name: value for name, value in settings.environ.items() if name not in {"PIP_NO_INDEX", "PIP_FIND_LINKS"}}
    return attrs.evolve(settings, environ={**kept, "PIP_INDEX_URL": url})


@pytest.mark.parametrize("engine", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_a_password_of_an_index_is_in_no_argument_and_no_line(
    build: Build, console: Recorder, settings: EnvironmentSettings, index: Index, engine: str
) -> None:
    environ = served_by(settings, index).environ
    text = f"--index-url {environ['PIP_INDEX_URL']}\nbeta\n"  # in the requirements, where both engines must be told
    result = build(text, environ={**environ, "PIP_INDEX_URL": ""}, installing=InstallSettings(engine))
    assert result.installed == (f"--index-url {without_secrets(environ['PIP_INDEX_URL'])}", "alpha==2.0", "beta==1.0")
    assert any("beta" in path for path in index.served)
    assert any("install" in argv for argv in index.seen_argv)
    assert not any("pass-word" in argv for argv in index.seen_argv)
    assert "pass-word" not in console.text
    assert result.lease is not None
    assert "pass-word" not in (result.lease.folder / "meta.json").read_text()


def test_an_index_that_refuses_is_named_without_the_password(
    build: Build, settings: EnvironmentSettings, index: Index
) -> None:
    with pytest.raises(UserError, match="an index refuses the credentials") as caught:
        build("beta", environ=served_by(settings, index, "me:wrong-word@").environ)
    assert "wrong-word" not in str(caught.value)


def test_an_abort_ends_the_installation_and_leaves_nothing(
    build: Build, settings: EnvironmentSettings, index: Index
) -> None:
    index.silent.set()
    cancel = Cancel()
    threading.Timer(1.0, cancel.set).start()
    with pytest.raises(Cancelled):
        build("beta", cancel=cancel, environ=served_by(settings, index).environ)
    assert not kept(settings)


_BUILDER = """
import os, sys
from pathlib import Path
from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import EnvironmentRequest, EnvironmentSettings, build_environment, plan_environment
class Quiet:
    def say(self, text): print(text, flush=True)
    def write(self, data): pass
state, store, cache = (Path(name) for name in sys.argv[1:4])
settings = EnvironmentSettings(state, store, state / "builds", cache, environ=dict(os.environ))
build_environment(plan_environment(EnvironmentRequest(Requirements(pip="beta")), settings), Quiet())
"""


def test_a_runner_that_is_killed_while_installing_leaves_nothing_in_the_way(
    build: Build, settings: EnvironmentSettings, index: Index
) -> None:
    index.silent.set()
    arguments = [str(settings.state_dir), str(settings.store_dir), str(settings.uv_cache_dir)]
    environ = {**served_by(settings, index).environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", _BUILDER, *arguments]
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"Installing 1 requirement with uv\n"
        runner.send_signal(signal.SIGKILL)
    (half,) = kept(settings)
    index.silent.clear()
    result = build("beta", environ=served_by(settings, index).environ)
    assert result.installed == ("alpha==2.0", "beta==1.0")
    assert not half.exists()
