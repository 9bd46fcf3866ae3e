"""Which builds of PyTorch are chosen, by what, and what is done where its own index cannot be reached."""

from __future__ import annotations

import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import (
    EnvironmentPlan,
    EnvironmentRequest,
    EnvironmentSettings,
    build_environment,
    plan_environment,
)
from clearml_agent_clone.environment.install_settings import InstallSettings
from clearml_agent_clone.environment.model import Indexes
from clearml_agent_clone.environment.torch import choose_torch, nvidia_driver
from clearml_agent_clone.environment.torch_reach import remember, remembered
from clearml_agent_clone.environment.torch_settings import TorchSettings
from tests.helpers.consoles import Recorder
from tests.helpers.package_index import Fault, PackageIndex, serve

from .conftest import make_wheel

NO_GPU = TorchSettings(root=Path("/nonexistent"))
OLD, NEW = "470.57.02", "550.54.15"


def with_driver(version: str, **more: Any) -> TorchSettings:
    return attrs.evolve(NO_GPU, driver=version, **more)


def plan(
    settings: EnvironmentSettings, torch: TorchSettings, pip: str = "torch==2.1.0", **more: Any
) -> EnvironmentPlan:
    environ = {name: value for name, value in settings.environ.items() if name != "PIP_NO_INDEX"}
    mine = attrs.evolve(settings, torch=torch, **{"environ": environ, **more})
    return plan_environment(EnvironmentRequest(Requirements(pip=pip)), mine)


@pytest.mark.parametrize(
    ("torch", "backend", "driver", "why"),
    [
        (NO_GPU, "cpu", "", "builds for CPU (there is no GPU)"),
        (attrs.evolve(NO_GPU, cpu_only="agent.cpu_only is set"), "cpu", "", "(agent.cpu_only is set)"),
        (with_driver(NEW), "auto", NEW, "builds for CUDA 12 or older (NVIDIA driver 550.54.15)"),
        (with_driver(OLD), "auto", OLD, "builds for CUDA 11 or older"),
        (with_driver("580.65.06"), "auto", "580.65.06", "builds for CUDA 13 or older"),
        (with_driver(NEW, cuda="11.8"), "cu118", "", "builds for cu118 (agent.cuda_version is 11.8)"),
        (with_driver(NEW, cuda="124"), "cu124", "", "cu124"),
        (with_driver(NEW, cuda="12.7.1"), "cu126", "", "the nearest that PyTorch is built for"),
        (with_driver(NEW, cuda="12"), "cu120", "", "cu120"),
        (with_driver(NEW, cuda="0"), "cpu", "", "builds for CPU (agent.cuda_version is 0)"),
        (with_driver("", cuda="rocm6.3"), "rocm6.3", "", "rocm6.3"),
        (with_driver(NEW, backend="cu121"), "cu121", "", "UV_TORCH_BACKEND is set"),
    ],
)
def test_the_builds_and_why(
    settings: EnvironmentSettings, torch: TorchSettings, backend: str, driver: str, why: str
) -> None:
    made = plan(settings, torch)
    assert made.torch is not None
    assert (made.torch.backend, made.torch.driver) == (backend, driver)
    assert why in "\n".join(made.notes)
    assert made.lines == ("torch==2.1.0",)


@pytest.mark.parametrize(
    ("pip", "torch", "lines", "backend"),
    [
        ("torch==2.1.0+cu118", NO_GPU, "torch==2.1.0", "cpu"),
        ("torch==2.1.0+cu118", with_driver(NEW), "torch==2.1.0+cu118", "cu118"),
        ("torch==2.1.0+cu118\ntorchvision==0.16.0+cu118", with_driver(OLD), None, "cu118"),
        ("torch==2.3.0+cu121", with_driver(OLD), "torch==2.3.0", "auto"),
        ("torch==2.1.0+cpu", NO_GPU, "torch==2.1.0+cpu", "cpu"),
        ("torch==2.1.0+cpu", with_driver(NEW), "torch==2.1.0", "auto"),
        ("torch==2.1.0+cu118\ntorchaudio==2.1.0+cpu", with_driver(NEW), "torch==2.1.0\ntorchaudio==2.1.0", "auto"),
        ("torch==2.1.0+cu118 ; python_version>='3'", NO_GPU, "torch==2.1.0 ; python_version>='3'", "cpu"),
    ],
)
def test_builds_that_were_recorded_elsewhere(
    settings: EnvironmentSettings, pip: str, torch: TorchSettings, lines: str | None, backend: str
) -> None:
    made = plan(settings, torch, pip)
    assert made.torch is not None
    assert made.torch.backend == backend
    assert made.lines == tuple((lines or pip).splitlines())
    assert ("used as" in "\n".join(made.notes)) == (lines is not None and lines != pip)


@pytest.mark.parametrize(
    ("pip", "more", "note"),
    [
        ("numpy", {}, ""),
        ("torchmetrics", {}, ""),
        ("torch @ https://h/torch-2.1.0-cp311-none-any.whl", {}, ""),
        ("--index-url https://download.pytorch.org/whl/cpu\ntorch", {}, "which is configured for it"),
        ("torch", {"extra_index_url": ("https://me:pw@mirror/whl/cu118",)}, "which is configured for it"),
        ("torch", {"torch": attrs.evolve(NO_GPU, resolve="none")}, "pytorch_resolve is none"),
        ("--no-index\ntorch", {}, "no index is to be used"),
    ],
)
def test_what_needs_no_choice(settings: EnvironmentSettings, pip: str, more: dict[str, Any], note: str) -> None:
    made = plan(settings, more.pop("torch", NO_GPU), pip, **more)
    assert made.torch is None
    assert note in "\n".join(made.notes)
    assert ("PyTorch" in "\n".join(made.notes)) == bool(note)
    assert "me:pw" not in "\n".join(made.describe())


def test_the_builds_are_part_of_the_key(settings: EnvironmentSettings) -> None:
    torches = [NO_GPU, with_driver(NEW), with_driver(OLD), with_driver(NEW, cuda="11.8")]
    assert len({plan(settings, torch).key for torch in torches}) == len(torches)
    assert plan(settings, with_driver(NEW)).key == plan(settings, with_driver("570.86.10")).key, "both run CUDA 12"


def test_an_index_of_the_users_own_takes_the_place_of_the_backend(settings: EnvironmentSettings) -> None:
    torch = with_driver(NEW, index_template="https://mirror/whl/cu{}/")
    made = plan(settings, torch, extra_index_url=("https://h/simple",))
    assert made.torch is not None
    assert made.torch.variables == {}
    assert made.indexes.extra[:2] == ("https://mirror/whl/cu124/", "https://h/simple")
    on_cpu = plan(settings, attrs.evolve(torch, driver=""))
    assert on_cpu.indexes.extra[0] == "https://mirror/whl/cpu/"
    rocm = attrs.evolve(torch, driver="", cuda="rocm6.3", rocm_template="https://mirror/whl/rocm{}.{}/")
    assert plan(settings, rocm).indexes.extra[0] == "https://mirror/whl/rocm6.3/"


def test_nightly_builds(settings: EnvironmentSettings) -> None:
    made = plan(settings, with_driver(NEW, nightly=True), "torch\ntorchvision<1 ; python_version>'3'\ntorchaudio==2.0")
    assert made.indexes.extra[0] == "https://download.pytorch.org/whl/nightly/cu124"
    assert made.lines == ("torch>=0.dev0", "torchvision<1,>=0.dev0 ; python_version>'3'", "torchaudio==2.0")


def test_a_real_pip_gets_an_index(settings: EnvironmentSettings) -> None:
    made = plan(settings, with_driver(OLD), installing=InstallSettings("pip"))
    assert made.pip_indexes.extra[0] == "https://download.pytorch.org/whl/cu118"


def test_keys_without_effect_are_named(settings: EnvironmentSettings) -> None:
    made = plan(settings, attrs.evolve(NO_GPU, superseded=("agent.package_manager.torch_page",)))
    assert "agent.package_manager.torch_page: has no effect, uv's torch backend finds the builds" in made.notes
    assert (
        plan(settings, attrs.evolve(NO_GPU, superseded=("x",)), "numpy").notes == plan(settings, NO_GPU, "numpy").notes
    )


def test_the_driver_is_found_where_the_kernel_tells_it(tmp_path: Path) -> None:
    assert nvidia_driver(tmp_path) == ""
    proc = tmp_path / "proc" / "driver" / "nvidia"
    proc.mkdir(parents=True)
    (proc / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
    )
    assert nvidia_driver(tmp_path) == NEW
    choice = choose_torch((), Indexes(), attrs.evolve(NO_GPU, root=tmp_path), "uv")
    assert choice.torch is None


def test_what_could_not_be_reached_is_remembered_for_an_hour(tmp_path: Path) -> None:
    memory = tmp_path / "memory.json"
    remember(memory, "https://h/cpu", "no route")
    assert remembered(memory, "https://h/cpu") == "no route"
    assert remembered(memory, "https://h/cu124") == ""
    at = memory.stat().st_mtime
    assert remembered(memory, "https://h/cpu", at + 3500) == "no route"
    assert remembered(memory, "https://h/cpu", at + 3700) == ""
    memory.write_text("[broken")
    assert remembered(memory, "https://h/cpu") == ""


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror of PyPI that has torch without a local version, and triton."""
    folder = tmp_path_factory.mktemp("mirror")
    make_wheel(folder, "torch", "2.1.0", "filelock")
    make_wheel(folder, "filelock", "3.0")
    make_wheel(folder, "triton", "2.1.0")
    return folder


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What PyTorch's index has: the same torch, built for CPU and for two versions of CUDA."""
    folder = tmp_path_factory.mktemp("builds")
    for local in ("cpu", "cu118", "cu121"):
        make_wheel(folder, "torch", f"2.1.0+{local}", "filelock")
    return folder


def served(settings: EnvironmentSettings, url: str, torch: TorchSettings, **environ: str) -> EnvironmentSettings:
    kept = {name: value for name, value in settings.environ.items() if name not in {"PIP_NO_INDEX", "PIP_FIND_LINKS"}}
    memory = settings.state_dir / "torch.json"
    return attrs.evolve(
        settings, environ={**kept, "PIP_INDEX_URL": url, **environ}, torch=attrs.evolve(torch, memory=memory)
    )


def install(settings: EnvironmentSettings, console: Recorder, pip: str) -> tuple[str, ...]:
    result = build_environment(plan_environment(EnvironmentRequest(Requirements(pip=pip)), settings), console)
    assert result.lease is not None
    result.lease.release()
    return result.installed


@contextmanager
def black_hole() -> Iterator[str]:
    """An index that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/whl"


@pytest.mark.parametrize("silent", [True, False])
def test_without_a_route_to_its_index_torch_comes_from_the_mirror(
    settings: EnvironmentSettings, console: Recorder, mirror: Path, silent: bool
) -> None:
    with serve(PackageIndex(mirror)) as index, black_hole() as hole:
        own = hole if silent else "http://127.0.0.1:9/whl"
        mine = served(settings, index.url, attrs.evolve(NO_GPU, own=own, patience=0.3))
        before = plan_environment(EnvironmentRequest(Requirements(pip="torch==2.1.0+cu118")), mine)
        assert install(mine, console, "torch==2.1.0+cu118") == ("filelock==3.0", "torch==2.1.0")
        assert "cannot be reached" in console.text
        assert ("no answer within 0.3 s" if silent else "Connection refused") in console.text
        after = plan_environment(EnvironmentRequest(Requirements(pip="torch==2.1.0+cu118")), mine)
        assert after.torch is None
        assert after.key != before.key
        assert "was found unreachable" in "\n".join(after.notes)
        assert build_environment(after, console).reused


def test_an_index_in_place_of_pytorchs_is_preferred(
    settings: EnvironmentSettings, console: Recorder, mirror: Path, builds: Path
) -> None:
    """With a template, and no GPU: the build for CPU beats the plain one of the mirror."""
    with serve(PackageIndex(mirror)) as index, serve(PackageIndex(builds)) as own:
        mine = served(settings, index.url, attrs.evolve(NO_GPU, index_template=own.url.replace("simple", "whl/cu{}")))
        own.only = "+cpu"
        assert "torch==2.1.0+cpu" in install(mine, console, "torch==2.1.0")


class _Tunnel(socketserver.StreamRequestHandler):
    """A proxy that leads every connection to one port of this machine."""

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self.server.target)) as there:  # type: ignore[attr-defined]  # set by the test
            thread = threading.Thread(target=self._pump, args=(there, self.connection), daemon=True)
            thread.start()
            self._pump(self.connection, there)
            thread.join()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """An authority, and a certificate of download.pytorch.org by it."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority")
    openssl("req", *key, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=download.pytorch.org")
    (folder / "names").write_text("subjectAltName=DNS:download.pytorch.org\nbasicConstraints=CA:FALSE\n")
    sign = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2")
    openssl("x509", "-req", "-in", "own.csr", *sign, "-out", "own.pem")
    return folder / "ca.pem", folder / "own.pem", folder / "own.key"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_uvs_backend_takes_the_builds_from_pytorchs_index(
    settings: EnvironmentSettings, console: Recorder, mirror: Path, builds: Path, tmp_path: Path
) -> None:
    """The real uv asks download.pytorch.org, which a proxy of the test stands for."""
    authority, certificate, key = certificates(tmp_path)
    own = PackageIndex(builds)
    own.secured(certificate, key)
    tunnel = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Tunnel)
    tunnel.daemon_threads = True
    tunnel.target = own.server_port  # type: ignore[attr-defined]  # read by the handler
    with serve(PackageIndex(mirror)) as index, serve(own), tunnel:
        threading.Thread(target=tunnel.serve_forever, daemon=True).start()
        environ = {"HTTPS_PROXY": f"http://127.0.0.1:{tunnel.server_address[1]}", "SSL_CERT_FILE": str(authority)}

        own.only = "+cpu"
        mine = served(settings, index.url, NO_GPU, **environ)
        assert install(mine, console, "torch==2.1.0+cu118") == ("filelock==3.0", "torch==2.1.0+cpu")
        assert {path for path in own.requests if "torch" in path and path.startswith("/whl")} == {"/whl/cpu/torch/"}

        # a GPU: the newest builds for its driver are asked for first, until one has the version
        own.requests.clear()
        own.only = "+cu118"
        mine = served(settings, index.url, with_driver(OLD), **environ)
        assert install(mine, console, "torch==2.1.0") == ("filelock==3.0", "torch==2.1.0+cu118")
        assert "/whl/cu118/torch/" in own.requests
        assert not any("/cu12" in path for path in own.requests)

        # what its index does not have is looked for elsewhere
        assert install(mine, console, "torch==2.1.0\ntriton==2.1.0")[-1] == "triton==2.1.0"
        assert "Looking for it in" in console.text

        # its index is gone after it answered
        own.faults = [Fault("torch/$", status=503)]
        again = attrs.evolve(mine, installing=InstallSettings(pauses=()))
        again = attrs.evolve(again, environ={**again.environ, "UV_HTTP_RETRIES": "0"}, force_upgrade=True)
        assert "torch==2.1.0" in install(again, console, "torch==2.1.0")
        tunnel.shutdown()
