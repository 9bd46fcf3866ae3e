"""The benchmark's arithmetic: what it says of two agents must be true of its samples."""

from __future__ import annotations

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.measures.console import fault_of
from benchmarks.proxy import CountingProxy
from benchmarks.report import table, write
from benchmarks.stats import Row, Samples, above_floor, at_most, times_faster


def test_ratio_above_one_speaks_for_this_agent() -> None:
    slow, fast = Samples.of([9.0, 10.0, 14.0]), Samples.of([0.5, 0.4, 0.6])
    assert Row("start", "s", ours=fast, peer=slow).ratio == pytest.approx(20)
    assert Row("start", "s", ours=slow, peer=fast).ratio == pytest.approx(0.05)
    assert Row("lines", "1/s", ours=slow, peer=fast, more_is_better=True).ratio == pytest.approx(20)


def test_no_peer_no_ratio_and_no_verdict() -> None:
    row = Row("start", "s", ours=Samples.of([1.0]), targets=(times_faster(20),))
    assert row.ratio is None
    assert row.targets[0].reached(row) is None


@pytest.mark.parametrize(("ours", "reached"), [(0.50, True), (0.71, False)])
def test_targets_judge_medians(ours: float, reached: bool) -> None:
    row = Row("start", "s", ours=Samples.of([0.0, ours, 99.0]), floor=Samples.of([0.2]))
    assert above_floor(0.5).reached(row) is reached
    assert at_most(0.6, "s").reached(row) is reached


def test_table_marks_a_missed_target(tmp_path: Path) -> None:
    rows = [
        Row("good", "s", ours=Samples.of([0.1]), targets=(at_most(0.3, "s"),), floor_is="nothing"),
        Row("bad", "s", ours=Samples.of([0.5, 0.7]), peer=Samples.of([3.0]), targets=(at_most(0.3, "s"),)),
    ]
    lines = table(rows).splitlines()
    assert lines[2].split() == ["good", "[s]", "-", "-", "0.100", "-", "≤", "0.3", "s", "ok"]
    assert lines[3].split() == ["bad", "[s]", "-", "3.000", "0.600", "(0.500-0.700)", "5.0", "≤", "0.3", "s", "MISSED"]
    assert "good: the floor is nothing." in lines
    write(tmp_path / "results.json", rows, {"ours": "1"})
    found = json.loads((tmp_path / "results.json").read_text())
    assert [row["targets"][0]["reached"] for row in found["rows"]] == [True, False]


@pytest.mark.parametrize(
    ("numbers", "fault"),
    [
        ([0, 1, 2, 3], ""),
        ([0, 1, 3], "1 missing or broken"),
        ([0, 1, 1, 2, 3], "1 doubled and 1 out of order"),
        ([0, 2, 1, 3], "1 out of order"),
        ([], "4 missing or broken"),
    ],
)
def test_console_faults(numbers: list[int], fault: str) -> None:
    assert fault_of(numbers, 4) == fault


def test_proxy_passes_requests_on_and_counts_them() -> None:
    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(418)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Path", self.path)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server gives it
            pass

    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=upstream.serve_forever)
    thread.start()
    try:
        with CountingProxy(f"http://127.0.0.1:{upstream.server_address[1]}") as proxy:
            client = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=10)
            for number in range(3):  # one connection, kept
                client.request("POST", f"/call?n={number}", json.dumps({"n": number}))
                answer = client.getresponse()
                assert (answer.status, answer.getheader("X-Path")) == (418, f"/call?n={number}")
                assert json.loads(answer.read()) == {"n": number}
            client.close()
            assert proxy.count == 3
    finally:
        upstream.shutdown()
        upstream.server_close()
        thread.join()
