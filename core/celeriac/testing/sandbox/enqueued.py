"""What waits in the queues, compared with what a test expects."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celeriac.errors import CodecError, UnknownOption, did_you_mean
from celeriac.protocol import decode_body, parse_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from celeriac.app import App
    from celeriac.message import Message
    from celeriac.task import Task
    from celeriac.testing.sandbox.broker import Stored

SLACK_SECONDS = 5.0
OPTIONS = ("queue", "priority")
_ANYTHING = inspect.signature(lambda *args, **kwargs: (args, kwargs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """A task that waits in a queue, as a worker would read it.

    Attributes:
        task: its name.
        id: the task's id.
        args: its arguments, decoded.
        kwargs: those given by name.
        queue: where it waits.
        priority: 0 to 9.
        countdown: seconds until it may start, from now; ``None`` if it may start now.
        eta: that moment.
        attempt: which run it waits for, from 1.
        message: all of it.
    """

    task: str
    id: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    queue: str
    priority: int
    countdown: float | None
    eta: datetime | None
    attempt: int
    message: Message

    @classmethod
    def of(cls, app: App, stored: Stored) -> Enqueued:
        """Read a stored message.

        Raises:
            CodecError: it is no task message, or its body cannot be decoded.
        """
        message = stored.message
        header = parse_header(message)
        args, kwargs, _ = decode_body(
            app.codecs, message.body, message.content_type, message.content_encoding, header.compression
        )
        wait = None if stored.due is None else (stored.due - app.clock.now()).total_seconds()
        return cls(
            task=header.task,
            id=header.id,
            args=args,
            kwargs=kwargs,
            queue=stored.queue,
            priority=message.priority,
            countdown=wait,
            eta=stored.due,
            attempt=header.attempt,
            message=message,
        )

    def __str__(self) -> str:
        """Return the call as it would be written, with where it waits."""
        call = [repr(value) for value in self.args] + [f"{name}={value!r}" for name, value in self.kwargs.items()]
        due = "" if self.countdown is None else f" in {self.countdown:.0f} s"
        return f"{self.task}({', '.join(call)}) in {self.queue!r}{due}"


class Expected:
    """What a test expects of a call."""

    def __init__(
        self,
        app: App,
        task: Task[..., Any] | str,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        countdown: float | None = None,
        **options: Any,
    ) -> None:
        """Expect a call of ``task``; what is ``None`` may be anything.

        Args:
            app: whose codecs the arguments go through, so that both sides are compared as a worker would see them.
            task: the task, or its name; a task that the App does not have is another program's.
            args: all its positional arguments; without ``kwargs``, all there are.
            kwargs: arguments by name; without ``args``, some of them.
            countdown: seconds until it may start, give or take 5; 0 for at once.
            **options: ``queue`` and ``priority``.

        Raises:
            UnknownOption: there is no such expectation.
        """
        for name in options:
            if name not in OPTIONS:
                raise UnknownOption("expectation", name, ("args", "kwargs", "countdown", *OPTIONS))
        self.task = task if isinstance(task, str) else task.name
        known = app.tasks.get(self.task)
        self.unknown = "" if known else f"no task {self.task!r} in this App{did_you_mean(self.task, app.tasks)}"
        self._signature = known._signature if known else _ANYTHING
        self._app = app
        self._partial = args is None
        given = None if args is None and kwargs is None else self._carried(args or (), kwargs or {})
        self.arguments = None if given is None else self._by_name(*given)
        self.countdown = countdown
        self.options = {name: value for name, value in options.items() if value is not None}

    def _carried(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments as they would arrive; what cannot be sent, `unittest.mock.ANY` say, stays as it is."""
        return [self._arrived(value) for value in args], {name: self._arrived(value) for name, value in kwargs.items()}

    def _arrived(self, value: Any) -> Any:
        try:
            return self._app.codecs.decode(*self._app.codecs.encode(value))
        except CodecError:
            return value

    def _by_name(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments by the names of the function, so that ``f(1)`` is ``f(x=1)``."""
        try:
            bound = self._signature.bind_partial(*args, **kwargs)
        except TypeError:
            return {**{str(place): value for place, value in enumerate(args)}, **kwargs}
        if not self._partial:
            bound.apply_defaults()
        return dict(bound.arguments)

    def differences(self, found: Enqueued) -> list[str]:
        """Return in what ``found`` is not what was expected, a line each."""
        lines = []
        if self.arguments is not None:
            there = self._by_name(found.args, found.kwargs)
            names = [name for name in self.arguments if self._partial] or [*self.arguments, *there]
            for name in dict.fromkeys(names):
                lines += _difference(name, self.arguments.get(name, _NOTHING), there.get(name, _NOTHING))
        for name, value in self.options.items():
            lines += _difference(name, value, getattr(found, name))
        if self.countdown is not None and abs(self.countdown - (found.countdown or 0.0)) > SLACK_SECONDS:
            lines.append(f"countdown: expected {self.countdown:g}, enqueued with {found.countdown or 0.0:.0f}")
        return lines

    def __str__(self) -> str:
        """Return the call as it would be written."""
        call = "..." if self.arguments is None else ", ".join(f"{name}={v!r}" for name, v in self.arguments.items())
        more = ", ..." if self.arguments is not None and self._partial else ""
        options = [f"{name}={value!r}" for name, value in self.options.items()]
        options += [] if self.countdown is None else [f"countdown={self.countdown:g}"]
        return f"{self.task}({call}{more}){' with ' if options else ''}{', '.join(options)}"


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


_NOTHING = _Nothing()


def _difference(name: str, expected: Any, found: Any) -> list[str]:
    return [] if expected == found else [f"{name}: expected {expected!r}, enqueued with {found!r}"]


def explain(expected: Expected, waiting: Sequence[Enqueued], matching: int, wanted: int | None) -> str:
    """Return why an assertion failed: what was expected, and what is enqueued instead, the nearest first."""
    times = "" if wanted is None else f", {wanted} times, not {matching}"
    lines = [f"not enqueued{times}:", f"  - {expected}"]
    same = [each for each in waiting if each.task == expected.task]
    for each in sorted(same, key=lambda each: len(expected.differences(each))):
        lines.append(f"  + {each}")
        lines += [f"      {line}" for line in expected.differences(each)]
    others = [each for each in waiting if each.task != expected.task]
    lines += [f"    {each}" for each in others]
    if not waiting:
        lines.append("    nothing waits in any queue")
    if expected.unknown:
        lines.append(expected.unknown)
    return "\n".join(lines)
