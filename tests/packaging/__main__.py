"""``python -m tests.packaging``: print the public API; ``--write`` makes it the one that the tests hold to."""

from __future__ import annotations

import argparse
import sys

from tests.packaging.surface import STORED, surface


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.packaging", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write it to {STORED.name}")
    if parser.parse_args().write:
        STORED.write_text(surface(), encoding="utf-8")
    else:
        sys.stdout.write(surface())


if __name__ == "__main__":
    main()
