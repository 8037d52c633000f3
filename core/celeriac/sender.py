"""From a call to a message to a result: what `Task.delay` and `App.send_task` do, blocking and awaited."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from celeriac.errors import ConfigurationError, MessageTooLarge
from celeriac.protocol import task_message
from celeriac.publisher import raise_for
from celeriac.request import current_task
from celeriac.result import AsyncResult
from celeriac.routing import Address, to_queue
from celeriac.task import NO_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from types import TracebackType

    from celeriac.app import App
    from celeriac.client import Client
    from celeriac.deferred import Deferred
    from celeriac.message import Message, Receipt
    from celeriac.task import CallOptions, Task

CHUNK = 500


class Sender:
    """Builds an App's messages and hands them over."""

    def __init__(self, app: App) -> None:
        """Send for ``app``."""
        self._app = app

    def send(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: CallOptions = NO_OPTIONS,
        task: Task[..., Any] | None = None,
    ) -> AsyncResult[Any]:
        """Send one task and wait for its confirm; inside a `Batch`, only take it up."""
        client = self._app.client
        message = self._message(name, args, kwargs, options, task)
        if (batch := _batch_of(self._app)) is not None:
            batch.messages.append(message)
            return AsyncResult(message.id, client)
        client.portal.may_block()
        if (deferred := self._deferred(client, options)) is not None:
            if (crowd := deferred.crowd()) is not None:
                crowd.exception()
            return AsyncResult(message.id, client, deferred.send(message))
        raise_for([message], client.publisher.publish([message]).result())
        return AsyncResult(message.id, client)

    async def asend(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: CallOptions = NO_OPTIONS,
        task: Task[..., Any] | None = None,
    ) -> AsyncResult[Any]:
        """Send one task from a coroutine; as `send`."""
        client = self._app.client
        message = self._message(name, args, kwargs, options, task)
        if (batch := _batch_of(self._app)) is not None:
            batch.messages.append(message)
            return AsyncResult(message.id, client)
        if (deferred := self._deferred(client, options)) is not None:
            if (crowd := deferred.crowd()) is not None:
                await asyncio.wait([asyncio.wrap_future(crowd)])
            return AsyncResult(message.id, client, deferred.send(message))
        raise_for([message], await asyncio.wrap_future(client.publisher.publish([message])))
        return AsyncResult(message.id, client)

    def _deferred(self, client: Client, options: CallOptions) -> Deferred | None:
        """Return where a message is handed over that nobody waits for; ``None`` where its confirm is waited for.

        Inside a task it always is: otherwise the task could be acknowledged before what it sent is the broker's.
        """
        how = options.publish_confirm or self._app.conf.publish_confirm
        return client.deferred if how == "deferred" and current_task() is None else None

    def send_many(self, task: Task[..., Any], calls: Sequence[Sequence[Any]]) -> list[AsyncResult[Any]]:
        """Send a task many times, pipelined: the next messages are built while the last are on their way.

        Inside a `Batch` they are only taken up.
        """
        client = self._app.client
        if (batch := _batch_of(self._app)) is not None:
            return self._gather(batch, task, calls)
        client.portal.may_block()
        messages: list[Message] = []
        receipts: list[Receipt] = []
        pending: list[Future[Sequence[Receipt]]] = []
        for chunk in self._chunks(task, calls):
            messages += chunk
            pending.append(client.publisher.publish(chunk))
            if len(pending) > 1:
                receipts += pending.pop(0).result()
        for future in pending:
            receipts += future.result()
        raise_for(messages, receipts)
        return [AsyncResult(message.id, client) for message in messages]

    async def asend_many(self, task: Task[..., Any], calls: Sequence[Sequence[Any]]) -> list[AsyncResult[Any]]:
        """Send a task many times from a coroutine; as `send_many`."""
        client = self._app.client
        if (batch := _batch_of(self._app)) is not None:
            return self._gather(batch, task, calls)
        messages: list[Message] = []
        receipts: list[Receipt] = []
        pending: list[asyncio.Future[Sequence[Receipt]]] = []
        for chunk in self._chunks(task, calls):
            messages += chunk
            pending.append(asyncio.wrap_future(client.publisher.publish(chunk)))
            if len(pending) > 1:
                receipts += await pending.pop(0)
        for future in pending:
            receipts += await future
        raise_for(messages, receipts)
        return [AsyncResult(message.id, client) for message in messages]

    def _gather(self, batch: Batch, task: Task[..., Any], calls: Sequence[Sequence[Any]]) -> list[AsyncResult[Any]]:
        messages = [message for chunk in self._chunks(task, calls) for message in chunk]
        batch.messages += messages
        return [AsyncResult(message.id, self._app.client) for message in messages]

    def _chunks(self, task: Task[..., Any], calls: Sequence[Sequence[Any]]) -> Iterator[list[Message]]:
        rest = iter(calls)
        while chunk := list(islice(rest, CHUNK)):
            yield [self._message(task.name, args, {}, task.defaults, task) for args in chunk]

    def _message(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: CallOptions,
        task: Task[..., Any] | None,
    ) -> Message:
        settings, client = self._app.conf, self._app.client
        task_id = options.task_id or str(uuid4())
        if not isinstance(task_id, str):
            raise ConfigurationError(f"{name}: task_id={task_id!r} is no text; give a string, or leave it out")
        address = self._address(name, options)
        not_before, expires = _moments(options, self._app.clock.now) if _is_timed(options) else (None, None)
        ignore_result = _first(options.ignore_result, task.ignore_result if task else None, settings.ignore_result)
        parent = current_task()
        message = task_message(
            id=task_id,
            task=name,
            args=args,
            kwargs=kwargs,
            codecs=self._app.codecs,
            exchange=address.exchange,
            routing_key=address.routing_key,
            priority=options.priority,
            eta=not_before,
            expires=expires,
            root_id=(parent.root_id or parent.id) if parent else task_id,
            parent_id=parent.id if parent else None,
            ignore_result=ignore_result,
            timelimit=options.limits,
            headers=options.headers,
            reply_to=None if ignore_result else client.reply_to,
            not_before=not_before,
            origin=client.origin,
        )
        if len(message.body) > settings.max_message_bytes:
            raise MessageTooLarge(
                f"the arguments of {name} take {len(message.body)} bytes, more than "
                f"max_message_bytes={settings.max_message_bytes}; send a reference to the data instead"
            )
        return message

    def _address(self, name: str, options: CallOptions) -> Address:
        if options.exchange is not None:
            if options.queue is not None:
                raise ConfigurationError(f"{name}: give a queue, or an exchange and a routing key, not both")
            return Address(options.exchange, options.routing_key or "")
        if options.routing_key is not None:
            if options.queue is not None:
                raise ConfigurationError(f"{name}: a queue is reached by its name; leave routing_key away")
            return Address(self._app.default_queue.bound_exchange.name, options.routing_key)
        if options.queue is not None:
            return to_queue(options.queue)
        return self._app.router.route(name)


class Batch:
    """``with app.batch():`` - the tasks sent inside are published together when the block is left.

    Their results exist at once. Leaving means that every one is confirmed; an exception inside discards them all. A
    batch inside a batch joins the outer one. It is scoped to the context: other threads and tasks are not held back.
    """

    def __init__(self, app: App) -> None:
        """Gather for ``app``."""
        self._app = app
        self._outer: Batch | None = None
        self.messages: list[Message] = []

    def find(self, app: App) -> Batch | None:
        """Return the innermost batch, from this one outwards, that gathers messages of ``app``."""
        if app is self._app:
            return self
        return None if self._outer is None else self._outer.find(app)

    def __enter__(self) -> Self:
        """Begin to gather."""
        self._outer = _batch.get()
        self._token = _batch.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Publish what was gathered and wait for every confirm.

        Raises:
            PublishErrors: some were not taken; ``.failed`` holds their messages.
        """
        if messages := self._left(kind):
            client = self._app.client
            client.portal.may_block()
            raise_for(messages, [receipt for f in _published(client, messages) for receipt in f.result()])

    async def __aenter__(self) -> Self:
        """Begin to gather."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Publish from a coroutine; as `__exit__`."""
        if messages := self._left(kind):
            receipts: list[Receipt] = []
            for future in _published(self._app.client, messages):
                answered = await asyncio.wrap_future(future)
                receipts += answered
            raise_for(messages, receipts)

    def _left(self, kind: type[BaseException] | None) -> list[Message]:
        """Leave the context; return what is now to be published."""
        _batch.reset(self._token)
        messages, self.messages = self.messages, []
        if kind is not None:
            return []
        outer = None if self._outer is None else self._outer.find(self._app)
        if outer is None:
            return messages
        outer.messages += messages
        return []


_batch: ContextVar[Batch | None] = ContextVar("celeriac_batch", default=None)


def _batch_of(app: App) -> Batch | None:
    batch = _batch.get()
    return None if batch is None else batch.find(app)


def _published(client: Client, messages: Sequence[Message]) -> list[Future[Sequence[Receipt]]]:
    return [client.publisher.publish(messages[i : i + CHUNK]) for i in range(0, len(messages), CHUNK)]


def _first(*answers: bool | None) -> bool:
    return next((answer for answer in answers if answer is not None), False)


def _is_timed(options: CallOptions) -> bool:
    return options.countdown is not None or options.eta is not None or options.expires is not None


def _moments(options: CallOptions, now: Callable[[], datetime]) -> tuple[datetime | None, datetime | None]:
    """Return when a call may start and when it expires, both aware; a naive moment is UTC."""
    if options.countdown is not None and options.eta is not None:
        raise ConfigurationError("give a countdown or an eta, not both")
    start = _aware(options.eta) if options.eta is not None else None
    if options.countdown is not None:
        start = _after(now(), "countdown", options.countdown)
    if options.expires is None:
        return start, None
    if isinstance(options.expires, datetime):
        return start, _aware(options.expires)
    return start, _after(now(), "expires", options.expires)


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _after(now: datetime, what: str, value: float | timedelta) -> datetime:
    try:
        duration = value if isinstance(value, timedelta) else timedelta(seconds=value)
        moment = now + duration
    except (TypeError, ValueError, OverflowError):
        raise ConfigurationError(f"{what}={value!r} is no duration; give seconds or a timedelta") from None
    if duration < timedelta(0):
        raise ConfigurationError(f"{what}={value} is negative; give seconds from now")
    return moment
