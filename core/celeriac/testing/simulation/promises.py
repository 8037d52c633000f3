"""What each outcome of a run promises: said a second time, to be held against `celeriac.worker.decide`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.message import Ack, Dead, Move, Requeue
from celeriac.protocol import parse_header
from celeriac.worker.job import (
    Died,
    Failed,
    Ignored,
    Interrupted,
    Refused,
    Rejected,
    Retried,
    Revoked,
    Snoozed,
    Succeeded,
    TimedOut,
)

if TYPE_CHECKING:
    from celeriac.message import Action
    from celeriac.worker.job import Job, Outcome


def not_promised(job: Job, outcome: Outcome, action: Action, max_deliveries: int, *, exact: bool) -> str | None:  # noqa: C901, PLR0912 - a table of the outcomes
    """Return what is wrong with settling a run's delivery by ``action`` after ``outcome``; ``None`` if nothing is.

    Giving it back is never wrong: it is what is left when a result could not be stored. Where the broker is not
    ``exact`` in what it counts, a copy without a past does as well.
    """
    if isinstance(action, Requeue):
        return None
    if not job.acks_late:
        return None if isinstance(action, Ack) else f"settled by {action}, though it was to be acked when it began"
    own = job.header.own
    match outcome, action:
        case Failed(exhausted=True), Dead():
            return _set_aside(action, "exhausted")
        case Failed(exhausted=True), _:
            return f"exhausted, and settled by {action}"
        case ((Succeeded() | Failed() | Ignored() | TimedOut() | Revoked()), Ack()):
            return None
        case Retried(), Move():
            return _copied(job, action, retries=1)
        case Snoozed(), Move():
            return _copied(job, action)
        case Died(beside=0), Move():
            return _copied(job, action, crashes=own.crashes + own.accused + 1, accused=0)
        case Died(beside=0), Dead() if own.crashes + own.accused + 1 >= max_deliveries:
            return _set_aside(action, "crashed")
        case Died(), Move() if outcome.beside:
            return _copied(job, action, crashes=own.crashes, accused=1)
        case Refused(requeue=False), Dead():
            return _set_aside(action, "rejected")
        case Rejected(), Dead():
            return _set_aside(action, outcome.reason)
        case Interrupted(), Move() if not exact:
            return _copied(job, action)
    return f"ended as {outcome}, settled by {action}"


def _copied(
    job: Job, move: Move, *, retries: int = 0, crashes: int | None = None, accused: int | None = None
) -> str | None:
    if len(move.messages) != 1:
        return f"replaced by {len(move.messages)} messages instead of one"
    copy = move.messages[0]
    header = parse_header(copy)
    found = (copy.id, copy.body, copy.priority, header.retries, header.own.crashes, header.own.accused)
    before, own = job.delivery.message, job.header.own
    wanted = (
        before.id,
        before.body,
        before.priority,
        job.header.retries + retries,
        own.crashes if crashes is None else crashes,
        own.accused if accused is None else accused,
    )
    if found != wanted:
        return f"replaced by a copy with (id, body, priority, retries, crashes, accused) {found} instead of {wanted}"
    return None


def _set_aside(dead: Dead, reason: str) -> str | None:
    return None if dead.letter.reason == reason else f"set aside as {dead.letter.reason!r} instead of {reason!r}"
