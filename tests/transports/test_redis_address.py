"""What a redis URL may say, and what Redis says to us; no server is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from redis import exceptions

from celeriac.errors import (
    AccessRefused,
    ConfigurationError,
    ConnectionLost,
    MessageTooLarge,
    PluginError,
    TransportError,
    UnknownOption,
)
from celeriac.plugins import Plugins
from celeriac_redis import SCHEMES
from celeriac_redis.address import parse, parse_all
from celeriac_redis.errors import KeyOfAnotherType, Misconfigured, ServerFull, mapped, redis_error


@pytest.mark.parametrize(
    ("url", "hosts", "database", "user", "password", "tls"),
    [
        ("redis://", (("localhost", 6379),), 0, None, None, False),
        ("redis://h", (("h", 6379),), 0, None, None, False),
        ("redis://h:7/3", (("h", 7),), 3, None, None, False),
        ("redis://h/?db=3", (("h", 6379),), 3, None, None, False),
        ("redis://h/3?db=3", (("h", 6379),), 3, None, None, False),
        ("redis://:p%40%2F@h", (("h", 6379),), 0, None, "p@/", False),
        ("redis://u:p@[::1]:7/1", (("::1", 7),), 1, "u", "p", False),
        ("redis://u@h", (("h", 6379),), 0, "u", None, False),
        ("rediss://u:p@h", (("h", 6379),), 0, "u", "p", True),
        ("sentinel://a/s", (("a", 26379),), 0, None, None, False),
        ("sentinel://u:p@a:1;b;[::2]:3/s?db=4&tls=yes", (("a", 1), ("b", 26379), ("::2", 3)), 4, "u", "p", True),
        ("sentinel://a;b/s/5", (("a", 26379), ("b", 26379)), 5, None, None, False),
        ("redis+unix:///run/redis.sock", (), 0, None, None, False),
        ("redis+unix://u:p@/run/a%20b?db=2", (), 2, "u", "p", False),
    ],
)
def test_addresses(url, hosts, database, user, password, tls) -> None:
    found = parse(url)
    assert (found.hosts, found.database, found.user, found.password, found.tls) == (
        hosts,
        database,
        user,
        password,
        tls,
    )


def test_sockets_and_services() -> None:
    assert parse("redis+unix:///run/a%20b").path == "/run/a b"
    assert parse("redis://h").path is None
    assert parse("sentinel://a;b/main%2Fone/2").service == "main/one"
    assert parse("redis://h").service is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://u:p@h:7/1", "h:7"),
        ("redis+unix:///run/r", "/run/r"),
        ("sentinel://a:1;b/s", "service 's' of the sentinels a:1, b:26379"),
    ],
)
def test_how_people_read_it(url, said) -> None:
    assert str(parse(url)) == said


def test_options() -> None:
    options = parse(
        "redis://h?prefix=shop&lease=2.5&visibility_timeout=60&heartbeat=3&connect_timeout=1&eviction=allow"
        "&fleet=celery&cafile=/a&certfile=/c&keyfile=/k&verify=no"
    ).options
    assert (options.prefix, options.lease, options.visibility_timeout) == ("shop", 2.5, 60.0)
    assert (options.heartbeat, options.connect_timeout) == (3.0, 1.0)
    assert (options.eviction, options.fleet, options.verify) == ("allow", "celery", False)
    assert (options.cafile, options.certfile, options.keyfile) == ("/a", "/c", "/k")
    sentinel = parse("sentinel://a/s?sentinel_user=su&sentinel_password=open-sesame").options
    assert (sentinel.sentinel_user, sentinel.sentinel_password) == ("su", "open-sesame")


@pytest.mark.parametrize(("given", "used"), [("", ""), ("shop", "shop_"), *((f"s{e}", f"s{e}") for e in ":_-.")])
def test_the_prefix_of_results_is_what_celery_makes_of_it(given, used) -> None:
    assert parse(f"redis://h?prefix={given}").options.result_prefix == used


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://u:open-sesame@h:port", "port"),
        ("redis://u:open-sesame@h:0", "host:port"),
        ("redis://u:open-sesame@h:66000", "port"),
        ("redis://u:open-sesame@a;b", "only with sentinel"),
        ("redis://u:open-sesame@h/x", "'x', which is no number"),
        ("redis://u:open-sesame@h/-1", "no number from 0"),
        ("redis://u:open-sesame@h/1/2", "no number from 0"),
        ("redis://u:open-sesame@h?db=x", "db='x'"),
        ("redis://u:open-sesame@h/1?db=2", "1 and 2"),
        ("redis://u:open-sesame@h#x", "%23"),
        ("redis://u:open-sesame@h?lease=0", "lease='0'"),
        ("redis://u:open-sesame@h?lease=nan", "use 0.1"),
        ("redis://u:open-sesame@h?heartbeat=soon", "heartbeat='soon'"),
        ("redis://u:open-sesame@h?eviction=maybe", "refuse, allow"),
        ("redis://u:open-sesame@h?fleet=other", "fleet='other'"),
        ("redis://u:open-sesame@h?verify=perhaps", "true or false"),
        ("redis://u:open-sesame@h?keyfile=/k", "without a certfile"),
        ("redis://u:open-sesame@h?tls=yes", "rediss://"),
        ("redis://h?sentinel_password=open-sesame", "sentinel://host"),
        ("redis+unix://", "no socket"),
        ("redis+unix:///", "no socket"),
        ("redis+unix://u:open-sesame@run/redis.sock", "names a host"),
        ("sentinel://u:open-sesame@a;b", "no service"),
        ("sentinel://u:open-sesame@a;b/", "no service"),
        ("sentinel://u:open-sesame@a;b/s/x", "no number"),
        ("http://u:open-sesame@h", "no Redis URL"),
    ],
)
def test_what_cannot_work_is_refused_and_keeps_its_secret(url, said) -> None:
    with pytest.raises(ConfigurationError, match=said.replace("?", r"\?")) as raised:
        parse(url)
    assert "open-sesame" not in str(raised.value)


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UnknownOption, match="did you mean 'heartbeat'"):
        parse("redis://h?heartbeet=5")
    with pytest.raises(UnknownOption, match="did you mean 'prefix'"):
        parse("redis://h?prefx=a")


@pytest.mark.parametrize(
    "url", ["redis://u:open-sesame@h", "sentinel://u:open-sesame@a/s?sentinel_password=open-sesame"]
)
def test_a_password_is_in_no_repr(url) -> None:
    assert "open-sesame" not in repr(parse(url)) + str(parse(url))


def test_addresses_of_one_cluster_agree() -> None:
    assert [str(one) for one in parse_all(["redis://a/1?prefix=x", "redis://u:p@b:7?db=1&prefix=x"])] == [
        "a:6379",
        "b:7",
    ]
    with pytest.raises(ConfigurationError, match="the database 2, the first address 1"):
        parse_all(["redis://a/1", "redis://b/2"])
    with pytest.raises(ConfigurationError, match="another 'prefix'"):
        parse_all(["redis://a", "redis://b?prefix=x"])


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (exceptions.ConnectionError("Connection closed by server."), ConnectionLost, "closed by server"),
        (exceptions.TimeoutError("Timeout reading"), ConnectionLost, "Timeout"),
        (exceptions.BusyLoadingError("Redis is loading"), ConnectionLost, "loading"),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), ConnectionLost, "replica"),
        (exceptions.InvalidResponse("Protocol Error"), ConnectionLost, "Protocol"),
        (ConnectionResetError(104, "reset"), ConnectionLost, "reset"),
        (TimeoutError(), ConnectionLost, "TimeoutError"),
        (exceptions.ResponseError("MISCONF Errors writing to the AOF file: No space"), ConnectionLost, "No space"),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas"), ConnectionLost, "NOREPLICAS"),
        (exceptions.ResponseError("BUSY Redis is busy running a script."), ConnectionLost, "busy"),
        (exceptions.AuthenticationError("WRONGPASS invalid"), AccessRefused, "password"),
        (exceptions.NoPermissionError("this user has no permissions"), AccessRefused, "permission"),
        (exceptions.ResponseError("The user executing the script can't publish"), AccessRefused, "permission"),
        (exceptions.ResponseError("DB index is out of range"), AccessRefused, "'databases'"),
        (exceptions.OutOfMemoryError("command not allowed"), ServerFull, "maxmemory"),
        (exceptions.ResponseError("-OOM command not allowed script: x, on @user_script:1"), ServerFull, "maxmemory"),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), KeyOfAnotherType, "prefix="),
        (
            exceptions.ResponseError("WRONGTYPE Operation against a key (q\x06\x163)"),
            KeyOfAnotherType,
            r"\(q\\x06\\x163\)",
        ),
        (exceptions.ResponseError("MOVED 3999 127.0.0.1:6381"), Misconfigured, "Cluster"),
        (exceptions.ResponseError("Protocol error: invalid bulk length"), MessageTooLarge, "proto-max-bulk-len"),
        (exceptions.ResponseError("unknown command"), TransportError, "unknown command"),
        (exceptions.DataError("Invalid input"), TransportError, "Invalid input"),
    ],
)
def test_errors_keep_their_cause(error, kind, said) -> None:
    with pytest.raises(kind, match=said) as raised, mapped("h:1"):
        raise error
    assert raised.value.__cause__ is error
    assert str(raised.value).startswith("h:1")
    assert type(redis_error(error, "h:1")) is kind


def test_a_misconfigured_server_is_told_as_a_configuration() -> None:
    assert issubclass(Misconfigured, ConfigurationError)
    assert issubclass(Misconfigured, TransportError)


def test_the_plugin_loads_no_driver_until_it_is_used() -> None:
    program = "import sys, celeriac_redis; celeriac_redis.celeriac_transports(); print('redis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("celeriac_redis.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    for scheme in SCHEMES:
        with pytest.raises(PluginError, match=r"celeriac\[redis\]"):
            Plugins().result_store(f"{scheme}://h")
