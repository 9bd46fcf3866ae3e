"""The token of a login, and what it tells about the server."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import attrs

from clearml_agent_clone.api.types import text


@attrs.frozen
class ServerInfo:
    """Who answers and what it can.

    Args:
        api_version: level of the API, such as (2, 34); (0, 0) when the server does not say.
        server_version: such as ``2.3.0``.
        feature_set: ``basic`` for the open server.
        extensions: what the server can beyond the API, for example ``queues.get_next_task.wait``.
        user: id of the user that we are logged in as.
        user_name: the user's name.
        company: id of the user's company.
    """

    api_version: tuple[int, int] = (0, 0)
    server_version: str = ""
    feature_set: str = "basic"
    extensions: frozenset[str] = frozenset()
    user: str = ""
    user_name: str = ""
    company: str = ""

    def speaks(self, major: int, minor: int) -> bool:
        """Whether the server's level is at least this one."""
        return self.api_version >= (major, minor)


@attrs.frozen
class Token:
    """A bearer token.

    Args:
        text: what goes into the header.
        server: what it tells about the server.
        lifetime: seconds from its making to its end; None when it never ends or does not say.
    """

    text: str = attrs.field(repr=False)
    server: ServerInfo = attrs.Factory(ServerInfo)
    lifetime: float | None = None

    @classmethod
    def read(cls, token: str, now: float, max_api_version: tuple[int, int] | None = None) -> Token:
        """Read what ``token`` says about itself.

        The signature is the server's own business: it is the one that checks tokens, and what is read here only tells
        us how to talk to it. A token that is not a JWT is used without knowing anything about it.

        Args:
            token: as the server gave it.
            now: Unix seconds; counts only where the token does not say when it was made.
            max_api_version: upper bound of the level that is believed.
        """
        claims = _claims(token)
        identity = claims.get("identity")
        who = identity if isinstance(identity, Mapping) else {}
        level = parse_version(claims.get("api_version"))
        extensions = claims.get("extensions")
        server = ServerInfo(
            api_version=min(level, max_api_version) if max_api_version and level > (0, 0) else level,
            server_version=text(claims.get("server_version")),
            feature_set=text(claims.get("feature_set")) or "basic",
            extensions=frozenset(map(text, extensions)) if isinstance(extensions, list) else frozenset(),
            user=text(who.get("user")),
            user_name=text(who.get("user_name")),
            company=text(who.get("company")),
        )
        return cls(token, server, _lifetime(claims, now))


def parse_version(value: object) -> tuple[int, int]:
    """``"2.34"`` as (2, 34), so that 2.9 is less than 2.34; (0, 0) for anything else."""
    major, _, minor = text(value).strip().partition(".")
    try:
        return int(major), int(minor or 0)
    except ValueError:
        return 0, 0


def _lifetime(claims: Mapping[str, Any], now: float) -> float | None:
    # Both stamps are the server's, so that their difference holds where its clock and ours do not agree.
    end, begin = _number(claims.get("exp")), _number(claims.get("iat"))
    return None if end is None else max(0.0, end - (now if begin is None else begin))


def _number(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return None


def _claims(token: str) -> Mapping[str, Any]:
    # Not by pyjwt, with which the server signs: importing any part of it takes 45 ms, and where cryptography is
    # installed 100 ms and 19 MB, which every start and every runner would pay for what is base64 and JSON here.
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, Mapping) else {}
