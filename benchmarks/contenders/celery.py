"""Celery 5: by default a message is acknowledged before its task runs, and a send is not confirmed."""

from __future__ import annotations

from typing import Any

from benchmarks.model import Contender, Terms

SYSTEM = "celery_tasks"
# what its documentation and users recommend for speed
FAST_CONF = {"worker_prefetch_multiplier": 64, "worker_disable_rate_limits": True, "worker_send_task_events": False}
FAST_ARGUMENTS = ("--without-gossip", "--without-mingle", "--without-heartbeat")
# what comes nearest to celeriac's defaults
SAFE_CONF = {"task_acks_late": True, "broker_transport_options": {"confirm_publish": True}}
QUORUM_CONF = {"task_default_queue_type": "quorum", "worker_detect_quorum_queues": True}


def celery(
    name: str,
    *,
    broker: str = "rabbitmq",
    queue: str = "classic",
    pool: str = "prefork",
    concurrency: int = 2,
    fast: bool = False,
    safe: bool = False,
    results: bool = False,
    ballast: int = 0,
    **more: Any,
) -> Contender:
    """Return it.

    Args:
        name: of the contender.
        broker: ``rabbitmq`` or ``redis``.
        queue: ``classic`` (its default) or ``quorum``.
        pool: ``prefork`` (its default), ``threads``, ``gevent`` or ``solo``.
        concurrency: of the pool.
        fast: the settings for speed.
        safe: acknowledged after the task, sends confirmed.
        results: send them: by RabbitMQ (``rpc://``), or to Redis.
        ballast: MB that the app holds.
        more: fields of the contender.
    """
    conf: dict[str, Any] = {**(FAST_CONF if fast else {}), **(SAFE_CONF if safe else {})}
    if queue == "quorum":
        conf.update(QUORUM_CONF)
    rabbit = broker == "rabbitmq"
    kept = "sent, by RabbitMQ" if rabbit else "kept, in Redis"
    default = f"bench_celery_{queue}{{}}"
    command = ("-m", "celery", "-A", f"benchmarks.systems.{SYSTEM}", "worker", "-l", "WARNING")
    return Contender(
        name=name,
        peer="celery",
        system=SYSTEM,
        broker=broker,  # type: ignore[arg-type] # one of two words
        results_broker=("rpc" if rabbit else "redis") if results else "none",
        terms=Terms(
            queue=queue if rabbit else "list",
            results=kept if results else "ignored",
            confirms=("each" if safe else "none") if rabbit else "each reply",
            acks="after the task" if safe else "before the task",
            fsync=("before a confirm" if safe else "not waited for") if rabbit else "never",
        ),
        worker=(*command, "-P", pool, "-c", str(concurrency), *(FAST_ARGUMENTS if fast else ())),
        settings={"queue": default, "conf": conf, "results": results, "ballast": ballast},
        processes=concurrency if pool == "prefork" else 1,
        queues=(default,) if rabbit else (),
        **more,
    )
