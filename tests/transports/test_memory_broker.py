"""What the memory transport promises beyond the contract: virtual time, threads and loops, names, its URL."""

import asyncio
import threading
import uuid
from datetime import timedelta

import pytest

from celeriac.clock import SystemClock
from celeriac.errors import ConfigurationError, QueueNotFound, Unsupported
from celeriac.message import Message, Move, Requeue, Settlement, SettleReceipt
from celeriac.results import ResultRecord
from celeriac.states import PENDING, STARTED, SUCCESS
from celeriac.testing import VirtualClock
from celeriac.topology import Queue, Topology
from celeriac_memory.registry import forget
from celeriac_memory.store import MemoryResultStore
from celeriac_memory.transport import MemoryTransport

Q = Queue("q")


@pytest.fixture
def url():
    name = uuid.uuid4().hex
    yield f"memory://{name}"
    forget(name)


def run(main):
    asyncio.run(asyncio.wait_for(main(), 20))


def ignore(_error):
    """Nobody cares."""


async def opened(url, clock=None):
    transport = MemoryTransport([url], clock=clock or SystemClock(), on_lost=ignore)
    await transport.open()
    await transport.declare(Topology.of([Q]))
    return transport


def message(**fields):
    return Message(**{"id": uuid.uuid4().hex, "routing_key": "q", **fields})


def ids(deliveries):
    return [delivery.message.id for delivery in deliveries]


def test_a_week_of_delay_passes_in_no_time(url):
    async def main():
        clock = VirtualClock()
        transport = await opened(url, clock)
        week = timedelta(days=7)
        late, early = message(not_before=clock.now() + week), message(not_before=clock.now() + week / 2)
        await transport.publish([late, early])
        async with transport.consume(["q"], prefetch=10) as consumer:
            receiving = asyncio.ensure_future(consumer.receive(1, 2 * week.total_seconds()))
            await clock.advance(week.total_seconds() / 2 - 0.001)
            assert not receiving.done()
            await clock.advance(0.001)
            (taken,) = await receiving
            assert taken.message.id == early.id
            assert await consumer.settle([Settlement(taken.token)]) == [SettleReceipt.DONE]
            assert (await transport.depth("q")).delayed == 1
            await clock.advance(week.total_seconds())
            assert ids(await consumer.receive(1, 0)) == [late.id]
        await transport.close()

    run(main)


def test_a_requeue_and_a_lease_in_virtual_time(url):
    async def main():
        clock = VirtualClock()
        transport = await opened(url + "?lease=30", clock)
        await transport.publish([message()])
        async with transport.consume(["q"], prefetch=1) as one, transport.consume(["q"], prefetch=1) as other:
            (held,) = await one.receive(1, 0)
            await one.settle([Settlement(held.token, Requeue(timedelta(hours=1)))])
            await clock.advance(3599.9)
            assert not await one.receive(1, 0)
            await clock.advance(0.1)
            (held,) = await one.receive(1, 0)
            assert held.lease_until == clock.now() + timedelta(seconds=30)
            waiting = asyncio.ensure_future(other.receive(1, 60))
            await clock.advance(20)
            assert await one.extend([held]) == [True]
            await clock.advance(29.9)
            assert not waiting.done()
            await clock.advance(0.1)
            (taken,) = await waiting
            assert (taken.delivery_count, await one.extend([held])) == (2, [False])
            assert await one.settle([Settlement(held.token)]) == [SettleReceipt.LOST]
            assert await other.settle([Settlement(taken.token)]) == [SettleReceipt.DONE]
        await transport.close()

    run(main)


def test_a_sleeper_notices_what_is_due_sooner(url):
    """It sleeps until a far moment; a nearer one, published meanwhile, wakes it."""

    async def main():
        clock = VirtualClock()
        transport = await opened(url, clock)
        await transport.publish([message(not_before=clock.now() + timedelta(hours=2))])
        async with transport.consume(["q"], prefetch=1) as consumer:
            receiving = asyncio.ensure_future(consumer.receive(1, 1e6))
            await clock.advance(0)
            near = message(not_before=clock.now() + timedelta(minutes=1))
            await transport.publish([near])
            await clock.advance(60)
            assert ids(await receiving) == [near.id]
        await transport.close()

    run(main)


def test_several_threads_and_loops(url):
    """Four threads, each with a loop of its own, publish and consume at once; each message is run once."""
    count, threads = 200, 4
    seen, lock, ready = [], threading.Lock(), threading.Barrier(threads)
    failures = []

    async def work():
        transport = await opened(url)
        async with transport.consume(["q"], prefetch=5) as consumer:
            ready.wait(10)
            sending = asyncio.ensure_future(send(transport))
            async with asyncio.timeout(20):
                while len(seen) < count * threads:
                    taken = await consumer.receive(5, 0.05)
                    with lock:
                        seen.extend(ids(taken))
                    assert set(await consumer.settle([Settlement(d.token) for d in taken])) <= {SettleReceipt.DONE}
                await sending
        await transport.close()

    async def send(transport):
        for _ in range(count):
            assert (await transport.publish([message()]))[0].ok

    def judge():
        try:
            asyncio.run(work())
        except BaseException as error:  # noqa: BLE001 - it is the other thread that judges
            failures.append(error)

    workers = [threading.Thread(target=judge) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert not failures
    assert len(seen) == len(set(seen)) == count * threads


def test_a_sleeper_on_another_loop_is_woken(url):
    got, waiting = [], threading.Event()

    async def sleep():
        transport = await opened(url)
        async with transport.consume(["q"], prefetch=1) as consumer, transport.listen("topic") as heard:
            waiting.set()
            async with asyncio.timeout(5):
                got.extend([await anext(heard), *ids(await consumer.receive(1, 5))])
        await transport.close()

    async def wake():
        transport = await opened(url)
        await transport.signal("topic", b"now")
        await transport.publish([message(id="from another thread")])
        await transport.close()

    sleeper = threading.Thread(target=asyncio.run, args=[sleep()])
    sleeper.start()
    assert waiting.wait(5)
    run(wake)
    sleeper.join(10)
    assert got == [b"now", "from another thread"]


def test_a_loop_that_died_without_closing_harms_nobody(url):
    kept = []

    async def leave_it_open():
        transport = await opened(url)
        block = transport.consume(["q"], prefetch=1)
        kept.extend([transport, block, await block.__aenter__()])

    def die():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(leave_it_open())
        loop.close()

    thread = threading.Thread(target=die)
    thread.start()
    thread.join(5)

    async def go_on():
        transport = await opened(url)
        assert (await transport.publish([message()]))[0].ok
        await transport.close()

    run(go_on)
    assert len(kept) == 3


def test_a_broker_is_kept_by_name_until_it_is_forgotten(url):
    async def main():
        transport = await opened(url)
        await transport.publish([message()])
        await transport.close()
        await transport.open()
        assert (await transport.depth("q")).ready == 1
        await transport.close()
        forget(url.removeprefix("memory://"))
        await transport.open()
        with pytest.raises(QueueNotFound):
            await transport.depth("q")
        await transport.close()

    run(main)


def test_its_contents_are_told_with_where_they_are(url):
    async def main():
        clock = VirtualClock()
        transport = await opened(url, clock)
        await transport.declare(Topology.of([Queue("ranked", priorities=10), Queue("paused")]))
        due = clock.now() + timedelta(hours=1)
        sent = [message(id=name) for name in ("held", "first", "second")]
        sent += [message(id="later", not_before=due), message(id="soon", not_before=due - timedelta(minutes=1))]
        sent += [message(id="low", routing_key="ranked"), message(id="high", routing_key="ranked", priority=9)]
        sent += [message(id="waits", routing_key="paused")]
        await transport.publish(sent)
        await transport.pause("paused")
        async with transport.consume(["q"], prefetch=1) as consumer:
            await consumer.receive(1, 0)
            assert [(each.queue, each.message.id, each.state) for each in transport.contents()] == [
                ("q", "held", "running"),
                ("q", "first", "ready"),
                ("q", "second", "ready"),
                ("q", "soon", "delayed"),
                ("q", "later", "delayed"),
                ("ranked", "high", "ready"),
                ("ranked", "low", "ready"),
                ("paused", "waits", "paused"),
            ]
            assert [each.due for each in transport.contents() if each.due] == [due - timedelta(minutes=1), due]
            await clock.advance(3600)
            assert "delayed" not in {each.state for each in transport.contents()}

    run(main)


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        (["memory://a", "memory://b"], "one address, not 2"),
        ([], "one address, not 0"),
        (["memory://a?leese=2"], "did you mean 'lease'"),
        (["memory://a?lease=soon"], "lease='soon'"),
        (["memory://a?lease=0"], "above 0"),
        (["memory://a?lease=nan"], "above 0"),
        (["memory://a?lease=-1"], "above 0"),
    ],
)
def test_urls_that_cannot_work(urls, said):
    with pytest.raises(ConfigurationError, match=said):
        MemoryTransport(urls, clock=SystemClock(), on_lost=ignore)


def test_the_lease_option_is_the_lease():
    transport = MemoryTransport(["memory://a?lease=2.5"], clock=SystemClock(), on_lost=ignore)
    known = transport.capabilities(Q)
    assert (known.lease, known.renew_every) == (timedelta(seconds=2.5), timedelta(seconds=2.5 / 3))


def test_a_header_that_no_broker_carries_is_refused(url):
    async def main():
        transport = await opened(url)
        for header in (object(), {1, 2}, [timedelta(0)], {"deep": {"odd": 1j}}):
            with pytest.raises(Unsupported, match="header"):
                await transport.publish([message(), message(headers={"odd": header})])
        async with transport.consume(["q"], prefetch=1) as consumer:
            assert not await consumer.receive(1, 0)
            await transport.publish([message()])
            (held,) = await consumer.receive(1, 0)
            with pytest.raises(Unsupported, match="header"):
                await consumer.settle([Settlement(held.token, Move([message(headers={"odd": object()})]))])
            assert await consumer.settle([Settlement(held.token)]) == [SettleReceipt.DONE]
        await transport.close()

    run(main)


def test_results_expire_after_a_day_and_unfinished_tasks_do_not(url):
    async def main():
        clock = VirtualClock()
        store = MemoryResultStore([url], clock=clock)
        await store.open()
        await store.sent(["waits"])
        await store.put([ResultRecord(task_id="done", attempt=1, state=SUCCESS)])
        await store.put([ResultRecord(task_id="runs", attempt=1, state=STARTED)])
        assert await store.join("group", "only", 1)
        day = timedelta(days=1).total_seconds()
        await clock.advance(day - 1)
        assert [record.state for record in await store.get(["done", "runs", "waits"])] == [SUCCESS, STARTED, PENDING]
        assert not await store.join("group", "only", 1)
        await clock.advance(1)
        done, runs, waits = await store.get(["done", "runs", "waits"])
        assert (done, runs.state, waits.state) == (None, STARTED, PENDING)
        assert await store.join("group", "only", 1), "a complete group is forgotten after a day"
        await store.close()

    run(main)


def test_a_destructor_in_the_midst_of_an_operation_waits_for_its_end(url):
    """The collector may end an abandoned consumer or listener at any moment, while its thread holds the lock too."""
    from celeriac_memory.broker import Broker

    broker = Broker()
    broker.declare(Topology.of([Queue("q")]))
    now = SystemClock().now()
    window = broker.enter(["q"], 10, timedelta(seconds=30), lambda: None)
    heard = []

    def listener(body):
        heard.append(body)
        broker.unlisten("topic", listener)
        broker.leave(window, now, lost=False)

    broker.listen("topic", listener)
    broker.signal("topic", b"once")
    broker.signal("topic", b"twice")
    assert heard == [b"once"]
    assert not broker.consumes(window)
