"""The App as its users see it: sending, batches, several Apps, many threads, and a worker beside the callers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading

import pytest

from celeriac import App, Exchange, Queue, Route
from celeriac.addresses import with_addresses
from celeriac.errors import ConfigurationError, PublishErrors, TaskRevoked, Unroutable
from celeriac.message import Outcome, Receipt


@pytest.fixture
def add(app):
    @app.task(name="add")
    def add(x: int, y: int = 0) -> int:
        return x + y

    return add


def arguments_of(messages, arguments):
    return [arguments(message)[0] for message in messages]


# construction


@pytest.mark.parametrize(
    ("broker", "backend", "told"),
    [
        ("redis://h/1?lease=9", "redis://i;sqlite:///r.db", "redis://i?fleet=celery, sqlite:///r.db"),
        ("amqp://h", "redis://i", "redis://i"),
        ("redis://h", None, "redis://h?fleet=celery"),
    ],
)
def test_a_fleet_is_told_to_the_store_of_the_broker_s_plugin(broker, backend, told) -> None:
    app = App("shop", broker=broker, fleet="celery", **({"backend": backend.split(";")} if backend else {}))
    settings = with_addresses(app.conf, {})
    assert ", ".join(settings.backend or settings.broker) == told


def test_an_unknown_setting_suggests_one() -> None:
    with pytest.raises(TypeError, match="unknown setting 'brokr'; did you mean 'broker'"):
        App("shop", brokr="memory://")


def test_a_value_that_cannot_work_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="publish_timeout='soon'"):
        App("shop", broker="memory://", publish_timeout="soon")


def test_a_broker_of_an_unknown_scheme_is_told_at_the_first_use() -> None:
    app = App("shop", broker="carrier-pigeon://loft")
    with pytest.raises(ConfigurationError, match="no plugin for the broker carrier-pigeon://"):
        app.send_task("x")


def test_without_a_broker_a_file_lies_beside_the_program(tmp_path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    (tmp_path / "pkg" / "tasks.py").write_text("from celeriac import App\napp = App()\n")
    code = "import pkg.tasks; print(pkg.tasks.app.connect().address)"
    env = {"PYTHONPATH": str(tmp_path)}

    def address() -> str:
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert address() == f"sqlite:///{tmp_path}/celeriac.db"
    assert not (tmp_path / "celeriac.db").exists()
    (tmp_path / "pkg" / "celeriac.db").touch()
    assert address() == f"sqlite:///{tmp_path}/pkg/celeriac.db"


def test_locators_name_the_module_and_the_attribute(tmp_path) -> None:
    (tmp_path / "shop.py").write_text("from celeriac import App\nmain_app = App(broker='memory://')\n")
    for code, expected in (
        ("import shop; app = shop.main_app", ["shop", None, "main_app"]),
        ("from celeriac import App; app = App(broker='memory://')", None),
    ):
        full = f"import json; {code}; l = app.locator; print(json.dumps(l and [l.module, l.file, l.attribute]))"
        done = subprocess.run(
            [sys.executable, "-c", full], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout) == expected


# sending


def test_a_task_goes_to_its_queue_and_says_where_it_came_from(app, add, waiting, arguments) -> None:
    result = add.delay(1, y=2)
    (message,) = waiting(app)
    assert message.id == result.id == message.headers["id"]
    assert arguments(message) == ([1], {"y": 2})
    assert (message.headers["task"], message.headers["ignore_result"]) == ("add", False)
    assert message.headers["origin"].startswith(f"gen{os.getpid()}@")
    assert message.headers["root_id"] == result.id


def test_a_task_is_sent_by_name_whether_it_is_known_or_not(app, waiting, arguments) -> None:
    app.send_task("elsewhere.task", [1], {"y": 2}, queue="other")
    asyncio.run(app.asend_task("elsewhere.task", queue="other"))
    messages = waiting(app, "other")
    assert [message.headers["task"] for message in messages] == ["elsewhere.task"] * 2
    assert arguments(messages[0]) == ([1], {"y": 2})


def test_routes_are_followed(make_app, waiting) -> None:
    topics = Queue("topics.mail", Exchange("topics", "topic"), "mail.#")
    app = make_app(queues=[topics], routes={"shop.a": Queue("urgent"), "shop.*": Route("topics", "mail.now")})
    app.send_task("shop.a")
    app.send_task("shop.b")
    app.send_task("c")
    sent = {queue: [m.headers["task"] for m in waiting(app, queue)] for queue in ("urgent", "topics.mail", "celeriac")}
    assert sent == {"urgent": ["shop.a"], "topics.mail": ["shop.b"], "celeriac": ["c"]}


def test_what_no_queue_takes_is_an_error(app, add) -> None:
    with pytest.raises(Unroutable, match="exchange 'nowhere', routing key 'x' was returned"):
        add.apply_async((1,), exchange="nowhere", routing_key="x")


def test_coroutines_of_several_loops_share_one_connection(app, add, waiting) -> None:
    async def send(count):
        results = await asyncio.gather(*(add.adelay(number) for number in range(count)))
        return {result.id for result in results}

    client = app.client
    ids = asyncio.run(send(20)) | asyncio.run(send(20))
    assert {message.id for message in waiting(app)} == ids
    assert len(ids) == 40
    assert app.client is client


def test_sixteen_threads_lose_nothing_and_mix_nothing_up(app, add, waiting, arguments) -> None:
    sent = {}

    def send(first):
        for number in range(first, first + 25):
            sent[add.delay(number).id] = number

    threads = [threading.Thread(target=send, args=(100 * n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    messages = waiting(app)
    assert len(sent) == 400
    assert {message.id: arguments(message)[0][0] for message in messages} == sent
    for n in range(16):
        own = [number for (number,) in arguments_of(messages, arguments) if number // 100 == n]
        assert own == sorted(own), "what one thread sends stays in order"


def test_many_are_sent_in_order(app, add, waiting, arguments) -> None:
    calls = [(number, 1) for number in range(1200)]
    results = add.delay_many(iter(calls))
    results += asyncio.run(add.adelay_many([(9999,)]))
    messages = waiting(app)
    assert [message.id for message in messages] == [result.id for result in results]
    assert arguments_of(messages, arguments)[:-1] == [list(call) for call in calls]
    assert add.delay_many([]) == []


def test_of_many_the_failed_are_told(app, add) -> None:
    publish = app.client.publisher.publish

    def refuse_one(messages):
        future = publish(messages[1:])
        receipts = [Receipt(Outcome.NACKED, "full"), *future.result(5)]
        future = type(future)()
        future.set_result(receipts)
        return future

    app.client.publisher.publish = refuse_one
    with pytest.raises(PublishErrors, match="1 of 3 messages") as raised:
        add.delay_many([(1,), (2,), (3,)])
    assert [receipt.ok for receipt in raised.value.receipts] == [False, True, True]
    assert len(raised.value.failed) == 1


# batches


def test_a_batch_is_sent_when_it_is_left(app, add, waiting, arguments) -> None:
    with app.batch():
        results = [add.delay(1), add.apply_async((2,)), *add.delay_many([(3,), (4,)])]
        assert waiting(app) == []
    messages = waiting(app)
    assert [message.id for message in messages] == [result.id for result in results]
    assert arguments_of(messages, arguments) == [[1], [2], [3], [4]]


def test_an_asynchronous_batch_too(app, add, waiting) -> None:
    async def main():
        async with app.batch():
            await add.adelay(1)
            await add.adelay_many([(2,), (3,)])
            assert await asyncio.to_thread(waiting, app) == []

    asyncio.run(main())
    assert len(waiting(app)) == 3


def test_an_exception_discards_a_batch_and_goes_through(app, add, waiting) -> None:
    def fail():
        with app.batch():
            add.delay(1)
            add.delay_many([(2,)])
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert waiting(app) == []
    add.delay(3)
    assert len(waiting(app)) == 1, "the batch is over"


def test_a_batch_in_a_batch_joins_it(app, add, waiting, arguments) -> None:
    with app.batch():
        add.delay(1)
        with app.batch():
            add.delay(2)
        with contextlib.suppress(KeyError), app.batch():
            add.delay(99)
            raise KeyError
        assert waiting(app) == []
        add.delay(3)
    assert arguments_of(waiting(app), arguments) == [[1], [2], [3]]


def test_a_batch_holds_back_its_own_app_only(app, add, make_app, waiting) -> None:
    other = make_app()
    with app.batch():
        other.send_task("now")
        assert len(waiting(other)) == 1
        with other.batch():
            add.delay(1)
            other.send_task("later")
            with app.batch():
                add.delay(2)
            assert waiting(app) == []
            assert len(waiting(other)) == 1
        assert len(waiting(other)) == 2
        assert waiting(app) == []
    assert len(waiting(app)) == 2


def test_a_batch_holds_back_no_other_thread(app, add, waiting) -> None:
    with app.batch():
        add.delay(1)
        thread = threading.Thread(target=add.delay, args=(2,))
        thread.start()
        thread.join()
        assert len(waiting(app)) == 1
    assert len(waiting(app)) == 2


def test_a_batch_may_be_large_or_empty(app, add, waiting) -> None:
    with app.batch():
        pass
    with app.batch():
        for number in range(1100):
            add.delay(number)
    assert len(waiting(app)) == 1100


# several Apps, and the end


def test_apps_without_a_name_for_their_broker_are_apart(make_app, waiting) -> None:
    one, two = make_app("shop"), make_app("shop")
    one.send_task("x")
    assert (len(waiting(one)), len(waiting(two))) == (1, 0)


def test_apps_that_name_one_broker_share_it(make_app, waiting) -> None:
    one, two = (make_app(name, broker="memory://test-app-shared") for name in ("one", "two"))
    one.send_task("x")
    assert len(waiting(two)) == 1


def test_closed_is_not_for_ever_and_closing_twice_does_nothing(app, add, waiting) -> None:
    app.close()
    add.delay(1)
    first = app.client
    app.close()
    app.close()
    add.delay(2)
    assert app.client is not first
    assert len(waiting(app)) == 2


def test_threads_that_come_first_together_make_one_client(app) -> None:
    barrier, clients = threading.Barrier(16), []

    def ask():
        barrier.wait()
        clients.append(app.client)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, clients))) == 1


# with a worker


def test_a_round_trip(app, add) -> None:
    @app.task
    async def double(x):
        await asyncio.sleep(0)
        return 2 * x

    with app.run_worker(pool="thread", concurrency=2):
        assert add.delay(1, y=2).get(timeout=30) == 3
        assert double.delay(4).get(timeout=30) == 8
        assert [result.get(timeout=30) for result in add.delay_many((n, n) for n in range(100))] == list(
            range(0, 200, 2)
        )
        with pytest.raises(TypeError, match="y: expected int, not str"):
            app.send_task("add", [1], {"y": "2"}).get(timeout=30)

        async def main():
            return await (await add.adelay(5, 6))

        assert asyncio.run(main()) == 11


def test_sixteen_threads_get_each_its_own_results(app, add) -> None:
    got = {}

    def call(n):
        for number in range(10):
            got[n, number] = add.delay(n, y=number).get(timeout=30)

    with app.run_worker(pool="thread", concurrency=4):
        threads = [threading.Thread(target=call, args=(1000 * n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == {(1000 * n, number): 1000 * n + number for n in range(16) for number in range(10)}


def test_what_has_expired_does_not_run(app, add) -> None:
    result = add.apply_async((1,), expires=0)
    with app.run_worker(pool="thread", concurrency=1):
        with pytest.raises(TaskRevoked, match="expired"):
            result.get(timeout=30)
        assert add.apply_async((1,), expires=60).get(timeout=30) == 1


def test_two_apps_work_side_by_side(make_app) -> None:
    def declare(app, sign):
        @app.task(name="name")
        def name():
            return sign

        return name

    one, two = make_app("one"), make_app("two")
    first, second = declare(one, "one"), declare(two, "two")
    with one.run_worker(concurrency=1), two.run_worker(concurrency=1):
        assert (first.delay().get(timeout=30), second.delay().get(timeout=30)) == ("one", "two")


def test_a_task_sends_a_task(app, add) -> None:
    @app.task(bind=True, name="outer")
    def outer(self):
        return [add.delay(1, 2).id, self.request.id]

    with app.run_worker(pool="thread", concurrency=1):
        inner, _ = outer.delay().get(timeout=30)
        assert app.AsyncResult(inner).get(timeout=30) == 3
