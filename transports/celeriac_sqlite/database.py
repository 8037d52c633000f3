"""The process's one connection to the file, used on the writer's thread only.

Every step of a statement gives up the interpreter's lock, and getting it back beside a busy event loop takes up to
the switch interval of 5 ms. So a batch is one statement, not one a row: rows go in as one JSON array (`json_each`)
and come out as one (`json_group_array`). Beside a loop that never rests, claiming and acking cost 0.5 ms a message
so, and 5.7 ms row by row; beside an idle one 12 us and 9 us.
"""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from celeriac.errors import AccessRefused, ConnectionLost
from celeriac_sqlite import queries
from celeriac_sqlite.catalog import Catalog
from celeriac_sqlite.failures import is_busy

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA_VERSION = 1
APPLICATION_ID = 0x63656C65  # "cele": what `file` and we tell our databases by
OLDEST_SQLITE = (3, 33, 0)  # UPDATE ... FROM
BUSY_WAIT = 1.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """Return ``moment`` as the file keeps it: whole microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


def moment(micros: int) -> datetime:
    """Return the moment kept as ``micros``."""
    return EPOCH + micros * MICROSECOND


class Database:
    """One connection, one transaction at a time, and what is remembered between transactions.

    Attributes:
        path: the file.
        rings: the kinds of things that the running transaction has changed.
    """

    def __init__(self, path: str, *, keep_trying: Callable[[], bool]) -> None:
        """Connect, and make the tables in a new file. The caller holds the ticket.

        Args:
            path: the file; its folder exists.
            keep_trying: asked about once a second while another program holds the write lock.

        Raises:
            AccessRefused: the file is no database, not ours, or of a newer version.
            sqlite3.Error: anything else.
        """
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise AccessRefused(f"SQLite {sqlite3.sqlite_version} is too old; use 3.33 or later")
        self.path = path
        self.rings: set[str] = set()
        self._keep_trying = keep_trying
        self._numbers = self._numbers_written = 0
        self._topology_changed = False
        self._catalog = Catalog()
        self._connection = sqlite3.connect(path, timeout=BUSY_WAIT, isolation_level=None)
        try:
            self._prepare()
            self._inode = os.stat(path).st_ino  # noqa: PTH116  # one system call on the way of every transaction
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        # before WAL, so that a stranger's file is left as it is
        version = self._pragma("user_version")
        ours = self._pragma("application_id") == APPLICATION_ID
        if not ours and self._one("SELECT count(*) FROM sqlite_master"):
            raise AccessRefused(f"{self.path}: a database of another program; celeriac wants a file of its own")
        if version > SCHEMA_VERSION:
            raise AccessRefused(
                f"{self.path}: written by a newer celeriac (schema {version}, this one reads {SCHEMA_VERSION}); upgrade"
            )
        self._patiently("PRAGMA journal_mode = wal")
        self._connection.execute("PRAGMA synchronous = normal")
        if not ours:  # nobody else makes them now, as we hold the ticket
            schema = files("celeriac_sqlite").joinpath("schema.sql").read_text(encoding="utf-8")
            marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
            self._connection.executescript(f"BEGIN IMMEDIATE; {schema} {marks} COMMIT;")

    def wait_for_disk(self) -> None:
        """Make every commit wait until the disk has it, from now on."""
        self._connection.execute("PRAGMA synchronous = full")

    def close(self) -> None:
        """Close; the last connection to the file folds its log into it."""
        self._connection.close()

    def version(self) -> int:
        """Return a number that is another one whenever another connection has committed.

        Raises:
            ConnectionLost: the file was removed or replaced under us.
        """
        self._refuse_replaced()
        return self._pragma("data_version")

    # -- transactions

    def begin(self, *, write: bool) -> None:
        """Begin a transaction; a writing one excludes all other writers, a reading one no one.

        Raises:
            ConnectionLost: the file was removed or replaced under us.
        """
        self._refuse_replaced()
        self._patiently("BEGIN IMMEDIATE" if write else "BEGIN")
        self.rings = set()
        self._topology_changed = False
        self._numbers, topology = self._connection.execute(queries.STATE).fetchone()
        self._numbers_written = self._numbers
        if topology != self._catalog.version:
            self._catalog = Catalog.read(self, topology)

    def commit(self) -> None:
        """Commit what was written."""
        if self._numbers != self._numbers_written or self._topology_changed:
            self.run(queries.SET_STATE, numbers=self._numbers, topology=self._topology_changed)
        self._connection.execute("COMMIT")

    def end(self) -> None:
        """End a reading transaction."""
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction, if SQLite has not done so itself."""
        self._catalog = Catalog()
        self.rings = set()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    @property
    def catalog(self) -> Catalog:
        """What is declared, as this transaction sees it."""
        return self._catalog

    def topology_changed(self) -> None:
        """Say that exchanges, queues, bindings or pauses were written; read them again."""
        self._topology_changed = True
        self._catalog = Catalog.read(self, Catalog.UNREAD)

    @property
    def last_number(self) -> int:
        """The last number given out."""
        return self._numbers

    def numbers(self, count: int) -> range:
        """Return ``count`` numbers that were never given out before, rising."""
        self._numbers += count
        return range(self._numbers - count + 1, self._numbers + 1)

    # -- statements

    def run(self, sql: str, **values: Any) -> int:
        """Run a statement that answers nothing; return how many rows it changed."""
        return self._patiently(sql, values).rowcount

    def rows(self, sql: str, **values: Any) -> list[Any]:
        """Run a query that answers one JSON array of rows; return the rows."""
        (text,) = self._connection.execute(sql, values).fetchone()
        found: list[Any] = json.loads(text)
        return found

    def _patiently(self, sql: str, values: dict[str, Any] | None = None) -> sqlite3.Cursor:
        while True:
            try:
                return self._connection.execute(sql, values or {})
            except sqlite3.OperationalError as error:
                if not is_busy(error) or not self._keep_trying():
                    raise

    def _refuse_replaced(self) -> None:
        try:
            inode = os.stat(self.path).st_ino  # noqa: PTH116  # one system call on the way of every transaction
        except FileNotFoundError:
            inode = 0
        if inode != self._inode:
            raise ConnectionLost(f"{self.path}: the file was removed or replaced")

    def _pragma(self, name: str) -> int:
        return int(self._one(f"PRAGMA {name}"))

    def _one(self, sql: str) -> Any:
        return self._connection.execute(sql).fetchone()[0]
