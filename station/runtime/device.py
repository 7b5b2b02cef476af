"""One supervised device: its link opened, read and opened again, whatever its driver does.

What a failure means depends on its class alone (drivers.errors). Anything else that leaves a driver is a
bug: it is reported, and the device is started anew. For devices only here is ``Exception`` caught.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from drivers.api import (
    BadFrame,
    Clock,
    ConfigError,
    ConnectFailed,
    DeviceFault,
    DeviceIdentity,
    Driver,
    DriverContext,
    DriverError,
    LinkLost,
    LinkTimeout,
    ProtocolError,
    Reading,
    Stamp,
)
from station.lanefile import FittedDevice
from station.runtime.clock import GRACE_S, Overdue, let_go, within
from station.runtime.crash import CrashReport, Tail
from station.runtime.health import Health, HealthChange, HealthMachine, limits_for
from station.runtime.retry import EXHAUSTED_S, Backoff, Budget

CONNECT_LIMIT_S = 5.0
BREATH = 64
"""Items of one device after which the other tasks have their turn."""
MOST_KINDS = 32
"""Kinds of bad frames that are counted apart; a driver has a handful."""
KEPT_FRAMES = 16
"""Bad frames that are kept raw for the technician, of each device the newest."""

OnReading = Callable[[str, Reading], None]
OnHealth = Callable[[str, HealthChange], None]

_LOST = {Health.BACKOFF, Health.FAULTED, Health.STALE}
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """What is known of a device now; ``age_s`` is that of its last reading, counters are since the start.

    ``last_bad_frames`` are the newest ones as they came, each with its arrival; ``tail`` are the last 4 KiB
    that came. ``abandoned`` counts tasks of the driver that did not end when they were cancelled.
    """

    state: Health
    cause: str | None
    detail: str
    identity: DeviceIdentity | None
    age_s: float | None
    readings: int
    bad_frames: Mapping[str, int]
    last_bad_frames: tuple[tuple[Stamp, BadFrame], ...]
    opened: int
    crashes: int
    abandoned: int
    tail: bytes


class SupervisedDevice:
    """One device: its task, its driver of the moment, its health."""

    def __init__(
        self,
        device: FittedDevice,
        clock: Clock,
        on_reading: OnReading,
        on_health: OnHealth,
        crash_dir: Path,
        backoff: Backoff,
    ) -> None:
        """Build it; opens nothing."""
        poll_s = getattr(device.options, "poll_s", None)
        self.device = device
        quiet = device.options.QUIET
        self.health = HealthMachine(limits_for(device.role, device.stale_after_s, poll_s, quiet=quiet))
        self.driver: Driver | None = None
        self.task: asyncio.Task[None] | None = None
        self.tail = Tail()
        self._clock = clock
        self._on_reading = on_reading
        self._on_health = on_health
        self._crash_dir = crash_dir
        self._backoff = backoff
        self._budget = Budget()
        self._silent: asyncio.Event = asyncio.Event()
        """Set when the open link must be given up."""
        self._identity: DeviceIdentity | None = None
        self._readings = self._opened = self._crashes = self._abandoned = 0
        self._bad_frames: Counter[str] = Counter()
        self._last_bad_frames: deque[tuple[Stamp, BadFrame]] = deque(maxlen=KEPT_FRAMES)
        self._reports: set[asyncio.Task[None]] = set()
        self._memory: dict[str, Any] = {}

    def start(self) -> None:
        """Begin to open the device."""
        self.task = asyncio.create_task(self._run(), name=self.device.name)

    def status(self) -> DeviceStatus:
        """Return what is known now."""
        health = self.health
        return DeviceStatus(
            state=health.state,
            cause=health.cause,
            detail=health.detail,
            identity=self._identity,
            age_s=health.age_s(self._clock.monotonic_s()),
            readings=self._readings,
            bad_frames=dict(self._bad_frames),
            last_bad_frames=tuple(self._last_bad_frames),
            opened=self._opened,
            crashes=self._crashes,
            abandoned=self._abandoned,
            tail=bytes(self.tail),
        )

    def tick(self) -> None:
        """Let time pass; a link that has been silent for too long is cut, so that it is opened anew."""
        now_s = self._clock.monotonic_s()
        self.tell(self.health.tick(now_s))
        if self.health.reopen_due(now_s):
            self._silent.set()

    def tell(self, change: HealthChange | None) -> None:
        """Log a change, once when lost and once when back, and pass it on."""
        if change is None:
            return
        if change.to in _LOST and change.before not in _LOST:
            log.warning("%s is lost (%s): %s", self.device.name, change.cause, change.detail)
        elif change.before in _LOST and change.to not in _LOST:
            log.info("%s is back", self.device.name)
        elif change.to == Health.DEGRADED:
            log.warning("%s is degraded: %s %s", self.device.name, change.cause, change.detail)
        else:
            log.info("%s: %s, was %s", self.device.name, change.to, change.before)
        try:
            self._on_health(self.device.name, change)
        except Exception as error:  # a bug of who listens must not end the care for the device
            self._report(error)

    async def settle_reports(self) -> None:
        """Wait for crash reports that are being written."""
        if self._reports:
            await asyncio.wait(self._reports, timeout=GRACE_S)

    # --- one try after the other ----------------------------------------------------------------

    async def _run(self) -> None:
        while (pause_s := await self._try()) is not None:
            await self._clock.sleep(pause_s)

    async def _try(self) -> float | None:
        """Open and read until it ends; return the pause before the next try, ``None`` for no other."""
        started_s = self._clock.monotonic_s()
        try:
            await self._session()
        except ConfigError as error:
            self.tell(self.health.refused(str(error)))
            return None
        except DriverError as error:
            if isinstance(error, ProtocolError):
                self._count_bad("protocol")
            pause_s = self._pause_s()
            self.tell(self.health.lost(_cause(error), str(error)))
            return pause_s
        except Exception as error:
            return self._crashed(error, started_s)
        raise AssertionError("a session ends by an error")  # pragma: no cover

    def _pause_s(self) -> float:
        return self._backoff.next_s(*self.health.backoff_s(self._clock.monotonic_s()))

    async def _session(self) -> None:
        """Open the link and read to its end, which is always an error: a lost link at best."""
        context = DriverContext(
            name=self.device.name,
            clock=self._clock,
            log=logging.getLogger(f"{__name__}.{self.device.name}"),
            tap=self._tap,
            memory=self._memory,
        )
        driver = self.device.spec.make(self.device.options, context)
        reading: asyncio.Task[None] | None = None
        try:
            self._identity = await self._open(driver)
            self._opened += 1
            self.driver = driver
            self.tell(self.health.opened(self._clock.monotonic_s()))
            silent = self._silent = asyncio.Event()
            reading = asyncio.create_task(self._read(driver))
            await _first_of(reading, silent)
            if not reading.done():
                raise LinkTimeout("no reading for three times the limit; the link is opened again")
            if reading.cancelled():
                raise RuntimeError("the driver cancelled its own readings")
            reading.result()
            raise LinkLost("the device ended the link")
        finally:
            self.driver = None
            await self._close(driver, reading)

    async def _open(self, driver: Driver) -> DeviceIdentity:
        try:
            return await within(self._clock, CONNECT_LIMIT_S, driver.open())
        except Overdue as late:
            if late.abandoned:
                self._abandon("its driver still tries to open")
            raise ConnectFailed(f"it did not open within {CONNECT_LIMIT_S:g} s") from None

    async def _close(self, driver: Driver, reading: asyncio.Task[None] | None) -> None:
        """End what reads and close the driver, in a second; what takes longer is left behind."""
        closing = asyncio.create_task(driver.close())
        tasks = {closing} if reading is None else {closing, reading}
        if reading is not None:
            let_go(reading)
        await asyncio.wait(tasks, timeout=GRACE_S)  # real seconds: see GRACE_S
        for task in tasks:
            if not task.done():
                what = "close" if task is closing else "stop reading"
                self._abandon(f"its driver does not {what} within {GRACE_S:g} s")
                let_go(task)
        if closing.done() and not closing.cancelled() and (error := closing.exception()) is not None:
            self._report(error)

    def _abandon(self, why: str) -> None:
        self._abandoned += 1
        log.error("%s: %s; it is left behind", self.device.name, why)

    # --- what the driver says -------------------------------------------------------------------

    async def _read(self, driver: Driver) -> None:
        """Deliver readings to the end of the link; a fault of the device does not end it."""
        at_fault = -1
        while True:
            try:
                await self._deliver(driver)
                return
            except DeviceFault as fault:
                self.tell(self.health.fault(self._clock.monotonic_s(), str(fault)))
                if self._readings == at_fault:  # nothing but the same fault again
                    raise LinkLost(f"the device only reports a fault: {fault}") from fault
                at_fault = self._readings

    async def _deliver(self, driver: Driver) -> None:
        items = driver.readings()
        count = 0
        try:
            async for item in items:
                if self.driver is not driver:
                    return  # left behind: what it says now is of a link that was given up
                self._take(item)
                count += 1
                if count % BREATH == 0:
                    await asyncio.sleep(0)
        finally:
            if (aclose := getattr(items, "aclose", None)) is not None:
                await aclose()

    def _take(self, item: Reading | BadFrame) -> None:
        now_s = self._clock.monotonic_s()
        if isinstance(item, BadFrame):
            self._count_bad(item.kind)
            self._last_bad_frames.append((self._clock.stamp(), item))
            self.tell(self.health.bad_frame(now_s))
            return
        self._readings += 1
        self._backoff.reset()
        self.tell(self.health.reading(now_s, item))
        self._on_reading(self.device.name, item)

    def _count_bad(self, kind: str) -> None:
        known = kind in self._bad_frames or len(self._bad_frames) < MOST_KINDS
        self._bad_frames[kind if known else "other"] += 1

    def _tap(self, direction: Literal["rx", "tx"], data: bytes) -> None:
        if direction == "rx":
            self.tail.add(data)

    # --- bugs -----------------------------------------------------------------------------------

    def _crashed(self, error: Exception, started_s: float) -> float:
        self._report(error)
        self._memory.clear()
        now_s = self._clock.monotonic_s()
        what = f"a bug: {type(error).__name__}: {error}"
        if self._budget.crash(now_s, started_s):
            self.tell(self.health.exhausted("crash", f"{what}; it crashed too often, one try a minute"))
            return EXHAUSTED_S
        pause_s = self._pause_s()
        self.tell(self.health.lost("crash", what))
        return pause_s

    def _report(self, error: BaseException) -> None:
        """Write the crash report in a thread: a slow disk must not stop the lane."""
        self._crashes += 1
        report = CrashReport(
            self.device.name, self.device.spec.name, self._clock.stamp(), error, bytes(self.tail)
        )
        task = asyncio.create_task(self._write(report))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _write(self, report: CrashReport) -> None:
        try:
            path = await asyncio.to_thread(report.write, self._crash_dir)
        except OSError as error:
            log.error(
                "%s crashed, and its report cannot be written (%s): %r", report.device, error, report.error
            )
        else:
            log.error("%s crashed: %r; %s", report.device, report.error, path)


async def _first_of(task: asyncio.Task[None], event: asyncio.Event) -> None:
    """Wait until the task has ended or the event is set."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def _cause(error: DriverError) -> str:
    """Return the code of an error's class: ``connect_failed`` for ConnectFailed."""
    words = [f"_{letter.lower()}" if letter.isupper() else letter for letter in type(error).__name__]
    return "".join(words).lstrip("_")
