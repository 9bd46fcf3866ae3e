"""Servers that are restarted, replaced, slow, strict or of another certificate."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from clearml_agent_clone.server.embedded import running_server
from tests.helpers.fault_proxy import Fault
from tests.helpers.worker_tools import until

from .conftest import Rig, new_rig

pytestmark = pytest.mark.slow  # all together; one by one they take seconds


def test_a_restarted_server_costs_nothing(rig: Rig) -> None:
    """Kept connections are cut again and again, and for half a second nothing comes through the new ones either."""
    counter = rig.counter()
    for _ in range(4):
        closed = rig.proxy.on("*", Fault.REFUSE, times=None)
        rig.proxy.cut()
        time.sleep(0.5)
        closed.cancel()
        time.sleep(0.5)
    counter.stop()
    assert rig.agent.final(counter.task)["status"] == "completed"
    rig.whole_console(counter.task)


def test_a_slow_server_is_no_outage(rig: Rig) -> None:
    counter = rig.counter()
    slow = rig.proxy.on("*", Fault.slow(2.0), times=None)
    time.sleep(6.0)
    counter.stop()
    begin = time.monotonic()
    rig.proxy.wait_for(lambda call: call.endpoint == "tasks.completed" and call.body["task"] == counter.task)
    assert time.monotonic() - begin < 20
    slow.cancel()
    rig.proxy.clear()
    assert rig.agent.final(counter.task)["status"] == "completed"
    rig.whole_console(counter.task)


def test_a_429_silences_all_loops_of_a_process(rig: Rig) -> None:
    counter = rig.counter()
    rule = rig.proxy.on("tasks.get_all", Fault.status(429, Retry_After="4"))
    until(lambda: rule.hits)
    limited = rig.proxy.of(lambda call: call.fault is not None and call.fault.status_code == 429)[-1]
    time.sleep(3.9 - (time.time() - limited.at))
    runner = ("events.", "tasks.")
    asked = [call for call in rig.proxy.calls if call.at > limited.at + 0.3 and call.endpoint.startswith(runner)]
    assert asked == []
    counter.stop()
    assert rig.agent.final(counter.task)["status"] == "completed"
    rig.whole_console(counter.task)


def test_an_endpoint_that_fails_by_itself_does_not_silence_the_others(rig: Rig) -> None:
    counter = rig.counter()
    rule = rig.proxy.on("events.add_batch", Fault.status(503), times=None)
    begin, looks = time.monotonic(), len(rig.proxy.of("tasks.get_all"))
    time.sleep(6.0)
    assert len(rig.proxy.of("tasks.get_all")) - looks >= 2
    assert rule.hits <= 8
    rig.agent.server.call("tasks.stop", task=counter.task)
    aborted = time.time()
    rig.proxy.wait_for(lambda call: call.endpoint == "tasks.get_all" and call.at > aborted, timeout=5)
    rule.cancel()
    assert rig.agent.final(counter.task)["status"] == "stopped"
    assert time.monotonic() - begin < 30


def test_a_server_that_comes_back_empty_leaves_a_daemon_that_works(tmp_path: Path, own_rig: Rig) -> None:
    """Its tasks are gone; their processes end, nothing is tried for ever, and its slot is free again."""
    agent, proxy = own_rig.agent, own_rig.proxy
    agent.daemon()
    counter = own_rig.counter()
    with running_server(tmp_path / "other") as other:
        conf = agent.server.conf.read_text()
        proxy.down()
        host, _, port = other.api_url.rpartition("//")[2].partition(":")
        proxy.target = (host, int(port))
        agent.server.conf.write_text(other.conf_path.read_text())  # other credentials: the daemon takes them from there
        proxy.up()
        until(lambda: not list(agent.state.glob("runs/*/runner.json")))
        assert agent.daemons[0].poll() is None
        agent.server.conf.write_text(conf)
    counter.stop()


def _certificate(path: Path) -> ssl.SSLContext:
    """A new self-signed certificate in ``path``, which is its own authority."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key = path.with_suffix(".key")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(path)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return context


def test_a_certificate_that_changes_is_an_outage_until_its_authority_is_known(tmp_path: Path) -> None:
    authority, fresh = tmp_path / "ca.pem", tmp_path / "fresh.pem"
    first, second = _certificate(authority), _certificate(fresh)
    with new_rig(tmp_path, first, CLEARML_AGENT__API__VERIFY_CERTIFICATE=str(authority)) as rig:
        rig.agent.queue()
        rig.agent.daemon()
        counter = rig.counter()
        rig.proxy.tls = second
        rig.proxy.cut()
        until(lambda: "is not trusted" in rig.runner_log(counter.task))
        authority.write_bytes(fresh.read_bytes())
        counter.stop()
        assert rig.agent.final(counter.task)["status"] == "completed"
        rig.whole_console(counter.task)
