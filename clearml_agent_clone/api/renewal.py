"""Credentials that are replaced in the configuration while an agent runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from clearml_agent_clone.api.access import ServerAccess
from clearml_agent_clone.config import Loaded, reload
from clearml_agent_clone.errors import AgentError

log = logging.getLogger(__name__)


def access_anew(loaded: Loaded, learn: Callable[[Iterable[str]], object]) -> Callable[[], ServerAccess | None]:
    """The ``reload`` of a ``Session``: the access as the configuration files describe it by now.

    It is called when the server refuses our credentials, so that new ones in ``clearml.conf`` are used without a
    restart. A configuration that cannot be read is none; what is in it is logged.

    Args:
        loaded: the configuration that the current credentials are from.
        learn: is told the secrets of what was read, before they are used: the ``add`` of a redactor.
    """
    current = [loaded]

    def again() -> ServerAccess | None:
        try:
            current[0] = reload(current[0])
            learn(current[0].secrets)
            return ServerAccess.from_settings(current[0].settings.api)
        except AgentError as error:
            log.warning("the configuration cannot be read again: %s", error)
            return None

    return again
