from __future__ import annotations

import pytest

from clearml_agent_clone.errors import Retryable
from clearml_agent_clone.worker.reporting import Reporting


class Duty:
    """A loop that goes wrong."""

    name = "duty"

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def step(self, now: float) -> float:
        if self.error is not None:
            raise self.error
        return now


@pytest.mark.parametrize("error", [None, Retryable("away"), ValueError("a bug")])
def test_bugs_are_told_apart_from_what_goes_wrong_every_day(error: Exception | None) -> None:
    """For ``agent.crash_on_exception``: the server being away is no reason to end."""
    bugs: list[Exception] = []
    loop = Reporting(Duty(error), bugs.append)
    assert loop.name == "duty"
    if error is None:
        assert loop.step(3.0) == 3.0
    else:
        with pytest.raises(type(error)):
            loop.step(3.0)
    assert bugs == ([error] if isinstance(error, ValueError) else [])
