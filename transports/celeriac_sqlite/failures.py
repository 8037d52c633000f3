"""What SQLite and the file system can do to us, in the port's words."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from celeriac.errors import AccessRefused, ConnectionLost, MessageTooLarge, TransportError, Unsupported

if TYPE_CHECKING:
    from typing import Final

REFUSED: Final = {
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_READONLY,
}
BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
PRIMARY = 0xFF  # the low byte of an extended result code, https://www.sqlite.org/rescode.html


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, or 0 where the error is the Python module's own."""
    return getattr(error, "sqlite_errorcode", 0) & PRIMARY


def is_busy(error: Exception) -> bool:
    """Return whether another connection holds the lock, so that waiting helps."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in BUSY


def is_fatal(error: Exception) -> bool:
    """Return whether the database, not the one request, is in trouble: the disk is full, a page is corrupt, ..."""
    own = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
    if isinstance(error, sqlite3.DatabaseError):
        return not isinstance(error, own) and primary_code(error) not in {sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_ERROR}
    return isinstance(error, OSError)


def as_transport_error(error: Exception, path: str) -> Exception:
    """Return the port's error for ``error``, which the caller keeps as its cause; our own errors stay."""
    match error:
        case TransportError():
            return error
        case PermissionError():
            return AccessRefused(f"{path}: {error.strerror}: {error.filename}")
        case FileNotFoundError() | NotADirectoryError():
            return ConnectionLost(f"{path}: the folder does not exist: {Path(path).parent}")
        case OSError():
            return ConnectionLost(f"{path}: {error}")
        case UnicodeEncodeError():
            return Unsupported(f"a name or id is not valid Unicode text: {error}")
        case sqlite3.Error() if primary_code(error) in REFUSED:
            return AccessRefused(f"{path}: {error}")
        case sqlite3.Error() if primary_code(error) == sqlite3.SQLITE_TOOBIG or isinstance(error, sqlite3.DataError):
            return MessageTooLarge(f"{path}: {error}")
        case sqlite3.Error() if is_fatal(error):
            return ConnectionLost(f"{path}: {error}")
        case sqlite3.Error():
            return TransportError(f"{path}: {error}")
    return error
