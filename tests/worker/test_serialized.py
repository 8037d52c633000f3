"""Where a task runs: what is verified before it is read, what fails, and what the signature lives through."""

from __future__ import annotations

import asyncio
import os
import pickle
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import App, Retry
from celeriac.dead.letter import DeadMessage
from celeriac.errors import TaskError, UntrustedMessage, ValidationError
from celeriac.message import DeadLetter, Delivery
from celeriac.protocol import parse_header, resend
from celeriac.results import ResultRecord
from celeriac.transport_helpers import dead_letter
from celeriac.worker.admit import Facts, admit
from celeriac.worker.decide import decide
from celeriac.worker.executors.wire import outcome_from_wire, outcome_to_wire, pack_assignment, unpack_assignment
from celeriac.worker.job import Failed, Job, Rejected, Retried, Succeeded
from celeriac.worker.run import run_async, run_sync
from celeriac.worker.verdict import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.message import Message

KEY, OTHER = "the key of the shop, 32 bytes long", "another key, as long as the first"
QUEUE = "celeriac"
CLOUDPICKLE = "application/x-cloudpickle"


def make(*keys: str, **settings: Any) -> App:
    app = App(
        "shop",
        broker="memory://",
        accept_content=["json", "cloudpickle", "msgpack"],
        signing_keys=keys or (KEY,),
        **settings,
    )

    @app.task(name="shop.again", bind=True, serializer="cloudpickle", result_serializer="cloudpickle")
    def again(self: Any, fn: Callable[[], Any]) -> Any:
        raise Retry(args=(lambda: "the next",))

    return app


@pytest.fixture(scope="module")
def app() -> Any:
    app = make()
    yield app
    app.close()


def message_of(app: App, fn: Callable[..., Any], *args: Any, **options: Any) -> Message:
    """Return what `App.submit` would send."""
    name, given, kwargs, defaults, task = app._call(fn, args, {}, options)
    return app.sender._message(name, given, kwargs, defaults, task)


def delivered(message: Message, queue: str = QUEUE) -> Delivery:
    return Delivery(message=message, queue=queue, token=1)


def job_of(app: App, delivery: Delivery) -> Job:
    job = admit(delivery, Facts(app.clock.now()), app.tasks, Policy(node="here"), 1)
    assert isinstance(job, Job), job
    return job


def run(app: App, delivery: Delivery) -> Any:
    """Run a delivery as a child would, through the wire."""
    assignment = unpack_assignment(pack_assignment(job_of(app, delivery).assignment))
    return outcome_from_wire(outcome_to_wire(run_sync(app, assignment, None)))


def is_refused(outcome: Any) -> bool:
    return isinstance(outcome, Rejected) and outcome.reason == "untrusted"


def result_of(app: App, task_id: str, outcome: Succeeded) -> Any:
    return app.codecs.decode_result(outcome.body, outcome.content_type, outcome.content_encoding, task_id)


class Bomb:
    """Whose pickle leaves a trace when it is loaded."""

    loaded: list[str] = []  # noqa: RUF012  of the class

    def __reduce__(self) -> Any:
        return Bomb.loaded.append, ("loaded",)


@pytest.fixture(autouse=True)
def nothing_loaded() -> Any:
    Bomb.loaded.clear()


# --- trusted ----------------------------------------------------------------------------------------------------------


def test_a_function_runs_and_its_result_comes_signed(app):
    message = message_of(app, lambda x: x + 1, 41, expires=60)
    outcome = run(app, delivered(message))
    assert result_of(app, message.id, outcome) == 42
    with pytest.raises(UntrustedMessage):
        result_of(app, "another id", outcome)
    with pytest.raises(UntrustedMessage):
        result_of(app, message.id, replace(outcome, body=outcome.body[:31]))


def test_a_coroutine_function_runs(app):
    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    message = message_of(app, double, 21)
    job = job_of(app, delivered(message))
    assert job.is_async
    outcome = asyncio.run(run_async(app, job.assignment, None))
    assert result_of(app, message.id, outcome) == 42


def test_another_key_is_accepted_while_it_is_listed():
    message = message_of(make(KEY), lambda: 1)
    assert isinstance(run(make(OTHER, KEY), delivered(message)), Succeeded)
    assert is_refused(run(make(OTHER), delivered(message)))


# --- forged, moved, changed: never loaded -----------------------------------------------------------------------------


def with_signature(message: Message, signature: object) -> Message:
    return replace(message, headers={**message.headers, "celeriac": {"v": 1, "signature": signature}})


def signature_of(message: Message) -> str:
    return message.headers["celeriac"]["signature"]


def headers(message: Message, **changed: Any) -> Message:
    return replace(message, headers={**message.headers, **changed})


def without_signature(message: Message) -> Message:
    return replace(message, headers={k: v for k, v in message.headers.items() if k != "celeriac"})


TAMPERED = {
    "unsigned": without_signature,
    "empty": lambda m: with_signature(m, ""),
    "truncated": lambda m: with_signature(m, signature_of(m)[:-2]),
    "of another length": lambda m: with_signature(m, signature_of(m) + "00"),
    "no hex": lambda m: with_signature(m, "x" * 64),
    "no text": lambda m: with_signature(m, 7),
    "bytes": lambda m: with_signature(m, bytes.fromhex(signature_of(m))),
    "zeros": lambda m: with_signature(m, "0" * 64),
    "another body": lambda m: replace(m, body=m.body + b"x"),
    "another id": lambda m: replace(headers(m, id="another"), id="another", correlation_id="another"),
    "another id in the header": lambda m: headers(m, id="another"),
    "another task": lambda m: headers(m, task="shop.again"),
    "no expiry": lambda m: headers(m, expires=None),
    "a later expiry": lambda m: headers(m, expires="2099-01-01T00:00:00+00:00"),
    "another content encoding": lambda m: replace(m, content_encoding="utf-8"),
    "another spelling of the content type": lambda m: replace(m, content_type="application/x-cloudpickle; a=b"),
    "another compression": lambda m: headers(m, compression="application/x-gzip"),
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_what_was_changed_is_refused_and_never_loaded(app, tamper):
    message = message_of(app, Bomb, Bomb(), expires=3600)
    assert isinstance(run(app, delivered(message)), Succeeded | Failed)
    Bomb.loaded.clear()
    outcome = run(app, delivered(tamper(message)))
    assert is_refused(outcome)
    assert outcome.detail
    assert KEY not in outcome.detail
    assert not Bomb.loaded


def test_what_was_moved_to_another_queue_is_refused(app):
    message = message_of(app, Bomb, Bomb())
    assert is_refused(run(app, delivered(message, "another")))
    assert not Bomb.loaded


def test_a_body_moved_into_a_json_envelope_is_no_json(app):
    message = message_of(app, Bomb, Bomb())
    for kind in ("application/json", "application/x-msgpack"):
        outcome = run(app, delivered(replace(message, content_type=kind, content_encoding="binary")))
        assert isinstance(outcome, Rejected)
        assert outcome.reason == "undecodable"
    assert not Bomb.loaded


def test_a_pickle_of_celery_s_is_not_accepted(app):
    body = pickle.dumps(([Bomb()], {}, {}))
    message = replace(message_of(app, print), body=body, content_type="application/x-python-serialize")
    outcome = run(app, delivered(message))
    assert outcome.reason == "undecodable"
    assert "not accepted" in outcome.detail
    assert not Bomb.loaded


@given(data=st.data())
def test_no_forged_message_is_ever_loaded(app, data):
    message = message_of(app, Bomb, Bomb())
    body = data.draw(st.just(message.body) | st.binary(max_size=100) | st.just(pickle.dumps([[Bomb()], {}, None])))
    signature = data.draw(st.none() | st.just(os.urandom(32).hex()) | st.text("0123456789abcdef", max_size=70))
    forged = replace(with_signature(message, signature), body=body)
    assert is_refused(run(app, delivered(forged)))
    assert not Bomb.loaded


# --- what the signature lives through ---------------------------------------------------------------------------------


def test_it_lives_through_copies_returns_and_replays(app):
    message = message_of(app, lambda: 42, expires=3600)
    header = parse_header(message)
    moment = app.clock.now() + timedelta(seconds=5)
    counted = resend(message, own=replace(header.own, crashes=1, lost=3), queue=QUEUE, not_before=moment)
    dead = dead_letter(delivered(counted), DeadLetter(reason="crashed"), moment)
    replayed = DeadMessage(dead, QUEUE).sent_back(moment)
    twice = DeadMessage(dead_letter(delivered(replayed), DeadLetter(reason="lost"), moment), QUEUE).sent_back(moment)
    for copy in (counted, replayed, twice):
        assert result_of(app, message.id, run(app, delivered(copy))) == 42


def test_a_retry_with_other_arguments_is_signed_anew():
    app = make()
    task = app.tasks["shop.again"]
    message = app.sender._message(task.name, (lambda: "the first",), {}, task.defaults, task)
    job = job_of(app, delivered(message))
    outcome = outcome_from_wire(outcome_to_wire(run_sync(app, job.assignment, None)))
    assert isinstance(outcome, Retried)
    (copy,) = decide(job, outcome, Policy(node="here"), app.clock.now()).action.messages
    assert copy.body != message.body
    assert copy.content_type == CLOUDPICKLE
    assert signature_of(copy) != signature_of(message)
    assert isinstance(run(app, delivered(headers(copy, eta=None))), Retried)
    assert is_refused(run(app, delivered(headers(with_signature(copy, signature_of(message)), eta=None))))


def test_a_retry_keeps_its_serializer_and_compression():
    app = make()

    @app.task(name="shop.pack", bind=True, serializer="msgpack", compression="zstd")
    def pack(self, text: str):
        raise Retry(args=(text + "y",))

    message = app.sender._message(pack.name, ("x" * 100,), {}, pack.defaults, pack)
    job = job_of(app, delivered(message))
    (copy,) = decide(job, run(app, delivered(message)), Policy(node="here"), app.clock.now()).action.messages
    assert (copy.content_type, copy.headers["compression"]) == ("application/x-msgpack", "application/zstd")
    again = run(app, delivered(headers(copy, eta=None)))
    assert isinstance(again, Retried)


# --- types, where they are not as annotated ---------------------------------------------------------------------------


class Model(pydantic.BaseModel):
    number: int


@dataclass
class Order:
    model: Model


def test_arguments_that_are_not_as_annotated_fail_the_task_and_are_not_tried_again(app):
    calls = []

    @app.task(name="shop.take", autoretry_for=(Exception,))
    def take(order: Order) -> None:
        calls.append(order)

    app.tasks._tasks.pop("shop.take", None)
    app.tasks.add(take)
    message = app.sender._message(take.name, ({"model": {"number": "x"}},), {}, take.defaults, None)
    outcome = run(app, delivered(message))
    assert isinstance(outcome, Failed)
    assert (outcome.error.type, outcome.error.module) == ("ValidationError", "celeriac.errors")
    assert outcome.error.message.startswith("shop.take: order.model.number: Input should be a valid integer")
    assert not calls


def test_a_result_that_is_not_as_annotated_fails_the_task(app):
    @app.task(name="shop.lie")
    def lie() -> list[int]:
        return ["x"]

    outcome = run(app, delivered(app.sender._message(lie.name, (), {}, lie.defaults, lie)))
    assert isinstance(outcome, Failed)
    assert outcome.error.message == "shop.lie: result[0]: expected int, not str"


def test_a_caller_of_another_version_is_told(app):
    @app.task(name="shop.version")
    def version() -> Order: ...

    result = app.AsyncResult("1")
    result.task = version
    record = ResultRecord(task_id="1", attempt=1, state="SUCCESS", body=b'{"model": {"number": null}}')
    with pytest.raises(ValidationError, match=r"shop.version: result.model.number: Input should be a valid integer"):
        result.outcome(record)


def test_through_a_worker_and_its_dead_letters():
    app = make()
    with app.run_worker(concurrency=1):
        message = message_of(app, Bomb, Bomb())
        forged = replace(message, body=pickle.dumps([[print, "got you"], {}, None]))
        app.client.portal.run(asyncio.wait_for(_publish(app, forged), 20))
        with pytest.raises(TaskError, match=r"celeriac.submit is a dead letter \(untrusted\): no key of ours"):
            app.AsyncResult(message.id).get(timeout=20)
        assert app.submit(lambda: 42).get(timeout=20) == 42, "the worker lives"
    app.close()


def test_a_worker_that_accepts_code_alone_runs_nothing_that_is_not_signed():
    app = App(
        "shop",
        broker="memory://",
        accept_content=["cloudpickle"],
        task_serializer="cloudpickle",
        result_serializer="cloudpickle",
        signing_keys=[KEY],
    )

    @app.task(name="shop.plain")
    def plain(x: int) -> int:
        return x

    with app.run_worker(concurrency=1):
        assert plain.delay(1).get(timeout=20) == 1
        message = app.sender._message(plain.name, (1,), {}, plain.defaults, plain)
        for changed in (
            replace(message, body=b"[[1], {}, null]", content_type="application/json", content_encoding="utf-8"),
            without_signature(message),
        ):
            app.client.portal.run(asyncio.wait_for(_publish(app, changed), 20))
            with pytest.raises(TaskError, match=r"dead letter \((undecodable|untrusted)\)"):
                app.AsyncResult(message.id).get(timeout=20)
            app.client.portal.run(app.client.forget([message.id]))
    app.close()


async def _publish(app: App, message: Message) -> None:
    await app.client.connection.ready()
    await app.client.connection.declare([QUEUE])
    await app.client.connection.store.sent([message.id])
    (receipt,) = await app.client.connection.transport.publish([message])
    assert receipt.ok
