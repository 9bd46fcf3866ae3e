"""The session against scripted answers: login, versions, headers, retries, connections."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from clearml_agent_clone.api.access import ONCE, Retry, Timeout
from clearml_agent_clone.api.errors import (
    CredentialsRefused,
    EndpointMissing,
    InvalidRequest,
    NotClearML,
    ServerBusy,
    ServerUnreachable,
    Subcode,
)
from clearml_agent_clone.api.session import Session
from clearml_agent_clone.errors import Cancelled

from .conftest import (
    START,
    ScriptedServer,
    SessionMaker,
    Time,
    envelope,
    fault,
    hang_up,
    hold,
    jwt,
    login,
    ok,
    page,
    raw,
    token,
)


def test_logs_in_once_with_the_key_pair_and_calls_with_the_token(server: ScriptedServer, session: Session) -> None:
    server.will("tasks.get_by_id", ok(task={"id": "1"}))
    assert session.call("tasks.get_by_id", {"task": "1"}) == {"task": {"id": "1"}}
    assert session.call("tasks.ping", {"task": "1"}) == {}
    first, second, third = server.seen
    assert (first.endpoint, second.endpoint, third.endpoint) == ("auth.login", "tasks.get_by_id", "tasks.ping")
    assert first.headers["authorization"] == "Basic S0VZOlNFQ1JFVA=="
    assert second.headers["authorization"] == f"Bearer {token()}"
    assert second.json == {"task": "1"}
    assert {seen.connection for seen in server.seen} == {1}


def test_headers_name_host_and_agent(server: ScriptedServer, new_session: SessionMaker) -> None:
    new_session(host_name="höst\r\nX: 1").call("tasks.ping")
    headers = server.seen[-1].headers
    assert headers["x-clearml-worker"] == headers["x-trains-worker"] == "h_st__X: 1"
    assert headers["x-clearml-agent"] == headers["x-trains-agent"] == "api-0.1.0"
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("method", ["GET", "POST", "put"])
def test_the_method_is_that_of_the_settings(server: ScriptedServer, new_session: SessionMaker, method: str) -> None:
    new_session(method=method).call("tasks.ping", {"task": "1"})
    assert [seen.method for seen in server.seen] == [method.upper()] * 2
    assert server.seen[-1].json == {"task": "1"}


@pytest.mark.parametrize(
    ("claim", "cap", "version", "path"),
    [
        ("2.34", None, None, "/v2.34/tasks.ping"),
        ("2.9", None, None, "/v2.9/tasks.ping"),
        ("2.40", None, None, "/v2.34/tasks.ping"),
        ("2.34", (2, 13), None, "/v2.13/tasks.ping"),
        ("2.34", None, "2.5", "/v2.5/tasks.ping"),
        (None, None, None, "/tasks.ping"),
        ("nonsense", None, None, "/tasks.ping"),
    ],
)
def test_the_version_in_the_path(
    server: ScriptedServer,
    new_session: SessionMaker,
    *,
    claim: str | None,
    cap: tuple[int, int] | None,
    version: str | None,
    path: str,
) -> None:
    server.will("auth.login", login(api_version=claim))
    new_session(max_api_version=cap).call("tasks.ping", version=version)
    assert [seen.path for seen in server.seen] == ["/auth.login", path]


def test_a_path_before_the_endpoints_is_kept(server: ScriptedServer, new_session: SessionMaker) -> None:
    new_session(url=f"{server.url}/clearml/api/").call("tasks.ping")
    assert [seen.path for seen in server.seen] == ["/clearml/api/auth.login", "/clearml/api/v2.34/tasks.ping"]


def test_what_the_token_tells(server: ScriptedServer, new_session: SessionMaker) -> None:
    identity = {"user": "u1", "user_name": "Ann", "company": "c1"}
    server.will("auth.login", login(extensions=["queues.get_next_task.wait"], identity=identity, feature_set="x"))
    info = new_session().server
    assert info.api_version == (2, 34)
    assert info.speaks(2, 9)
    assert not info.speaks(2, 35)
    assert info.extensions == {"queues.get_next_task.wait"}
    assert (info.server_version, info.feature_set, info.user, info.company) == ("2.3.0", "x", "u1", "c1")


@pytest.mark.parametrize("text", ["opaque", "a.b.c", "..", jwt(identity=[], extensions=3, exp="soon", iat=True)])
def test_a_token_that_tells_nothing_still_works(server: ScriptedServer, session: Session, text: str) -> None:
    server.will("auth.login", ok(token=text))
    session.call("tasks.ping")
    assert server.seen[-1].headers["authorization"] == f"Bearer {text}"
    assert session.server.api_version == (0, 0)


# --- renewal -----------------------------------------------------------------------------------------------------


def test_a_401_is_answered_with_one_login_and_the_call_again(server: ScriptedServer, session: Session) -> None:
    server.will("tasks.ping", fault(401, 30, "expired"))
    session.call("tasks.ping")
    assert [seen.endpoint for seen in server.seen] == ["auth.login", "tasks.ping", "auth.login", "tasks.ping"]


def test_a_second_401_is_an_error(server: ScriptedServer, session: Session) -> None:
    server.usual["tasks.ping"] = fault(401, 30, "revoked")
    with pytest.raises(CredentialsRefused, match=r"does not accept the key pair: revoked \(code 401/30\)"):
        session.call("tasks.ping")
    assert len(server.seen) == 4


def test_threads_that_meet_a_401_together_log_in_once(server: ScriptedServer, new_session: SessionMaker) -> None:
    session = new_session()
    session.login()
    old, new = token(), token(jti="new")
    server.usual["auth.login"] = ok(token=new)
    together = threading.Barrier(6)

    def refuse_the_old(handler: Any) -> None:
        if handler.headers["Authorization"] == f"Bearer {old}":
            together.wait(10)  # all six have been sent with the old token before the first is refused
            fault(401, 30)(handler)
        else:
            ok()(handler)

    server.usual["tasks.ping"] = refuse_the_old
    threads = [threading.Thread(target=session.call, args=("tasks.ping",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.calls("auth.login")) == 2
    assert len(server.calls("tasks.ping")) == 12


def test_a_token_is_renewed_before_its_end(server: ScriptedServer, session: Session, time: Time) -> None:
    session.call("tasks.ping")
    time.now = START + 29 * 86400
    session.call("tasks.ping")
    assert len(server.calls("auth.login")) == 1
    time.now = START + 29.5 * 86400
    session.call("tasks.ping")
    assert len(server.calls("auth.login")) == 2


def test_short_tokens_do_not_cause_a_login_per_call(server: ScriptedServer, session: Session, time: Time) -> None:
    server.usual["auth.login"] = login(3600)
    for minute in range(0, 29, 2):
        time.now = START + minute * 60
        session.call("tasks.ping")
    assert len(server.calls("auth.login")) == 1
    time.now = START + 1800
    session.call("tasks.ping")
    assert len(server.calls("auth.login")) == 2


def test_the_servers_clock_may_differ(server: ScriptedServer, session: Session, time: Time) -> None:
    time.now = START + 40 * 86400
    session.call("tasks.ping")
    session.call("tasks.ping")
    assert len(server.calls("auth.login")) == 1


def test_a_renewal_that_fails_lets_the_old_token_go_on(server: ScriptedServer, session: Session, time: Time) -> None:
    server.will("auth.login", login(3600), fault(503), fault(401, 22))
    session.call("tasks.ping")
    time.now = START + 2000
    session.call("tasks.ping")
    session.call("tasks.ping")
    time.now = START + 2061
    session.call("tasks.ping")
    session.call("tasks.ping")
    assert len(server.calls("auth.login")) == 3
    assert len(server.calls("tasks.ping")) == 5
    assert time.waits == []


def test_a_token_that_never_ends_is_not_renewed(server: ScriptedServer, session: Session, time: Time) -> None:
    server.usual["auth.login"] = login(None)
    session.call("tasks.ping")
    time.now += 1e9
    session.call("tasks.ping")
    assert len(server.calls("auth.login")) == 1


def test_login_with_a_token_renews_it_with_itself(server: ScriptedServer, new_session: SessionMaker) -> None:
    session = new_session(token="given", access_key="", secret_key="")
    server.will("tasks.ping", fault(401, 30))
    session.call("tasks.ping")
    sent = [seen.headers["authorization"] for seen in server.seen]
    assert sent == ["Bearer given", f"Bearer {token()}", f"Bearer {token()}", f"Bearer {token()}"]
    assert session.token == token()


def test_the_lifetime_asked_for(server: ScriptedServer, new_session: SessionMaker) -> None:
    new_session(requested_lifetime=600).login()
    assert server.seen[0].json == {"expiration_sec": 600}


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [fault(401, 22, "unknown key"), fault(403, 20, "unknown key")])
def test_refused_credentials(server: ScriptedServer, session: Session, answer: Callable[[Any], None]) -> None:
    server.usual["auth.login"] = answer
    with pytest.raises(CredentialsRefused) as caught:
        session.call("tasks.ping")
    assert "unknown key" in caught.value.message
    assert "api.credentials" in caught.value.remedy
    assert "SECRET" not in str(caught.value)
    assert len(server.seen) == 1


def test_no_credentials_are_told_without_asking_the_server(server: ScriptedServer, new_session: SessionMaker) -> None:
    for options, name in (({"access_key": ""}, "access_key"), ({"secret_key": ""}, "secret_key")):
        with pytest.raises(CredentialsRefused, match=f"api.credentials.{name} is not set") as caught:
            new_session(**options).login()
        assert caught.value.code == "credentials-missing"
    assert server.seen == []


def test_a_login_without_a_token(server: ScriptedServer, session: Session) -> None:
    server.usual["auth.login"] = ok()
    with pytest.raises(CredentialsRefused) as caught:
        session.login()
    assert caught.value.code == "login-without-token"


def test_a_missing_endpoint(server: ScriptedServer, session: Session) -> None:
    server.usual["workers.get_runtime_properties"] = fault(404, 0, "Unable to find endpoint")
    with pytest.raises(EndpointMissing, match=r"has no workers\.get_runtime_properties: Unable to find endpoint"):
        session.call("workers.get_runtime_properties")


def test_an_invalid_request_keeps_the_servers_words(server: ScriptedServer, session: Session, time: Time) -> None:
    server.usual["tasks.started"] = fault(400, 110, "Task  cannot be\nstarted")
    with pytest.raises(InvalidRequest) as caught:
        session.call("tasks.started")
    error = caught.value
    assert (error.endpoint, error.status, error.subcode) == ("tasks.started", 400, 110)
    assert error.server_message == "Task cannot be started"
    assert error.is_about(Subcode.STATUS_FORBIDS)
    assert not error.is_about(Subcode.NO_SUCH_TASK)
    assert str(error) == "tasks.started was refused: Task cannot be started (code 400/110)"
    assert time.waits == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (page(200), "HTTP 200, text/html"),
        (page(404), "HTTP 404, text/html"),
        (page(301, Location="https://user:pass@api.example.com/x"), "sends us to https://api.example.com;"),
        (lambda handler: handler.reply(200, b'{"meta": '), "HTTP 200, application/json"),
        (lambda handler: handler.reply(200, b"[1]"), "HTTP 200, application/json"),
        (lambda handler: handler.reply(200, b'{"meta": {"result_code": "200"}}'), "application/json"),
        (lambda handler: handler.reply(200, b"[" * 100_000), "application/json"),
        (lambda handler: handler.reply(200, b""), "application/json"),
    ],
)
def test_something_else_answers(
    server: ScriptedServer, session: Session, answer: Callable[[Any], None], words: str, time: Time
) -> None:
    server.usual["auth.login"] = answer
    with pytest.raises(NotClearML) as caught:
        session.login()
    assert words in str(caught.value)
    assert "user" not in str(caught.value)
    assert time.waits == []


def test_a_request_that_is_too_large_for_the_proxy(server: ScriptedServer, session: Session) -> None:
    server.usual["events.add_batch"] = page(413)
    with pytest.raises(InvalidRequest, match="max_req_size"):
        session.call("events.add_batch")


@pytest.mark.parametrize("data", [None, [], 1, "x"])
def test_data_of_another_kind_is_no_data(server: ScriptedServer, session: Session, data: object) -> None:
    server.usual["tasks.ping"] = lambda handler: handler.reply(
        200, json.dumps({"meta": {"result_code": 200}, "data": data}).encode()
    )
    assert session.call("tasks.ping") == {}


# --- retries -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504, 509])
def test_what_passes_is_repeated(server: ScriptedServer, session: Session, time: Time, status: int) -> None:
    server.will("tasks.started", fault(status), page(status), ok(updated=1))
    assert session.call("tasks.started") == {"updated": 1}
    assert len(time.waits) == 2
    assert 0 <= time.waits[0] <= 0.5
    assert 0 <= time.waits[1] <= 1.0


@pytest.mark.parametrize("status", [500, 501])
def test_a_broken_server_is_not_asked_again(server: ScriptedServer, session: Session, time: Time, status: int) -> None:
    server.usual["tasks.started"] = fault(status, 100, "data error")
    with pytest.raises(ServerBusy, match=f"HTTP {status}: data error"):
        session.call("tasks.started")
    assert time.waits == []


def test_retries_end(server: ScriptedServer, new_session: SessionMaker, time: Time) -> None:
    server.usual["tasks.ping"] = fault(503, message="later")
    with pytest.raises(ServerBusy, match="later"):
        new_session(retry=Retry(attempts=5)).call("tasks.ping")
    assert len(server.calls("tasks.ping")) == 5
    assert len(time.waits) == 4


def test_retries_end_when_their_time_is_over(server: ScriptedServer, new_session: SessionMaker, time: Time) -> None:
    server.usual["tasks.ping"] = fault(503, headers={"Retry-After": "20"})
    with pytest.raises(ServerBusy):
        new_session(retry=Retry(attempts=1000, total=70.0)).call("tasks.ping")
    assert len(time.waits) == 3


def test_the_server_may_ask_for_a_pause(server: ScriptedServer, session: Session, time: Time) -> None:
    server.will("tasks.ping", fault(503, headers={"Retry-After": "7"}))
    session.call("tasks.ping")
    assert 7.0 <= time.waits[0] <= 8.0


@pytest.mark.parametrize(
    ("value", "pauses"), [("Wed, 21 Oct 2015 07:28:00 GMT", True), ("soon", False), ("99999999", None)]
)
def test_a_pause_as_a_date_or_as_nonsense(
    server: ScriptedServer, session: Session, time: Time, value: str, pauses: bool | None
) -> None:
    server.will("tasks.ping", fault(503, headers={"Retry-After": value}))
    if pauses is None:
        with pytest.raises(ServerBusy):
            session.call("tasks.ping")
    else:
        session.call("tasks.ping")
        assert time.waits[0] <= 1.0


def test_stop_ends_the_retries_with_their_error(server: ScriptedServer, session: Session, time: Time) -> None:
    server.usual["tasks.ping"] = fault(503, message="busy")
    time.stop_at = 2
    with pytest.raises(ServerBusy, match="busy"):
        session.call("tasks.ping")
    assert len(server.calls("tasks.ping")) == 2


def test_stop_interrupts_a_pause_that_has_begun(server: ScriptedServer) -> None:
    from clearml_agent_clone.api.access import ServerAccess

    stop = threading.Event()
    server.usual["auth.login"] = fault(503, headers={"Retry-After": "60"})
    with Session(ServerAccess(server.url, "K", "S"), stop=stop) as session:
        threading.Timer(0.05, stop.set).start()
        with pytest.raises(ServerBusy):
            session.login()


def test_one_time_calls_are_not_repeated_when_the_server_may_have_acted(
    server: ScriptedServer, session: Session, time: Time
) -> None:
    session.login()
    for endpoint in ("tasks.clone", "tasks.create", "queues.get_next_task"):
        for answer in (hang_up, fault(502), fault(504)):
            server.close_all()
            server.will(endpoint, answer)
            with pytest.raises((ServerUnreachable, ServerBusy)) as caught:
                session.call(endpoint)
            assert isinstance(caught.value, ServerUnreachable | ServerBusy)
            assert caught.value.may_have_acted
    assert time.waits == []


def test_one_time_calls_are_repeated_when_it_has_not(server: ScriptedServer, session: Session, time: Time) -> None:
    server.will("tasks.clone", fault(503), fault(429), ok(id="1"))
    assert session.call("tasks.clone") == {"id": "1"}
    assert len(time.waits) == 2


def test_a_login_that_fails_does_not_make_a_call_ambiguous(
    server: ScriptedServer, session: Session, time: Time
) -> None:
    server.will("auth.login", hang_up, fault(504))
    session.call("tasks.clone")
    assert len(server.calls("auth.login")) == 3
    assert len(server.calls("tasks.clone")) == 1


def test_a_one_time_call_can_be_declared_repeatable(server: ScriptedServer, session: Session) -> None:
    server.will("queues.get_next_task", hang_up, ok(entry={"task": "1"}))
    assert session.call("queues.get_next_task", {"claim": "c"}, repeatable=True) == {"entry": {"task": "1"}}


# --- connections -------------------------------------------------------------------------------------------------


def test_a_kept_connection_that_the_server_drops_is_replaced(
    server: ScriptedServer, session: Session, time: Time
) -> None:
    session.call("tasks.ping")
    server.will("tasks.ping", hang_up)  # as if it closed the idle connection while the request was under way
    session.call("tasks.ping")
    assert time.waits == []
    assert [seen.connection for seen in server.calls("tasks.ping")] == [1, 1, 2]


def test_a_kept_connection_that_was_closed_before_is_replaced(
    server: ScriptedServer, session: Session, time: Time
) -> None:
    session.call("tasks.ping")
    server.close_all()
    session.call("tasks.ping")
    assert time.waits == []
    assert [seen.connection for seen in server.calls("tasks.ping")] == [1, 2]


def test_a_new_connection_that_is_dropped_is_a_failure(server: ScriptedServer, session: Session, time: Time) -> None:
    server.will("auth.login", hang_up, hang_up)
    session.login()
    assert len(time.waits) == 2


def test_a_first_login_has_less_patience_than_a_call(server: ScriptedServer, session: Session, time: Time) -> None:
    server.usual["auth.login"] = fault(503)
    for use, waits in ((session.login, 4), (lambda: session.server, 7), (lambda: session.token, 7)):
        time.waits.clear()
        with pytest.raises(ServerBusy):
            use()
        assert len(time.waits) == waits


def test_a_dropped_connection_stays_in_doubt_when_no_new_one_comes(server: ScriptedServer, session: Session) -> None:
    def die(handler: Any) -> None:
        server.shutdown()
        server.server_close()
        hang_up(handler)

    session.call("tasks.ping")
    server.will("tasks.ping", die)
    with pytest.raises(ServerUnreachable) as caught:
        session.call("tasks.ping", retry=ONCE)
    assert caught.value.code == "connection-refused"
    assert caught.value.may_have_acted  # the first sending may have got through


def test_adding_calls_use_a_connection_of_their_own(server: ScriptedServer, session: Session) -> None:
    session.call("tasks.ping")
    session.call("tasks.clone")
    session.call("tasks.ping")
    assert [seen.connection for seen in server.seen] == [1, 1, 2, 1]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n" + envelope(200),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200",
        b"\x00\xff\xfe rubbish\r\n\r\n",
    ],
)
def test_a_broken_answer_is_repeated(server: ScriptedServer, session: Session, time: Time, answer: bytes) -> None:
    server.will("tasks.ping", raw(answer), raw(answer), ok(done=1))
    assert session.call("tasks.ping") == {"done": 1}
    assert len(time.waits) == 2
    server.usual["tasks.ping"] = raw(answer)
    with pytest.raises(ServerUnreachable) as caught:
        session.call("tasks.ping", retry=ONCE)
    assert caught.value.code == "connection-lost"
    assert caught.value.may_have_acted


def test_a_huge_answer_arrives_whole(server: ScriptedServer, session: Session) -> None:
    text = "x" * 20_000_000
    server.will("tasks.get_by_id", ok(diff=text))
    assert session.call("tasks.get_by_id")["diff"] == text


def test_an_endless_answer_is_given_up(
    server: ScriptedServer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearml_agent_clone.api.transport._LARGEST_ANSWER", 1_000_000)

    def endless(handler: Any) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        while True:
            handler.wfile.write(b"x" * 65536)

    server.will("tasks.ping", endless)
    with pytest.raises(ServerUnreachable, match="larger than 1000000 bytes"):
        session.call("tasks.ping", retry=ONCE)


def test_a_compressed_answer_is_read(server: ScriptedServer, session: Session) -> None:
    body = gzip.compress(envelope(200, {"a": 1}))
    server.will("tasks.ping", lambda handler: handler.reply(200, body, {"Content-Encoding": "gzip"}))
    assert session.call("tasks.ping") == {"a": 1}
    assert "gzip" in server.seen[-1].headers["accept-encoding"]


def test_a_slow_answer_times_out(server: ScriptedServer, session: Session) -> None:
    begun, until = threading.Event(), threading.Event()
    server.will("tasks.ping", hold(begun, until))
    session.login()
    with pytest.raises(ServerUnreachable, match=r"did not answer within 0\.05 s") as caught:
        session.call("tasks.ping", timeout=Timeout(1, 0.05), retry=ONCE)
    until.set()
    assert caught.value.code == "read-timeout"


def test_threads_share_the_connections(server: ScriptedServer, session: Session) -> None:
    session.login()
    results: list[dict[str, Any]] = []

    def work(number: int) -> None:
        results.extend(session.call("debug.echo", {"number": number}) for _ in range(20))

    server.usual["debug.echo"] = lambda handler: handler.reply(200, envelope(200, json.loads(handler.body)))
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result["number"] for result in results) == sorted(list(range(4)) * 20)
    assert server.connections <= 4


# --- giving up a held call ---------------------------------------------------------------------------------------


def _held(session: Session, server: ScriptedServer) -> tuple[threading.Thread, list[BaseException], threading.Event]:
    begun, until = threading.Event(), threading.Event()
    server.will("queues.get_next_task", hold(begun, until))
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            session.call("queues.get_next_task", {"wait": 60}, timeout=Timeout(5, 70), interruptible=True)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(5)
    return thread, errors, until


def test_interrupt_gives_up_a_held_call_at_once(server: ScriptedServer, session: Session) -> None:
    session.login()
    thread, errors, until = _held(session, server)
    session.interrupt()
    thread.join(0.3)
    assert not thread.is_alive()
    until.set()
    assert [type(error) for error in errors] == [Cancelled]
    session.call("tasks.ping")  # the session is as good as before


def test_stop_gives_up_a_held_call_at_once(server: ScriptedServer, new_session: SessionMaker) -> None:
    stop = threading.Event()
    session = new_session(stop=stop)
    thread, errors, until = _held(session, server)
    stop.set()
    thread.join(0.3)
    assert not thread.is_alive()
    until.set()
    assert [type(error) for error in errors] == [Cancelled]
    with pytest.raises(Cancelled):
        session.call("queues.get_next_task", interruptible=True)
    assert len(server.calls("queues.get_next_task")) == 1
    session.call("workers.unregister", {"worker": "w"})  # a stopping agent still says goodbye


def test_stop_gives_up_what_hangs_soon_and_lets_what_follows_through(
    server: ScriptedServer, new_session: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearml_agent_clone.api.session._STOP_GRACE", 0.2)
    stop, begun, until = threading.Event(), threading.Event(), threading.Event()
    session = new_session(stop=stop)
    server.will("tasks.started", hold(begun, until))
    failed: list[ServerUnreachable] = []

    def start() -> None:
        with pytest.raises(ServerUnreachable) as caught:
            session.call("tasks.started", retry=ONCE)
        failed.append(caught.value)

    thread = threading.Thread(target=start)
    thread.start()
    assert begun.wait(10)
    stop.set()
    thread.join(5)
    until.set()
    assert failed[0].may_have_acted
    session.call("tasks.stopped", retry=ONCE)  # goodbye
    assert len(server.calls("tasks.stopped")) == 1


def test_a_socket_that_serves_another_call_again_is_out_of_reach() -> None:
    from clearml_agent_clone.api.exchange import Exchange

    ours, theirs = socket.socketpair()
    exchange = Exchange()
    exchange.attach(ours)
    exchange.detach()
    exchange.abandon()
    theirs.sendall(b"x")
    assert ours.recv(1) == b"x"
    exchange.attach(ours)
    assert ours.recv(1) == b""
    ours.close()
    theirs.close()


def test_interrupt_leaves_other_calls_alone(server: ScriptedServer, session: Session) -> None:
    session.login()
    begun, until = threading.Event(), threading.Event()
    server.will("tasks.completed", hold(begun, until, ok(updated=1)))
    answers: list[dict[str, Any]] = []
    other = threading.Thread(target=lambda: answers.append(session.call("tasks.completed")))
    other.start()
    assert begun.wait(5)
    thread, _, held = _held(session, server)
    session.interrupt()
    thread.join(0.3)
    assert not thread.is_alive()
    until.set()
    held.set()
    other.join(5)
    assert answers == [{"updated": 1}]


# --- lines -------------------------------------------------------------------------------------------------------


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
