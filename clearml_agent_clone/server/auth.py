"""Who calls: key and secret, token or cookie become an ``Identity``, or a 401."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import hmac
import secrets
import sqlite3
import string
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import attrs
import jwt

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.server.config import API_VERSION, EXTENSIONS, SERVER_BUILD, SERVER_VERSION
from clearml_agent_clone.server.db import Database
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.fields import stamp
from clearml_agent_clone.util.files import private_dir, read_json, write_json

COOKIE = "clearml_token_basic"
DEFAULT_TOKEN_LIFE = 30 * 86400
_LONGEST_TOKEN_LIFE = 365 * 86400
_SHORTEST_TOKEN_LIFE = 1
_ALPHABET = string.ascii_uppercase + string.digits
_SECRET_ALPHABET = string.ascii_letters + string.digits + "-_"
_REMEMBERED_TOKENS = 256


@attrs.frozen
class Identity:
    """The user behind a call. ``session`` names the login, ``access_key`` the credentials used for it."""

    user: str
    user_name: str
    company: str
    company_name: str
    role: str = "user"
    session: str = ""
    access_key: str = ""


@attrs.frozen
class KeyPair:
    """Credentials as a client uses them."""

    access_key: str
    secret_key: str


def new_pair() -> KeyPair:
    """Fresh random credentials."""
    return KeyPair(
        "".join(secrets.choice(_ALPHABET) for _ in range(30)),
        "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(50)),
    )


def data_dir(data: Path) -> Path:
    """The data folder, made when it is missing. Raises ``UserError`` when that cannot be done."""
    try:
        return private_dir(data)
    except UserError as error:
        raise UserError(
            error.message,
            remedy="Check the folder's owner and mode, or choose another one with --data",
            code=error.code,
        ) from error


def owner_pair(data: Path) -> KeyPair:
    """The credentials of the folder's owner: those in ``credentials.json``, made when there are none.

    Raises:
        UserError: the folder cannot be written, or the file is not what we wrote.
    """
    path = data_dir(data) / "credentials.json"
    if path.exists():
        stored = read_json(path)
        if isinstance(stored, dict) and stored.get("access_key") and stored.get("secret_key"):
            return KeyPair(str(stored["access_key"]), str(stored["secret_key"]))
        raise UserError(
            f"{path} does not hold an access_key and a secret_key",
            remedy="Remove it, and new credentials are made",
            code="credentials-damaged",
        )
    pair = new_pair()
    write_json(path, attrs.asdict(pair))
    return pair


class Authenticator:
    """Checks credentials and tokens from memory; the tables ``credentials`` and ``revoked_sessions`` are the record.

    One process serves a folder, so memory and tables agree as long as every change passes through here.
    """

    def __init__(self, db: Database, data: Path, owner: Identity, now: dt.datetime) -> None:
        self.extensions = EXTENSIONS
        self._db = db
        self._lock = threading.Lock()
        self.owner = owner
        self._tokens: dict[str, tuple[Identity, float]] = {}
        with db.write() as connection:
            self.pair = self._ensure_owner(connection, data, now)
            self._key = _setting(connection, "token_key", secrets.token_hex(32))
            rows = connection.execute("SELECT access_key, secret_hash FROM credentials WHERE revoked = 0")
            self._hashes: dict[str, str] = dict(rows.fetchall())
            self._revoked = {row[0] for row in connection.execute("SELECT session FROM revoked_sessions")}

    def authenticate(self, authorization: str, cookie: str) -> Identity:
        """The identity behind an ``Authorization`` header, or, when there is none, behind the login cookie.

        Raises:
            ApiFault: 401; subcode 20 nothing sent, 10 unknown scheme, 22 wrong pair, 30 bad or expired token.
        """
        if not authorization:
            if cookie:
                return self.check_token(cookie)
            raise ApiFault(401, 20, "Unauthorized (missing credentials)")
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return self.check_token(rest.strip())
        if scheme.lower() == "basic":
            return self._check_basic(rest.strip())
        raise ApiFault(401, 10, f"Unauthorized (bad authentication header type): {scheme[:20]}")

    def check_pair(self, pair: KeyPair) -> Identity:
        """The identity that ``pair`` belongs to. Raises ``ApiFault`` 401/22."""
        expected = self._hashes.get(pair.access_key, "")
        if not hmac.compare_digest(_digest(pair.secret_key), expected or _digest("")) or not expected:
            raise ApiFault(401, 22, "Unauthorized (invalid credentials) (failed to locate provided credentials)")
        return attrs.evolve(self.owner, access_key=pair.access_key)

    def check_token(self, token: str) -> Identity:
        """The identity in ``token``. Raises ``ApiFault`` 401/30 when it is not ours, expired or revoked."""
        known = self._tokens.get(token)
        if known is None:
            known = self._decode(token)
        identity, expires = known
        if expires <= time.time() or identity.session in self._revoked or not self._alive(identity):
            self._tokens.pop(token, None)
            raise ApiFault(401, 30, "Unauthorized (invalid token): the token has expired or was revoked")
        return identity

    def issue_token(self, identity: Identity, life: int) -> str:
        """A token for ``identity``, valid for ``life`` seconds (0: the default of 30 days, at most a year)."""
        life = DEFAULT_TOKEN_LIFE if not life else max(_SHORTEST_TOKEN_LIFE, min(life, _LONGEST_TOKEN_LIFE))
        issued = time.time()
        claims = {
            "auth_type": "Bearer",
            "env": "<unknown>",
            "iat": issued,
            "exp": issued + life,
            "session_id": identity.session or uuid.uuid4().hex,
            "access_key": identity.access_key,
            "identity": {
                "user": identity.user,
                "company": identity.company,
                "role": identity.role,
                "user_name": identity.user_name,
                "company_name": identity.company_name,
            },
            "api_version": API_VERSION,
            "server_version": SERVER_VERSION,
            "server_build": SERVER_BUILD,
            "feature_set": "basic",
            "extensions": list(self.extensions),
        }
        return jwt.encode(claims, self._key, algorithm="HS256")

    def add_pair(self, db: sqlite3.Connection, pair: KeyPair, label: str, now: dt.datetime) -> None:
        """Record ``pair`` as the owner's; it counts from the commit on (call ``reload`` then)."""
        db.execute(
            "INSERT INTO credentials (access_key, secret_hash, user, label, created) VALUES (?, ?, ?, ?, ?)",
            (pair.access_key, _digest(pair.secret_key), self.owner.user, label, stamp(now)),
        )

    def reload(self) -> None:
        """Take over what was committed to the tables."""
        with self._lock, self._db.read() as db:
            self._hashes = dict(db.execute("SELECT access_key, secret_hash FROM credentials WHERE revoked = 0"))
            self._revoked = {row[0] for row in db.execute("SELECT session FROM revoked_sessions")}

    def _alive(self, identity: Identity) -> bool:
        return identity.access_key in self._hashes

    def _check_basic(self, encoded: str) -> Identity:
        try:
            access_key, colon, secret_key = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            access_key = colon = secret_key = ""
        if not colon:
            raise ApiFault(401, 21, "Unauthorized (malformed credentials)")
        return self.check_pair(KeyPair(access_key, secret_key))

    def _decode(self, token: str) -> tuple[Identity, float]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._key, algorithms=["HS256"], options={"require": ["exp"], "verify_iat": False}
            )
            who = claims["identity"]
            identity = Identity(
                who["user"],
                who["user_name"],
                who["company"],
                who["company_name"],
                who["role"],
                claims["session_id"],
                claims["access_key"],
            )
        except (jwt.PyJWTError, KeyError, TypeError) as error:
            raise ApiFault(401, 30, f"Unauthorized (invalid token): {error}") from None
        if len(self._tokens) >= _REMEMBERED_TOKENS:
            self._tokens.clear()
        self._tokens[token] = known = (identity, float(claims["exp"]))
        return known

    def _ensure_owner(self, db: sqlite3.Connection, data: Path, now: dt.datetime) -> KeyPair:
        pair = owner_pair(data)
        row = db.execute("SELECT secret_hash, revoked FROM credentials WHERE access_key = ?", (pair.access_key,))
        found = row.fetchone()
        if found == (_digest(pair.secret_key), 0):
            return pair
        if found is not None:  # revoked, or the file was written by hand: this key must not come back to life
            (data / "credentials.json").unlink()
            return self._ensure_owner(db, data, now)
        self.add_pair(db, pair, "owner", now)
        return pair


def owner_identity(db: Database, user_name: str) -> Identity:
    """The one user of a folder; ids and names are made at the first start and stay."""
    with db.write() as connection:
        return Identity(
            user=_setting(connection, "user", uuid.uuid4().hex),
            user_name=_setting(connection, "user_name", user_name),
            company=_setting(connection, "company", uuid.uuid4().hex),
            company_name=_setting(connection, "company_name", "clearml"),
        )


def _setting(db: sqlite3.Connection, name: str, initial: str) -> str:
    db.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, initial))
    return str(db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()[0])


def _digest(secret: str) -> str:
    # The secrets are 300 random bits: a fast hash is enough, there is nothing to guess.
    return hashlib.sha256(secret.encode()).hexdigest()
