"""``carril sim fault DEVICE FAULT``: break an emulated device of the running station, or mend it."""

from __future__ import annotations

import argparse
import json
import socket
from pathlib import Path
from typing import Any

from station.cli.arguments import seconds
from station.cli.errors import UserError
from station.cli.state import likely_state, state_folder

TIMEOUT_S = 5.0


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("sim", help="break or look at emulated devices of the running station")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    fault = actions.add_parser("fault", help="set a fault; the fault `none` ends all of the device")
    fault.add_argument("device")
    fault.add_argument("fault")
    fault.add_argument("--for", dest="for_s", type=seconds, metavar="SECONDS", help="end it by itself")
    state = actions.add_parser("state", help="print what the emulators believe")
    for action in (fault, state):
        action.add_argument(
            "--state", type=state_folder, help="state folder (.state, else that of `carril run`)"
        )
    fault.set_defaults(command=_fault)
    state.set_defaults(command=_state)


def _fault(arguments: argparse.Namespace) -> int:
    _ask(
        (arguments.state or likely_state()),
        {"device": arguments.device, "fault": arguments.fault, "for_s": arguments.for_s},
    )
    ending = f" for {arguments.for_s:g} s" if arguments.for_s else ""
    print(f"{arguments.device}: {arguments.fault}{ending}")
    return 0


def _state(arguments: argparse.Namespace) -> int:
    print(json.dumps(_ask((arguments.state or likely_state()), {"state": True}), indent=2))
    return 0


def _ask(state: Path, order: dict[str, Any]) -> dict[str, Any]:
    """Send one line to the emulators' control port; raises ``UserError``."""
    note = state / "simulation.json"
    try:
        port = json.loads(note.read_text())["control"]
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as link:
            link.sendall(json.dumps(order).encode() + b"\n")
            answer: dict[str, Any] = json.loads(link.makefile("rb").readline())
    except (OSError, ValueError, KeyError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no answer"
        raise UserError(
            f"no emulated devices run for the state folder {state} ({reason.lower()}); start them with "
            "`carril run` or give its --state"
        ) from error
    if "error" in answer:
        raise UserError(answer["error"])
    return answer
