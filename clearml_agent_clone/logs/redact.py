"""The one redactor: every byte that leaves this machine, and every line that is shown, passes it.

It masks the secrets it was told about, in every spelling of ``forms``, and what looks like a credential (``shapes``).
All that is found is masked, also where two finds overlap. Text without secrets passes unchanged.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from clearml_agent_clone.logs.forms import Needles, forms
from clearml_agent_clone.logs.shapes import CONTEXT, SHAPES

MASK = "****"
_LONGEST_HELD = 16 * 1024
_SAMPLE = 24  # so much of a value that goes on shows that it is one


class Redactor:
    """Masks secrets. Safe to use from several threads; secrets may be added at any time.

    Args:
        secrets: values that must never be shown; those under four characters are ignored.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._needles = Needles(frozenset().union(*map(forms, secrets)))

    def add(self, secret: str) -> None:
        """Mask ``secret`` from now on."""
        with self._lock:
            self._needles = Needles(self._needles.all | forms(secret))

    def redact(self, text: str, context: str = "") -> str:
        """``text`` with every secret in it masked; for whole texts: errors, printed commands, complete lines.

        Args:
            text: what is to be shown.
            context: what stood right before it and has been shown; it is looked at, not returned.
        """
        if not context:
            return _masked(text, 0, self._spans(text, 0))
        context, first = _trimmed(context)
        return _masked(context + text, len(context), self._spans(context + text, first))

    def settled(self, text: str, context: str = "") -> int:
        """How much of ``text``, of which more will come, may be shown now.

        The rest may be the beginning of a secret. It is never more than 32 KiB: of something longer that looks like a
        credential what is there is shown (masked, if it is one), and ``context_after`` sees to it that so is the rest.
        """
        context, first = _trimmed(context)
        whole = context + text
        shapes = (start for start in _open_shapes(whole, first) if len(whole) - start <= _LONGEST_HELD)
        open_from = min((*self._open_needles(whole), *shapes, len(whole)))
        spans = self._spans(whole, first)
        end = open_from
        for start, stop in sorted(spans, reverse=True):
            if start < end < stop:
                end = start
        if len(whole) - end > 2 * _LONGEST_HELD:
            # Secrets that overlap one another without end, as "aaaa" does in a line of a's: cut behind one of them.
            end = max((stop for _, stop in spans if len(context) < stop <= open_from), default=open_from)
        return max(0, end - len(context))

    def context_after(self, text: str, context: str = "") -> str:
        """What to give as ``context`` with the text that follows on ``text``."""
        context, first = _trimmed(context)
        whole = context + text
        begin = max(_open_shapes(whole, first), default=len(whole))
        return _trimmed(whole[: begin + _SAMPLE])[0]

    def stream(self) -> RedactedStream:
        """A filter for text that comes in pieces."""
        return RedactedStream(self)

    def _spans(self, text: str, first: int) -> list[tuple[int, int]]:
        spans = []
        for needle in self._needles.possible_in(text):
            at = text.find(needle)
            while at >= 0:
                spans.append((at, at + len(needle)))
                at = text.find(needle, at + 1)
        lowered = text.lower()
        for shape in SHAPES:
            if shape.may_be_in(lowered):
                spans.extend(shape.spans(text, first))
        return spans

    def _open_needles(self, text: str) -> Iterator[int]:
        for needle in self._needles.all:
            at = text.find(needle[0], max(0, len(text) - len(needle) + 1))
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
        self._context = self._redactor.context_after(text, self._context)
        return shown


def _trimmed(context: str) -> tuple[str, int]:
    """``context`` without what is of no use, and where shapes may begin in it: what is cut must not look like a start."""
    return (context[-CONTEXT - 1 :], 1) if len(context) > CONTEXT else (context, 0)


def _open_shapes(text: str, first: int) -> list[int]:
    """Where something begins that looks like a credential and goes on to the end."""
    lowered = text.lower()
    found = (shape.growing(text, first) for shape in SHAPES if shape.may_be_in(lowered))
    return [start for start in found if start is not None]


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
