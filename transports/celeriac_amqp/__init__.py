"""RabbitMQ, by AMQP 0-9-1: the transport and the reply mailbox. Needs pika (``celeriac[amqp]``) once one is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.results import ResultStore
    from celeriac.transport import Transport


@hookimpl
def celeriac_transports() -> Mapping[str, Callable[[], type[Transport]]]:
    """Return the transport for ``amqp://`` and ``amqps://``."""
    return {"amqp": _transport, "amqps": _transport}


@hookimpl
def celeriac_result_stores() -> Mapping[str, Callable[[], type[ResultStore]]]:
    """Return the mailbox; ``rpc://`` is Celery's name for it."""
    return {"rpc": _mailbox, "amqp": _mailbox, "amqps": _mailbox}


def _transport() -> type[Transport]:
    from celeriac_amqp.transport import AmqpTransport  # noqa: PLC0415 - the driver is imported when it is used

    return AmqpTransport


def _mailbox() -> type[ResultStore]:
    from celeriac_amqp.mailbox import AmqpMailbox  # noqa: PLC0415 - the driver is imported when it is used

    return AmqpMailbox
