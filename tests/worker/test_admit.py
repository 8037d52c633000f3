"""Room 2: which deliveries may run, and what becomes of the others."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import App
from celeriac.message import ACK, Dead, Delivery, Message, Move
from celeriac.protocol import OwnTable, parse_header
from celeriac.results import ResultRecord
from celeriac.worker.admit import EARLY, Facts, Refused, admit, counted_lost
from celeriac.worker.job import Job
from celeriac.worker.verdict import dead

if TYPE_CHECKING:
    from celeriac.worker.verdict import Policy

DAY = timedelta(days=1)


def refused(delivery: Delivery, facts: Facts, tasks: Any, policy: Policy) -> Refused:
    answer = admit(delivery, facts, tasks, policy, 7)
    assert isinstance(answer, Refused)
    assert answer.delivery is delivery
    return answer


# what may run


def test_a_job_carries_what_its_executor_needs(deliver, tasks, policy, now) -> None:
    delivery = deliver(priority=3, headers={"tenant": "north"}, retries=2, parent_id="p", root_id="r")
    job = admit(delivery, Facts(now), tasks, policy, 7)
    assert isinstance(job, Job)
    assert job.seq == 7
    assert job.assignment.task == "shop.add"
    assert job.assignment.body is delivery.message.body
    assert (job.assignment.content_type, job.assignment.content_encoding) == ("application/json", "utf-8")
    request = job.assignment.request
    assert request["id"] == "id-1"
    assert (request["retries"], request["attempt"]) == (2, 3)
    assert (request["queue"], request["exchange"], request["routing_key"]) == ("mail", "shop", "shop.add")
    assert (request["hostname"], request["origin"]) == ("celeriac@here", "gen1@there")
    assert (request["priority"], request["parent_id"], request["root_id"]) == (3, "p", "r")
    assert request["headers"] == {"tenant": "north"}


def test_a_compressed_body_says_so_to_the_executor(deliver, message, tasks, policy, now) -> None:
    sent = message()
    sent = replace(sent, headers={**sent.headers, "compression": "application/x-gzip"})
    job = admit(deliver(sent), Facts(now), tasks, policy, 1)
    assert isinstance(job, Job)
    assert job.assignment.compression == "application/x-gzip"


@pytest.mark.parametrize(("task", "is_async"), [("shop.add", False), ("shop.mail", True)])
def test_it_is_known_whether_the_task_is_a_coroutine(job, task: str, is_async: bool) -> None:  # noqa: FBT001 - a table
    assert job(task=task).is_async is is_async


@pytest.mark.parametrize(
    ("own", "alone"),
    [(OwnTable(), False), (OwnTable(lost=3), False), (OwnTable(crashes=1), True), (OwnTable(accused=1), True)],
)
def test_the_accused_run_alone(job, own: OwnTable, alone: bool) -> None:  # noqa: FBT001 - a table
    assert job(own=own).alone is alone


@pytest.mark.parametrize(
    ("task", "of_message", "of_app", "ignored"),
    [
        ("shop.add", None, False, False),
        ("shop.add", None, True, True),
        ("shop.add", False, True, False),
        ("shop.add", True, False, True),
        ("shop.once", None, False, True),
        ("shop.once", False, False, False),
    ],
)
def test_the_caller_s_word_on_the_result_comes_first(
    job, message, deliver, policy, task, of_message, of_app, ignored
) -> None:
    sent = message(task=task)
    sent = replace(sent, headers={**sent.headers, "ignore_result": of_message})
    assert job(deliver(sent), policy=replace(policy, ignore_result=of_app)).ignore_result is ignored


@pytest.mark.parametrize(
    ("task", "of_app", "late"), [("shop.add", True, True), ("shop.add", False, False), ("shop.once", True, False)]
)
def test_the_task_s_word_on_the_ack_comes_first(job, policy, task, of_app, late) -> None:
    assert job(task=task, policy=replace(policy, acks_late=of_app)).acks_late is late


# what may not


def test_what_is_no_task_message_is_a_dead_letter_that_nobody_waits_for(deliver, tasks, policy, now) -> None:
    answer = refused(deliver(Message(id="x", body=b"hello")), Facts(now), tasks, policy)
    assert answer.header is None
    action = answer.verdict.action
    assert isinstance(action, Dead)
    assert (action.letter.reason, action.letter.attempts, action.letter.worker) == ("undecodable", 0, "celeriac@here")
    assert "'task' is missing" in action.letter.detail
    assert answer.verdict.record is None


def test_a_duplicate_is_acked_without_another_word(deliver, tasks, policy, now) -> None:
    done = ResultRecord(task_id="id-1", attempt=1, state="FAILURE", history=({"why": "retry"},))
    verdict = refused(deliver(expires=now - DAY), Facts(now, final=done), tasks, policy).verdict
    assert (verdict.why, verdict.action, verdict.record) == ("duplicate", ACK, None)


def test_a_duplicate_of_a_dead_letter_is_set_aside_since_perhaps_only_its_result_was_written(
    deliver, tasks, policy, now
) -> None:
    delivery = deliver(Message(id="id-1", headers={"task": "shop.add", "id": "id-1"}), redelivered=True)
    first = dead(delivery, parse_header(delivery.message), policy, now, "rejected", "not wanted")
    again = refused(delivery, Facts(now, final=first.record), tasks, policy).verdict
    assert (again.why, again.action, again.record) == ("duplicate", first.action, None)


def test_what_has_expired_is_revoked_and_told(deliver, tasks, policy, now) -> None:
    answer = refused(deliver(expires=now), Facts(now), tasks, policy)
    record = answer.verdict.record
    assert (answer.verdict.why, answer.verdict.action) == ("expired", ACK)
    assert record is not None
    assert (record.task_id, record.state, record.reply_to) == ("id-1", "REVOKED", "mailbox")
    assert json.loads(record.body)["exc_type"] == "TaskRevokedError"


def test_what_is_revoked_is_told_though_it_is_early_unknown_or_expired(deliver, tasks, policy, now) -> None:
    for sent in ({}, {"eta": now + DAY}, {"task": "shop.gone"}, {"expires": now}):
        answer = refused(deliver(**sent), Facts(now, revoked=True), tasks, policy)
        assert (answer.verdict.why, answer.verdict.action) == ("revoked", ACK)
        assert answer.verdict.record is not None
        assert json.loads(answer.verdict.record.body)["exc_message"] == ["revoked"]
    done = ResultRecord(task_id="id-1", attempt=1, state="SUCCESS")
    duplicate = refused(deliver(), Facts(now, final=done, revoked=True), tasks, policy)
    assert duplicate.verdict.why == "duplicate"


@pytest.mark.parametrize(
    ("of_call", "of_task", "of_worker", "expected"),
    [
        ((None, None), (None, None), (None, None), (None, None)),
        ((None, None), (None, None), (9.0, 8.0), (9.0, 8.0)),
        ((None, None), (7.0, 6.0), (9.0, 8.0), (7.0, 6.0)),
        ((5.0, None), (7.0, 6.0), (9.0, 8.0), (5.0, 6.0)),
        ((None, 1.0), (None, 6.0), (9.0, 8.0), (9.0, 1.0)),
        ((0, 0), (7.0, 6.0), (None, None), (7.0, 6.0)),
    ],
)
def test_a_limit_is_the_call_s_or_the_task_s_or_the_worker_s(
    deliver, policy, now, of_call, of_task, of_worker, expected
) -> None:
    app = App("limits", broker="memory://")
    app.task(name="shop.limited", time_limit=of_task[0], soft_time_limit=of_task[1])(lambda: None)
    delivery = deliver(task="shop.limited", timelimit=of_call)
    job = admit(delivery, Facts(now), app.tasks, replace(policy, limits=of_worker), 1)
    assert isinstance(job, Job)
    assert (job.hard_limit, job.assignment.soft_limit) == expected


@pytest.mark.parametrize("ignore_result", [False, True])
def test_a_hard_limit_that_cannot_be_kept_here_is_a_failure(deliver, tasks, policy, now, ignore_result) -> None:
    cannot = replace(policy, enforces_limits=False)
    delivery = deliver(timelimit=(5, None), ignore_result=ignore_result)
    verdict = refused(delivery, Facts(now), tasks, cannot).verdict
    assert (verdict.why, verdict.action) == ("unenforceable", ACK)
    assert "time_limit of 5 s" in verdict.detail
    assert (verdict.record is None) is ignore_result
    assert isinstance(admit(deliver(timelimit=(None, 5)), Facts(now), tasks, cannot, 1), Job)


@pytest.mark.parametrize("task", ["shop.add", "shop.tracked"])
@pytest.mark.parametrize("of_worker", [False, True])
def test_whether_its_beginning_is_told(deliver, policy, now, task, of_worker) -> None:
    app = App("tracked", broker="memory://")
    app.task(lambda x, y: None, name="shop.add")
    app.task(name="shop.tracked", track_started=True)(lambda x, y: None)
    job = admit(deliver(task=task), Facts(now), app.tasks, replace(policy, track_started=of_worker), 1)
    assert isinstance(job, Job)
    assert job.track_started is (of_worker or task == "shop.tracked")


def test_what_expires_a_moment_later_runs(deliver, tasks, policy, now) -> None:
    assert isinstance(admit(deliver(expires=now + timedelta(microseconds=1)), Facts(now), tasks, policy, 1), Job)


def test_nobody_is_told_who_wanted_no_result(deliver, tasks, policy, now) -> None:
    for delivery in (deliver(expires=now, ignore_result=True), deliver(task="shop.gone", ignore_result=True)):
        assert refused(delivery, Facts(now), tasks, policy).verdict.record is None


def test_what_comes_early_goes_back_to_its_queue_until_its_moment(deliver, tasks, policy, now) -> None:
    delivery = deliver(eta=now + DAY)
    verdict = refused(delivery, Facts(now), tasks, policy).verdict
    assert (verdict.why, verdict.detail) == ("early", f"kept by the broker until {(now + DAY).isoformat()}")
    assert isinstance(verdict.action, Move)
    (copy,) = verdict.action.messages
    assert copy == replace(delivery.message, exchange="", routing_key="mail", not_before=now + DAY)


@pytest.mark.parametrize("early", [timedelta(0), EARLY])
def test_a_clock_that_is_a_little_off_does_no_harm(deliver, tasks, policy, now, early) -> None:
    assert isinstance(admit(deliver(eta=now + early), Facts(now), tasks, policy, 1), Job)


def test_an_unknown_task_is_for_another_worker_until_the_deadline(deliver, tasks, policy, now, header_of) -> None:
    delivery, moment, offers = deliver(task="shop.gone"), now, 0
    while True:
        verdict = refused(delivery, Facts(moment), tasks, policy).verdict
        if isinstance(verdict.action, Dead):
            break
        assert verdict.why == "not known here"
        assert verdict.record is None
        (copy,) = verdict.action.messages
        assert (copy.exchange, copy.routing_key, copy.not_before) == ("", "mail", moment + policy.unknown_delay)
        assert len(header_of(copy).own.history) == 1
        delivery, moment, offers = deliver(copy), moment + policy.unknown_delay, offers + 1
    assert moment - now == policy.unknown_deadline
    assert offers == policy.unknown_deadline // policy.unknown_delay
    assert verdict.action.letter.reason == "unknown"
    assert verdict.record is not None
    assert verdict.record.state == "FAILURE"


@pytest.mark.parametrize("at", [None, 17, "yesterday", "2029-01-01T00:00:00", "2029-01-01T00:00:00+00:00"])
def test_a_history_that_others_wrote_is_read_as_far_as_it_goes(deliver, message, tasks, policy, now, at) -> None:
    sent = message(task="shop.gone")
    entry = {"why": "unknown", **({} if at is None else {"at": at})}
    sent = replace(sent, headers={**sent.headers, "celeriac": {"history": [entry]}})
    verdict = refused(deliver(sent), Facts(now), tasks, policy).verdict
    assert isinstance(verdict.action, Dead if isinstance(at, str) and at.startswith("2029") else Move)


# what comes back with nobody saying why


def test_a_first_delivery_was_never_lost(job, deliver, policy, now) -> None:
    for exact in (True, False):
        lost = counted_lost(job(deliver(delivery_count=1)), replace(policy, exact_count=exact), now)
        assert lost is None


@pytest.mark.parametrize(("before", "count", "dies"), [(0, 20, False), (0, 21, True), (5, 15, False), (5, 16, True)])
def test_an_exact_broker_s_count_is_the_count(job, deliver, policy, now, before, count, dies) -> None:
    delivery = deliver(own=OwnTable(lost=before), delivery_count=count, redelivered=count > 1)
    verdict = counted_lost(job(delivery), replace(policy, exact_count=True), now)
    assert (verdict is not None) is dies
    if verdict is not None:
        assert verdict.why == "lost"
        assert isinstance(verdict.action, Dead)


def test_elsewhere_a_copy_counts(job, deliver, policy, now, header_of) -> None:
    delivery = deliver(redelivered=True)
    for copies in range(1, policy.max_lost):
        verdict = counted_lost(job(delivery), policy, now)
        (copy,) = verdict.action.messages
        assert header_of(copy).own.lost == copies
        assert counted_lost(job(deliver(copy)), policy, now) is None, "the copy itself is a first delivery"
        delivery = deliver(copy, redelivered=True)
    verdict = counted_lost(job(delivery), policy, now)
    assert isinstance(verdict.action, Dead)
    assert (verdict.action.letter.reason, verdict.record.state) == ("lost", "FAILURE")


def test_a_lost_task_without_a_result_is_set_aside_silently(job, deliver, policy, now) -> None:
    delivery = deliver(own=OwnTable(lost=19), redelivered=True, ignore_result=True)
    verdict = counted_lost(job(delivery), policy, now)
    assert verdict is not None
    assert isinstance(verdict.action, Dead)
    assert verdict.record is None


# whatever comes

texts = st.text(max_size=20)
moments = st.datetimes(timezones=st.sampled_from([None, UTC])).map(datetime.isoformat)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | moments | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
entries = st.fixed_dictionaries({}, optional={"why": st.just("unknown") | anything, "at": moments | anything})
own_tables = st.fixed_dictionaries(
    {},
    optional={name: st.integers(-1, 30) | anything for name in ("v", "crashes", "accused", "lost")}
    | {"history": st.lists(entries | anything, max_size=12) | anything},
)
header_tables = st.fixed_dictionaries(
    {},
    optional={
        "task": st.sampled_from(["shop.add", "shop.mail", "shop.once", "shop.gone", ""]) | anything,
        "id": texts | anything,
        "retries": st.integers(-1, 5) | anything,
        "eta": moments | anything,
        "expires": moments | anything,
        "timelimit": anything,
        "ignore_result": anything,
        "celeriac": own_tables | anything,
        "custom": anything,
    },
)


@given(
    headers=header_tables,
    body=st.binary(max_size=30),
    content_type=texts,
    reply_to=st.none() | texts,
    redelivered=st.booleans(),
    delivery_count=st.none() | st.integers(1, 40),
    final=st.none()
    | st.builds(ResultRecord, task_id=st.just("m"), attempt=st.integers(1, 3), state=st.just("FAILURE")),
    revoked=st.booleans(),
    enforces_limits=st.booleans(),
    exact=st.booleans(),
    now=st.datetimes(datetime(1971, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds are naive
)
def test_it_never_raises_and_settles_once(
    headers,
    body,
    content_type,
    reply_to,
    redelivered,
    delivery_count,
    final,
    revoked,
    enforces_limits,
    exact,
    now,
    tasks,
    policy,
    deliver,
) -> None:
    sent = Message(id="m", body=body, content_type=content_type, headers=headers, reply_to=reply_to)
    delivery = deliver(sent, redelivered=redelivered, delivery_count=delivery_count)
    facts, policy = Facts(now, final, revoked), replace(policy, enforces_limits=enforces_limits)
    answer = admit(delivery, facts, tasks, policy, 1)
    if isinstance(answer, Job):
        assert not final
        assert not revoked
        assert enforces_limits or answer.hard_limit is None
        lost = counted_lost(answer, replace(policy, exact_count=exact), now)
        verdicts = [lost] if lost else []
    else:
        verdicts = [answer.verdict]
    for verdict in verdicts:
        assert verdict.action == ACK or isinstance(verdict.action, Move | Dead)
        if isinstance(verdict.action, Move):
            (copy,) = verdict.action.messages
            assert (copy.id, copy.body, copy.exchange, copy.routing_key) == ("m", body, "", "mail")
            assert verdict.record is None, "what goes on has no result yet"


@pytest.mark.parametrize(("returns", "counts"), [(1, False), (2, False), (3, True), (7, True)])
def test_where_returns_are_counted_a_few_are_innocent(job, deliver, policy, now, header_of, returns, counts) -> None:
    delivery = replace(deliver(own=OwnTable(lost=1), redelivered=True), returns=returns)
    verdict = counted_lost(job(delivery), policy, now)
    assert (verdict is not None) is counts
    if verdict is not None:
        (copy,) = verdict.action.messages
        assert header_of(copy).own.lost == 1 + returns
