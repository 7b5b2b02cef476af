"""The lane file that a command was given, read and checked; every command says the same about it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from station import plugins
from station.cli.errors import UserError
from station.lanefile import LaneFile, LaneFileError, load_lane, shipped

DEMO = "demo"
"""The shipped lane that runs when none is named."""


def add_lane_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--lane FILE``."""
    parser.add_argument(
        "--lane",
        type=Path,
        metavar="FILE",
        help="the lane file (without: the simulated lane that is shipped)",
    )


def read_lane(path: Path | None) -> LaneFile:
    """Return the lane file, its warnings printed on stderr; raises ``UserError`` with all problems."""
    try:
        lane = load_lane(shipped("lanes", DEMO) if path is None else path, plugins.find)
    except LaneFileError as error:
        raise UserError(str(error)) from error
    for warning in lane.warnings:
        print(f"carril: warning: {lane.path}: {warning}", file=sys.stderr)
    return lane
