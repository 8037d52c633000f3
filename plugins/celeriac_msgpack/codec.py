"""MessagePack, and in it kombu's typed values for what MessagePack lacks.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md, and kombu's ``kombu/serialization.py``, which writes
text and bytes apart (``use_bin_type``). A value of a type that MessagePack has travels as what it is, bytes among them.
"""

from __future__ import annotations

from typing import Any, cast

import msgpack

from celeriac.errors import DecodeError, EncodeError
from celeriac.json_codec import JSON, JsonCodec, UncarriableError, revive, typed_value

_AS_DATETIME = 3  # what msgpack's ``timestamp`` calls aware moments


class MsgpackCodec:
    """MessagePack. Integers have 64 bits at most; keys of a dict may be numbers, which Celery's workers refuse."""

    content_type = "application/x-msgpack"
    content_encoding = "binary"

    def encode(self, value: Any) -> bytes:
        """Return ``value`` as MessagePack.

        Raises:
            EncodeError: names where in the value the culprit is, if JSON cannot carry it either.
        """
        try:
            return cast("bytes", msgpack.packb(value, default=_typed_value, use_bin_type=True))
        except Exception as error:  # __json__ is user code
            raise self._blame(value, error) from error

    def decode(self, data: bytes) -> Any:
        """Return the value.

        Raises:
            DecodeError: broken MessagePack, an extension type, or a typed value that is unknown or broken.
        """
        try:
            return msgpack.unpackb(
                data,
                raw=False,
                strict_map_key=False,
                object_hook=revive,
                ext_hook=_refuse_extension,
                timestamp=_AS_DATETIME,
            )
        except Exception as error:
            # ValueError and what is under it, TypeError for a key that is a list, OverflowError for a moment
            raise DecodeError(f"the MessagePack cannot be read: {type(error).__name__}: {error}") from error

    def _blame(self, value: Any, error: Exception) -> EncodeError:
        """Return the error that names the culprit: JSON's, which looks for it, if JSON refuses it too."""
        try:
            JsonCodec().encode(value)
        except EncodeError as found:
            problem = found.problem.replace(JSON, self.content_type)
            return EncodeError(problem, root="value", path=found.path)
        return EncodeError(
            f"it cannot be carried as {self.content_type}: {type(error).__name__}: {error}", root="value"
        )


def _typed_value(value: Any) -> Any:
    if isinstance(value, int):
        raise UncarriableError("an integer has 64 bits at most; pass it as text or as a Decimal")
    return typed_value(value)


def _refuse_extension(code: int, data: bytes) -> Any:
    del data
    raise ValueError(f"extension type {code} is unknown")
