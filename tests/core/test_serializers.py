"""Serializers by name: what is found, accepted and refused, and when its driver is wanted."""

import subprocess
import sys
import zlib
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import App
from celeriac.codec import Codecs, short_name
from celeriac.errors import ConfigurationError, DecodeError, EncodeError, PluginError, ProtocolError, UntrustedMessage
from celeriac.hookspecs import hookimpl
from celeriac.plugins import Plugins
from celeriac.protocol import compression_type, decode_body, task_message
from celeriac.protocol.compression import compress, decompress
from celeriac.signing import Secret, Signer
from celeriac_cloudpickle.codec import CloudpickleCodec
from celeriac_msgpack.codec import MsgpackCodec

KEY = Secret("the key of the shop, 32 bytes long")
ZSTD = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
MSGPACK, CLOUDPICKLE = MsgpackCodec(), CloudpickleCodec()


def codecs(*accept, **options):
    return Codecs(accept=accept, find=Plugins().serializer, signer=Signer([KEY]), **options)


class Reversed:
    content_type = "text/x-reversed"
    content_encoding = "utf-8"

    def encode(self, value):
        return str(value)[::-1].encode()

    def decode(self, data):
        return data.decode()[::-1]


class Plugin:
    def __init__(self, factory, content_type="text/x-reversed"):
        self.offered = {content_type: factory}

    @hookimpl
    def celeriac_serializers(self):
        return self.offered


def no_driver():
    raise ImportError("no driver", name="driver")


# --- names ------------------------------------------------------------------------------------------------------------


def test_ours_come_by_their_entry_points():
    plugins = Plugins()
    assert plugins.serializers().keys() == {"application/x-msgpack", "application/x-cloudpickle"}
    for name in ("msgpack", "application/x-msgpack"):
        assert isinstance(plugins.serializer(name), MsgpackCodec)
    assert short_name("application/json") == "json"


def test_an_unknown_one_is_named_with_a_did_you_mean():
    with pytest.raises(ConfigurationError, match=r"no serializer 'msgpak'; .*json, .*did you mean 'msgpack'"):
        codecs("msgpak").load()


def test_a_missing_driver_is_named_with_what_to_install(make_app):
    app = make_app(accept_content=["json", "reversed"])
    app.plugins.register(Plugin(no_driver))
    with pytest.raises(PluginError, match=r"serializer reversed needs 'driver', which is not installed; install what"):
        app.codecs.load()
    with pytest.raises(PluginError, match="needs 'driver'"), app.run_worker():
        pass  # the worker does not start: no message is to find out


@pytest.mark.parametrize("name", ["msgpack", "cloudpickle"])
def test_the_extra_of_ours_is_named(monkeypatch, name):
    monkeypatch.delitem(sys.modules, f"celeriac_{name}.codec")
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PluginError, match=rf"needs '{name}', which is not installed; pip install 'celeriac\[{name}\]'"):
        Plugins().serializer(name)


def test_two_for_one_content_type_are_refused():
    plugins = Plugins()
    plugins.register(Plugin(Reversed, "application/x-msgpack"))
    with pytest.raises(PluginError, match="two plugins claim 'application/x-msgpack'"):
        plugins.serializer("msgpack")


def test_a_stranger_s_carries_a_task_and_its_result(make_app):
    app = make_app(accept_content=["json", "reversed"], result_serializer="reversed")
    app.plugins.register(Plugin(Reversed))

    @app.task(typing=False)
    def double(text):
        return 2 * text

    with app.run_worker():
        assert double.delay("ab").get(timeout=20) == "abab"


@pytest.mark.parametrize("name", ["task_serializer", "result_serializer"])
def test_what_is_written_must_be_accepted(name):
    with pytest.raises(ConfigurationError, match=f"{name}='msgpack' is not in accept_content"):
        _ = App(**{name: "msgpack"}).conf


def test_what_a_call_writes_must_be_accepted_too(app):
    task = app.task(print, name="print", serializer="msgpack")
    with pytest.raises(ConfigurationError, match="serializer='msgpack' is not in accept_content"):
        task.delay()
    task.options(serializer="json").delay()


def test_what_a_task_gives_must_be_accepted_where_a_worker_starts(app):
    app.task(print, name="print", result_serializer="msgpack")
    with pytest.raises(ConfigurationError, match="print: result_serializer='msgpack' is not in"), app.run_worker():
        pass


def test_a_content_type_names_it_as_well():
    app = App(accept_content=["application/json", "application/x-msgpack"], task_serializer="msgpack")
    assert app.codecs.default.content_type == "application/x-msgpack"


def test_only_what_is_accepted_is_decoded():
    body = MSGPACK.encode([[], {}, None])
    assert codecs("json", "msgpack").decode(body, "application/x-msgpack", "binary") == [[], {}, None]
    with pytest.raises(DecodeError, match=r"not accepted; accepted are application/json \(accept_content\)"):
        codecs("json").decode(body, "application/x-msgpack", "binary")
    with pytest.raises(DecodeError, match="'application/json' is not accepted"):
        codecs("msgpack").decode(b"[]", "application/json")


def test_a_caller_reads_only_results_that_it_accepts(make_app):
    app = make_app(accept_content=["json", "msgpack"], result_serializer="msgpack")

    @app.task(name="shop.give")
    def give() -> int:
        return 1

    with app.run_worker():
        result = give.delay()
        assert result.get(timeout=20) == 1
        app.codecs._accepted.pop("application/x-msgpack")
        app.codecs._accept = ("json",)
        with pytest.raises(DecodeError, match="not accepted"):
            result.get(timeout=20)


def test_nothing_is_imported_before_it_is_used(tmp_path):
    drivers = ("msgpack", "cloudpickle", "pydantic", "msgspec", "backports", "celeriac_msgpack")
    code = (
        "import sys; from celeriac import App\n"
        "accept = ['json', 'msgpack', 'cloudpickle']\n"
        f"app = App(broker='memory://', accept_content=accept, signing_keys=['{'k' * 32}'])\n"
        "@app.task\n"
        "def add(x: int, y: int) -> int: return x + y\n"
        "with app.run_worker() if len(sys.argv) > 1 else app.batch(): add.delay(1, 2)\n"
        f"print([name for name in {drivers} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == "['celeriac_msgpack']\n"  # its entry module, which imports no driver; the broker came so too


# --- MessagePack ------------------------------------------------------------------------------------------------------

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    st.binary(max_size=10),
    st.datetimes(timezones=st.sampled_from([None, UTC])),
    st.dates(),
    st.times(),
    st.decimals(allow_nan=False),
    st.uuids(),
)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda key: not key.startswith("__"))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=15
)


@given(values)
def test_messagepack_comes_back_equal(value):
    assert MSGPACK.decode(MSGPACK.encode(value)) == value


@given(st.binary(max_size=100))
def test_any_bytes_are_messagepack_or_a_decode_error(data):
    try:
        MSGPACK.decode(data)
    except DecodeError as error:
        assert error.reason == "undecodable"  # noqa: PT017  both are right


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        ([{1, 2}], (0,), "type set cannot be carried as application/x-msgpack; pass a list"),
        ({"a": [object()]}, ("a", 0), "type object cannot be carried"),
        (2**64, (), "64 bits at most; pass it as text"),
    ],
)
def test_what_messagepack_cannot_carry_is_named(value, path, words):
    with pytest.raises(EncodeError, match="value") as caught:
        MSGPACK.encode(value)
    assert caught.value.path == path
    assert words in str(caught.value)


def test_kombu_s_bytes_are_read_and_written():
    """Captured from kombu 5.7: ``dumps([[4, 'ä'], {'b': b'x'}, None], serializer='msgpack')``."""
    wire = b"\x93\x92\x04\xa2\xc3\xa4\x81\xa1b\xc4\x01x\xc0"
    assert MSGPACK.decode(wire) == [[4, "ä"], {"b": b"x"}, None]
    assert MSGPACK.encode([[4, "ä"], {"b": b"x"}, None]) == wire


def test_a_timestamp_of_another_language_is_a_moment():
    assert MSGPACK.decode(b"\xd6\xff\x69\x8d\x2a\x00") == datetime.fromtimestamp(0x698D2A00, UTC)
    with pytest.raises(DecodeError, match="extension type 7 is unknown"):
        MSGPACK.decode(b"\xd4\x07x")


# --- cloudpickle ------------------------------------------------------------------------------------------------------


def test_a_function_comes_by_value():
    offset = 41
    assert CLOUDPICKLE.decode(CLOUDPICKLE.encode(lambda x: x + offset))(1) == 42


def test_it_is_decoded_by_nobody_who_has_not_verified_it():
    body = CLOUDPICKLE.encode([[], {}, None])
    accepting = codecs("json", "cloudpickle")
    with pytest.raises(UntrustedMessage, match="has no signature here"):
        accepting.decode(body, "application/x-cloudpickle", "binary")
    with pytest.raises(UntrustedMessage):
        decode_body(accepting, body, "application/x-cloudpickle", "binary")
    with pytest.raises(UntrustedMessage):
        accepting.decode_result(body, "application/x-cloudpickle", "binary", "id-1")


def test_without_a_key_it_is_refused_when_the_worker_starts_and_when_it_is_sent(make_app):
    app = make_app(accept_content=["json", "cloudpickle"])
    with pytest.raises(ConfigurationError, match="give signing_keys"), app.run_worker():
        pass
    with pytest.raises(ConfigurationError, match="give signing_keys"):
        app.submit(print)


def test_what_cannot_be_pickled_is_an_encode_error():
    with pytest.raises(EncodeError, match=r"cannot be pickled: TypeError: .*generator"):
        CLOUDPICKLE.encode(x for x in ())


@pytest.mark.parametrize("data", [b"", b"\x80", b"cnowhere\nThing\n.", b"cbuiltins\nNoSuch\n.", b"csys\nexit\n)R."])
def test_a_pickle_that_cannot_be_read_is_a_decode_error(data):
    with pytest.raises(DecodeError, match="the pickle cannot be read"):
        CLOUDPICKLE.decode(data)


def test_it_goes_to_a_queue_and_to_no_exchange():
    message = {"id": "1", "task": "t", "args": (), "kwargs": {}, "origin": "x", "routing_key": "r"}
    with pytest.raises(ConfigurationError, match="signed for one queue, and an exchange may lead to others"):
        task_message(**message, exchange="e", codecs=codecs("cloudpickle"), serializer="cloudpickle")


# --- compression ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gzip", "zlib", "zstd", "zstandard", "bzip2", "bzip", "xz", "lzma"])
def test_what_is_compressed_comes_back(name):
    data = b"x" * 10_000
    small = compress(data, compression_type(name))
    assert len(small) < 200
    assert decompress(small, compression_type(name)) == data


def test_celery_s_own_gzip_is_zlib():
    assert zlib.decompress(compress(b"abc", compression_type("gzip"))) == b"abc"


def test_without_its_library_zstd_is_refused_at_the_call_and_set_aside_where_it_comes(monkeypatch, make_app):
    body = compress(b"[[], {}, null]", "application/zstd")
    monkeypatch.setitem(sys.modules, ZSTD, None)
    app = make_app(task_compression="zstd")
    app.task(print, name="print")
    for read in (app.tasks["print"].delay, lambda: decompress(body, "application/zstd")):
        with pytest.raises((PluginError, ProtocolError), match=r"pip install 'celeriac\[zstd\]'"):
            read()


def test_an_unknown_compression_has_a_did_you_mean(make_app):
    with pytest.raises(ConfigurationError, match=r"no compression 'zst'.*did you mean 'zstd'"):
        make_app(task_compression="zst")


@pytest.mark.parametrize("serializer", ["json", "msgpack", "cloudpickle"])
@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
def test_a_task_goes_there_and_back(make_app, serializer, compression, waiting):
    options = {"task_serializer": serializer, "result_serializer": serializer, "task_compression": compression}
    app = make_app(accept_content=["json", "msgpack", "cloudpickle"], signing_keys=[KEY], **options)

    @app.task
    def total(prices: dict[UUID, Decimal], text: str) -> dict[UUID, Decimal]:
        return {key: price + len(text) for key, price in prices.items()}

    key = UUID(int=7)
    result = total.delay({key: Decimal("1.5")}, "x" * 5000)
    (message,) = waiting(app)
    assert message.headers.get("compression") == (compression and compression_type(compression))
    assert len(message.body) < 1000 or compression is None
    with app.run_worker():
        assert result.get(timeout=20) == {key: Decimal("5001.5")}


def test_a_call_may_say_otherwise(make_app, waiting):
    app = make_app(accept_content=["json", "msgpack"])

    @app.task(serializer="msgpack")
    def take(text): ...

    take.options(serializer="json", compression="gzip").delay("x")
    take.delay("x")
    first, second = waiting(app)
    assert (first.content_type, first.headers["compression"]) == ("application/json", "application/x-gzip")
    assert (second.content_type, second.content_encoding) == ("application/x-msgpack", "binary")
