import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import states
from celeriac.errors import DecodeError
from celeriac.protocol import parse_result_meta, result_meta
from celeriac.results import ResultRecord

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.integers(0, 2**31),
    st.sampled_from(sorted(states.FINAL)),
    plain,
    st.none() | st.text(max_size=50),
    st.none() | st.datetimes(timezones=st.just(UTC)),
)
def test_a_record_survives_the_wire(task_id, attempt, state, result, trace, done_at):
    record = ResultRecord(
        task_id=task_id,
        attempt=attempt,
        state=state,
        body=json.dumps(result).encode(),
        traceback=trace,
        done_at=done_at,
    )
    assert parse_result_meta(result_meta(record)) == record


def test_the_json_is_celerys_with_retries():
    record = ResultRecord(task_id="a1", attempt=2, state="SUCCESS", body=b'{"x": 1}', done_at=NOW)
    assert json.loads(result_meta(record)) == {
        "status": "SUCCESS",
        "result": {"x": 1},
        "traceback": None,
        "children": [],
        "date_done": "2026-01-02T03:04:05.000678+00:00",
        "retries": 1,
        "task_id": "a1",
    }


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":1}',
        b" [ 1,2 ]\n",
        '"\u017elu\u0165"'.encode(),
        b'"\\u017e"',
        b"1E5",
        b"1.0",
        b'{"a": 1, "a": 2}',
        b"NaN",
        b"1" * 99,
    ],
)
@pytest.mark.parametrize("traceback", [None, "\u017e"])
def test_a_body_survives_to_the_byte(body, traceback):
    record = ResultRecord(task_id="a1", attempt=1, state="SUCCESS", body=body, traceback=traceback)
    assert parse_result_meta(result_meta(record)) == record


@pytest.mark.parametrize(
    "data",
    [
        b'{"result": {"x":1}, "status": "SUCCESS", "task_id": "a"}',
        b'{"status":"SUCCESS","result":{"x":1},"task_id":"a"}',
        b'{"status": "SUCCESS", "task_id": "a", "result": {"x":1}}',
        b'{"task_id": "a", "status": "SUCCESS", "result": {"x":1}}',
        b'{"status": "SUCCESS", "result": {"x": 1}, "task_id": "a"}',
    ],
)
def test_the_order_of_the_fields_matters_not(data):
    assert parse_result_meta(data) == ResultRecord(task_id="a", attempt=1, state="SUCCESS", body=b'{"x": 1}')


@pytest.mark.parametrize(
    "tail", [b"", b"}", b"1", b"1,", b'1, "task_id": "a"', b'1 2, "task_id": "a"}', b'1, "task_id"}']
)
def test_what_is_cut_short_is_no_result(tail):
    with pytest.raises(DecodeError):
        parse_result_meta(b'{"status": "SUCCESS", "result": ' + tail)


def test_the_date_is_that_of_a_final_state_only():
    record = ResultRecord(task_id="a1", attempt=1, state="RETRY", done_at=NOW)
    assert json.loads(result_meta(record))["date_done"] is None
    assert json.loads(result_meta(ResultRecord(task_id="a1", attempt=1, state="SUCCESS")))["date_done"] is None
    offset = ResultRecord(task_id="a", attempt=1, state="SUCCESS", done_at=NOW.astimezone(timezone(timedelta(hours=3))))
    assert parse_result_meta(result_meta(offset)).done_at == NOW


def test_what_was_never_run_has_no_retries():
    record = ResultRecord(task_id="a1", attempt=0, state="REVOKED")
    assert json.loads(result_meta(record))["retries"] is None
    assert parse_result_meta(result_meta(record)).attempt == 0


def test_a_result_that_is_no_json_survives_too():
    record = ResultRecord(
        task_id="a1",
        attempt=1,
        state="SUCCESS",
        body=b"\x00\xff%b",
        content_type="application/x-msgpack",
        content_encoding="binary",
    )
    encoded = result_meta(record)
    assert parse_result_meta(encoded) == record
    assert json.loads(encoded)["result"] == {"__type__": "base64", "__value__": "AP8lYg=="}


@pytest.mark.parametrize(
    ("more", "name", "value"),
    [
        ({"date_done": "2023-01-02T03:04:05"}, "done_at", datetime(2023, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ({"date_done": "2023-01-02T03:04:05Z"}, "done_at", datetime(2023, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ({"date_done": None}, "done_at", None),
        ({"date_done": "yesterday"}, "done_at", None),
        ({"date_done": 5}, "done_at", None),
        ({"retries": 3}, "attempt", 4),
        ({"retries": "3"}, "attempt", 1),
        ({"retries": -5}, "attempt", 1),
        ({}, "attempt", 1),
        ({}, "body", b"null"),
        ({"result": [1, {"a": "☃"}]}, "body", b'[1, {"a": "\\u2603"}]'),
        ({"traceback": 5}, "traceback", None),
        ({"status": "PROGRESS"}, "state", "PROGRESS"),
        ({"children": [[["x", None], None]], "group_id": "g", "worker": "w"}, "state", "SUCCESS"),
    ],
)
def test_what_celery_writes_is_read(more, name, value):
    meta = {"status": "SUCCESS", "task_id": "a1", **more}
    assert getattr(parse_result_meta(json.dumps(meta).encode()), name) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"[" * 100_000,
        b"{}",
        b'{"status": "SUCCESS"}',
        b'{"task_id": "a"}',
        b'{"task_id": 5, "status": "SUCCESS"}',
        b'{"task_id": "a", "status": null}',
        b'{"task_id": "a", "status": "SUCCESS", "celeriac": {}}',
        b'{"task_id": "a", "status": "SUCCESS", "celeriac": {}, "result": {"__value__": 5}}',
        b'{"task_id": "a", "status": "SUCCESS", "result": {"__value__": "AA=="}, "celeriac": {"content_type": "x"}}',
    ],
    ids=lambda data: repr(data)[:60],
)
def test_what_is_no_result_is_a_decode_error(data):
    with pytest.raises(DecodeError, match="a result cannot be read") as caught:
        parse_result_meta(data)
    assert len(str(caught.value)) < 300


KEYS = st.sampled_from(["status", "task_id", "result", "traceback", "date_done", "retries", "celeriac", "children"])


@given(st.dictionaries(KEYS, plain))
def test_any_object_is_a_record_or_a_decode_error(meta):
    with suppress(DecodeError):
        assert parse_result_meta(json.dumps(meta).encode()).task_id == meta["task_id"]
