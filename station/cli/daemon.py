"""The daemon of one lane: store, emulators, lane, devices and API, in the order of their needs."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from uuid6 import uuid7

from drivers.api import DigitalIo, LineScanner, Reporter, Role
from drivers.readings import Reading, ScanKey
from station import __version__
from station.api.app import create_app
from station.api.directives import directives_router
from station.api.events import events_router
from station.api.lane import lane_router
from station.api.scans import scans_router
from station.api.screens import Screens, ScriptedOfficer, screens_router
from station.api.services import Services
from station.api.stats import stats_router
from station.cli.before import journal_before
from station.cli.errors import UserError
from station.cli.facts import issuers, lane_facts, port_salt
from station.cli.opening import open_when_possible
from station.cli.report import LaneReport, store_reasons
from station.cli.server import server_of
from station.cli.simulation import Order, Simulation
from station.domain.events import InspectionSealed
from station.domain.view import CentreView, DeviceView, LaneView, SimulatedOfficerView
from station.lane.core import BOARD, CHECK_OF_ROLE, LaneFacts
from station.lane.daily import Daily
from station.lane.evidence import Evidence
from station.lane.host import LaneHost, Ports
from station.lane.lane import Lane
from station.lane.outputs import Outputs
from station.lane.vault import StoreVault
from station.lanefile import FOLDER, FittedDevice, LaneFile, shipped
from station.runtime.bus import Bus
from station.runtime.clock import SystemClock, clock_quality
from station.runtime.health import HealthChange
from station.runtime.scarce import ScarceDescriptors
from station.runtime.supervisor import Supervisor
from station.runtime.watchdog import LoopLag, Watchdog, notify
from station.store.journal import Store

log = logging.getLogger("carril")

CENTRE_SILENT_S = 60.0
THINK_LIMIT_S = 2.0
"""A lane that has not let time pass for so long feeds no watchdog: the board then drops its outputs."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line decides; ``told`` is called once everything serves."""

    state: Path
    port: int
    web_dist: Path | None
    scenario: Path | None
    simulation: Simulation | None = None
    """The child, if it was started already."""
    refused: bool = False
    """Whether the lane file was wrong, and this is the last good one."""
    told: Callable[[Daemon], None] = lambda daemon: None
    sealed: Callable[[Mapping[str, Any]], None] = lambda record: None
    """Called with the message of each sealed inspection."""


@dataclass(slots=True)
class Daemon:
    """One running lane."""

    lane_file: LaneFile
    settings: Settings
    clock: SystemClock = field(init=False)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    bus: Bus = field(default_factory=Bus)
    screens: Screens = field(default_factory=Screens)
    lag: LoopLag = field(default_factory=LoopLag)
    watchdog: Watchdog = field(init=False)
    scripted: ScriptedOfficer = field(init=False)
    facts: LaneFacts = field(init=False)
    store: Store = field(init=False)
    vault: StoreVault = field(init=False)
    services: Services = field(init=False)
    daily: Daily = field(init=False)
    host: LaneHost = field(init=False)
    supervisor: Supervisor = field(init=False)
    simulation: Simulation | None = None
    port: int = 0
    serving: bool = False
    failed: bool = False
    """Whether a bug ended it."""
    devices: tuple[FittedDevice, ...] = ()

    def __post_init__(self) -> None:
        """Make what needs nothing else; open nothing."""
        self.clock = SystemClock(self.lane_file.simulation.rate)
        self.scripted = ScriptedOfficer(self.clock.monotonic_s)
        self.facts = lane_facts(self.lane_file)

    async def run(self) -> None:
        """Run until a signal or ``stop``; raises ``OSError``, ``StoreError`` or ``RuntimeError`` at start."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(ScarceDescriptors())
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self.stop.set)
        async with contextlib.AsyncExitStack() as stack:
            listener = stack.enter_context(_listen(self.settings.port))
            opening = (self.lane_file, self.settings.state, self.clock, listener, self.stop)
            if (store := await open_when_possible(*opening)) is None:
                return
            self.store = store
            stack.push_async_callback(asyncio.to_thread, store.close)
            # Not before: its tasks count from now on, and the store may have been waited for.
            journal = {"journal": lambda: self.store.silent_s}
            self.watchdog = Watchdog(("supervisor", "lane", "api"), silent=journal)
            self.devices = await self._simulate(stack)
            outputs = await self._open_lane(stack)
            running = [asyncio.create_task(task) for task in (self.lag.run(), self.watchdog.run())]
            lasting = [part.run(self.stop) for part in (self.host, outputs, self.daily)]
            acting = [asyncio.create_task(task) for task in (*lasting, self._tell_sealed())]
            for task in (*running, *acting):
                task.add_done_callback(partial(self._ended, outputs))
            stack.push_async_callback(_finish, acting, running)
            await self._serve(listener)

    # --- parts, in the order of the start ---------------------------------------------------------

    async def _simulate(self, stack: contextlib.AsyncExitStack) -> tuple[FittedDevice, ...]:
        """Start the emulators and give their ports to the drivers."""
        lane = self.lane_file
        devices = [self._with_folder(device) for device in lane.devices]
        emulated = [device for device in devices if device.mode == "emulated"]
        if not emulated:
            return lane.devices
        order = Order(
            geometry=dataclasses.asdict(lane.geometry),
            scenario=str(self.settings.scenario or shipped("scenarios", lane.simulation.scenario)),
            seed=lane.simulation.seed,
            rate=lane.simulation.rate,
            devices=[
                {"name": d.name, "driver": d.spec.name, "options": d.options.model_dump(mode="json")}
                for d in emulated
            ],
        )
        self.simulation = self.settings.simulation or Simulation()
        stack.push_async_callback(self.simulation.stop)
        await self.simulation.start(order)
        ports = self.simulation.ports
        (self.settings.state / "simulation.json").write_text(f'{{"control": {self.simulation.control}}}\n')
        return tuple(
            dataclasses.replace(d, options=d.options.model_copy(update=_at(ports[d.name])))
            if d.name in ports
            else d
            for d in devices
        )

    def _with_folder(self, device: FittedDevice) -> FittedDevice:
        """Give an emulated device that leaves files a folder for them: as with a real one, it outlives us."""
        if device.mode != "emulated" or FOLDER not in type(device.options).model_fields:
            return device
        folder = str(self.settings.state / "emulated" / device.name)
        return dataclasses.replace(device, options=device.options.model_copy(update={FOLDER: folder}))

    async def _open_lane(self, stack: contextlib.AsyncExitStack) -> Outputs:
        lane = Lane(self.facts, self.clock.stamp(), lambda: str(uuid7()))
        lane.core.clock_quality = clock_quality()
        for device in self.devices:
            lane.core.devices[device.name] = self._device_view(device, "starting", None)
        outputs = Outputs(self._board, self.clock, self._thinks)
        self.vault = StoreVault(self.store, self.settings.state / "scans")
        stack.callback(self.vault.close)
        folder, core = self.settings.state / "daily", lane.core
        self.daily = Daily(folder, core, self.vault, self.clock, lambda day: self.host.report(day))
        stack.callback(self.daily.close)
        ports = Ports(
            journal=self.store,
            vault=self.vault,
            bus=self.bus,
            clock=self.clock,
            set_outputs=outputs.want,
            acknowledge=self._acknowledge,
            taken=self._taken,
            clock_quality=clock_quality,
            suspect=lambda name, code, on: self.supervisor.suspect(name, code, on=on),
            overlay=self._overlay,
            told=self.daily.told,
        )
        self.host = LaneHost(lane, ports, partial(self.watchdog.beat, "lane"))
        stack.callback(self.host.close)
        crash = self.settings.state / "crash"
        self.supervisor = Supervisor(
            self.devices,
            self.clock,
            self._reading,
            self._health,
            crash,
            beat=partial(self.watchdog.beat, "supervisor"),
        )
        before = await journal_before(self.store, self.facts, self.settings.state / "scans", self.vault)
        before = dataclasses.replace(before, lane_file_refused=self.settings.refused)
        self.host.begin(lane.start(__version__, before, self.clock.stamp()))
        self.supervisor.start()
        stack.push_async_callback(self.supervisor.stop)
        await self.store.end_replay()
        return outputs

    async def _serve(self, listener: socket.socket) -> None:
        report = LaneReport(self.host.lane, self.supervisor, self.watchdog, self.store, self.daily)
        self.services = Services(
            self.store,
            self.facts.lane_id,
            self.clock,
            self.stop,
            report,
            self.settings.web_dist,
            self.facts.direction,
            port_salt(self.lane_file),
        )
        evidence = Evidence(self.host, self.store)
        # Once: no file is looked at while the loop has devices to serve.
        beat = partial(self._beat, _web_build(self.settings.web_dist))
        app = create_app(self.services)
        for router in (
            lane_router(self.host, self.facts.officer),
            screens_router(self.host, self.screens, self.scripted),
            scans_router(evidence),
            stats_router(self.host.lane.hours),
            events_router(self.bus, self.stop, self.store, lambda: self.host.view, beat),
            directives_router(self.host, self.store, issuers(self.lane_file)),
        ):
            app.include_router(router)
        server = server_of(app, partial(self.watchdog.beat, "api"))
        serving = asyncio.create_task(server.serve([listener]))
        self.port, self.serving = listener.getsockname()[1], True
        if self.simulation is not None:
            await self.simulation.act(self.port)
        self.settings.told(self)
        notify("READY=1")
        stopping = asyncio.create_task(self.stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        self.stop.set()
        notify("STOPPING=1")
        server.should_exit = True
        await serving

    async def _tell_sealed(self) -> None:
        with self.bus.subscribe() as messages:
            async for message in messages.until(self.stop, 3600):
                if message is not None and message.data.get("type") == InspectionSealed.type_name():
                    self.settings.sealed(message.data)

    # --- between the parts ------------------------------------------------------------------------

    def _reading(self, name: str, reading: Reading) -> None:
        self.daily.reading(name, reading)
        self.host.reading(name, reading)

    def _health(self, name: str, change: HealthChange) -> None:
        device = next(device for device in self.devices if device.name == name)
        self.host.health(self._device_view(device, str(change.to), change.cause), str(change.before))

    def _device_view(self, device: FittedDevice, state: str, cause: str | None) -> DeviceView:
        return DeviceView.model_validate(
            {
                "name": device.name,
                "role": str(device.role),
                "mode": device.mode,
                "required": CHECK_OF_ROLE.get(str(device.role), BOARD) in self.facts.required | {BOARD},
                "state": state,
                "cause": cause,
            }
        )

    def _thinks(self) -> bool:
        """Whether the lane has let time pass lately."""
        return self.clock.monotonic_s() - self.host.ticked_s < THINK_LIMIT_S

    def _ended(self, outputs: Outputs, task: asyncio.Task[None]) -> None:
        """A task without which the lane is not safe has ended: take everything back, then end as a whole."""
        if task.cancelled() or self.stop.is_set():
            return
        log.critical("the station ends: a bug", exc_info=task.exception())
        outputs.drop()
        self.failed = True
        self.stop.set()

    def _board(self) -> DigitalIo | None:
        boards = [device for device in self.devices if device.role == Role.DIGITAL_IO]
        driver = self.supervisor.driver(boards[0].name) if boards else None
        return driver if isinstance(driver, DigitalIo) else None

    def _taken(self, device: str, key: str) -> None:
        driver = self.supervisor.driver(device)
        if isinstance(driver, Reporter):
            task = asyncio.ensure_future(driver.taken(key))
            task.add_done_callback(_log_failed_ack)

    def _acknowledge(self, device: str, key: ScanKey, next_line: int, end: bool) -> None:
        driver = self.supervisor.driver(device)
        if isinstance(driver, LineScanner):
            task = asyncio.ensure_future(driver.ack(key, next_line, end=end))
            task.add_done_callback(_log_failed_ack)

    def _overlay(self, view: LaneView) -> LaneView:
        decides = self.scripted.decides_utc_us
        at = view.at or f"{self.store.epoch}:{self.store.published}"
        officer = SimulatedOfficerView(decides_utc_us=decides) if view.simulated else None
        if told := (*store_reasons(self.store), *self.daily.reasons):
            reasons = (*view.condition_reasons, *told)
            view = view.model_copy(update={"condition": "degraded", "condition_reasons": reasons})
        return view.model_copy(update={"at": at, "centre": self.centre(), "simulated_officer": officer})

    def centre(self) -> CentreView:
        """Return how the central system is doing: when it last asked, what waits for it."""
        required = [consumer.name for consumer in self.lane_file.consumers if consumer.required]
        acked = min(self.store.acked.get(name, 0) for name in required)
        asked_s = self.services.contact.asked_s if self.serving else None
        state = "never"
        if asked_s is not None:
            state = "connected" if self.clock.monotonic_s() - asked_s < CENTRE_SILENT_S else "silent"
        return CentreView.model_validate({"state": state, "waiting": max(0, self.store.published - acked)})

    def _beat(self, web: str) -> Mapping[str, Any]:
        return {
            "utc_us": self.clock.stamp().utc_ns // 1000,
            "seq": self.store.published,
            "ages": {name: round(age_s, 2) for name, age_s in self.supervisor.ages().items()},
            "web": web,
            # Acknowledgements are no records: without this a screen would show an old number for hours.
            "centre": self.centre().model_dump(mode="json"),
        }


@contextlib.contextmanager
def _listen(port: int) -> Iterator[socket.socket]:
    """Bind before anything else is touched: a taken port must change nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = (
                "is taken by another program; stop it, or" if taken else f"cannot be used ({error.strerror});"
            )
            sentence = f"port {port} {reason} choose another port with --port (make run PORT=…)"
            raise UserError(sentence) from error
        listener.listen(128)
        yield listener


def _at(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port}


def _log_failed_ack(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.debug("acknowledgement not sent, the device keeps what it has: %s", error)


def _web_build(dist: Path | None) -> str:
    """Return what changes when the front end was built anew; a running daemon serves one build."""
    index = dist / "index.html" if dist else None
    return str(int(index.stat().st_mtime)) if index and index.is_file() else ""


async def _finish(acting: list[asyncio.Task[None]], running: list[asyncio.Task[None]]) -> None:
    """Give tasks that watch ``stop`` a moment for their last act; cancel the others at once."""
    for task in running:
        task.cancel()
    _, late = await asyncio.wait(acting, timeout=1.0)
    for task in late:
        task.cancel()
    await asyncio.gather(*acting, *running, return_exceptions=True)
