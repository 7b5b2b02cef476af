"""``carril drop``: give up a consumer that is gone for ever, or one record that a consumer refuses."""

from __future__ import annotations

import argparse
import json
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from station.cli.arguments import port
from station.cli.errors import UserError
from station.cli.loopback import HOST, Refused, call


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("drop", help="give up a consumer that is gone, or one refused record")
    parser.add_argument("name", metavar="NAME", help="the consumer")
    parser.add_argument("--record", type=int, metavar="SEQ", help="give up this refused record alone")
    parser.add_argument("--persons", nargs=2, required=True, metavar="NAME", help="the two who agree")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why, for the record")
    parser.add_argument("--port", type=port, default=8080, help="port of the station (%(default)s)")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask the running station; raises ``UserError`` with its sentence when it refuses."""
    first, second = arguments.persons
    station = f"{HOST}:{arguments.port}"
    path = f"/v1/lane/consumers/{quote(arguments.name, safe='')}"
    path += "/drop" if arguments.record is None else f"/quarantine/{arguments.record}/clear"
    body = {"first": first, "second": second, "reason": arguments.reason}
    try:
        place = json.loads(call(arguments.port, "POST", path, body))["record"]
    except Refused as refused:
        raise UserError(refused.detail or str(refused)) from refused
    except OSError as error:
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        raise UserError(f"no station answers on {station} ({reason}); give its --port") from error
    except (HTTPException, ValueError, LookupError, TypeError) as error:
        raise UserError(f"what answers on {station} is no Carril station; give its --port") from error
    what = arguments.name if arguments.record is None else f"record {arguments.record} for {arguments.name}"
    print(f"{what} is given up; record {place['seq']} says so")
    return 0
