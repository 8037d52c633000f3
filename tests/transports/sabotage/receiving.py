"""Receiving, prefetch, settling and leases, broken."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from celeriac.message import REQUEUE, Dead, Move, Requeue, Settlement, SettleReceipt
from celeriac.topology import Queue, Topology
from sabotage.trial import SettlesOtherwise, Spoiled, breaks

# Receiving and prefetch


@breaks("RCV-1", "limit_and_wait")
class ReturnsTooMuch(Spoiled):
    def spoil(self, consumer):
        receive = consumer.receive
        consumer.receive = lambda limit, wait: receive(limit + 1, wait)


@breaks("RCV-1", "limit_and_wait")
class DoesNotWait(Spoiled):
    def spoil(self, consumer):
        receive = consumer.receive
        consumer.receive = lambda limit, wait: receive(limit, 0)


@breaks("RCV-2", "a_sleeper_is_woken")
class LooksNowAndThen(Spoiled):
    def spoil(self, consumer):
        receive = consumer.receive

        async def poll(limit, wait):
            if not (got := await receive(limit, 0)) and wait:
                await asyncio.sleep(min(wait, 1.3))
                got = await receive(limit, 0)
            return got

        consumer.receive = poll


@breaks("RCV-5", "cancelling_receive_loses_nothing")
class LosesWhatItHas(Spoiled):
    def spoil(self, consumer):
        receive = consumer.receive

        async def slow(limit, wait):
            got = await receive(limit, wait)
            for _ in range(3):
                await asyncio.sleep(0)
            return got

        consumer.receive = slow


@breaks("RCV-6", "no_queue_starves")
class HasAFavourite(Spoiled):
    def spoil(self, consumer):
        receive, window = consumer.receive, consumer._window
        order = list(window.queues)

        async def favour(limit, wait):
            window.queues.clear()
            window.queues.extend(order)
            return await receive(limit, wait)

        consumer.receive = favour


@breaks("RCV-7", "stop")
class DoesNotStop(Spoiled):
    def spoil(self, consumer):
        consumer.stop = lambda: asyncio.sleep(0)


@breaks("RCV-8", "leaving_gives_back")
class KeepsWhatItHas(Spoiled):
    def spoil(self, consumer):
        consumer.leave = lambda: None


@breaks("RCV-10", "a_queue_that_does_not_exist")
class MakesWhatItIsAskedFor(Spoiled):
    @asynccontextmanager
    async def consume(self, queues, *, prefetch):
        await self.declare(Topology.of([Queue(name) for name in queues]))
        async with super().consume(queues, prefetch=prefetch) as consumer:
            yield consumer


@breaks("RCV-11", "a_queue_deleted_under_a_consumer")
class FallsSilent(Spoiled):
    def spoil(self, consumer):
        receive = consumer.receive

        async def silent(limit, wait):
            if consumer._link.broker._queues.keys() >= {*consumer._window.queues} and not self.deleted:
                return await receive(limit, wait)
            await asyncio.sleep(wait)
            return []

        consumer.receive = silent

    deleted = False

    async def delete(self, queue):
        type(self).deleted = True
        await super().delete(queue)


@breaks("PRE-1", "no_more_than_prefetch")
class Hoards(Spoiled):
    @asynccontextmanager
    async def consume(self, queues, *, prefetch):
        async with super().consume(queues, prefetch=prefetch + 1) as consumer:
            yield consumer


@breaks("PRE-1", "over_several_queues")
class HoardsByQueue(Spoiled):
    @asynccontextmanager
    async def consume(self, queues, *, prefetch):
        async with super().consume(queues, prefetch=prefetch * len(queues)) as consumer:
            yield consumer


@breaks("PRE-3", "lowering_it")
@breaks("PRE-4", "zero_takes_nothing")
class CannotTakeLess(Spoiled):
    def spoil(self, consumer):
        change = consumer.set_prefetch
        consumer.set_prefetch = lambda number: change(max(number, consumer._window.prefetch))


# Settling and leases


@breaks("SET-1", "ack_forgets")
class GivesBackWhatIsAcked(SettlesOtherwise):
    async def settle(self, consumer, settle, settlements):
        return await settle([replace(one, action=REQUEUE) for one in settlements])


@breaks("SET-2", "requeue_is_ready_at_once")
class DropsWhatIsGivenBack(SettlesOtherwise):
    async def settle(self, consumer, settle, settlements):
        return await settle([Settlement(one.token) for one in settlements])


@breaks("SET-3", "requeue_with_a_delay")
class RequeuesAtOnce(SettlesOtherwise):
    async def settle(self, consumer, settle, settlements):
        return await settle(
            [replace(one, action=REQUEUE) if isinstance(one.action, Requeue) else one for one in settlements]
        )


@breaks("SET-4", "a_move_that_cannot_be_published")
class AcksBeforeItPublishes(SettlesOtherwise):
    async def settle(self, consumer, settle, settlements):
        first = [one for one in settlements if not isinstance(one.action, Move)]
        await settle(first)
        return await settle([one for one in settlements if one not in first])


@breaks("SET-5", "a_move_is_all_or_nothing")
class MovesByHalves(SettlesOtherwise):
    async def settle(self, consumer, settle, settlements):
        for one in settlements:
            if isinstance(one.action, Move):
                await self.publish(one.action.messages)
        return await settle(settlements)


@breaks("SET-6", "a_receipt_for_each")
class AnswersInDisorder(SettlesOtherwise):
    async def settle(self, consumer, settle, settlements):
        return (await settle(settlements))[::-1]


@breaks("SET-7", "a_token_of_another_consumer")
class SettlesForOthers(SettlesOtherwise):
    async def settle(self, consumer, settle, settlements):
        windows = consumer._link.broker._windows
        for one in settlements:
            held = windows[one.token.window].held.get(one.token.serial)
            if held is not None and one.token.window != consumer._window.id:
                held.queue.forget(one.token.serial)
        return await settle(settlements)


@breaks("SET-8", "settling_twice")
class SettlesTwiceInSilence(SettlesOtherwise):
    async def settle(self, consumer, settle, settlements):
        try:
            return await settle(settlements)
        except ValueError:
            return [SettleReceipt.DONE for _ in settlements]


@breaks("SET-9", "a_lost_lease")
class AcksWhatItHasLost(SettlesOtherwise):
    async def settle(self, consumer, settle, settlements):
        receipts = await settle(settlements)
        for queue in consumer._link.broker._queues.values():
            for serial in list(queue._held) if SettleReceipt.LOST in receipts else ():
                queue.forget(serial)
        return receipts


@breaks("SET-9", "a_lost_lease")
class SaysDoneWhenItIsLost(SettlesOtherwise):
    async def settle(self, consumer, settle, settlements):
        return [SettleReceipt.DONE for _ in await settle(settlements)]


@breaks("SET-10", "graceful_returns_are_not_counted")
class CountsGracefulReturns(Spoiled):
    def spoil(self, consumer):
        receive = consumer.receive

        async def counted(limit, wait):
            return [replace(d, delivery_count=d.delivery_count + d.redelivered) for d in await receive(limit, wait)]

        consumer.receive = counted


@breaks("SET-11", "a_priority_survives")
class BuriesWithoutPriority(SettlesOtherwise):
    async def settle(self, consumer, settle, settlements):
        for one in settlements:
            if isinstance(one.action, Dead):
                entry = consumer._window.held[one.token.serial].entry
                entry.message = replace(entry.message, priority=0)
        return await settle(settlements)


@breaks("LEA-1", "a_lost_lease")
class NeverLetsGo(Spoiled):
    def spoil(self, consumer):
        consumer._window.lease = timedelta(hours=1)


@breaks("LEA-2", "extending_keeps_it")
class ExtendsInWordsOnly(Spoiled):
    def spoil(self, consumer):
        consumer.extend = lambda deliveries: asyncio.sleep(0, [True for _ in deliveries])


@breaks("LEA-3", "without_a_lease")
class LeasesWithoutSayingSo(Spoiled):
    def capabilities(self, queue):
        return replace(super().capabilities(queue), lease=None)
