"""Published ports."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_agent_clone.containers.arguments import Source, parse_arguments, split_arguments
from clearml_agent_clone.containers.ports import Published, publish
from clearml_agent_clone.errors import UserError


@attrs.frozen
class Taken:
    """A machine on which some ports are taken."""

    ports: frozenset[int] = frozenset({8080, 10000, 10002})

    def is_free(self, port: int) -> bool:
        return port not in self.ports


def run(text: str, allowed: tuple[int, int] | None = None) -> Published:
    return publish(parse_arguments(split_arguments(text), Source.TASK), Taken(), allowed)


@pytest.mark.parametrize(
    ("text", "allowed", "value", "mapping"),
    [
        ("-p 9000:80", None, "9000:80", "9000:80"),
        ("-p 8080:80", None, "10001:80", "10001:80"),
        ("-p 8080:80/tcp", None, "10001:80/tcp", "10001:80"),
        ("-p 8080:80/udp", None, "8080:80/udp", ""),
        ("-p 127.0.0.1:8080:80", None, "127.0.0.1:10001:80", "10001:80"),
        ("-p [::1]:8080:80", None, "[::1]:10001:80", "10001:80"),
        ("-p 8079-8081:1-3", None, "10003-10005:1-3", "10003:1,10004:2,10005:3"),
        ("-p 9000-9001:1-2", None, "9000-9001:1-2", "9000:1,9001:2"),
        ("-p 9000:80", (20000, 20010), "20000:80", "20000:80"),
        ("-p 20005:80", (20000, 20010), "20005:80", "20005:80"),
        ("-p 80", None, "80", ""),
        ("-p :80", None, ":80", ""),
        ("-p 0.0.0.0::80", None, "0.0.0.0::80", ""),
        ("--publish=8080:80", None, "10001:80", "10001:80"),
    ],
)
def test_the_table(text: str, allowed: tuple[int, int] | None, value: str, mapping: str) -> None:
    published = run(text, allowed)
    assert [option.value for option in published.options] == [value]
    assert published.runtime_property == mapping


def test_two_wishes_for_one_port_get_two() -> None:
    published = run("-p 9000:80 -p 9000:81 -e A=1")
    assert published.mapping == ((9000, 80), (10001, 81))
    assert len(published.remarks) == 1
    assert published.options[2].name == "env"


@pytest.mark.parametrize("text", ["--network host -p 8080:80", "--net=host -p 8080:80", "-p 8080:80 --network=host"])
def test_the_hosts_network_publishes_nothing(text: str) -> None:
    assert run(text).mapping == ()
    assert run(text).remarks == ()


@pytest.mark.parametrize(
    "value",
    ["x", "80:", "1:2:3:4", "70000:80", "80:70000", "9-8:1-2", "1:1-3", "0:80", "80:0", "80:80/icmp", "8080:80 -v", ""],
)
def test_what_cannot_be_read_is_told(value: str) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        run(f"--publish='{value}'")


def test_when_all_are_taken_it_is_told() -> None:
    with pytest.raises(UserError, match="no 1 free port"):
        run("-p 8080:80", (10000, 10000))


@given(st.sets(st.integers(10000, 10040)), st.integers(1, 6))
def test_what_is_chosen_is_free_and_in_the_range(taken: set[int], count: int) -> None:
    options = parse_arguments([f"--publish=10000-{9999 + count}:1-{count}"], Source.TASK)
    try:
        published = publish(options, Taken(frozenset(taken)), (10000, 10040))
    except UserError:
        return
    hosts = [host for host, _ in published.mapping]
    assert not taken & set(hosts)
    assert hosts == list(range(hosts[0], hosts[0] + count))
    assert 10000 <= hosts[0] <= hosts[-1] <= 10040
