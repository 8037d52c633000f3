"""Faults planted in celeriac, each of which the simulator must find: what it could not find it does not guard."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac import publisher
from celeriac.message import CONFIRMED, Move, SettleReceipt
from celeriac.worker import admit, decide, flow, receive, revocations, settle, verdict
from celeriac.worker.pace import Pace
from celeriac_memory.broker import Broker
from celeriac_memory.queue import MemoryQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def acks_before_it_stores(patch: pytest.MonkeyPatch) -> None:
    async def write(self, items):
        for item in items:
            if item.verdict.action is not None:
                await self._settle(item.consumer, [item])
        await self._store_all([item for item in items if item.verdict.record is not None])

    patch.setattr(settle.Settler, "_write", write)


def stores_nothing(patch: pytest.MonkeyPatch) -> None:
    async def store_all(self, items):
        return ()

    patch.setattr(settle.Settler, "_store_all", store_all)


def forgets_what_waits_when_it_stops(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(flow.Flow, "give_back_unstarted", lambda self: None)


def forgets_the_next_attempt(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_retried", lambda *_: verdict.Verdict(why="retry"))


def loses_the_copies_of_a_move(patch: pytest.MonkeyPatch) -> None:
    real = Broker._successors

    def successors(self, held, settlement, now):
        return [] if isinstance(settlement.action, Move) else real(self, held, settlement, now)

    patch.setattr(Broker, "_successors", successors)


def admits_what_has_expired(patch: pytest.MonkeyPatch) -> None:
    real = admit._refusal
    patch.setattr(
        admit, "_refusal", lambda delivery, header, *rest: real(delivery, replace(header, expires=None), *rest)
    )


def lets_the_loser_of_a_lease_settle(patch: pytest.MonkeyPatch) -> None:
    real = Broker.settle

    def settle_all(self, window, settlements, now):
        receipts = real(self, window, settlements, now)
        for settlement, receipt in zip(settlements, receipts, strict=True):
            if receipt is SettleReceipt.LOST and isinstance(settlement.action, Move):
                self.publish(settlement.action.messages, now)
        return [SettleReceipt.DONE] * len(receipts)

    patch.setattr(Broker, "settle", settle_all)


def counts_no_crash(patch: pytest.MonkeyPatch) -> None:
    def crashed(job, outcome, policy, now):
        return verdict.again(job.delivery, job.header.own, "crashed")

    patch.setattr(decide, "_crashed", crashed)


def accuses_the_innocent(patch: pytest.MonkeyPatch) -> None:
    real = decide._judge

    def judge(job, outcome, policy, now):
        alone = replace(outcome, beside=0) if isinstance(outcome, decide.Died) else outcome
        return real(job, alone, policy, now)

    patch.setattr(decide, "_judge", judge)


def counts_no_loss(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(flow, "counted_lost", lambda *_: None)


def counts_a_graceful_return(patch: pytest.MonkeyPatch) -> None:
    real = MemoryQueue.give_back

    def give_back(self, serial, now, *, counted, **more):
        real(self, serial, now, counted=True, **more)

    patch.setattr(MemoryQueue, "give_back", give_back)


def confirms_what_was_never_taken(patch: pytest.MonkeyPatch) -> None:
    def time_out(self, entry):
        entry.receipts = dict.fromkeys(range(len(entry.messages)), CONFIRMED)
        entry.finish()

    patch.setattr(publisher.Publisher, "_time_out", time_out)


def ignores_priorities(patch: pytest.MonkeyPatch) -> None:
    def make_ready(self, entry, since):
        entry.message = replace(entry.message, priority=0)
        real(self, entry, since)

    real = MemoryQueue._make_ready
    patch.setattr(MemoryQueue, "_make_ready", make_ready)


def ignores_delays(patch: pytest.MonkeyPatch) -> None:
    real = MemoryQueue._place
    patch.setattr(MemoryQueue, "_place", lambda self, entry, due, now: real(self, entry, None, now))


def ignores_revocations(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(revocations.Revocations, "__contains__", lambda self, task_id: False)


def never_frees_a_slot(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pace, "gave", lambda self, now, **_: None)


def never_waits_for_what_runs(patch: pytest.MonkeyPatch) -> None:
    async def leave_at_once(self, consumer):
        return

    async def drain(self):
        return

    patch.setattr(receive.Receiver, "_until_settled", leave_at_once)
    patch.setattr(settle.Settler, "drain", drain)


def acks_the_dead(patch: pytest.MonkeyPatch) -> None:
    real = admit.duplicate
    patch.setattr(admit, "duplicate", lambda *args: replace(real(*args), action=verdict.ACK))


# each with the promise that it breaks, and how many seeds it may take to see it broken
MUTANTS: list[tuple[Callable[[pytest.MonkeyPatch], None], str, int]] = [
    (acks_before_it_stores, "stored before acked", 10),
    (stores_nothing, "stored before acked", 10),
    (forgets_what_waits_when_it_stops, "unstarted go back", 300),
    (forgets_the_next_attempt, "what decide promises", 20),
    (loses_the_copies_of_a_move, "never lost", 20),
    (admits_what_has_expired, "expiry", 60),
    (lets_the_loser_of_a_lease_settle, "settled once", 100),
    (counts_no_crash, "what decide promises", 20),
    (accuses_the_innocent, "what decide promises", 60),
    (counts_no_loss, "nothing gets stuck", 60),
    (counts_a_graceful_return, "exact counts", 60),
    (confirms_what_was_never_taken, "never lost", 100),
    (ignores_priorities, "priorities", 60),
    (ignores_delays, "delays", 20),
    (ignores_revocations, "revocations", 200),
    (never_frees_a_slot, "nothing gets stuck", 20),
    (never_waits_for_what_runs, "nothing runs on", 100),
    (acks_the_dead, "dead letters", 200),
]
