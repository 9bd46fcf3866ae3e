"""How what people and programs write about conda packages is read."""

from __future__ import annotations

import pytest

from clearml_agent_clone.environment.conda.specs import Spec, from_pip, read_spec

READ = {
    "numpy": "numpy",
    "numpy=1.21.3=py39hdbf815f_0": "numpy=1.21.3=py39hdbf815f_0",
    "numpy 1.21.3 py39hdbf815f_0": "numpy=1.21.3=py39hdbf815f_0",
    "numpy == 1.21.3": "numpy ==1.21.3",
    "numpy==1.21.3": "numpy ==1.21.3",
    "numpy=1.21": "numpy 1.21.*",
    "numpy 1.21.3": "numpy ==1.21.3",
    "numpy >=1.21, <2": "numpy >=1.21,<2",
    "numpy>=1.21": "numpy >=1.21",
    "numpy~=1.21.3": "numpy ~=1.21.3",
    "numpy !=1.20": "numpy !=1.20",
    "numpy 1.21.*": "numpy 1.21.*",
    "numpy=1.21.*": "numpy =1.21.*",
    "conda-forge::numpy=1.21.3=py39_0": "conda-forge::numpy=1.21.3=py39_0",
    "conda-forge/label/rc::numpy": "conda-forge/label/rc::numpy",
    "_libgcc_mutex=0.1=conda_forge": "_libgcc_mutex=0.1=conda_forge",
    "openssl=1.1.1k=h7f98852_0": "openssl=1.1.1k=h7f98852_0",
    "tzdata 2021a": "tzdata ==2021a",
    "pytorch=1.13.1=py3.9_cuda11.7_cudnn8.5.0_0": "pytorch=1.13.1=py3.9_cuda11.7_cudnn8.5.0_0",
    "PyYAML == 6.0": "pyyaml ==6.0",
    "libjpeg-turbo=2.0.*=h*": "libjpeg-turbo=2.0.*=h*",
    'numpy[version=">=1.2",build="py39*"]': 'numpy[version=">=1.2",build="py39*"]',
    "numpy=1.21|1.22": "numpy=1.21|1.22",
    "https://repo.invalid/pkgs/main/linux-64/python-3.9.7-h12debd9_1.tar.bz2": (
        "https://repo.invalid/pkgs/main::python=3.9.7=h12debd9_1"
    ),
    "https://repo.invalid/pkgs/main/noarch/six-1.16.0-pyhd3eb1b0_1.conda#34586824d411d36af2fa40e799c172d0": (
        "https://repo.invalid/pkgs/main::six=1.16.0=pyhd3eb1b0_1"
    ),
}


@pytest.mark.parametrize("text", READ)
def test_a_line_is_read_and_written(text: str) -> None:
    spec = read_spec(text, loose=True)
    assert spec is not None
    assert spec.text == READ[text]


@pytest.mark.parametrize("text", ["", "=1.0", "-e .", "@EXPLICIT"])
def test_what_is_no_package_is_not_taken_for_one(text: str) -> None:
    assert read_spec(text, loose=True) is None


def test_what_pip_installed_is_marked_in_conda_lists() -> None:
    assert read_spec("clearml=1.9.0=pypi_0", loose=True) == Spec("", pip="clearml==1.9.0")


FROM_PIP = {
    "numpy==1.21.3": "numpy ==1.21.3",
    "torch==1.13.1+cu117": "pytorch ==1.13.1+cu117",
    "scikit_learn>=1.0, <2": "scikit-learn >=1.0,<2",
    "graphviz": "python-graphviz",
    "numpy==1.21.*": "numpy 1.21.*",
    "numpy===1.21": "numpy ==1.21",
    "numpy ; python_version >= '3.8'": "numpy",
    "numpy (>=1.2)": "numpy >=1.2",
}


@pytest.mark.parametrize("line", FROM_PIP)
def test_a_requirement_line_as_a_conda_package(line: str) -> None:
    spec = from_pip(line, "3.11")
    assert isinstance(spec, Spec)
    assert spec.text == FROM_PIP[line]
    assert spec.looser() is None, "pip has the version that was recorded"


@pytest.mark.parametrize(
    "line",
    ["requests[socks]==2.0", "a @ git+https://host/a.git", "git+https://host/a.git", "./folder", "x --hash=sha256:0"],
)
def test_what_only_pip_understands(line: str) -> None:
    assert from_pip(line, "3.11") == "conda has no such requirements"


def test_a_requirement_for_another_python_is_none() -> None:
    assert from_pip("numpy; python_version < '3.8'", "3.11") == ""
    assert from_pip("numpy; python_full_version < '3.11.2'", "3.11.1") != ""
    assert from_pip("numpy; what ever", "3.11") != ""


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("numpy=1.21.3=py39_0", ["numpy ==1.21.3", "numpy ~=1.21.3"]),
        ("python=3.9.7=h1_0", ["python ==3.9.7", "python 3.9.*"]),
        ("python == 3.9", []),
        ("numpy == 3", ["numpy >=3"]),
        ("torch == 1.13.1+cu117", ["torch ~=1.13.1"]),
        ("numpy == 1.0.post1", ["numpy ~=1.0"]),
        ("numpy >=1.2", []),
    ],
)
def test_what_is_given_up_step_by_step(text: str, steps: list[str]) -> None:
    spec = read_spec(text, loose=True)
    found = []
    while spec is not None and (spec := spec.looser()) is not None:
        found.append(spec.text)
    assert found == steps


def test_what_is_written_by_hand_is_not_bent() -> None:
    spec = read_spec("numpy=1.21.3=py39_0", loose=False)
    assert spec is not None
    assert spec.looser() is None
