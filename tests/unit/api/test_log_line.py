"""A log event is spelled as ``json.dumps`` does, whatever the text."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clearml_agent_clone.api.calls_events import log_line

TEXTS = st.text(st.characters(), max_size=40) | st.text('ab\n\t\r\x1b\\"/\x00\x7fä\ud800', max_size=40)


@given(TEXTS)
@example('C:\\new "line"\n\tend\r')
def test_any_text_comes_back(text: str) -> None:
    line = log_line("t", "w", text, level="INFO", timestamp_ms=5)
    assert json.loads(line) == {
        "type": "log",
        "level": "INFO",
        "task": "t",
        "worker": "w",
        "timestamp": 5,
        "msg": text,
    }
    assert line.isascii()
    assert b"\n" not in line


@pytest.mark.parametrize("code", range(256))
def test_every_character_is_spelled_as_usual(code: int) -> None:
    text = f"a{chr(code)}b"
    assert log_line("t", "w", text, timestamp_ms=1).endswith(b'"msg":' + json.dumps(text).encode() + b"}")
