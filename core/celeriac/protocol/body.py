"""Reading the body of a task message: where it is run, never in the worker's parent."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from celeriac.errors import ProtocolError, UnsupportedWorkflow

if TYPE_CHECKING:
    from celeriac.codec import Codecs

MAX_BODY_BYTES = 256 * 2**20
_WORKFLOWS = ("callbacks", "errbacks", "chain", "chord")
_PARTS = 3

# by the values of Celery's header "compression"; what it calls gzip is zlib's format. Modules are imported when first
# needed: a Python may be built without some of them.
_DECOMPRESSORS: dict[str, tuple[str, str, dict[str, int]]] = {
    "application/x-gzip": ("zlib", "decompressobj", {}),
    "application/x-bz2": ("bz2", "BZ2Decompressor", {}),
    "application/x-lzma": ("lzma", "LZMADecompressor", {"memlimit": MAX_BODY_BYTES}),
}


def decode_body(
    codecs: Codecs,
    body: bytes,
    content_type: str,
    content_encoding: str,
    compression: str | None = None,
) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Return the positional arguments, the keyword arguments and the embed table of a task message.

    Args:
        codecs: decode it.
        body: as it came.
        content_type: of the body.
        content_encoding: of the body.
        compression: MIME type of the body's compression, from the header ``compression``.

    Raises:
        DecodeError: the bytes are not of that content type.
        ProtocolError: they are, and no task could be run with them; or they cannot be decompressed, or are more than
            256 MiB then.
        UnsupportedWorkflow: callbacks, errbacks, a chain or a chord are asked for.
    """
    if compression:
        body = decompress(body, compression)
    parts = codecs.decode(body, content_type, content_encoding)
    if not isinstance(parts, list) or len(parts) != _PARTS:
        raise ProtocolError(f"the body is {_kind(parts)}; it must be a list of args, kwargs and embed")
    args, kwargs, embed = parts
    if not isinstance(args, list):
        raise ProtocolError(f"args is {_kind(args)}; it must be a list")
    if not isinstance(kwargs, dict):
        raise ProtocolError(f"kwargs is {_kind(kwargs)}; it must be an object")
    if embed is None:
        embed = {}
    elif not isinstance(embed, dict):
        raise ProtocolError(f"embed is {_kind(embed)}; it must be an object or null")
    if wanted := [name for name in _WORKFLOWS if embed.get(name)]:
        raise UnsupportedWorkflow(f"the message asks for {', '.join(wanted)}, which celeriac does not run yet")
    return args, kwargs, embed


def decompress(data: bytes, compression: str) -> bytes:
    """Return ``data`` decompressed.

    Args:
        data: as it came.
        compression: ``application/x-gzip`` (zlib), ``application/x-bz2`` or ``application/x-lzma``.

    Raises:
        ProtocolError: the compression is unknown, the data is broken, or more than 256 MiB come out.
    """
    known = _DECOMPRESSORS.get(compression)
    if known is None:
        accepted = ", ".join(_DECOMPRESSORS)
        raise ProtocolError(f"compression {compression[:80]!r} is not accepted; accepted are {accepted}")
    module, name, options = known
    try:
        decompressor = getattr(import_module(module), name)(**options)
        plain: bytes = decompressor.decompress(data, MAX_BODY_BYTES + 1)
    except Exception as error:
        # zlib.error, LZMAError, OSError, EOFError, MemoryError, ImportError: one class a library
        raise ProtocolError(f"the body cannot be decompressed as {compression}: {error}") from error
    if len(plain) > MAX_BODY_BYTES:
        raise ProtocolError(f"the body has more than {MAX_BODY_BYTES} bytes when decompressed")
    if not decompressor.eof:
        raise ProtocolError(f"the body cannot be decompressed as {compression}: its end is missing")
    return plain


def _kind(value: object) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else f"of type {type(value).__name__}"
