"""The files port over HTTP: storing, giving out, deleting, and attacks."""

from __future__ import annotations

import http.client
import io
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests

from clearml_agent_clone.server.embedded import running_server

Url = str


@pytest.fixture
def root(shared_server: Any) -> Path:
    """The folder of the files."""
    found: Path = shared_server.state.config.files_dir
    return found


@pytest.fixture
def url(shared_server: Any, request: pytest.FixtureRequest) -> Url:
    """A folder of this test's own on the files port."""
    return f"{shared_server.files_url}/{request.node.name.partition('[')[0]}"


def stored(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def token(server: Any) -> str:
    found: str = server.call("auth.login")["token"]
    return found


def raw_get(server: Any, target: str) -> tuple[int, bytes]:
    """GET a target as it stands, where requests would tidy it up."""
    connection = http.client.HTTPConnection(urlsplit(server.files_url).netloc, timeout=30)
    connection.putrequest("GET", target, skip_accept_encoding=True)
    connection.putheader("Authorization", f"Bearer {token(server)}")
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_form(shared_server: Any, url: Url, root: Path) -> None:
    files = {"test_form/a/b.txt": ("x", b"hello"), "/test_form/c.bin": ("y", b"\x00" * 3_000_000)}
    answer = shared_server.http.post(shared_server.files_url, files=files, data={"ignored": "field"})
    assert answer.json() == ["test_form/a/b.txt", "test_form/c.bin"]
    assert shared_server.http.get(f"{url}/a/b.txt").content == b"hello"
    assert shared_server.http.get(f"{url}/c.bin").content == b"\x00" * 3_000_000
    assert (root / "test_form/a/b.txt").stat().st_mode & 0o777 == 0o600


def test_put(shared_server: Any, url: Url) -> None:
    for content in (b"one", b"", b"three"):
        assert shared_server.http.put(f"{url}/x", data=content).status_code == 200
        assert shared_server.http.get(f"{url}/x").content == content


@pytest.mark.parametrize(
    "name", ["with space", "ünïcødé-漢字", "100%25", "a+b&c=d", "quote'", "semi;colon", "%41", "#"]
)
def test_names(shared_server: Any, url: Url, name: str) -> None:
    quoted = quote(name, safe="")
    assert shared_server.http.put(f"{url}/{quoted}", data=name.encode()).status_code == 200
    assert shared_server.http.get(f"{url}/{quoted}").content == name.encode()
    form = {f"test_names/form/{name}": ("x", name.encode())}
    assert shared_server.http.post(shared_server.files_url, files=form).status_code == 200
    assert shared_server.http.get(f"{url}/form/{quoted}").content == name.encode()


def test_ranges_and_head(shared_server: Any, url: Url) -> None:
    shared_server.http.put(f"{url}/x.txt", data=b"0123456789")
    answer = shared_server.http.get(f"{url}/x.txt", headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.content, answer.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert shared_server.http.get(f"{url}/x.txt", headers={"Range": "bytes=-3"}).content == b"789"
    assert shared_server.http.get(f"{url}/x.txt", headers={"Range": "bytes=20-"}).status_code == 416
    answer = shared_server.http.head(f"{url}/x.txt")
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "10", b"")
    assert shared_server.http.head(f"{url}/y.txt").status_code == 404


@pytest.mark.parametrize(
    ("name", "kind", "disposition"),
    [
        ("x.png", "image/png", "inline"),
        ("x.json", "application/json", "inline"),
        ("x.log", "text/plain; charset=utf-8", "inline"),
        ("x.html", "text/html; charset=utf-8", "attachment"),
        ("x.xhtml", "application/xhtml+xml", "attachment"),
        ("x.svg", "image/svg+xml", "attachment"),
        ("x.js", "text/javascript; charset=utf-8", "attachment"),
        ("x.pdf", "application/pdf", "attachment"),
        ("x.unknown", "application/octet-stream", "attachment"),
        ("x.json.gz", "application/gzip", "attachment"),
    ],
)
def test_a_browser_gets_nothing_that_acts(shared_server: Any, url: Url, name: str, kind: str, disposition: str) -> None:
    shared_server.http.put(f"{url}/{name}", data=b"<script>alert(1)</script>")
    answer = shared_server.http.get(f"{url}/{name}")
    assert answer.headers["content-type"] == kind
    assert answer.headers["content-disposition"] == f'{disposition}; filename="{name}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    answer = shared_server.http.get(f"{url}/{name}?download=1")
    assert answer.headers["content-disposition"].startswith("attachment;")


def test_delete(shared_server: Any, url: Url, root: Path) -> None:
    shared_server.http.put(f"{url}/a/b/c", data=b"x")
    shared_server.http.put(f"{url}/a/d", data=b"x")
    assert shared_server.http.delete(f"{url}/a/b/c").json() == "test_delete/a/b/c"
    assert not (root / "test_delete/a/b").exists()
    assert (root / "test_delete/a/d").exists()
    assert shared_server.http.delete(f"{url}/a/b/c").status_code == 404
    assert shared_server.http.delete(f"{url}/a").status_code == 404


def test_delete_many(shared_server: Any, url: Url, root: Path) -> None:
    for name in ("one", "with%20space", "folder/x", "folder/y", "stays"):
        shared_server.http.put(f"{url}/{name}", data=b"x")
    wanted = [f"{url}/one", f"{url}/with%20space", "test_delete_many/folder", "test_delete_many/nope", "../x", "/", ""]
    answer = shared_server.http.post(f"{shared_server.files_url}/delete_many", json={"files": wanted})
    found = answer.json()
    assert list(found["deleted"]) == wanted[:3]
    assert found["errors"]["Not found"] == ["test_delete_many/nope"]
    assert sorted(name for names in found["errors"].values() for name in names) == sorted(wanted[3:])
    assert {name for name in stored(root) if name.startswith("test_delete_many")} == {"test_delete_many/stays"}
    for bad in (b"", b"[]", b'{"files": "x"}', b'{"files": [1]}', b'{"files": []}'):
        assert shared_server.http.post(f"{shared_server.files_url}/delete_many", data=bad).status_code == 400


def test_a_file_is_no_folder(shared_server: Any, url: Url) -> None:
    shared_server.http.put(f"{url}/x", data=b"x")
    assert shared_server.http.put(f"{url}/x/y", data=b"x").status_code == 409
    assert shared_server.http.put(url, data=b"x").status_code == 409
    assert shared_server.http.get(url).status_code == 404


def test_nothing_without_credentials(shared_server: Any, url: Url, root: Path) -> None:
    shared_server.http.put(f"{url}/x", data=b"secret")
    before = stored(root)
    for method, target in [
        ("GET", shared_server.files_url),
        ("GET", f"{url}/x"),
        ("GET", f"{url}/missing"),
        ("HEAD", f"{url}/x"),
        ("PUT", f"{url}/y"),
        ("DELETE", f"{url}/x"),
        ("POST", f"{shared_server.files_url}/delete_many"),
        ("POST", shared_server.files_url),
    ]:
        for headers in ({}, {"Authorization": "Bearer junk"}, {"Cookie": "clearml_token_basic=junk"}):
            answer = requests.request(method, target, headers=headers, data=b"x", timeout=30)
            assert answer.status_code == 401
            assert b"secret" not in answer.content
            assert "www-authenticate" not in answer.headers  # else a browser would keep the keys and send them for all
    assert stored(root) == before


def test_credentials(shared_server: Any, url: Url) -> None:
    bearer = {"Authorization": f"Bearer {token(shared_server)}"}
    cookie = {"Cookie": f"clearml_token_basic={token(shared_server)}"}
    assert requests.put(f"{url}/x", data=b"x", headers=bearer, timeout=30).status_code == 200
    assert requests.get(f"{url}/x", headers=bearer, timeout=30).content == b"x"
    assert requests.get(f"{url}/x", headers=cookie, timeout=30).content == b"x"


def test_a_cookie_is_no_consent_to_a_change(shared_server: Any, url: Url) -> None:
    cookie = {"Cookie": f"clearml_token_basic={token(shared_server)}"}
    for method, target in [("PUT", f"{url}/x"), ("DELETE", f"{url}/x"), ("POST", shared_server.files_url)]:
        assert requests.request(method, target, headers=cookie, data=b"x", timeout=30).status_code == 401
    answer = shared_server.http.put(f"{url}/x", data=b"x", headers={"Sec-Fetch-Site": "same-site"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "target",
    [
        "/../server.db",
        "/../credentials.json",
        "/a/../../credentials.json",
        "/%2e%2e/credentials.json",
        "/%2e%2e%2fcredentials.json",
        "/..%2fcredentials.json",
        "/a/%2e%2e/%2e%2e/credentials.json",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/./../credentials.json",
        "/x%00.txt",
        "/.incoming/",
        "/%2eincoming/x",
        "/..%5ccredentials.json",
        "/" + "a" * 300,
        "/" + "a/" * 2000 + "b",
    ],
)
def test_nothing_outside_is_given_out(shared_server: Any, target: str) -> None:
    status, content = raw_get(shared_server, target)
    assert status in (400, 404)
    assert b"secret_key" not in content
    assert b"root:" not in content


@pytest.mark.parametrize(
    "name", ["../escaped", "a/../../escaped", "..", "/..//escaped", "a/..", ".incoming/x", "x" * 300, "a/\x07/b"]
)
def test_nothing_outside_is_written(shared_server: Any, root: Path, name: str) -> None:
    before = stored(root.parent)
    boundary = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\nevil\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = shared_server.http.post(shared_server.files_url, data=boundary % name.encode(), headers=headers)
    assert answer.status_code == 400
    assert {path for path in stored(root.parent) - before if "server.db" not in path} == set()


def test_symbolic_links_lead_nowhere(shared_server: Any, url: Url, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    shared_server.http.put(f"{url}/x", data=b"x")
    (root / "test_symbolic_links_lead_nowhere/link").symlink_to(tmp_path)
    for method in ("GET", "PUT", "DELETE"):
        answer = shared_server.http.request(method, f"{url}/link/outside", data=b"changed")
        assert answer.status_code == 400
    shared_server.http.post(f"{shared_server.files_url}/delete_many", json={"files": [f"{url}/link"]})
    assert (tmp_path / "outside").read_text() == "secret"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"x"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=" + "b" * 300, b"x"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"junk"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="q"; filename="f"\r\n\r\nabc',
        ),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="q"\r\n\r\nv\r\n--x--\r\n'),
    ],
)
def test_broken_forms_leave_nothing(shared_server: Any, root: Path, kind: str, body: bytes) -> None:
    before = stored(root)
    answer = shared_server.http.post(shared_server.files_url, data=body, headers={"Content-Type": kind})
    assert answer.status_code == 400
    assert stored(root) == before


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        root = server.state.config.files_dir
        bearer = requests.post(
            f"{server.api_url}/auth.login", auth=(server.access_key, server.secret_key), timeout=30
        ).json()["data"]["token"]
        head = f"PUT /kept HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nContent-Length: %d\r\n\r\n"
        address = urlsplit(server.files_url)
        for length in (5, 4_000_000):
            with socket.create_connection((address.hostname, address.port or 0), timeout=30) as connection:
                connection.sendall(head.encode() % length + b"x" * min(length, 2_000_000))
                if length == 5:
                    assert connection.recv(12) == b"HTTP/1.1 200"
    assert stored(root) == {"kept"}
    assert (root / "kept").read_bytes() == b"xxxxx"


def test_leftovers_of_a_killed_server_are_cleared(tmp_path: Path) -> None:
    leftover = tmp_path / "data/files/.incoming/half"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("half")
    with running_server(tmp_path / "data"):
        assert not leftover.exists()


def test_a_large_file_comes_back_whole(shared_server: Any, url: Url) -> None:
    content = bytes(range(256)) * 100_000
    shared_server.http.put(f"{url}/x", data=io.BytesIO(content))
    assert shared_server.http.get(f"{url}/x").content == content
