"""Real environments from a real channel, installed by py-rattler: what each kind of list comes to."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import EnvironmentResult, EnvironmentSettings, write_back
from clearml_agent_clone.errors import Cancelled, UserError
from clearml_agent_clone.util.process import Cancel
from tests.helpers.conda_channel import MINOR, VERSION, Channel
from tests.helpers.consoles import Recorder

from .conftest import Build

HEADER = f"# Python {VERSION}\n\n"


def versions(result: EnvironmentResult, *names: str) -> list[str]:
    """``name version origin`` of each module, as the environment's own Python finds it."""
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    m = importlib.import_module(name)\n"
    code += "    print(name, m.VERSION, getattr(m, 'FROM', 'pip'))\n"
    assert result.python is not None
    done = subprocess.run([result.python, "-c", code, *names], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def installed(result: EnvironmentResult) -> list[str]:
    """The conda packages of the environment, as conda itself would list them."""
    assert result.bin_dir is not None
    return sorted(file.stem for file in (result.bin_dir.parent / "conda-meta").glob("*.json"))


def test_recorded_conda_lines_then_pip_lines_and_what_activation_sets(
    make: Build, console: Recorder, conda: EnvironmentSettings
) -> None:
    lists = {"conda": "alpha == 1.0.3\nacts == 1.0\n", "pip": f"{HEADER}alpha == 1.0.3\ntool == 1.0\n"}
    result = make(**lists)
    assert versions(result, "alpha", "tool") == ["alpha 1.0.3 conda", "tool 1.0 pip"]
    assert result.bin_dir is not None
    prefix = result.bin_dir.parent
    assert subprocess.run([prefix / "bin/where"], check=True, capture_output=True).stdout == f"{prefix}\n".encode()
    assert (prefix / "bin/pip").exists(), "user code calls it"
    expected = {"CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": str(prefix), "CONDA_SHLVL": "1", "ACTS": "env"}
    assert {**result.variables, **expected} == result.variables
    assert result.variables["PATH"] == f"{prefix}/more:{prefix}/bin:{os.defpath.strip(':')}"
    assert result.variables["LD_LIBRARY_PATH"] == f"{prefix}/lib"
    assert result.installed == (), "the task's lists stay as they are recorded"
    assert "3 of 3 packages installed" in console.text

    before = len(console.text)
    environ = {**conda.environ, "LD_LIBRARY_PATH": "/driver"}
    again = make(settings=attrs.evolve(conda, environ=environ), **lists)
    assert again.reused
    assert again.python == result.python
    assert "Looking for" not in console.text[before:]
    assert again.variables["LD_LIBRARY_PATH"] == f"{prefix}/lib:/driver"


def test_other_builds_and_patch_versions_where_these_are_gone(make: Build, console: Recorder) -> None:
    text = "alpha=1.0.1=h9_0\nlibsmall=1.2.0=h7_99\nruamel_small == 0.1\ncudatoolkit=11.1.1=h6_0\ntool=1.0=pypi_0\n"
    result = make(conda=f"# platform: linux-64\n{text}", pip=HEADER)
    assert installed(result)[:3] == [
        "alpha-1.0.3-h2_0",
        "libsmall-1.2.0-h7_3",
        f"python-{VERSION}-h1_{MINOR.replace('.', '')}",
    ]
    assert "ruamel-small-0.1-0" in installed(result)
    assert versions(result, "tool") == ["tool 1.0 pip"]
    for line in (
        "conda: alpha=1.0.1=h9_0: not in the channels; there is 1.0, 1.0.3, 2.0; trying alpha ==1.0.1",
        "conda: alpha ==1.0.1: not in the channels; there is 1.0, 1.0.3, 2.0; trying alpha ~=1.0.1",
        "conda: libsmall=1.2.0=h7_99: not in the channels; there is 1.2.0; trying libsmall ==1.2.0",
        "conda: ruamel_small: called ruamel-small in conda?",
        "  cudatoolkit=11.1.1=h6_0: left out, there is no CUDA on this machine",
    ):
        assert line in console.lines


def test_recorded_packages_that_do_not_go_together(make: Build, console: Recorder) -> None:
    result = make(conda="alpha=2.0=0\ntheta == 1.0.0\n", pip=HEADER)
    assert versions(result, "alpha", "theta") == ["alpha 2.0 conda", "theta 1.0.1 conda"]
    said = [line for line in console.lines if "as recorded do not go together" in line]
    assert [line.partition(": ")[2].partition(": ")[2] for line in said] == [
        "their builds are left open",
        "other patch versions will do",
    ]
    with pytest.raises(UserError, match=r"the conda packages do not go together: .*alpha"):
        make(conda="alpha == 2.0\nbeta == 1.0\n", pip=HEADER)


def test_what_conda_lacks_goes_to_pip_only_where_the_task_says_so(make: Build, console: Recorder) -> None:
    with pytest.raises(UserError, match=r'package "tool ==1.0" is in none of the channels file:') as caught:
        make(conda="alpha == 1.0\ntool == 1.0\n", pip=HEADER)
    assert caught.value.code == "packages-failed"
    assert "conda_channels" in caught.value.remedy
    result = make(conda="alpha == 1.0\ntool == 9.0\n", pip=f"{HEADER}tool == 1.0\n")
    assert versions(result, "alpha", "tool") == ["alpha 1.0 conda", "tool 1.0 pip"]
    assert "  tool ==9.0: used as tool==1.0, the task's pip list says so" in console.lines
    assert "conda: tool==1.0: installed by pip, no channel has it" in console.lines


def test_pip_lines_of_a_task_without_a_conda_key(make: Build, console: Recorder) -> None:
    result = make(pip=f"{HEADER}alpha==1.0.3\ntool>=1.0\nclearml-absent; python_version < '3'\n")
    assert versions(result, "alpha", "tool") == ["alpha 1.0.3 conda", "tool 1.0 pip"]
    result = make(pip=f"{HEADER}alpha==2.0\nbeta==1.0\n")
    assert versions(result, "alpha", "beta") == ["alpha 2.0 pip", "beta 1.0 pip"]
    assert "conda: what conda has of these packages does not go together" in console.lines
    assert "conda: alpha==2.0: installed by pip, with all the others" in console.lines


def test_a_whole_recorded_environment(make: Build, console: Recorder, channel: Channel) -> None:
    whole = ["_libgcc_mutex=0.1=main", "alpha=1.0=0", "pip=21.0=py_0", "libsmall=1.2.0=h7_3"]
    python = f"python={VERSION}=h1_{MINOR.replace('.', '')}"
    data = json.dumps({"dependencies": [*whole, python, {"pip": ["tool==1.0"]}]})
    result = make(conda_env_json=data, conda="alpha == 2.0", pip="alpha == 2.0")
    assert installed(result) == ["alpha-1.0-0", "libsmall-1.2.0-h7_3", python.replace("=", "-")]
    assert versions(result, "tool") == ["tool 1.0 pip"]
    assert (
        "Packages: the whole conda environment recorded with the task (3 packages of conda, 1 of pip)" in console.lines
    )


def test_the_whole_environment_is_written_back_on_request(make: Build) -> None:
    result = make(conda="alpha == 1.0", pip=f"{HEADER}tool", full_update=True)
    written = write_back(Requirements(pip="tool", conda="alpha == 1.0"), result.installed, result.whole)
    assert written is not None
    whole = json.loads(str(written.pop("conda_env_json")))
    python = f"python={VERSION}=h1_{MINOR.replace('.', '')}"
    assert whole == {"dependencies": ["alpha=1.0=0", python, {"pip": ["tool==1.0"]}]}
    conda = ["alpha==1.0", f"python=={VERSION}"]
    assert written == {
        "pip": ["# Conda Packages", "", *conda, "", "# pip Packages", "", "tool==1.0"],
        "conda": conda,
        "org_pip": "tool",
        "org_conda": "alpha == 1.0",
    }
    again = make(conda_env_json=json.dumps(whole), conda="\n".join(conda), pip="tool==1.0", full_update=True)
    assert installed(again) == installed(result), "a clone of the task gets the same"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "code"
    (root / "inner").mkdir(parents=True)
    return root


def test_environment_yml_of_the_repository(
    make: Build, console: Recorder, repository: Path, channel: Channel, tmp_path: Path
) -> None:
    (repository / "inner" / "more.txt").write_text("tool==1.0\n")
    (repository / "inner" / "environment.yml").write_text(
        f"name: mine\nchannels: [{channel.url}, nodefaults]\ndependencies:\n  - python\n  - alpha=1.0  # as tested\n"
        "  - acts\n  - pip\n  - pip:\n    - -r more.txt\nvariables:\n  STATED: seen\n"
    )
    (repository / "environment.yml").write_text("dependencies: [nothing-like-this]\n")
    place = {"repository_root": repository, "script_dir": repository / "inner", "has_repository": True}
    away = {"channels": ("http://127.0.0.1:9/never-asked",), "binary": f"python{MINOR}"}
    result = make(**place, **away)
    assert "Packages: inner/environment.yml of the repository" in console.lines
    assert versions(result, "alpha", "tool")[1] == "tool 1.0 pip"
    assert "alpha-1.0.3-h2_0" in installed(result), "one equals sign is any patch version in conda"
    assert (result.variables["STATED"], result.variables["ACTS_STATED"]) == ("seen", "seen")
    assert make(**place, **away).reused


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("dependencies:\n - alpha: [\n", "environment.yml, line 3: "),
        ("- alpha\n", 'environment.yml: it has no list "dependencies"'),
        ("dependencies: [alpha=1.0.9]\n", 'package "alpha=1.0.9" is not in the channels file:'),
        ("dependencies: [alpha=7]\n", "as it is asked for; there is 1.0, 1.0.3, 2.0"),
        ("dependencies: [ruamel_small]\n", 'package "ruamel_small" is in none of the channels'),
        ("dependencies: [gamma]\n", 'package "gamma" is in none of the channels'),
        ("dependencies: [beta, alpha=2.0]\n", "the conda packages do not go together: .*beta"),
        ("dependencies: ['alpha ??']\n", 'the package "alpha \\?\\?" is not understood'),
    ],
)
def test_an_environment_yml_is_taken_as_it_is_or_not_at_all(
    make: Build, repository: Path, text: str, why: str, tmp_path: Path
) -> None:
    (repository / "environment.yml").write_text(text)
    with pytest.raises(UserError, match=why) as caught:
        make(repository_root=repository, has_repository=True)
    assert caught.value.code == "packages-failed"
    assert not list(tmp_path.glob("store/*/conda-*.*/env"))


def test_a_python_that_no_channel_has(make: Build) -> None:
    with pytest.raises(UserError, match=rf'package "python 3.4.\*" is not in .* there is {VERSION}'):
        make(conda="alpha == 1.0", binary="python3.4")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/private", "file:///nowhere/private"])
def test_a_channel_that_cannot_be_reached(make: Build, channel: Channel, url: str) -> None:
    with pytest.raises(UserError, match=rf"a conda channel cannot be reached \({url}") as caught:
        make(conda="alpha == 1.0", channels=(channel.url, url))
    assert "conda_channels" in caught.value.remedy


@pytest.fixture
def served(channel: Channel) -> Iterator[tuple[str, threading.Event]]:
    """The channel over HTTP for user ``me`` with password ``s3cr-et``, and what lets answers out."""
    open_ = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != "Basic bWU6czNjci1ldA==":
                self.send_error(401)
                return
            if not open_.wait(20):
                return
            file = channel.folder / self.path.lstrip("/")
            if not file.is_file():
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(file.stat().st_size))
            self.end_headers()
            self.wfile.write(file.read_bytes())

        do_HEAD = do_GET  # noqa: N815 - the base class calls it so

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://me:s3cr-et@127.0.0.1:{server.server_port}", open_
        open_.set()
        server.shutdown()
        thread.join()


def test_a_password_of_a_channel_is_used_and_shown_nowhere(
    make: Build, served: tuple[str, threading.Event], console: Recorder, tmp_path: Path
) -> None:
    url, open_ = served
    open_.set()
    result = make(conda="alpha == 1.0", channels=(url,), packages_dir=tmp_path / "packages")
    assert versions(result, "alpha") == ["alpha 1.0 conda"]
    assert "s3cr-et" not in console.text
    assert result.bin_dir is not None
    records = list((result.bin_dir.parent / "conda-meta").glob("*"))
    assert len(records) > 2
    assert not any(b"s3cr-et" in file.read_bytes() for file in records)
    with pytest.raises(UserError, match="cannot be reached") as caught:
        make(conda="alpha == 2.0", channels=(url.replace("s3cr-et", "wr0ng-1"),), packages_dir=tmp_path / "other")
    assert "wr0ng-1" not in str(caught.value)


def test_a_cancelled_installation_leaves_nothing(
    make: Build, served: tuple[str, threading.Event], tmp_path: Path
) -> None:
    cancel = Cancel()
    timer = threading.Timer(0.5, cancel.set)
    timer.start()
    begin = time.monotonic()
    with pytest.raises(Cancelled):
        make(conda="alpha == 1.0", channels=(served[0],), packages_dir=tmp_path / "packages", cancel=cancel)
    timer.join()
    assert time.monotonic() - begin < 10
    assert not list(tmp_path.glob("store/*/*/*"))


def test_a_task_that_writes_into_its_environment_changes_no_other(
    make: Build, console: Recorder, tmp_path: Path
) -> None:
    def module(result: EnvironmentResult) -> Path:
        assert result.bin_dir is not None
        return result.bin_dir.parent / f"lib/python{MINOR}/site-packages/alpha.py"

    own = {"conda": "alpha == 1.0", "packages_dir": tmp_path / "packages"}
    first = make(**own)
    other = make(**own, pip="tool")
    assert module(first).stat().st_nlink > 1, "files are shared with the unpacked packages"
    with module(first).open("a") as file:
        file.write("VERSION = 'poisoned'\n")
    for result in (first, other):
        assert result.lease is not None
        result.lease.release()
    assert not module(first).exists()
    assert not module(other).exists()
    assert not list(tmp_path.glob("packages/packages/alpha-1.0-0/info"))
    again = make(**own)
    assert not again.reused
    assert versions(again, "alpha") == ["alpha 1.0 conda"]
