"""What waits in the queues of a sandbox, and the assertions about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.errors import CodecError, NotRegistered
from celeriac.testing.sandbox.enqueued import Enqueued, Expected, explain
from celeriac.topology import DEAD_SUFFIX

if TYPE_CHECKING:
    from celeriac.app import App
    from celeriac.task import Task
    from celeriac.testing.sandbox.broker import Stored, Transparent

WAITING = ("ready", "paused", "delayed")


class Waiting:
    """The half of a `Sandbox` that only looks.

    Attributes:
        app: the App.
    """

    app: App
    _eye: Transparent

    def enqueued(self, task: Task[..., Any] | str | None = None) -> list[Enqueued]:
        """Return what waits, or only calls of one task: queue by queue, next first, those that are delayed last."""
        name = task if task is None or isinstance(task, str) else task.name
        found = []
        for stored in self._contents():
            if stored.state in WAITING and (name is None or stored.message.headers.get("task") == name):
                try:
                    found.append(Enqueued.of(self.app, stored))
                except CodecError:
                    continue  # no task message: someone else's
        return found

    def assert_enqueued(self, task: Task[..., Any] | str, *, count: int | None = None, **expected: Any) -> None:
        """Check that a call waits.

        Args:
            task: the task, or its name.
            count: how many such calls wait; by default at least one.
            **expected: ``args``, ``kwargs``, ``queue``, ``priority`` and ``countdown``, as `Expected` has them.

        Raises:
            AssertionError: none does; it shows what is enqueued instead, and in what it differs.
        """
        wanted = Expected(self.app, task, **expected)
        waiting = self.enqueued()
        matching = sum(each.task == wanted.task and not wanted.differences(each) for each in waiting)
        if (count is None and not matching) or (count is not None and matching != count):
            raise AssertionError(explain(wanted, waiting, matching, count))

    def refute_enqueued(self, task: Task[..., Any] | str, **expected: Any) -> None:
        """Check that no such call waits; as `assert_enqueued`.

        Raises:
            AssertionError: one does; it is shown.
            NotRegistered: the App has no such task, so that its absence would say nothing.
        """
        wanted = Expected(self.app, task, **expected)
        if wanted.unknown:
            raise NotRegistered(wanted.unknown)
        found = [each for each in self.enqueued(wanted.task) if not wanted.differences(each)]
        if found:
            shown = "".join(f"\n  + {each}" for each in found)
            raise AssertionError(f"enqueued, and not to be:\n  - {wanted}{shown}")

    def _contents(self) -> list[Stored]:
        """Return what is in the broker, dead letters left out; what is on its way there is waited for."""
        if (deferred := self.app.client.deferred) is not None:
            deferred.wait()
        return [each for each in self._eye.contents() if not each.queue.endswith(DEAD_SUFFIX)]
