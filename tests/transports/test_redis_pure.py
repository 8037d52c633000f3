"""What the Redis transport says without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.clock import SystemClock
from celeriac.errors import ConfigurationError, Unsupported
from celeriac.message import Message
from celeriac.topology import Queue
from celeriac_redis.capabilities import capabilities, refuse_name, refuse_priorities
from celeriac_redis.consumer import refuse_impossible
from celeriac_redis.declaring import differing
from celeriac_redis.options import Options
from celeriac_redis.programs import EPOCH, declaration, levels_in, message_arguments, micros
from celeriac_redis.publishing import MOST_BYTES, MOST_TOGETHER, _parts
from celeriac_redis.scripts import Script
from celeriac_redis.transport import RedisTransport

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
QUEUE = Queue("q", priorities=10)


def test_a_fleet_keeps_no_priorities() -> None:
    assert capabilities(QUEUE, Options()).priority_levels == 10
    assert capabilities(QUEUE, Options(fleet="celery")).priority_levels == 1
    with pytest.raises(Unsupported, match=r"'q'.*priorities=10"):
        refuse_priorities(QUEUE, Options(fleet="celery"))
    refuse_priorities(Queue("q"), Options(fleet="celery"))
    refuse_priorities(QUEUE, Options())


@pytest.mark.parametrize("name", ["unacked", "unacked_index", "celeriac:queues", "_kombu.binding.x", "q\x06\x163"])
def test_a_queue_cannot_have_the_name_of_another_key(name) -> None:
    with pytest.raises(Unsupported, match="another name"):
        refuse_name(Queue(name))
    refuse_name(Queue(f"my.{name[:2]}"))
    refuse_name(Queue("celeriac.dead"))


@pytest.mark.parametrize(("lease", "visibility", "every"), [(30.0, 3600.0, 10.0), (30.0, 6.0, 2.0), (3.0, 6.0, 1.0)])
def test_what_is_held_is_renewed_in_time_for_us_and_for_kombu(lease, visibility, every) -> None:
    found = capabilities(QUEUE, Options(lease=lease, visibility_timeout=visibility))
    assert found.lease == timedelta(seconds=lease)
    assert found.renew_every == timedelta(seconds=every)


@pytest.mark.parametrize("priority", [-1, 10])
def test_what_is_no_priority_is_refused(priority) -> None:
    with pytest.raises(ConfigurationError, match=str(priority)):
        refuse_impossible(Message(id="m", routing_key="q", priority=priority), Options(), NOW)


def test_a_delay_beyond_reason_is_refused() -> None:
    with pytest.raises(Unsupported, match="'q' delays by"):
        refuse_impossible(Message(id="m", routing_key="q", not_before=NOW + timedelta(days=40_000)), Options(), NOW)


def test_a_priority_in_a_fleet_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(Unsupported, match="'q'"):
        refuse_impossible(Message(id="m", routing_key="q", priority=1), Options(fleet="celery"), NOW)


@given(st.integers(1, 10), st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5)))
def test_a_declaration_is_the_same_for_the_same_queue(priorities, arguments) -> None:
    queue = Queue("q", priorities=priorities, arguments=arguments)
    reordered = Queue("q", priorities=priorities, arguments=dict(reversed(arguments.items())))
    assert declaration(queue) == declaration(reordered)
    assert levels_in(declaration(queue).encode()) == priorities


def test_what_differs_is_named() -> None:
    kept = declaration(Queue("q", arguments={"x-a": 1, "x-b": 2}))
    assert differing(kept, Queue("q", arguments={"x-a": 1, "x-b": 3})) == "argument x-b=2, not 3"
    assert differing(kept, Queue("q", arguments={"x-a": 1})) == "argument x-b=2, not None"
    assert differing(kept, Queue("q", priorities=5)) == "priorities=1, not 5"


@given(st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis adds the zone
def test_moments_are_exact_to_the_microsecond_as_redis_keeps_them(moment) -> None:
    assert EPOCH + timedelta(microseconds=int(float(micros(moment)))) == moment


@given(st.lists(st.integers(0, MOST_BYTES // 2), max_size=20), st.integers(0, 1200))
def test_publishes_are_cut_into_parts_that_are_the_whole(sizes, small) -> None:
    encoded = [[f"{number}", "x" * size] for number, size in enumerate([*sizes, *[1] * small])]
    parts = [*_parts(encoded)]
    assert [one for part in parts for one in part] == encoded
    assert all(0 < len(part) <= MOST_TOGETHER for part in parts)
    assert all(sum(len(one[-1]) for one in part[:-1]) <= MOST_BYTES for part in parts)


def test_every_message_has_a_tag_of_its_own() -> None:
    message = Message(id="m")
    assert message_arguments(message, NOW)[5] != message_arguments(message, NOW)[5]
    assert len(message_arguments(message, NOW)) == 7


def test_scripts_are_told_apart_by_all_of_their_text() -> None:
    assert Script("common", "claim").hash != Script("claim").hash
    assert Script("common", "claim").name == "claim"


@pytest.mark.parametrize("option", ["lese=3", "prefx=a", "visibility_timout=3"])
def test_an_option_that_nobody_knows_names_the_nearest(option) -> None:
    with pytest.raises(ConfigurationError, match="did you mean"):
        RedisTransport([f"redis://localhost/0?{option}"], clock=SystemClock(), on_lost=lambda _error: None)
