"""Look at dead letters; send them back to their queues, or drop them.

example: celeriac dead list -A tasks
         celeriac dead show -A tasks 3f0c5a1e-...
         celeriac dead replay -A tasks 3f0c5a1e-... 77b1d2c0-...
         celeriac dead replay -A tasks --task tasks.charge --limit 10
         celeriac dead purge -b sqlite:///celeriac.db --queue mail --all

Ids are all done, or none is if one is not there. With a broker alone (-b), name what the workers use besides:
--queue, and --result-backend if it is another than the broker's own.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from celeriac.cli import exits
from celeriac.cli.apps import connected, find_app_or_broker, only_looking, split_names
from celeriac.cli.ask import agreed
from celeriac.cli.output import print_json, print_table
from celeriac.dead import DeadLetters, DeadMessage
from celeriac.dead.letters import LOOKED_AT
from celeriac.dead.walk import MOST
from celeriac.errors import DeadLetterNotFound
from celeriac.topology import DEAD_SUFFIX, PRIORITY_LEVELS, Queue
from celeriac.transport_helpers import OWN_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.app import App

EMPTY: tuple[Any, ...] = (None, "", {}, [])
HEAD = ("ID", "TASK", "QUEUE", "REASON", "ATTEMPTS", "WORKER", "WHEN")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("action", nargs="?", default="list", choices=sorted(_ACTIONS), help="by default: list")
    parser.add_argument("ids", nargs="*", metavar="ID", help="dead letters")
    parser.add_argument("--task", metavar="NAME", help="those of one task")
    parser.add_argument("--all", action="store_true", help="replay or purge all of them")
    parser.add_argument(
        "-Q", "--queue", "--queues", dest="queues", metavar="A,B", help="of these queues; by default those of the App"
    )
    parser.add_argument(
        "--limit",
        type=_count,
        metavar="N",
        help=f"list and show: look at so many of each queue ({LOOKED_AT}); replay and purge: do so many at most",
    )
    parser.add_argument("-f", "--force", action="store_true", help="purge without asking")


def run(arguments: argparse.Namespace, app: App | None) -> int:
    """Do it.

    Raises:
        UsageError: it is not said which, or an answer is wanted that nobody can give.
        DeadLetterNotFound: no dead letter of that id; nothing was done.
        Unsupported: the broker cannot show messages without taking them.
    """
    _refuse_unclear(arguments)
    app = only_looking(find_app_or_broker(arguments, app))
    names = [name.removesuffix(DEAD_SUFFIX) for name in split_names(arguments.queues)]
    declared = [queue.name for queue in app.queues]
    # what the App does not declare may keep any priority; the broker knows
    app.queues = (*app.queues, *(Queue(name, priorities=PRIORITY_LEVELS) for name in names if name not in declared))
    with connected(app):
        return _ACTIONS[arguments.action](DeadLetters(app, names or declared), arguments)


def _refuse_unclear(arguments: argparse.Namespace) -> None:
    ways = [bool(arguments.ids), arguments.task is not None, arguments.all].count(True)
    if arguments.action == "show" and len(arguments.ids) != 1:
        raise exits.UsageError("show wants one ID")
    if arguments.action in {"replay", "purge"} and ways != 1:
        raise exits.UsageError(f"{arguments.action} wants IDs, or --task NAME, or --all")
    if arguments.action in {"replay", "purge"} and arguments.ids and arguments.limit is not None:
        raise exits.UsageError("--limit and IDs do not go together: all of them are done")
    if arguments.action == "list" and (arguments.ids or arguments.all):
        raise exits.UsageError("list takes --task and --queue; show takes an ID")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"give 1 or more, not {text}")
    return int(text)


def _list(letters: DeadLetters, arguments: argparse.Namespace) -> int:
    limit = arguments.limit or LOOKED_AT
    found = letters.peek(limit=limit if arguments.task is None else MOST)
    if arguments.task is not None:
        found = [letter for letter in found if letter.task == arguments.task][:limit]
    if len(found) >= limit:
        print(f"no more than {limit} of each queue are shown; see further with --limit", file=sys.stderr)
    if arguments.json:
        print_json([_in_short(letter) for letter in found])
    elif found:
        print_table(
            HEAD, [["-" if value in EMPTY else value for value in _in_short(letter).values()] for letter in found]
        )
    else:
        print("no dead letters")
    return exits.OK


def _in_short(letter: DeadMessage) -> dict[str, Any]:
    return {
        "id": letter.id,
        "task": letter.task,
        "queue": letter.queue,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "worker": letter.worker,
        "at": letter.at.isoformat(timespec="seconds") if letter.at else "",
    }


def _show(letters: DeadLetters, arguments: argparse.Namespace) -> int:
    limit = arguments.limit or LOOKED_AT
    letter = next((each for each in letters.peek(limit=limit) if each.id == arguments.ids[0]), None)
    if letter is None:
        raise DeadLetterNotFound(
            f"no dead letter {arguments.ids[0]} among the first {limit} of each queue; look further with --limit"
        )
    told = _in_full(letter)
    if arguments.json:
        print_json(told)
        return exits.OK
    for name, value in told.items():
        if isinstance(value, dict) and value:
            print(f"{name}:", *(f"  {key}: {each}" for key, each in value.items()), sep="\n")
        elif isinstance(value, list) and value:
            print(f"{name}:", *(f"  {_entry(each)}" for each in value), sep="\n")
        else:
            print(f"{name}: {'-' if value in EMPTY else value}")
    return exits.OK


def _in_full(letter: DeadMessage) -> dict[str, Any]:
    message = letter.message
    headers = {name: value for name, value in message.headers.items() if name not in {OWN_HEADER, "id", "task"}}
    return {
        **_in_short(letter),
        "detail": letter.detail,
        "args": headers.pop("argsrepr", ""),
        "kwargs": headers.pop("kwargsrepr", ""),
        "origin": letter.origin,
        "priority": message.priority,
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "bytes": len(message.body),
        "correlation_id": message.correlation_id,
        "reply_to": message.reply_to,
        "headers": headers,
        "history": [dict(entry) for entry in letter.history],
    }


def _entry(entry: dict[str, Any]) -> str:
    return "  ".join(f"{name}={value}" for name, value in entry.items())


def _replay(letters: DeadLetters, arguments: argparse.Namespace) -> int:
    done = letters.replay(arguments.ids, task=arguments.task, everything=arguments.all, limit=arguments.limit)
    if arguments.json:
        print_json([{"id": letter.id, "task": letter.task, "queue": letter.origin} for letter in done])
    else:
        for letter in done:
            print(f"{letter.id}: back in {letter.origin}")
        if not done:
            print("no such dead letters")
    return exits.OK if len(done) >= len(set(arguments.ids)) else exits.FAILED


def _purge(letters: DeadLetters, arguments: argparse.Namespace) -> int:
    which = ", ".join(arguments.ids) or (f"of the task {arguments.task}" if arguments.task else "of all tasks")
    most = f", {arguments.limit} at most" if arguments.limit else ""
    if not arguments.force and not agreed(f"Drop dead letters of {', '.join(letters.queues)} for good: {which}{most}?"):
        return exits.FAILED
    count = letters.purge(arguments.ids, task=arguments.task, everything=arguments.all, limit=arguments.limit)
    if arguments.json:
        print_json({"purged": count})
    else:
        print(f"{count} dead letters dropped")
    return exits.OK if count >= len(set(arguments.ids)) else exits.FAILED


_ACTIONS: dict[str, Callable[[DeadLetters, argparse.Namespace], int]] = {
    "list": _list,
    "show": _show,
    "replay": _replay,
    "purge": _purge,
}
