"""What is to be done with a delivery, as data, and the pieces that the pure rooms build it from."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from celeriac import states
from celeriac.errors import ProtocolError
from celeriac.message import ACK, Dead, DeadLetter, Move
from celeriac.protocol import ErrorData, parse_when, resend
from celeriac.results import ResultRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from celeriac.message import Action, Delivery, Message
    from celeriac.protocol import OwnTable, TaskHeader
    from celeriac.protocol.header import TimeLimit

DEAD = "dead"
TOO_EARLY = "early"  # as Celery's clients send what has an eta
NOT_KNOWN_HERE = "not known here"  # and left for a worker that knows it


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The worker's limits, as the pure rooms need them.

    Attributes:
        node: the worker's name.
        result_expires: how long a result is kept.
        max_deliveries: crashes after which a task is a dead letter.
        max_lost: losses of a whole worker after which it is one.
        unknown_delay: after which an unknown task is offered again.
        unknown_deadline: after which it is a dead letter.
        acks_late: for tasks that do not say.
        ignore_result: for tasks that do not say.
        track_started: for tasks that do not say.
        limits: seconds, hard and soft, for tasks that do not say.
        enforces_limits: a task with a hard limit may run here.
        exact_count: the broker counts deliveries exactly.
    """

    node: str
    result_expires: timedelta = timedelta(days=1)
    max_deliveries: int = 3
    max_lost: int = 20
    unknown_delay: timedelta = timedelta(seconds=10)
    unknown_deadline: timedelta = timedelta(hours=1)
    acks_late: bool = True
    ignore_result: bool = False
    track_started: bool = False
    limits: TimeLimit = (None, None)
    enforces_limits: bool = True
    exact_count: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `settle` does: store ``record`` if there is one, then settle with ``action`` if there is one.

    ``publish`` goes out in between, for what was acknowledged before. ``why`` is one word for logs and counters.
    """

    why: str
    action: Action | None = ACK
    record: ResultRecord | None = None
    publish: Sequence[Message] = ()
    detail: str = ""


def record_of(
    delivery: Delivery, header: TaskHeader, policy: Policy, now: datetime, state: str, body: bytes, **more: str | None
) -> ResultRecord:
    """Return the record of a state."""
    return ResultRecord(
        task_id=header.id,
        attempt=header.attempt,
        state=state,
        body=body,
        reply_to=delivery.message.reply_to,
        expires_at=now + policy.result_expires,
        done_at=now if state in states.FINAL else None,
        history=header.own.history,
        **more,  # type: ignore[arg-type]
    )


def revoked(delivery: Delivery, header: TaskHeader, policy: Policy, now: datetime, how: str) -> Verdict:
    """Return the verdict of a task that is not to be run; ``how`` is Celery's word: revoked, expired, terminated."""
    error = ErrorData(type="TaskRevokedError", module="celery.exceptions", args=[how], message=how)
    record = record_of(delivery, header, policy, now, states.REVOKED, error.encode())
    return Verdict(why="expired" if how == "expired" else "revoked", record=record, detail=how)


def failed(
    delivery: Delivery, header: TaskHeader, policy: Policy, now: datetime, why: str, kind: str, text: str
) -> Verdict:
    """Return the verdict of a task that the worker itself calls failed: with the error ``kind`` of ours."""
    error = ErrorData(type=kind, module="celeriac.errors", args=[text], message=text)
    return Verdict(
        why=why, record=record_of(delivery, header, policy, now, states.FAILURE, error.encode()), detail=text
    )


def dead(
    delivery: Delivery,
    header: TaskHeader | None,
    policy: Policy,
    now: datetime,
    reason: str,
    detail: str,
    *,
    ran: int = 0,
) -> Verdict:
    """Return the verdict of a message that is set aside; whoever waits for its result is told so.

    ``ran`` counts the runs that its headers do not count.
    """
    attempts = ran if header is None else ran + header.retries + header.own.crashes
    letter = DeadLetter(reason=reason, detail=detail, attempts=attempts, worker=policy.node)
    record = None
    if header is not None:
        error = ErrorData(
            type="TaskError",
            module="celeriac.errors",
            args=[f"{header.task} is a dead letter ({reason}): {detail}"],
            message=detail,
        )
        entry = {"at": now.isoformat(), "where": policy.node, "attempt": header.attempt, "why": DEAD, "error": detail}
        told = replace(header, own=header.own.add_history({**entry, "reason": reason}))
        record = record_of(delivery, told, policy, now, states.FAILURE, error.encode())
    return Verdict(why=reason, action=Dead(letter), record=record, detail=detail)


def duplicate(header: TaskHeader, final: ResultRecord) -> Verdict:
    """Return the verdict of a task that is done already.

    Of one that failed as a dead letter only the result may have been written: whoever stored it was lost before it
    settled. So it is set aside, perhaps a second time.
    """
    last = final.history[-1] if final.history else {}
    if final.state != states.FAILURE or last.get("why") != DEAD:
        return Verdict(why="duplicate", action=ACK)
    letter = DeadLetter(
        reason=str(last.get("reason")),
        detail=str(last.get("error")),
        attempts=header.retries + header.own.crashes,
        worker=str(last.get("where")),
    )
    return Verdict(why="duplicate", action=Dead(letter), detail=letter.detail)


def again(
    delivery: Delivery, own: OwnTable, why: str, *, not_before: datetime | None = None, detail: str = ""
) -> Verdict:
    """Return the verdict that sends the message to its queue once more, with ``own`` counters."""
    copy = resend(delivery.message, own=own, queue=delivery.queue, not_before=not_before)
    return Verdict(why=why, action=Move((copy,)), detail=detail)


def unknown_task(delivery: Delivery, header: TaskHeader, policy: Policy, now: datetime) -> Verdict:
    """Return the verdict of a task that this worker does not know: for another worker, until the deadline."""
    detail = f"no worker of queue {delivery.queue!r} knows the task {header.task!r}"
    first = _first_unknown(header.own)
    if first is not None and now - first >= policy.unknown_deadline:
        return dead(delivery, header, policy, now, "unknown", detail)
    own = header.own
    if first is None:
        own = own.add_history({"at": now.isoformat(), "why": "unknown", "where": policy.node, "error": detail})
    return again(delivery, own, NOT_KNOWN_HERE, not_before=now + policy.unknown_delay, detail=detail)


def _first_unknown(own: OwnTable) -> datetime | None:
    """Return when a worker first did not know the task, since it was sent back if it was.

    What a stranger wrote into the history may be anything.
    """
    since = own.replayed_at
    for entry in own.history:
        if entry.get("why") == "unknown":
            with contextlib.suppress(ProtocolError):
                moment = parse_when(entry.get("at"))
                if since is None or moment > since:
                    return moment
    return None
