"""What a real Celery 5.7 wrote, read by us; and what we write, compared with it byte for byte."""

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from celeriac.codec import Codecs
from celeriac.errors import ProtocolError, UnsupportedWorkflow
from celeriac.message import Message
from celeriac.protocol import (
    ErrorData,
    decode_body,
    parse_header,
    parse_result_meta,
    rebuild,
    result_meta,
    task_message,
)

CAPTURES = Path(__file__).with_name("captures")
CODECS = Codecs()


def load(name):
    return json.loads((CAPTURES / f"{name}.json").read_text())


def as_message(capture):
    properties = capture["properties"]
    return Message(
        id=properties["correlation_id"],
        exchange=capture["delivery"]["exchange"],
        routing_key=capture["delivery"]["routing_key"],
        body=base64.b64decode(capture["body_base64"]),
        content_type=properties["content_type"],
        content_encoding=properties["content_encoding"],
        headers=capture["headers"],
        priority=properties["priority"],
        correlation_id=properties["correlation_id"],
        reply_to=properties["reply_to"],
    )


def captured_tasks():
    for path in sorted(CAPTURES.glob("task_*.json")):
        found = json.loads(path.read_text())
        for number, capture in enumerate(found if isinstance(found, list) else [found]):
            yield pytest.param(capture, id=f"{path.stem}-{number}")


def body_of(message, header=None):
    compression = header.compression if header else None
    return decode_body(CODECS, message.body, message.content_type, message.content_encoding, compression)


WORKFLOWS = {"task_chain", "task_chain_with_chord", "task_chord", "task_link_link_error"}


@pytest.mark.parametrize("capture", list(captured_tasks()))
def test_every_captured_task_is_read_or_refused_as_it_should_be(capture, request):
    message = as_message(capture)
    name = request.node.callspec.id.rpartition("-")[0]
    if name == "task_protocol1_plain":
        with pytest.raises(ProtocolError, match="protocol 1"):
            parse_header(message)
        with pytest.raises(ProtocolError, match="list of args, kwargs and embed"):
            body_of(message)
        return
    header = parse_header(message)
    assert header.id == header.root_id == message.correlation_id
    assert header.task == capture["headers"]["task"]
    assert header.attempt == 1
    assert header.parent_id is None
    assert header.argsrepr == capture["headers"]["argsrepr"]
    assert header.own.crashes == 0
    if name in WORKFLOWS:
        with pytest.raises(UnsupportedWorkflow) as caught:
            body_of(message, header)
        assert caught.value.reason == "unsupported"
    else:
        args, kwargs, _ = body_of(message, header)
        assert isinstance(args, list)
        assert isinstance(kwargs, dict)


def header_of(name):
    return parse_header(as_message(load(name)))


def test_what_the_headers_of_captures_say():
    assert header_of("task_eta_naive").eta == datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert header_of("task_eta_aware").eta == datetime(2031, 1, 2, 3, 4, 5, 678901, UTC)
    assert header_of("task_expires_seconds").expires == datetime(2026, 11, 23, 2, 20, 43, 782025, UTC)
    assert header_of("task_timelimit").timelimit == (30, 20)
    assert header_of("task_plain").timelimit == (None, None)
    assert header_of("task_plain").custom == {}
    assert header_of("task_ignore_result").ignore_result is True
    assert header_of("task_plain").ignore_result is False
    assert header_of("task_custom_headers").custom == {"x-custom": "v", "n": 5}
    assert header_of("task_shadow").shadow == load("task_shadow")["headers"]["shadow"]
    assert header_of("task_stamped").custom == {}
    assert header_of("task_gzip").compression == "application/x-gzip"
    first, second = (parse_header(as_message(capture)) for capture in load("task_group"))
    assert (first.group_index, second.group_index) == (0, 1)
    assert first.group == second.group != first.id


def test_a_compressed_body_is_read():
    message = as_message(load("task_gzip"))
    args, kwargs, embed = body_of(message, parse_header(message))
    assert (args, kwargs) == ([2, 3], {})
    assert embed == {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def test_typed_arguments_are_read():
    _, kwargs, _ = body_of(as_message(load("task_types")))
    assert kwargs == {
        "dt": datetime(2024, 5, 6, 7, 8, 9, 123456, UTC),
        "naive": datetime(2024, 5, 6, 7, 8, 9),  # noqa: DTZ001  it was sent without an offset
        "d": datetime(2024, 5, 6, tzinfo=UTC).date(),
        "t": datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC).time(),
        "u": UUID("12345678123456781234567812345678"),
        "dec": Decimal("1.50"),
        "b": b"abc",
        "b2": b"\xff\xfe",
        "uni": "☃",
        "f": 1.5,
        "n": None,
        "tup": [1, 2],
    }


def built_like(capture, **options):
    headers = capture["headers"]
    body = json.loads(capture["body_text"])
    options.setdefault("args", tuple(body[0]))
    options.setdefault("kwargs", body[1])
    return task_message(
        id=headers["id"],
        task=headers["task"],
        codecs=CODECS,
        exchange="",
        routing_key="celery",
        origin=headers["origin"],
        reply_to=capture["properties"]["reply_to"],
        **options,
    )


SAME = [
    ("task_plain", {}),
    ("task_ignore_result", {"ignore_result": True}),
    ("task_timelimit", {"timelimit": (30, 20)}),
    ("task_eta_aware", {"eta": datetime(2031, 1, 2, 3, 4, 5, 678901, UTC)}),
    ("task_custom_headers", {"headers": {"x-custom": "v", "n": 5}}),
    ("task_priority", {"priority": 7}),
    ("task_expires_seconds", {"expires": datetime(2026, 11, 23, 2, 20, 43, 782025, UTC)}),
    ("task_shadow", {"shadow": load("task_shadow")["headers"]["shadow"]}),
]


@pytest.mark.parametrize(("name", "options"), SAME, ids=[name for name, _ in SAME])
def test_what_we_build_is_what_celery_sent(name, options):
    capture = load(name)
    built, sent = built_like(capture, **options), as_message(capture)
    assert built == sent  # exchange, key, content type, priority, reply_to, body, headers ...
    assert list(built.headers) == list(sent.headers)  # and in the same order
    assert {key: type(value) for key, value in built.headers.items()} == {
        key: type(value) for key, value in sent.headers.items()
    }


def test_typed_arguments_are_written_byte_for_byte():
    capture = load("task_types")
    _, kwargs, _ = body_of(as_message(capture))
    kwargs["tup"] = (1, 2)
    built = built_like(capture, args=(), kwargs=kwargs)
    assert built.body == as_message(capture).body
    ours, theirs = built.headers["kwargsrepr"], capture["headers"]["kwargsrepr"]
    assert ours == theirs.replace("b'fffe'", r"b'\xff\xfe'")  # kombu shows bytes that are no text as hex


# --- results ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["redis_result_success", "rpc_result_success"])
def test_a_captured_success_is_read_and_written_again(name):
    capture = load(name)
    raw = (capture.get("raw") or capture["body_text"]).encode()
    record = parse_result_meta(raw)
    assert (record.state, record.body, record.attempt) == ("SUCCESS", b"5", 1)
    assert record.done_at is not None
    assert result_meta(record) == raw.replace(b', "task_id"', b', "retries": 0, "task_id"')


@pytest.mark.parametrize("name", ["redis_result_failure", "rpc_result_failure"])
def test_a_captured_failure_is_read_written_again_and_raised(name):
    capture = load(name)
    raw = (capture.get("raw") or capture["body_text"]).encode()
    record = parse_result_meta(raw)
    assert record.state == "FAILURE"
    assert result_meta(record) == raw.replace(b', "task_id"', b', "retries": 0, "task_id"')
    error = ErrorData.decode(record.body)
    assert error.encode() == record.body
    rebuilt = rebuild(error, record.traceback)
    assert type(rebuilt) is ValueError
    assert rebuilt.args == ("boom", 42)
    assert "Traceback (most recent call last)" in str(rebuilt.__cause__)


def test_extended_results_are_read():
    for name in ("redis_result_extended_success", "redis_result_extended_failure", "redis_result_children"):
        value = load(name)["value"]
        record = parse_result_meta(json.dumps(value).encode())
        assert record.task_id == value["task_id"]
        assert json.loads(record.body) == value["result"]
        assert record.attempt == 1


def test_the_exceptions_of_a_module_that_is_not_loaded_are_task_errors():
    record = parse_result_meta(json.dumps(load("redis_result_nested_exception")["value"]).encode())
    error = rebuild(ErrorData.decode(record.body))
    assert type(error).__name__ == "TaskError"
    assert error.type_name == "wapp.Outer.MyErr"
    assert error.remote_args[0] == "x"


def test_typed_arguments_of_an_exception_are_revived():
    record = parse_result_meta(json.dumps(load("redis_result_weird_exception")["value"]).encode())
    error = rebuild(ErrorData.decode(record.body))
    assert type(error) is KeyError
    assert error.args == ("{'a': {1, 2}}", b"\xff", 1.5, None)
