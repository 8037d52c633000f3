"""Which servers are taken, and why others are refused; asked through the result store, as the transport asks too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis_server import RedisServer, Sentinel, free_port

from celeriac.clock import SystemClock
from celeriac.errors import AccessRefused, ConfigurationError, ConnectionLost, TransportError
from celeriac.results import ResultRecord
from celeriac_redis.errors import Misconfigured
from celeriac_redis.store import RedisStore

if TYPE_CHECKING:
    from pathlib import Path


def use(*urls: str) -> None:
    """Store something there and read it."""

    async def live() -> None:
        store = RedisStore(urls, clock=SystemClock())
        try:
            await store.open()
            await store.put([ResultRecord(task_id="x", attempt=1, state="SUCCESS")])
            assert (await store.get(["x"]))[0].state == "SUCCESS"
            assert [one.task_id async for one in store.wait(["x"])] == ["x"]
            await store.join("group", "x", 2)
            await store.forget(["y"])
        finally:
            await store.close()

    asyncio.run(live())


def refused(*urls: str) -> TransportError:
    """Return what using it raises."""
    with pytest.raises(TransportError) as raised:
        use(*urls)
    assert "open-sesame" not in str(raised.value)
    return raised.value


@pytest.fixture
def guarded(tmp_path: Path):
    with RedisServer(tmp_path / "guarded", password="watchword", databases="4") as server:  # noqa: S106
        yield server


@pytest.mark.parametrize("login", ["", ":open-sesame@", "default:open-sesame@", "nobody:open-sesame@"])
def test_a_wrong_password(guarded: RedisServer, login: str):
    error = refused(guarded.url_as(login))
    assert type(error) is AccessRefused
    assert f"127.0.0.1:{guarded.port}" in str(error)
    use(guarded.url, guarded.url_as(login))


def test_a_user_of_an_acl(guarded: RedisServer):
    keys = ("~ours:celery-task-meta-*", "~ours:celeriac-group-*", "&ours:celery-task-meta-*")
    guarded.say("ACL", "SETUSER", "app", "on", ">open-sesame", *keys, "+@all", "-@dangerous", "+info")
    use(f"{guarded.url_as('app:open-sesame@')}?prefix=ours:")
    assert type(refused(guarded.url_as("app:open-sesame@"))) is AccessRefused


def test_a_database_that_does_not_exist(guarded: RedisServer):
    use(f"{guarded.url[:-1]}3")
    error = refused(f"{guarded.url[:-1]}4")
    assert type(error) is AccessRefused
    assert "databases" in str(error)


def test_databases_are_apart(guarded: RedisServer):
    use(f"{guarded.url[:-1]}3")
    with guarded.client(db=3) as other, guarded.client() as first:
        assert (other.exists("celery-task-meta-x"), first.exists("celery-task-meta-x")) == (1, 0)


def test_a_replica_is_refused_and_passed_by(guarded: RedisServer, tmp_path: Path):
    with RedisServer(tmp_path / "replica", replica_of=guarded) as replica:
        replica.until_in_step()
        error = refused(replica.url)
        assert type(error) is ConnectionLost
        assert f"127.0.0.1:{replica.port} is a replica of 127.0.0.1:{guarded.port}" in str(error)
        replica.say("CONFIG", "SET", "replica-read-only", "no")  # what is written there is lost at the next loss
        assert "is a replica" in str(refused(replica.url))
        use(replica.url, guarded.url)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_drops_keys(redis_server: RedisServer, policy: str):
    redis_server.say("CONFIG", "SET", "maxmemory-policy", policy)
    error = refused(redis_server.url)
    assert isinstance(error, ConfigurationError)
    assert f"'maxmemory-policy {policy}'" in str(error)
    assert "'maxmemory-policy noeviction'" in str(error)
    use(f"{redis_server.url}?eviction=allow")
    redis_server.say("CONFIG", "SET", "maxmemory-policy", "noeviction")
    use(redis_server.url)


def test_a_user_who_may_not_ask_for_the_policy(redis_server: RedisServer):
    url = redis_server.url_as("app:open-sesame@")
    redis_server.say("ACL", "SETUSER", "app", "on", ">open-sesame", "~*", "&*", "+@all", "-config")
    use(url)  # INFO says it too
    redis_server.say("ACL", "SETUSER", "app", "+config", "-info")
    use(url)
    redis_server.say("ACL", "SETUSER", "app", "-config")
    error = refused(url)
    assert isinstance(error, ConfigurationError)
    assert "'ACL SETUSER app +info'" in str(error)
    use(f"{url}?eviction=allow")


def test_a_node_of_a_cluster(tmp_path: Path):
    with RedisServer(tmp_path, cluster_enabled="yes") as server:
        error = refused(server.url)
        assert isinstance(error, ConfigurationError)
        assert "Redis Cluster" in str(error)


def test_a_unix_socket(guarded: RedisServer):
    use(f"redis+unix://:watchword@{guarded.path}?db=2")
    assert str(guarded.path) in str(refused(f"redis+unix://:open-sesame@{guarded.path}"))
    assert type(refused(f"redis+unix://:watchword@{guarded.path}.none")) is ConnectionLost


def test_tls(tmp_path: Path, certificate: tuple[Path, Path]):
    signed, key = map(str, certificate)
    settings = {"tls_cert_file": signed, "tls_key_file": key, "tls_ca_cert_file": signed}
    port = free_port()
    with RedisServer(tmp_path, tls_port=str(port), **settings) as server:
        ours = f"certfile={signed}&keyfile={key}"
        use(f"rediss://localhost:{port}?cafile={signed}&{ours}")
        assert "by ?cafile=" in str(refused(f"rediss://localhost:{port}?{ours}"))
        mismatch = str(refused(f"rediss://127.0.0.1:{port}?cafile={signed}&{ours}"))
        assert "CERTIFICATE_VERIFY_FAILED" in mismatch
        assert "cafile" not in mismatch
        use(f"rediss://127.0.0.1:{port}?verify=no&{ours}")
        assert type(refused(f"rediss://localhost:{port}?cafile={signed}")) is ConnectionLost  # it wants a certificate
        assert type(refused(f"rediss://localhost:{server.port}?connect_timeout=1")) is ConnectionLost


def test_a_sentinel_that_is_none_or_refuses_us_is_passed_by(guarded: RedisServer, tmp_path: Path):
    """Another one knows; where none does, whether to try again is said by those who did not answer."""
    other, nobody = f"127.0.0.1:{guarded.port}", f"127.0.0.1:{free_port()}"
    with (
        RedisServer(tmp_path / "open") as plain,
        Sentinel(tmp_path / "sentinel", guarded) as knows,
        Sentinel(tmp_path / "locked", guarded, password="watchword") as locked,  # noqa: S106
    ):
        wrong = f"127.0.0.1:{plain.port};127.0.0.1:{locked.port}"
        use(f"sentinel://:watchword@{wrong};127.0.0.1:{knows.port}/main")
        error = refused(f"sentinel://127.0.0.1:{plain.port}/main")
        assert type(error) is Misconfigured
        assert f"127.0.0.1:{plain.port} is no sentinel" in str(error)
        assert type(refused(f"sentinel://127.0.0.1:{locked.port};{other}/main")) is AccessRefused
        assert type(refused(f"sentinel://{wrong};{nobody}/main")) is ConnectionLost


def test_nobody_there(redis_server: RedisServer):
    redis_server.kill()
    assert type(refused(redis_server.url_as(":open-sesame@"))) is ConnectionLost
    error = refused(redis_server.url, "redis://127.0.0.1:1")
    assert f"127.0.0.1:{redis_server.port}: " in str(error)
    assert "127.0.0.1:1: " in str(error)


def test_somebody_who_never_answers(redis_server: RedisServer):
    redis_server.freeze()
    try:
        error = refused(f"{redis_server.url}?connect_timeout=0.5")
        assert "no answer within 0.5 s" in str(error)
    finally:
        redis_server.thaw()
