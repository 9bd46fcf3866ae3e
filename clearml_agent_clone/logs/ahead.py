"""Make the next request while this one is under way."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import final

from clearml_agent_clone.logs.batch import Batch

_TURN = 0.0005  # else each time that the request has to wait, it waits 5 ms more until the work lets it go on


@final
class Ahead:
    """Runs ``work`` in a thread of its own for as long as the ``with`` block takes, and until it is done.

    Args:
        work: makes the next request.
        wanted: False does nothing at all: a thread costs more than it saves where there is little to do.
    """

    def __init__(self, work: Callable[[], Batch | None], *, wanted: bool) -> None:
        self._work = work
        self._thread = threading.Thread(target=self._run, name="console-ahead", daemon=True) if wanted else None
        self._batch: Batch | None = None
        self._error: BaseException | None = None
        self._turn = _TURN

    def result(self) -> Batch | None:
        """What ``work`` returned, or raised."""
        if self._error is not None:
            raise self._error
        return self._batch

    def __enter__(self) -> Ahead:
        if self._thread is not None:
            self._turn = sys.getswitchinterval()
            sys.setswitchinterval(_TURN)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.join()
            sys.setswitchinterval(self._turn)

    def _run(self) -> None:
        try:
            self._batch = self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._error = error
