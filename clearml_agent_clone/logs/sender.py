"""One request at a time to a server that may be away: back off, lose nothing, know what arrived."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clearml_agent_clone.errors import AgentError, Cancelled, Fatal
from clearml_agent_clone.logs.batch import Batch
from clearml_agent_clone.logs.record import Mark, Record, load_record, save_record

log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_LONGEST_REFUSED_PAUSE = 30.0
_SECOND_LOOK = 1.5
_ERRORS_KEPT = 10
_TOO_LARGE = 413


class Sent(enum.Enum):
    """What became of a request."""

    TAKEN = "taken"
    LATER = "later"
    REFUSED = "refused"
    TOO_LARGE = "too large"


class Sender:
    """Delivers batches and keeps the record of what was delivered.

    Args:
        send: as of ``Shipper``.
        folder: where the record stands.
        arrived: as of ``Shipper``.
        draw: a number from 0 to 1, for the jitter.

    Attributes:
        mark: what has been delivered for certain.
        errors: what went wrong, each once, the latest last.
        refusal: why the server refused a request, the last time it did.
    """

    def __init__(
        self,
        send: Callable[[Sequence[bytes]], Any],
        folder: Path,
        arrived: Callable[[int], bool] | None,
        draw: Callable[[], float],
    ) -> None:
        record = load_record(folder)
        self.mark = record.done
        self.errors: list[str] = []
        self.refusal = ""
        self._send = send
        self._folder = folder
        self._arrived = arrived
        self._draw = draw
        self._doubt = record.sending
        self._asked_at: float | None = None  # when the server said that it does not have what we are in doubt about
        self._unwritten = False
        self._failures = 0
        self._blocked_until = float("-inf")

    def blocked(self, now: float) -> float:
        """Seconds until the server should be asked again; 0 when it may be asked now."""
        return max(0.0, self._blocked_until - now)

    def unblock(self) -> None:
        """Ask the server again at once."""
        self._blocked_until = float("-inf")

    def wait(self, now: float, seconds: float) -> None:
        """Ask the server again in so many seconds."""
        self._blocked_until = now + seconds

    def settle_doubt(self, now: float) -> bool:
        """Find out whether the request that was under way when we were interrupted has arrived.

        A request may still be on its way, or in the works, when the server is asked for it. So "no" is believed when
        the server says it again a moment later.

        Returns False when that could not be found out yet; ``blocked`` tells when to try again.
        """
        if self._doubt is not None and self._arrived is not None:
            try:
                if self._arrived(self._doubt.stamp):
                    self._commit(self._doubt)
                elif self._asked_at is None or now < self._asked_at + _SECOND_LOOK:
                    self._asked_at = now if self._asked_at is None else self._asked_at
                    self.wait(now, self._asked_at + _SECOND_LOOK - now)
                    return False
            except Cancelled:
                raise
            except Fatal as error:
                log.warning("cannot ask whether console lines arrived: %s", error)
            except AgentError as error:
                self._back_off(now, error)
                return False
        self._doubt = self._asked_at = None
        return True

    def deliver(self, batch: Batch, now: float) -> Sent:
        """Send ``batch``. ``LATER``: send it again, once ``blocked`` allows."""
        if not self.settle_doubt(now):
            return Sent.LATER
        if self.mark.stamp >= batch.after.stamp:
            return Sent.TAKEN  # it had arrived, only the answer was lost
        if self._arrived is not None:
            self._write_down(Record(self.mark, batch.after))
        self._doubt = batch.after
        try:
            reply = self._send(batch.lines)
        except Cancelled:
            raise
        except Fatal as error:
            self._doubt = None
            return self._refused(batch, error)
        except AgentError as error:
            # Also errors of the user's making, such as credentials that were refused: somebody may mend them.
            if not getattr(error, "may_have_acted", True):
                self._doubt = None
            self._back_off(now, error)
            return Sent.LATER
        self._doubt = None
        self._failures = 0
        self._note_rejected(reply)
        self._commit(batch.after)
        return Sent.TAKEN

    def note(self, text: str) -> None:
        """Remember ``text`` among the errors."""
        if text in self.errors:
            self.errors.remove(text)
        self.errors.append(text)
        del self.errors[:-_ERRORS_KEPT]

    def skip(self, mark: Mark) -> None:
        """Go on from ``mark``; nothing had to be sent to get there."""
        self.mark = mark

    def save(self, *, durable: bool = False) -> None:
        """Write down what is not written down yet; ``durable``: so that it survives a power cut."""
        if self._unwritten or durable:
            self._write_down(Record(self.mark, self._doubt), durable=durable)

    def _commit(self, mark: Mark) -> None:
        self.mark = mark
        self._unwritten = True
        if self._arrived is None:
            self._write_down(Record(mark))
        # Otherwise it goes with the note of the next request, or with ``save``: until then a new runner asks.

    def _write_down(self, record: Record, *, durable: bool = False) -> None:
        self._unwritten = False
        try:
            save_record(self._folder, record, durable=durable)
        except AgentError as error:  # a full disk must not stop the console; a new runner would repeat some of it
            if error.message not in self.errors:
                log.warning("the progress of the console cannot be written down: %s", error)
            self.note(error.message)

    def _refused(self, batch: Batch, error: Fatal) -> Sent:
        self.refusal = error.message
        self.note(f"the server refused console events: {error.message}")
        log.info("a request of %d bytes of console was refused: %s", batch.size, error)
        return Sent.TOO_LARGE if getattr(error, "status", 0) == _TOO_LARGE else Sent.REFUSED

    def _note_rejected(self, reply: Any) -> None:
        """The server takes the good events of a request and only counts the bad ones."""
        rejected = reply.get("errors") if isinstance(reply, Mapping) else 0
        if isinstance(reply, Mapping) and rejected:
            why = ", ".join(map(str, reply.get("errors_info") or {}))
            self.note(f"the server rejected {rejected} console events: {why}")
            log.warning("the server rejected %s console events: %s", rejected, why)

    def _back_off(self, now: float, error: AgentError) -> None:
        pause = min(_FIRST_PAUSE * 2 ** min(self._failures, 10), _LONGEST_PAUSE) * (0.5 + self._draw() / 2)
        asked = getattr(error, "retry_after", None)
        if error.again_in is not None:
            pause = error.again_in  # known to all who talk to this server
        elif isinstance(asked, int | float):
            pause = max(pause, min(float(asked), _LONGEST_REFUSED_PAUSE))
        if not self._failures and not error.told:
            log.warning("console waits for the server: %s", error)
        self._failures += 1
        self.note(error.message)
        self.wait(now, pause)
