"""The one redactor: every byte that leaves this machine, and every line that is shown, passes it.

It masks the secrets it was told about, in every spelling of ``forms``, and what looks like a credential (``shapes``).
All that is found is masked, also where two finds overlap. Text without secrets passes unchanged.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from clearml_agent_clone.logs.forms import Forms, forms
from clearml_agent_clone.logs.redact_needles import Needles
from clearml_agent_clone.logs.redact_views import ANSI, View, decoded, skeleton, unfinished_escape, without_colours
from clearml_agent_clone.logs.shapes import CONTEXT, Text, open_private_key

MASK = "****"
_MASK = MASK.encode()
LEAST_HELD = 4
"""Fewer letters and digits are shown after a while even when a secret begins with them."""

_LONGEST_HELD = 16 * 1024
_LONGEST_CONTEXT = 1024
_SAMPLE = 24  # so much of a value that goes on shows that it is one


class Redactor:
    """Masks secrets. Safe to use from several threads; secrets may be added at any time.

    Args:
        secrets: values that must never be shown; those under four characters are ignored. They are prepared when the
            first text comes.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Forms | None] = dict.fromkeys(secrets)
        self._ready: Needles | None = None

    def add(self, secrets: str | Iterable[str]) -> None:
        """Mask ``secrets`` from now on, also in what a stream still holds back."""
        with self._lock:
            self._known.update(
                (secret, None)
                for secret in ([secrets] if isinstance(secrets, str) else secrets)
                if secret not in self._known
            )
            self._ready = None

    def redact(self, text: str, context: str = "") -> str:
        """``text`` with every secret in it masked; for whole texts: errors, printed commands, complete lines.

        Args:
            text: what is to be shown.
            context: what stood right before it and has been shown; it is looked at, not returned.
        """
        if not text:
            return text
        context, first = _trimmed(context)
        begin = len(_encode(context))
        data = _encode(context + text)
        spans = self._spans(data, first)
        return _masked(data, begin, spans).decode("utf-8", "surrogatepass") if spans else text

    def settled(self, text: str, context: str = "", *, idle: bool = False, lines: bool = False) -> int:
        """How much of ``text``, of which more will come, may be shown now.

        The rest may be the beginning of a secret. It is never more than 32 KiB: of something longer that looks like a
        credential what is there is shown (masked, if it is one), and ``context_after`` sees to it that so is the rest.

        Args:
            text: what is to be shown.
            context: as of ``redact``.
            idle: it may take long until there is more, as at a line end or a prompt. Then up to three letters are
                shown even if a secret begins with them.
            lines: ``text`` is complete lines; count complete lines only.
        """
        context, first = _trimmed(context)
        whole = context + text
        passed = _undecided(whole)
        if passed:
            whole, first = whole[passed:], 0
        data = _encode(whole)
        end = self._settled(data, first, len(_encode(context[passed:])), idle=idle, lines=lines)
        settled = end if len(data) == len(whole) else len(data[:end].decode("utf-8", "surrogatepass"))
        return max(0, passed + settled - len(context))

    def context_after(self, text: str, context: str = "", *, idle: bool = True) -> str:
        """What to give as ``context`` with the text that follows on ``text``.

        Args:
            text: what has been shown.
            context: as of ``redact``.
            idle: as it was with ``settled``.
        """
        if not text:
            return context
        context, first = _trimmed(context)
        whole = context + text
        head = open_private_key(_encode(whole[max(0, whole.rfind("-----BEGIN ")) :]))
        if head:
            return head.decode() + "\n"
        passed = _undecided(whole)
        if passed:
            whole, first = whole[passed:], 0
        data = _encode(whole)
        # A secret may go on, though none of which more is there than may be shown, or of which this is another's end.
        start = self._open_needles(data, idle=False) if idle else len(data)
        if data.endswith(b"\n"):  # no shape goes on
            return data[start:].decode("utf-8", "surrogatepass")[-_LONGEST_CONTEXT:]
        view = without_colours(data)
        found = Text(view.data)
        growing = found.growing(first)
        if not growing:
            begin = min(len(data[:start].decode("utf-8", "surrogatepass")), len(whole) - CONTEXT - 1)
            return whole[max(0, begin, len(whole) - _LONGEST_CONTEXT) :]
        end = max(growing) + _SAMPLE
        if len(view.data) - max(growing) < CONTEXT // 2:
            end = len(view.data)
        else:  # half an escape would make one of what follows
            end = max(*growing, unfinished_escape(view.data[:end]))
        while view.data[end : end + 1] and view.data[end] & 0xC0 == 0x80:  # not in the middle of a character
            end += 1
        return _trimmed(view.data[:end].decode("utf-8", "surrogatepass"))[0]

    def stream(self) -> RedactedStream:
        """A filter for text that comes in pieces."""
        return RedactedStream(self)

    def _needles(self) -> Needles:
        ready = self._ready
        if ready is None:
            with self._lock:
                for secret, known in self._known.items():
                    if known is None:
                        self._known[secret] = forms(secret)
                ready = self._ready = Needles(known for known in self._known.values() if known is not None)
        return ready

    def _spans(self, data: bytes, first: int) -> list[tuple[int, int]]:
        view = without_colours(data)
        needles = self._needles()
        found = [view.origin(*span) for span in Text(view.data).spans(first)]
        found += [view.origin(*span) for span in needles.spans(view)]
        for plain in decoded(view):
            found += [plain.origin(*span) for span in needles.spans(plain)]
        return found

    def _settled(self, data: bytes, first: int, begin: int, *, idle: bool, lines: bool) -> int:
        """How many bytes of ``data``, of which the first ``begin`` were shown, may be shown."""
        view = without_colours(data)
        open_from = self._open_needles(data, idle=idle)
        for start in self._open_shapes(view, first):
            if len(data) - start <= _LONGEST_HELD:
                open_from = min(open_from, start)
        if idle and open_from == len(data):
            return open_from
        spans = sorted(self._spans(data, first), reverse=True)
        if idle and any(start < open_from < stop and _is_bare(data[stop:]) for start, stop in spans):
            # The end of a secret may be its own beginning. That it comes twice in one is not worth the wait.
            open_from = len(data)
        end = _line_start(data, open_from) if lines else open_from
        for start, stop in spans:
            if start < end and (stop > end or (stop >= len(data) - 3 and not idle)):
                end = _line_start(data, start) if lines else start
        if len(data) - end > 2 * _LONGEST_HELD:
            # Secrets that overlap one another without end, as "aaaa" does in a line of a's: cut behind one of them.
            end = max((stop for _, stop in spans if begin < stop <= open_from), default=open_from)
            end = _line_start(data, end) if lines else end
        return end

    def _open_shapes(self, view: View, first: int) -> Iterator[int]:
        text = Text(view.data)
        starts = text.growing(first)
        at = max(0, view.data.rfind(b"-----BEGIN "))
        head = open_private_key(view.data[at:])
        if head:
            starts.append(at + len(head))
        return (view.origin(start, start)[0] for start in starts)

    def _open_needles(self, data: bytes, *, idle: bool) -> int:
        """Where the beginning of a known secret stands at the end of ``data``."""
        needles = self._needles()
        begin = max(0, len(data) - _LONGEST_HELD)
        tail = data[begin:]
        cut = unfinished_escape(tail)
        found = len(tail) if idle else cut
        views = [without_colours(tail)]
        if cut < len(tail):
            views.append(without_colours(tail[:cut]))
        views += [plain for view in tuple(views) for plain in decoded(view)]
        for view in views:
            at = needles.open_at(view, idle=idle)
            if at < len(view.data):
                found = min(found, view.origin(at, at + 1)[0])
        return begin + found


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
        return self._release(self._redactor.settled(self._held, self._context), idle=False)

    def idle(self) -> str:
        """Nothing came for a while: what may be shown all the same. Keeps back what begins as a secret does."""
        return self._release(self._redactor.settled(self._held, self._context, idle=True))

    def flush(self) -> str:
        """The rest: nothing more will come."""
        return self._release(len(self._held))

    def _release(self, end: int, *, idle: bool = True) -> str:
        text, self._held = self._held[:end], self._held[end:]
        shown = self._redactor.redact(text, self._context)
        self._context = self._redactor.context_after(text, self._context, idle=idle)
        return shown


def _is_bare(data: bytes) -> bool:
    """Whether ``data`` holds no letters, of whatever language, and no digits."""
    return data.isascii() and not skeleton(data)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _line_start(data: bytes, at: int) -> int:
    return at if at == len(data) else data.rfind(b"\n", 0, at) + 1


def _undecided(text: str) -> int:
    """Where the last lines of ``text`` begin, before which nothing decides on what its end is; 0 for short ones."""
    begin = len(text) - 3 * _LONGEST_HELD
    return text.find("\n", begin) + 1 if begin > 0 else 0


def _trimmed(context: str) -> tuple[str, int]:
    """``context`` without what is of no use, and where shapes may begin in it: what is cut must not look like a start."""
    return (context[-_LONGEST_CONTEXT:], 1) if len(context) > CONTEXT else (context, 0)


def _masked(data: bytes, begin: int, spans: list[tuple[int, int]]) -> bytes:
    """``data`` from ``begin`` on, each group of overlapping spans replaced by one mask."""
    parts = []
    at = begin
    for start, stop in _merged(spans):
        if stop <= begin:
            continue
        parts.append(data[at : max(start, begin)])
        parts.append(_mask(data[max(start, begin) : stop]))
        at = stop
    parts.append(data[at:])
    return b"".join(parts)


def _mask(secret: bytes) -> bytes:
    r"""What is shown for ``secret``: its line ends and colours stay, so that no line is lost and no colour runs on."""
    if b"\n" not in secret and b"\x1b" not in secret:
        return _MASK
    lines = secret.split(b"\n")
    return b"\n".join((_MASK if ANSI.sub(b"", line).strip() else b"") + b"".join(ANSI.findall(line)) for line in lines)


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
