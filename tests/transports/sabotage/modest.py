"""A transport that is honest and can do nothing beside the least: what it does not declare it refuses."""

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from celeriac.errors import Unsupported
from celeriac.message import Requeue
from celeriac.transport import Capabilities
from sabotage.trial import Spoiled


class Modest(Spoiled):
    def capabilities(self, queue):
        return Capabilities()

    async def publish(self, messages):
        for message in messages:
            if message.not_before is not None and message.not_before > self.clock.now():
                raise Unsupported(f"queue {message.routing_key!r} cannot delay messages on this broker")
        return await super().publish(messages)

    def spoil(self, consumer):
        consumer._window.lease = timedelta(days=1)
        receive, settle = consumer.receive, consumer.settle

        async def plain(limit, wait):
            return [replace(d, delivery_count=None, lease_until=None) for d in await receive(limit, wait)]

        async def at_once(settlements):
            if any(isinstance(one.action, Requeue) and one.action.delay for one in settlements):
                raise Unsupported("this broker cannot delay messages")
            return await settle(settlements)

        consumer.receive, consumer.settle = plain, at_once

    async def peek(self, queue, limit):
        raise Unsupported("this broker cannot look without taking")

    async def pause(self, queue):
        raise Unsupported("this broker cannot pause")

    async def resume(self, queue):
        raise Unsupported("this broker cannot pause")

    async def revoke(self, ids, until):
        raise Unsupported("this broker remembers no revocations")

    @asynccontextmanager
    async def revoked(self):
        raise Unsupported("this broker remembers no revocations")
        yield
