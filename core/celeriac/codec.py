"""How values become bytes: one codec a content type, and the registry that finds it.

What a codec is given is plain data (see `celeriac.converters`). Codecs come from plugins, by content type or by its
short name: ``msgpack`` is ``application/x-msgpack``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from celeriac.errors import ConfigurationError, DecodeError, UntrustedMessage
from celeriac.json_codec import JSON, JsonCodec
from celeriac.signing import SIGNATURE_BYTES, Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.converters import CallTypes

_AS_IT_IS = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii", "binary"})


class Codec(Protocol):
    """One way to write values as bytes."""

    @property
    def content_type(self) -> str:
        """The MIME type, in lower case, without parameters."""
        ...

    @property
    def content_encoding(self) -> str:
        """The character set of what is written, or ``binary``."""
        ...

    # A codec whose bytes can run code when they are decoded says ``carries_code = True``: it is used with a signature
    # only, and is given values as they are, not their plain form.

    def encode(self, value: Any) -> bytes:
        """Return ``value`` as bytes.

        Raises:
            EncodeError: it cannot be carried.
        """
        ...

    def decode(self, data: bytes) -> Any:
        """Return the value that ``data`` stands for; never run what a stranger wrote.

        Raises:
            DecodeError: the bytes are not of this content type.
        """
        ...


class Codecs:
    """The codecs of an App: those that it encodes with, and those that it accepts.

    Attributes:
        signer: signs and verifies what can run code.
        json: of ``application/json``, accepted or not: errors and progress are always JSON.
    """

    def __init__(
        self,
        default: Codec | None = None,
        *,
        accept: Sequence[str] = ("json",),
        serializer: str = "json",
        result_serializer: str = "json",
        find: Callable[[str], Codec] | None = None,
        signer: Signer | None = None,
    ) -> None:
        """Load nothing yet.

        Args:
            default: encodes instead of ``serializer``, and is accepted.
            accept: names or content types that are decoded.
            serializer: encodes what does not say.
            result_serializer: encodes results that do not say.
            find: gives the codec of a name or content type that is not JSON.
            signer: with the App's keys.
        """
        self.json = JsonCodec()
        self.signer = signer or Signer(())
        self._find_codec = find or _unknown
        self._accept = tuple(accept)
        self._serializer = serializer
        self._result_serializer = result_serializer
        self._accepted: dict[str, Codec] = {}
        self._encoders: dict[str | None, Codec] = {}
        if default is not None:
            self._encoders[None] = self._accepted[default.content_type] = default

    @property
    def default(self) -> Codec:
        """What encodes if nothing is said."""
        return self.encoder(None)

    @property
    def accepted(self) -> tuple[str, ...]:
        """The content types that are decoded."""
        self.load()
        return tuple(self._accepted)

    def load(self) -> None:
        """Load what is accepted, so that what is missing is told at once and not by the first message.

        Raises:
            PluginError: a driver is not installed.
            ConfigurationError: nothing has one of the names; or one carries code, and there is no key to verify it by.
        """
        for name in self._accept:
            codec = self.encoder(name)
            self._accepted.setdefault(codec.content_type, codec)

    def register(self, codec: Codec) -> None:
        """Accept ``codec``'s content type, decoded with it.

        Raises:
            ConfigurationError: another codec has that content type.
        """
        self.load()
        if self._accepted.setdefault(codec.content_type, codec) is not codec:
            raise ConfigurationError(f"content type {codec.content_type!r} has a codec already")

    def encoder(self, name: str | None) -> Codec:
        """Return the codec of a name or content type; ``None`` is the default; raises as `load`."""
        codec = self._encoders.get(name)
        if codec is None:
            wanted = name or self._serializer
            codec = self.json if wanted in {"json", JSON} else self._find_codec(wanted)
            if carries_code(codec) and not self.signer:
                raise ConfigurationError(
                    f"{codec.content_type} carries code, which is taken from nobody without a key: give "
                    "signing_keys=[...] to the App, the same at both ends"
                )
            self._encoders[name] = codec
        return codec

    def encode(self, value: Any) -> tuple[bytes, str, str]:
        """Return ``value`` as bytes, their content type and content encoding.

        Raises:
            EncodeError: the default codec cannot carry it.
        """
        codec = self.encoder(None)
        return codec.encode(value), codec.content_type, codec.content_encoding

    def decode(self, data: bytes, content_type: str, content_encoding: str = "utf-8", *, trusted: bool = False) -> Any:
        """Return the value that ``data`` stands for.

        Args:
            data: the bytes.
            content_type: MIME type; its case and parameters (``; charset=utf-8``) do not matter.
            content_encoding: the codec's own; UTF-8, ASCII, ``binary`` and nothing are always taken.
            trusted: their signature was verified.

        Raises:
            DecodeError: that content type is not accepted, nor that encoding, or the codec cannot read the bytes.
            UntrustedMessage: they can run code, and nobody has verified their signature.
        """
        codec = self._accepted.get(content_type) or self.acceptable(content_type)
        if codec is self.json and content_encoding == "utf-8":
            return codec.decode(data)
        if content_encoding != codec.content_encoding and content_encoding.lower() not in {
            *_AS_IT_IS,
            codec.content_encoding.lower(),
        }:
            raise DecodeError(
                f"content encoding {content_encoding[:80]!r} is not accepted; {codec.content_type} is read as "
                f"{codec.content_encoding}"
            )
        if not trusted and carries_code(codec):
            raise UntrustedMessage(f"{codec.content_type} carries code, and has no signature here")
        return codec.decode(data)

    def encode_result(
        self, value: Any, task_id: str, types: CallTypes | None = None, serializer: str | None = None
    ) -> tuple[bytes, str, str]:
        """Return a task's result as bytes, their content type and content encoding; code with its signature before it.

        Args:
            value: what the task returned.
            task_id: the task's id, which a signature is bound to.
            types: what the task's annotations say of it.
            serializer: name or content type; ``None`` is the App's.

        Raises:
            ValidationError: it is not what the task is annotated with.
            EncodeError: the codec cannot carry it.
        """
        codec = self.encoder(serializer or self._result_serializer)
        plain = value if types is None else types.dump_result(value)
        if not carries_code(codec):
            return codec.encode(plain), codec.content_type, codec.content_encoding
        body, kind, encoding = codec.encode(value), codec.content_type, codec.content_encoding
        return self.signer.sign(("result", task_id, kind, encoding), body) + body, kind, encoding

    def decode_result(
        self, data: bytes, content_type: str, content_encoding: str, task_id: str, types: CallTypes | None = None
    ) -> Any:
        """Return the result that `encode_result` encoded, as what the annotations say; raises as `decode`.

        Raises:
            ValidationError: it is not what the task is annotated with.
        """
        codec = self._accepted.get(content_type) or self.acceptable(content_type)
        if carries_code(codec):
            signature, body = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
            self.signer.verify(signature, ("result", task_id, content_type, content_encoding), body)
            value = self.decode(body, content_type, content_encoding, trusted=True)
            if types is not None:
                types.dump_result(value)  # it is an object already, and only looked at
            return value
        value = self.decode(data, content_type, content_encoding)
        # what is stored of a task that wants no result is nothing, whatever it returns
        return value if types is None or value is None else types.load_result(value)

    def acceptable(self, content_type: str) -> Codec:
        """Return the codec of a content type that is accepted.

        Raises:
            DecodeError: it is not.
        """
        known = content_type.partition(";")[0].strip().lower()
        if known not in self._accepted:
            self.load()
        codec = self._accepted.get(known)
        if codec is None:
            accepted = ", ".join(self._accepted)
            raise DecodeError(
                f"content type {content_type[:80]!r} is not accepted; accepted are {accepted} (accept_content)"
            )
        return codec


def carries_code(codec: Codec) -> bool:
    """Return whether decoding ``codec``'s bytes can run code."""
    return getattr(codec, "carries_code", False)


def short_name(content_type: str) -> str:
    """Return what a content type is called in settings: ``application/x-msgpack`` is ``msgpack``, and so is that."""
    return content_type.rpartition("/")[2].removeprefix("x-")


def _unknown(name: str) -> Codec:
    raise ConfigurationError(f"no serializer {name!r}; there is json")
