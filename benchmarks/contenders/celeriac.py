"""celeriac: at least once, results sent, every send confirmed and routed, unless a row says otherwise."""

from __future__ import annotations

from typing import Any

from benchmarks.environments import OURS
from benchmarks.model import Contender, Terms
from benchmarks.servers import redis_missing
from celeriac.errors import ConfigurationError, PluginError
from celeriac.plugins import Plugins

SYSTEM = "celeriac_tasks"
WORKER = ("-m", "celeriac", "-A", f"benchmarks.systems.{SYSTEM}", "worker", "-l", "WARNING")
ACKS = "after the result"
CONFIRMS = "each, and routed"
DEFERRED = "each, not waited for"


def on_rabbitmq(name: str, queue: str = "quorum", *, results: bool = True, **more: Any) -> Contender:
    """Return it on a ``quorum`` (its default) or a ``classic`` queue."""
    terms = {"queue": queue, "results": "sent, by RabbitMQ" if results else "ignored", "fsync": "before a confirm"}
    default = f"bench_celeriac_{queue}{{}}"
    many = tuple(f"{default}_{number}" for number in range(more.get("queues", 0)))
    query = f"?heartbeat=300&queue_type={queue}"  # a frozen worker answers no heartbeat
    return _contender(
        name, default, terms, results=results, broker="rabbitmq", query=query, delete=(default, *many), **more
    )


def on_sqlite(name: str, synchronous: str = "full", *, results: bool = True, **more: Any) -> Contender:
    """Return it on a SQLite file: ``full`` (its default) or ``normal``."""
    fsync = "each commit" if synchronous == "full" else "checkpoints only"
    terms = {"queue": "file", "results": "kept, in the file" if results else "ignored", "fsync": fsync}
    query = f"?synchronous={synchronous}"
    return _contender(name, "bench_celeriac{}", terms, results=results, broker="sqlite", query=query, **more)


def on_redis(name: str, *, results: bool = True, **more: Any) -> Contender:
    """Return it on Redis, where that transport is installed."""
    terms = {"queue": "list", "results": "kept, in Redis" if results else "ignored", "fsync": "never"}
    return _contender(
        name, "bench_celeriac{}", terms, results=results, broker="redis", missing=redis_transport_missing, **more
    )


def redis_transport_missing() -> str | None:
    """Return why there is no celeriac on Redis here."""
    try:
        Plugins().transport("redis://127.0.0.1:1/0")
    except (ConfigurationError, PluginError) as error:
        return f"celeriac: {error}"
    return redis_missing()


def _contender(
    name: str,
    default: str,
    terms: dict[str, str],
    *,
    results: bool,
    concurrency: int = 2,
    arguments: tuple[str, ...] = (),
    app: dict[str, Any] | None = None,
    queues: int = 0,
    ballast: int = 0,
    confirms: str = CONFIRMS,
    way: str = "bulk",
    delete: tuple[str, ...] = (),
    **more: Any,
) -> Contender:
    return Contender(
        name=name,
        peer=OURS,
        system=SYSTEM,
        terms=Terms(**terms, confirms=confirms, acks=ACKS),
        worker=(*WORKER, "-c", str(concurrency), *arguments),
        settings={
            "queue": default,
            "app": app or {},
            "task": {"ignore_result": not results},
            "queues": queues,
            "ballast": ballast,
        },
        way=way,
        processes=concurrency,
        queues=delete,
        **more,
    )
