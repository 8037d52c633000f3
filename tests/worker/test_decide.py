"""Room 4: what becomes of a job, by its outcome and its counters."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.message import ACK, REQUEUE, Dead, Move
from celeriac.protocol import ErrorData, OwnTable
from celeriac.worker.decide import decide
from celeriac.worker.job import Died, Expired, Failed, Interrupted, Rejected, Revoked, Succeeded, TimedOut

SUCCEEDED = Succeeded(body=b"3", content_type="application/json", content_encoding="utf-8", shown="3", seconds=0.1)
ERROR = ErrorData(type="ValueError", module="builtins", args=["no"], message="no")
FAILED = Failed(error=ERROR, traceback="Traceback: no", seconds=0.1)
UNKNOWN = Rejected(reason="unknown", detail="no task")
UNDECODABLE = Rejected(reason="undecodable", detail="not JSON")
ALONE = Died(exit="signal 9 (SIGKILL)", beside=0)
BESIDE = Died(exit="signal 9 (SIGKILL)", beside=2)
TIMED_OUT = TimedOut(limit=1.5)
REVOKED = [Revoked(terminated=False), Revoked(terminated=True)]
OUTCOMES = [SUCCEEDED, FAILED, UNKNOWN, UNDECODABLE, ALONE, BESIDE, Interrupted(), TIMED_OUT, *REVOKED, Expired()]


def message_of(verdict) -> str:
    return json.loads(verdict.record.body)["exc_message"][0]


def copy_of(verdict):
    assert isinstance(verdict.action, Move)
    (copy,) = verdict.action.messages
    return copy


def test_success_is_stored_and_acked(job, policy, now) -> None:
    verdict = decide(job(retries=2), SUCCEEDED, policy, now)
    assert (verdict.why, verdict.action, verdict.detail) == ("succeeded", ACK, "3")
    record = verdict.record
    assert (record.task_id, record.attempt, record.state, record.body) == ("id-1", 3, "SUCCESS", b"3")
    assert (record.content_type, record.content_encoding) == ("application/json", "utf-8")
    assert (record.reply_to, record.done_at, record.expires_at) == ("mailbox", now, now + timedelta(days=1))


def test_failure_is_stored_with_its_traceback_and_acked(job, policy, now) -> None:
    verdict = decide(job(), FAILED, policy, now)
    assert (verdict.why, verdict.action, verdict.detail) == ("failed", ACK, "no")
    assert (verdict.record.state, verdict.record.traceback) == ("FAILURE", "Traceback: no")
    assert verdict.record.body == ERROR.encode()


def test_what_a_leaving_worker_interrupts_goes_back_for_free(job, policy, now, header_of) -> None:
    exact = replace(policy, exact_count=True)
    verdict = decide(job(own=OwnTable(crashes=2)), Interrupted(), exact, now)
    assert (verdict.why, verdict.action, verdict.record) == ("interrupted", REQUEUE, None)


def test_where_returns_look_like_losses_it_goes_back_as_a_copy_without_a_past(job, policy, now, header_of) -> None:
    verdict = decide(job(own=OwnTable(crashes=2)), Interrupted(), policy, now)
    assert (verdict.why, verdict.record) == ("interrupted", None)
    assert header_of(copy_of(verdict)).own == OwnTable(crashes=2)


def test_a_task_that_only_the_child_does_not_know_is_for_another_worker(job, policy, now, header_of) -> None:
    verdict = decide(job(), UNKNOWN, policy, now)
    assert (verdict.why, verdict.record) == ("not known here", None)
    copy = copy_of(verdict)
    assert copy.not_before == now + policy.unknown_delay
    assert header_of(copy).own.history[0]["why"] == "unknown"


def test_what_expired_in_front_of_its_executor_is_told_so_in_celery_s_words(job, policy, now) -> None:
    verdict = decide(job(), Expired(), policy, now)
    assert (verdict.why, verdict.action, verdict.record.state) == ("expired", ACK, "REVOKED")
    assert message_of(verdict) == "expired"


def test_what_cannot_be_decoded_is_set_aside_and_told(job, policy, now) -> None:
    verdict = decide(job(), UNDECODABLE, policy, now)
    assert isinstance(verdict.action, Dead)
    letter = verdict.action.letter
    assert (letter.reason, letter.detail, letter.worker) == ("undecodable", "not JSON", "celeriac@here")
    assert verdict.record.state == "FAILURE"
    assert message_of(verdict) == "shop.add is a dead letter (undecodable): not JSON"


@pytest.mark.parametrize("own", [OwnTable(), OwnTable(crashes=2, accused=1, lost=19)])
def test_a_task_that_was_ended_at_its_limit_has_failed_and_is_not_tried_again(job, policy, now, own) -> None:
    verdict = decide(job(own=own), TIMED_OUT, policy, now)
    assert (verdict.why, verdict.action, verdict.record.state) == ("timed out", ACK, "FAILURE")
    error = json.loads(verdict.record.body)
    assert (error["exc_type"], error["exc_module"]) == ("TimeLimitExceeded", "celeriac.errors")
    assert message_of(verdict) == verdict.detail == "it ran longer than its time_limit of 1.5 s"


@pytest.mark.parametrize(("outcome", "how"), list(zip(REVOKED, ["revoked", "terminated"], strict=True)))
def test_a_task_that_was_revoked_while_it_ran_is_told_so_in_celery_s_words(job, policy, now, outcome, how) -> None:
    verdict = decide(job(retries=1), outcome, policy, now)
    assert (verdict.why, verdict.action, verdict.detail) == ("revoked", ACK, how)
    assert (verdict.record.state, verdict.record.attempt, verdict.record.done_at) == ("REVOKED", 2, now)
    error = json.loads(verdict.record.body)
    assert error == {"exc_type": "TaskRevokedError", "exc_message": [how], "exc_module": "celery.exceptions"}


# counters


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OwnTable(), OwnTable(crashes=1)),
        (OwnTable(crashes=1), OwnTable(crashes=2)),
        (OwnTable(accused=1), OwnTable(crashes=2)),
        (OwnTable(lost=4), OwnTable(crashes=1, lost=4)),
    ],
)
def test_a_child_that_dies_of_one_task_counts_against_it(job, policy, now, header_of, before, after) -> None:
    verdict = decide(job(own=before), ALONE, policy, now)
    assert (verdict.why, verdict.record) == ("crashed", None)
    assert header_of(copy_of(verdict)).own == after


@pytest.mark.parametrize("before", [OwnTable(crashes=2), OwnTable(crashes=1, accused=1), OwnTable(crashes=9)])
def test_the_third_death_is_the_last(job, policy, now, before) -> None:
    verdict = decide(job(own=before), ALONE, policy, now)
    assert isinstance(verdict.action, Dead)
    deaths = before.crashes + before.accused + 1
    assert (verdict.action.letter.reason, verdict.action.letter.attempts) == ("crashed", deaths)
    assert f"it has ended {deaths} executors" in verdict.action.letter.detail
    assert "signal 9 (SIGKILL)" in message_of(verdict)


def test_a_killer_runs_three_times_whoever_was_beside_it_first(job, deliver, policy, now) -> None:
    for first in (ALONE, BESIDE):
        delivery, runs = deliver(), 0
        for outcome in (first, ALONE, ALONE, ALONE):
            runs += 1
            verdict = decide(job(delivery), outcome, policy, now)
            if isinstance(verdict.action, Dead):
                break
            delivery = deliver(copy_of(verdict))
        assert runs == policy.max_deliveries


def test_who_was_beside_a_death_is_accused_and_runs_alone(job, deliver, policy, now, header_of) -> None:
    verdict = decide(job(own=OwnTable(crashes=1)), BESIDE, policy, now)
    assert (verdict.why, verdict.record) == ("accused", None)
    assert "beside 2 others" in verdict.detail
    copy = copy_of(verdict)
    assert header_of(copy).own == OwnTable(crashes=1, accused=1)
    assert job(deliver(copy)).alone


def test_the_innocent_are_acquitted_by_their_success(job, policy, now) -> None:
    assert decide(job(own=OwnTable(accused=1)), SUCCEEDED, policy, now).action == ACK


def test_a_copy_goes_straight_to_its_queue_at_once(job, policy, now) -> None:
    copy = copy_of(decide(job(), ALONE, policy, now))
    assert (copy.exchange, copy.routing_key, copy.not_before, copy.mandatory) == ("", "mail", None, True)
    assert (copy.id, copy.body) == ("id-1", job().delivery.message.body)


def test_max_deliveries_is_the_policy_s(job, policy, now) -> None:
    once = replace(policy, max_deliveries=1)
    assert isinstance(decide(job(), ALONE, once, now).action, Dead)


# words that stand over all outcomes


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_was_acknowledged_when_it_began_is_not_settled_again_and_always_told(job, policy, now, outcome) -> None:
    early = replace(job(), acks_late=False)
    verdict = decide(early, outcome, policy, now)
    assert verdict.action is None
    assert verdict.record is not None, "nobody may wait for ever"
    expected = "SUCCESS" if outcome is SUCCEEDED else "REVOKED" if outcome in [*REVOKED, Expired()] else "FAILURE"
    assert verdict.record.state == expected
    if outcome is not SUCCEEDED:
        assert "dead letter" not in message_of(verdict), "it is in no dead-letter queue"


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_nothing_is_stored_of_a_task_without_a_result(job, policy, now, outcome) -> None:
    wanted = decide(job(), outcome, policy, now)
    assert decide(replace(job(), ignore_result=True), outcome, policy, now) == replace(wanted, record=None)


texts = st.text(max_size=30)
seconds = st.floats(0, 9)
errors = st.builds(ErrorData, type=texts, module=texts, args=st.lists(texts, max_size=3), message=texts)
outcomes = st.one_of(
    st.builds(Succeeded, body=st.binary(), content_type=texts, content_encoding=texts, shown=texts, seconds=seconds),
    st.builds(Failed, error=errors, traceback=texts, seconds=seconds),
    st.builds(Rejected, reason=texts | st.just("unknown"), detail=texts),
    st.builds(Died, exit=texts, beside=st.integers(0, 100)),
    st.just(Interrupted()),
    st.builds(TimedOut, limit=st.floats(0, 9, exclude_min=True)),
    st.builds(Revoked, terminated=st.booleans()),
)
counters = st.integers(0, 30)
tables = st.builds(OwnTable, crashes=counters, accused=counters, lost=counters)


@given(outcome=outcomes, own=tables, acks_late=st.booleans(), ignore_result=st.booleans(), limit=st.integers(1, 9))
def test_every_job_is_settled_once_and_has_a_result_or_another_run(
    outcome, own, acks_late, ignore_result, limit, job, policy, now
) -> None:
    begun = replace(job(own=own), acks_late=acks_late, ignore_result=ignore_result)
    verdict = decide(begun, outcome, replace(policy, max_deliveries=limit), now)
    if not acks_late:
        assert verdict.action is None
    else:
        goes_on = verdict.action == REQUEUE or isinstance(verdict.action, Move)
        assert goes_on or verdict.action == ACK or isinstance(verdict.action, Dead)
        assert (verdict.record is None) is (goes_on or ignore_result)
