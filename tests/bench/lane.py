"""Speed and memory of one lane: one JSON object a line; exit status 1 when a goal is missed.

Every figure is a ratio or a latency measured in this run. ``--quick`` leaves out the parts that watch a
running lane for minutes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import _alarm  # noqa: E402 - found by the line above
import _process  # noqa: E402 - found by the line above
import _radiograph  # noqa: E402 - found by the line above
import _store  # noqa: E402 - found by the line above
import _virtual  # noqa: E402 - found by the line above

BENCH = "lane"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="accepted for symmetry: the output is JSON")
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    missed = False
    for part in (_radiograph, _store, _virtual, _alarm, *([] if quick else [_process])):
        for row in part.rows():
            print(row.line(BENCH), flush=True)
            missed |= not row.holds
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
