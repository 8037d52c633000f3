"""Reading the headers of a task message: once a message, in the worker's parent, before anything else is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celeriac.errors import ProtocolError
from celeriac.protocol.own import PLAIN, OwnTable
from celeriac.protocol.when import parse_when
from celeriac.transport_helpers import OWN_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from celeriac.message import Message

TimeLimit = tuple[float | None, float | None]

# fmt: off
RESERVED = frozenset({
    # the headers of a message
    "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id",
    "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers",
    "stamps", "compression",
    # the further names of Celery's request, which it does not take for custom headers either
    "args", "kwargs", "callbacks", "errbacks", "chain", "chord", "hostname", "delivery_info", "correlation_id",
    "reply_to", "properties", "headers", "called_directly", "is_eager", "loglevel", "logfile", "taskset", "time_limit",
    "soft_time_limit", "utc",
    OWN_HEADER,
})
# fmt: on
_NO_LIMIT: TimeLimit = (None, None)
_FOREVER = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHeader:
    """The headers of one task message.

    Attributes:
        id: the task's id.
        task: the task's name.
        retries: how often it was retried.
        eta: not to be run before.
        expires: not to be run after.
        root_id: the first task of its workflow; its own id if that is not said.
        parent_id: the task that sent it.
        group: the group it is a member of.
        group_index: its place in the group, from 0.
        ignore_result: whether the caller wants no result; ``None`` is for the task to say.
        timelimit: seconds, hard and soft; ``None`` is no limit of the message's own.
        origin: who sent it, for people.
        shadow: the name to show instead of ``task``.
        argsrepr: the arguments, for people.
        kwargsrepr: the keyword arguments, for people.
        compression: MIME type of the body's compression.
        own: the table ``celeriac``.
        custom: the headers that are neither Celery's nor ours.
    """

    id: str
    task: str
    retries: int = 0
    eta: datetime | None = None
    expires: datetime | None = None
    root_id: str = ""
    parent_id: str | None = None
    group: str | None = None
    group_index: int | None = None
    ignore_result: bool | None = None
    timelimit: TimeLimit = _NO_LIMIT
    origin: str = ""
    shadow: str | None = None
    argsrepr: str = ""
    kwargsrepr: str = ""
    compression: str | None = None
    own: OwnTable = PLAIN
    custom: Mapping[str, Any] = field(default_factory=dict)

    @property
    def attempt(self) -> int:
        """The run this message asks for, from 1."""
        return self.retries + 1


def parse_header(message: Message) -> TaskHeader:
    """Return what the headers of ``message`` say.

    Only ``task`` and ``id`` must be there. What merely informs (``root_id``, ``group``, ``origin``, ...) and is not of
    its type counts as missing, as nothing depends on it; what decides when and how to run must be right.

    Raises:
        ProtocolError: this is no message that could be run.
    """
    headers = message.headers
    get = headers.get
    task, task_id, retries, timelimit = get("task"), get("id"), get("retries"), get("timelimit")
    eta, expires, compression, ignore_result = get("eta"), get("expires"), get("compression"), get("ignore_result")
    root_id, parent_id, group, group_index = get("root_id"), get("parent_id"), get("group"), get("group_index")
    origin, shadow, argsrepr, kwargsrepr = get("origin"), get("shadow"), get("argsrepr"), get("kwargsrepr")
    if type(task) is not str or type(task_id) is not str or not task or not task_id:
        raise ProtocolError(_no_task(headers))
    return TaskHeader(
        id=task_id,
        task=task,
        retries=retries if type(retries) is int and retries >= 0 else _retries(retries),
        eta=None if eta is None else _moment("eta", eta),
        expires=None if expires is None else _moment("expires", expires),
        root_id=root_id if type(root_id) is str else task_id,
        parent_id=parent_id if type(parent_id) is str else None,
        group=group if type(group) is str else None,
        group_index=group_index if type(group_index) is int else None,
        ignore_result=None if ignore_result is None else bool(ignore_result),
        timelimit=_NO_LIMIT if not timelimit or timelimit == [None, None] else _timelimit(timelimit),
        origin=origin if type(origin) is str else "",
        shadow=shadow if type(shadow) is str else None,
        argsrepr=argsrepr if type(argsrepr) is str else "",
        kwargsrepr=kwargsrepr if type(kwargsrepr) is str else "",
        compression=_compression(compression) if compression else None,
        own=OwnTable.from_headers(headers),
        custom={} if RESERVED.issuperset(headers) else _custom(headers),
    )


def _no_task(headers: Mapping[str, Any]) -> str:
    """Return why headers without a proper task and id are refused."""
    for name in ("task", "id"):
        value = headers.get(name)
        if name not in headers:
            hint = "; messages of protocol 1 (task_protocol=1) are not read" if name == "task" else ""
            return f"the header {name!r} is missing{hint}"
        if not isinstance(value, str) or not value:
            return f"the header {name!r} is {value!r:.80}; it must be text, and not empty"
    raise AssertionError("called for headers that are right")


def _moment(name: str, value: object) -> datetime:
    try:
        return parse_when(value)
    except ProtocolError as error:
        raise ProtocolError(f"the header {name!r}: {error}") from None


def _retries(value: object) -> int:
    if value is None:
        return 0
    raise ProtocolError(f"the header 'retries' is {value!r:.80}; it must be a number from 0")


def _timelimit(value: object) -> TimeLimit:
    if not isinstance(value, list | tuple) or len(value) != len(_NO_LIMIT):
        raise ProtocolError(f"the header 'timelimit' is {value!r:.80}; it must be a list of two: hard and soft")
    hard, soft = value
    return _seconds(hard), _seconds(soft)


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if (type(value) is not int and type(value) is not float) or not value >= 0:  # nor NaN
        raise ProtocolError(f"the header 'timelimit' holds {value!r:.80}; it must be a number of seconds")
    return value if 0 < value < _FOREVER else None  # 0 is no limit, as a Celery worker has it


def _compression(value: object) -> str:
    if type(value) is not str:
        raise ProtocolError(f"the header 'compression' is {value!r:.80}; it must be text")
    return value


def _custom(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in headers.items() if name not in RESERVED}
