"""``python -m benchmarks``: our enqueue and drain rates beside those of peers, on RabbitMQ, in one interleaved run.

With ``--peers none --url nats://localhost --broker-process nats-server`` ours alone, on any broker that is plugged in.

Every peer lives in an environment of its own under ``.bench/`` (made at the first run) and is started by its own
command. Compare ratios within a run, never figures of different runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.run import ROOT, Row, Variant, measure

ENVIRONMENTS = ROOT / ".bench"
REFERENCE = "celery prefork"
CELERY = "celery==5.7.0"


def _python_of(peer: str, requirement: str) -> Path:
    python = ENVIRONMENTS / peer / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENTS / peer)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", requirement], check=True)
    return python


def _variants(url: str, peers: set[str]) -> list[Variant]:
    ours = "benchmarks.systems.celeriac_tasks"
    worker = ("celeriac", "-A", ours, "worker", "-c", "2", "-l", "WARNING")
    url_of_ours = f"{url}?heartbeat=300"  # a frozen worker answers no heartbeat; Celery's default is 120 s
    own = {
        "python": Path(sys.executable),
        "module": ours,
        "worker": worker,
        "url": url_of_ours,
        "confirms": "on, mandatory",
    }
    found = []
    kind = "quorum" if url.startswith("amqp") else url.partition(":")[0]
    if "celery" in peers:
        module = "benchmarks.systems.celery_tasks"
        celery = {
            "python": _python_of("celery", CELERY),
            "module": module,
            "worker": ("celery", "-A", module, "worker", "-P", "prefork", "-c", "2", "-l", "WARNING"),
            "url": url,
            "confirms": "off",
        }
        found.append(Variant(name=REFERENCE, queue="classic", results=False, **celery))
    found += [
        Variant(name="celeriac", queue=kind, results=False, **own),
        Variant(name="celeriac, results", queue=kind, results=True, **own),
        Variant(name="celeriac, bulk", queue=kind, results=False, enqueue="bulk", **own),
    ]
    return found


def main() -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--peers", default="celery", help="comma-separated: celery; or none")
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url", default=os.environ.get("CELERIAC_TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/"))
    parser.add_argument("--broker-process", default="beam.smp", help="whose processor time the broker's is")
    parser.add_argument("--json", type=Path, help="write every row to this file")
    options = parser.parse_args()
    variants = _variants(options.url, set(options.peers.split(",")))
    rows: list[Row] = []
    for number in range(options.rounds):
        for variant in variants:
            print(f"round {number + 1} of {options.rounds}: {variant.name}", file=sys.stderr, flush=True)
            rows.append(measure(variant, options.tasks, options.broker_process))
    if options.json:
        options.json.write_text(json.dumps([row.as_dict() for row in rows], indent=1))
    _print(variants, rows)
    return 0


def _print(variants: list[Variant], rows: list[Row]) -> None:
    head = (
        "system",
        "queue",
        "results",
        "confirms",
        "enqueue/s",
        "x",
        "drain/s",
        "x",
        "CPU us",
        "broker us",
        "start s",
    )
    table = [head]
    reference = [row for row in rows if row.variant == REFERENCE] or [row for row in rows if row.variant == "celeriac"]
    for variant in variants:
        own = [row for row in rows if row.variant == variant.name]
        table.append(
            (
                variant.name,
                variant.queue,
                "sent" if variant.results else "ignored",
                variant.confirms,
                f"{_median(own, 'enqueue_rate'):,.0f}",
                f"{_median(own, 'enqueue_rate') / _median(reference, 'enqueue_rate'):.2f}",
                f"{_median(own, 'drain_rate'):,.0f}",
                f"{_median(own, 'drain_rate') / _median(reference, 'drain_rate'):.2f}",
                f"{_median(own, 'worker_cpu'):,.0f}",
                f"{_median(own, 'broker_cpu'):,.0f}",
                f"{_median(own, 'start'):.2f}",
            )
        )
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
    twice = {row.variant: row.ran - row.tasks - 1 for row in rows if row.ran != row.tasks + 1}
    print(
        f"medians of {len(rows) // len(variants)} rounds; ratios to {reference[0].variant}; "
        f"run twice: {twice or 'none'}"
    )


def _median(rows: list[Row], name: str) -> float:
    return statistics.median(getattr(row, name) for row in rows)


if __name__ == "__main__":
    sys.exit(main())
