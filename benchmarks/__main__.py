"""``python -m benchmarks``: celeriac beside other task queues, measured in one interleaved run on one machine.

Every peer lives in an environment of its own under ``.bench/``, made at the first run, and is started by its own
command. Compare ratios within a run, never figures of different runs. How it measures, and how
to read it: docs/performance.md.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path

from benchmarks import machine
from benchmarks.bench import Bench
from benchmarks.environments import BARE, OURS, PEERS, ROOT, versions_of
from benchmarks.plot import plot
from benchmarks.report import markdown, write_between_markers
from benchmarks.results import Results
from benchmarks.rows import NAMES, rows
from benchmarks.run import plan, run
from benchmarks.servers import RabbitMQ, Redis

PAGE = ROOT / "docs" / "performance.md"


def main() -> int:
    """Run the rounds, and show what came out."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whatever ends us, our workers and servers end too
    results = Results.load(*options.shown) if options.shown else _measured(options)
    text = markdown(results)
    print(text)
    if options.plot:
        plot(results, options.plot)
    if options.table:
        write_between_markers(PAGE, text)
    return int(any("error" in each for each in results.runs))


def _measured(options: argparse.Namespace) -> Results:
    results = Results(file=options.json)
    chosen = rows(tuple(name for name in NAMES if name in options.rows))
    steps = plan(chosen, options.rounds, {*options.peers, BARE}, results)
    brokers = {broker for step in steps for broker in (step.contender.broker, step.contender.results_broker)}
    rabbitmq = RabbitMQ(options.rabbitmq) if brokers & {"rabbitmq", "rpc"} else None
    redis = Redis() if "redis" in brokers else None
    servers = [server for server in (rabbitmq, redis) if server is not None]
    try:
        for server in servers:
            server.start()
        used = dict.fromkeys(step.contender.peer for step in steps if step.contender.peer != BARE)
        results.about = {
            **machine.described(),
            "brokers": [server.version for server in servers],
            "versions": [versions_of(peer) for peer in used],
            "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
            "rounds": options.rounds,
            "quick": options.quick,
        }
        bench = Bench(rabbitmq=rabbitmq, redis=redis, spins=machine.calibrate(), quick=options.quick)
        run(bench, steps, results)
    finally:
        for server in servers:
            server.stop()
    return results


def _options() -> argparse.Namespace:
    def split(text: str) -> list[str]:
        return [name for name in text.split(",") if name]

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    peers = [peer for peer in PEERS if peer not in {OURS, BARE}]
    add = parser.add_argument
    add("--peers", default=",".join(peers), help=f"beside whom, with commas between: {', '.join(peers)} (all)")
    add("--rows", default=",".join(NAMES), help=f"what, with commas between: {', '.join(NAMES)} (all)")
    add("--rounds", type=int, default=5, help="how often everything is measured (5)")
    add("--quick", action="store_true", help="few tasks: to see that everything works; the figures mean nothing")
    add(
        "--rabbitmq",
        metavar="URL",
        help="a virtual host of its own, in which queues are deleted (by default one is made)",
    )
    add("--json", type=Path, metavar="FILE", help="keep every measurement there, as it comes")
    add("--plot", type=Path, metavar="FILE.png", help="draw there how far each figure is from its target")
    add("--table", action="store_true", help="write the table into docs/performance.md")
    add("--from", dest="shown", type=Path, nargs="+", metavar="FILE", help="measure nothing: show what was kept there")
    options = parser.parse_args()
    options.rows, options.peers = split(options.rows), split(options.peers)
    for what, given, known in (("peer", options.peers, peers), ("row", options.rows, NAMES)):
        if unknown := set(given) - set(known):
            parser.error(f"no such {what}: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if options.quick and options.table:
        parser.error("the figures of --quick mean nothing, and are written into no page")
    return options


if __name__ == "__main__":
    sys.exit(main())
