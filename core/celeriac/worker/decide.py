"""Room 4: what becomes of a job, by its outcome. Pure: the whole policy is one `match`; the clock is passed in."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac.message import REQUEUE, Dead, DeadLetter, Move
from celeriac.protocol import resend, retried
from celeriac.worker.job import (
    Died,
    Expired,
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
from celeriac.worker.verdict import DEAD, Policy, Verdict, again, dead, failed, record_of, revoked, unknown_task

if TYPE_CHECKING:
    from celeriac.protocol import ErrorData
    from celeriac.results import ResultRecord
    from celeriac.worker.job import Job, Outcome


def decide(job: Job, outcome: Outcome, policy: Policy, now: datetime) -> Verdict:
    """Return what is to be stored, published and settled."""
    judge = _judge if job.acks_late else _judge_acknowledged
    verdict = judge(job, outcome, policy, now)
    return replace(verdict, record=None) if job.ignore_result else verdict


def _judge(job: Job, outcome: Outcome, policy: Policy, now: datetime) -> Verdict:  # noqa: C901, PLR0912 - the policy is one match
    match outcome:
        case Succeeded():
            return Verdict(why="succeeded", record=_success(job, outcome, policy, now), detail=outcome.shown)
        case Failed(exhausted=True):
            return _exhausted(job, outcome, policy, now)
        case Failed():
            record = _failure(job, outcome.error, policy, now, outcome.traceback)
            return Verdict(why="failed", record=record, detail=outcome.error.message)
        case Retried():
            return _retried(job, outcome, policy, now)
        case Ignored():
            return Verdict(why="ignored")
        case Snoozed():
            return again(job.delivery, job.header.own, "snoozed", not_before=_after(now, outcome.delay))
        case Refused(requeue=True):
            return Verdict(why="given back", action=REQUEUE, detail=outcome.reason)
        case Refused():
            return dead(job.delivery, job.header, policy, now, "rejected", outcome.reason, ran=1)
        case Rejected(reason="unknown"):
            return unknown_task(job.delivery, job.header, policy, now)
        case Rejected():
            return dead(job.delivery, job.header, policy, now, outcome.reason, outcome.detail)
        case TimedOut():
            text = f"it ran longer than its time_limit of {outcome.limit:g} s"
            return failed(job.delivery, job.header, policy, now, "timed out", "TimeLimitExceeded", text)
        case Revoked():
            how = "terminated" if outcome.terminated else "revoked"
            return revoked(job.delivery, job.header, policy, now, how)
        case Expired():
            return revoked(job.delivery, job.header, policy, now, "expired")
        case Interrupted():
            return _interrupted(job, policy)
        case Died(beside=0):
            return _crashed(job, outcome, policy, now)
        case Died():
            beside = f"{_died(outcome)} beside {outcome.beside} others"
            own = job.header.own.add_history(_attempt(job, beside, policy, now, "accused"))
            return again(job.delivery, replace(own, accused=1), "accused", detail=beside)


def _judge_acknowledged(job: Job, outcome: Outcome, policy: Policy, now: datetime) -> Verdict:
    """The broker has forgotten it when it began, so nothing tries it again: whoever waits for it is told."""
    match outcome:
        case Succeeded() | Failed() | Ignored() | TimedOut() | Revoked() | Expired():
            return replace(_judge(job, outcome, policy, now), action=None)
        case Retried() | Snoozed() | Refused(requeue=True):
            return _published(_judge(job, outcome, policy, now), job)
        case Refused():
            why, text = "rejected", outcome.reason
        case Rejected():
            why, text = outcome.reason, outcome.detail
        case Interrupted():
            why, text = "interrupted", "it was interrupted before it was done: its worker or its executor had to end"
        case Died():
            why, text = "died", _died(outcome)
    return replace(failed(job.delivery, job.header, policy, now, why, "TaskError", text), action=None)


def _interrupted(job: Job, policy: Policy) -> Verdict:
    """Give it back, uncounted: where the broker cannot tell a return from a loss, a copy starts without a past."""
    if policy.exact_count:
        return Verdict(why="interrupted", action=REQUEUE)
    return again(job.delivery, job.header.own, "interrupted")


def _published(verdict: Verdict, job: Job) -> Verdict:
    """Turn what would replace a delivery into a mere publish: the broker has forgotten the delivery."""
    if isinstance(verdict.action, Move):
        return replace(verdict, action=None, publish=verdict.action.messages)
    return replace(
        verdict, action=None, publish=(resend(job.delivery.message, own=job.header.own, queue=job.delivery.queue),)
    )


def _retried(job: Job, outcome: Retried, policy: Policy, now: datetime) -> Verdict:
    """Another attempt: a copy, due after the delay, with the history of this one."""
    header = job.header
    own = header.own.add_history(_attempt(job, _text(outcome.error), policy, now, "retry"))
    if outcome.packed is not None:
        own = replace(own, signature=outcome.signature)
    copy = retried(
        job.delivery.message,
        own=own,
        queue=job.delivery.queue,
        not_before=_after(now, outcome.delay),
        retries=header.retries + 1,
        packed=outcome.packed,
    )
    told = replace(job, header=replace(header, own=own))
    record = _failure(told, outcome.error, policy, now, outcome.traceback, states.RETRY)
    detail = f"in {outcome.delay:.1f} s: {outcome.error.message}"
    return Verdict(why="retry", action=Move((copy,)), record=record, detail=detail)


def _exhausted(job: Job, outcome: Failed, policy: Policy, now: datetime) -> Verdict:
    """The last attempt: its caller is told its error, and it is set aside for whoever mends the cause."""
    own = job.header.own.add_history(_attempt(job, _text(outcome.error), policy, now, DEAD) | {"reason": "exhausted"})
    told = replace(job, header=replace(job.header, own=own))
    attempts = job.header.attempt + own.crashes
    letter = DeadLetter(reason="exhausted", detail=_text(outcome.error), attempts=attempts, worker=policy.node)
    record = _failure(told, outcome.error, policy, now, outcome.traceback)
    return Verdict(why="exhausted", action=Dead(letter), record=record, detail=outcome.error.message)


def _attempt(job: Job, error: str, policy: Policy, now: datetime, why: str) -> dict[str, Any]:
    """Return the entry that an attempt leaves in the history."""
    return {"at": now.isoformat(), "where": policy.node, "attempt": job.header.attempt, "why": why, "error": error}


def _text(error: ErrorData) -> str:
    return f"{error.type}: {error.message}" if error.message else error.type


def _after(now: datetime, seconds: float) -> datetime:
    """Return the moment in ``seconds``; a wish beyond the calendar is its end."""
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=now.tzinfo)


def _crashed(job: Job, outcome: Died, policy: Policy, now: datetime) -> Verdict:
    """A child died with only this task in it: the task did it; after so many times it is set aside."""
    own = job.header.own.add_history(_attempt(job, _died(outcome), policy, now, "crashed"))
    crashes = own.crashes + own.accused + 1
    if crashes >= policy.max_deliveries:
        header = replace(job.header, own=replace(own, crashes=crashes, accused=0))
        detail = f"{_died(outcome)}; it has ended {crashes} executors"
        return dead(job.delivery, header, policy, now, "crashed", detail)
    return again(job.delivery, replace(own, crashes=crashes, accused=0), "crashed", detail=_died(outcome))


def _died(outcome: Died) -> str:
    return f"the executor process died of {outcome.exit}"


def _success(job: Job, outcome: Succeeded, policy: Policy, now: datetime) -> ResultRecord:
    return record_of(
        job.delivery,
        job.header,
        policy,
        now,
        states.SUCCESS,
        outcome.body,
        content_type=outcome.content_type,
        content_encoding=outcome.content_encoding,
    )


def _failure(
    job: Job, error: ErrorData, policy: Policy, now: datetime, traceback: str | None, state: str = states.FAILURE
) -> ResultRecord:
    return record_of(job.delivery, job.header, policy, now, state, error.encode(), traceback=traceback)
