"""The one redactor: every byte that leaves this machine, and every line that is shown, passes it.

It masks the secrets it was told about, in every spelling of ``forms``, and what looks like a credential (``shapes``).
All that is found is masked, also where two finds overlap. Text without secrets passes unchanged.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from clearml_agent_clone.logs.forms import forms
from clearml_agent_clone.logs.shapes import CONTEXT, SHAPES

MASK = "****"
_LONGEST_HELD = 16 * 1024


class Redactor:
    """Masks secrets. Safe to use from several threads; secrets may be added at any time.

    Args:
        secrets: values that must never be shown; those under four characters are ignored.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._needles: frozenset[str] = frozenset()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Mask ``secret`` from now on."""
        with self._lock:
            self._needles |= forms(secret)

    def redact(self, text: str, context: str = "") -> str:
        """``text`` with every secret in it masked; for whole texts: errors, printed commands, complete lines.

        Args:
            text: what is to be shown.
            context: what stood right before it and has been shown; it is looked at, not returned.
        """
        if not context:
            return _masked(text, 0, self._spans(text))
        context = context[-CONTEXT:]
        return _masked(context + text, len(context), self._spans(context + text))

    def settled(self, text: str, context: str = "") -> int:
        """How much of ``text``, of which more will come, may be shown now.

        The rest may be the beginning of a secret. It is never more than 16 KiB; no secret is longer.
        """
        whole = context[-CONTEXT:] + text
        skipped = len(whole) - len(text)
        tail = max(0, len(whole) - _LONGEST_HELD)
        end = min((*self._open_needles(whole, tail), *_open_shapes(whole, tail), len(whole)))
        for start, stop in sorted(self._spans(whole), reverse=True):
            if start < end < stop:
                end = start if len(whole) - start <= _LONGEST_HELD else stop
        return max(0, end - skipped)

    def stream(self) -> RedactedStream:
        """A filter for text that comes in pieces."""
        return RedactedStream(self)

    def _spans(self, text: str) -> list[tuple[int, int]]:
        spans = []
        for needle in self._needles:
            at = text.find(needle)
            while at >= 0:
                spans.append((at, at + len(needle)))
                at = text.find(needle, at + 1)
        for shape in SHAPES:
            if any(probe in text for probe in shape.probes):
                spans.extend(match.span(1) for match in shape.value.finditer(text) if shape.accept(match))
        return spans

    def _open_needles(self, text: str, tail: int) -> Iterator[int]:
        for needle in self._needles:
            start = max(tail, len(text) - len(needle) + 1)
            at = text.find(needle[0], start)
            while at >= 0:
                if needle.startswith(text[at:]):
                    yield at
                    break
                at = text.find(needle[0], at + 1)


class RedactedStream:
    """Text in, masked text out: the pieces together read as the whole redacted at once.

    What may be the beginning of a secret is held back until it is clear what it is.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._context = ""
        self._held = ""

    def feed(self, text: str) -> str:
        """Add ``text``; what may be shown of all that was added so far and was not returned yet."""
        self._held += text
        return self._release(self._redactor.settled(self._held, self._context))

    def flush(self) -> str:
        """The rest: nothing more will come."""
        return self._release(len(self._held))

    def _release(self, end: int) -> str:
        text, self._held = self._held[:end], self._held[end:]
        shown = self._redactor.redact(text, self._context)
        self._context = (self._context + text)[-CONTEXT:]
        return shown


def _open_shapes(text: str, tail: int) -> Iterator[int]:
    for shape in SHAPES:
        if any(probe in text for probe in shape.probes):
            match = shape.growing.search(text, tail)
            if match:
                yield match.start(1)


def _masked(text: str, begin: int, spans: list[tuple[int, int]]) -> str:
    """``text`` from ``begin`` on, each group of overlapping spans replaced by one mask."""
    if not spans:
        return text[begin:] if begin else text
    parts = []
    at = begin
    for start, stop in _merged(spans):
        if stop <= begin:
            continue
        parts.append(text[at : max(start, begin)])
        parts.append(MASK)
        at = stop
    parts.append(text[at:])
    return "".join(parts)


def _merged(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    spans.sort()
    start, stop = spans[0]
    for next_start, next_stop in spans[1:]:
        if next_start < stop:
            stop = max(stop, next_stop)
        else:
            yield start, stop
            start, stop = next_start, next_stop
    yield start, stop
