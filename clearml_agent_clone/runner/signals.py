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
    """While inside: SIGTERM ends the task because the agent is stopped, SIGQUIT does so at once and without grace,
    SIGINT because the user asked for it, and a second SIGINT because the user has no patience any more.
    """
    interrupts = 0

    def handler(number: int, frame: object) -> None:
        nonlocal interrupts
        del frame
        interrupts += number == signal.SIGINT
        cause = Cause.INTERRUPT if number == signal.SIGINT else Cause.SHUTDOWN
        request = StopRequest(cause, now=number == signal.SIGQUIT or interrupts > 1)
        # a thread, because a handler may interrupt the very code that holds the locks a request needs
        threading.Thread(target=runner.request_stop, args=(request,), daemon=True).start()

    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, before)  # whoever started us may have blocked them until now
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
