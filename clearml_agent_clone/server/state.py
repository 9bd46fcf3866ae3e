"""What the parts of one running server share."""

from __future__ import annotations

import getpass
from concurrent.futures import ThreadPoolExecutor

import attrs
import filelock

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.server.auth import Authenticator, data_dir, owner_identity
from clearml_agent_clone.server.config import ServerConfig
from clearml_agent_clone.server.db import Database
from clearml_agent_clone.server.waiting import Arrivals
from clearml_agent_clone.util.files import private_dir

_THREADS = 8


@attrs.frozen
class Addresses:
    """Where clients reach the three services, without a trailing slash."""

    api: str
    web: str
    files: str


def addresses(host: str, api: int, web: int, files: int) -> Addresses:
    """The addresses of a server on these ports of ``host``, as a client on this machine calls them."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - not bound here, only told apart: it is no address to call
        host = "127.0.0.1"
    shown = f"[{host}]" if ":" in host else host
    return Addresses(*(f"http://{shown}:{port}" for port in (api, web, files)))


@attrs.define
class ServerState:
    """Database, credentials, threads and the waiting line of one server. ``close`` ends it."""

    config: ServerConfig
    addresses: Addresses
    db: Database
    auth: Authenticator
    arrivals: Arrivals
    threads: ThreadPoolExecutor
    lock: filelock.BaseFileLock

    def close(self) -> None:
        """Let running calls end, then close the database."""
        self.threads.shutdown(wait=True)
        self.db.close()
        self.lock.release()


def open_state(config: ServerConfig, addresses: Addresses) -> ServerState:
    """Open the data folder, making what is missing.

    Raises:
        UserError: the folder cannot be written, is in use by another server or was written by a newer one.
    """
    data_dir(config.data)
    lock = _lock(config)
    try:
        private_dir(config.files_dir)
        db = Database(config.database, synchronous=config.synchronous)
        owner = owner_identity(db, _user_name())
        auth = Authenticator(db, config.data, owner, config.clock())
        auth.extensions = config.extensions
    except BaseException:  # the folder must be free again for whoever repairs it
        lock.release()
        raise
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="api")
    return ServerState(config, addresses, db, auth, Arrivals(), threads, lock)


def _lock(config: ServerConfig) -> filelock.BaseFileLock:
    lock = filelock.FileLock(config.data / "server.lock", timeout=0, mode=0o600, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise UserError(
            f"{config.data} is in use by another server",
            remedy="Stop that one, or give this one another folder with --data",
            code="data-in-use",
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot write {config.data}: {error.strerror or error}",
            remedy="Check the folder's owner and mode, or choose another one with --data",
            code="not-writable",
        ) from error
    return lock


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user in the password file: usual in containers
        return "user"
