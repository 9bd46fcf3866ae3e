from __future__ import annotations

import logging

from clearml_agent_clone.logs.repeats import WINDOW, Repeats


class Log:
    """Feeds records to ``Repeats`` and tells what came through."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.repeats = Repeats(lambda: self.now)

    def say(
        self, text: str, level: int = logging.WARNING, *, name: str = "x", error: Exception | None = None
    ) -> list[str]:
        info = (type(error), error, None) if error else None
        record = logging.LogRecord(name, level, __file__, 1, text, None, info)
        return [admitted.getMessage() for admitted in self.repeats.admit(record)]


def test_the_first_is_written_and_the_others_counted_until_the_window_is_over() -> None:
    log = Log()
    assert log.say("away") == ["away"]
    for _ in range(19):
        log.now += 30
        assert log.say("away") == []
    log.now = 1000.0 + WINDOW
    assert log.say("away") == ["the same 19 times more within 570 s: away", "away"]


def test_better_news_of_the_same_loop_end_the_count_and_those_of_others_do_not() -> None:
    log = Log()
    log.say("away")
    log.say("away")
    assert log.say("hello", logging.INFO, name="y") == ["hello"]
    assert log.say("works again", logging.INFO) == ["the same once more within 0 s: away", "works again"]
    assert log.say("away") == ["away"]


def test_addresses_and_durations_do_not_make_a_difference_and_anything_else_does() -> None:
    log = Log()
    assert log.say("object at 0x7f00 waits 1.5 s") == ["object at 0x7f00 waits 1.5 s"]
    assert log.say("object at 0x7fff waits 30 s") == []
    assert log.say("3 lines lost") == ["3 lines lost"]
    assert log.say("5 lines lost") == ["5 lines lost"]
    assert log.say("a bug", logging.ERROR, error=ValueError("1")) == ["a bug"]
    assert log.say("a bug", logging.ERROR, error=ValueError("2")) == ["a bug"]


def test_it_remembers_so_many_and_forgets_none_silently() -> None:
    log = Log()
    log.say("first")
    log.say("first")
    said = [text for number in range(100) for text in log.say(f"other {number}")]
    assert "the same once more within 0 s: first" in said
    assert len(said) == 101
    assert log.repeats.rest() == []
