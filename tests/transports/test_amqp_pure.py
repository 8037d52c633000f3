"""The parts of the AMQP transport that need no broker: addresses, declarations, delays, errors."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import exceptions

from celeriac.clock import SystemClock
from celeriac.errors import (
    AccessRefused,
    ConfigurationError,
    ConnectionLost,
    QueueNotFound,
    TopologyMismatch,
    TransportError,
    UnknownOption,
    Unsupported,
)
from celeriac.message import Dead, DeadLetter, Delivery, Message, Requeue
from celeriac.topology import Queue
from celeriac.transport_helpers import matches
from celeriac_amqp.address import Nodes, parse
from celeriac_amqp.declaring import priority_levels, queue_arguments
from celeriac_amqp.delays import LEVELS, LONGEST, binding_key, delay_key, entry, seconds_until
from celeriac_amqp.errors import channel_error, open_error
from celeriac_amqp.properties import ROUTE_HEADER
from celeriac_amqp.successors import successor
from celeriac_amqp.transport import AmqpTransport

QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
NOW = datetime(2030, 1, 1, tzinfo=UTC)


# -- addresses


@pytest.mark.parametrize(
    ("url", "host", "port", "user", "password", "vhost", "tls"),
    [
        ("amqp://", "localhost", 5672, "guest", "guest", "/", False),
        ("amqps://broker", "broker", 5671, "guest", "guest", "/", True),
        ("amqp://u:p%40%2F@h:1/%2F", "h", 1, "u", "p@/", "/", False),
        ("amqp://u:@[::1]:7//", "::1", 7, "u", "", "/", False),
        ("amqp://h/v", "h", 5672, "guest", "guest", "v", False),
        ("amqp://h/a%2Fb", "h", 5672, "guest", "guest", "a/b", False),
    ],
)
def test_addresses(url, host, port, user, password, vhost, tls) -> None:
    found = parse(url)
    assert (found.host, found.port, found.user, found.password, found.vhost, found.tls) == (
        host,
        port,
        user,
        password,
        vhost,
        tls,
    )


def test_options() -> None:
    options = parse("amqp://h?heartbeat=5&hold_limit=60&queue_type=classic&verify=no&cafile=/x&max_body=7").options
    assert (options.heartbeat, options.hold_limit, options.queue_type) == (5, 60.0, "classic")
    assert (options.verify, options.cafile, options.max_body, options.connect_timeout) == (False, "/x", 7, 4.0)
    assert options.default_type == "classic"
    assert parse("amqp://?fleet=celery").options.default_type == "plain"


@pytest.mark.parametrize(
    "url",
    [
        "amqp://u:open-sesame@h?heartbeat=0",
        "amqp://u:open-sesame@h?heartbeat=x",
        "amqp://u:open-sesame@h?queue_type=stream",
        "amqp://u:open-sesame@h?fleet=other",
        "amqp://u:open-sesame@h?verify=perhaps",
        "amqp://u:open-sesame@h?keyfile=/k",
        "amqp://u:open-sesame@h:port",
        "amqp://u:open-sesame@h/a/b",
        "http://u:open-sesame@h",
    ],
)
def test_what_cannot_work_is_refused_at_once_and_keeps_its_secret(url) -> None:
    with pytest.raises(ConfigurationError) as raised:
        AmqpTransport([url], clock=SystemClock(), on_lost=print)
    assert "open-sesame" not in str(raised.value)


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UnknownOption, match="heartbeat"):
        parse("amqp://h?heartbeet=5")


def test_the_password_is_in_no_repr() -> None:
    assert "open-sesame" not in repr(parse("amqp://u:open-sesame@h"))


def test_a_node_that_failed_is_tried_last() -> None:
    one, two, three = (parse(f"amqp://{host}") for host in ("one", "two", "three"))
    nodes = Nodes([one, two, three])
    nodes.failed(one)
    assert nodes.in_order() == (two, three, one)
    nodes.failed(three)
    assert nodes.in_order() == (two, one, three)
    alone = Nodes([one])
    alone.failed(one)
    assert alone.in_order() == (one,)


# -- declarations


@pytest.mark.parametrize(
    ("fields", "kind", "arguments"),
    [
        ({}, "quorum", QUORUM),
        ({}, "classic", {"x-queue-type": "classic"}),
        ({}, "plain", {}),
        ({"priorities": 10}, "quorum", {"x-queue-type": "classic", "x-max-priority": 9}),
        ({"priorities": 4}, "classic", {"x-queue-type": "classic", "x-max-priority": 3}),
        ({"priorities": 10}, "plain", {"x-max-priority": 9}),
        ({"arguments": {"x-max-length": 5}}, "quorum", {**QUORUM, "x-max-length": 5}),
        ({"arguments": {"x-delivery-limit": 7}}, "quorum", {**QUORUM, "x-delivery-limit": 7}),
        ({"arguments": {"x-queue-type": "quorum"}}, "quorum", {"x-queue-type": "quorum"}),
        ({"arguments": {"x-queue-type": "classic"}}, "quorum", {"x-queue-type": "classic"}),
        ({"arguments": {"x-foo": 1}}, "plain", {"x-foo": 1}),
    ],
)
def test_queue_arguments(fields, kind, arguments) -> None:
    assert queue_arguments(Queue("q", **fields), kind) == arguments


def test_a_quorum_queue_keeps_no_priorities() -> None:
    with pytest.raises(ConfigurationError, match="'q'"):
        queue_arguments(Queue("q", priorities=10, arguments={"x-queue-type": "quorum"}), "quorum")


def test_capabilities_before_any_connection() -> None:
    transport = AmqpTransport(["amqp://?hold_limit=90"], clock=SystemClock(), on_lost=print)
    plain, keeping = transport.capabilities(Queue("q")), transport.capabilities(Queue("q", priorities=10))
    assert (plain.priority_levels, keeping.priority_levels) == (1, 10)
    assert (plain.lease, plain.renew_every, plain.max_delay) == (None, timedelta(seconds=30), LONGEST)
    assert priority_levels(Queue("q", arguments={"x-max-priority": 3})) == 4


# -- delays


def route(key: str, exchange: int) -> list[int | str]:
    """Follow a key down the ladder, as the broker's topic exchanges would; return where it waits, and who gets it."""
    where: list[int | str] = []
    for level in range(exchange, -1, -1):
        passed = "*." * (LEVELS - 1 - level)
        waits, passes = (matches("topic", passed + digit + ".#", key) for digit in "10")
        assert waits != passes
        if waits:
            where.append(level)
    return where


@given(st.integers(1, 2**LEVELS - 1), st.text(st.sampled_from("ab.*#%é"), min_size=1, max_size=20))
def test_a_delay_waits_for_just_its_seconds(seconds, queue) -> None:
    key = delay_key(seconds, queue)
    assert sum(2**level for level in route(key, int(entry(seconds).rpartition("_")[2]))) == seconds
    assert matches("topic", binding_key(queue), key)


@given(st.text(st.sampled_from("a.*#%"), min_size=1), st.text(st.sampled_from("a.*#%"), min_size=1))
def test_a_delay_comes_to_no_other_queue(one, other) -> None:
    assert matches("topic", binding_key(other), delay_key(5, one)) == (one == other)


def test_a_delay_is_never_early() -> None:
    assert [seconds_until(NOW + timedelta(seconds=s), NOW) for s in (-5, 0, 0.001, 1, 1.001)] == [0, 0, 1, 1, 2]


def test_a_name_too_long_for_a_delay() -> None:
    delay_key(1, "q" * 199)
    with pytest.raises(Unsupported):
        delay_key(1, "q" * 200)


# -- successors


def test_a_requeued_message_goes_to_its_queue_alone_and_shows_its_own_way() -> None:
    delivery = Delivery(message=Message(id="m", exchange="x", routing_key="k", mandatory=False), queue="q", token=1)
    again = successor(delivery, Requeue(timedelta(seconds=5)), NOW)
    assert (again.exchange, again.routing_key, again.not_before) == ("", "q", NOW + timedelta(seconds=5))
    assert again.headers == {ROUTE_HEADER: ["x", "k"]}
    assert again.mandatory
    assert successor(delivery, Requeue(), NOW).not_before is None
    dead = successor(delivery, Dead(DeadLetter(reason="r")), NOW)
    assert (dead.routing_key, dead.headers["celeriac"]["dead"]["routing_key"]) == ("q.dead", "k")


# -- errors


@pytest.mark.parametrize(
    ("code", "text", "kind", "words"),
    [
        (404, "NOT_FOUND - no queue 'q' in vhost '/'", QueueNotFound, "'q'"),
        (403, "ACCESS_REFUSED - access to queue 'q'", AccessRefused, "'q'"),
        (405, "RESOURCE_LOCKED - cannot obtain exclusive access", TopologyMismatch, "exclusive"),
        (
            406,
            "PRECONDITION_FAILED - inequivalent arg 'x-max-priority' for queue 'a'b' in vhost '/': received none",
            TopologyMismatch,
            'queue "a\'b" exists with another x-max-priority: received none',
        ),
        (541, "INTERNAL_ERROR", TransportError, "INTERNAL"),
    ],
)
def test_what_a_broker_says_of_a_channel(code, text, kind, words) -> None:
    cause = exceptions.ChannelClosedByBroker(code, text)
    error = channel_error(cause)
    assert type(error) is kind
    assert words in str(error)
    assert error.__cause__ is cause


def test_a_lost_channel_is_a_lost_connection() -> None:
    assert type(channel_error(exceptions.StreamLostError("x"))) is ConnectionLost


def test_why_we_may_not_in() -> None:
    refused = exceptions.ProbableAuthenticationError("ConnectionClosedByBroker: (403) 'ACCESS_REFUSED'")
    missing = exceptions.ProbableAccessDeniedError("ConnectionClosedByBroker: (530) 'vhost v not found'")
    down = exceptions.AMQPConnectionError(OSError("nobody"))
    assert "user 'u'" in str(open_error(refused, "h:1", "u", "v"))
    assert "'v': there is no such virtual host" in str(open_error(missing, "h:1", "u", "v"))
    assert str(open_error(down, "h:1", "u", "v")) == "cannot connect to h:1: nobody"


# -- the driver


def test_the_plugin_is_known_without_the_driver() -> None:
    program = (
        "import sys; sys.modules['pika'] = None; import celeriac_amqp; found = celeriac_amqp.celeriac_transports();"
        "assert set(found) == {'amqp', 'amqps'}; assert set(celeriac_amqp.celeriac_result_stores()) > set(found)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_logger_that_somebody_set_up_is_left_alone() -> None:
    program = (
        "import logging; logging.getLogger('pika').setLevel(logging.DEBUG); import celeriac_amqp.transport;"
        "assert logging.getLogger('pika').level == logging.DEBUG"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert logging.getLogger("pika").level == logging.CRITICAL
