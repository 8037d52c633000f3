"""An executor process: ``def`` tasks on its main thread, ``async def`` tasks on a loop in a second one.

The lanes between it and its worker:

- two *inboxes*: packets, one a job (see `celeriac.worker.executors.packets`), one for each kind of task;
- *outbox*: frames to the worker (see `celeriac.worker.executors.outbox`);
- *control*: frames from the worker, read by the loop: (RECEIPTS, number, receipts), (REFUSAL, number, error, text),
  (CANCEL, seq), (PING,), which a PONG answers.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import socket
import sys
import threading
from contextvars import copy_context
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

from celeriac.loading import load_app
from celeriac.locator import Locator
from celeriac.worker.executors import outbox as tags
from celeriac.worker.executors import packets, wire
from celeriac.worker.executors.frames import RECEIVE_BYTES, FrameReader
from celeriac.worker.executors.link import Link
from celeriac.worker.executors.loop_lane import LoopLane
from celeriac.worker.executors.memory import MemoryLimit
from celeriac.worker.executors.outbox import Outbox
from celeriac.worker.executors.progress import Progress
from celeriac.worker.job import Interrupted
from celeriac.worker.logs import LogOptions, configure_logging
from celeriac.worker.run import run_sync, stamp_log_records, user_traceback

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from celeriac.app import App
    from celeriac.worker.job import Assignment, Told

RECEIPTS = "receipts"
REFUSAL = "refusal"
CANCEL = "cancel"
PING = "ping"
STACK_SIGNAL = signal.SIGUSR1  # as of Celery's workers


def main(setup: dict[str, Any], lanes: list[int]) -> None:
    """Be an executor until the worker says that nothing more comes.

    Args:
        setup: of all children of this worker: ``locator``, ``threads``, ``max_memory`` in KiB, and ``log``, the
            fields of `LogOptions` or ``None``.
        lanes: the descriptors of both inboxes, outbox and control, whose owner this is from now on.
    """
    sync, coroutines, outbox_socket, control = (_own(lane) for lane in lanes)
    outbox = Outbox(outbox_socket)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what a task prints shows at once
    try:
        stamp_log_records()
        if isinstance(sys.stderr, TextIOWrapper):
            faulthandler.register(STACK_SIGNAL, sys.stderr)
        if setup["log"] is not None:
            configure_logging(LogOptions(**setup["log"]))
        app = load_app(Locator.from_wire(setup["locator"]))
        if setup["log"] is not None:
            app.hooks.tell("celeriac_setup_logging", app=app)
        child = Child(app, (sync, coroutines, control), outbox, MemoryLimit(setup["max_memory"]))
        child.enter()
    except BaseException as error:  # noqa: BLE001 - importing an app, and its lifespan, run user code
        outbox.send((tags.FAILED, user_traceback(error)))
        sys.exit(1)
    gc.collect()
    gc.freeze()
    child.run(setup["threads"])


class Child:
    """The lanes of this process, and what runs on them."""

    def __init__(
        self, app: App, lanes: tuple[socket.socket, socket.socket, socket.socket], outbox: Outbox, memory: MemoryLimit
    ) -> None:
        """Serve the worker at the other ends of ``lanes`` (both inboxes, control) and ``outbox``."""
        self._app = app
        self._sync, self._coroutines, self._control = lanes
        self._outbox = outbox
        self._frames = FrameReader()
        self._memory = memory
        self._link = Link(outbox)
        self._progress = Progress(app.codecs, self._tell_progress)
        self._loop_lane = LoopLane(app, self._finished, self._broken, self._progress.note)
        self._done: list[tuple[object, ...]] = []

    def enter(self) -> None:
        """Let the app publish through the worker, and enter its lifespan."""
        self._app.enter_child(self._link)
        _ = self._app.middlewares  # one that cannot stand where it should is told now, and not by the first task
        self._loop_lane.start(self._listen).result()

    def run(self, threads: int) -> None:
        """Run jobs on this thread and ``threads - 1`` more until there will be none."""
        others = [threading.Thread(target=self._work, name=f"celeriac-task-{n}") for n in range(2, threads + 1)]
        for thread in others:
            thread.start()
        self._outbox.send((tags.READY,))
        self._work()
        for thread in others:
            thread.join()
        self._loop_lane.stop().result()
        self._loop_lane.join()

    def _work(self) -> None:
        """Run ``def`` tasks, one after the other.

        What is done is told together with the start of the next, where a next one waits already.
        """
        report: list[tuple[object, ...]] = []
        while True:
            packet = packets.receive(self._sync, wait=not report)
            if packet is None:
                self._outbox.send(*report)
                report = []
                continue
            if packet is packets.END:
                self._outbox.send(*report)
                return
            self._outbox.send(*report, (tags.START, packet.seq))
            assignment = wire.unpack_assignment(packet.load())
            state, tell = self._loop_lane.state, self._progress.note
            outcome = copy_context().run(run_sync, self._app, assignment, state, tell)
            report = self._report(assignment, outcome)

    def _report(self, assignment: Assignment, outcome: Told) -> list[tuple[object, ...]]:
        report: list[tuple[object, ...]] = [(tags.DONE, assignment.seq, wire.outcome_to_wire(outcome))]
        above = self._memory.exceeded()
        if above:
            report.append((tags.HEAVY, above))
        return report

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        self._progress.begin(loop)
        self._control.setblocking(False)
        loop.add_reader(self._control, self._on_control)
        loop.add_reader(self._coroutines, self._on_coroutines)

    def _on_control(self) -> None:
        try:
            data = self._control.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._loop_lane.loop.remove_reader(self._control)
        for tag, *values in self._frames.feed(data):
            if tag == RECEIPTS:
                self._link.answered(*values)
            elif tag == REFUSAL:
                self._link.refused(*values)
            elif tag == CANCEL:
                self._loop_lane.cancel(*values)
            else:
                self._outbox.send((tags.PONG,))

    def _on_coroutines(self) -> None:
        found = []
        while (packet := packets.receive(self._coroutines, wait=False)) is not None:
            if packet is packets.END:
                self._loop_lane.loop.remove_reader(self._coroutines)
                break
            found.append(packet)
        if found:  # the worker knows which have begun before any of them runs
            self._outbox.send(*((tags.START, packet.seq) for packet in found))
            for packet in found:
                self._loop_lane.run(wire.unpack_assignment(packet.load()))

    def _finished(self, assignment: Assignment, outcome: Told | Interrupted) -> None:
        if isinstance(outcome, Interrupted):
            return  # the worker asked for it
        if not self._done:
            self._loop_lane.loop.call_soon(self._tell_done)
        self._done += self._report(assignment, outcome)

    def _tell_progress(self, latest: Mapping[int, tuple[bytes, str, str]]) -> None:
        self._outbox.send(*((tags.PROGRESS, seq, *encoded) for seq, encoded in latest.items()))

    def _tell_done(self) -> None:
        done, self._done = self._done, []
        self._outbox.send(*done)

    def _broken(self, error: BaseException) -> None:
        self._outbox.send((tags.FAILED, user_traceback(error)))
        os._exit(1)  # the main thread may be busy for hours, and coroutines would wait for ever


def _own(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    lane = socket.socket(fileno=descriptor)
    lane.setblocking(True)
    return lane
