"""What the radiograph costs: one JSON object a line; exit status 1 when a goal is missed.

Every figure is measured in this run: a ratio to a control, or a time on this computer.
"""

from __future__ import annotations

import argparse
import sys
from itertools import chain
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import _image  # noqa: E402 - found by the line above
import _radiograph  # noqa: E402 - found by the line above

BENCH = "radiograph"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="accepted for symmetry: the output is JSON")
    parser.parse_args()
    missed = False
    for row in chain(_radiograph.all_rows(), _image.rows()):
        print(row.line(BENCH), flush=True)
        missed |= not row.holds
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
