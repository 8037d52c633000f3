"""What the tasks of a simulation do when they are run: drawn by the caller, acted out by the executors."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac.protocol import ErrorData
from celeriac.worker.job import Failed, Ignored, Refused, Rejected, Retried, Snoozed, Succeeded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from random import Random

    from celeriac.worker.job import Result


class Kind(enum.Enum):
    """What a task is like; the value is its name, and what its id begins with.

    Some need a word. ``POISON`` kills its executor whenever it runs, ``SHAKY`` the first time; ``ASSASSIN`` kills the
    whole worker. ``FLAKY`` succeeds after some retries, ``HOPELESS`` never. ``EARLY`` has an eta that only the worker
    keeps. ``LETHARGIC`` expires soon. ``ENDLESS`` runs into its time limit. ``REVOKED`` and ``CANCELLED``, which is a
    coroutine, are revoked soon after they were sent. Nobody can read the headers of ``UNREADABLE``, nor the body of
    ``UNDECODABLE``.
    """

    PLAIN = "plain"
    COROUTINE = "coro"
    FAILING = "fail"
    FLAKY = "flaky"
    HOPELESS = "hopeless"
    POISON = "poison"
    SHAKY = "shaky"
    ASSASSIN = "assassin"
    REJECTED = "reject"
    GIVEN_BACK = "giveback"
    SNOOZING = "snooze"
    IGNORED = "ignore"
    UNKNOWN = "unknown"
    UNREADABLE = "garbage"
    UNDECODABLE = "mangled"
    DELAYED = "later"
    EARLY = "early"
    LETHARGIC = "expires"
    ONCE = "once"
    SILENT = "silent"
    PARENT = "parent"
    ENDLESS = "endless"
    REVOKED = "revoked"
    CANCELLED = "cancel"


DELAYED = {Kind.DELAYED, Kind.EARLY, Kind.REVOKED}
WEIGHTS = {
    Kind.PLAIN: 12,
    Kind.COROUTINE: 8,
    Kind.FLAKY: 3,
    Kind.DELAYED: 3,
    Kind.LETHARGIC: 3,
    Kind.ONCE: 2,
    Kind.PARENT: 2,
    Kind.SHAKY: 2,
    Kind.REVOKED: 2,
    Kind.CANCELLED: 2,
    Kind.POISON: 1,
    Kind.ASSASSIN: 0.3,
}
CHILDREN = 2
SECONDS = (0.0, 0.01, 0.1, 0.5, 3.0)
FOREVER = 3600.0
RETRY_DELAY = 0.5
APART = 0.3  # seconds in which calls of one moment are made
FORCED = 0.5  # the share of revocations by force
WAITING = 0.3  # the share of calls whose caller waits
NEVER_TOLD = {Kind.IGNORED, Kind.SILENT, Kind.ONCE, Kind.UNREADABLE}  # kinds that may end without a result


class Death(enum.Enum):
    """A run that ends its executor, or the whole worker."""

    EXECUTOR = "kills its executor"
    WORKER = "kills its worker"


@dataclass(slots=True, kw_only=True, eq=False)
class Plan:
    """One task to be sent.

    Attributes:
        id: the task's id.
        kind: what it is like.
        seconds: how long a run takes.
        times: how often it misbehaves before it is well, where that is its kind.
        queue: where it is sent.
        priority: 0 to 9.
        countdown: seconds before it may start.
        expires: seconds after which it is not run.
        limit: seconds after which it is ended.
        revoke: seconds after which its caller revokes it.
        terminate: it does so by force.
        sent: seconds of the simulation at which the call is made.
        waits: the caller waits for the result.
        confirmed: the caller was told that the broker has it.
        not_before: the moment before which it may not start.
        not_after: the moment from which it may not start.
        revoked: seconds of the simulation at which the broker knew that it is revoked.
        begun: how often a run began.
        heard: the state that a waiting caller was told.
    """

    id: str
    kind: Kind
    seconds: float
    times: int = 0
    queue: str = ""
    priority: int = 0
    countdown: float | None = None
    expires: float | None = None
    limit: float | None = None
    revoke: float | None = None
    terminate: bool = False
    sent: float = 0.0
    waits: bool = False
    confirmed: bool = False
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked: float | None = None
    begun: int = 0
    heard: str | None = None

    @classmethod
    def drawn(cls, number: int, random: Random, queues: dict[str, int], moments: Sequence[float]) -> Plan:
        """Return the plan of one call.

        Args:
            number: makes its id.
            random: draws the rest.
            queues: the number of priorities of each.
            moments: seconds of the simulation at which many are sent.
        """
        kinds = list(Kind)
        kind = random.choices(kinds, [WEIGHTS.get(each, 1) for each in kinds])[0]
        queue = random.choice(list(queues))
        return cls(
            id=f"{kind.value}-{number}",
            kind=kind,
            seconds=FOREVER if kind is Kind.ENDLESS else random.choice(SECONDS) * (0.5 + random.random()),
            times=random.randint(1, 3),
            queue=queue,
            priority=random.randrange(queues[queue]),
            countdown=20 * random.random() ** 3 if kind in DELAYED else None,
            expires=4 * random.random() ** 2 if kind is Kind.LETHARGIC else None,
            limit=0.5 * random.random() if kind is Kind.ENDLESS else None,
            revoke=3 * random.random() if kind in {Kind.REVOKED, Kind.CANCELLED} else None,
            terminate=random.random() < FORCED,
            sent=random.choice(moments) + APART * random.random(),
            waits=kind not in NEVER_TOLD and random.random() < WAITING,
        )

    def child(self, number: int) -> Plan:
        """Return the plan of a task that this one sends while it runs."""
        return Plan(id=f"{self.id}.{number}", kind=Kind.PLAIN, seconds=0.01, queue=self.queue, priority=self.priority)

    def act(self, attempt: int) -> Result | Death:  # noqa: C901 - a table of the kinds
        """Return how a run ends: the one with this ``attempt`` number, of `begun` runs begun, this one included."""
        match self.kind:
            case Kind.FAILING:
                return Failed(error=ERROR, traceback="", seconds=self.seconds)
            case Kind.HOPELESS if attempt > self.times:
                return Failed(error=ERROR, traceback="", seconds=self.seconds, exhausted=True)
            case Kind.FLAKY | Kind.HOPELESS if attempt <= self.times:
                return Retried(error=ERROR, traceback="", delay=RETRY_DELAY * attempt, seconds=self.seconds)
            case Kind.POISON:
                return Death.EXECUTOR
            case Kind.SHAKY if self.begun == 1:
                return Death.EXECUTOR
            case Kind.ASSASSIN:
                return Death.WORKER
            case Kind.REJECTED:
                return Refused(reason="not wanted", requeue=False)
            case Kind.GIVEN_BACK if self.begun <= self.times:
                return Refused(reason="not now", requeue=True)
            case Kind.SNOOZING if self.begun <= self.times:
                return Snoozed(delay=RETRY_DELAY)
            case Kind.IGNORED:
                return Ignored(seconds=self.seconds)
            case Kind.UNDECODABLE:
                return Rejected(reason="undecodable", detail="its body is no JSON")
        return Succeeded(
            body=b"null", content_type="application/json", content_encoding="utf-8", shown="None", seconds=self.seconds
        )


ERROR = ErrorData(type="ValueError", module="builtins", args=["no"], message="no")
