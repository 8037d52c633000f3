"""What must be true when all is over: each task that a broker ever had has come to the end that its kind may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac import states
from celeriac.testing.simulation.plan import Kind

if TYPE_CHECKING:
    from celeriac.testing.simulation.broker import Outside
    from celeriac.testing.simulation.ledger import Copy
    from celeriac.testing.simulation.plan import Plan

# what may befall any task by the faults of the world; the ledger has checked that it was so
BY_FAULT = frozenset({"lost", "crashed"})
SUCCEED, FAIL = frozenset({states.SUCCESS}), frozenset({states.FAILURE})
ENDS = {
    Kind.FAILING: FAIL,
    Kind.HOPELESS: FAIL,
    Kind.REJECTED: FAIL,
    Kind.UNDECODABLE: FAIL,
    Kind.UNKNOWN: FAIL,
    Kind.POISON: FAIL,
    Kind.ASSASSIN: FAIL,
    Kind.LETHARGIC: frozenset({states.SUCCESS, states.REVOKED}),
    Kind.PARENT: frozenset({states.SUCCESS, states.FAILURE}),  # its own publishes may fail
    Kind.ENDLESS: FAIL,
    Kind.REVOKED: frozenset({states.SUCCESS, states.REVOKED}),
    Kind.CANCELLED: frozenset({states.SUCCESS, states.REVOKED}),
    Kind.ONCE: frozenset({states.SUCCESS, states.FAILURE}),
}
LETTERS = {
    Kind.HOPELESS: "exhausted",
    Kind.REJECTED: "rejected",
    Kind.UNDECODABLE: "undecodable",
    Kind.UNREADABLE: "undecodable",
    Kind.UNKNOWN: "unknown",
}
NO_RESULT = {Kind.IGNORED, Kind.SILENT, Kind.UNREADABLE}


class Reckoning:
    """The end of one simulation, looked at task by task."""

    def __init__(self, outside: Outside, max_deliveries: int) -> None:
        """Look at ``outside``."""
        self._story = outside.story
        self._records = outside.ledger.records
        self._plans = outside.runs.plans
        self._max_deliveries = max_deliveries
        self._copies: dict[str, list[Copy]] = {}
        self._letters: dict[str, set[str]] = {}
        for copy in outside.ledger.copies.values():
            if copy.queue:
                self._copies.setdefault(copy.message.id, []).append(copy)
        for copy, reason in outside.ledger.letters:
            self._letters.setdefault(copy.message.id, set()).add(reason)

    def check(self) -> None:
        """Note in the story every promise that was not kept."""
        for task_id, plan in self._plans.items():
            copies = self._copies.get(task_id, [])
            if plan.confirmed and not copies:
                self._story.broken("never lost", "confirmed, and never stored", task_id)
            if copies:
                self._check_letters(plan)
                self._check_result(plan)
                self._check_deaths(copies)

    def _check_letters(self, plan: Plan) -> None:
        letters, wanted = self._letters.get(plan.id, set()), LETTERS.get(plan.kind)
        for reason in letters - BY_FAULT - {wanted}:
            self._story.broken("dead letters", f"set aside as {reason!r}", plan.id)
        if plan.kind is Kind.UNREADABLE and not letters:
            self._story.broken("never lost", "gone without a dead letter", plan.id)
        if plan.kind in {Kind.POISON, Kind.ASSASSIN} and not letters:
            self._story.broken("dead letters", "never set aside", plan.id)

    def _check_result(self, plan: Plan) -> None:
        """A result must stand; a failure that is no fault of the task must have its dead letter."""
        letters, record = self._letters.get(plan.id, set()), self._records.get(plan.id)
        if record is None or record.state not in states.FINAL:
            if not self._may_have_no_result(plan, letters):
                found = "nothing" if record is None else record.state
                self._story.broken("never lost", f"the store has {found} in the end", plan.id)
            return
        ends = ENDS.get(plan.kind, SUCCEED)
        if record.state not in ends and not (record.state in FAIL and letters & BY_FAULT):
            self._story.broken("the right end", f"{record.state}, dead letters {sorted(letters)}", plan.id)
        if plan.kind is Kind.FLAKY and record.state == states.SUCCESS and record.attempt != plan.times + 1:
            self._story.broken("attempts", f"attempt {record.attempt} after {plan.times} retries", plan.id)
        if plan.heard not in {None, record.state}:
            self._story.broken("waiting", f"its caller was told {plan.heard}, the store has {record.state}", plan.id)

    @staticmethod
    def _may_have_no_result(plan: Plan, letters: set[str]) -> bool:
        if plan.kind is Kind.ONCE:
            return plan.begun > 0
        if plan.kind is Kind.SILENT:
            return plan.begun > 0 or bool(letters)
        return plan.kind in NO_RESULT

    def _check_deaths(self, copies: list[Copy]) -> None:
        """Of the copies that replace one another, at most so many may have ended an executor."""
        for copy in copies:
            deadly = sum(each.deaths > 0 for each in copy.line)
            if deadly > self._max_deliveries:
                self._story.broken("poison", f"copy {copy.number} is the last of {deadly} that killed", copy.message.id)
                return
