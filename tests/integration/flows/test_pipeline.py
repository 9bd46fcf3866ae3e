"""A pipeline whose controller waits in a services queue and whose steps go to another."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.sdk, pytest.mark.slow]


@pytest.mark.timeout(900)
def test_three_steps_through_a_services_queue(user: Any, worker: Any) -> None:
    controller = user.task_of(user.run("pipe.py", worker=worker))
    user.wait(controller, 4 * worker.patience)
    steps = user.server.call("tasks.get_all", parent=controller, order_by=["created"])["tasks"]
    consoles = {step["name"]: user.console(step["id"]) for step in steps}
    console = user.console(controller)
    assert list(consoles) == ["load", "square", "total"], console
    assert {step["status"] for step in steps} == {"completed"}, consoles
    assert "the total is 14" in consoles["total"]
    assert user.server.call("tasks.get_by_id", task=controller)["task"]["status"] == "completed", console
