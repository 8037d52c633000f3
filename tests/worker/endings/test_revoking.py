"""Cancelling, in every phase of a task's life."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from celeriac import App, states
from celeriac.control import TOPIC, Control
from celeriac.errors import ConnectionLost, TaskRevoked, TransportError, Unsupported

PATIENCE = 20


def run(app, coroutine):
    async def ready():
        await app.client.connection.ready()
        return await coroutine

    return app.client.portal.run(ready(), PATIENCE)


def empty(app, *, but_running=0):
    """Return once nothing is in the queue any more, but for what runs."""

    async def gone():
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await app.client.connection.transport.depth(app.default_queue.name)
                if not found.ready and found.running == but_running:
                    return
                await asyncio.sleep(0.01)

    run(app, gone())


# before anyone has it


def test_what_was_revoked_while_no_worker_ran_never_runs(ending):
    results = [ending.nap.delay(f"unwanted {n}", 0) for n in range(3)]
    ending.app.revoke([result.id for result in results[:2]])
    results[2].revoke()
    assert [result.state for result in results] == [states.REVOKED] * 3
    with ending.worker():
        assert ending.get(ending.add.delay(1, 2)) == 3
        empty(ending.app)
    assert not [note for note in ending.notes.all() if note.startswith("unwanted")]
    with pytest.raises(TaskRevoked, match="revoked"):
        ending.get(results[0])


def test_what_is_revoked_while_a_worker_runs_is_refused_when_it_comes(ending):
    with ending.worker():
        delayed = ending.nap.apply_async(("delayed", 0), countdown=0.4)
        delayed.revoke()
        assert delayed.state == states.REVOKED
        empty(ending.app)
        time.sleep(0.5)
        assert ending.get(ending.add.delay(1, 2)) == 3
    assert "delayed" not in ending.notes.all()


def test_an_id_that_nobody_sent_is_no_error(ending):
    ending.app.revoke("nobody-sent-this")
    assert ending.app.AsyncResult("nobody-sent-this").state == states.UNKNOWN


def test_revoking_nothing(ending):
    ending.app.revoke([])


def test_what_is_done_stays_done(ending):
    with ending.worker():
        result = ending.add.delay(1, 2)
        assert ending.get(result) == 3
        result.revoke()
    assert ending.app.AsyncResult(result.id).state == states.SUCCESS


def test_revoking_from_a_coroutine(ending):
    async def main():
        result = await ending.nap.adelay("unwanted in a loop", 0)
        other = await ending.nap.adelay("unwanted in a loop", 0)
        await result.arevoke()
        await ending.app.arevoke([other.id], terminate=True)
        with pytest.raises(TaskRevoked):
            await result
        with pytest.raises(TaskRevoked):
            await other

    asyncio.run(main())
    with ending.worker():
        empty(ending.app)
    assert "unwanted in a loop" not in ending.notes.all()


# in the pool of a worker


def test_what_waits_in_a_worker_s_pool_is_revoked_at_once(ending):
    app = ending.app
    with ending.worker(concurrency=1, grace=0) as worker:
        for result in [ending.add.delay(n, 0) for n in range(3)]:
            ending.get(result)  # the worker knows that these are short, and takes more ahead
        first = ending.module.wait.delay("in front")
        ending.notes.until("in front")
        ahead = [ending.add.delay(n, 0) for n in range(4)]
        held_by(worker, {result.id for result in ahead})
        ahead[1].revoke()
        with pytest.raises(TaskRevoked):
            ending.get(ahead[1])
        held_by(worker, {ahead[0].id, ahead[2].id, ahead[3].id}, exactly=True)
        assert first.state == states.PENDING
    app.revoke([first.id, *(result.id for result in ahead)])
    with ending.worker():
        empty(app)


def held_by(running, ids, *, exactly=False):
    """Return once a worker's pool holds these tasks, or, of those that wait, exactly these."""
    worker = running._worker
    for _ in range(PATIENCE * 100):
        waiting = {job.header.id for job in worker.pool._sync}
        if ids == waiting if exactly else ids & waiting:
            return
        time.sleep(0.01)
    pytest.fail(f"it holds {waiting}, not {ids}")


def test_a_coroutine_that_runs_is_cancelled_within_a_second(ending):
    with ending.worker():
        result, other = ending.await_.delay("running"), ending.nap.delay("beside the running", 0.3)
        ending.notes.until("running")
        asked = time.monotonic()
        result.revoke()
        ending.notes.until("running cancelled")
        assert time.monotonic() - asked < 1
        with pytest.raises(TaskRevoked):
            ending.get(result)
        ending.get(other)
        empty(ending.app)
    assert ending.app.AsyncResult(result.id).state == states.REVOKED


def test_a_def_task_that_runs_is_left_alone(children):
    before = children.get(children.pid.delay())
    running = children.wait.options(time_limit=0.5).delay("left alone")
    children.notes.until("left alone")
    running.revoke()
    assert children.get(children.nap.delay("meanwhile", 0)) == before


def test_a_def_task_that_is_seen_to_run_is_not_said_to_be_revoked(children, fifo):
    running = children.report.delay(str(fifo))
    for _ in range(PATIENCE * 100):
        if running.state == states.PROGRESS:
            break
        time.sleep(0.01)
    running.revoke()
    assert running.state == states.PROGRESS
    fifo.write_text("through")
    assert children.get(running) == "through"


def test_what_waits_in_a_pool_and_would_be_acknowledged_early_does_not_come_again(ending):
    with ending.worker(concurrency=1, grace=0) as worker:
        first = ending.module.wait.delay("before the early")
        ending.notes.until("before the early")
        early = ending.early.delay()
        held_by(worker, {early.id})
        early.revoke()
        with pytest.raises(TaskRevoked):
            ending.get(early)
        held_by(worker, set(), exactly=True)
        empty(ending.app, but_running=1)
        first.revoke()
    with ending.worker():
        empty(ending.app)


def test_a_def_task_is_killed_where_that_is_asked_for_and_its_neighbours_are_not_told(children):
    child = children.get(children.pid.delay())
    neighbour = children.nap.delay("beside the terminated", 0.5)
    children.notes.until("beside the terminated")
    running = children.wait.delay("terminated")
    children.notes.until("terminated")
    asked = time.monotonic()
    running.revoke(terminate=True)
    with pytest.raises(TaskRevoked):
        children.get(running)
    assert time.monotonic() - asked < 2
    assert children.get(neighbour) != child


def test_a_stubborn_coroutine_is_killed_where_that_is_asked_for(children):
    child = children.get(children.pid.delay())
    stubborn = children.stubborn.delay("stubborn to revoke")
    children.notes.until("stubborn to revoke")
    children.app.revoke(stubborn.id, terminate=True)
    with pytest.raises(TaskRevoked):
        children.get(stubborn)
    for _ in range(PATIENCE):
        if (now := children.get(children.pid.delay())) != child:
            break
        time.sleep(0.1)
    assert now != child


def test_term_of_a_thread_is_told_to_be_impossible(ending, caplog):
    caplog.set_level(logging.WARNING, "celeriac.worker")
    with ending.worker(grace=0):
        held = ending.module.wait.delay("unstoppable")
        ending.notes.until("unstoppable")
        held.revoke(terminate=True)
        for _ in range(PATIENCE * 100):
            if "goes on" in caplog.text:
                break
            time.sleep(0.01)
    assert f"ending_app.wait[{held.id}] goes on: nothing can end it here" in caplog.text
    with ending.worker():
        empty(ending.app)


# brokers that keep none, and lost connections


@pytest.fixture
def forgetful(monkeypatch):
    """An App whose broker keeps no revocations."""
    app = App("forgetful", broker="memory://forgetful")
    transport = type(app.connect().transport)

    async def revoke(self, ids, until):
        raise Unsupported("revocations are not kept")

    def revoked(self):
        raise Unsupported("revocations are not kept")

    monkeypatch.setattr(transport, "revoke", revoke)
    monkeypatch.setattr(transport, "revoked", revoked)
    yield app
    app.close()


def test_a_broker_that_keeps_none_refuses_unless_the_best_will_do(forgetful):
    started = asyncio.Event()

    @forgetful.task(name="forgetful.wait")
    async def wait():
        started.set()
        await asyncio.sleep(60)

    result = wait.delay()
    with pytest.raises(Unsupported, match="best_effort=True"):
        result.revoke()
    assert result.state == states.PENDING
    with forgetful.run_worker():
        for _ in range(PATIENCE * 100):
            if started.is_set():
                break
            time.sleep(0.01)
        result.revoke(best_effort=True)
        with pytest.raises(TaskRevoked):
            result.get(timeout=PATIENCE)
        later = wait.apply_async(countdown=0.2)
        later.revoke(best_effort=True)
        with pytest.raises(TaskRevoked):
            later.get(timeout=PATIENCE)


def test_a_worker_follows_through_a_lost_connection_and_a_broken_signal(ending, caplog):
    app = ending.app
    with ending.worker() as worker:
        connection = worker._worker._connection
        for _ in range(PATIENCE * 100):  # nothing tells when it listens
            run(app, app.client.connection.transport.signal(TOPIC, b"[]"))
            run(app, app.client.connection.transport.signal(TOPIC, b'{"terminate": 7, "later": "versions"}'))
            if "'terminate' is 7" in caplog.text and "a control signal is no object" in caplog.text:
                break
            time.sleep(0.01)
        ending.get(ending.add.delay(1, 2))
        worker._loop.call_soon_threadsafe(connection.transport.on_lost, ConnectionLost("cut"))
        running = ending.await_.delay("after the loss")
        ending.notes.until("after the loss")
        running.revoke()
        ending.notes.until("after the loss cancelled")
    assert "a control signal is no object" in caplog.text


def test_a_worker_whose_revocations_cannot_be_read_works_all_the_same(ending, monkeypatch, caplog):
    monkeypatch.setattr("celeriac.worker.revocations.LOOK_AGAIN", 0.01)
    transport, broken = type(ending.app.connect().transport), []
    right = transport.revoked

    def revoked(self):
        if len(broken) < 3:
            broken.append(1)
            raise TransportError("the stream is torn")
        return right(self)

    monkeypatch.setattr(transport, "revoked", revoked)
    with ending.worker():
        assert ending.get(ending.add.delay(1, 2)) == 3
        running = ending.await_.delay("torn")
        ending.notes.until("torn")
        running.revoke()
        ending.notes.until("torn cancelled")
    assert "the stream is torn" in caplog.text


# signals


def test_control_signals_survive_the_wire():
    said = Control(revoke=["a"], terminate=["b", "c"])
    assert Control.decode(said.encode()) == said
    assert Control.decode(b'{"later": "versions"}') == Control(revoke=[], terminate=[])
