"""``carril probe DEVICE``: open one device's driver alone and say what comes from it."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from drivers.api import BadFrame, DeviceIdentity, Driver, DriverContext, DriverError, Reading
from station.cli import arguments
from station.cli.errors import UserError
from station.cli.lanes import add_lane_argument, read_lane
from station.lanefile import FittedDevice, LaneFile, UnknownName, contact_portals
from station.runtime.clock import Overdue, SystemClock, end, within
from station.runtime.device import CONNECT_LIMIT_S

LONGEST_LINE = 160
HEAD_BYTES = 16
MOST_VALUES = 12


@dataclass(slots=True)
class Heard:
    """What has come: counts, and the last of each kind."""

    readings: Counter[str] = field(default_factory=Counter)
    bad_frames: Counter[str] = field(default_factory=Counter)
    last: dict[str, Reading | BadFrame] = field(default_factory=dict)

    def add(self, item: Reading | BadFrame) -> None:
        """Count one item."""
        bad = isinstance(item, BadFrame)
        kind = f"bad frame {item.kind}" if isinstance(item, BadFrame) else type(item).__name__
        (self.bad_frames if bad else self.readings)[kind] += 1
        self.last[kind] = item


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("probe", help="open one device alone and show what it says")
    parser.add_argument("device", metavar="DEVICE", help="its name in the lane file")
    add_lane_argument(parser)
    parser.add_argument(
        "--for", dest="seconds", type=arguments.seconds, default=5.0, metavar="S", help="seconds (5)"
    )
    parser.add_argument("--host", help="address instead of the lane file's")
    parser.add_argument("--port", type=arguments.port, help="port instead of the lane file's")
    parser.set_defaults(command=run)


def run(given: argparse.Namespace) -> int:
    """Print identity, readings per second, last values and bad frames; 0 if any reading came, else 1."""
    lane = read_lane(given.lane)
    device = _find(lane, given.device)
    place = {key: value for key in ("host", "port") if (value := getattr(given, key)) is not None}
    if device.mode == "emulated" and not place:
        raise UserError(
            f"{device.name} is emulated: it exists only while `carril run` runs; "
            "give the --port that this prints"
        )
    if missing := place.keys() - type(device.options).model_fields.keys():
        raise UserError(f"{device.name} has no {' and no '.join(sorted(missing))}: its driver takes none")
    device = dataclasses.replace(device, options=device.options.model_copy(update=place))
    heard = asyncio.run(_probe(device, given.seconds))
    for line in _summary(heard):
        print(line)
    return 0 if heard.readings else 1


def _find(lane: LaneFile, name: str) -> FittedDevice:
    names = [device.name for device in lane.devices]
    for board, portal, _ in contact_portals(lane.devices):
        if portal == name:
            raise UserError(
                f"{name} is contacts of {board.name} and has no link of its own: probe {board.name}"
            )
    if name not in names:
        rule = f"no device of {lane.path} has this name; there are {', '.join(names)}"
        raise UserError(str(UnknownName(rule, name, names)))
    return lane.devices[names.index(name)]


async def _probe(device: FittedDevice, seconds: float) -> Heard:
    clock = SystemClock()
    log = logging.getLogger(f"carril.probe.{device.name}")
    driver = device.spec.make(device.options, DriverContext(device.name, clock, log, lambda *_: None))
    heard = Heard()
    try:
        identity = await within(clock, CONNECT_LIMIT_S, driver.open())
        print(f"{device.name}: {device.role}, driver {device.spec.name}, {_identity(identity)}", flush=True)
        reading = asyncio.create_task(_read(driver, heard))
        shown, started_s = Counter[str](), clock.monotonic_s()
        while not reading.done() and (left_s := started_s + seconds - clock.monotonic_s()) > 0:
            await asyncio.wait({reading}, timeout=min(1.0, left_s))
            everything = heard.readings + heard.bad_frames
            new = ", ".join(f"{count} {kind}" for kind, count in (everything - shown).items())
            print(f"{clock.monotonic_s() - started_s:6.1f} s  {new or 'nothing'}", flush=True)
            shown = everything
        if reading.done():
            reading.result()
            print("the device ended the link")
        await end(reading)
    except Overdue:
        raise UserError(f"{device.name} did not open within {CONNECT_LIMIT_S:g} s", 1) from None
    except DriverError as error:
        raise UserError(f"{device.name}: {error}", 1) from error
    finally:
        await driver.close()
    return heard


async def _read(driver: Driver, heard: Heard) -> None:
    async for item in driver.readings():
        heard.add(item)


# --- for people -----------------------------------------------------------------------------------


def _identity(identity: DeviceIdentity) -> str:
    known = [f"{name} {value}" for name, value in dataclasses.asdict(identity).items() if value]
    return ", ".join(known) or "it does not say who it is"


def _summary(heard: Heard) -> Iterator[str]:
    readings, bad = heard.readings.total(), heard.bad_frames.total()
    yield f"{readings} readings, {bad} bad frames"
    for kind, item in heard.last.items():
        line = f"  last {kind}: {', '.join(_fields(item))}"
        yield line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"


def _fields(item: Reading | BadFrame) -> Iterator[str]:
    """Yield what a reading says, without when it came and without its bytes on the wire."""
    for each in dataclasses.fields(item):
        value = getattr(item, each.name)
        if each.name not in ("stamp", "raw", "wire", "body"):
            yield f"{each.name} {_value(value)}"


def _value(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {'×'.join(map(str, value.shape))}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes {value[:HEAD_BYTES].hex(' ')}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, tuple) and len(value) <= MOST_VALUES:
        return "[" + ", ".join(_value(inner) for inner in value) + "]"
    return str(value)
