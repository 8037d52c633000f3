"""The SQLite transport and result store keep their contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celeriac.errors import ConnectionLost
from celeriac.testing import ResultStoreContract, TransportContract
from celeriac_sqlite.session import _left
from celeriac_sqlite.store import SqliteResultStore
from celeriac_sqlite.transport import SqliteTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


class TestSqlite(TransportContract):
    transport_class = SqliteTransport

    @pytest.fixture
    def transport_urls(self, tmp_path: Path) -> list[str]:
        return [f"sqlite:///{tmp_path}/celeriac.db?lease=5"]  # what a lost consumer held comes back within patience

    @pytest.fixture
    def lease_urls(self, tmp_path: Path) -> list[str]:
        return [f"sqlite:///{tmp_path}/celeriac.db?lease=1"]

    @pytest.fixture
    def other_urls(self, tmp_path: Path) -> list[str]:
        return [f"sqlite:///{tmp_path}/other.db"]

    @pytest.fixture
    def unreachable_urls(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        monkeypatch.chdir(tmp_path)
        return ["sqlite:///no/such/folder/celeriac.db"]

    @pytest.fixture
    def refused_urls(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "notes.txt").write_text("This is no database, and it is to stay as it is." * 100)
        return ["sqlite:///notes.txt"]

    @pytest.fixture
    def cut(self) -> Callable[[SqliteTransport], Awaitable[None]]:
        return _cut


class TestSqliteResults(ResultStoreContract):
    store_class = SqliteResultStore

    @pytest.fixture
    def store_urls(self, tmp_path: Path) -> list[str]:
        return [f"sqlite:///{tmp_path}/celeriac.db"]


async def _cut(transport: SqliteTransport) -> None:
    """Lose one transport's session; a loss of the file itself would take the witness of the same process with it."""
    session = transport._session
    assert session is not None
    session.lose(ConnectionLost("cut by the test"))
    await _left(session._writer, session)
