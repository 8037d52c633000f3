"""Types as they must be; mypy and pyright find nothing wrong here."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, assert_type

from celeriac import App, AsyncResult, Request, Task, current_task
from celeriac.compat import shared_task
from celeriac.middleware import Call, Middleware

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from celeriac.message import Message
    from celeriac.task import CoroutineTask, FunctionTask

app = App("shop", broker="memory://")


@app.task
def add(x: int, y: int = 0) -> float:
    return x + y


@app.task(queue="mail", acks_late=False)
def label(name: str, *tags: str, upper: bool = False) -> list[str]:
    return [name, *tags] if upper else []


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(ignore_result=True)
async def notify(user: int) -> None: ...


@app.task(bind=True)
def resize(self: Task[..., Any], width: int) -> str:
    return f"{self.name} {width}"


@app.task(bind=True, queue="mail")
async def crawl(self: Task[..., Any], depth: int, /) -> dict[str, int]:
    return {self.request.id: depth}


@app.lifespan
async def pools() -> AsyncIterator[str]:
    yield "pool"


def a_task_is_still_its_function() -> None:
    assert_type(add(1, 2), float)
    assert_type(label("a", "b", upper=True), list[str])
    assert_type(resize(3), str)


async def a_coroutine_function_too() -> None:
    assert_type(await fetch("u"), bytes)
    assert_type(await crawl(1), dict[str, int])


def sending_takes_the_function_s_parameters() -> None:
    assert_type(add.delay(1), AsyncResult[float])
    assert_type(add.delay(1, y=2), AsyncResult[float])
    assert_type(label.delay("a", "b", upper=True), AsyncResult[list[str]])
    assert_type(resize.delay(width=3), AsyncResult[str])


def a_coroutine_s_result_is_what_it_returns() -> None:
    assert_type(fetch.delay("u"), AsyncResult[bytes])
    assert_type(notify.delay(1), AsyncResult[None])
    assert_type(crawl.delay(1), AsyncResult[dict[str, int]])


def options_keep_the_signature() -> None:
    assert_type(add.options(queue="x", countdown=timedelta(1)).delay(1), AsyncResult[float])
    assert_type(resize.options(priority=3).delay(3), AsyncResult[str])
    assert_type(add.apply_async((1, 2), expires=3), AsyncResult[float])


def many_at_once() -> None:
    assert_type(add.delay_many([(1, 2), (3,)]), list[AsyncResult[float]])
    assert_type(fetch.delay_many((url,) for url in ("a", "b")), list[AsyncResult[bytes]])


def results() -> None:
    result = add.delay(1)
    assert_type(result.get(timeout=3), float)
    assert_type(result.id, str)
    assert_type(result.ready(), bool)
    assert_type(app.AsyncResult("id"), AsyncResult[Any])
    assert_type(app.send_task("shop.add", [1]), AsyncResult[Any])


async def from_coroutines() -> None:
    result = await fetch.adelay("u")
    assert_type(result, AsyncResult[bytes])
    assert_type(await result, bytes)
    assert_type(await result.aget(timeout=3), bytes)
    assert_type(await add.adelay(1), AsyncResult[float])
    assert_type(await add.aapply_async([1]), AsyncResult[float])
    assert_type(await add.adelay_many([(1,)]), list[AsyncResult[float]])
    assert_type(await app.asend_task("shop.add"), AsyncResult[Any])
    async with app.batch():
        await add.adelay(1)


async def functions_by_value() -> None:
    assert_type(app.submit(len, "ab"), AsyncResult[int])
    assert_type(app.submit(fetch.fn, "u"), AsyncResult[Any])
    assert_type(app.submit(wait, 1.0), AsyncResult[str])
    assert_type(await app.asubmit(wait, 1.0), AsyncResult[Any])
    with app.executor(queue="mail") as executor:
        assert_type(executor.submit(len, "ab").result(), int)
        assert_type(list(executor.map(len, ["ab"], chunksize=2)), list[int])


async def wait(seconds: float) -> str:
    return str(seconds)


def results_are_covariant(result: AsyncResult[bool]) -> AsyncResult[int]:
    return result


def tasks_are_named_by_what_they_are() -> None:
    function: FunctionTask[..., float] = add
    coroutine: CoroutineTask[..., bytes] = fetch
    assert function.app is coroutine.app
    assert_type(current_task(), Request | None)
    with app.batch():
        add.delay(1)


@shared_task
def shared(x: int, y: int = 0) -> float:
    return x + y


@shared_task(bind=True, queue="mail")
async def shared_bound(self: Task[[], str], name: str) -> str:
    return name


assert_type(shared.delay(1, y=2), AsyncResult[float])
assert_type(shared(1), float)
assert_type(shared_bound.delay("x"), AsyncResult[str])


class Around(Middleware):
    """Each half of both pairs, with its types written out."""

    def publish(self, messages: Sequence[Message], call_next: Callable[[Sequence[Message]], None]) -> None:
        call_next([replace(each, headers={**each.headers, "x": 1}) for each in messages])

    async def apublish(
        self, messages: Sequence[Message], call_next: Callable[[Sequence[Message]], Awaitable[None]]
    ) -> None:
        await call_next(messages)

    def run(self, call: Call, call_next: Callable[[Call], Any]) -> Any:
        assert_type(call.request, Request)
        return call_next(replace(call, args=[*call.args]))

    async def arun(self, call: Call, call_next: Callable[[Call], Awaitable[Any]]) -> Any:
        return await call_next(call)


def middleware_is_typed() -> None:
    assert_type(App(middleware=[Around()]).conf.grace, float)
    app.config_from_object({"grace": 10}, namespace=None)
