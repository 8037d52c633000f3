"""The I/O loop of a process: for any thread, through forks, and never against itself."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from celeriac import App
from celeriac.errors import CeleriacError, ConfigurationError
from celeriac.portal import Portal, awaitable, portal


@pytest.fixture
def own():
    """A portal that no other test uses."""
    own = Portal()
    yield own
    if own._thread.is_alive():
        own.shut()


async def answer(value):
    return value


def script(code: str) -> str:
    """Run a program; return what it prints. Anything on standard error is a failure."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def test_there_is_one_a_process_and_its_thread_keeps_no_program_alive() -> None:
    assert portal() is portal()
    assert portal()._thread.daemon


def test_threads_that_come_first_together_get_the_same_one() -> None:
    out = script("""
        import threading
        from celeriac.portal import portal
        barrier, found = threading.Barrier(16), []
        def ask():
            barrier.wait()
            found.append(portal())
        threads = [threading.Thread(target=ask) for _ in range(16)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        print(len(found), len(set(map(id, found))), sum(t.name == "celeriac-portal" for t in threading.enumerate()))
    """)
    assert out == "16 1 1\n"


def test_it_runs_coroutines_for_any_thread(own) -> None:
    assert own.run(answer(3)) == 3
    assert own.start(answer(4)).result(5) == 4
    results = []
    threads = [threading.Thread(target=lambda n=n: results.append(own.run(answer(n)))) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(16))


def test_what_a_coroutine_raises_is_raised(own) -> None:
    async def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        own.run(fail())


def test_at_a_timeout_the_coroutine_is_cancelled(own) -> None:
    cancelled = threading.Event()

    async def wait():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(TimeoutError):
        own.run(wait(), 0.05)
    assert cancelled.wait(5)


# calls that would wait for themselves, or hold up a loop


def test_a_blocking_call_on_the_portal_s_own_thread_is_refused(own) -> None:
    async def block():
        own.run(answer(1))  # a coroutine that were never awaited would fail this test

    with pytest.raises(CeleriacError, match="would wait for itself; await the async form"):
        own.start(block()).result(5)


def test_a_task_sent_from_the_portal_s_thread_is_refused() -> None:
    app = App("shop", broker="memory://")

    @app.task
    def add() -> None: ...

    async def block():
        add.delay()

    try:
        with pytest.raises(CeleriacError, match="await the async form"):
            portal().start(block()).result(5)
    finally:
        app.close()


def test_in_another_running_loop_it_works_and_warns_once(own) -> None:
    async def block():
        return own.run(answer(1))

    with pytest.warns(RuntimeWarning, match="await adelay"):
        assert asyncio.run(block()) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asyncio.run(block()) == 1


def test_the_warning_shows_the_caller_s_line() -> None:
    out = script("""
        import asyncio, warnings
        from celeriac import App
        app = App("shop", broker="memory://")
        @app.task(name="add")
        def add(): ...
        async def main():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                add.delay()  # line 10
                add.delay()
            print([(w.lineno, w.filename) for w in caught])
        asyncio.run(main())
    """)
    assert out == "[(10, '<string>')]\n"


def test_without_a_running_loop_nothing_is_said(own, recwarn) -> None:
    own.run(answer(1))
    assert not recwarn.list


# the end


def test_at_the_end_the_last_come_first_while_the_loop_still_runs(own) -> None:
    seen = []
    own.at_exit(lambda: seen.append(("first", own.run(answer(1)))))
    own.at_exit(lambda: seen.append(("second", own.run(answer(2)))))
    own.shut()
    assert seen == [("second", 2), ("first", 1)]
    assert own.loop.is_closed()
    assert not own._thread.is_alive()


def test_what_is_left_on_the_loop_at_the_end_is_cancelled(own) -> None:
    said = []

    async def left_behind(begun: threading.Event) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            said.append("ended")

    begun = threading.Event()
    own.start(left_behind(begun))
    assert begun.wait(5)
    own.shut()
    assert said == ["ended"]


def test_a_task_that_a_driver_left_behind_says_nothing_at_the_end() -> None:
    code = """
    import asyncio
    from celeriac.portal import portal

    async def leave():
        leave.behind = asyncio.create_task(asyncio.Event().wait())

    portal().run(leave())
    print("left")
    """
    assert script(code) == "left\n"


def test_a_program_that_ends_flushes_what_it_has_handed_over() -> None:
    out = script("""
        from celeriac import App
        from celeriac.message import Message
        app = App("shop", broker="memory://")
        future = app.client.publisher.publish([Message(id="a", routing_key="celeriac")])
        future.add_done_callback(lambda done: print(done.result()[0]))
    """)
    assert out == "confirmed\n"


# forks


FORKED = """
    import os, socket, sys, warnings
    from celeriac import App
    from celeriac.portal import portal

    app = App("shop", broker="sqlite:///%(folder)s/celeriac.db")
    @app.task(name="add")
    def add(x): ...

    def fork(child):
        pid = os.fork()
        if pid:
            _, status = os.waitpid(pid, 0)
            assert status == 0, status
            return
        code = 1
        try:
            child()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
"""


def test_a_forked_child_has_a_portal_of_its_own_and_the_parent_s_goes_on(tmp_path) -> None:
    out = script(
        FORKED % {"folder": tmp_path}
        + """
    async def value(): return os.getpid()
    parents = portal()
    add.delay(1)
    def child():
        assert portal() is not parents
        assert portal().run(value()) == os.getpid()
        add.delay(2)
        app.close()
    for _ in range(3):
        fork(child)
        assert portal() is parents
        assert parents.run(value()) == os.getpid()
        add.delay(3)
    import asyncio
    depth = portal().run(app.client.connection.transport.depth("celeriac"))
    print(depth.ready)
    """
    )
    assert out == "7\n"


def test_a_child_may_fork_again_and_may_end_without_a_word(tmp_path) -> None:
    out = script(
        FORKED % {"folder": tmp_path}
        + """
    add.delay(1)
    fork(lambda: fork(lambda: add.delay(2)))
    fork(lambda: None)
    add.delay(3)
    print(portal().run(app.client.connection.transport.depth("celeriac")).ready)
    """
    )
    assert out == "3\n"


def test_a_fork_while_the_portal_s_lock_is_held_does_not_hang_the_child() -> None:
    out = script("""
        import os, sys
        from celeriac import portal as module
        with module._lock:
            pid = os.fork()
            if not pid:
                module.portal()
                os._exit(0)
            _, status = os.waitpid(pid, 0)
        print(status)
    """)
    assert out == "0\n"


# monkey-patching


@pytest.mark.parametrize(
    ("name", "function"), [("gevent.monkey", "is_module_patched"), ("eventlet.patcher", "is_monkey_patched")]
)
def test_patched_threads_are_refused_in_words(monkeypatch, name: str, function: str) -> None:
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(**{function: lambda module: module.startswith("thread")}))
    with pytest.raises(ConfigurationError, match="has monkey-patched threading; celeriac needs real threads"):
        Portal()
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(**{function: lambda _: False}))
    Portal().shut()


def test_answers_from_another_thread_end_as_they_are_and_wake_the_loop_together(monkeypatch) -> None:
    async def gather() -> None:
        futures: list[Future[int]] = [Future() for _ in range(300)]
        futures[2].cancel()
        loop, woken = asyncio.get_running_loop(), []
        wake = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *call: woken.append(call) or wake(*call))
        waiting = [awaitable(future) for future in futures]
        waiting[1].cancel()

        def end_them() -> None:
            for number, future in enumerate(futures):
                if future.cancelled():
                    continue
                if number % 100:
                    future.set_result(number)
                else:
                    future.set_exception(ValueError(number))

        end_them()  # with the loop held up: all of them gather
        assert len(woken) == 1
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [repr(ends[n]) for n in (0, 1, 3, 299)] == ["ValueError(0)", "CancelledError('')", "3", "299"]
        assert isinstance(ends[2], asyncio.CancelledError)
        assert not futures[1].cancelled()
        assert await awaitable(futures[7]) == 7  # done already

    asyncio.run(gather())


def test_answers_that_come_while_others_are_handed_over_are_not_left() -> None:
    async def gather() -> None:
        with ThreadPoolExecutor(4) as threads:
            for _ in range(20):
                async with asyncio.timeout(20):
                    numbers = await asyncio.gather(*(awaitable(threads.submit(int, n)) for n in range(500)))
                assert numbers == list(range(500))

    asyncio.run(gather())


def test_an_answer_for_a_loop_that_is_closed_harms_nobody_and_the_loop_is_freed() -> None:
    def gone() -> weakref.ref[asyncio.AbstractEventLoop]:
        loop = asyncio.new_event_loop()
        future: Future[int] = Future()

        async def leave() -> None:
            awaitable(future)

        loop.run_until_complete(leave())
        loop.close()
        future.set_result(1)
        return weakref.ref(loop)

    kept = gone()
    gc.collect()
    assert kept() is None
