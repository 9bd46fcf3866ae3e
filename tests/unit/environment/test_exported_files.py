"""Requirement lists that tools wrote, on this machine or on another, and what becomes of each line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import EnvironmentRequest, EnvironmentSettings, plan_environment
from tests.helpers.requirement_cases import SHA, Case, check

_HASH = "--hash=sha256:" + 64 * "b"
_NOT_HERE = "the file is not here"
_NO_PYTHON = "a conda package without Python in it"

CASES = [
    Case(
        "pip freeze of Anaconda",
        "anyio @ file:///croot/anyio_1706220167567/work/dist\n"
        "numpy @ file:///croot/numpy_and_numpy_base_1708638617955/work/dist/numpy-1.26.4-cp311-cp311-linux_x86_64.whl#sha256=d8cd\n"
        "certifi @ file:///C:/b/abs_80cu2p2dyf/croot/certifi_1690232244498/work/certifi\nrequests==2.31.0\n",
        ("anyio", "numpy", "certifi", "requests==2.31.0"),
        (_NOT_HERE, _NOT_HERE, _NOT_HERE),
    ),
    Case(
        "pip freeze with working copies",
        f"-e git+https://github.com/me/tool.git@{SHA}#egg=my_tool&subdirectory=python\n"
        "# Editable install with no version control (local-lib==0.1)\n-e /home/me/local-lib\nsix==1.16.0\n",
        (f"my_tool @ git+https://github.com/me/tool.git@{SHA}#subdirectory=python", "six==1.16.0"),
        ("installed, not linked to a working copy", "left out, there is no /home/me/local-lib"),
    ),
    Case(
        "pip freeze by ssh",
        f"-e git+ssh://git@gitlab.example.com:2222/g/p.git@{SHA}#egg=p\n",
        (f"p @ git+ssh://git@gitlab.example.com:2222/g/p.git@{SHA}",),
        ("installed, not linked",),
    ),
    Case(
        "pip freeze of old Ubuntus",
        "pkg-resources==0.0.0\npkg_resources==0.0.0\nsix==1.16.0\n",
        ("six==1.16.0",),
        ("Debian's pip lists it", "Debian's pip lists it"),
    ),
    Case(
        "pip freeze of Windows, in UTF-16 with its mark",
        "colorama==0.4.6\r\npywin32==306\r\ntensorflow-intel==2.12.0\r\nwin32-setctime==1.1.0\r\n".encode("utf-16"),
        ("colorama==0.4.6", "win32-setctime==1.1.0"),
        ("pywin32==306: left out, it exists for Windows only", "tensorflow-intel==2.12.0: left out"),
    ),
    Case("UTF-16 without a mark", "six==1.16.0\r\nidna\r\n".encode("utf-16-le"), ("six==1.16.0", "idna")),
    Case("UTF-16, the other way round", "six==1.16.0\n".encode("utf-16-be"), ("six==1.16.0",)),
    Case("UTF-8 with its mark, Windows line ends", b"\xef\xbb\xbfsix==1.16.0\r\n\r\nidna\r\n", ("six==1.16.0", "idna")),
    Case("one byte for a letter", b"# pr\xe9-requis\nsix\n", ("six",)),
    Case(
        "form feeds, old line ends, blanks of web pages",
        "six\x0cidna\rattrs\n\xa0rich\xa0==\u200b13.0\n",
        ("six", "idna", "attrs", "rich ==13.0"),
    ),
    Case(
        "a Windows list with markers",
        "pywin32>=226 ; platform_system == 'Windows'\nappnope ; sys_platform == 'darwin'\nsix\n",
    ),
    Case(
        "pip freeze of macOS",
        "appnope==0.1.3\npyobjc-core==10.0\npyobjc-framework-Cocoa==10.0\ntensorflow-macos==2.12.0\nsix==1.16.0\n",
        ("appnope==0.1.3", "six==1.16.0"),
        ("for macOS only", "for macOS only", "for macOS only"),
    ),
    Case(
        "conda list --export",
        "# This file may be used to create an environment using:\n# $ conda create --name <env> --file <this file>\n"
        "# platform: linux-64\n_libgcc_mutex=0.1=main\nca-certificates=2021.10.26=h06a4308_2\n"
        "certifi=2021.10.8=py39h06a4308_2\ncudatoolkit=11.3.1=h2bc3f7f_2\nnumpy=1.21.2=py39h20f2e39_0\nopenssl=1.1.1l=h7f8727e_0\n"
        "pip=21.2.4=py39h06a4308_0\npython=3.9.7=h12debd9_1\npytorch=1.10.2=py3.9_cuda11.3_cudnn8.2.0_0\n"
        "six=1.16.0=pyhd3eb1b0_1\nclearml=1.9.0=pypi_0\n",
        ("certifi==2021.10.8", "numpy==1.21.2", "torch==1.10.2", "six==1.16.0", "clearml==1.9.0", "setuptools<59"),
        (
            *(
                _NO_PYTHON,
                _NO_PYTHON,
                "used as certifi==2021.10.8, its conda build",
                _NO_PYTHON,
                "used as numpy==1.21.2",
            ),
            *(_NO_PYTHON, "every environment has a pip", _NO_PYTHON, "used as torch==1.10.2", "used as six", "clearml"),
            "setuptools<59: added",
        ),
    ),
    Case(
        "conda build lines with two signs",
        "name==1.0=pypi_0\nnumpy==1.21=py39h20f2e39_0\n",
        ("name==1.0", "numpy==1.21"),
        ("its conda build is not considered", "its conda build is not considered"),
    ),
    Case(
        "conda env export, as lines",
        "numpy=1.21\npandas = 1.3.4\n- scipy=1.7.*\n- six\n",
        ("numpy==1.21.*", "pandas==1.3.4.*", "scipy==1.7.*", "six"),
        ("as conda understands one =", "as conda understands", "as conda understands", "an item of a YAML list"),
    ),
    Case(
        "pip freeze with its complaints",
        "WARNING: Ignoring invalid distribution -umpy (/opt/conda/lib/python3.9/site-packages)\n-umpy==1.19.5\nnumpy==1.19.5\n"
        "You are using pip version 9.0.1, however version 24.0 is available.\n[notice] A new release of pip is available\n",
        ("numpy==1.19.5",),
        ("pip said that", "pip said that", "pip said that", "-umpy==1.19.5: left out, the option"),
    ),
    Case(
        "what the SDK records",
        "# Python 3.11.7 | packaged by conda-forge | (main, Dec 23 2023) [GCC 12.3.0]\n\nclearml == 1.14.4\n"
        "scikit_learn == 1.4.0\n\n# Detailed import analysis\n# **************************\n\n# IMPORT PACKAGE clearml\n"
        "# train.py: 3\n",
        ("clearml == 1.14.4", "scikit_learn == 1.4.0"),
    ),
    Case(
        "pipenv lock -r",
        '-i https://pypi.org/simple\ncertifi==2023.7.22; python_version >= "3.6"\nidna==3.4\n',
        ('certifi==2023.7.22; python_version >= "3.6"', "idna==3.4"),
        indexes="https://pypi.org/simple",
    ),
    Case(
        "pip-compile with its options",
        "--index-url https://pypi.org/simple\n--extra-index-url https://reader:hunter22@example.com/simple\n\n"
        "-e file:.\n    # via -r requirements.in\nidna==3.4\n    # via\n    #   requests\n    #   yarl\n",
        ("-e ROOT", "idna==3.4"),
        indexes="https://pypi.org/simple, https://****@example.com/simple",
        kept=False,
        files={"pyproject.toml": ""},
    ),
    Case(
        "uv export of a project",
        "# This file was autogenerated by uv via the following command:\n#    uv export\n-e .\n"
        f"idna==3.7 \\\n    {_HASH}\n    # via anyio\n",
        ("-e ROOT", f"idna==3.7     {_HASH}"),
        flags=("--require-hashes",),
        kept=False,
        files={"pyproject.toml": ""},
    ),
    Case(
        "poetry export without hashes",
        'annotated-types==0.7.0 ; python_version >= "3.10" and python_version < "4.0"\n'
        'ourlib @ file:///home/me/ourlib ; python_version >= "3.10"\n',
        (
            'annotated-types==0.7.0 ; python_version >= "3.10" and python_version < "4.0"',
            'ourlib ; python_version >= "3.10"',
        ),
        (_NOT_HERE,),
    ),
    Case(
        "pip list",
        "Package    Version\n---------- -------\nsix        1.16.0\n",
        ("Package    Version", "six        1.16.0"),
        ("not understood, passed on", "not understood, passed on", "left out, the option has no meaning"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_exported_file(case: Case, tmp_path: Path, settings: EnvironmentSettings, memory: Path) -> None:
    assert "hunter22" not in check(case, tmp_path / "checkout", settings, memory)


def test_a_plan_imports_no_parser(memory: Path) -> None:
    """A hit has no time for it: ``packaging`` alone takes longer to import than all of a hit."""
    text = "six==1.16\nrequests[socks]>=2,<3; python_version>'3'\na @ file:///gone\n-e git+https://h/x.git#egg=x\nb=1=py39_0\n"
    code = f"""
import sys
from pathlib import Path
from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import EnvironmentRequest, EnvironmentSettings, plan_environment
here = Path({str(memory)!r})
settings = EnvironmentSettings(here, here / "store", here / "builds", environ={{"PATH": "/usr/bin:/bin"}})
assert plan_environment(EnvironmentRequest(Requirements(pip={text!r})), settings).lines
print([name for name in ("packaging", "virtualenv", "uv") if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_list_counts_the_same_when_it_is_recorded(tmp_path: Path, settings: EnvironmentSettings) -> None:
    text = "numpy=1.21=py39h20f2e39_0\nsix==1.16.0\n"
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "requirements.txt").write_text(text)
    recorded = plan_environment(EnvironmentRequest(Requirements(pip=text)), settings)
    found = plan_environment(EnvironmentRequest(repository_root=tmp_path / "checkout"), settings)
    assert recorded.lines == found.lines
    assert recorded.key == found.key
