"""What the radiation part costs: one JSON object a line; exit status 1 when a goal is missed.

Every figure is measured in this run: a ratio to a control, or a time on this computer.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from itertools import chain
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import _alarm  # noqa: E402 - found by the line above
import _poll  # noqa: E402 - found by the line above
import _reconnect  # noqa: E402 - found by the line above
import _streams  # noqa: E402 - found by the line above
from _row import Row, percentile  # noqa: E402 - found by the line above

BENCH = "radiation"


def alarm_rows() -> list[Row]:
    late_ms, _ = asyncio.run(_alarm.measure())
    shares = (("p50", 0.5, 10), ("p99", 0.99, 50), ("max", 1.0, 250))
    title = "alarm decided after the last byte under image load"
    return [Row(f"{title}, {name}", percentile(late_ms, share), "ms", goal) for name, share, goal in shares]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="accepted for symmetry: the output is JSON")
    parser.parse_args()
    missed = False
    for row in chain(_streams.rows(), alarm_rows(), _poll.rows(), _reconnect.rows()):
        print(row.line(BENCH), flush=True)
        missed |= not row.holds
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
