"""Delays, priorities, dead letters, signals, tending, revocations and losses, broken."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from celeriac.errors import ConnectionLost
from celeriac.message import CONFIRMED, Settlement
from celeriac.topology import Queue, Topology
from celeriac_memory.transport import MemoryTransport
from sabotage.trial import SettlesOtherwise, Spoiled, breaks

# Delays and priorities


def delayed_by(change):
    async def publish(self, messages):
        changed = [replace(m, not_before=change(m.not_before)) if m.not_before else m for m in messages]
        return await MemoryTransport.publish(self, changed)

    return publish


@breaks("DLY-1", "not_before_its_moment")
class DropsDelays(Spoiled):
    publish = delayed_by(lambda moment: None)


@breaks("DLY-1", "not_before_its_moment")
class IsEarly(Spoiled):
    publish = delayed_by(lambda moment: moment - timedelta(milliseconds=400))


@breaks("DLY-1", "not_before_its_moment")
class IsLate(Spoiled):
    publish = delayed_by(lambda moment: moment + timedelta(seconds=1.2))


@breaks("DLY-3", "longer_than_the_longest")
class DelaysBeyondItsLongest(Spoiled):
    def capabilities(self, queue):
        return replace(super().capabilities(queue), max_delay=timedelta(days=1))


@breaks("DLY-4", "a_delayed_message_that_no_queue_takes")
class LearnsTooLate(Spoiled):
    async def publish(self, messages):
        receipts = await super().publish(messages)
        return [CONFIRMED if m.not_before else receipt for m, receipt in zip(messages, receipts, strict=True)]


@breaks("DLY-5", "delays_outlive_their_publisher")
class DelaysInItsOwnMemory(Spoiled):
    async def close(self):
        if self._link is not None:
            for queue in self._link.broker._queues.values():
                queue._delayed.clear()
        await super().close()


@breaks("DLY-6", "in_the_order_of_their_moments")
class DelaysInOneLine(Spoiled):
    latest = None

    async def publish(self, messages):
        moments = [message.not_before for message in messages if message.not_before]
        self.latest = max([*moments, *([self.latest] if self.latest else [])], default=None)
        return await super().publish([replace(m, not_before=self.latest) if m.not_before else m for m in messages])


@breaks("PRI-1", "higher_is_sooner")
class IgnoresPriority(Spoiled):
    async def publish(self, messages):
        return await super().publish([replace(message, priority=0) for message in messages])


@breaks("PRI-1", "a_latecomer_overtakes")
class SortsOnlyWhatItFetched(Spoiled):
    def spoil(self, consumer):
        receive, stock = consumer.receive, []

        async def fetched(limit, wait):
            if not stock:
                consumer._window.prefetch = 100
                stock.extend(await receive(100, wait))
            return [stock.pop(0)] if stock else []

        consumer.receive = fetched


@breaks("PRI-3", "a_priority_that_the_queue_does_not_keep")
class TakesAnyPriority(Spoiled):
    async def publish(self, messages):
        return await super().publish([replace(message, priority=0) for message in messages])


# Dead letters, signals


@breaks("DEAD-1", "a_dead_letter_leaves_its_queue")
class BuriesNowhere(SettlesOtherwise):
    async def settle(self, consumer, settle, settlements):
        return await settle([Settlement(one.token) for one in settlements])


@breaks("DEAD-2", "what_a_dead_letter_says")
class BuriesWithoutAWord(SettlesOtherwise):
    async def settle(self, consumer, settle, settlements):
        for one in settlements:
            message = consumer._window.held[one.token.serial].entry.message
            name = consumer._window.queues[0] + ".dead"
            await self.declare(Topology.of([Queue(name)]))
            await self.publish([replace(message, exchange="", routing_key=name)])
        return await settle([Settlement(one.token) for one in settlements])


@breaks("SIG-1", "every_listener_of_the_topic")
class TellsOne(Spoiled):
    async def signal(self, topic, body):
        listeners = self._link.broker._listeners.get(topic, [])
        for listener in listeners[:1]:
            listener(body)


@breaks("SIG-3", "in_order_and_not_kept")
class KeepsSignals(Spoiled):
    kept = None

    async def signal(self, topic, body):
        self.kept = body
        await super().signal(topic, body)

    @asynccontextmanager
    async def listen(self, topic):
        async with super().listen(topic) as heard:
            if self.kept is not None:
                heard.put(self.kept)
            yield heard


# Looking and tending, revocations


@breaks("OPS-1", "depth_counts")
class Miscounts(Spoiled):
    async def depth(self, queue):
        depth = await super().depth(queue)
        return replace(depth, ready=depth.ready + (depth.running or 0))


@breaks("OPS-2", "tending_a_queue_that_does_not_exist")
class RaisesKeyError(Spoiled):
    async def purge(self, queue):
        return self._link.broker._queues[queue].purge()


@breaks("OPS-3", "purge")
class PurgesWhatIsHeld(Spoiled):
    async def purge(self, queue):
        count = await super().purge(queue)
        self._link.broker._queues[queue].drop()
        return count


@breaks("OPS-4", "delete")
class DeletesOnlyTheMessages(Spoiled):
    async def delete(self, queue):
        await self.purge(queue)


@breaks("OPS-5", "peek")
class PeeksByTaking(Spoiled):
    async def peek(self, queue, limit):
        async with self.consume([queue], prefetch=limit) as consumer:
            return [delivery.message for delivery in await consumer.receive(limit, 0)]


@breaks("OPS-6", "pause")
class DoesNotPause(Spoiled):
    async def pause(self, queue):
        await super().pause(queue)
        self._link.broker._queues[queue].paused = False


@breaks("OPS-6", "a_pause_outlives_every_client")
class PausesUntilItLeaves(Spoiled):
    async def close(self):
        if self._link is not None:
            for queue in self._link.broker._queues.values():
                queue.paused = False
        await super().close()


@breaks("REV-1", "known_on_entry")
class TellsOnlyWhatIsNew(Spoiled):
    @asynccontextmanager
    async def revoked(self):
        async with super().revoked() as seen:
            yield replace(seen, known=frozenset())


@breaks("REV-1", "a_namespace_in_which_nothing_was_revoked")
class WaitsForAPast(Spoiled):
    @asynccontextmanager
    async def revoked(self):
        async with super().revoked() as seen:
            first = {await anext(seen.new)} if not seen.known else set()
            yield replace(seen, known=seen.known | first)


@breaks("REV-2", "later_ones_are_told")
class TellsOnlyWhatIsKnown(Spoiled):
    async def revoke(self, ids, until):
        followers, self._link.broker._followers = self._link.broker._followers, []
        await super().revoke(ids, until)
        self._link.broker._followers = followers


@breaks("REV-3", "known_on_entry")
class ForgetsRevocations(Spoiled):
    async def close(self):
        if self._link is not None:
            self._link.broker._revoked.clear()
        await super().close()


# Losing the connection


@breaks("LOSS-1", "everyone_is_told")
class TellsTwice(Spoiled):
    def __init__(self, urls, *, clock, on_lost):
        super().__init__(urls, clock=clock, on_lost=lambda error: [on_lost(error), on_lost(error)])


@breaks("LOSS-1", "everyone_is_told")
class Hangs(Spoiled):
    def spoil(self, consumer):
        receive = consumer.receive

        async def hang(limit, wait):
            try:
                return await receive(limit, wait)
            except ConnectionLost:
                await asyncio.sleep(wait)
                return []

        consumer.receive = hang


@breaks("LOSS-2", "opening_again")
class CannotComeBack(Spoiled):
    async def open(self):
        if getattr(self, "opened", False):
            raise ConnectionLost("once is enough")
        self.opened = True
        await super().open()


@breaks("LOSS-3", "no_false_confirmation")
class ConfirmsWhatIsLost(Spoiled):
    async def publish(self, messages):
        self.busy = getattr(self, "busy", 0) + 1
        await asyncio.sleep(0.01 * self.busy)
        try:
            return await super().publish(messages)
        except ConnectionLost:
            return [CONFIRMED for _ in messages]


@breaks("LOSS-1", "everyone_is_told")
class LeavesItsListenersDeaf(Spoiled):
    @asynccontextmanager
    async def listen(self, topic):
        ends = self._link._ends
        async with super().listen(topic) as heard:
            told = ends.pop()
            try:
                yield heard
            finally:
                ends.append(told)
