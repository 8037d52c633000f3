"""Which file systems cannot carry a database that several processes write: the network's.

SQLite's WAL needs memory that all its users share, hence one machine (https://www.sqlite.org/wal.html, section 1).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from celeriac.errors import AccessRefused

NETWORK = frozenset(
    {"afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
)
MOUNTS = Path("/proc/self/mounts")


def refuse_network(path: str, mounts: Path = MOUNTS) -> None:
    """Raise if ``path`` lies on a network file system; where the system has no list of mounts, believe it.

    Raises:
        AccessRefused: with the kind of the file system.
    """
    try:
        table = mounts.read_text(errors="surrogateescape")
    except OSError:
        return
    best, kind = "", ""
    for line in table.splitlines():
        _, point, name, *_ = line.split(" ")
        point = _unescaped(point)
        if len(point) >= len(best) and os.path.commonpath([point, path]) == point:
            best, kind = point, name
    if kind in NETWORK:
        raise AccessRefused(f"{path}: SQLite cannot be shared over a network file system ({kind} at {best})")


def make(folder: Path) -> None:
    """Make ``folder`` if it is not there; a last user may remove it at any moment.

    Raises:
        OSError: it cannot be made, or something else has its name.
    """
    try:
        folder.mkdir()
    except FileExistsError:
        if not _is_folder_or_gone(folder):
            raise


def _is_folder_or_gone(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)  # one look: between two it may go
    except FileNotFoundError:
        return not path.is_symlink()  # one to nothing stays, and whoever makes the folder again would never be done


def _unescaped(point: str) -> str:
    # proc(5): blanks stand as octal escapes
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, char)
    return point
