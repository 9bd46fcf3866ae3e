"""Documents in SQLite: heads, parts, columns; migrations; transactions."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.server.db import Database
from clearml_agent_clone.server.documents import TASKS
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.schema import migrate


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "x.db")
    yield made
    made.close()


def test_document_comes_back_whole(db: Database) -> None:
    task = {"id": "a", "name": "n", "status": "created", "script": {"diff": "d"}, "hyperparams": {}, "tags": ["ü"]}
    with db.write() as connection:
        TASKS.insert(connection, {**task, "comment": None})
    with db.read() as connection:
        assert TASKS.get(connection, "a") == task
        assert TASKS.get(connection, "a", "id") == {k: v for k, v in task.items() if k not in TASKS.parts}
        assert TASKS.get(connection, "a", "script")["script"] == {"diff": "d"}
        assert TASKS.find(connection, "b") is None
        with pytest.raises(ApiFault):
            TASKS.get(connection, "b")
        assert connection.execute("SELECT name, status FROM tasks").fetchall() == [("n", "created")]


def test_patch_sets_and_removes_and_leaves_the_rest(db: Database) -> None:
    with db.write() as connection:
        TASKS.insert(connection, {"id": "a", "name": "n", "script": {"diff": "d"}, "execution": {"queue": "q", "x": 1}})
        TASKS.patch(connection, "a", {"status": "queued", "execution.queue": None, "output.error": "e", "script": None})
        found = TASKS.get(connection, "a")
        assert found == {"id": "a", "name": "n", "status": "queued", "execution": {"x": 1}, "output": {"error": "e"}}
        assert connection.execute("SELECT status FROM tasks").fetchall() == [("queued",)]
        with pytest.raises(ApiFault):
            TASKS.patch(connection, "b", {"status": "queued"})


def test_a_change_of_the_head_does_not_touch_the_parts(db: Database) -> None:
    with db.write() as connection:
        TASKS.insert(connection, {"id": "a", "script": {"diff": "d"}})
        row = connection.execute("SELECT rowid, doc FROM tasks_parts").fetchall()
        TASKS.patch(connection, "a", {"status": "queued"})
        assert connection.execute("SELECT rowid, doc FROM tasks_parts").fetchall() == row
        assert TASKS.delete(connection, "a")
        assert not TASKS.delete(connection, "a")
        assert connection.execute("SELECT COUNT(*) FROM tasks_parts").fetchone() == (0,)


def test_a_failed_transaction_leaves_nothing(db: Database) -> None:

    def insert_and_fail() -> None:
        with db.write() as connection:
            TASKS.insert(connection, {"id": "a"})
            TASKS.patch(connection, "b", {"status": "queued"})

    with pytest.raises(ApiFault):
        insert_and_fail()
    with db.write() as connection:
        assert TASKS.find(connection, "a") is None


def test_a_reader_cannot_write_and_sees_one_moment(db: Database) -> None:
    with db.read() as reader:
        assert TASKS.find(reader, "a") is None
        with db.write() as writer:
            TASKS.insert(writer, {"id": "a"})
        assert TASKS.find(reader, "a") is None
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM tasks")
    with db.read() as reader:
        assert TASKS.find(reader, "a") == {"id": "a"}


def test_writers_take_turns(db: Database) -> None:
    with db.write() as connection:
        TASKS.insert(connection, {"id": "a", "last_iteration": 0})

    def add() -> None:
        for _ in range(50):
            with db.write() as connection:
                TASKS.patch(connection, "a", {"last_iteration": TASKS.get(connection, "a")["last_iteration"] + 1})

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.read() as connection:
        assert TASKS.get(connection, "a")["last_iteration"] == 200


def test_the_file_is_private_and_waits_for_the_disk(db: Database, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "x.db").stat().st_mode) == 0o600
    with db.read() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_migrations_run_once_and_in_order() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    first = {"a": ["CREATE TABLE one (x)"], "b": ["CREATE TABLE two (x)"]}
    migrate(db, first)
    migrate(db, first)
    migrate(db, {"a": [*first["a"], "ALTER TABLE one ADD COLUMN y; INSERT INTO one VALUES (1, 2)"], "b": first["b"]})
    assert db.execute("SELECT * FROM one").fetchall() == [(1, 2)]
    assert dict(db.execute("SELECT * FROM schema_versions")) == {"a": 2, "b": 1}
    with pytest.raises(UserError, match="newer server"):
        migrate(db, first)
    db.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match="newer server"):
        migrate(db, first)
    db.close()


def test_a_failed_migration_changes_nothing() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrate(db, {"a": ["CREATE TABLE one (x); INSERT INTO nowhere VALUES (1)"]})
    assert not db.in_transaction
    migrate(db, {"a": ["CREATE TABLE one (x)"]})
    db.close()
