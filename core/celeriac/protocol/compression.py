"""Compressed bodies, as Celery's header ``compression`` names them. Source: kombu 5.7, ``kombu/compression.py``.

What Celery calls gzip is zlib's format. Modules are imported when first needed: a Python may be built without some.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, NamedTuple

from celeriac.errors import ConfigurationError, PluginError, ProtocolError, did_you_mean

MAX_BODY_BYTES = 256 * 2**20


class Compression(NamedTuple):
    """One way to compress: its module, and in it a function and the class of a decompressor that takes a limit."""

    module: str
    compress: str
    decompressor: str
    options: dict[str, int]


_ZSTD = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
_KNOWN = {
    "application/x-gzip": Compression("zlib", "compress", "decompressobj", {}),
    "application/zstd": Compression(_ZSTD, "compress", "ZstdDecompressor", {}),
    "application/x-bz2": Compression("bz2", "compress", "BZ2Decompressor", {}),
    "application/x-lzma": Compression("lzma", "compress", "LZMADecompressor", {"memlimit": MAX_BODY_BYTES}),
}
_NAMES = {
    "gzip": "application/x-gzip",
    "zlib": "application/x-gzip",
    "zstd": "application/zstd",
    "zstandard": "application/zstd",
    "bzip2": "application/x-bz2",
    "bzip": "application/x-bz2",
    "lzma": "application/x-lzma",
    "xz": "application/x-lzma",
}


def compression_type(name: str) -> str:
    """Return the MIME type of a compression by Celery's name for it, or by itself.

    Raises:
        ConfigurationError: nobody knows it.
    """
    kind = _NAMES.get(name, name)
    if kind not in _KNOWN:
        raise ConfigurationError(f"no compression {name!r}; there are {', '.join(_NAMES)}{did_you_mean(name, _NAMES)}")
    return kind


def compress(data: bytes, compression: str) -> bytes:
    """Return ``data`` compressed.

    Args:
        data: at most 256 MiB.
        compression: a MIME type, from `compression_type`.

    Raises:
        PluginError: its library is not installed.
    """
    return getattr(_module(compression), _KNOWN[compression].compress)(data)  # type: ignore[no-any-return] # bytes


def decompress(data: bytes, compression: str) -> bytes:
    """Return ``data`` decompressed.

    Args:
        data: as it came.
        compression: a MIME type, as the header has it.

    Raises:
        ProtocolError: the compression is unknown, the data is broken, or more than 256 MiB come out.
    """
    known = _KNOWN.get(compression)
    if known is None:
        accepted = ", ".join(_KNOWN)
        raise ProtocolError(f"compression {compression[:80]!r} is not accepted; accepted are {accepted}")
    try:
        decompressor: Any = getattr(_module(compression), known.decompressor)(**known.options)
        plain: bytes = decompressor.decompress(data, MAX_BODY_BYTES + 1)
    except Exception as error:
        # zlib.error, LZMAError, ZstdError, OSError, EOFError, MemoryError, ImportError: one class a library
        raise ProtocolError(f"the body cannot be decompressed as {compression}: {error}") from error
    if len(plain) > MAX_BODY_BYTES:
        raise ProtocolError(f"the body has more than {MAX_BODY_BYTES} bytes when decompressed")
    if not decompressor.eof:
        raise ProtocolError(f"the body cannot be decompressed as {compression}: its end is missing")
    return plain


def _module(compression: str) -> Any:
    name = _KNOWN[compression].module
    try:
        return import_module(name)
    except ImportError as error:
        raise PluginError(
            f"{compression} needs {name!r}, which is not installed; pip install 'celeriac[zstd]'"
            if name == _ZSTD
            else f"{compression} needs {name!r}, without which this Python was built"
        ) from error
