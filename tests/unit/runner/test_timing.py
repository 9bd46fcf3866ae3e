from __future__ import annotations

from clearml_agent_clone.runner.timing import Timing


def test_the_line_says_where_the_seconds_went_and_what_was_reused() -> None:
    timing = Timing(0.01, 0.12, 0.0, 0.2, ("mirror",), environment_reused=True)
    assert timing.line() == (
        "Timing: queue 0.01 s, source 0.12 s (reused: mirror), environment 0.00 s (reused), start 0.08 s, in all 0.21 s"
    )


def test_a_task_without_a_queue_has_no_queue_time() -> None:
    assert Timing(source=1.0, environment=2.0, total=3.5).line() == (
        "Timing: source 1.00 s, environment 2.00 s, start 0.50 s, in all 3.50 s"
    )
