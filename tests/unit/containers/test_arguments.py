"""Reading arguments of docker run."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_agent_clone.containers.arguments import Option, Source, parse_arguments, split_arguments, unglue
from clearml_agent_clone.containers.options import Arity, Engine, by_long, by_short, canonical, spellings
from clearml_agent_clone.errors import UserError


def read(text: str, *, strangers: bool = False) -> list[tuple[str, str | None]]:
    options = parse_arguments(split_arguments(text), Source.TASK, strangers=strangers)
    return [(option.name, option.value) for option in options]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("-it", [("interactive", None), ("tty", None)]),
        ("-eKEY=V", [("env", "KEY=V")]),
        ("-e=KEY=V", [("env", "KEY=V")]),
        ("-iteKEY=V", [("interactive", None), ("tty", None), ("env", "KEY=V")]),
        ("--env=K=V=W", [("env", "K=V=W")]),
        ("--env K=V", [("env", "K=V")]),
        ("-e 'A=b c'", [("env", "A=b c")]),
        ("--net host", [("network", "host")]),
        ("--net=host", [("network", "host")]),
        ("--dns-opt=ndots:1", [("dns-option", "ndots:1")]),
        ("-p8080:80 -v/data", [("publish", "8080:80"), ("volume", "/data")]),
        ("-c 5", [("cpu-shares", "5")]),
        ("-h name", [("hostname", "name")]),
        ("--privileged=true", [("privileged", None)]),
        ("--privileged=F", [("privileged", "F")]),
        ("-i=false", [("interactive", "false")]),
        ("--name=", [("name", "")]),
        # The engine takes the next word for the value whatever it looks like.
        ("-e --privileged", [("env", "--privileged")]),
        ("--name -- --rm", [("name", "--"), ("rm", None)]),
    ],
)
def test_reads_what_the_engine_reads(text: str, options: list[tuple[str, str | None]]) -> None:
    assert read(text) == options


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ubuntu", "is no option"),
        ("--rm ubuntu bash -c evil", "is no option"),
        ("--privileged true", "is no option"),
        ("-e A=1 B=2", "is no option"),
        ("--", "is no option"),
        ("--init -- ubuntu", "is no option"),
        ("-", "is no option"),
        ("''", "is no option"),
        ("-e", "lacks its value"),
        ("--volume", "lacks its value"),
        ("-itv", "lacks its value"),
        ("---privileged", "not written as an option"),
        ("--=x", "not written as an option"),
        ("--privileged=maybe", "takes true or false"),
        ("--privilege", "no option of docker"),
        ("--env-host", "no option of docker"),
        ("-X", "no option of docker"),
        ("-iX", "unknown switch"),
        ("--hostname 'a\nb'", "line break"),
    ],
)
def test_refuses_what_would_be_something_else(text: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        read(text)
    assert caught.value.code == "container-argument"
    assert "\n" not in str(caught.value)


def test_a_nul_byte_is_refused() -> None:
    for words in (["--name=a\0b"], ["-e", "A=\0"]):
        with pytest.raises(UserError, match="NUL"):
            parse_arguments(words, Source.TASK)


def test_messages_show_no_value() -> None:
    with pytest.raises(UserError) as caught:
        read("-e A=1 TOKEN=hunter2")
    assert "hunter2" not in str(caught.value)


def test_strangers_pass_only_where_they_replace_nothing() -> None:
    assert read("--new=x --newer -Z", strangers=True) == [("new", "x"), ("newer", None), ("Z", None)]
    for text in ("--new value", "-Z value", "-Zvalue"):
        with pytest.raises(UserError):
            read(text, strangers=True)


def test_podman_has_options_of_its_own() -> None:
    options = parse_arguments(["--env-host", "--healthcheck-command", "x"], Source.TASK, engine=Engine.PODMAN)
    assert [option.name for option in options] == ["env-host", "health-cmd"]


def test_an_open_quotation_mark_is_told() -> None:
    with pytest.raises(UserError, match="quotation"):
        split_arguments("-e 'A=1")


def test_an_item_that_holds_two_words_is_two() -> None:
    assert unglue(["-v /a:/b", "--ipc=host -e A=1", "A=b c", "-eA=b c", "-e A=b c", "--env=J=-Xmx1 -Xss1"], Source.EXTRA) == (
        "-v", "/a:/b", "--ipc=host", "-e", "A=1", "A=b c", "-eA=b c", "-e", "A=b c", "--env=J=-Xmx1 -Xss1",
    )  # fmt: skip


def test_names_of_the_configuration_are_canonical() -> None:
    assert [canonical(name) for name in ("net", "--net", "-v", "v", "network=host", "unheard-of")] == [
        "network", "network", "volume", "volume", "network", "unheard-of",
    ]  # fmt: skip
    assert set(spellings("network")) == {"--network", "--net"}
    assert spellings("env") == ("--env", "-e")


@given(st.lists(st.sampled_from(sorted(by_long(Engine.DOCKER))), max_size=6), st.text(max_size=8))
def test_tokens_read_back_as_the_same_options(names: list[str], value: str) -> None:
    value = value.replace("\0", "").replace("\n", "")
    options = []
    for name in names:
        known = by_long(Engine.DOCKER)[name]
        options.append(Option(known.name, None if known.arity is Arity.SWITCH else value, Source.TASK))
    assert list(parse_arguments([option.token for option in options], Source.TASK)) == options


@given(st.lists(st.text(alphabet="-=eivtnpX/:a0 \n'", max_size=7), max_size=5))
def test_whatever_is_written_either_is_refused_or_holds_options_only(words: list[str]) -> None:
    try:
        options = parse_arguments(words, Source.TASK)
    except UserError:
        return
    tokens = [option.token for option in options]
    assert all(token.startswith("--") and token != "--" for token in tokens)
    assert list(parse_arguments(tokens, Source.TASK)) == list(options)
    assert shlex.split(shlex.join(tokens)) == tokens


@pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker here to ask")
def test_the_table_is_that_of_the_engine() -> None:
    help_ = subprocess.run(["docker", "run", "--help"], capture_output=True, text=True, check=False, timeout=60).stdout
    rows = re.findall(r"^ +(?:-(.), |    )--([a-z0-9-]+)(?: ([a-z0-9-]+))?(?:  |$)", help_, re.MULTILINE)
    table = by_long(Engine.DOCKER)
    if len(rows) < 50:
        pytest.skip("this docker prints its help otherwise")
    for short, name, kind in rows:
        known = table[name]
        assert known.short == short, name
        assert (known.arity is Arity.SWITCH) is (kind == ""), name
        if kind == "list":
            assert known.arity is Arity.LIST, name


def test_no_letter_stands_for_two_options() -> None:
    for engine in Engine:
        names = {known.name for known in by_long(engine).values() if known.short}
        assert len(by_short(engine)) == len(names)
