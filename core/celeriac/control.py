"""What is said to running workers, by signal: best effort, heard by those that listen now, kept for nobody.

One signal is a JSON object. A name that a worker does not know is passed over, so that another version may say more.

    {"revoke": ["id", ...]}      these are not to be run
    {"terminate": ["id", ...]}   nor to go on, though their process must be killed
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

TOPIC = "celeriac.control"


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One signal to the workers.

    Attributes:
        revoke: ids of tasks that are not to be run.
        terminate: ids of tasks that are not to go on either, with whatever force that takes.
    """

    revoke: Sequence[str] = ()
    terminate: Sequence[str] = ()

    def encode(self) -> bytes:
        """Return the signal's body."""
        return json.dumps({"revoke": [*self.revoke], "terminate": [*self.terminate]}).encode("ascii")

    @classmethod
    def decode(cls, body: bytes) -> Control:
        """Return what a body says.

        Raises:
            ProtocolError: it is no JSON object, or what it says makes no sense.
        """
        try:
            table = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"a control signal cannot be read: {error}") from None
        if not isinstance(table, dict):
            raise ProtocolError(f"a control signal is no object: {table!r:.80}")
        return cls(revoke=_ids(table, "revoke"), terminate=_ids(table, "terminate"))


def _ids(table: dict[str, object], name: str) -> list[str]:
    ids = table.get(name, [])
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise ProtocolError(f"the control signal's {name!r} is {ids!r:.80}; it must be a list of ids")
    return ids
