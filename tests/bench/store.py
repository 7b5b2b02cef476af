"""What the journal costs: one JSON object a line; exit status 1 when a goal is missed.

Disks differ thirtyfold, so syncs are counted, and every time is a ratio to a control that takes turns with
its subject on the same disk in this run. ``--rows`` is how many records the large journal has.
"""

from __future__ import annotations

import argparse
import sys
from itertools import chain
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import _append  # noqa: E402 - found by the line above
import _scale  # noqa: E402 - found by the line above

BENCH = "store"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="accepted for symmetry: the output is JSON")
    parser.add_argument("--rows", type=int, default=1_000_000)
    missed = False
    for row in chain(_append.rows(), _scale.rows(parser.parse_args().rows)):
        print(row.line(BENCH), flush=True)
        missed |= not row.holds
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
