"""Published ports: those that are taken on the host are replaced by free ones, and the task is told which."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import attrs

from clearml_agent_clone.containers.arguments import Option, printable
from clearml_agent_clone.errors import UserError

SEARCHED = (10000, 60000)
_PUBLISH = re.compile(
    r"(?:(?P<ip>\[[0-9A-Fa-f:]*\]|[0-9.]+|[A-Za-z][\w.-]*)?:)?"
    r"(?:(?P<low>\d+)(?:-(?P<high>\d+))?)?:"
    r"(?P<inner>\d+)(?:-(?P<last>\d+))?(?:/(?P<protocol>tcp|udp|sctp))?"
)
_INNER_ONLY = re.compile(r"\d+(?:-\d+)?(?:/(?:tcp|udp|sctp))?")


class FreePorts(Protocol):
    """Knows which ports of the host are taken."""

    def is_free(self, port: int) -> bool:
        """Whether nothing listens on the TCP port ``port``."""


@attrs.frozen
class Published:
    """Arguments with ports that are free; ``mapping`` is ``HOST:CONTAINER`` of each published TCP port."""

    options: tuple[Option, ...]
    mapping: tuple[tuple[int, int], ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def runtime_property(self) -> str:
        """The task's ``_external_host_tcp_port_mapping``."""
        return ",".join(f"{host}:{inner}" for host, inner in self.mapping)


def publish(options: Sequence[Option], free: FreePorts, allowed: tuple[int, int] | None) -> Published:
    """``options`` with every TCP port of the host that is taken, or outside of ``allowed``, replaced by a free one.

    With the host's network nothing is published. UDP ports and those that the engine chooses stay as they are.

    Raises:
        UserError: a ``--publish`` cannot be read, or there is no free run of ports.
    """
    if any(option.name == "network" and option.value == "host" for option in options):
        return Published(tuple(options))
    taken: set[int] = set()
    kept: list[Option] = []
    mapping: list[tuple[int, int]] = []
    remarks: list[str] = []
    for option in options:
        one = _Spec.parse(option.text) if option.name == "publish" else None
        if one is None or one.protocol not in ("", "tcp") or one.low is None:
            kept.append(option)
            continue
        start = _choose(one, free, allowed, taken)
        taken.update(range(start, start + one.count))
        mapping += [(start + index, one.inner + index) for index in range(one.count)]
        if start != one.low:
            remarks.append(f"port {one.low} of this machine cannot be used, {option.text} becomes {one.at(start)}")
        kept.append(attrs.evolve(option, value=one.at(start)))
    return Published(tuple(kept), tuple(mapping), tuple(remarks))


@attrs.frozen
class _Spec:
    ip: str
    low: int | None
    inner: int
    count: int
    protocol: str

    @classmethod
    def parse(cls, text: str) -> _Spec | None:
        """None for a port of the container alone: the engine chooses the host's."""
        if _INNER_ONLY.fullmatch(text):
            return None
        match = _PUBLISH.fullmatch(text)
        if match is None:
            raise _unreadable(text)
        inner, last = int(match["inner"]), int(match["last"] or match["inner"])
        low = int(match["low"]) if match["low"] else None
        high = int(match["high"] or match["low"] or 0)
        count = last - inner + 1
        if count < 1 or max(last, high) > 65535 or inner < 1 or low == 0 or (low is not None and high < low):
            raise _unreadable(text)
        if low is not None and high - low + 1 < count:
            raise _unreadable(text)
        return cls(match["ip"] or "", low, inner, count, match["protocol"] or "")

    def at(self, start: int) -> str:
        """The same with the host's ports from ``start``."""
        host, inner = str(start), str(self.inner)
        if self.count > 1:
            host, inner = f"{start}-{start + self.count - 1}", f"{self.inner}-{self.inner + self.count - 1}"
        head = f"{self.ip}:{host}" if self.ip else host
        return f"{head}:{inner}" + (f"/{self.protocol}" if self.protocol else "")


def _choose(one: _Spec, free: FreePorts, allowed: tuple[int, int] | None, taken: set[int]) -> int:
    def usable(start: int) -> bool:
        return all(port not in taken and free.is_free(port) for port in range(start, start + one.count))

    wanted = one.low or 0
    lowest, highest = allowed or (1, 65535)
    if lowest <= wanted and wanted + one.count - 1 <= highest and usable(wanted):
        return wanted
    lowest, highest = allowed or SEARCHED
    for start in range(lowest, highest - one.count + 2):
        if usable(start):
            return start
    raise UserError(
        f"no {one.count} free port(s) between {lowest} and {highest} on this machine",
        remedy="Widen agent.docker_args_allowed_port_range, or publish fewer ports",
        code="no-free-port",
    )


def _unreadable(text: str) -> UserError:
    return UserError(
        f'container arguments: "--publish {printable(text)}" cannot be read',
        remedy="Write it as [ip:]8080:80, 8000-8010:8000-8010 or 8080:80/udp",
        code="container-argument",
    )
