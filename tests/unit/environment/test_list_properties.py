"""What holds for every requirement list, whatever somebody wrote into it."""

from __future__ import annotations

import random
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement as Parsed
from packaging.utils import canonicalize_name

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import EnvironmentPlan, EnvironmentRequest, EnvironmentSettings, plan_environment
from clearml_agent_clone.environment.lines import decode, expand, split_lines
from clearml_agent_clone.environment.requirements import Requirement, canonical, rewrite
from clearml_agent_clone.environment.torch_settings import TorchSettings

SECRET = "s3cr3t-Zz9"
_SLOW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)

_NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,6}[A-Za-z0-9]", fullmatch=True)
_VERSIONS = st.from_regex(r"(0|[1-9][0-9]?)(\.[0-9]{1,2}){1,2}(rc1|\.post1)?", fullmatch=True)
_SPECIFIERS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["==", "!=", ">=", "<=", ">", "<", "~="]), _VERSIONS),
        st.tuples(st.sampled_from(["==", "!="]), st.from_regex(r"[1-9](\.[0-9]){0,2}\.\*", fullmatch=True)),
    ),
    max_size=3,
)
_MARKERS = st.sampled_from(
    [
        "",
        "python_version >= '3.8'",
        'python_full_version < "3.11.0" or platform_machine != "arm64"',
        "sys_platform == 'linux' and (os_name == 'posix' or implementation_name == 'cpython')",
        "python_version in '3.10, 3.11'",
    ]
)


@st.composite
def requirements(draw: st.DrawFn) -> str:
    """Lines that the standard allows, in all the ways to set blanks."""
    blank = st.sampled_from(["", " ", "  "])
    extras = draw(st.sampled_from(["", "[a]", "[a,B-c]", "[ a , b ]"]))
    head = draw(_NAMES) + draw(blank) + extras
    marker = draw(_MARKERS)
    if draw(st.booleans()):
        specifiers = [f"{operator}{draw(blank)}{version}" for operator, version in draw(_SPECIFIERS)]
        body = f"{draw(blank)},{draw(blank)}".join(specifiers)
        if body and draw(st.booleans()):
            body = f"({body})"
        tail = f"{draw(blank)};{draw(blank)}{marker}" if marker else ""
        return f"{head}{draw(blank)}{body}{tail}"
    url = draw(
        st.sampled_from(
            [
                "https://h.example/a-1.0-py3-none-any.whl#sha256=ab",
                "git+https://h.example/g/a.git@v1",
                "git+ssh://git@h.example/a.git@feature/x#subdirectory=s",
                "https://h.example/a.tar.gz?x=y",
            ]
        )
    )
    return f"{head} @ {url}{' ; ' + marker if marker else ''}"


_PIECES = st.sampled_from(
    [
        *(
            "six",
            "==",
            "1.0",
            "=",
            "py39_0",
            "git+",
            "https://",
            "ssh://",
            "git@h:",
            "u:p@h/",
            ".git",
            "@",
            "#egg=",
            "[",
            "]",
        ),
        *(
            "-r",
            "-e",
            "-c",
            "--hash=sha256:",
            "--index-url",
            " -f ",
            "file:",
            "../",
            "\\",
            "\n",
            "\r\n",
            " ",
            ";",
            "#",
            "${A}",
        ),
        *(
            "${HOME_X}",
            "'",
            '"',
            "*",
            "~=",
            "python_version<'3'",
            "\x00",
            "\ufeff",
            "\u2028",
            "://",
            "- ",
            "(",
            ")",
            ",",
            "é",
        ),
    ]
)
_MESSES = st.lists(_PIECES, max_size=25).map("".join)


@given(st.one_of(_MESSES, st.text()))
def test_nothing_is_too_strange_and_every_line_is_used_or_noted(text: str) -> None:
    listing = expand(text, "r.txt", Path("/nowhere"), Path("/nowhere"))
    for line in listing.packages + listing.constraints:
        requirement, note = rewrite(line, Path("/nowhere"), {"A": "value"})
        assert requirement is not None or note
        assert "\n" not in note.replace(line.text, "")
        if requirement is not None:
            assert "\n" not in requirement.text
            canonical(requirement.text)


@given(st.binary())
def test_every_file_can_be_read(data: bytes) -> None:
    list(split_lines(decode(data), "r.txt"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@given(text=st.from_regex(r"[a-z]{1,9}==[0-9]\.[0-9]\n(# [äß€]{1,3}\n)?", fullmatch=True))
def test_an_encoding_changes_nothing(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding)) == text


@given(requirements())
def test_what_packaging_reads_keeps_its_meaning(text: str) -> None:
    before = Parsed(text)
    (line,) = split_lines(text, "r.txt")
    requirement, note = rewrite(line, None)
    assert requirement is not None
    assert note == ""
    after = Parsed(requirement.text)
    assert (after.name, after.extras, after.specifier, after.url, str(after.marker)) == (
        *(before.name, before.extras, before.specifier, before.url),
        str(before.marker),
    )
    assert requirement.name == canonicalize_name(before.name)


@given(st.one_of(_MESSES, requirements()))
def test_what_was_changed_once_is_left_alone(text: str) -> None:
    for requirement in _rewritten(text):
        for again in split_lines(requirement.text, "r.txt"):
            second, _ = (None, "") if again.option else rewrite(again, None, {})
            assert second is None or second.text == requirement.text


def _rewritten(text: str) -> list[Requirement]:
    found = (rewrite(line, None, {}) for line in expand(text, "r.txt", None, None).packages)
    return [requirement for requirement, _ in found if requirement is not None]


@given(requirements(), st.integers())
def test_one_form_for_one_meaning(text: str, seed: int) -> None:
    spread = random.Random(seed)
    parsed = Parsed(text)
    if parsed.url:
        return
    specifiers = [str(one) for one in parsed.specifier]
    extras = sorted(parsed.extras)
    spread.shuffle(specifiers)
    spread.shuffle(extras)
    name = parsed.name.upper() if spread.random() < 0.5 else parsed.name.replace("-", "_")
    other = f"{name}{'[' + ', '.join(extras) + ']' if extras else ''} {' , '.join(specifiers)}"
    marker = text.partition(";")[2]
    assert canonical(f"{other} ; {marker}" if marker else other) == canonical(text)


_SECRET_LINES = st.sampled_from(
    [
        f"git+https://me:{SECRET}@h.example/a.git@main",
        f"-e git+https://{SECRET}@h.example/a.git#egg=a",
        f"a @ https://me:{SECRET}@h.example/a-1.0-py3-none-any.whl",
        f"https://h.example/a-1.0-py3-none-any.whl?token={SECRET}",
        f"--extra-index-url https://me:{SECRET}@h.example/simple",
        f"-i https://{SECRET}@h.example/simple --trusted-host h.example",
        f"--find-links https://me:{SECRET}@h.example/page",
        f"six -f https://me:{SECRET}@h.example/page",
        f"-r https://me:{SECRET}@h.example/r.txt",
        f"-c https://me:{SECRET}@h.example/c.txt",
        f"https://me:{SECRET}@h.example/a.git",
        f"not a requirement https://me:{SECRET}@h.example",
        f"horovod @ git+https://me:p@{SECRET}@h.example/a.git",
        "git+https://me:${PASSWORD}@h.example/${PASSWORD}/a.git@${PASSWORD}",
        "a @ https://h.example/${PASSWORD}/a-1.0-py3-none-any.whl",
        "horovod @ https://h.example/${PASSWORD}/horovod-1.0-py3-none-any.whl",
        "--extra-index-url https://h.example/${PASSWORD}/simple",
        "--find-links https://h.example/page?token=${PASSWORD}",
        "-e git+https://${PASSWORD}@h.example/a.git#egg=a&subdirectory=${PASSWORD}",
    ]
)


@_SLOW
@given(lines=st.lists(_SECRET_LINES, min_size=1, max_size=5))
def test_no_secret_is_told_or_recorded(lines: list[str], settings: EnvironmentSettings, memory: Path) -> None:
    plan = _plan("\n".join(lines), settings, memory, PASSWORD=SECRET)
    told = "\n".join(plan.describe())
    assert SECRET not in told
    assert SECRET not in "\n".join(plan.options)
    assert SECRET not in (plan.key or "")


_LISTED = ["six==1.16", "idna>=2,<4", "attrs[tests]; python_version>'3'", f"a @ git+https://h.example/a.git@{40 * 'a'}"]


@_SLOW
@given(
    order=st.permutations(_LISTED),
    comments=st.lists(st.sampled_from(["# x", "", "   ", "#"]), max_size=4),
    blank=st.sampled_from(["\n", "\r\n", "\n\n", "  # why\n", " \n"]),
)
def test_the_key_is_that_of_the_content(
    order: list[str], comments: list[str], blank: str, settings: EnvironmentSettings, memory: Path
) -> None:
    plain = _plan("\n".join(_LISTED), settings, memory)
    other = _plan("\n".join([*comments, ""]) + blank.join([*order, order[0], ""]), settings, memory)
    assert plain.key is not None
    assert other.key == plain.key


@_SLOW
@given(index=st.integers(0, 3), change=st.sampled_from(["==1.17", " --pre", "; python_version<'3'", "[more]"]))
def test_another_content_has_another_key(index: int, change: str, settings: EnvironmentSettings, memory: Path) -> None:
    changed = [*_LISTED]
    changed[index] = {
        "==1.17": "six==1.17",
        " --pre": f"{changed[index]}\n--pre",
        "; python_version<'3'": "rich; python_version<'3'",
        "[more]": "idna[more]>=2,<4",
    }[change]
    assert _plan("\n".join(changed), settings, memory).key != _plan("\n".join(_LISTED), settings, memory).key


def _plan(text: str, settings: EnvironmentSettings, memory: Path, **variables: str) -> EnvironmentPlan:
    mine = attrs.evolve(
        settings,
        state_dir=memory,
        torch=TorchSettings(resolve="none"),
        environ={**settings.environ, "PIP_NO_INDEX": "", "PIP_FIND_LINKS": "", **variables},
    )
    return plan_environment(EnvironmentRequest(Requirements(pip=text)), mine)
