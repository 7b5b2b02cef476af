"""``carril verify``: is every record, blob and mark of a state folder what was written? It only reads."""

from __future__ import annotations

import argparse
from typing import Any

from station.cli.errors import UserError
from station.cli.state import likely_state, state_folder


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("verify", help="prove that a state folder holds what was written")
    parser.add_argument(
        "--state", type=state_folder, metavar="DIR", help="state folder (.state, else that of `run`)"
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what was checked and every fault; 0 when nothing is wrong, 1 otherwise."""
    from station.store.verify import verify  # a database layer: only to verify

    state = arguments.state or likely_state()
    try:
        report = verify(state)
    except OSError as error:
        reason = str(error) if error.errno is None else f"{state}: {error.strerror}"
        raise UserError(f"{reason.rstrip('.')}; give the --state of a station that has run") from error
    for fault in report.faults:
        print(fault)
    if report.station:
        count = max(0, report.head - report.oldest + 1)
        print(
            f"station {report.station}, epoch {report.epoch}: {count} records up to {report.head}, "
            f"{report.blobs} blobs"
        )
    print("nothing is wrong" if report.ok else "something is wrong: keep a copy of the folder as it is")
    return 0 if report.ok else 1
