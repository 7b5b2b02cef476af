"""``carril run``: run a lane; without arguments the shipped simulated one."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import station
from station import __version__
from station.cli.errors import UserError
from station.cli.lanes import add_lane_argument, read_lane
from station.lanefile import UnknownName, shipped

if TYPE_CHECKING:
    from station.cli.daemon import Daemon

DEFAULT_PORT = 8080


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("run", help="run a lane (without arguments: the simulated one)")
    add_lane_argument(parser)
    parser.add_argument("--state", type=Path, metavar="DIR", help="where records are kept")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port on loopback (%(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve; only loopback for now")
    parser.add_argument("--scenario", metavar="NAME|FILE", help="what drives through a simulated lane")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or Ctrl-C; raises ``UserError`` when it cannot start."""
    if arguments.host not in ("127.0.0.1", "localhost"):
        raise UserError(
            f"--host {arguments.host}: until officers can sign in, a lane serves this computer only; "
            "leave --host away or give 127.0.0.1"
        )
    if not 0 <= arguments.port <= 65535:
        raise UserError(f"--port {arguments.port}: a port is a number from 0 to 65535")
    lane_file = read_lane(arguments.lane)
    scenario = _scenario(arguments.scenario)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

    from station.cli.daemon import Daemon, Settings  # half a second of imports: only to run
    from station.store.errors import StoreError

    settings = Settings(
        state=(arguments.state or _state_home(lane_file.lane.id)).absolute(),
        port=arguments.port,
        web_dist=_web_dist(),
        scenario=scenario,
        told=_tell,
        sealed=_tell_sealed,
    )
    try:
        asyncio.run(Daemon(lane_file, settings).run())
    except StoreError as error:
        raise UserError(str(error)) from error
    except RuntimeError as error:
        raise UserError(f"the simulated devices cannot start: {error}") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {arguments.port} is taken by another program; stop it, or choose another port with "
                "--port (make run PORT=…)"
            ) from error
        raise UserError(f"cannot start: {error}") from error
    return 0


def _state_home(lane_id: str) -> Path:
    from platformdirs import user_state_path

    return user_state_path("carril") / lane_id


def _web_dist() -> Path | None:
    dist = Path(station.__file__).parent / "web" / "dist"
    return dist if (dist / "index.html").is_file() else None


def _scenario(given: str | None) -> Path | None:
    if given is None:
        return None
    try:
        path = Path(given) if given.endswith(".toml") else shipped("scenarios", given)
    except UnknownName as error:
        near = f"; did you mean {error.nearest}?" if error.nearest else ""
        raise UserError(f"--scenario {given}: {error.rule}{near}") from error
    from station.cli.simulation import check_scenario

    try:
        check_scenario(path)
    except ValueError as error:
        raise UserError(str(error)) from error
    return path


def _tell(daemon: Daemon) -> None:
    """Print what a person needs to know now."""
    facts = daemon.facts
    base = f"http://127.0.0.1:{daemon.port}"
    print(f"Carril {__version__}, lane {facts.lane_id}")
    if facts.simulated:
        print("SIMULATED: no real vehicle, no radiation source")
    print(f"  screen   {base}/")
    print(f"  feed     {base}/v1/feed")
    if daemon.settings.web_dist is None:
        print("           the screen is not built: run `make web`")
    for name, port in (daemon.simulation.ports if daemon.simulation else {}).items():
        print(f"  {name:<8} emulated on 127.0.0.1:{port}")
    print(f"  state    {os.path.relpath(daemon.settings.state)}")
    print("Ctrl-C stops", flush=True)


def _tell_sealed(message: Mapping[str, Any]) -> None:
    """Print one line for an inspection; never a plate."""
    last = message["lane"]["last"]
    at = time.strftime("%H:%M:%S", time.localtime(last["at_utc_us"] / 1e6))
    print(f"{at}  sealed {message['inspection_id']}  {last['verdict']}  {last['level']}", flush=True)
