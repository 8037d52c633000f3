"""``python -m tests.performance``: what one task costs in each room, beside its budget; ``--write`` makes it that."""

from __future__ import annotations

import argparse
import json
import sys

from tests.performance.budget import PYTHON, budget, write
from tests.performance.rooms import ROOMS, per_task


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.performance", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"make this the budget of Python {PYTHON}")
    parser.add_argument("--json", action="store_true", help="print the figures alone")
    options = parser.parse_args()
    measured = per_task()
    if options.json:
        print(json.dumps(measured))
        return
    stored = budget() or {}
    for room, what in ROOMS.items():
        for unit, cost in measured[room].items():
            before = stored.get(room, {}).get(unit)
            beside = f"{before:>7,} {100 * (cost / before - 1):+6.1f} %" if before else "no budget"
            print(f"{room:10} {cost:>7,} {unit:10} {beside}   {what}")
    if options.write:
        write(measured)


if __name__ == "__main__":
    sys.exit(main())
