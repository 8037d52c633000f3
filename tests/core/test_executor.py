"""Workers as a `concurrent.futures.Executor`: the same behaviour as the standard library's own, where both can show it.

Most tests run twice: against a ThreadPoolExecutor and against ours.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from concurrent import futures
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import App
from celeriac.errors import ConfigurationError, EncodeError, UnknownOption
from celeriac.executor import TaskExecutor, TaskFuture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "the key of the shop, 32 bytes long"
PATIENCE = 30
WORKERS = 2
GATES: dict[str, threading.Event] = {}
BEGUN: dict[str, threading.Event] = {}


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    app = App("shop", broker="memory://", accept_content=["json", "cloudpickle"], signing_keys=[KEY])
    with app.run_worker(concurrency=WORKERS):
        yield app
    app.close()


@pytest.fixture(params=["the standard library's", "ours"])
def make(request, app: App) -> Callable[[], futures.Executor]:
    return app.executor if request.param == "ours" else lambda: ThreadPoolExecutor(WORKERS)


@pytest.fixture
def executor(make: Callable[[], futures.Executor]) -> Iterator[futures.Executor]:
    with make() as executor:
        yield executor


@pytest.fixture
def gate() -> Iterator[str]:
    """Give the name of a gate, which is opened in the end at the latest."""
    name = f"gate {len(GATES)}"
    GATES[name], BEGUN[name] = threading.Event(), threading.Event()
    yield name
    GATES[name].set()


def wait_at(name: str, value: Any = None) -> Any:
    """Wait at a gate; by reference, so that it is the test's own wherever it runs."""
    BEGUN[name].set()
    assert GATES[name].wait(PATIENCE)
    return value


def add(x: int, y: int = 0) -> int:
    return x + y


def fail(text: str) -> None:
    raise ValueError(text)


def busy(executor: futures.Executor, gate: str) -> list[futures.Future[Any]]:
    """Let every worker wait at the gate."""
    waiting = [executor.submit(wait_at, gate, n) for n in range(WORKERS)]
    assert BEGUN[gate].wait(PATIENCE)
    until(lambda: all(future.running() for future in waiting))
    return waiting


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- submit -----------------------------------------------------------------------------------------------------------


def test_submit_returns_a_future_of_the_result(executor):
    future = executor.submit(add, 4, y=4)
    assert isinstance(future, futures.Future)
    assert future.result(PATIENCE) == 8
    assert (future.done(), future.running(), future.cancelled(), future.exception()) == (True, False, False, None)
    assert not future.cancel()


def test_fn_and_self_are_names_of_arguments_too(executor):
    assert executor.submit(dict, fn=1, self=2).result(PATIENCE) == {"fn": 1, "self": 2}


def test_an_exception_is_the_future_s(executor):
    future = executor.submit(fail, "no")
    error = future.exception(PATIENCE)
    assert (type(error), error.args) == (ValueError, ("no",))
    with pytest.raises(ValueError, match="no"):
        future.result(PATIENCE)


def test_waiting_ends_with_the_timeout(executor, gate):
    future = executor.submit(wait_at, gate)
    with pytest.raises(futures.TimeoutError):
        future.result(0.01)
    with pytest.raises(TimeoutError):
        future.exception(0.01)
    GATES[gate].set()
    assert future.result(PATIENCE) is None


def test_callbacks_are_called_with_the_future_and_may_submit_more(executor):
    called: list[Any] = []
    more: list[futures.Future[int]] = []

    def callback(future: futures.Future[int]) -> None:
        called.append(future)
        more.append(executor.submit(add, future.result(), 1))

    future = executor.submit(add, 1, 1)
    future.add_done_callback(callback)
    until(lambda: bool(more))
    assert called == [future]
    assert more[0].result(PATIENCE) == 3


def test_what_cannot_be_called_is_refused_or_fails(executor):
    with pytest.raises(TypeError):
        executor.submit(7).result(PATIENCE)


# --- map --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 2, 3, 100])
def test_map_gives_results_in_order_until_the_shortest_ends(executor, chunksize):
    assert list(executor.map(add, range(7), range(100, 200), chunksize=chunksize)) == list(range(100, 114, 2))
    assert list(executor.map(add, [], chunksize=chunksize)) == []


@pytest.mark.parametrize("chunksize", [1, 2])
def test_map_raises_where_the_call_has_failed(executor, chunksize):
    results = executor.map(divmod, [4, 4, 4, 4], [2, 2, 0, 1], chunksize=chunksize)
    assert [next(results), next(results)] == [(2, 0), (2, 0)]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_ends_with_the_timeout(executor, gate):
    with pytest.raises(TimeoutError):
        list(executor.map(wait_at, [gate], timeout=0.05))
    GATES[gate].set()


def test_map_collects_at_once(executor):
    items = iter(range(5))
    results = executor.map(add, items)
    assert list(items) == []
    assert list(results) == list(range(5))


def test_a_chunk_has_one_call_or_more(app):
    with app.executor() as executor, pytest.raises(ValueError, match="chunksize must be 1 or more"):
        executor.map(add, [1], chunksize=0)


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_wait_for_the_first_and_for_all(executor, gate):
    slow, quick = executor.submit(wait_at, gate), executor.submit(add, 1)
    done, rest = futures.wait([slow, quick], PATIENCE, return_when=futures.FIRST_COMPLETED)
    assert (done, rest) == ({quick}, {slow})
    assert futures.wait([slow], 0.01).not_done == {slow}
    GATES[gate].set()
    assert futures.wait([slow, quick], PATIENCE).done == {slow, quick}


def test_wait_for_the_first_exception(executor, gate):
    slow, bad = executor.submit(wait_at, gate), executor.submit(fail, "no")
    assert futures.wait([slow, bad], PATIENCE, return_when=futures.FIRST_EXCEPTION).done == {bad}


def test_as_completed(executor, gate):
    slow, quick = executor.submit(wait_at, gate), executor.submit(add, 1)
    completed = futures.as_completed([slow, quick], PATIENCE)
    assert next(completed) is quick
    GATES[gate].set()
    assert list(completed) == [slow]


def test_as_completed_ends_with_the_timeout(executor, gate):
    slow = executor.submit(wait_at, gate)
    with pytest.raises(TimeoutError):
        list(futures.as_completed([slow], 0.05))


def test_asyncio_awaits_them(executor):
    async def main() -> Any:
        return await asyncio.get_running_loop().run_in_executor(executor, add, 4, 4)

    assert asyncio.run(main()) == 8


# --- cancel -----------------------------------------------------------------------------------------------------------


def test_what_runs_is_not_cancelled_and_what_waits_is(executor, gate):
    running = busy(executor, gate)
    waiting = executor.submit(add, 1)
    called: list[futures.Future[int]] = []
    waiting.add_done_callback(called.append)
    assert not waiting.running()
    assert not running[0].cancel()
    assert waiting.cancel()
    assert waiting.cancel(), "again is no error"
    assert (waiting.cancelled(), waiting.done(), called) == (True, True, [waiting])
    for ask in (waiting.result, waiting.exception):
        with pytest.raises(CancelledError):
            ask(PATIENCE)
    GATES[gate].set()
    assert [future.result(PATIENCE) for future in running] == list(range(WORKERS))
    assert futures.wait([waiting, *running], PATIENCE).not_done == set()


def test_as_completed_yields_what_is_cancelled(executor, gate):
    busy(executor, gate)
    waiting = executor.submit(add, 1)
    assert waiting.cancel()
    GATES[gate].set()
    assert list(futures.as_completed([waiting], PATIENCE)) == [waiting]


def test_a_map_that_is_left_cancels_the_rest(executor, gate):
    running = busy(executor, gate)
    results = executor.map(wait_at, [gate] * 3, timeout=0.05)
    with pytest.raises(TimeoutError):
        next(results)
    GATES[gate].set()
    assert futures.wait(running, PATIENCE).not_done == set()


# --- shutdown ---------------------------------------------------------------------------------------------------------


def test_leaving_the_block_waits(make):
    with make() as executor:
        pending = [executor.submit(add, n) for n in range(20)]
    assert [future.done() for future in pending] == [True] * 20


def test_after_shutdown_nothing_is_taken(make):
    executor = make()
    executor.shutdown()
    executor.shutdown()
    for call in (lambda: executor.submit(add, 1), lambda: executor.map(add, [1])):
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            call()


def test_shutdown_without_waiting_leaves_them_to_end(make, gate):
    executor = make()
    pending = executor.submit(wait_at, gate, 7)
    executor.shutdown(wait=False)
    assert not pending.done()
    GATES[gate].set()
    assert pending.result(PATIENCE) == 7


def test_shutdown_cancels_what_waits(make, gate):
    executor = make()
    running = busy(executor, gate)
    waiting = [executor.submit(add, n) for n in range(5)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert [future.cancelled() for future in waiting] == [True] * 5
    GATES[gate].set()
    executor.shutdown()
    assert [future.result(PATIENCE) for future in running] == list(range(WORKERS))


# --- ours alone -------------------------------------------------------------------------------------------------------


def test_a_lambda_and_what_it_closes_over(app):
    offset = 41
    assert app.submit(lambda x: x + offset, 1).get(timeout=PATIENCE) == 42

    async def main() -> int:
        return await (await app.asubmit(lambda x: x + offset, 1))

    assert asyncio.run(main()) == 42


def test_coroutine_functions(app):
    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    with app.executor() as executor:
        assert executor.submit(double, 4).result(PATIENCE) == 8  # type: ignore[comparison-overlap]
        assert list(executor.map(double, range(4))) == [0, 2, 4, 6]
        assert list(executor.map(double, range(4), chunksize=3)) == [0, 2, 4, 6]
    assert app.submit(double, 4).get(timeout=PATIENCE) == 8


def test_what_is_revoked_elsewhere_is_cancelled(app, gate):
    with app.executor() as executor:
        busy(executor, gate)
        waiting = executor.submit(add, 1)
        assert isinstance(waiting, TaskFuture)
        app.revoke(waiting.id)
        GATES[gate].set()
        with pytest.raises(CancelledError):
            waiting.result(PATIENCE)


def test_a_batch_holds_nothing_back(app):
    with app.executor() as executor, app.batch():
        assert executor.submit(add, 1, 1).result(PATIENCE) == 2


def test_call_options(app):
    with pytest.raises(UnknownOption, match="did you mean 'expires'"):
        app.executor(expire=1)
    with app.executor(expires=60, headers={"tenant": "a"}) as executor:
        assert executor.submit(add, 1).result(PATIENCE) == 1


def test_what_cannot_be_pickled_is_refused_at_once(app):
    with app.executor() as executor:
        with pytest.raises(EncodeError, match="cannot be pickled"):
            executor.submit(add, threading.Lock())
        assert executor.submit(add, 1).result(PATIENCE) == 1


def test_an_app_that_has_not_opted_in(make_app):
    app = make_app()
    assert "celeriac.submit" not in app.tasks
    for ask in (lambda: app.submit(print), app.executor):
        with pytest.raises(ConfigurationError, match="code travels only where both ends opt in"):
            ask()


def test_many_threads_share_one(app):
    executor = app.executor()
    results: list[int] = []

    def work(n: int) -> None:
        results.extend(executor.map(add, range(n, n + 10)))

    threads = [threading.Thread(target=work, args=(10 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    executor.shutdown()
    assert sorted(results) == list(range(80))


def test_the_interpreter_waits_for_what_is_pending(tmp_path):
    program = f"""
import sys, time
from celeriac import App
app = App("shop", broker="memory://", accept_content=["json", "cloudpickle"], signing_keys=["{KEY}"])
with app.run_worker() as worker:
    future = app.executor().submit(time.sleep, 0.3)
    future.add_done_callback(lambda f: print("done", f.result(), flush=True))
    while not future.running():  # what has begun, the worker lets finish
        time.sleep(0.01)
    print("leaving", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path, check=True
    )
    assert done.stdout.splitlines() == ["leaving", "done None"]


def test_it_is_the_type_that_it_says(app):
    assert isinstance(app.executor(), TaskExecutor | futures.Executor)
