import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.codec import Codecs
from celeriac.errors import ConfigurationError, EncodeError, ProtocolError
from celeriac.message import DeadLetter, Delivery, Message
from celeriac.protocol import OwnTable, TaskHeader, decode_body, parse_header, parse_when, resend, task_message
from celeriac.protocol.header import RESERVED
from celeriac.transport_helpers import OWN_HEADER, dead_letter

CODECS = Codecs()
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def message(**headers):
    return Message(id="m", headers={"task": "app.add", "id": "a1", **headers})


def parsed(**headers):
    return parse_header(message(**headers))


def build(*args, headers=None, **kwargs):
    options = {
        "id": "a1",
        "task": "app.add",
        "args": args,
        "kwargs": {},
        "codecs": CODECS,
        "exchange": "",
        "routing_key": "q",
        "origin": "gen1@host",
        "headers": headers,
    }
    return task_message(**(options | kwargs))


# --- headers ----------------------------------------------------------------------------------------------------------


def test_task_and_id_are_enough():
    assert parsed() == TaskHeader(id="a1", task="app.add", root_id="a1")
    assert parsed().attempt == 1
    assert parsed(retries=4).attempt == 5


REFUSED = [
    ({}, "'task' is missing; messages of protocol 1"),
    ({"id": "a"}, "'task' is missing"),
    ({"task": "t"}, "'id' is missing"),
    ({"task": None, "id": "a"}, "'task' is None"),
    ({"task": "", "id": "a"}, "'task' is ''"),
    ({"task": 5, "id": "a"}, "'task' is 5"),
    ({"task": b"t", "id": "a"}, "'task' is b't'"),
    ({"task": "t", "id": 5}, "'id' is 5"),
    ({"task": "t", "id": ""}, "'id' is ''"),
    ({"task": "t", "id": None}, "'id' is None"),
    ({"task": "t", "id": ["a"]}, "'id' is"),
    ({"task": "t", "id": "a", "eta": ""}, "'eta'"),
    ({"task": "t", "id": "a", "eta": "soon"}, "'eta'.*'soon' is no moment"),
    ({"task": "t", "id": "a", "eta": 5}, "'eta'"),
    ({"task": "t", "id": "a", "eta": "0001-01-01T00:00:00+10:00"}, "'eta'"),
    ({"task": "t", "id": "a", "eta": "\ud800" * 100}, "'eta'"),
    ({"task": "t", "id": "a", "expires": ""}, "'expires'"),
    ({"task": "t", "id": "a", "expires": 1.5}, "'expires'"),
    ({"task": "t", "id": "a", "retries": "1"}, "'retries' is '1'"),
    ({"task": "t", "id": "a", "retries": -1}, "'retries' is -1"),
    ({"task": "t", "id": "a", "retries": True}, "'retries' is True"),
    ({"task": "t", "id": "a", "retries": 1.0}, "'retries'"),
    ({"task": "t", "id": "a", "timelimit": [1]}, "'timelimit' is"),
    ({"task": "t", "id": "a", "timelimit": [1, 2, 3]}, "'timelimit' is"),
    ({"task": "t", "id": "a", "timelimit": 30}, "'timelimit' is"),
    ({"task": "t", "id": "a", "timelimit": ["30", None]}, "'timelimit' holds '30'"),
    ({"task": "t", "id": "a", "timelimit": [None, -1]}, "'timelimit' holds -1"),
    ({"task": "t", "id": "a", "timelimit": [None, float("nan")]}, "'timelimit' holds nan"),
    ({"task": "t", "id": "a", "timelimit": [True, None]}, "'timelimit' holds True"),
    ({"task": "t", "id": "a", "compression": 5}, "'compression' is 5"),
]


@pytest.mark.parametrize(("headers", "text"), REFUSED, ids=[repr(case[0])[:60] for case in REFUSED])
def test_headers_that_nobody_could_run_are_refused_with_a_reason(headers, text):
    with pytest.raises(ProtocolError, match=text) as caught:
        parse_header(Message(id="m", headers=headers))
    assert caught.value.reason == "undecodable"
    assert len(str(caught.value)) < 300


TOLERATED = [
    ({"retries": None}, "retries", 0),
    ({"retries": 2**40}, "retries", 2**40),
    ({"timelimit": None}, "timelimit", (None, None)),
    ({"timelimit": []}, "timelimit", (None, None)),
    ({"timelimit": [None, None]}, "timelimit", (None, None)),
    ({"timelimit": (None, 2)}, "timelimit", (None, 2)),
    ({"timelimit": [30, 0]}, "timelimit", (30, None)),
    ({"timelimit": [0.5, None]}, "timelimit", (0.5, None)),
    ({"timelimit": [float("inf"), 10**400]}, "timelimit", (None, None)),
    ({"eta": None}, "eta", None),
    ({"eta": "2026-01-02T03:04:05"}, "eta", NOW),
    ({"eta": "2026-01-02T03:04:05Z"}, "eta", NOW),
    ({"eta": "2026-01-02T05:04:05+02:00"}, "eta", NOW),
    ({"expires": NOW.astimezone(timezone(timedelta(hours=-5)))}, "expires", NOW),
    ({"root_id": None}, "root_id", "a1"),
    ({"root_id": 7}, "root_id", "a1"),
    ({"root_id": "r"}, "root_id", "r"),
    ({"parent_id": "p"}, "parent_id", "p"),
    ({"group": 3}, "group", None),
    ({"group_index": 0}, "group_index", 0),
    ({"group_index": True}, "group_index", None),
    ({"ignore_result": None}, "ignore_result", None),
    ({"ignore_result": True}, "ignore_result", True),
    ({"ignore_result": 0}, "ignore_result", False),
    ({"compression": ""}, "compression", None),
    ({"origin": None}, "origin", ""),
    ({"argsrepr": 5}, "argsrepr", ""),
    ({"lang": "rust"}, "custom", {}),
    ({"stamps": {"a": 1}, "stamped_headers": ["a"]}, "custom", {}),
    ({"tenant": "acme", "hostname": "h"}, "custom", {"tenant": "acme"}),
    ({OWN_HEADER: {"crashes": 2}}, "own", OwnTable(crashes=2)),
    ({OWN_HEADER: {"crashes": 2}}, "custom", {}),
]


@pytest.mark.parametrize(("headers", "name", "value"), TOLERATED, ids=[repr(case[0])[:60] for case in TOLERATED])
def test_what_a_real_worker_tolerates_is_tolerated(headers, name, value):
    found = getattr(parsed(**headers), name)
    assert found == value
    assert type(found) is type(value)


wire = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=12)
    | st.binary(max_size=6)
    | st.datetimes(timezones=st.sampled_from([None, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))]))
    | st.sampled_from(["2026-01-01", "9999-12-31T23:59:59-10:00", "20260101T000000Z", "1", "", "null"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
OWN_KEYS = st.sampled_from(["v", "crashes", "accused", "lost", "history", "dead", "x"])


@given(
    st.dictionaries(st.sampled_from(sorted(RESERVED)) | st.text(max_size=8), wire, max_size=12),
    st.booleans(),
    st.none() | st.dictionaries(OWN_KEYS, wire),
)
def test_whatever_the_headers_only_protocol_errors_are_raised(headers, proper, own):
    if proper:
        headers = {**headers, "task": "t", "id": "i"}
    if own is not None:
        headers[OWN_HEADER] = own
    try:
        header = parse_header(Message(id="m", headers=headers))
    except ProtocolError:
        return
    assert header.task
    assert header.id
    assert header.retries >= 0
    assert header.root_id is not None
    assert all(moment is None or moment.tzinfo is UTC for moment in (header.eta, header.expires))
    assert all(limit is None or limit > 0 for limit in header.timelimit)
    assert len(header.own.history) <= 10
    assert OwnTable.from_headers({OWN_HEADER: header.own.to_header()}) == header.own


@given(st.datetimes() | st.datetimes(timezones=st.timezones()))
def test_every_moment_that_is_written_is_read_as_the_same_moment(moment):
    try:
        expected = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        with pytest.raises(ProtocolError):
            parse_when(moment)
        return
    assert parse_when(moment) == expected
    assert parse_when(moment.isoformat()) == expected
    assert parse_when(moment.isoformat()).tzinfo is UTC


# --- our own table ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [None, 5, "x", [], {}, b"", [1], {"crashes": "many"}, {"v": None, "history": 5}])
def test_a_broken_table_is_as_none(table):
    assert OwnTable.from_headers({OWN_HEADER: table}) == OwnTable() == OwnTable.from_headers({})


@pytest.mark.parametrize("value", [-1, True, 1.0, "1", None, 2**31, 2**70])
def test_a_counter_that_is_none_is_zero_and_spoils_no_other(value):
    assert OwnTable.from_headers({OWN_HEADER: {"crashes": value, "lost": 3}}) == OwnTable(lost=3)


def test_the_table_survives_the_wire():
    table = OwnTable(crashes=1, accused=2, lost=3).add_history({"attempt": 1, "error": "x"})
    headers = json.loads(json.dumps({OWN_HEADER: table.to_header()}))
    assert OwnTable.from_headers(headers) == table


def test_history_keeps_the_first_and_the_last_five():
    table = OwnTable()
    for attempt in range(1, 31):
        table = table.add_history({"attempt": attempt})
    assert [entry["attempt"] for entry in table.history] == [1, 2, 3, 4, 5, 26, 27, 28, 29, 30]


@given(st.text(st.characters(), max_size=2000))
def test_every_text_of_an_entry_is_cut_to_500_bytes(text):
    entry = OwnTable().add_history({"error": text, "attempt": 1}).history[0]
    kept = entry["error"].encode()
    assert len(kept) <= 500
    assert entry["attempt"] == 1
    expected = text.encode("utf-8", "replace")
    assert expected.startswith(kept)
    assert len(kept) == len(expected) or len(kept) > 496


def test_a_cut_inside_a_character_drops_that_character():
    entry = OwnTable().add_history({"error": "€" * 400}).history[0]
    assert entry["error"] == "€" * 166


def test_history_from_the_wire_is_bounded_and_holds_tables_only():
    history = [{"n": n} for n in range(50)] + ["x", 5, None]
    table = OwnTable.from_headers({OWN_HEADER: {"history": history}})
    assert [entry["n"] for entry in table.history] == [0, 1, 2, 3, 4, 45, 46, 47, 48, 49]


# --- building ---------------------------------------------------------------------------------------------------------


def test_a_plain_message_has_no_table_of_ours():
    assert OWN_HEADER not in build(1).headers
    assert OWN_HEADER not in build(1, own=OwnTable()).headers
    assert build(1, own=OwnTable(lost=1)).headers[OWN_HEADER]["lost"] == 1


def test_what_is_built_is_read_again():
    eta, expires = NOW, NOW + timedelta(hours=1)
    sent = build(
        1,
        {"x": NOW},
        kwargs={"k": (1, 2)},
        priority=3,
        eta=eta,
        expires=expires,
        retries=2,
        root_id="r",
        parent_id="p",
        group="g",
        group_index=4,
        ignore_result=True,
        timelimit=(30, 20.5),
        headers={"tenant": "acme"},
        reply_to="mailbox",
        not_before=NOW,
        shadow="shown",
        own=OwnTable(crashes=1),
    )
    assert (sent.id, sent.correlation_id, sent.reply_to, sent.priority) == ("a1", "a1", "mailbox", 3)
    assert (sent.exchange, sent.routing_key, sent.not_before) == ("", "q", NOW)
    assert parse_header(sent) == TaskHeader(
        id="a1",
        task="app.add",
        retries=2,
        eta=eta,
        expires=expires,
        root_id="r",
        parent_id="p",
        group="g",
        group_index=4,
        ignore_result=True,
        timelimit=(30, 20.5),
        origin="gen1@host",
        shadow="shown",
        argsrepr="(1, {'x': datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)})",
        kwargsrepr="{'k': (1, 2)}",
        own=OwnTable(crashes=1),
        custom={"tenant": "acme"},
    )
    args, kwargs, embed = decode_body(CODECS, sent.body, sent.content_type, sent.content_encoding)
    assert args == [1, {"x": NOW}]
    assert kwargs == {"k": [1, 2]}
    assert not any(embed.values())


def test_a_moment_without_an_offset_is_sent_as_utc():
    sent = build(eta=NOW.replace(tzinfo=None))
    assert sent.headers["eta"] == "2026-01-02T03:04:05+00:00"


def test_two_messages_share_nothing_that_can_change():
    first, second = build(1), build(1)
    first.headers["stamps"]["x"] = 1
    first.headers["timelimit"][0] = 5
    assert second.headers["stamps"] == {}
    assert second.headers["timelimit"] == [None, None]


@pytest.mark.parametrize("name", ["id", "task", "retries", OWN_HEADER, "reply_to", "stamps"])
def test_a_custom_header_with_a_reserved_name_is_refused(name):
    with pytest.raises(ConfigurationError, match=name):
        build(headers={name: "x"})


def test_an_argument_that_cannot_be_carried_is_named():
    with pytest.raises(EncodeError, match=r"^args\[1\]\['x'\]: type set .* pass a list") as caught:
        build(1, {"x": {1}})
    assert caught.value.path == (1, "x")
    with pytest.raises(EncodeError, match=r"^kwargs\['k'\]: type object"):
        build(kwargs={"k": object()})


def test_any_sequence_and_mapping_will_do():
    class Frozen(dict):
        pass

    sent = build(args=range(3), kwargs=Frozen(a=1))
    assert json.loads(sent.body)[:2] == [[0, 1, 2], {"a": 1}]


def test_a_copy_goes_straight_to_the_queue_with_the_table():
    first = build(1, reply_to="box", priority=4, headers={"tenant": "acme"})
    again = resend(first, own=OwnTable(crashes=1), queue="target", not_before=NOW)
    assert (again.exchange, again.routing_key, again.not_before, again.mandatory) == ("", "target", NOW, True)
    assert (again.id, again.body, again.reply_to, again.priority) == (first.id, first.body, "box", 4)
    assert parse_header(again).own == OwnTable(crashes=1)
    assert OWN_HEADER not in first.headers
    assert {**again.headers, OWN_HEADER: None} == {**first.headers, OWN_HEADER: None}


def test_a_copy_of_a_dead_letter_is_none_any_more_and_keeps_what_it_does_not_know():
    first = build(1, own=OwnTable(crashes=3))
    first.headers[OWN_HEADER]["signature"] = "abc"
    dead = dead_letter(Delivery(message=first, queue="q", token=1), DeadLetter(reason="crashed"), NOW)
    assert dead.headers[OWN_HEADER]["dead"]["reason"] == "crashed"
    again = resend(dead, own=OwnTable(), queue="q")
    assert again.headers[OWN_HEADER] == {**OwnTable().to_header(), "signature": "abc"}
    assert again.not_before is None
