"""What a worker makes of a task that had been a dead letter and was sent back: its old death condemns it no more."""

from __future__ import annotations

from datetime import timedelta

import pytest

from celeriac.message import Dead, Move
from celeriac.protocol import OwnTable
from celeriac.worker.verdict import unknown_task


@pytest.mark.parametrize(
    ("replayed", "action"), [(None, Dead), (timedelta(minutes=1), Move), (timedelta(hours=3), Dead)]
)
def test_an_unknown_task_has_its_deadline_anew(replayed, action, deliver, header_of, policy, now):
    own = OwnTable().add_history({"why": "unknown", "at": (now - timedelta(hours=2)).isoformat()})
    if replayed is not None:
        own = own.add_history({"why": "replayed", "at": (now - replayed).isoformat()})
    delivery = deliver(own=own)
    verdict = unknown_task(delivery, header_of(delivery.message), policy, now)
    assert isinstance(verdict.action, action)


@pytest.mark.parametrize("at", [None, 5, "soon", "0001-01-01T00:00:00+14:00"])
def test_a_strangers_moment_is_none(at):
    assert OwnTable(history=({"why": "replayed", "at": at},)).replayed_at is None


def test_the_last_time_counts(now):
    table = OwnTable()
    for hours in (3, 1):
        table = table.add_history({"why": "replayed", "at": (now - timedelta(hours=hours)).isoformat()})
    assert table.replayed_at == now - timedelta(hours=1)
