"""``carril consume``: keep what a station recorded, as a central system does."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import Any

from station.cli.archive import Archive
from station.cli.client import server
from station.cli.consumer import Consumer


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("consume", help="keep what a station recorded, as a central system does")
    parser.add_argument("url", metavar="URL", type=server, help="address of the station")
    parser.add_argument("--name", required=True, help="which consumer of its lane file to be")
    parser.add_argument("--into", metavar="DIR", type=Path, help="folder to keep everything in")
    parser.add_argument("--once", action="store_true", help="end when there is no more")
    parser.set_defaults(command=run)


def run(given: argparse.Namespace) -> int:
    """Consume until Ctrl-C or SIGTERM; 0, or 1 after an alarm, also as a ``UserError``."""
    archive = Archive(given.into) if given.into else None
    consumer = Consumer(given.url, given.name, archive, _tell)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if archive is None:
        _tell("nothing is kept, hence nothing acknowledged: --into DIR does both")
    try:
        consumer.run(once=given.once)
    except KeyboardInterrupt:
        pass
    finally:
        _tell(consumer.summary())
    return 1 if consumer.alarms else 0


def _tell(line: str) -> None:
    print(line, flush=True)
