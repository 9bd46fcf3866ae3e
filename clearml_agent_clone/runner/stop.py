"""A request to end a task, and the one place where the first of several is kept."""

from __future__ import annotations

import os
import threading
from typing import Any

import attrs

from clearml_agent_clone.runner.outcome import Cause, Outcome
from clearml_agent_clone.runner.patience import Patience


@attrs.frozen
class StopRequest:
    """Somebody wants the task ended.

    ``callback_seconds`` is how long the task's own abort callback may take before anything is signalled, 0 without
    one. ``announced`` is the line for the console. ``now``: there is no time for grace, or none any more.
    """

    cause: Cause
    detail: str = ""
    announced: str = ""
    callback_seconds: float = 0.0
    now: bool = False

    @classmethod
    def from_record(cls, data: object) -> StopRequest | None:
        """The request written by ``to_record``, None when there is none. It has been announced."""
        if not isinstance(data, dict):
            return None
        try:
            return cls(
                Cause(data["cause"]), str(data["detail"]), "", float(data["callback_seconds"]), bool(data["now"])
            )
        except (KeyError, TypeError, ValueError):
            return None

    def to_record(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "cause": self.cause.value}

    @property
    def with_agent(self) -> bool:
        """Whether the agent itself is to end, and not only the task."""
        return self.cause in {Cause.SHUTDOWN, Cause.INTERRUPT}


class StopSignal:
    """Keeps the first request, gives up what is being prepared, wakes who waits for the user's process."""

    def __init__(self, patience: Patience | None = None) -> None:
        self.cancel = threading.Event()
        self.wake, self._write = os.pipe()
        self._lock = threading.Lock()
        self._request: StopRequest | None = None
        self._hurried = threading.Event()
        self._patience = patience or Patience(threading.Event())

    def set(self, request: StopRequest) -> None:
        """Ask for the end; only the first request counts, but any may be in a hurry. May be called from any thread."""
        self.resume(request)
        self._patience.stop_asked(with_agent=request.with_agent, now=request.now)

    def resume(self, request: StopRequest) -> None:
        """Go on with what an earlier runner of this run was asked for. The agent itself may have been started anew."""
        with self._lock:
            if request.now:
                self._hurried.set()
            if self._request is None:
                self._request = request
                self.cancel.set()
                os.write(self._write, b"x")

    @property
    def request(self) -> StopRequest | None:
        """The request that counts."""
        return self._request

    def hurried(self) -> bool:
        """Whether somebody has no patience any more."""
        return self._hurried.is_set()

    def outcome(self, exit_code: int | None, *, begun: bool = True) -> Outcome:
        """The end of a run that was stopped."""
        request = self._request or StopRequest(Cause.SHUTDOWN)
        return Outcome(request.cause, exit_code, request.detail, begun=begun)

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self.wake)
        os.close(self._write)
