"""What a sqlite URL may say."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from celeriac.clock import SystemClock
from celeriac.errors import AccessRefused, ConfigurationError, UnknownOption
from celeriac.topology import Queue
from celeriac_sqlite.address import Address
from celeriac_sqlite.filesystem import refuse_network
from celeriac_sqlite.store import SqliteResultStore
from celeriac_sqlite.transport import SqliteTransport

if TYPE_CHECKING:
    from pathlib import Path


def test_relative_and_absolute():
    assert Address.of(["sqlite:///a/b.db"]).path == os.path.realpath("a/b.db")
    assert Address.of(["sqlite:////var/a%20b%23%3F.db"]).path == "/var/a b#?.db"


def test_two_names_of_one_file_are_one_address(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert Address.of([f"sqlite:///{tmp_path}/link/x.db"]) == Address.of([f"sqlite:///{tmp_path}/x.db"])


def test_options():
    address = Address.of(["sqlite:///x.db?synchronous=normal&lease=1.5"])
    assert not address.full
    assert address.lease == timedelta(seconds=1.5)
    assert Address.of(["sqlite:///x.db"]).full


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite://x.db", "sqlite:///relative.db"),
        ("sqlite:///x#y.db", "%23"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///x.db?synchronous=off", "'full' or 'normal'"),
        ("sqlite:///x.db?lease=0", "from 0.1"),
        ("sqlite:///x.db?lease=nan", "from 0.1"),
        ("sqlite:///x.db?lease=soon", "lease='soon'"),
    ],
)
@pytest.mark.parametrize("kind", [SqliteTransport, SqliteResultStore])
def test_what_cannot_work_is_refused_where_it_is_written(kind: type, url: str, said: str):
    options = {"on_lost": print} if kind is SqliteTransport else {}
    with pytest.raises(ConfigurationError, match=said.replace("?", r"\?")):
        kind([url], clock=SystemClock(), **options)


def test_unknown_options_name_the_nearest():
    with pytest.raises(UnknownOption, match="did you mean 'lease'"):
        Address.of(["sqlite:///x.db?leese=3"])


def test_a_file_has_one_address():
    with pytest.raises(ConfigurationError, match="one URL"):
        Address.of(["sqlite:///x.db", "sqlite:///y.db"])


def test_the_lease_is_a_capability():
    transport = SqliteTransport(["sqlite:///x.db?lease=6"], clock=SystemClock(), on_lost=print)
    known = transport.capabilities(Queue("q", priorities=3))
    assert (known.lease, known.renew_every, known.priority_levels) == (timedelta(seconds=6), timedelta(seconds=2), 3)


MOUNTS = r"""
/dev/vda / ext4 rw 0 0
server:/share /mnt/the\040share nfs4 rw 0 0
/dev/vdb /mnt/the\040share/local ext4 rw 0 0
""".lstrip()


@pytest.mark.parametrize(
    ("path", "refused"),
    [("/x.db", False), ("/mnt/the share/x.db", True), ("/mnt/the share/local/x.db", False), ("/mnt/the shares", False)],
)
def test_network_file_systems_are_refused(tmp_path: Path, path: str, *, refused: bool):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    if refused:
        with pytest.raises(AccessRefused, match="nfs4"):
            refuse_network(path, mounts)
    else:
        refuse_network(path, mounts)


def test_a_system_without_a_list_of_mounts_is_believed(tmp_path: Path):
    refuse_network("/x.db", tmp_path / "nothing here")
