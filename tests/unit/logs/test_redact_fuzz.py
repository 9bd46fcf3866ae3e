"""The fuzzer for a moment, and that it notices when something gets through."""

from __future__ import annotations

import random

import pytest

from clearml_agent_clone.logs import Redactor
from clearml_agent_clone.logs.redact_needles import Needles
from tests.fuzz import redaction


def test_nothing_gets_past_the_redactor() -> None:
    said: list[str] = []
    assert redaction.run(300, 7, report=said.append) == 0, said


def test_the_fuzzer_notices_a_redactor_that_looks_at_lines_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Needles, "open_at", lambda _self, view, *, idle: len(view.data))
    assert redaction.run(200, 7, report=lambda _line: None) > 10


@pytest.mark.parametrize("name", sorted(redaction.SPELLINGS))
def test_the_fuzzer_reads_every_spelling(name: str) -> None:
    rng = random.Random(3)
    secret = "Xk3-9aB/q+7Zt_w%2 Lm"
    spelled = redaction.SPELLINGS[name](secret, rng)
    case = redaction.Case((secret,), name, ((spelled, False),), late=False)
    assert redaction.leaks(case, spelled)
    assert not redaction.leaks(case, redaction.shown(case, Redactor([secret])))
