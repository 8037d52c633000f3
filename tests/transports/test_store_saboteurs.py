"""Result stores that break one promise each: the kit must catch every one, by the clause it breaks."""

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from celeriac.errors import ConnectionLost
from celeriac.states import FINAL
from celeriac.testing import ResultStoreContract
from celeriac.testing.conformance.clauses import clauses_of
from celeriac_memory.registry import forget
from celeriac_memory.store import MemoryResultStore

CLAUSES = clauses_of(ResultStoreContract)
SABOTEURS = []


def breaks(clause, test):
    def add(saboteur):
        SABOTEURS.append(pytest.param(saboteur, clause, f"test_{test}", id=f"{clause}-{saboteur.__name__}"))
        return saboteur

    return add


def try_on(store_class, test):
    name = uuid.uuid4().hex
    members = {"store_class": store_class, "patience": 1.5, "time_limit": 8.0}
    contract = type("Tried", (ResultStoreContract,), members)()
    contract.prepare([f"memory://{name}"])
    try:
        getattr(contract, test)()
    finally:
        forget(name)


@breaks("STORE-2", "opening_and_closing_again")
class CannotComeBack(MemoryResultStore):
    closed = False

    async def open(self):
        if self.closed:
            raise ConnectionLost("once is enough")
        await super().open()

    async def close(self):
        self.closed = True
        await super().close()


@breaks("STORE-3", "close_leaves_nothing")
class LeavesATask(MemoryResultStore):
    async def open(self):
        await super().open()
        self.left = asyncio.ensure_future(asyncio.Event().wait())


@breaks("STORE-4", "nothing_works_unopened")
class RaisesItsDriversErrors(MemoryResultStore):
    async def forget(self, ids):
        if self._shelf is None:
            raise OSError("closed")
        await super().forget(ids)


@breaks("STORE-5", "every_store_of_the_url")
class KeepsItToItself(MemoryResultStore):
    async def close(self):
        await super().close()
        forget(self._name)


@breaks("PUT-2", "every_field")
class LosesTheAttempt(MemoryResultStore):
    async def put(self, records):
        return await super().put([replace(record, attempt=1) for record in records])


@breaks("PUT-4", "what_stands")
class OverwritesFinalStates(MemoryResultStore):
    async def put(self, records):
        self._shelf.forget(record.task_id for record in records)
        return await super().put(records)


@breaks("PUT-6", "one_of_many_at_once")
class SaysYesToAll(MemoryResultStore):
    async def put(self, records):
        await super().put(records)
        return [True for _ in records]


@breaks("GET-1", "in_the_order_asked")
class AnswersSorted(MemoryResultStore):
    async def get(self, ids):
        return await super().get(sorted({*ids}))


@breaks("GET-2", "what_was_sent_and_what_was_not")
class KnowsNothing(MemoryResultStore):
    async def sent(self, ids):
        """Tell nobody."""


@breaks("GET-3", "sent_overwrites_nothing")
class StartsAgain(MemoryResultStore):
    async def sent(self, ids):
        await super().forget(ids)
        await super().sent(ids)


@breaks("GET-4", "forget")
class ForgetsNothing(MemoryResultStore):
    async def forget(self, ids):
        """Keep it all."""


@breaks("GET-5", "results_of_others")
class SharesWithoutSayingSo(MemoryResultStore):
    def capabilities(self):
        return replace(super().capabilities(), shared=False)


@breaks("GET-6", "known")
class KnowsWhatIsNotFinal(MemoryResultStore):
    def known(self, task_id):
        return self._shelf.get([task_id], self.clock.now())[0]


@breaks("WAIT-1", "each_as_it_comes")
class EndsTooEarly(MemoryResultStore):
    async def wait(self, ids):
        async for record in super().wait(ids):
            yield record
            return


@breaks("WAIT-2", "each_as_it_comes")
class TellsOnlyWhatIsNew(MemoryResultStore):
    async def wait(self, ids):
        known = {record.task_id for record in await self.get(ids) if record and record.state in FINAL}
        async for record in super().wait(ids):
            if record.task_id not in known:
                yield record


@breaks("WAIT-3", "what_is_not_final_is_not_told")
class TellsEveryState(MemoryResultStore):
    async def wait(self, ids):
        while not (known := [record for record in await self.get(ids) if record and record.attempt]):  # noqa: ASYNC110 - it polls, too
            await asyncio.sleep(0.01)
        for record in known:
            yield record


@breaks("WAIT-4", "each_as_it_comes")
class LooksNowAndThen(MemoryResultStore):
    async def wait(self, ids):
        async for record in super().wait(ids):
            await asyncio.sleep(1.2)
            yield record


@breaks("WAIT-5", "many_wait")
class TellsOne(MemoryResultStore):
    async def put(self, records):
        for watchers in self._shelf._watchers.values():
            del watchers[1:]
        return await super().put(records)


@breaks("JOIN-1", "the_one_that_completes")
class CountsOn(MemoryResultStore):
    async def join(self, group, member, size):
        joined = self._shelf._groups.get(group)
        await super().join(group, member, size)
        return len((joined or self._shelf._groups[group]).members) >= size


@breaks("JOIN-2", "the_one_that_completes")
class CountsCalls(MemoryResultStore):
    async def join(self, group, member, size):
        return await super().join(group, uuid.uuid4().hex, size)


@breaks("JOIN-4", "groups_want_a_shared_store")
class JoinsAlone(MemoryResultStore):
    def capabilities(self):
        return replace(super().capabilities(), shared=False)


@breaks("EXP-1", "expiring")
class KeepsForEver(MemoryResultStore):
    async def put(self, records):
        return await super().put([replace(record, expires_at=None) for record in records])


@breaks("EXP-2", "expiring")
class KeepsNothing(MemoryResultStore):
    async def put(self, records):
        soon = self.clock.now() + timedelta(seconds=0.5)
        return await super().put([replace(record, expires_at=record.expires_at or soon) for record in records])


@pytest.mark.parametrize(("saboteur", "clause", "test"), SABOTEURS)
def test_a_saboteur_is_caught(saboteur, clause, test):
    assert test in CLAUSES[clause], f"{test} does not cite {clause}"
    with pytest.raises((Exception, pytest.fail.Exception)) as raised:
        try_on(saboteur, test)
    assert not isinstance(raised.value, (AttributeError, NameError, TypeError)), "the saboteur itself is broken"
