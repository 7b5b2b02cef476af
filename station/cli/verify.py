"""``carril verify``: is every record, blob and mark of a state folder what was written? It only reads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from station.cli.errors import UserError
from station.cli.state import likely_state, state_folder

LONGEST = 1 << 20


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("verify", help="prove that a state folder holds what was written")
    parser.add_argument(
        "--state", type=state_folder, metavar="DIR", help="state folder (.state, else that of `run`)"
    )
    parser.add_argument("--head", type=Path, metavar="FILE", help="a signed head that was kept elsewhere")
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="trust these public keys instead of those in the folder"
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what was checked and every fault; 0 when nothing is wrong, 1 otherwise."""
    from station.store.heads import told_head
    from station.store.verify import verify  # a database layer: only to verify

    state = arguments.state or likely_state()
    head, keys = (text_of(path) if path else None for path in (arguments.head, arguments.key))
    if head is not None:
        head = head.rstrip() + "\n"  # copying loses an ending, or adds to it
        try:
            told_head(head)
        except ValueError as error:
            raise UserError(f"{arguments.head} {error}; give one, the six lines that central kept") from error
    try:
        report = verify(state, head=head, keys=keys)
    except ValueError as error:
        raise UserError(f"{arguments.key} {error}; give the file with the station's public key") from error
    except OSError as error:
        reason = str(error) if error.errno is None else f"{state}: {error.strerror}"
        raise UserError(f"{reason.rstrip('.')}; give the --state of a station that has run") from error
    for fault in report.faults:
        print(fault)
    if report.kept and report.kept not in report.faults:
        print(report.kept)
    if report.station:
        count = max(0, report.head - report.oldest + 1)
        print(
            f"station {report.station}, epoch {report.epoch}: {count} records up to {report.head}, "
            f"{report.heads} signed heads, {report.blobs} blobs"
        )
    if earlier := len(list((state / "quarantine").glob("[0-9]*-*"))):
        print(
            f"earlier journals kept in {state / 'quarantine'}: {earlier}; see records.lost and epoch.salvaged"
        )
    print("nothing is wrong" if report.ok else "something is wrong: keep a copy of the folder as it is")
    return 0 if report.ok else 1


def text_of(path: Path) -> str:
    """Return a small text file; raises ``UserError``."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(LONGEST)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "no text"
        raise UserError(f"{path} cannot be read ({reason}); give a file that can") from error
