"""Logging in, and staying logged in."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from clearml_agent_clone.api.access import ONCE, Retry, ServerAccess
from clearml_agent_clone.api.answers import Unauthorized, read_answer, wrong_answer
from clearml_agent_clone.api.errors import (
    CredentialsRefused,
    InvalidRequest,
    NotClearML,
    ServerBusy,
    ServerUnreachable,
)
from clearml_agent_clone.api.patience import Attempt, Patience
from clearml_agent_clone.api.token import Token
from clearml_agent_clone.api.transport import Request, Transport
from clearml_agent_clone.errors import Retryable

log = logging.getLogger(__name__)

_RENEW_AGAIN = 60.0


class Login:
    """Holds the token of one session; threads that need a new one at the same time get the same one.

    Args:
        access: the credentials, and how early a token is renewed.
        transport: sends the login.
        headers: sent with it.
        patience: repeats it.
        clock: Unix seconds.
        known: a ClearML server has answered at this address before.
        reload: gets the access anew when the server refuses its credentials; None when it cannot.
    """

    def __init__(
        self,
        access: ServerAccess,
        transport: Transport,
        headers: Mapping[str, str],
        patience: Patience,
        *,
        clock: Callable[[], float],
        known: bool = False,
        reload: Callable[[], ServerAccess | None] | None = None,
    ) -> None:
        self._access = access
        self._transport = transport
        self._headers = headers
        self._patience = patience
        self._clock = clock
        self._known = known
        self._reload = reload
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._renew_at = float("inf")

    def valid(self, retry: Retry, *, refused: Token | None = None, cancel: threading.Event | None = None) -> Token:
        """The token to use: the current one, or a new one.

        Args:
            retry: patience of a login. With ``ONCE`` the login is part of a call, which has a patience of its own.
            refused: a token that the server did not accept; another one is returned.
            cancel: gives the login up when it is set.

        Raises:
            ServerUnreachable, ServerBusy: no login within the patience.
            CredentialsRefused: there are no credentials, or the server does not accept them.
            NotClearML: something else answers at this address.
        """
        with self._lock:
            token = self._token
            if token is None or token is refused:
                return self._log_in(retry, cancel)
            if self._clock() >= self._renew_at:
                try:
                    return self._log_in(ONCE, cancel)
                except (Retryable, CredentialsRefused):
                    # The old token still works: let the caller have it. If it does not, the 401 tells.
                    self._renew_at = self._clock() + _RENEW_AGAIN
            return token

    def renew(self) -> None:
        """Log in anew, whether or not that is needed."""
        with self._lock:
            self._log_in(ONCE, None)

    def refusal(self, error: Unauthorized) -> CredentialsRefused:
        """A 401 in words."""
        if self._access.token:
            what, remedy = "the token", "It may have expired or been revoked: get a new one, or use a key pair"
        else:
            what = "the key pair"
            remedy = "Check api.credentials, or make new credentials in the web interface's settings"
        return CredentialsRefused(
            f"{self._access.url} does not accept {what}: {error.message} (code 401/{error.subcode})", remedy=remedy
        )

    def _log_in(self, retry: Retry, cancel: threading.Event | None) -> Token:
        access = self._access
        try:
            if retry == ONCE:
                data = self._ask(cancel)
            else:
                how = Attempt("auth.login")
                data = self._patience.persist(lambda: self._ask(cancel), retry, how)
        except (ServerUnreachable, ServerBusy) as error:
            error.may_have_acted = False  # on the call that needs the login: it has not been sent yet
            raise
        text = data.get("token")
        if not isinstance(text, str) or not text:
            raise CredentialsRefused(
                f"{access.url} answered the login without a token",
                remedy="Check api.api_server; a proxy may answer in the server's place",
                code="login-without-token",
            )
        now = self._clock()
        token = Token.read(text, now, access.max_api_version)
        self._token, self._renew_at = token, float("inf")
        if token.lifetime is not None:
            # Half of the life at the latest: with a shorter life than the threshold every call would log in anew.
            self._renew_at = now + token.lifetime - min(access.refresh_threshold, token.lifetime / 2)
        return token

    def _ask(self, cancel: threading.Event | None) -> dict[str, Any]:
        """One login; a second one when it is refused, and the configuration has other credentials by now."""
        try:
            return self._ask_as_we_are(cancel)
        except CredentialsRefused:
            fresh = self._reload() if self._reload is not None else None
            if fresh is None or _credentials(fresh) == _credentials(self._access):
                raise
            log.info("trying the credentials that the configuration has now")
            self._access = fresh
        return self._ask_as_we_are(cancel)

    def _ask_as_we_are(self, cancel: threading.Event | None) -> dict[str, Any]:
        access = self._access
        fields = {} if access.requested_lifetime is None else {"expiration_sec": access.requested_lifetime}
        headers = {**self._headers, "Content-Type": "application/json", "Authorization": self._authorization()}
        request = Request("/auth.login", headers, json.dumps(fields).encode(), access.login_timeout)
        try:
            return read_answer(self._transport.send(request, stop=cancel), "auth.login", access)
        except Unauthorized as error:
            raise self.refusal(error) from None
        except NotClearML as error:
            raise (wrong_answer(error) if self._known or self._token is not None else error) from None
        except InvalidRequest as error:
            if error.status == 403:
                raise self.refusal(Unauthorized(error.subcode, error.server_message)) from None
            raise

    def _authorization(self) -> str:
        access = self._access
        if access.token:
            return f"Bearer {self._token.text if self._token else access.token}"
        if not access.access_key or not access.secret_key:
            name = "secret_key" if access.access_key else "access_key"
            raise CredentialsRefused(
                f"api.credentials.{name} is not set",
                remedy='Run "clearml-agent init", or set CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY',
                code="credentials-missing",
            )
        return "Basic " + base64.b64encode(f"{access.access_key}:{access.secret_key}".encode()).decode()


def _credentials(access: ServerAccess) -> tuple[str, str, str]:
    return access.access_key, access.secret_key, access.token
