from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement as Parsed
from packaging.utils import canonicalize_name

from clearml_agent_clone.environment.lines import split_lines
from clearml_agent_clone.environment.requirements import Requirement, rewrite

SHA = "0123456789abcdef0123456789abcdef01234567"


def rewritten(text: str, root: Path | None = None) -> tuple[Requirement | None, str]:
    (line,) = split_lines(text, "r.txt")
    return rewrite(line, root)


@pytest.mark.parametrize(
    ("text", "name", "pin"),
    [
        ("six", "six", ""),
        ("six == 1.16.0", "six", "1.16.0"),
        ("Zope.Interface==6.0", "zope-interface", "6.0"),
        ("torch===2.1.0+cu118", "torch", "2.1.0+cu118"),
        ("numpy>=1.2,<2", "numpy", ""),
        ("numpy==1.2,!=1.2.1", "numpy", ""),
        ("numpy==1.*", "numpy", ""),
        ("requests[socks,security]>=2 ; python_version < '3.12'", "requests", ""),
        ("uvicorn[standard]==0.30 ; sys_platform != 'win32'", "uvicorn", "0.30"),
        ("six (>=1.0)", "six", ""),
        ("six==1.16 --hash=sha256:aa --hash=sha256:bb", "six", "1.16"),
        ("git", "git", ""),
    ],
)
def test_named_requirements_stay_as_they_are(text: str, name: str, pin: str) -> None:
    requirement, note = rewritten(text)
    assert requirement == Requirement(text, name, pin, hashed="--hash" in text)
    assert note == ""


@pytest.mark.parametrize(
    ("text", "name", "fixed"),
    [
        (f"x @ git+https://h/x.git@{SHA}", "x", True),
        (f"x @ git+https://h/x.git@{SHA}#subdirectory=a", "x", True),
        ("x @ git+https://h/x.git@main", "x", False),
        ("git+ssh://git@h/x.git", "", False),
        (f"git+https://h/x.git@{SHA}#egg=x", "x", True),
        ("x[a] @ https://h/x-1.0-py3-none-any.whl ; python_version > '3'", "x", True),
        ("https://h/x-1.0-py3-none-any.whl", "", True),
    ],
)
def test_remote_requirements_stay_and_say_whether_they_can_change(text: str, name: str, fixed: bool) -> None:
    requirement, note = rewritten(text)
    assert requirement == Requirement(text, name, fixed=fixed)
    assert note == ""


def test_a_file_that_is_gone_leaves_the_name() -> None:
    requirement, note = rewritten("numpy[x] @ file:///croot/numpy_1/work/dist/n.whl ; python_version > '3'")
    assert requirement == Requirement("numpy[x] ; python_version > '3'", "numpy")
    assert note.startswith("r.txt:1: numpy[x] @ file:///croot")
    assert note.endswith("the file is not here")


def test_paths_lead_into_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    assert rewritten("./lib[x] ; python_version > '3'", tmp_path) == (
        Requirement(f"{tmp_path}/lib[x] ; python_version > '3'", fixed=False),
        "",
    )
    assert rewritten("-e .", tmp_path) == (Requirement(f"-e {tmp_path}", fixed=False), "")
    assert rewritten("lib @ file:./lib", tmp_path)[0] == Requirement(f"lib @ file://{tmp_path}/lib", "lib", fixed=False)


def test_a_list_further_down_means_the_project_beside_it(tmp_path: Path) -> None:
    sub = tmp_path / "sub"
    sub.mkdir()
    (line,) = split_lines("-e .", "sub/requirements.txt", sub)
    assert rewrite(line, tmp_path)[0] == Requirement(f"-e {tmp_path}", fixed=False)
    (sub / "setup.py").touch()
    assert rewrite(line, tmp_path)[0] == Requirement(f"-e {sub}", fixed=False)
    (tmp_path / "pyproject.toml").touch()  # pip runs in the root
    assert rewrite(line, tmp_path)[0] == Requirement(f"-e {tmp_path}", fixed=False)


@pytest.mark.parametrize("text", ["./gone", "-e ./gone", "dist/gone-1.0-py3-none-any.whl"])
def test_a_folder_that_is_not_there_is_left_out_and_noted(text: str, tmp_path: Path) -> None:
    requirement, note = rewritten(text, tmp_path)
    assert requirement is None
    assert "left out, there is no" in note
    assert rewritten(text, None)[0] is None


def test_an_editable_repository_is_installed(tmp_path: Path) -> None:
    requirement, note = rewritten(f"-e git+https://h/x.git@{SHA}#egg=X_y&subdirectory=s", tmp_path)
    assert requirement == Requirement(f"X_y @ git+https://h/x.git@{SHA}#subdirectory=s", "x-y")
    assert note.endswith("installed, not linked to a working copy")


def test_what_nobody_understands_is_passed_on_and_noted() -> None:
    requirement, note = rewritten("google google_api_core")
    assert requirement == Requirement("google google_api_core")
    assert note == "r.txt:1: google google_api_core: not understood, passed on as it is"


@given(st.text(min_size=1))
def test_no_line_is_too_strange(text: str) -> None:
    for line in split_lines(text, "r.txt"):
        requirement, note = rewrite(line, Path("/nowhere"))
        assert requirement is not None or note


_VERSIONS = st.from_regex(r"(0|[1-9][0-9]?)(\.[0-9]{1,2}){0,2}(rc1|\.post1|\+cu118)?", fullmatch=True)
_SPECIFIERS = st.lists(st.tuples(st.sampled_from(["==", "!="]), _VERSIONS), max_size=3)


@given(
    name=st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,8}[A-Za-z0-9]", fullmatch=True),
    extras=st.sampled_from(["", "[a]", "[a,b]"]),
    specifiers=_SPECIFIERS,
    blank=st.sampled_from(["", " "]),
    marker=st.sampled_from(["", "; python_version >= '3.8'", " ; sys_platform == 'linux' and extra == 'x'"]),
)
def test_whatever_packaging_can_read_is_named_and_unchanged(
    name: str, extras: str, specifiers: list[tuple[str, str]], blank: str, marker: str
) -> None:
    text = f"{name}{extras}{blank}{','.join(op + blank + version for op, version in specifiers)}{marker}".strip()
    parsed = Parsed(text)
    requirement, note = rewritten(text)
    assert requirement is not None
    assert (requirement.text, requirement.name, note) == (text, canonicalize_name(parsed.name), "")
    exact = [version for operator, version in specifiers if operator != "!="]
    assert requirement.pin == (exact[0] if len(exact) == len(specifiers) == 1 else "")
