"""From a call to a message to a result: what `Task.delay` and `App.send_task` do, blocking and awaited."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from celeriac.errors import ConfigurationError, MessageTooLarge
from celeriac.portal import awaitable
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
    from celeriac.deferred import Deferred, Pending
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
            return AsyncResult(message.id, client, task=task)
        if (deferred := self._deferred(client, options)) is not None:
            if (crowd := deferred.crowd()) is not None:
                client.portal.may_block()
                crowd.exception()
            return AsyncResult(message.id, client, self._handed_over(deferred, message), task)
        client.portal.may_block()
        self.publish(client, [message])
        return AsyncResult(message.id, client, task=task)

    def send_alone(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: CallOptions,
        task: Task[..., Any],
    ) -> AsyncResult[Any]:
        """Send one task at once; as `send`, whatever batch is open here."""

        def send() -> AsyncResult[Any]:
            _batch.set(None)
            return self.send(name, args, kwargs, options, task)

        return copy_context().run(send)

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
            return AsyncResult(message.id, client, task=task)
        if (deferred := self._deferred(client, options)) is not None:
            if (crowd := deferred.crowd()) is not None:
                await asyncio.wait([awaitable(crowd)])
            return AsyncResult(message.id, client, await self._ahanded_over(deferred, message), task)
        await self.apublish(client, [message])
        return AsyncResult(message.id, client, task=task)

    def _deferred(self, client: Client, options: CallOptions) -> Deferred | None:
        """Return where a message is handed over that nobody waits for; ``None`` where its confirm is waited for.

        Inside a task it always is: otherwise the task could be acknowledged before what it sent is the broker's.
        """
        how = options.publish_confirm or self._app.conf.publish_confirm
        return client.deferred if how == "deferred" and current_task() is None else None

    def publish(self, client: Client, messages: Sequence[Message]) -> None:
        """Publish and wait for every confirm, with the App's middlewares around it; raises as `raise_for`."""
        middlewares = self._app.middlewares
        if middlewares.publishes:
            middlewares.publish(messages, partial(_confirmed, client))
        else:
            _confirmed(client, messages)

    async def apublish(self, client: Client, messages: Sequence[Message]) -> None:
        """Publish from a coroutine; as `publish`."""
        middlewares = self._app.middlewares
        if middlewares.publishes:
            await middlewares.apublish(messages, partial(_aconfirmed, client))
        else:
            await _aconfirmed(client, messages)

    def _handed_over(self, deferred: Deferred, message: Message) -> Pending:
        """Hand over a message whose confirm nobody waits for, with the App's middlewares around that."""
        middlewares = self._app.middlewares
        if not middlewares.publishes:
            return deferred.send(message)
        pending: list[Pending] = []
        middlewares.publish([message], lambda messages: pending.extend(map(deferred.send, messages)))
        return pending[-1]

    async def _ahanded_over(self, deferred: Deferred, message: Message) -> Pending:
        middlewares = self._app.middlewares
        if not middlewares.publishes:
            return deferred.send(message)
        pending: list[Pending] = []

        async def send(messages: Sequence[Message]) -> None:
            pending.extend(map(deferred.send, messages))

        await middlewares.apublish([message], send)
        return pending[-1]

    def send_many(self, task: Task[..., Any], calls: Sequence[Sequence[Any]]) -> list[AsyncResult[Any]]:
        """Send a task many times, pipelined: the next messages are built while the last are on their way.

        Inside a `Batch` they are only taken up.
        """
        client = self._app.client
        if (batch := _batch_of(self._app)) is not None:
            return self._gather(batch, task, calls)
        client.portal.may_block()
        messages: list[Message] = []
        if self._app.middlewares.publishes:
            messages += (message for chunk in self._chunks(task, calls) for message in chunk)
            self.publish(client, messages)
            return [AsyncResult(message.id, client) for message in messages]
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
        return [AsyncResult(message.id, client, task=task) for message in messages]

    async def asend_many(self, task: Task[..., Any], calls: Sequence[Sequence[Any]]) -> list[AsyncResult[Any]]:
        """Send a task many times from a coroutine; as `send_many`."""
        client = self._app.client
        if (batch := _batch_of(self._app)) is not None:
            return self._gather(batch, task, calls)
        messages: list[Message] = []
        if self._app.middlewares.publishes:
            messages += (message for chunk in self._chunks(task, calls) for message in chunk)
            await self.apublish(client, messages)
            return [AsyncResult(message.id, client) for message in messages]
        receipts: list[Receipt] = []
        pending: list[asyncio.Future[Sequence[Receipt]]] = []
        for chunk in self._chunks(task, calls):
            messages += chunk
            pending.append(awaitable(client.publisher.publish(chunk)))
            if len(pending) > 1:
                receipts += await pending.pop(0)
        for future in pending:
            receipts += await future
        raise_for(messages, receipts)
        return [AsyncResult(message.id, client, task=task) for message in messages]

    def _gather(self, batch: Batch, task: Task[..., Any], calls: Sequence[Sequence[Any]]) -> list[AsyncResult[Any]]:
        messages = [message for chunk in self._chunks(task, calls) for message in chunk]
        batch.messages += messages
        return [AsyncResult(message.id, self._app.client, task=task) for message in messages]

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
        if options.serializer is not None:
            settings.refuse_unread("serializer", options.serializer)
        address = self._address(name, options)
        not_before, expires = _moments(options, self._app.clock.now) if _is_timed(options) else (None, None)
        ignore_result = options.ignore_result
        if ignore_result is None and task is not None:
            ignore_result = task.ignore_result
        if ignore_result is None:
            ignore_result = settings.ignore_result
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
            types=None if task is None else task.types,
            serializer=options.serializer,
            compression=options.compression or settings.task_compression,
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
            self._app.sender.publish(client, messages)

    async def __aenter__(self) -> Self:
        """Begin to gather."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Publish from a coroutine; as `__exit__`."""
        if messages := self._left(kind):
            await self._app.sender.apublish(self._app.client, messages)

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


def _confirmed(client: Client, messages: Sequence[Message]) -> None:
    """Publish and wait for every confirm; raises as `raise_for`."""
    if len(messages) == 1:
        raise_for(messages, client.publisher.publish(messages).result())
    else:
        raise_for(messages, [receipt for future in _published(client, messages) for receipt in future.result()])


async def _aconfirmed(client: Client, messages: Sequence[Message]) -> None:
    receipts: list[Receipt] = []
    for future in _published(client, messages):
        answered = await awaitable(future)
        receipts += answered
    raise_for(messages, receipts)


def _published(client: Client, messages: Sequence[Message]) -> list[Future[Sequence[Receipt]]]:
    return [client.publisher.publish(messages[i : i + CHUNK]) for i in range(0, len(messages), CHUNK)]


def _is_timed(options: CallOptions) -> bool:
    return options.countdown is not None or options.eta is not None or options.expires is not None


def _moments(options: CallOptions, now: Callable[[], datetime]) -> tuple[datetime | None, datetime | None]:
    """Return when a call may start and when it expires, both aware; a naive moment is UTC."""
    if options.countdown is not None and options.eta is not None:
        raise ConfigurationError("give a countdown or an eta, not both")
    start = _aware("eta", options.eta) if options.eta is not None else None
    if options.countdown is not None:
        start = _after(now(), "countdown", options.countdown)
    if options.expires is None:
        return start, None
    if isinstance(options.expires, datetime):
        return start, _aware("expires", options.expires)
    return start, _after(now(), "expires", options.expires)


def _aware(what: str, moment: object) -> datetime:
    if not isinstance(moment, datetime):
        raise ConfigurationError(f"{what}={moment!r} is no datetime; datetime.fromisoformat() makes one of a text")
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
