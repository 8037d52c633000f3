"""One AMQP connection and its channels, with futures for pika's callbacks."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pika
from pika import exceptions, spec

from celeriac.errors import ConfigurationError, ConnectionLost, TransportError
from celeriac_amqp.errors import channel_error, connection_error, open_error
from celeriac_amqp.frames import FrameConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from celeriac_amqp.address import Address, Nodes

CLOSE_TIMEOUT = 2.0  # seconds for a polite farewell
RETURN_TIMEOUT = 0.5  # seconds for what was given back to be there
RETURN_INTERVAL = 0.005


class Session:
    """An open connection.

    Attributes:
        address: the node it goes to.
        blocked: the broker reads nothing from us for now, for want of memory or disk.
        error: why it is gone; ``None`` while it is open.
    """

    def __init__(self, nodes: Nodes, address: Address, purpose: str, on_lost: Callable[[ConnectionLost], None]) -> None:
        """Prepare; `open` is the way in."""
        self.address = address
        self._nodes = nodes
        self.blocked = False
        self.error: ConnectionLost | None = None
        self._purpose = purpose
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._raw = FrameConnection(
            _parameters(address, purpose),
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_open_error,
            on_close_callback=self._on_close,
            custom_ioloop=self._loop,
        )
        self._raw.lean = address.options.codec == "lean"
        self._raw.add_on_connection_blocked_callback(lambda *_: setattr(self, "blocked", True))
        self._raw.add_on_connection_unblocked_callback(lambda *_: setattr(self, "blocked", False))

    @classmethod
    async def open(cls, nodes: Nodes, purpose: str, on_lost: Callable[[ConnectionLost], None]) -> Session:
        """Connect to the first of ``nodes`` that answers.

        Args:
            nodes: of one cluster; those that failed are told to it.
            purpose: shown beside the connection in RabbitMQ's own lists.
            on_lost: called once when the connection ends other than by our own `close`.

        Raises:
            ConnectionLost: none answered.
            AccessRefused: one refused us.
        """
        errors: list[TransportError] = []
        for address in nodes.in_order():
            session = cls(nodes, address, purpose, on_lost)
            try:
                await session._established()
            except ConnectionLost as error:
                errors.append(error)
                nodes.failed(address)
            except asyncio.CancelledError:  # our caller's time is up: whoever is next should not begin with it again
                nodes.failed(address)
                raise
            else:
                return session
        if len(errors) == 1:
            raise errors[0]
        raise ConnectionLost("; ".join(str(error) for error in errors)) from errors[-1]

    async def _established(self) -> None:
        try:
            async with asyncio.timeout(self.address.options.connect_timeout):
                await asyncio.shield(self._opened)
        except TimeoutError as error:
            self._give_up()
            limit = self.address.options.connect_timeout
            raise ConnectionLost(f"{self.address} did not answer within {limit:g} s") from error
        except asyncio.CancelledError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        self._on_lost = _nobody
        self._opened.cancel()
        if not (self._raw.is_closed or self._raw.is_closing or self._raw.is_resolving):
            self._raw.close()

    async def channel(self) -> Channel:
        """Open a channel.

        Raises:
            ConnectionLost: the connection is gone.
        """
        channel = Channel(self)
        await channel.open()
        return channel

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Channel]:
        """Open a channel that an error may close without harm to anything else, and close it at the end."""
        channel = await self.channel()
        try:
            yield channel
        finally:
            await channel.close()

    @asynccontextmanager
    async def giving_back(self, queue: str, count: int) -> AsyncIterator[None]:
        """Give back ``count`` unsettled messages of ``queue`` within; at the end they are there for the next one.

        A quorum queue takes back behind other commands, even after the channel is closed. Until then it tells of fewer
        messages than it has, and counts who held them as a consumer. It is waited for half a second at most, as on a
        classic queue that others consume: there nothing tells that they have taken them.
        """
        async with self.scratch() as channel:
            holding = (await channel.call("queue_declare", queue, passive=True)).method.consumer_count
            yield
            with suppress(TimeoutError):
                async with asyncio.timeout(RETURN_TIMEOUT):
                    while True:
                        now = (await channel.call("queue_declare", queue, passive=True)).method
                        if now.message_count >= count or now.consumer_count < holding:
                            return
                        await asyncio.sleep(RETURN_INTERVAL)

    async def close(self) -> None:
        """Take leave; never raises. After two seconds without an answer the connection is ended by force."""
        self._on_lost = _nobody
        if self._closed.done():
            return
        with suppress(exceptions.AMQPError):
            self._raw.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await asyncio.shield(self._closed)
        if not self._closed.done():
            self.abort("the broker did not answer our farewell")
            await self._closed

    def abort(self, why: str) -> None:
        """End the connection with RST: what the broker has not read yet it will never read."""
        if not self._closed.done():
            self._raw.reset(exceptions.StreamLostError(why))

    @property
    def raw(self) -> FrameConnection:
        """Pika's connection."""
        return self._raw

    def _on_open(self, _raw: object) -> None:
        if not self._opened.done():
            self._opened.set_result(None)
        elif not self._raw.is_closing:
            self._raw.close()  # it was given up while its address was looked up

    def _on_open_error(self, _raw: object, error: BaseException) -> None:
        self._closed.set_result(None)
        if not self._opened.done():
            address = self.address
            self._opened.set_exception(open_error(error, str(address), address.user, address.vhost))

    def _on_close(self, _raw: object, error: BaseException) -> None:
        self.error = connection_error(error, str(self.address))
        if not self._closed.done():
            self._closed.set_result(None)
        if self._on_lost is not _nobody:
            self._nodes.failed(self.address)
        self._on_lost(self.error)


class Channel:
    """A channel whose replies are awaited.

    Attributes:
        raw: pika's channel.
        error: why it is closed; ``None`` while it is open.
        on_closed: called with that error when the channel ends, by whomever.
    """

    def __init__(self, session: Session) -> None:
        """Prepare; `Session.channel` is the way in."""
        self.session = session
        self.error: TransportError | None = None
        self.on_closed: Callable[[TransportError], None] = _nobody
        self._loop = asyncio.get_running_loop()
        self._waiters: set[asyncio.Future[Any]] = set()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self.raw: Any = None

    async def open(self) -> None:
        """Open it on the broker."""
        if self.session.error is not None:
            raise _again(self.session.error)
        opened = self._waiter()
        try:
            self.raw = self.session.raw.channel(on_open_callback=lambda raw: _fulfil(opened, raw))
        except exceptions.AMQPError as error:
            self._waiters.discard(opened)
            raise connection_error(error, str(self.session.address)) from error
        self.raw.add_on_close_callback(self._on_close)
        await self._reply(opened)

    async def call(self, method: str, /, *args: Any, **named: Any) -> Any:
        """Call a synchronous method of AMQP by pika's name for it; return the broker's answer.

        Raises:
            TransportError: the broker closed the channel over it, or the connection is gone.
        """
        waiter = self._waiter()
        named["callback"] = lambda answer: _fulfil(waiter, answer)
        try:
            getattr(self.raw, method)(*args, **named)
        except exceptions.AMQPError as error:
            self._waiters.discard(waiter)
            raise _again(self.error) if self.error else channel_error(error) from error
        return await self._reply(waiter)

    def publish(self, exchange: str, routing_key: str, body: bytes, properties: bytes, *, mandatory: bool) -> None:
        """Write a message, its properties encoded; `flush` must follow. See `FrameConnection.publish`."""
        self.session.raw.publish(self.raw, exchange, routing_key, body, properties, mandatory=mandatory)

    def hear_confirms(self, confirmed: Callable[[int, bool], None]) -> None:
        """Have ``confirmed`` called with each confirm's tag, and whether all below are meant, not by way of pika."""
        self.session.raw.confirmed[self.raw.channel_number] = confirmed

    def flush(self) -> None:
        """Hand what was written to the socket."""
        self.session.raw.flush()

    async def cancel(self, consumer_tag: str) -> None:
        """End a consumer; what was on its way until then has been delivered."""
        waiter = self._waiter()
        try:
            self.session.raw.consume_rest(consumer_tag, self.raw, lambda answer: _fulfil(waiter, answer))
        except exceptions.AMQPError as error:
            self._waiters.discard(waiter)
            raise _again(self.error) if self.error else channel_error(error) from error
        await self._reply(waiter)

    async def get(self, queue: str) -> tuple[Any, bytes, bytes] | None:
        """Take one message by basic.get, unacknowledged: its method, properties and body; ``None`` from none."""
        waiter = self._waiter()
        self.raw.add_callback(lambda _frame: _fulfil(waiter, None), [spec.Basic.GetEmpty])
        self.raw.basic_get(queue, lambda _raw, method, properties, body: _fulfil(waiter, (method, properties, body)))
        found: tuple[Any, bytes, bytes] | None = await self._reply(waiter)
        return found

    async def close(self) -> None:
        """Close it, which gives back what is unacknowledged; never raises."""
        if self.error is None and self.raw is not None:
            with suppress(exceptions.AMQPError):
                self.raw.close()
                await asyncio.shield(self._closed)

    def _waiter(self) -> asyncio.Future[Any]:
        if self.error is not None:
            raise _again(self.error)
        waiter = self._loop.create_future()
        self._waiters.add(waiter)
        return waiter

    async def _reply(self, waiter: asyncio.Future[Any]) -> Any:
        try:
            return await waiter
        finally:
            self._waiters.discard(waiter)

    def _on_close(self, _raw: object, error: BaseException) -> None:
        self.error = self.session.error or channel_error(error)
        self.session.raw.confirmed.pop(self.raw.channel_number, None)
        if not self._closed.done():
            self._closed.set_result(None)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self.error)
        self.on_closed(self.error)


def _parameters(address: Address, purpose: str) -> pika.ConnectionParameters:
    options = address.options
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=address.vhost,
        credentials=pika.PlainCredentials(address.user, address.password),
        heartbeat=options.heartbeat,
        socket_timeout=options.connect_timeout,
        stack_timeout=options.connect_timeout,
        ssl_options=_tls(address) if address.tls else None,
        client_properties={"product": "celeriac", "connection_name": f"celeriac {purpose}"},
    )


def _tls(address: Address) -> pika.SSLOptions:
    options = address.options
    try:
        context = ssl.create_default_context(cafile=options.cafile)
        if options.certfile is not None:
            context.load_cert_chain(options.certfile, options.keyfile)
    except OSError as error:
        files = ", ".join(filter(None, (options.cafile, options.certfile, options.keyfile)))
        raise ConfigurationError(f"TLS for {address}: {error}, of {files}") from error
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return pika.SSLOptions(context, address.host)


def _fulfil(waiter: asyncio.Future[Any], answer: Any) -> None:
    if not waiter.done():
        waiter.set_result(answer)


def _nobody(_error: object) -> None:
    """Hear of a loss that nobody is to hear of."""


def _again(error: TransportError) -> TransportError:
    """Return ``error`` to be raised once more, without the traceback of the last time."""
    again = type(error)(str(error))
    again.__cause__ = error.__cause__
    return again
