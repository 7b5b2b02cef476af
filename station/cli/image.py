"""``carril image``: the radiograph of an inspection as a file that other programs open."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from station.cli.client import Server, asked, server
from station.cli.errors import UserError

KINDS = {
    "tiff": "the samples as they came, the calibration and the line records",
    "dicos": "DICOS for people",
    "dicos-raw": "DICOS with the samples as they came",
    "png": "a grey picture as on the screen",
}
SUFFIX = {"tiff": "tif", "dicos": "dcs", "dicos-raw": "raw.dcs", "png": "png"}
PATIENCE_S = 60.0
MOST_BYTES = 512 * 1024 * 1024
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("image", help="write the radiograph of an inspection to a file")
    parser.add_argument("inspection", metavar="INSPECTION", help="its id, or a plate: then its newest one")
    kinds = "; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
    parser.add_argument(
        "--as", dest="kind", choices=list(KINDS), default="png", help=f"{kinds} (%(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="which file; without it named after the inspection"
    )
    parser.add_argument(
        "--station",
        metavar="URL",
        type=server,
        default="http://127.0.0.1:8080",
        help="address of the station (%(default)s)",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the file and say where; 1 when there is none to write."""
    station: Server = arguments.station
    inspection = _id(station, arguments.inspection)
    out: Path = arguments.out or Path(f"{inspection}.{SUFFIX[arguments.kind]}")
    path = f"/v1/inspections/{quote(inspection, safe='')}/image?as={arguments.kind}"
    body = asked(station, path, PATIENCE_S, MOST_BYTES).body
    try:
        out.write_bytes(body)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}", 1) from error
    print(f"{out}: {len(body):,} bytes, {KINDS[arguments.kind]}")
    return 0


def _id(station: Server, name: str) -> str:
    """Return the inspection of that id, or the newest of a plate."""
    if ID.fullmatch(name):
        return name
    found = asked(station, f"/v1/inspections?{urlencode({'plate': name})}").json().get("items") or []
    if not found:
        raise UserError(f"{station.url}: no inspection of a vehicle with the plate {name!r}", 1)
    return str(found[0]["id"])
