import bz2
import json
import lzma
import sys
import zlib
from contextlib import suppress
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

import celeriac.protocol.compression
from celeriac.codec import Codecs
from celeriac.errors import CodecError, DecodeError, ProtocolError, UnsupportedWorkflow
from celeriac.protocol import decode_body

CODECS = Codecs()
JSON = ("application/json", "utf-8")
wire = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
EMBED = b'{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'


@pytest.mark.parametrize("embed", [b"null", b"{}", EMBED, b'{"chain": [], "callbacks": [], "own": 1}'])
def test_an_embed_that_asks_for_nothing_is_read(embed):
    args, kwargs, table = decode_body(CODECS, b'[[1], {"a": 2}, %b]' % embed, *JSON)
    assert (args, kwargs) == ([1], {"a": 2})
    assert isinstance(table, dict)


@pytest.mark.parametrize("name", ["callbacks", "errbacks", "chain", "chord"])
def test_an_embed_that_asks_for_a_workflow_is_unsupported(name):
    body = json.dumps([[], {}, {name: [{"task": "x"}]}]).encode()
    with pytest.raises(UnsupportedWorkflow, match=name) as caught:
        decode_body(CODECS, body, *JSON)
    assert caught.value.reason == "unsupported"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"[]", "a list of 0"),
        (b"[[], {}]", "a list of 2"),
        (b"[[], {}, {}, {}]", "a list of 4"),
        (b'{"args": [], "kwargs": {}}', "of type dict"),
        (b"null", "of type NoneType"),
        (b'"abc"', "of type str"),
        (b"[null, {}, {}]", "args is"),
        (b'["abc", {}, {}]', "args is"),
        (b"[[], null, {}]", "kwargs is"),
        (b"[[], [], {}]", "kwargs is"),
        (b"[[], {}, 5]", "embed is"),
        (b"[[], {}, []]", "embed is"),
    ],
)
def test_a_body_of_another_shape_is_a_protocol_error(body, text):
    with pytest.raises(ProtocolError, match=text):
        decode_body(CODECS, body, *JSON)


def test_a_body_that_is_no_json_is_a_decode_error():
    with pytest.raises(DecodeError):
        decode_body(CODECS, b"", *JSON)
    with pytest.raises(DecodeError, match="application/x-python-serialize"):
        decode_body(CODECS, b"x", "application/x-python-serialize", "binary")


@given(st.binary(max_size=100) | wire.map(lambda value: json.dumps(value).encode()))
def test_whatever_the_body_only_codec_errors_are_raised(body):
    with suppress(CodecError):
        decode_body(CODECS, body, *JSON)


COMPRESSORS = {
    "application/x-gzip": zlib.compress,
    "application/x-bz2": bz2.compress,
    "application/x-lzma": lzma.compress,
    "application/zstd": import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd").compress,
}


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_compressed_bodies_are_read(compression):
    body = COMPRESSORS[compression](b"[[1], {}, null]")
    assert decode_body(CODECS, body, *JSON, compression) == ([1], {}, {})


@pytest.mark.parametrize("compression", COMPRESSORS)
@pytest.mark.parametrize("damage", [lambda data: data[:-5], lambda _: b"", lambda _: b"[[], {}, {}]" * 9])
def test_a_broken_compressed_body_is_a_protocol_error(compression, damage):
    body = damage(COMPRESSORS[compression](b"[[1], {}, null]"))
    with pytest.raises(ProtocolError, match="decompressed"):
        decode_body(CODECS, body, *JSON, compression)


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_a_bomb_is_refused(compression, monkeypatch):
    monkeypatch.setattr(celeriac.protocol.compression, "MAX_BODY_BYTES", 1000)
    small, large = b"[[], {}, null]".ljust(1000), b"[[], {}, null]".ljust(1001)
    assert decode_body(CODECS, COMPRESSORS[compression](small), *JSON, compression) == ([], {}, {})
    for body in (large, large * 1000):
        with pytest.raises(ProtocolError, match="more than 1000 bytes"):
            decode_body(CODECS, COMPRESSORS[compression](body), *JSON, compression)


def test_an_unknown_compression_is_a_protocol_error():
    with pytest.raises(ProtocolError, match=r"application/x-brotli.*accepted are application/x-gzip"):
        decode_body(CODECS, b"", *JSON, "application/x-brotli")


def test_lzma_that_wants_too_much_memory_is_refused():
    dictionary = (1536 * 2**20).to_bytes(4, "little")  # the size a .lzma header asks for
    alone = b"\x5d" + dictionary + b"\xff" * 8 + bytes(100)
    with pytest.raises(ProtocolError, match=r"decompressed.*[Mm]emory"):
        decode_body(CODECS, alone, *JSON, "application/x-lzma")
