"""Look at queues; purge, pause, resume and peek into them.

example: celeriac queues list -A tasks
         celeriac queues peek mail -b sqlite:///celeriac.db --limit 3
         celeriac queues purge mail -A tasks -f

Without names, `list` and `peek` take the queues that the App declares. A `?` is what the broker cannot say. DEAD counts
the dead letters, which `celeriac dead` shows.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from celeriac.cli import exits
from celeriac.cli.apps import connected, find_app_or_broker, only_looking, split_names
from celeriac.cli.ask import agreed
from celeriac.cli.output import print_json, print_table
from celeriac.errors import QueueNotFound
from celeriac.topology import DEAD_SUFFIX

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Sequence

    from celeriac.app import App
    from celeriac.client import Client
    from celeriac.message import Message
    from celeriac.transport import Depth

HEAD = ("QUEUE", "READY", "RUNNING", "DELAYED", "OLDEST", "PAUSED", "DEAD")
MISSING = ("not there", "-", "-", "-", "-")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("action", nargs="?", default="list", choices=sorted(_ACTIONS), help="by default: list")
    parser.add_argument("names", nargs="*", metavar="NAME", help="queues")
    parser.add_argument("-Q", "--queues", metavar="A,B", help="further queues")
    parser.add_argument("-f", "--force", action="store_true", help="purge without asking")
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="messages to peek at (10)")


def run(arguments: argparse.Namespace, app: App | None) -> int:
    """Do it.

    Raises:
        UsageError: the action wants names, or an answer that nobody can give.
        QueueNotFound: no queue of that name.
        Unsupported: the broker cannot do that.
    """
    names = [*arguments.names, *split_names(arguments.queues)]
    if not names and arguments.action in {"purge", "pause", "resume"}:
        raise exits.UsageError(f"{arguments.action} wants the names of queues")
    app = only_looking(find_app_or_broker(arguments, app))
    if not arguments.names and arguments.action in {"list", "peek"}:
        names = list(dict.fromkeys([*(queue.name for queue in app.queues), *names]))
    with connected(app) as client:
        return _ACTIONS[arguments.action](client, names, arguments)


def _list(client: Client, names: Sequence[str], arguments: argparse.Namespace) -> int:
    found = {name: (_depth(client, name), _depth(client, name + DEAD_SUFFIX)) for name in names}
    if arguments.json:
        print_json([_counted(name, *depths) for name, depths in found.items()])
    else:
        print_table(HEAD, [(name, *_cells(depth), dead.ready if dead else 0) for name, (depth, dead) in found.items()])
    return exits.OK


def _counted(name: str, depth: Depth | None, dead: Depth | None) -> dict[str, object]:
    counts = asdict(depth) if depth else {}
    return {"queue": name, "exists": depth is not None, **counts, "dead": dead.ready if dead else 0}


def _depth(client: Client, name: str) -> Depth | None:
    try:
        return client.portal.run(client.connection.transport.depth(name))
    except QueueNotFound:
        return None


def _cells(depth: Depth | None) -> Sequence[object]:
    if depth is None:
        return MISSING
    age = depth.oldest_age
    oldest = "-" if not depth.ready else None if age is None else f"{age:.0f} s"
    return (depth.ready, depth.running, depth.delayed, oldest, depth.paused)


def _purge(client: Client, names: Sequence[str], arguments: argparse.Namespace) -> int:
    transport, dropped = client.connection.transport, {}
    for name in names:
        ready = client.portal.run(transport.depth(name)).ready
        if arguments.force or agreed(f"Drop {ready} ready messages of {name}?"):
            dropped[name] = client.portal.run(transport.purge(name))
    if arguments.json:
        print_json([{"queue": name, "purged": count} for name, count in dropped.items()])
    else:
        for name, count in dropped.items():
            print(f"{name}: {count} messages dropped")
    return exits.OK if len(dropped) == len(names) else exits.FAILED


def _pause(client: Client, names: Sequence[str], arguments: argparse.Namespace) -> int:
    return _each(client, names, arguments, client.connection.transport.pause, paused=True)


def _resume(client: Client, names: Sequence[str], arguments: argparse.Namespace) -> int:
    return _each(client, names, arguments, client.connection.transport.resume, paused=False)


def _each(
    client: Client,
    names: Sequence[str],
    arguments: argparse.Namespace,
    do: Callable[[str], Awaitable[None]],
    *,
    paused: bool,
) -> int:
    async def do_all() -> None:
        for name in names:
            await do(name)

    client.portal.run(do_all())
    if arguments.json:
        print_json([{"queue": name, "paused": paused} for name in names])
    else:
        for name in names:
            print(f"{name}: {'paused' if paused else 'resumed'}")
    return exits.OK


def _peek(client: Client, names: Sequence[str], arguments: argparse.Namespace) -> int:
    transport = client.connection.transport
    rows = [
        _shown(name, message) for name in names for message in client.portal.run(transport.peek(name, arguments.limit))
    ]
    if arguments.json:
        print_json(rows)
    else:
        print_table(("QUEUE", "ID", "TASK", "ARGS", "KWARGS"), [tuple(row.values()) for row in rows])
    return exits.OK


def _shown(queue: str, message: Message) -> dict[str, str]:
    headers = message.headers
    return {
        "queue": queue,
        "id": message.id,
        "task": str(headers.get("task", "-")),
        "args": str(headers.get("argsrepr", "-")),
        "kwargs": str(headers.get("kwargsrepr", "-")),
    }


_ACTIONS: dict[str, Callable[[Client, Sequence[str], argparse.Namespace], int]] = {
    "list": _list,
    "peek": _peek,
    "purge": _purge,
    "pause": _pause,
    "resume": _resume,
}
