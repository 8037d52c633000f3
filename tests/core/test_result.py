"""What a caller holds of a task it has sent."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from celeriac import AsyncResult, states
from celeriac.errors import ResultError, ResultTimeout, TaskError, TaskRevoked, UnknownTask
from celeriac.protocol import ErrorData
from celeriac.request import Request, running
from celeriac.results import ResultRecord


@pytest.fixture
def add(app):
    @app.task(name="add")
    def add(x, y): ...

    return add


@pytest.fixture
def put(app):
    """Store a record, as a worker would."""

    def put(result, state, body, **more):
        async def store():
            await app.client.connection.ready()
            record = ResultRecord(task_id=result.id, attempt=1, state=state, body=body, **more)
            return await app.client.connection.store.put([record])

        return app.client.portal.run(store())

    return put


def failure(error: Exception, app) -> bytes:
    return ErrorData.of(error, app.codecs).encode()


def test_it_waits_and_then_returns_and_asks_no_more(app, add, put, monkeypatch) -> None:
    result = add.delay(1, 2)
    assert (result.state, result.ready(), result.result) == (states.PENDING, False, None)
    threading.Timer(0.05, put, (result, states.SUCCESS, b"3")).start()
    assert result.get(timeout=10) == 3
    monkeypatch.setattr(app.client.connection.store, "get", None)
    assert (result.get(), result.state, result.status) == (3, states.SUCCESS, states.SUCCESS)
    assert (result.ready(), result.successful(), result.failed(), result.result) == (True, True, False, 3)
    assert result.traceback is None


def test_what_has_come_already_is_returned_without_a_turn_of_the_loop(app, add, monkeypatch) -> None:
    done = {}
    monkeypatch.setattr(app.client.connection.store, "known", done.get)
    result = add.delay(1, 2)
    done[result.id] = ResultRecord(task_id=result.id, attempt=1, state=states.SUCCESS, body=b"3")
    monkeypatch.setattr(app.client, "wait", None)
    assert result.get(timeout=10) == asyncio.run(result.aget(timeout=10)) == 3


def test_it_is_awaitable_on_any_loop(add, put) -> None:
    async def main(result):
        waiting = asyncio.create_task(result.aget(timeout=10))
        await asyncio.sleep(0)
        await asyncio.to_thread(put, result, states.SUCCESS, b'"done"')
        return await waiting, await result

    for _ in range(2):
        assert asyncio.run(main(add.delay(1, 2))) == ("done", "done")


def test_a_failure_is_raised_with_the_remote_traceback(app, add, put) -> None:
    result = add.delay(1, 2)
    put(result, states.FAILURE, failure(ZeroDivisionError("no"), app), traceback="Traceback: over there")
    with pytest.raises(ZeroDivisionError, match="no") as raised:
        result.get()
    assert "over there" in str(raised.value.__cause__)
    assert (result.failed(), result.successful()) == (True, False)
    assert result.traceback == "Traceback: over there"
    assert isinstance(result.result, ZeroDivisionError)
    assert isinstance(result.get(propagate=False), ZeroDivisionError)


def test_a_class_that_is_not_loaded_here_is_a_task_error(add, put) -> None:
    result = add.delay(1, 2)
    data = ErrorData(type="Strange", module="elsewhere", args=["why", 3], message="why")
    put(result, states.FAILURE, data.encode())
    with pytest.raises(TaskError, match=r"elsewhere\.Strange: ") as raised:
        result.get()
    assert (raised.value.type_name, raised.value.remote_args) == ("elsewhere.Strange", ("why", 3))


def test_a_revoked_task_says_so(add, put) -> None:
    result = add.delay(1, 2)
    data = ErrorData(type="TaskRevokedError", module="celery.exceptions", args=["expired"], message="expired")
    put(result, states.REVOKED, data.encode())
    with pytest.raises(TaskRevoked, match="was revoked: expired"):
        result.get()
    assert result.ready()


def test_patience_has_an_end(add) -> None:
    result = add.delay(1, 2)
    with pytest.raises(ResultTimeout, match=f"no result of {result.id} within 0.05 s"):
        result.get(timeout=0.05)
    with pytest.raises(TimeoutError):
        asyncio.run(result.aget(timeout=0))


def test_an_id_that_nobody_sent_is_told_apart_from_one_that_waits(app, add) -> None:
    with pytest.raises(UnknownTask, match="knows no task nobody"):
        app.AsyncResult("nobody").get(timeout=10)
    with pytest.raises(UnknownTask, match="sent without a result"):
        add.apply_async((1, 2), ignore_result=True).get(timeout=10)


def test_it_can_be_had_again_by_its_id(app, add, put) -> None:
    result = add.delay(1, 2)
    put(result, states.SUCCESS, b"3")
    again = app.AsyncResult(result.id)
    assert again.get() == 3
    assert (again == result, again != app.AsyncResult("other"), len({again, result})) == (True, True, 1)
    assert repr(again) == f"<AsyncResult: {result.id}>"


def test_forgetting_is_for_all(app, add, put) -> None:
    result = add.delay(1, 2)
    put(result, states.SUCCESS, b"3")
    assert result.get() == 3
    result.forget()
    with pytest.raises(UnknownTask):
        app.AsyncResult(result.id).get(timeout=10)
    with pytest.raises(UnknownTask):
        result.get(timeout=10)


def test_waiting_inside_a_task_must_be_asked_for(add, put) -> None:
    result = add.delay(1, 2)
    put(result, states.SUCCESS, b"3")
    with running(Request(id="outer", task="outer")):
        with pytest.raises(ResultError, match=r"outer waits for another task inside a task.*allow_join=True"):
            result.get()
        with pytest.raises(ResultError):
            asyncio.run(result.aget())
        assert result.get(allow_join=True) == 3


def test_many_threads_may_wait_for_one(add, put) -> None:
    result, got = add.delay(1, 2), []
    threads = [threading.Thread(target=lambda: got.append(result.get(timeout=10))) for _ in range(16)]
    for thread in threads:
        thread.start()
    put(result, states.SUCCESS, b"3")
    for thread in threads:
        thread.join()
    assert got == [3] * 16


def test_a_wait_that_is_given_up_leaves_nothing_behind(app, add, put) -> None:
    result = add.delay(1, 2)

    async def main():
        waiting = asyncio.create_task(result.aget())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(main())

    async def others():
        current = asyncio.current_task()
        rest = [task for task in asyncio.all_tasks() if task is not current]
        if rest:
            await asyncio.wait(rest, timeout=5)
        return [task for task in rest if not task.done()]

    assert app.client.portal.run(others()) == []


def test_what_nobody_holds_any_more_is_dropped_where_the_store_is_this_process_s_own(app, add, monkeypatch) -> None:
    dropped = []
    client = app.client
    monkeypatch.setattr(client, "drop", dropped.append)
    task_id = AsyncResult("gone", client).id
    gc.collect()
    assert dropped == [task_id]


def test_what_is_dropped_by_any_thread_is_forgotten_together(app, monkeypatch) -> None:
    client, calls, gone = app.client, [], threading.Event()
    names = [f"gone-{n}" for n in range(4000)]

    async def forget(ids):
        calls.append(list(ids))
        if sum(map(len, calls)) == len(names):
            gone.set()

    monkeypatch.setattr(client, "_forgets", True)
    monkeypatch.setattr(client.connection.store, "forget", forget)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(client.drop, names))
    assert gone.wait(10)
    assert sorted(name for ids in calls for name in ids) == sorted(names)
    assert len(calls) < 100


def test_a_result_carried_over_a_fork_is_asked_for_by_the_child(tmp_path):
    script = f"""
import os
from celeriac import App
app = App("fork", broker="sqlite:///{tmp_path}/fork.db")

@app.task
def add(x, y): return x + y

with app.run_worker():
    result = add.delay(1, 2)
    assert result.get(timeout=10) == 3
    fresh = app.AsyncResult(result.id)
pid = os.fork()
if not pid:
    os._exit(0 if (result.get(timeout=5), fresh.get(timeout=5)) == (3, 3) else 1)
print(os.waitpid(pid, 0)[1])
app.close()
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.strip() == "0", done.stderr
