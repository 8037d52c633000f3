"""Reading the body of a task message: where it is run, never in the worker's parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.codec import carries_code
from celeriac.errors import ProtocolError, UnsupportedWorkflow
from celeriac.protocol.compression import decompress

if TYPE_CHECKING:
    from celeriac.codec import Codecs
    from celeriac.signing import TaskPlace

_WORKFLOWS = ("callbacks", "errbacks", "chain", "chord")
_PARTS = 3


def decode_body(
    codecs: Codecs,
    body: bytes,
    content_type: str,
    content_encoding: str,
    compression: str | None = None,
    *,
    place: TaskPlace | None = None,
    signature: str | None = None,
) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Return the positional arguments, the keyword arguments and the embed table of a task message.

    Args:
        codecs: decode it.
        body: as it came.
        content_type: of the body.
        content_encoding: of the body.
        compression: MIME type of the body's compression, from the header ``compression``.
        place: what a body that can run code must have been signed for.
        signature: of such a body; it is verified before anything is looked at.

    Raises:
        DecodeError: that content type is not accepted, or the bytes are not of it.
        UntrustedMessage: the body can run code, and was not signed for this place.
        ProtocolError: they are, and no task could be run with them; or they cannot be decompressed, or are more than
            256 MiB then.
        UnsupportedWorkflow: callbacks, errbacks, a chain or a chord are asked for.
    """
    trusted = place is not None and carries_code(codecs.acceptable(content_type))
    if trusted and place is not None:
        codecs.signer.verify_task(signature, place, body)
    if compression:
        body = decompress(body, compression)
    parts = codecs.decode(body, content_type, content_encoding, trusted=trusted)
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


def _kind(value: object) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else f"of type {type(value).__name__}"
