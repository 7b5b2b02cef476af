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
    """Add ``--lane FILE``, and the bare ``FILE`` that people try first."""
    either = parser.add_mutually_exclusive_group()
    # Without a type, which argparse would apply to SUPPRESS too; without SUPPRESS no FILE would undo --lane.
    either.add_argument(
        "lane", nargs="?", metavar="FILE", default=argparse.SUPPRESS, help="the same as --lane FILE"
    )
    either.add_argument(
        "--lane",
        type=Path,
        metavar="FILE",
        help="the lane file (without: the simulated lane that is shipped)",
    )


def read_lane(path: Path | str | None) -> LaneFile:
    """Return the lane file, its warnings printed on stderr; raises ``UserError`` with all problems."""
    try:
        lane = load_lane(shipped("lanes", DEMO) if path is None else Path(path), plugins.find)
    except LaneFileError as error:
        raise UserError(str(error)) from error
    for warning in lane.warnings:
        print(f"carril: warning: {lane.path}: {warning}", file=sys.stderr)
    return lane
