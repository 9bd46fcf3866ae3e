"""The long outage, shortened. ``OUTAGE_SECONDS`` sets its length; ``python -m tests.integration.outages.long`` tells more."""

from __future__ import annotations

import os

import pytest

from .conftest import Rig
from .long import measure

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "20"))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 200)
def test_a_task_that_prints_all_the_time_loses_no_line(own_rig: Rig) -> None:
    figures = measure(own_rig, SECONDS, 1000)
    assert (figures.lost, figures.twice, figures.in_order) == (0, 0, True)
    assert figures.status == "completed"
    assert figures.runner_rss_peak < figures.runner_rss_before + 30
    assert figures.requests_while_away == 0
    assert figures.first_line_after_s < 15
