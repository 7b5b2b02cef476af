"""``carril run``: run a lane; without arguments the shipped simulated one."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import station
from station import __version__
from station.cli.arguments import port_or_free
from station.cli.errors import UserError
from station.cli.lanes import add_lane_argument, read_lane
from station.cli.state import LAST_GOOD, state_folder, state_home
from station.lanefile import LaneFile, LaneFileError, UnknownName, shipped
from station.runtime.memory import give_back_soon

if TYPE_CHECKING:
    from station.cli.daemon import Daemon
    from station.cli.simulation import Simulation

DEFAULT_PORT = 8080


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("run", help="run a lane (without arguments: the simulated one)")
    add_lane_argument(parser)
    parser.add_argument("--state", type=state_folder, metavar="DIR", help="where records are kept")
    parser.add_argument(
        "--port", type=port_or_free, default=DEFAULT_PORT, help="port on loopback (%(default)s)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve; only loopback for now")
    parser.add_argument(
        "--last-good",
        action="store_true",
        help="where the lane file is wrong, run the one that ran last in --state, with an alarm",
    )
    parser.add_argument("--scenario", metavar="NAME|FILE", help="what drives through a simulated lane")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or Ctrl-C; raises ``UserError`` when it cannot start."""
    give_back_soon()
    if arguments.host not in ("127.0.0.1", "localhost"):
        raise UserError(
            f"--host {arguments.host}: until officers can sign in, a lane serves this computer only; "
            "leave --host away or give 127.0.0.1"
        )
    lane_file, refused = _lane_file(arguments)
    scenario = _scenario(arguments.scenario, lane_file)
    if any(device.mode == "real" for device in lane_file.devices):
        _refuse_crashpoints()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

    simulation = None
    if lane_file.simulated:
        from station.cli.simulation import Simulation

        simulation = Simulation()  # it loads on the other core meanwhile
    try:
        return _run(arguments, lane_file, scenario, simulation, refused=refused)
    finally:
        if simulation is not None:
            simulation.end()


def _lane_file(arguments: argparse.Namespace) -> tuple[LaneFile, bool]:
    """Return the lane file, or where it is wrong and ``--last-good`` is given the one that ran last."""
    try:
        return read_lane(arguments.lane), False
    except UserError as error:
        kept = arguments.state / LAST_GOOD if arguments.last_good and arguments.state else None
        if kept is None or not kept.is_file():
            raise
        print(f"carril: {error}\ncarril: the lane runs from the last good lane file: {kept}", file=sys.stderr)
        return read_lane(kept), True


def _refuse_crashpoints() -> None:
    """A station that a test may end at any moment must not drive a barrier."""
    from station.store.crashpoint import VARIABLE

    if place := os.environ.get(VARIABLE):
        raise UserError(
            f"{VARIABLE}={place} is set, which ends the station in the middle of its work: "
            "real devices are not started; unset it."
        )


def _run(
    arguments: argparse.Namespace,
    lane_file: LaneFile,
    scenario: Path | None,
    simulation: Simulation | None,
    *,
    refused: bool,
) -> int:
    from station.cli.daemon import Daemon, Settings  # half a second of imports: only to run
    from station.store.errors import StoreError

    settings = Settings(
        state=(arguments.state or state_home(lane_file.lane.id)).absolute(),
        port=arguments.port,
        web_dist=_web_dist(),
        scenario=scenario,
        simulation=simulation,
        refused=refused,
        told=_tell,
        sealed=_tell_sealed,
    )
    try:
        daemon = Daemon(lane_file, settings)
        asyncio.run(daemon.run())
    except StoreError as error:
        if isinstance(cause := error.__cause__, OSError) and cause.strerror:
            reason = f"{settings.state} cannot be used ({cause.strerror.lower()})"
            raise UserError(f"{reason}; give a folder that may be written with --state") from error
        raise UserError(str(error)) from error
    except RuntimeError as error:
        raise UserError(f"the simulated devices cannot start: {error}") from error
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise UserError(f"cannot start: {place}{(error.strerror or str(error)).lower()}") from error
    return 1 if daemon.failed else 0


def _web_dist() -> Path | None:
    dist = Path(station.__file__).parent / "web" / "dist"
    return dist if (dist / "index.html").is_file() else None


def _scenario(given: str | None, lane_file: LaneFile) -> Path | None:
    """Return what will be played, checked before anything is touched; ``None`` without emulated devices."""
    if not lane_file.simulated:
        if given is not None:
            raise UserError(f"--scenario {given}: no device of {lane_file.path} is emulated; leave it away")
        return None
    name = lane_file.simulation.scenario if given is None else given
    try:
        path = Path(name) if name.endswith(".toml") else shipped("scenarios", name)
    except UnknownName as error:
        near = f"; did you mean {error.nearest!r}?" if error.nearest else ""
        raise UserError(f"--scenario {name}: {error.rule}; or give the path of a .toml file{near}") from error
    from station.cli.simulation import check_scenario

    try:
        check_scenario(path)
    except (ValueError, LaneFileError) as error:
        raise UserError(str(error)) from error
    return path


def _tell(daemon: Daemon) -> None:
    """Print what a person needs to know now."""
    facts = daemon.facts
    base = f"http://127.0.0.1:{daemon.port}"
    print(f"Carril {__version__}, lane {facts.lane_id}")
    if facts.simulated:
        print("SIMULATED: not every device is real, no evidence")
    print(f"  screen   {base}/")
    print(f"  feed     {base}/v1/feed")
    if daemon.settings.web_dist is None:
        print("           the screen is not built: run `make web`")
    for name, port in (daemon.simulation.ports if daemon.simulation else {}).items():
        print(f"  {name:<8} emulated on 127.0.0.1:{port}")
    print(f"  state    {_shown(daemon.settings.state)}")
    print("Ctrl-C stops", flush=True)


def _shown(path: Path) -> Path:
    """Return a path as a person says it: relative where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _tell_sealed(message: Mapping[str, Any]) -> None:
    """Print one line for an inspection; never a plate."""
    last = message["lane"]["last"]
    at = time.strftime("%H:%M:%S", time.localtime(last["at_utc_us"] / 1e6))
    print(f"{at}  sealed {message['inspection_id']}  {last['verdict']}  {last['level']}", flush=True)
