"""``carril status``: how the station on this computer is, asked over its own API."""

from __future__ import annotations

import argparse
import http.client
import json
from typing import Any
from urllib.parse import quote

from station.cli.arguments import port
from station.cli.errors import UserError
from station.cli.loopback import HOST, Refused, call

BYTES = "_hex"
"""How the name of a field ends that holds bytes."""
PRINTABLE = frozenset(b"\r\n\t") | frozenset(range(0x20, 0x7F))
TEXT_SHARE = 0.75
"""Of a device that speaks in lines, even on a bad link; chance makes two of five bytes printable."""
HEX_ROW = 32


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("status", help="ask the running station how it is")
    parser.add_argument("--port", type=port, default=8080, help="port of the station (%(default)s)")
    parser.add_argument("--device", metavar="NAME", help="show what one device said and counted instead")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the station's health; 0 when the lane is well, 1 when it is not."""
    if arguments.device is not None:
        for line in lines(ask(arguments.port, f"/v1/devices/{quote(arguments.device, safe='')}")):
            print(line)
        return 0
    health = ask(arguments.port)
    for line in lines(health):
        print(line)
    return 0 if health.get("lane") == "ok" else 1


def ask(port: int, path: str = "/v1/health") -> dict[str, Any]:
    """Return what the station answers to ``GET path``; raises ``UserError``."""
    stranger = UserError(f"what answers on {HOST}:{port} is no Carril station; give its --port", 1)
    try:
        answer = json.loads(call(port, "GET", path))
    except Refused as error:
        known = error.status == http.client.NOT_FOUND and error.detail
        raise UserError(error.detail, 2) if known else stranger from error
    except OSError as error:
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        raise UserError(
            f"no station answers on {HOST}:{port} ({reason}); start one with `carril run` or give its --port",
            1,
        ) from error
    except (http.client.HTTPException, ValueError) as error:
        raise stranger from error
    if not isinstance(answer, dict):
        raise stranger
    return answer


def lines(value: dict[str, Any], indent: int = 0) -> list[str]:
    """Write nested values for a person, one a line; what is empty is left out."""
    written: list[str] = []
    for key, inner in value.items():
        label = "  " * indent + f"{key.removesuffix(BYTES)}:"
        below: list[str] = []
        if isinstance(inner, dict):
            below = lines(inner, indent + 1)
        elif key.endswith(BYTES):
            below = spoken(inner, indent + 1)
        elif isinstance(inner, list) and any(isinstance(each, dict) for each in inner):
            for shown in (lines(each, indent + 2) for each in inner):
                below += ["  " * (indent + 1) + "- " + line.lstrip() for line in shown[:1]] + shown[1:]
        elif inner is None:
            written.append(f"{label:<24} -")
        elif inner not in ("", []):
            text = ", ".join(map(str, inner)) if isinstance(inner, list) else str(inner)
            written.append(f"{label:<24} {text}")
        if below:
            written += [label, *below]
    return written


def spoken(text: str, indent: int = 0) -> list[str]:
    """Write the bytes of a device, given in hex: its lines as text where they are, all else in hex."""
    data = bytes.fromhex(text)
    legible = sum(byte in PRINTABLE for byte in data) >= TEXT_SHARE * len(data)
    written: list[str] = []
    for line in data.splitlines() if legible else [data]:
        if all(byte in PRINTABLE for byte in line):
            written.append(line.decode("ascii"))
        else:
            written += [line[at : at + HEX_ROW].hex(" ") for at in range(0, len(line), HEX_ROW)]
    return ["  " * indent + line for line in written if line]
