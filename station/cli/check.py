"""``carril check``: is this lane file right, and is this installation whole? It opens nothing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import drivers
import station
from drivers.api import Role
from station.cli.errors import UserError
from station.cli.lanes import add_lane_argument, read_lane
from station.lanefile import contact_portals


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("check", help="check a lane file and say everything that is wrong with it")
    add_lane_argument(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what the lane consists of; raises ``UserError`` with every problem."""
    ours, theirs = (Path(package.__file__ or "?").parent.parent for package in (station, drivers))
    if ours != theirs:
        raise UserError(
            f"the package drivers comes from {theirs}, and station from {ours}: two installations are mixed; "
            "install Carril into an environment of its own"
        )
    lane = read_lane(arguments.lane)
    print(f"{lane.path}: {'no error, but see the warnings' if lane.warnings else 'no problem found'}")
    print(f"lane {lane.lane.id}, {lane.lane.direction}, {lane.lane.time_zone}, sha256 {lane.sha256}")
    for device in lane.devices:
        print(f"  {device.name:<12} {device.role:<14} {device.spec.name:<16} {device.mode}")
    for board, name, _ in contact_portals(lane.devices):
        print(f"  {name:<12} {Role.PORTAL_MONITOR:<14} {'contacts of ' + board.name:<16} {board.mode}")
    print(f"needed for an inspection: {', '.join(lane.lane.required)}")
    if lane.simulated:
        print("SIMULATED: not every device is real, so every record will say that it is simulated")
    return 0
