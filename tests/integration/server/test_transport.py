"""The wire: paths, bodies, versions, envelope."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import requests


def meta(answer: requests.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["meta"]
    return found


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize(
    "path", ["server.info", "server.info/", "v2.5/server.info", "v9.9/server.info", "v999.0/server.info"]
)
def test_method_and_version_do_not_matter(shared_server: Any, method: str, path: str) -> None:
    answer = shared_server.http.request(method, f"{shared_server.api_url}/{path}", json={"method": "get"})
    assert answer.status_code == 200
    assert answer.json()["data"]["api_version"] == "2.34"


def test_envelope(shared_server: Any) -> None:
    answer = shared_server.raw("v2.13/server.info", headers={"X-Clearml-Trx": "abc"})
    found = meta(answer)
    assert found.pop("id")
    assert found == {
        "trx": "abc",
        "endpoint": {"name": "server.info", "requested_version": "2.13", "actual_version": "1.0"},
        "result_code": 200,
        "result_subcode": 0,
        "result_msg": "OK",
        "error_stack": None,
        "error_data": {},
    }
    assert answer.headers["server"] == "clearml"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-type"] == "application/json"


def test_versions_below_2_1_are_numbers(shared_server: Any) -> None:
    assert meta(shared_server.raw("v1.5/server.info"))["endpoint"]["requested_version"] == 1.5


@pytest.mark.parametrize("path", ["v2/server.info", "server", "v2.x/server.info", "", "a/server.info", "v2.5/"])
def test_bad_path(shared_server: Any, path: str) -> None:
    answer = shared_server.raw(path)
    assert (answer.status_code, meta(answer)["result_subcode"]) == (400, 0)
    assert answer.json()["data"] == {}


@pytest.mark.parametrize("path", ["nothing.here", "server.nothing", "v2.1/auth.logout"])
def test_unknown_endpoint(shared_server: Any, path: str) -> None:
    answer = shared_server.raw(path)
    assert (answer.status_code, meta(answer)["result_subcode"]) == (404, 0)
    assert meta(answer)["result_msg"].startswith("Unable to find endpoint for name")


def test_broken_json(shared_server: Any) -> None:
    for body in (b'{"a": ', b"[1]", b"\xff\xfe", b"[" * 100_000):
        answer = shared_server.http.post(f"{shared_server.api_url}/debug.ping", data=body)
        assert (answer.status_code, meta(answer)["result_subcode"]) == (400, 0)


def test_content_type_does_not_matter_and_arguments_are_merged(shared_server: Any) -> None:
    url = f"{shared_server.api_url}/debug.ping?a=1&b.c=true&d[]=x&e=1&e=2&f=1.5&g=0x1&h.i.j=false"
    answer = shared_server.http.post(url, data=b'{"own": [1], "a": "gone"}', headers={"Content-Type": "text/plain"})
    assert answer.json()["data"] == {
        "own": [1],
        "a": 1,
        "b": {"c": True},
        "d": ["x"],
        "e": [1, 2],
        "f": 1.5,
        "g": "0x1",
        "h": {"i": {"j": False}},
    }
    form = shared_server.http.post(f"{shared_server.api_url}/debug.ping", data={"x": "7", "y": "z"})
    assert form.json()["data"] == {"x": 7, "y": "z"}


def test_json_lines_to_an_ordinary_endpoint_are_no_fields(shared_server: Any) -> None:
    headers = {"Content-Type": "application/json-lines"}
    answer = shared_server.http.post(f"{shared_server.api_url}/debug.ping", data=b'{"a":1}\n', headers=headers)
    assert (answer.status_code, answer.json()["data"]) == (200, {})


def test_packed_request_is_refused(shared_server: Any) -> None:
    headers = {"Content-Encoding": "gzip"}
    answer = shared_server.http.post(f"{shared_server.api_url}/debug.ping", data=gzip.compress(b"{}"), headers=headers)
    assert answer.status_code == 415
    assert answer.headers["content-type"].startswith("text/plain")


def test_large_answers_are_packed_when_asked(shared_server: Any) -> None:
    body = {"text": "x" * 100_000}
    packed = shared_server.raw("debug.ping", body, headers={"Accept-Encoding": "gzip"})
    plain = shared_server.raw("debug.ping", body, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json()["data"] == plain.json()["data"] == body
    assert "content-encoding" not in shared_server.raw("debug.ping", {}).headers


def test_options(shared_server: Any) -> None:
    answer = requests.options(f"{shared_server.api_url}/anything/at/all", timeout=10)
    assert (answer.status_code, answer.content) == (200, b"")


def test_lines_are_json(shared_server: Any) -> None:
    assert json.loads(shared_server.raw("debug.ping", {"a": "ü\u2028"}).content)["data"] == {"a": "ü\u2028"}
