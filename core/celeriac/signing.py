"""Signatures of what can run code: HMAC-SHA256 over the bytes and the place that they were made for.

A body that is moved to another task, id, queue or result has another place, and its signature does not fit there.
Whoever has a key can run code wherever it is accepted.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, NamedTuple

from celeriac.errors import UntrustedMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

SIGNATURE_BYTES = 32
LEAST_KEY_BYTES = 16
_PURPOSE = "celeriac 1"


class Secret:
    """A key that shows itself to nobody: neither in a ``repr``, nor as text, nor in a log."""

    __slots__ = ("_value",)

    def __init__(self, value: str | bytes) -> None:
        """Keep ``value``; text is taken as UTF-8.

        Raises:
            TypeError: it is neither text nor bytes.
            ValueError: it is too short to be a key.
        """
        if not isinstance(value, str | bytes):
            raise TypeError("a key is text or bytes")  # bytes(7) would be seven zeros
        self._value = value.encode() if isinstance(value, str) else value
        if len(self._value) < LEAST_KEY_BYTES:
            raise ValueError(
                f"a key has {LEAST_KEY_BYTES} bytes or more; make one by python -c 'import secrets; "
                "print(secrets.token_hex(32))'"
            )

    def reveal(self) -> bytes:
        """Return the key."""
        return self._value

    def __repr__(self) -> str:
        """Return ``**``."""
        return "**"

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        """Hash by the key."""
        return hash(self._value)


class TaskPlace(NamedTuple):
    """What the signature of a task message's body is bound to; all of it stays through retries and redeliveries.

    Attributes:
        task: the task's name.
        id: the task's id.
        queue: where it is to be run.
        expires: ISO 8601 in UTC; empty if it does not.
        content_type: of the body.
        content_encoding: of the body.
        compression: of the body; empty if it has none.
    """

    task: str
    id: str
    queue: str
    expires: str
    content_type: str
    content_encoding: str
    compression: str


class Signer:
    """Signs with the first of some keys, and accepts what any of them has signed, so that keys can be replaced.

    False where there is no key.
    """

    def __init__(self, keys: Sequence[Secret]) -> None:
        """Keep ``keys``."""
        self._keys = tuple(keys)

    def __bool__(self) -> bool:
        """Return whether there is a key."""
        return bool(self._keys)

    def __repr__(self) -> str:
        """Return how many keys there are, and none of them."""
        return f"<Signer: {len(self._keys)} keys>"

    def sign(self, place: Sequence[str], body: bytes) -> bytes:
        """Return the signature of ``body`` for ``place``, by the first key."""
        return hmac.digest(self._keys[0].reveal(), _signed(place, body), "sha256")

    def sign_task(self, place: TaskPlace, body: bytes) -> str:
        """Return the signature of a task message's body, as text for its header."""
        return self.sign(("task", *place), body).hex()

    def verify(self, signature: bytes, place: Sequence[str], body: bytes) -> None:
        """Return if one of the keys has signed ``body`` for ``place``. Takes as long whatever is wrong.

        Raises:
            UntrustedMessage: none has.
        """
        signed = _signed(place, body)
        fits = [hmac.compare_digest(hmac.digest(key.reveal(), signed, "sha256"), signature) for key in self._keys]
        if not any(fits):
            raise UntrustedMessage(
                f"no key of ours has signed this {place[0]} for this place: it is forged, was moved or changed, or its "
                "sender has another signing key"
            )

    def verify_task(self, signature: str | None, place: TaskPlace, body: bytes) -> None:
        """Return if one of the keys has signed a task message's body; raises as `verify`."""
        if not signature:
            raise UntrustedMessage(f"{place.content_type} carries code, and this message is not signed")
        try:
            given = bytes.fromhex(signature)
        except ValueError:
            given = b""
        self.verify(given, ("task", *place), body)


def _signed(place: Sequence[str], body: bytes) -> bytes:
    """Return what is signed: every part with its length before it, so that nothing moves from one to the next."""
    parts = [part.encode("utf-8", "surrogatepass") for part in (_PURPOSE, *place)] + [body]
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)
