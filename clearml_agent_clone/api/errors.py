"""What can go wrong between the agent and its server, told apart by what the caller does about it.

No text in here ever holds a key, a token or the user part of a URL.
"""

from __future__ import annotations

import enum

from clearml_agent_clone.errors import Fatal, Retryable, UserError


class Subcode(enum.IntEnum):
    """``result_subcode`` of refused requests (HTTP 400) that callers tell apart."""

    NO_SUCH_TASK = 101
    STATUS_FORBIDS = 110
    STATUS_CHANGED = 121
    NO_EVENT_ADDED = 131
    NO_SUCH_QUEUE = 701
    NOT_IN_QUEUE = 703
    ALREADY_QUEUED = 706
    NO_DEFAULT_QUEUE = 707
    SEVERAL_DEFAULT_QUEUES = 708


class ServerUnreachable(Retryable):
    """No answer: refused, name not found, TLS, timeout, connection lost.

    Args:
        may_have_acted: the request was sent, so that the server may have done what it asked before it fell silent.
        passing: waiting may cure it; False for a certificate that will not become valid by asking again.
    """

    default_code = "server-unreachable"

    def __init__(
        self, message: str, *, remedy: str = "", code: str = "", may_have_acted: bool = False, passing: bool = True
    ) -> None:
        super().__init__(message, remedy=remedy, code=code)
        self.may_have_acted = may_have_acted
        self.passing = passing


class ServerBusy(Retryable):
    """The server, or the proxy before it, answered 429 or 5xx.

    Args:
        status: the HTTP status.
        retry_after: the pause in seconds that the server asked for; None when it asked for none.
    """

    default_code = "server-busy"

    def __init__(self, message: str, *, status: int, retry_after: float | None = None, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.retry_after = retry_after
        self.may_have_acted = status not in {429, 503, 509}

    @property
    def passing(self) -> bool:
        """Whether the status means "later"; 500 and 501 mean "broken", which a repeated request seldom cures."""
        return self.status in {429, 502, 503, 504, 509}


class CredentialsRefused(UserError):  # noqa: N818 - named by what happened
    """The server does not accept the key pair or the token, or there is none."""

    default_code = "credentials-refused"


class NotClearML(UserError):  # noqa: N818 - named by what happened
    """Something answers at ``api.api_server``, but it is not a ClearML API server."""

    default_code = "not-clearml"


class NotFound(UserError):  # noqa: N818 - named by what happened
    """A task or queue that was named does not exist (codes ``task-not-found`` and ``queue-not-found``)."""

    default_code = "not-found"


class EndpointMissing(Fatal):
    """The server is older than the call, or has no such call in its edition."""

    default_code = "endpoint-missing"

    def __init__(self, message: str, *, endpoint: str, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.endpoint = endpoint


class InvalidRequest(Fatal):
    """The server understood the request and refused it.

    Args:
        endpoint: such as ``tasks.started``.
        status: HTTP status (400, 403 ...).
        subcode: the server's own number for the reason; see ``Subcode``.
        server_message: the server's words.
    """

    default_code = "invalid-request"

    def __init__(
        self, message: str, *, endpoint: str, status: int, subcode: int, server_message: str, remedy: str = ""
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.endpoint = endpoint
        self.status = status
        self.subcode = subcode
        self.server_message = server_message

    def is_about(self, subcode: Subcode) -> bool:
        """Whether it is the refusal (HTTP 400) with this subcode."""
        return self.status == 400 and self.subcode == subcode
