"""Which program installs, and how it is asked. Real programs stand in for micromamba, mamba and conda: they take the
same arguments, read the same file, and have py-rattler do the work.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.environment import (
    EnvironmentPlan,
    EnvironmentRequest,
    EnvironmentSettings,
    Mode,
    plan_environment,
)
from clearml_agent_clone.environment.conda import tools
from clearml_agent_clone.environment.conda.condarc import read_condarc
from clearml_agent_clone.environment.conda.programs import Tool, base_prefix, find_tool
from clearml_agent_clone.environment.conda.specs import Spec
from clearml_agent_clone.environment.engines import Work
from clearml_agent_clone.errors import UserError
from tests.helpers.conda_channel import MINOR
from tests.helpers.consoles import Recorder

from .conftest import Build

_CHILD = Path(tools.__file__).with_name("rattler_child.py")
_STAND_IN = f"""#!{sys.executable}
import json, os, pathlib, subprocess, sys
arguments = sys.argv[1:]
prefix, file = (arguments[arguments.index(name) + 1] for name in ("--prefix", "--file"))
wanted = json.loads(pathlib.Path(file).read_text())
cache = os.environ["STAND_IN"]
named = [argument for argument in arguments if argument not in (prefix, file)]
seen = {{"arguments": named, "file": wanted, "yes": os.environ.get("CONDA_ALWAYS_YES"), "mode": os.stat(file).st_mode}}
pathlib.Path(cache, "seen.json").write_text(json.dumps(seen))
specs = [{{"name": text.split()[0].split("=")[0], "text": text}} for text in wanted["dependencies"]]
asked = {{"channels": wanted["channels"][:-1], "specs": specs, "prefix": prefix, "update": False, "cache": cache}}
done = subprocess.run([sys.executable, {str(_CHILD)!r}], input=json.dumps(asked), stdout=subprocess.PIPE, text=True)
said = json.loads(done.stdout)
if said["kind"] == "ok":
    sys.exit(0)
print("PackagesNotFoundError: The following packages are not available from current channels:")
print("\\n".join(["", *("  - " + name for name in [*said["absent"], *said["unmatched"]]), ""]))
sys.exit(1)
"""


_ASKED = {
    ("micromamba", False): ["create"],
    ("micromamba", True): ["install"],
    ("mamba", False): ["env", "create"],
    ("mamba", True): ["env", "update"],
    ("conda", False): ["env", "create"],
    ("conda", True): ["env", "update"],
}
_QUICK = f"""#!{sys.executable}
import json, os, pathlib, sys
prefix = pathlib.Path(sys.argv[sys.argv.index("--prefix") + 1])
(prefix / "conda-meta").mkdir(parents=True)
(prefix / "seen.json").write_text(json.dumps(sys.argv[1:]))
"""


def stand_in(folder: Path, name: str, text: str = _STAND_IN) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(text)
    program.chmod(0o755)
    return program


def test_an_installed_program_is_asked_and_understood(
    make: Build, conda: EnvironmentSettings, tmp_path: Path, console: Recorder
) -> None:
    program, packages = stand_in(tmp_path / "bin", "conda"), conda.conda.packages_dir
    assert packages is not None
    environ = {**conda.environ, "PATH": f"{program.parent}:{os.defpath}", "STAND_IN": str(packages)}
    result = make(settings=attrs.evolve(conda, environ=environ), conda="alpha=1.0=h9_9\ntool == 1.0", pip="tool == 1.0")
    seen = json.loads((packages / "seen.json").read_text())
    assert seen["arguments"] == ["env", "create", "--prefix", "--file"]
    assert seen["file"]["channels"] == [*conda.conda.channels, "nodefaults"]
    assert seen["file"]["dependencies"] == [f"python {MINOR}.*", "alpha ==1.0"]
    assert (seen["yes"], seen["mode"] & 0o777) == ("true", 0o600)
    assert f"Installed by: conda ({program}), from " in console.text
    assert "conda: tool==1.0: installed by pip, no channel has this version" in console.lines
    assert result.bin_dir is not None
    assert list(result.bin_dir.parent.glob("lib/python*/site-packages/alpha.py"))
    assert list(result.bin_dir.parent.glob("lib/python*/site-packages/tool.py"))


@pytest.mark.parametrize(("name", "update"), _ASKED)
def test_each_program_is_asked_in_its_own_way(
    conda: EnvironmentSettings, tmp_path: Path, console: Recorder, name: str, *, update: bool
) -> None:
    program = stand_in(tmp_path / "bin", name, _QUICK)
    prefix = tmp_path / "env"
    work = Work(EnvironmentPlan(Mode.STORED, conda), None, prefix, tmp_path, console, None, {})
    attempt = tools.Attempt(
        Tool(name, str(program)), ["https://u:s3cr-et@h.invalid/c"], [Spec("alpha")], prefix, update
    )
    assert attempt.run(work).ok
    arguments = json.loads((prefix / "seen.json").read_text())
    file = tmp_path / "environment.yml"
    assert arguments == [*_ASKED[name, update], "--prefix", str(prefix), "--file", str(file)]
    assert "s3cr-et" in file.read_text(), "in a private file, and not among the arguments"
    assert not attrs.evolve(attempt, prefix=tmp_path / "other", tool=Tool(name, "/bin/true")).run(work).ok


def test_which_program_is_taken(tmp_path: Path) -> None:
    programs = {name: stand_in(tmp_path / name, name) for name in ("micromamba", "mamba", "conda")}
    folders = {name: str(program.parent) for name, program in programs.items()}
    everywhere = ":".join([folders["conda"], folders["mamba"], folders["micromamba"]])
    assert find_tool({"PATH": everywhere}) == Tool("micromamba", str(programs["micromamba"]))
    assert find_tool({"PATH": folders["conda"]}) == Tool("conda", str(programs["conda"]))
    named = {"PATH": "/nowhere", "CONDA_EXE": str(programs["conda"]), "MAMBA_EXE": str(programs["mamba"])}
    assert find_tool(named) == Tool("mamba", str(programs["mamba"]))
    assert find_tool({"PATH": "/nowhere", "CONDA_EXE": "/nowhere/conda"}) == Tool("py-rattler")
    assert base_prefix(named) == tmp_path
    assert base_prefix({"PATH": "/nowhere"}) is None


def test_a_machine_that_has_none(conda: EnvironmentSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        plan_environment(EnvironmentRequest(), conda)
    assert caught.value.code == "conda-missing"
    assert 'pip install "clearml-agent-clone[conda]"' in caught.value.remedy


def test_where_condarc_sends_channels(tmp_path: Path) -> None:
    file = tmp_path / "condarc"
    file.write_text(
        "channel_alias: https://mirror.invalid/conda/\ndefault_channels: [https://mirror.invalid/main]\n"
        "custom_channels:\n  nvidia: https://other.invalid/x\nssl_verify: /etc/ours.pem\n"
        "proxy_servers: {https: 'http://proxy.invalid:3128'}\n"
    )
    rc = read_condarc({"HOME": str(tmp_path), "CONDARC": str(file)})
    assert rc.urls("conda-forge") == ["https://mirror.invalid/conda/conda-forge"]
    assert rc.urls("defaults") == ["https://mirror.invalid/main"]
    assert rc.urls("nvidia") == ["https://other.invalid/x/nvidia"]
    assert rc.urls("nvidia/label/cuda-12") == ["https://other.invalid/x/nvidia/label/cuda-12"]
    assert rc.urls("https://own.invalid/y") == ["https://own.invalid/y"]
    assert rc.urls(str(tmp_path)) == [tmp_path.as_uri()]
    assert rc.spec("nvidia::cuda 12.*") == "https://other.invalid/x/nvidia::cuda 12.*"
    assert rc.spec("numpy ==1.2") == "numpy ==1.2"
    assert rc.variables == {"HTTPS_PROXY": "http://proxy.invalid:3128", "SSL_CERT_FILE": "/etc/ours.pem"}
    beaten = read_condarc({"HOME": str(tmp_path), "CONDARC": str(file), "CONDA_CHANNEL_ALIAS": "https://v.invalid"})
    assert beaten.urls("x") == ["https://v.invalid/x"]
    file.write_text("{")
    assert read_condarc({"HOME": str(tmp_path), "CONDARC": str(file)}).urls("x") == ["https://conda.anaconda.org/x"]
