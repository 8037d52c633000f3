"""What a worker says of itself as it starts."""

from __future__ import annotations

import logging
import platform
from typing import TYPE_CHECKING, Any

import celeriac
from celeriac.cli.output import print_json
from celeriac.topology import Queue

if TYPE_CHECKING:
    from celeriac.app import App
    from celeriac.worker.worker import Worker


class Banner:
    """Prints to standard output; the tasks are listed where INFO is logged."""

    def __init__(self, app: App, *, as_json: bool) -> None:
        """Speak for a worker of ``app``."""
        self._app = app
        self._as_json = as_json

    def show(self, worker: Worker) -> None:
        """Print what ``worker`` was told, secrets masked."""
        told = self._told(worker)
        if self._as_json:
            print_json(told)
            return
        queues = [f".> {q['name']:<16} exchange={q['exchange']} key={q['key']}" for q in told["queues"]]
        lines = [
            f"{told['node']} v{told['version']}",
            f"{told['platform']} {told['time']}",
            "",
            "[config]",
            f".> app:         {told['app']}",
            f".> transport:   {told['transport']}",
            f".> results:     {told['results']}",
            f".> concurrency: {told['concurrency']} ({told['pool']})",
            "",
            "[queues]",
            *queues,
            "",
        ]
        if told["tasks"] is not None:
            lines += ["[tasks]", *(f"  . {name}" for name in told["tasks"]), ""]
        print(*lines, sep="\n", flush=True)

    def ready(self, worker: Worker) -> None:
        """Print that ``worker`` has begun."""
        if self._as_json:
            print_json({"node": worker.options.name, "ready": True})
        else:
            print(f"{worker.options.name} ready.", flush=True)

    def _told(self, worker: Worker) -> dict[str, Any]:
        app, options = self._app, worker.options
        declared = {queue.name: queue for queue in app.queues}
        tasks = sorted(app.tasks) if logging.getLogger("celeriac").isEnabledFor(logging.INFO) else None
        return {
            "node": options.name,
            "version": celeriac.__version__,
            "platform": platform.platform(),
            "time": f"{app.clock.now().astimezone():%Y-%m-%d %H:%M:%S}",
            "app": f"{app.main or _module(app)}:{id(app):#x}",
            "transport": worker.address,
            "results": worker.store_address,
            "concurrency": options.pool_options.concurrency,
            "pool": options.pool,
            "queues": [_queue(declared.get(name) or Queue(name)) for name in options.queues],
            "tasks": tasks,
        }


def _module(app: App) -> str:
    return app.locator.module if app.locator else "__main__"


def _queue(queue: Queue) -> dict[str, str]:
    exchange = queue.bound_exchange
    return {"name": queue.name, "exchange": f"{exchange.name}({exchange.type})", "key": queue.bound_key}
