"""What the executors did: every run that began, how it ended, and whether that may have been."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from celeriac import states
from celeriac.message import Ack
from celeriac.testing.simulation.node import SLOWEST, running_node
from celeriac.testing.simulation.plan import Kind
from celeriac.testing.simulation.promises import not_promised
from celeriac.worker.admit import EARLY
from celeriac.worker.job import Died, Ignored

if TYPE_CHECKING:
    from celeriac.message import Action, Delivery
    from celeriac.testing.simulation.clock import LoopClock
    from celeriac.testing.simulation.ledger import Ledger
    from celeriac.testing.simulation.plan import Plan
    from celeriac.testing.simulation.story import Story
    from celeriac.worker.job import Job, Outcome

HEARD_AFTER = 1.0 + 2 * SLOWEST


class Runs:
    """Every run; it is told by the simulated pools.

    Attributes:
        plans: what each task is to do, by its id.
    """

    def __init__(self, story: Story, clock: LoopClock, ledger: Ledger, *, max_deliveries: int) -> None:
        """Begin with nothing run."""
        self.plans: dict[str, Plan] = {}
        self._story = story
        self._clock = clock
        self._ledger = ledger
        self._max_deliveries = max_deliveries
        self._taken: set[object] = set()  # tokens of deliveries
        self._begun: dict[object, Job] = {}  # by the token of the delivery
        self._ended: dict[object, Outcome] = {}

    def taken(self, job: Job) -> None:
        """Take note that a pool was given a job, perhaps once more; it may still wait there for a while."""
        plan, now, token = self.plans[job.header.id], self._clock.now(), job.delivery.token
        if token not in self._taken and plan.not_after is not None and now >= plan.not_after:
            late = (now - plan.not_after).total_seconds()
            self._story.broken("expiry", f"admitted {late:.3f} s after it expired", plan.id)
        self._taken.add(token)

    def began(self, job: Job) -> Plan:
        """Take note that an executor has begun a job; return what it is to do."""
        plan, now = self.plans[job.header.id], self._clock.now()
        plan.begun += 1
        self._begun[job.delivery.token] = job
        self._story.tell(f"run {plan.begun} begins, attempt {job.header.attempt}", plan.id)
        tolerance = EARLY if plan.kind is Kind.EARLY else timedelta(0)
        if plan.not_before is not None and now < plan.not_before - tolerance:
            self._story.broken("delays", f"begun before {plan.not_before}", plan.id)
        if plan.not_after is not None and now >= plan.not_after:
            self._story.broken("expiry", f"begun at {now}, expired at {plan.not_after}", plan.id)
        self._check_revoked(job, plan)
        if not job.acks_late or job.ignore_result:
            self._ledger.copy_of(job.delivery).excused = True
        return plan

    def _check_revoked(self, job: Job, plan: Plan) -> None:
        """What was delivered well after it was revoked must not run, except where the worker could not be told."""
        handed_at, told = self._ledger.copy_of(job.delivery).handed_at, not running_node().silent
        if plan.revoked is not None and told and handed_at > plan.revoked + HEARD_AFTER:
            text = f"delivered {handed_at - plan.revoked:.1f} s after it was revoked, and begun"
            self._story.broken("revocations", text, plan.id)

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Take note of an outcome, just before the worker is told."""
        self._ended[job.delivery.token] = outcome
        self._story.tell(f"run ends: {type(outcome).__name__}", job.header.id)
        copy = self._ledger.copy_of(job.delivery)
        if isinstance(outcome, Died):
            copy.fatal.add(job.delivery.token)
        copy.excused = copy.excused or isinstance(outcome, Ignored)

    def left(self, delivery: Delivery) -> None:
        """Check that a delivery which its consumer leaves behind is not run at this moment."""
        if delivery.token in self._begun and delivery.token not in self._ended:
            self._story.broken("nothing runs on", "its consumer leaves while it runs", delivery.message.id)

    def settling(self, delivery: Delivery, action: Action) -> None:
        """Check what a worker is about to have settled."""
        job, outcome = self._begun.get(delivery.token), self._ended.get(delivery.token)
        if job is not None and outcome is not None:
            wrong = not_promised(job, outcome, action, self._max_deliveries, exact=self._ledger.exact)
        elif job is not None:
            wrong = f"settled by {action} while it runs" if job.acks_late else None
        else:
            wrong = self._wrong_unrun(delivery, action)
        if wrong is not None:
            self._story.broken("what decide promises", wrong, delivery.message.id)

    def _wrong_unrun(self, delivery: Delivery, action: Action) -> str | None:
        """Return what is wrong with acking what was not run: a final result must stand."""
        plan = self.plans.get(delivery.message.id)
        silent = plan is not None and plan.kind is Kind.SILENT
        record = self._ledger.records.get(delivery.message.id)
        if isinstance(action, Ack) and not silent and (record is None or record.state not in states.FINAL):
            return "acked without having been run"
        return None
