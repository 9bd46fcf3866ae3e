"""Servers that cannot be reached: each kind has its own words, its own remedy, and no secret in either."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from clearml_agent_clone.api.access import ONCE, ServerAccess, Timeout
from clearml_agent_clone.api.errors import NotClearML, ServerUnreachable
from clearml_agent_clone.api.session import Session
from clearml_agent_clone.errors import Cancelled, UserError

from .conftest import ScriptedServer, Time, hang_up, hold, serving


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def _failure(url: str, *, connect: float = 2.0, time: Time | None = None, **options: object) -> ServerUnreachable:
    waits = time or Time()
    access = ServerAccess(url, "KEY", "SECRET", login_timeout=Timeout(connect, 0.3), **options)  # type: ignore[arg-type]  # options of any kind
    with Session(access, wait=waits.wait) as session, pytest.raises(ServerUnreachable) as caught:
        session.login(retry=None if time else ONCE)
    return caught.value


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_nobody_listens(time: Time) -> None:
    port = _free_port()
    error = _failure(f"http://127.0.0.1:{port}", time=time)
    assert error.code == "connection-refused"
    assert error.message == f"http://127.0.0.1:{port} refused the connection"
    assert not error.may_have_acted
    assert len(time.waits) == 4


def test_the_name_is_unknown() -> None:
    error = _failure("http://user:password@no-such-host.invalid:8008")
    assert error.code == "host-unknown"
    assert error.message.startswith("the name of http://no-such-host.invalid:8008 cannot be resolved")
    assert "password" not in str(error)
    assert "password" not in repr(error.__cause__)


@pytest.mark.parametrize("host", ["h" * 64, "*.example.com"])
def test_a_host_that_cannot_be(host: str) -> None:
    with Session(ServerAccess(f"http://{host}:8008", "K", "S")) as session, pytest.raises(UserError) as caught:
        session.login()
    assert caught.value.code == "api-server-invalid"


def test_what_the_caller_was_about_has_no_part_in_the_failure(server: ScriptedServer) -> None:
    access = ServerAccess(server.url, "K", "S", timeout=Timeout(1, 0.05))
    begun, until = threading.Event(), threading.Event()
    server.will("tasks.ping", hold(begun, until), hold(begun, until))
    with Session(access) as session:
        session.login()
        try:
            raise ConnectionResetError  # noqa: TRY301 - the caller's own trouble, which is being handled
        except ConnectionResetError:
            with pytest.raises(ServerUnreachable) as caught:
                session.call("tasks.ping", retry=ONCE)
        until.set()
    assert caught.value.code == "read-timeout"
    assert len(server.calls("tasks.ping")) == 1


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        error = _failure(f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert error.code == "read-timeout"
    assert error.message.endswith("did not answer within 0.3 s")


def test_the_connection_is_swallowed() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(4):  # a full backlog drops further connections, as a firewall does
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        error = _failure(f"http://127.0.0.1:{listener.getsockname()[1]}", connect=0.2)
        for filler in fillers:
            filler.close()
    assert error.code == "connect-timeout"
    assert "within 0.2 s" in error.message
    assert not error.may_have_acted


@pytest.mark.parametrize(
    ("port", "words"), [(8080, "8080 is the port of the web server"), (8081, "8081 is the port of the files server")]
)
def test_the_port_of_another_server_is_known(port: int, words: str) -> None:
    from clearml_agent_clone.api.answers import read_answer
    from clearml_agent_clone.api.transport import Answer

    page = Answer(200, {"content-type": "text/html"}, b"<html>")
    with pytest.raises(NotClearML, match=words):
        read_answer(page, "auth.login", ServerAccess(f"http://host:{port}"))


# --- TLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "cert.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(path), "-out", str(path.with_suffix(".crt"))),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[ScriptedServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(ScriptedServer(context)) as running:
        yield running


def test_an_unknown_certificate_is_told_and_not_tried_again(tls_server: ScriptedServer, time: Time) -> None:
    error = _failure(tls_server.url, time=time)
    assert error.code == "certificate-untrusted"
    assert "api.verify_certificate" in error.remedy
    assert time.waits == []
    assert not error.may_have_acted


@pytest.mark.parametrize("how", ["file", "variable", "off"])
def test_the_certificate_can_be_made_known(
    tls_server: ScriptedServer, certificate: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = certificate.with_suffix(".crt")
    if how == "variable":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    choices: dict[str, bool | Path] = {"file": authority, "variable": True, "off": False}
    with warnings.catch_warnings(), Session(ServerAccess(tls_server.url, "K", "S", verify=choices[how])) as session:
        session.call("tasks.ping")
        session.call("tasks.ping")
    assert len({seen.connection for seen in tls_server.seen}) == 1


def test_a_held_call_over_tls_is_given_up_at_once(tls_server: ScriptedServer) -> None:
    begun, until = threading.Event(), threading.Event()
    tls_server.will("queues.get_next_task", hold(begun, until))
    ended: list[str] = []
    with warnings.catch_warnings(), Session(ServerAccess(tls_server.url, "K", "S", verify=False)) as session:

        def wait() -> None:
            try:
                session.call("queues.get_next_task", interruptible=True)
            except Cancelled:
                ended.append("cancelled")

        thread = threading.Thread(target=wait)
        thread.start()
        assert begun.wait(5)
        session.interrupt()
        thread.join(0.3)
        assert not thread.is_alive()
        until.set()
    assert ended == ["cancelled"]


def test_tls_to_a_plain_server(server: ScriptedServer) -> None:
    error = _failure(server.url.replace("http:", "https:"))
    assert error.code == "tls-failed"
    assert "http://" in error.remedy


@pytest.mark.parametrize("content", [None, "nothing of the kind"])
def test_a_ca_file_that_is_none(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    with Session(ServerAccess("https://127.0.0.1:1", "K", "S", verify=path)) as session:
        with pytest.raises(UserError, match=r'api\.verify_certificate "[^"]*ca\.pem" cannot be used') as caught:
            session.login()
        assert caught.value.code == "ca-invalid"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_variable_that_names_no_ca_file(tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "ca.pem"))
    words = f'{variable}.* "[^"]*ca\\.pem" cannot be used as CA file: it does not exist'
    session = Session(ServerAccess("https://127.0.0.1:1", "K", "S"))
    with session, pytest.raises(UserError, match=words):
        session.login()


def test_only_the_authority_that_the_configuration_names_counts(
    tls_server: ScriptedServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import certifi

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.with_suffix(".crt")))
    assert _failure(tls_server.url, verify=Path(certifi.where())).code == "certificate-untrusted"


def test_a_kept_connection_over_tls_that_the_server_drops_is_replaced(tls_server: ScriptedServer, time: Time) -> None:
    with warnings.catch_warnings():
        access = ServerAccess(tls_server.url, "K", "S", verify=False)
        with Session(access, wait=time.wait) as session:
            session.call("tasks.ping")
            tls_server.will("tasks.ping", hang_up)
            session.call("tasks.ping")
    assert time.waits == []
    assert [seen.connection for seen in tls_server.calls("tasks.ping")] == [1, 1, 2]


# --- proxies -----------------------------------------------------------------------------------------------------


def test_plain_http_goes_through_the_proxy(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url.replace("//", "//me:pass%40word@"))
    with Session(ServerAccess("http://clearml.invalid:8008/api", "K", "S")) as session:
        session.call("tasks.ping")
    assert [seen.path for seen in server.seen] == [
        "http://clearml.invalid:8008/api/auth.login",
        "http://clearml.invalid:8008/api/v2.34/tasks.ping",
    ]
    assert server.seen[0].headers["host"] == "clearml.invalid:8008"
    assert server.seen[0].headers["proxy-authorization"] == "Basic bWU6cGFzc0B3b3Jk"


def test_a_proxy_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:password@127.0.0.1:{_free_port()}")
    error = _failure("https://clearml.invalid")
    assert error.code == "proxy-failed"
    assert "password" not in str(error)
    assert "HTTPS_PROXY" in error.remedy


def test_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:password@127.0.0.1:1080")
    with Session(ServerAccess("http://clearml.invalid", "K", "S")) as session, pytest.raises(UserError) as caught:
        session.login()
    assert caught.value.code == "proxy-invalid"
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["http://", "http://h:port", "http://[::1"])
def test_a_proxy_that_is_no_url(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with Session(ServerAccess("http://clearml.invalid", "K", "S")) as session, pytest.raises(UserError) as caught:
        session.login()
    assert caught.value.code == "proxy-invalid"


def test_a_held_call_through_a_proxy_is_given_up_at_once(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    begun, until = threading.Event(), threading.Event()
    server.will("queues.get_next_task", hold(begun, until))
    with Session(ServerAccess("http://clearml.invalid", "K", "S")) as session:

        def interrupt() -> None:
            assert begun.wait(5)
            session.interrupt()

        other = threading.Thread(target=interrupt)
        other.start()
        begin = monotonic()
        with pytest.raises(Cancelled):
            session.call("queues.get_next_task", interruptible=True)
        assert monotonic() - begin < 2.0  # without being seen in the proxy's connections it would be the timeout
        other.join()
    until.set()


# --- habits of requests that would harm --------------------------------------------------------------------------


def test_no_netrc_takes_the_place_of_our_credentials(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with Session(ServerAccess(server.url, "KEY", "SECRET")) as session:
        session.call("tasks.ping")
        assert server.seen[0].headers["authorization"] == "Basic S0VZOlNFQ1JFVA=="
        assert server.seen[1].headers["authorization"] == f"Bearer {session.token}"


def test_no_redirect_is_followed_and_no_cookie_kept(server: ScriptedServer) -> None:
    cookie = {"Location": f"{server.url}/elsewhere", "Set-Cookie": "a=b"}
    server.will("tasks.ping", lambda handler: handler.reply(302, b"", cookie))
    with Session(ServerAccess(server.url, "KEY", "SECRET")) as session:
        with pytest.raises(ServerUnreachable) as caught:
            session.call("tasks.ping", retry=ONCE)
        assert caught.value.code == "wrong-answer"
        session.call("tasks.ping")
    assert [seen.endpoint for seen in server.seen] == ["auth.login", "tasks.ping", "tasks.ping"]
    assert "cookie" not in server.seen[-1].headers
