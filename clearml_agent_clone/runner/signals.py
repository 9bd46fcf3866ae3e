"""Signals to a runner become requests to end its task."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from clearml_agent_clone.runner.outcome import Cause
from clearml_agent_clone.runner.runner import Runner
from clearml_agent_clone.runner.stop import StopRequest


@contextlib.contextmanager
def stop_on_signals(runner: Runner) -> Iterator[None]:
    """While inside, SIGTERM stops the task because the agent is stopped, SIGINT because the user asked for it."""

    def handler(number: int, frame: object) -> None:
        del frame
        cause = Cause.INTERRUPT if number == signal.SIGINT else Cause.SHUTDOWN
        # a thread, because a handler may interrupt the very code that holds the locks a request needs
        threading.Thread(target=runner.request_stop, args=(StopRequest(cause),), daemon=True).start()

    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
