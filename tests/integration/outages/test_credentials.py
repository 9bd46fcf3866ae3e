"""Tokens that expire, and keys that are revoked and replaced, while a task runs."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.helpers.fault_proxy import Fault
from tests.helpers.worker_tools import until

from .conftest import Rig, new_rig

pytestmark = pytest.mark.slow  # all together; one by one they take seconds


def test_an_expired_token_is_replaced_without_a_word(rig: Rig) -> None:
    counter = rig.counter()
    logins = len(rig.proxy.of("auth.login"))
    rig.proxy.on(lambda call: call.endpoint == "tasks.get_all", Fault.UNAUTHORIZED)
    rig.proxy.on("events.add_batch", Fault.UNAUTHORIZED)
    rig.proxy.wait_for("auth.login", logins + 1)
    counter.stop()
    assert rig.agent.final(counter.task)["status"] == "completed"
    rig.whole_console(counter.task)
    assert len(rig.proxy.of("auth.login")) <= logins + 2


def test_revoked_credentials_that_work_again(rig: Rig) -> None:
    """The slow pace is thirty seconds and more; here it is only seen that nothing is tried meanwhile."""
    counter = rig.counter()
    rig.proxy.on("auth.login", Fault.BAD_CREDENTIALS, times=None)
    rig.proxy.on("*", Fault.UNAUTHORIZED, times=None)
    rig.proxy.cut()
    begin = len(rig.proxy.calls)
    until(lambda: "does not let us in" in rig.runner_log(counter.task))
    time.sleep(5.0)
    asked = rig.proxy.calls[begin:]
    assert len([call for call in asked if call.endpoint == "auth.login"]) <= 4  # daemon and runner, each twice
    assert len(asked) <= 12
    log = rig.runner_log(counter.task)
    assert log.count("does not accept the key pair") == 1
    rig.proxy.clear()
    counter.stop()


@pytest.mark.timeout(300)
def test_revoked_credentials_are_tried_slowly_until_they_work(rig: Rig) -> None:
    counter = rig.counter()
    rig.proxy.on("auth.login", Fault.BAD_CREDENTIALS, times=None)
    rig.proxy.on("*", Fault.UNAUTHORIZED, times=None)
    rig.proxy.cut()
    until(lambda: "does not let us in" in rig.runner_log(counter.task))
    counter.stop()
    rig.proxy.clear()
    assert rig.agent.final(counter.task)["status"] == "completed"
    rig.whole_console(counter.task)


def test_new_credentials_in_the_configuration_are_used(own_rig: Rig) -> None:
    agent, proxy = own_rig.agent, own_rig.proxy
    conf: Path = agent.server.conf
    old = re.search(r'access_key"?\s*[:=]\s*"([^"]+)"', conf.read_text())
    assert old is not None
    agent.daemon()
    counter = own_rig.counter()
    made = agent.server.call("auth.create_credentials")["credentials"]
    text = conf.read_text().replace(old[1], made["access_key"])
    secret = re.search(r'secret_key"?\s*[:=]\s*"([^"]+)"', text)
    assert secret is not None
    conf.write_text(text.replace(secret[1], made["secret_key"]))

    def with_old_key(headers: str) -> bool:
        import base64

        scheme, _, rest = headers.partition(" ")
        return scheme == "Basic" and base64.b64decode(rest).decode().startswith(old[1])

    proxy.on(
        lambda call: call.endpoint == "auth.login" and with_old_key(call.headers.get("authorization", "")),
        Fault.BAD_CREDENTIALS,
        times=None,
    )
    proxy.on("tasks.get_all", Fault.UNAUTHORIZED)  # the runner's token is not known any more
    proxy.on("workers.status_report", Fault.UNAUTHORIZED)
    until(lambda: "trying the credentials that the configuration has now" in own_rig.runner_log(counter.task))
    counter.stop(f"the new key is {made['secret_key']}")
    assert agent.final(counter.task)["status"] == "completed"
    own_rig.whole_console(counter.task)
    assert "the new key is ****\n" in agent.console(counter.task)


def test_a_task_of_an_agent_with_a_token_alone_can_talk_to_the_server(tmp_path: Path) -> None:
    code = (
        "import os, urllib.request\n"
        "url = os.environ['PROBE_URL'] + '/users.get_current_user'\n"
        "headers = {'Authorization': 'Bearer ' + os.environ['CLEARML_AUTH_TOKEN']}\n"
        "print('answer', urllib.request.urlopen(urllib.request.Request(url, headers=headers)).status)\n"
    )
    with new_rig(tmp_path) as rig:
        token = rig.agent.server.call("auth.login")["token"]
        rig.agent.variables = {
            **rig.agent.variables,
            "PROBE_URL": rig.proxy.url,
            "CLEARML_AGENT__API__AUTH_TOKEN": token,
        }
        rig.agent.queue()
        rig.agent.daemon()
        task = rig.agent.enqueue(rig.agent.task(code))
        assert rig.agent.final(task)["status"] == "completed"
        assert "answer 200\n" in rig.agent.console(task)
        assert token not in rig.agent.console(task)
        basic = [c for c in rig.proxy.calls if c.headers.get("authorization", "").startswith("Basic")]
        assert basic == []
