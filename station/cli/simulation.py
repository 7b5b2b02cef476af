"""The emulated devices of a lane: a child process with one virtual plant and one emulator per device.

It is a process of its own so that drawing trucks costs the daemon nothing. It reads one line of JSON (the
order), answers with one line of JSON (the ports), and ends when its standard input closes: it never
outlives the daemon. Further lines on standard input are commands; so are lines on its control port, which
``carril sim fault`` uses.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import signal
import subprocess
import sys
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from drivers.geometry import LaneGeometry
from drivers.plant.chaos import FAULTS, ChaosProxy
from drivers.plant.emulator import Emulator
from drivers.plant.rig import free_port
from drivers.plant.vehicle import Scenario, load_scenario
from drivers.plant.world import Plant
from station import plugins
from station.cli.actors import Centre, Officer
from station.lanefile import FOLDER, LaneFileError, UnknownName
from station.lanefile.problems import translate
from station.runtime.clock import SystemClock

log = logging.getLogger("carril.simulation")

FAULT_AT = 0.4
"""A scenario's link faults strike when this share of the truck has passed the scan plane."""
FAULT_FOR_S = 3.0
ANSWER_LIMIT_S = 20.0
END_LIMIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Order:
    """What the child has to play."""

    geometry: dict[str, Any]
    scenario: str
    seed: int
    rate: float
    devices: list[dict[str, Any]]
    """``name``, ``driver`` and ``options`` of each emulated device."""
    actors: bool = True


def check_scenario(path: Path) -> None:
    """Raise ``ValueError`` or ``LaneFileError`` with sentences for a scenario that cannot be played."""
    try:
        scenario = load_scenario(path)
    except ValueError as error:
        cause = error.__cause__
        if isinstance(cause, ValidationError):
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
            raise LaneFileError(path, list(translate(cause, Scenario, raw))) from error
        if isinstance(cause, OSError):
            reason = (cause.strerror or str(cause)).lower()
            rule = (
                f"{path}: cannot be read ({reason}); give the name of a shipped scenario or the path of one"
            )
            raise ValueError(rule) from error
        raise
    if scenario.needs is not None and not scenario.needs.is_file():
        raise ValueError(
            f"the scenario {path.stem} plays the recording {scenario.needs}, which is not there; "
            "put it there or choose another scenario"
        )


# --- the daemon's side --------------------------------------------------------------------------


class Simulation:
    """The child as the daemon sees it.

    It is started before the daemon loads the rest of itself: both take about a second, on two cores.
    """

    def __init__(self) -> None:
        """Start the child; it waits for its order, and ends when nobody is there to give one."""
        command = [sys.executable, "-m", "station.cli.simulation"]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.ports: dict[str, int] = {}
        self.control = 0

    async def start(self, order: Order) -> None:
        """Let it play; ``RuntimeError`` with its own words when it cannot."""
        try:
            await self._tell(asdict(order))
            answer = json.loads(await asyncio.wait_for(asyncio.to_thread(self._hear), ANSWER_LIMIT_S))
        except (TimeoutError, ValueError, OSError):
            self._process.kill()  # which also ends the thread that still listens
            raise RuntimeError("the simulation did not start; its own message stands above") from None
        if "error" in answer:
            raise RuntimeError(answer["error"])
        self.ports, self.control = answer["ports"], answer["control"]

    async def act(self, api_port: int) -> None:
        """Let the scripted officer and centre begin: the station's API is up."""
        await self._tell({"act": api_port})

    async def stop(self) -> None:
        """Close its input and wait for it; kill it after two seconds."""
        await asyncio.to_thread(self.end)

    def end(self) -> None:
        """Close its input and wait for it, without an event loop; idempotent."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        assert self._process.stdout is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    async def _tell(self, order: dict[str, Any]) -> None:
        line = json.dumps(order).encode() + b"\n"
        await asyncio.to_thread(self._write, line)

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def _hear(self) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        return self._process.stdout.readline()


# --- the child's side ---------------------------------------------------------------------------


class Stage:
    """Plant, emulators and their link-fault proxies."""

    def __init__(self, order: Order, scenario: Scenario) -> None:
        """Build everything; opens nothing."""
        self.clock = SystemClock(order.rate)
        geometry = {**order.geometry, "portal_beams_m": tuple(order.geometry["portal_beams_m"])}
        self.plant = Plant(LaneGeometry(**geometry), scenario, self.clock)
        self.emulators: dict[str, Emulator] = {}
        self.proxies: dict[str, ChaosProxy] = {}
        self.folders: set[str] = set()
        """Devices that leave files: there is no link to break."""
        for index, device in enumerate(order.devices):
            spec = plugins.find(device["driver"])
            module, _, name = spec.simulator.partition(":")
            emulator = getattr(importlib.import_module(module), name)
            options = spec.options.model_validate(device["options"])
            if FOLDER in spec.options.model_fields:
                self.folders.add(device["name"])
            self.emulators[device["name"]] = emulator(options, self.plant, self.clock, order.seed + index)

    async def open(self) -> dict[str, int]:
        """Serve; return the port that each driver must use."""
        ports = {}
        for name, emulator in self.emulators.items():
            if name in self.folders:
                await emulator.start()
                continue
            if getattr(emulator, "DATAGRAMS", False):
                ports[name] = await emulator.start()
                continue
            if emulator.DIALS:
                ports[name] = free_port()
                proxy = ChaosProxy(ports[name], device_dials=True)
                await emulator.start(await proxy.start())
            else:
                proxy = ChaosProxy(await emulator.start())
                ports[name] = await proxy.start()
            self.proxies[name] = proxy
        return ports

    async def close(self) -> None:
        """Stop serving."""
        for name, emulator in self.emulators.items():
            if name in self.proxies:
                await self.proxies[name].stop()
            await emulator.stop()

    def fault(self, device: str, fault: str, for_s: float | None) -> None:
        """Set (or with ``none`` end) a fault of the link or of the device's protocol."""
        if device not in self.emulators:
            rule = f"no emulated device has this name; there are {', '.join(self.emulators)}"
            raise UnknownName(rule, device, self.emulators)
        emulator, proxy = self.emulators[device], self.proxies.get(device)
        of_link = FAULTS if proxy is not None else {}
        if fault == "none":
            if proxy is not None:
                proxy.set(None)
            for name in emulator.FAULTS:
                emulator.fault(name, on=False)
        elif fault in emulator.FAULTS:
            emulator.fault(fault, on=True)
            if for_s is not None:
                asyncio.get_running_loop().call_later(for_s, lambda: emulator.fault(fault, on=False))
        elif proxy is not None and fault in of_link:
            proxy.set(fault, for_s=for_s)
        else:
            known = sorted({*emulator.FAULTS, *of_link, "none"})
            raise UnknownName(
                f"{device} has no fault of this name; there are {', '.join(known)}", fault, known
            )

    async def follow_script(self) -> None:
        """Strike with the faults that the scenario gives to a truck, once per passage."""
        struck = 0
        while True:
            await self.clock.sleep(0.05)
            self.plant.advance()
            vehicle = self.plant.vehicle
            if vehicle is None or struck == self.plant.passage:
                continue
            if self.plant.scan_s_m >= FAULT_AT * vehicle.length_m:
                struck = self.plant.passage
                for entry in vehicle.faults:
                    device, _, fault = entry.partition(":")
                    self.fault(device, fault, FAULT_FOR_S)


async def _lines() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _play() -> int:
    commands = await _lines()
    line = await commands.readline()
    if not line:
        return 0  # the station did not start
    order = Order(**json.loads(line))
    try:
        scenario = load_scenario(Path(order.scenario))
        stage = Stage(order, scenario)
        ports = await stage.open()
    except (ValueError, LookupError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 2
    control = await asyncio.start_server(lambda r, w: _control(stage, r, w), "127.0.0.1", 0)
    answer = {"ports": ports, "control": control.sockets[0].getsockname()[1]}
    print(json.dumps(answer), flush=True)
    tasks = [asyncio.create_task(stage.follow_script())]
    while line := await commands.readline():
        api_port = json.loads(line)["act"]
        tasks += [asyncio.create_task(actor.run()) for actor in (Officer(api_port), Centre(api_port))]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    control.close()
    await stage.close()
    return 0


async def _control(stage: Stage, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one line of JSON: ``{"device", "fault", "for_s"}`` or ``{"state": true}``."""
    with contextlib.suppress(ConnectionError):
        answer: dict[str, Any]
        try:
            order = json.loads(await asyncio.wait_for(reader.readline(), 5))
            if order.get("state"):
                answer = {name: emulator.state() for name, emulator in stage.emulators.items()}
            else:
                stage.fault(str(order["device"]), str(order["fault"]), order.get("for_s"))
                answer = {"ok": True}
        except (ValueError, LookupError, TypeError, TimeoutError) as error:
            answer = {"error": str(error)}
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        writer.close()


def main() -> int:
    """Run the child."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)  # a terminal signals the whole group; the daemon ends us
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    return asyncio.run(_play())


if __name__ == "__main__":
    sys.exit(main())
