"""JSON lines in as many requests as they need."""

from __future__ import annotations

import pytest

from clearml_agent_clone.api.errors import (
    InvalidRequest,
    ServerBusy,
    ServerUnreachable,
)
from clearml_agent_clone.api.session import Session

from .conftest import (
    ScriptedServer,
    SessionMaker,
    Time,
    fault,
    hang_up,
    ok,
)


def test_lines_are_cut_at_the_largest_request(server: ScriptedServer, new_session: SessionMaker) -> None:
    lines = [b'{"n":%d}' % number for number in range(10)]
    long = b'{"long":"%s"}' % (b"x" * 50)
    server.will(
        "events.add_batch",
        ok(added=2, errors=1, errors_info={"bad": 1}),
        ok(added=3, errors=0, errors_info={"bad": 2, "worse": 1}),
    )
    server.usual["events.add_batch"] = ok(added=1)
    acknowledged: list[int] = []
    total = new_session(max_request_size=26).send_lines(
        "events.add_batch", [*lines[:4], long, *lines[4:]], acknowledged=acknowledged.append
    )
    sent = server.calls("events.add_batch")
    assert [seen.body for seen in sent] == [
        b"\n".join(lines[:3]),
        lines[3],
        long,
        b"\n".join(lines[4:7]),
        b"\n".join(lines[7:10]),
    ]
    assert all(seen.headers["content-type"] == "application/json-lines" for seen in sent)
    assert all(len(seen.body) <= 26 or seen.body == long for seen in sent)
    assert total == {"added": 8, "errors": 1, "errors_info": {"bad": 3, "worse": 1}}
    assert acknowledged == [3, 1, 1, 3, 3]


def test_lines_that_may_have_arrived_are_not_sent_again(server: ScriptedServer, session: Session, time: Time) -> None:
    for answer in (fault(504), hang_up):
        server.will("events.add_batch", fault(503), answer)
        with pytest.raises((ServerBusy, ServerUnreachable)):
            session.send_lines("events.add_batch", [b"{}"])
    assert len(server.calls("events.add_batch")) == 4
    assert len(time.waits) == 2


def test_no_lines_are_no_request(server: ScriptedServer, session: Session) -> None:
    assert session.send_lines("events.add_batch", []) == {}
    assert server.seen == []


def test_what_was_acknowledged_before_an_error_is_known(server: ScriptedServer, new_session: SessionMaker) -> None:
    server.will("events.add_batch", ok(added=1), fault(400, 131, "none added"))
    acknowledged: list[int] = []
    with pytest.raises(InvalidRequest):
        new_session(max_request_size=4).send_lines("events.add_batch", [b"{}", b"{}"], acknowledged=acknowledged.append)
    assert acknowledged == [1]
