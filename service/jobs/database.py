"""The SQLite database of jobs: its schema, and transactions that write."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    key TEXT UNIQUE,
    digest TEXT NOT NULL,
    model TEXT NOT NULL,
    version INTEGER,
    signature TEXT,
    status TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL,
    unit TEXT NOT NULL,
    created_at REAL NOT NULL,
    queued_until REAL NOT NULL,
    result_seconds REAL NOT NULL,
    started_at REAL,
    completed_at REAL,
    expires_at REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    worker TEXT,
    leased_until REAL,
    error TEXT,
    revision INTEGER NOT NULL DEFAULT 1,
    bytes INTEGER NOT NULL,
    path TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB,
    kept_bytes INTEGER,
    result_status INTEGER,
    result_headers TEXT,
    result BLOB,
    result_kept_bytes INTEGER,
    owner TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, number);
CREATE TABLE IF NOT EXISTS expired (id TEXT PRIMARY KEY, forget_at REAL NOT NULL)
STRICT;
"""

BUSY_SECONDS = 10.0
"""Timeout for another process's lock."""


class Database:
    """One connection to the file at `path`, used by one thread at a time.

    Whoever writes begins with `BEGIN IMMEDIATE`: a transaction that begins by reading
    can't wait for a writer. All raise `sqlite3.Error`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: sqlite3.Connection | None = None

    def open(self) -> None:
        connection = sqlite3.connect(
            self._path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        # A job that was accepted outlives a power cut, too.
        connection.execute("PRAGMA synchronous = FULL")
        self._opened = connection

        with self.writing() as database:
            for statement in filter(str.strip, SCHEMA.split(";")):
                database.execute(statement)

            columns = database.execute("PRAGMA table_info(jobs)").fetchall()
            # A database of an earlier release has none.
            if "owner" not in {column["name"] for column in columns}:
                database.execute("ALTER TABLE jobs ADD COLUMN owner TEXT")

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Run the block as one transaction, which an exception undoes."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")

        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise

        connection.execute("COMMIT")

    def all(self, sql: str, **values: Any) -> list[sqlite3.Row]:
        # All at once: a statement that isn't finished holds its snapshot open.
        return self._connection.execute(sql, values).fetchall()

    @property
    def _connection(self) -> sqlite3.Connection:
        assert self._opened is not None, "the database isn't open"
        return self._opened
