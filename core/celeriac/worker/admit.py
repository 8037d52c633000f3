"""Room 2: may this delivery run? Pure: reads headers and properties, facts are passed in, and it never raises."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celeriac.errors import NotRegistered, ProtocolError
from celeriac.message import Move
from celeriac.protocol import parse_header
from celeriac.worker.job import Assignment, Job
from celeriac.worker.verdict import TOO_EARLY, Policy, Verdict, again, dead, duplicate, failed, revoked, unknown_task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from celeriac.message import Delivery
    from celeriac.protocol import TaskHeader
    from celeriac.protocol.header import TimeLimit
    from celeriac.results import ResultRecord
    from celeriac.task import Task

EARLY = timedelta(milliseconds=50)  # what clocks of several machines may differ by
SUSPICIOUS = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What the worker knows of one delivery besides the delivery.

    Attributes:
        now: the time of day.
        final: the final record that the result store has of this task, which is then a duplicate.
        revoked: it is not to be run.
    """

    now: datetime
    final: ResultRecord | None = None
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A delivery that does not run here and now, and what becomes of it."""

    delivery: Delivery
    verdict: Verdict
    header: TaskHeader | None = None


def admit(
    delivery: Delivery, facts: Facts, tasks: Mapping[str, Task[..., Any]], policy: Policy, seq: int
) -> Job | Refused:
    """Return the job that ``delivery`` is, or why it is none."""
    try:
        header = parse_header(delivery.message)
    except ProtocolError as error:
        return Refused(delivery, dead(delivery, None, policy, facts.now, "undecodable", str(error)))
    verdict = _refusal(delivery, header, facts, policy)
    if verdict is None:
        try:
            job = _job(delivery, header, tasks[header.task], policy, seq)
        except NotRegistered:
            verdict = unknown_task(delivery, header, policy, facts.now)
        else:
            if job.hard_limit is None or policy.enforces_limits:
                return job
            verdict = _unenforceable(job, policy, facts.now)
    if header.ignore_result:
        verdict = replace(verdict, record=None)
    return Refused(delivery, verdict, header)


def counted_lost(job: Job, policy: Policy, now: datetime) -> Verdict | None:
    """Return the verdict of a job that came back with nobody saying why, just before it would run.

    Where the broker's count is exact, it is the count of such losses. Elsewhere a copy with a raised counter replaces
    the message: at each return, or at every `SUSPICIOUS` where the broker counts returns, as graceful ones are among
    them and most messages that came back once or twice are innocent.
    """
    own, delivery = job.header.own, job.delivery
    if policy.exact_count:
        lost = own.lost + (delivery.delivery_count or 1) - 1
    elif delivery.redelivered and (delivery.returns is None or delivery.returns >= SUSPICIOUS):
        lost = own.lost + (delivery.returns or 1)
    else:
        return None
    if lost >= policy.max_lost:
        verdict = dead(delivery, job.header, policy, now, "lost", f"{lost} workers were lost while they had it")
        return replace(verdict, record=None) if job.ignore_result else verdict
    if policy.exact_count:
        return None
    return again(delivery, replace(own, lost=lost), "lost", detail=f"it came back {lost} times, undone")


def _refusal(delivery: Delivery, header: TaskHeader, facts: Facts, policy: Policy) -> Verdict | None:
    if facts.final is not None:
        return duplicate(header, facts.final)
    if facts.revoked:
        return revoked(delivery, header, policy, facts.now, "revoked")
    if header.expires is not None and header.expires <= facts.now:
        return revoked(delivery, header, policy, facts.now, "expired")
    if header.eta is not None and header.eta > facts.now + EARLY:
        early = replace(delivery.message, exchange="", routing_key=delivery.queue, not_before=header.eta)
        return Verdict(
            why=TOO_EARLY, action=Move((early,)), detail=f"kept by the broker until {header.eta.isoformat()}"
        )
    return None


def _job(delivery: Delivery, header: TaskHeader, task: Task[..., Any], policy: Policy, seq: int) -> Job:
    message = delivery.message
    ignore = header.ignore_result
    if ignore is None:
        ignore = policy.ignore_result if task.ignore_result is None else task.ignore_result
    hard, soft = _limits(header, task, policy)
    return Job(
        delivery=delivery,
        header=header,
        assignment=Assignment(
            seq=seq,
            task=task.name,
            body=message.body,
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            compression=header.compression,
            signature=header.own.signature,
            soft_limit=soft,
            request=_request(delivery, header, policy),
        ),
        is_async=task.is_async,
        alone=header.own.crashes > 0 or header.own.accused > 0,
        acks_late=policy.acks_late if task.acks_late is None else task.acks_late,
        ignore_result=ignore,
        track_started=policy.track_started if task.track_started is None else task.track_started,
        hard_limit=hard,
    )


def _limits(header: TaskHeader, task: Task[..., Any], policy: Policy) -> TimeLimit:
    """Return the hard and the soft limit: each the call's, else the task's, else the worker's."""
    hard, soft = header.timelimit
    task_hard, task_soft = task.defaults.limits
    worker_hard, worker_soft = policy.limits
    return hard or task_hard or worker_hard, soft or task_soft or worker_soft


def _unenforceable(job: Job, policy: Policy, now: datetime) -> Verdict:
    text = (
        f"{job.header.task} has a time_limit of {job.hard_limit:g} s, and the pool of {policy.node} cannot end a task; "
        "send it to a worker with the process pool, or start this one with --soft-limits-only"
    )
    verdict = failed(job.delivery, job.header, policy, now, "unenforceable", "ConfigurationError", text)
    return replace(verdict, record=None) if job.ignore_result else verdict


def _request(delivery: Delivery, header: TaskHeader, policy: Policy) -> dict[str, Any]:
    message = delivery.message
    return {
        "id": header.id,
        "task": header.task,
        "retries": header.retries,
        "attempt": header.attempt,
        "hostname": policy.node,
        "queue": delivery.queue,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "priority": message.priority,
        "redelivered": delivery.redelivered,
        "root_id": header.root_id,
        "parent_id": header.parent_id,
        "group": header.group,
        "correlation_id": message.correlation_id,
        "reply_to": message.reply_to,
        "origin": header.origin,
        "eta": header.eta.isoformat() if header.eta else None,
        "expires": header.expires.isoformat() if header.expires else None,
        "headers": dict(header.custom),
        "history": [dict(entry) for entry in header.own.history],
    }
