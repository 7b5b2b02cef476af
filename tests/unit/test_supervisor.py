"""Whatever a driver does, the policy is the supervisor's: in virtual time, with scripted drivers."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from drivers.api import (
    BadFrame,
    CommandRefused,
    ConfigError,
    ConnectFailed,
    DeviceFault,
    DeviceIdentity,
    Driver,
    DriverContext,
    DriverSpec,
    LinkLost,
    LinkTimeout,
    Options,
    ProtocolError,
    Reading,
    Role,
)
from drivers.readings import (
    Channel,
    Counts,
    Inputs,
    Phase,
    ScanClosed,
    ScanKey,
    ScanKind,
    ScannerGeometry,
    ScanOpened,
    Stamp,
)
from station.lanefile import FittedDevice
from station.runtime.device import KEPT_FRAMES
from station.runtime.health import Health, HealthChange
from station.runtime.supervisor import Supervisor
from tests.support.manual_clock import ManualClock

STAMP = Stamp(0, 0, "test")
BACKGROUND = Counts(STAMP, Channel.GAMMA, Phase.BACKGROUND, 1.0, (600, 610))
INPUTS = Inputs(STAMP, {"entry_loop": False})
BAD = BadFrame("bad_checksum", 0, b"\x00")
KEY = ScanKey(1, 7)
GEOMETRY = ScannerGeometry(2, 0.008, 0.4, 3.0, 6.0, 0.001, 4095, "counts", 1.0, 0.0, (), "co60", b"", 0)
IDENTITY = DeviceIdentity("Acme", "P1", "17", "2.0")

Step = Reading | BadFrame | BaseException | float | bytes
"""What a scripted link does: say something, raise something, wait that long, receive bytes."""
FOR_EVER = 1e9


class Scripted:
    """A driver that follows a script for its one link."""

    def __init__(self, context: DriverContext, opening: BaseException | float, link: list[Step]) -> None:
        self.context, self.opening, self.link = context, opening, link
        self.closed = 0

    async def open(self) -> DeviceIdentity:
        if isinstance(self.opening, BaseException):
            raise self.opening
        await self.context.clock.sleep(self.opening)
        return IDENTITY

    async def readings(self) -> AsyncIterator[Reading | BadFrame]:
        while self.link:
            step = self.link.pop(0)
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, float | int):
                await self.context.clock.sleep(step)
            elif isinstance(step, bytes):
                self.context.tap("rx", step)
            else:
                yield step

    async def close(self) -> None:
        self.closed += 1


class Device:
    """A device with a script for each try; the last script is used again and again."""

    def __init__(self, name: str, *tries: list[Step], role: Role = Role.PORTAL_MONITOR) -> None:
        self.name, self.role = name, role
        self.tries = list(tries)
        self.made: list[Scripted] = []

    def fitted(self) -> FittedDevice:
        spec = DriverSpec("scripted", self.role, Options, self._make, "x:X")
        return FittedDevice(self.name, spec, "real", Options())

    def _make(self, _: Options, context: DriverContext) -> Driver:
        script = list(self.tries.pop(0) if len(self.tries) > 1 else self.tries[0])
        opening = script.pop(0) if script and isinstance(script[0], Exception | float) else 0.0
        driver = Scripted(context, opening, script)  # type: ignore[arg-type]  # the first step is the opening
        self.made.append(driver)
        return driver


class Station:
    """A supervisor in virtual time, and everything that it told."""

    def __init__(self, folder: Path, *devices: Device) -> None:
        self.clock = ManualClock()
        self.crash_dir = folder / "crash"
        self.readings: list[tuple[str, Reading]] = []
        self.changes: list[tuple[float, str, HealthChange]] = []
        self.on_reading: Callable[[str, Reading], None] = lambda name, item: self.readings.append(
            (name, item)
        )
        self.supervisor = Supervisor(
            [device.fitted() for device in devices],
            self.clock,
            lambda name, item: self.on_reading(name, item),
            self._on_health,
            self.crash_dir,
            draw=lambda: 0.5,
        )
        self.started_s = self.clock.monotonic_s()

    def _on_health(self, name: str, change: HealthChange) -> None:
        self.changes.append((round(self.now_s, 1), name, change))

    @property
    def now_s(self) -> float:
        return self.clock.monotonic_s() - self.started_s

    def path(self, name: str = "rpm1") -> list[str]:
        return [f"{change.before}→{change.to}" for _, device, change in self.changes if device == name]

    async def reports(self) -> list[str]:
        """The crash reports, oldest first, when all of them are written."""
        await self.supervisor.stop()
        return [path.read_text() for path in sorted(self.crash_dir.glob("*"))]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Station]]:
    stations: list[Station] = []

    def _start(*devices: Device) -> Station:
        station = Station(tmp_path, *devices)
        station.supervisor.start()
        stations.append(station)
        return station

    yield _start
    for station in stations:
        await station.supervisor.stop()


@pytest.fixture
async def released() -> AsyncIterator[asyncio.Event]:
    """Lets what ignores its cancellation end after all, at the latest with the test."""
    event = asyncio.Event()
    yield event
    event.set()
    await asyncio.sleep(0)


Start = Callable[..., Station]

# --- a healthy device -----------------------------------------------------------------------------


async def test_readings_arrive_under_the_name_of_their_device(start: Start) -> None:
    station = start(Device("rpm1", [0.5, b"GB", BACKGROUND, 5.0, BACKGROUND, FOR_EVER]))
    await station.clock.advance(6)
    assert station.readings == [("rpm1", BACKGROUND)] * 2
    assert station.path() == ["starting→online"]
    status = station.supervisor.health("rpm1")
    assert (status.state, status.identity, status.readings, status.opened) == (Health.ONLINE, IDENTITY, 2, 1)
    assert station.supervisor.ages() == {"rpm1": pytest.approx(0.5)}
    assert status.tail == b"GB"


async def test_a_driver_can_be_commanded_while_its_link_is_open(start: Start) -> None:
    device = Device("io1", [0.5, INPUTS, 1.0, LinkLost("gone")], [ConnectFailed("no")], role=Role.DIGITAL_IO)
    station = start(device)
    assert station.supervisor.driver("io1") is None
    assert station.supervisor.ages() == {}
    await station.clock.advance(0.6)
    assert station.supervisor.driver("io1") is device.made[0]
    await station.clock.advance(1.0)
    assert station.supervisor.driver("io1") is None


async def test_stop_closes_every_driver_and_ends_every_task(start: Start) -> None:
    devices = [Device(name, [BACKGROUND, FOR_EVER]) for name in ("rpm1", "rpm2")]
    before = asyncio.all_tasks()
    station = start(*devices)
    await station.clock.advance(1)
    await station.supervisor.stop()
    assert [device.made[0].closed for device in devices] == [1, 1]
    assert asyncio.all_tasks() == before
    await station.supervisor.stop()  # idempotent
    await station.clock.advance(100)
    assert len(station.readings) == 2


# --- the link -------------------------------------------------------------------------------------


async def test_a_link_that_cannot_be_opened_is_tried_again_at_growing_pauses(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    device = Device("rpm1", *[[ConnectFailed("10.0.0.7:1601 refused")]] * 8, [BACKGROUND, FOR_EVER])
    with caplog.at_level(logging.INFO):
        station = start(device)
        await station.clock.advance(0.5 + 1 + 2 + 4 + 8 + 16 + 30 - 0.1)
        assert len(device.made) == 7
        await station.clock.advance(31)
    assert [(at_s, change.to, change.cause) for at_s, _, change in station.changes] == [
        (0.0, "backoff", "connect_failed"),
        (91.5, "online", None),
    ]
    lines = [record.message for record in caplog.records]
    assert lines == ["rpm1 is lost (connect_failed): 10.0.0.7:1601 refused", "rpm1 is back"]


@pytest.mark.parametrize(
    ("ending", "cause"),
    [
        ([LinkLost("reset by peer")], "link_lost"),
        ([LinkTimeout("three polls failed")], "link_timeout"),
        ([], "link_lost"),  # the readings simply end
        ([ProtocolError("no answer fits")], "protocol_error"),
        ([CommandRefused("no")], "command_refused"),
    ],
)
async def test_a_link_that_ends_is_opened_again_by_a_new_driver(
    start: Start, ending: list[Step], cause: str
) -> None:
    device = Device("rpm1", [BACKGROUND, 1.0, *ending], [BACKGROUND, FOR_EVER])
    station = start(device)
    await station.clock.advance(3)
    assert station.path() == ["starting→online", "online→backoff", "backoff→online"]
    assert [change.cause for _, _, change in station.changes] == [None, cause, None]
    assert [driver.closed for driver in device.made] == [1, 0]
    assert len(station.readings) == 2


async def test_peer_fault_2_after_a_reconnect_nobody_reads_the_old_stream(start: Start) -> None:
    device = Device("rpm1", [BACKGROUND, 40.0, INPUTS, FOR_EVER], [BACKGROUND, FOR_EVER])
    station = start(device)
    await station.clock.advance(60)
    assert len(device.made) == 2
    assert [item for _, item in station.readings] == [BACKGROUND, BACKGROUND]


async def test_readings_make_the_next_failure_a_first_one(start: Start) -> None:
    device = Device("rpm1", [BACKGROUND, LinkLost("flap")])
    station = start(device)
    await station.clock.advance(10)
    assert len(device.made) in (20, 21)
    assert station.supervisor.health("rpm1").opened == len(device.made)


async def test_opening_may_take_five_seconds(start: Start) -> None:
    device = Device("rpm1", [FOR_EVER], [BACKGROUND, FOR_EVER])
    station = start(device)
    await station.clock.advance(4.9)
    assert station.path() == []
    await station.clock.advance(1)
    assert station.changes[0][2].detail == "it did not open within 5 s"
    assert device.made[0].closed == 1
    assert station.path() == ["starting→backoff", "backoff→online"]


async def test_an_open_scan_is_picked_up_again_within_a_tenth_of_a_second(start: Start) -> None:
    opened = ScanOpened(STAMP, KEY, ScanKind.VEHICLE, 2, 1, 0.002, 4095, True, False, GEOMETRY)
    device = Device(
        "scanner1",
        [opened, LinkLost("cut")],
        *[[ConnectFailed("refused")]] * 6,
        [opened, ScanClosed(STAMP, KEY, 1, 0, None), LinkLost("cut")],
        [ConnectFailed("refused")],
        role=Role.LINE_SCANNER,
    )
    station = start(device)
    await station.clock.advance(0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 2.0 + 0.01)
    assert len(device.made) == 7
    await station.clock.advance(2.0)
    assert station.path("scanner1")[:3] == ["starting→online", "online→backoff", "backoff→online"]
    assert len(device.made) == 8  # the scan is over: the next try waits half a second
    await station.clock.advance(0.5)
    assert len(device.made) == 9


# --- silence --------------------------------------------------------------------------------------


async def test_silence_is_stale_and_three_times_as_long_opens_a_new_link(start: Start) -> None:
    device = Device("rpm1", [BACKGROUND, FOR_EVER])
    station = start(device)
    await station.clock.advance(36.9)
    assert [(at_s, change.to) for at_s, _, change in station.changes] == [
        (0.0, "online"),
        (12.1, "stale"),
        (36.1, "backoff"),
        (36.6, "online"),
    ]
    assert device.made[0].closed == 1
    assert station.changes[2][2].detail == "no reading for three times the limit; the link is opened again"


async def test_a_silent_link_may_take_its_time_to_end(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    farewells: list[str] = []

    async def readings(self: Scripted) -> AsyncIterator[Reading | BadFrame]:
        yield BACKGROUND
        try:
            await self.context.clock.sleep(FOR_EVER)
        finally:
            await self.context.clock.sleep(0.35)  # several ticks
            farewells.append("said goodbye")

    monkeypatch.setattr(Scripted, "readings", readings)
    station = start(Device("rpm1", [0.0]))
    await station.clock.advance(37)
    assert farewells == ["said goodbye"]


async def test_a_silent_reader_that_ignores_its_end_is_left_behind_and_never_heard_again(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, released: asyncio.Event
) -> None:

    async def readings(self: Scripted) -> AsyncIterator[Reading | BadFrame]:
        yield BACKGROUND
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        yield INPUTS

    monkeypatch.setattr(Scripted, "readings", readings)
    monkeypatch.setattr("station.runtime.device.GRACE_S", 0.01)
    device = Device("rpm1", [0.0])
    station = start(device)
    await station.clock.advance(36.2)
    await asyncio.sleep(0.05)
    await station.clock.advance(1.0)
    assert len(device.made) == 2, "the link is opened again all the same"
    assert station.supervisor.health("rpm1").abandoned == 1
    assert "its driver does not stop reading" in caplog.text
    released.set()
    await station.clock.settle()
    assert INPUTS not in [item for name, item in station.readings][:2], "nobody listens to the old stream"
    assert [item for _, item in station.readings] == [BACKGROUND, BACKGROUND, INPUTS]


async def test_a_driver_that_cancels_itself_is_a_bug_and_is_tried_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = 0

    async def open_(self: Scripted) -> DeviceIdentity:
        nonlocal opened
        opened += 1
        if opened == 1:
            raise asyncio.CancelledError
        return IDENTITY

    monkeypatch.setattr(Scripted, "open", open_)
    device = Device("rpm1", [0.0], [BACKGROUND, asyncio.CancelledError()], [BACKGROUND, FOR_EVER])
    station = start(device)
    await station.clock.advance(4)
    assert station.path() == ["starting→backoff", "backoff→online", "online→backoff", "backoff→online"]
    reports = await station.reports()
    assert len(reports) == 2
    assert "the work cancelled itself" in reports[0]
    assert "the driver cancelled its own readings" in reports[1]


async def test_peer_fault_6_a_failed_poll_publishes_nothing(start: Start) -> None:
    polls: list[Step] = [INPUTS, *[step for _ in range(20) for step in (0.1, BadFrame("exception", 0, b""))]]
    station = start(Device("io1", polls, role=Role.DIGITAL_IO))
    await station.clock.advance(1.0)
    assert station.readings == [("io1", INPUTS)]
    assert station.supervisor.ages()["io1"] == pytest.approx(1.0)
    assert station.supervisor.health("io1").state == Health.STALE


@pytest.mark.fault("F11")
async def test_peer_fault_3_a_step_of_the_wall_clock_changes_nobodys_health(start: Start) -> None:
    station = start(Device("rpm1", [*[BACKGROUND, 5.0] * 100]))
    for step_s in (-3600, 7200, 86_400 * 3650):
        await station.clock.advance(7)
        station.clock.step_utc(step_s)
    assert station.path() == ["starting→online"]
    assert station.supervisor.ages()["rpm1"] < 5


# --- protocol, faults, options --------------------------------------------------------------------


async def test_bad_frames_are_counted_and_reading_goes_on(start: Start) -> None:
    station = start(
        Device("rpm1", [BACKGROUND, BAD, BACKGROUND, BAD, BadFrame("too_long", 9, b""), FOR_EVER])
    )
    await station.clock.advance(1)
    status = station.supervisor.health("rpm1")
    assert status.bad_frames == {"bad_checksum": 2, "too_long": 1}
    assert (status.state, status.cause, status.readings) == (Health.DEGRADED, "bad_frames", 2)


async def test_the_newest_bad_frames_are_kept_raw_for_the_technician(start: Start) -> None:
    frames: list[Step] = [BadFrame("not_ascii", number, bytes([number])) for number in range(100)]
    station = start(Device("rpm1", [BACKGROUND, *frames, FOR_EVER]))
    await station.clock.advance(1)
    kept = station.supervisor.health("rpm1").last_bad_frames
    assert [frame for _, frame in kept] == frames[-KEPT_FRAMES:]
    assert {stamp.boot_id for stamp, _ in kept} == {"manual"}


async def test_kinds_of_bad_frames_do_not_grow_without_bound(start: Start) -> None:
    frames = [BadFrame(f"kind {number}", 0, b"") for number in range(1000)]
    station = start(Device("rpm1", [*frames, FOR_EVER]))
    await station.clock.advance(1)
    counted = station.supervisor.health("rpm1").bad_frames
    assert len(counted) <= 33
    assert sum(counted.values()) == 1000


async def test_a_device_fault_degrades_and_reading_goes_on_over_the_same_link(start: Start) -> None:
    device = Device("rpm1", [BACKGROUND, DeviceFault("high voltage"), 1.0, BACKGROUND, FOR_EVER])
    station = start(device)
    await station.clock.advance(2)
    assert len(device.made) == 1
    assert len(station.readings) == 2
    assert station.path() == ["starting→online", "online→degraded"]
    assert station.supervisor.health("rpm1").detail == "high voltage"


async def test_a_device_that_only_reports_its_fault_is_opened_again(start: Start) -> None:
    device = Device("rpm1", [0.0, DeviceFault("hot"), DeviceFault("hot")])
    station = start(device)
    await station.clock.advance(1)
    assert len(device.made) == 2
    assert station.path()[:2] == ["starting→degraded", "degraded→backoff"]


async def test_options_that_cannot_work_are_not_tried_again(start: Start) -> None:
    device = Device("rpm1", [ConfigError("the device has 2 panels, the lane file 4")])
    station = start(device)
    await station.clock.advance(300)
    assert len(device.made) == 1
    assert station.changes[0][2] == HealthChange(
        Health.STARTING, Health.FAULTED, "config", "the device has 2 panels, the lane file 4"
    )


# --- bugs -----------------------------------------------------------------------------------------


async def test_a_crash_costs_only_its_device_and_leaves_a_report(start: Start) -> None:
    crashing = Device("rpm1", [BACKGROUND, b"GS,0001", KeyError("GS")], [BACKGROUND, FOR_EVER])
    healthy = Device("rpm2", [*[BACKGROUND, 0.1] * 50])
    station = start(crashing, healthy)
    await station.clock.advance(4.95)
    assert len([name for name, _ in station.readings if name == "rpm2"]) == 50
    assert station.path("rpm1") == ["starting→online", "online→backoff", "backoff→online"]
    assert station.path("rpm2") == ["starting→online"]
    assert station.supervisor.health("rpm1").crashes == 1
    (report,) = await station.reports()
    assert report.startswith("device rpm1, driver scripted\nat 2026-01-01T00:00:00.000000Z, monotonic 1000.")
    assert "Traceback" in report
    assert "KeyError: 'GS'" in report
    assert "the last 7 bytes from the device:\n0000  47 53 2c 30 30 30 31" in report
    assert "GS,0001" in report


async def test_devices_that_misbehave_cost_a_healthy_one_not_a_reading(
    start: Start, monkeypatch: pytest.MonkeyPatch, released: asyncio.Event
) -> None:
    """One crashes, one hangs, one floods, one says rubbish; the healthy one sends 50 readings a second."""
    monkeypatch.setattr("station.runtime.device.GRACE_S", 0.001)

    async def close(self: Scripted) -> None:
        if self.context.name == "hangs":
            await released.wait()

    monkeypatch.setattr(Scripted, "close", close)
    station = start(
        Device("crashes", [BACKGROUND, ZeroDivisionError("bug")]),
        Device("hangs", [FOR_EVER]),
        Device("floods", [*[BACKGROUND] * 2_000, LinkLost("gone")]),
        Device("rubbish", [*[BAD] * 2_000, 1.0]),
        Device("healthy", [*[step for _ in range(500) for step in (0.02, INPUTS)], FOR_EVER]),
    )
    for _ in range(101):
        await station.clock.advance(0.1)
    healthy = [item for name, item in station.readings if name == "healthy"]
    assert healthy == [INPUTS] * 500
    assert station.path("healthy") == ["starting→online"]
    assert station.path("crashes")[-1].endswith("→faulted")
    assert station.path("hangs") == ["starting→backoff"]
    released.set()


async def test_five_crashes_in_a_minute_are_a_fault_and_one_try_a_minute(start: Start) -> None:
    device = Device("rpm1", *[[ZeroDivisionError("bug")]] * 7, [BACKGROUND, FOR_EVER])
    station = start(device)
    await station.clock.advance(0.5 + 1 + 2 + 4 + 1)
    assert len(device.made) == 5
    assert station.path() == ["starting→backoff", "backoff→faulted"]
    await station.clock.advance(58)
    assert len(device.made) == 5
    await station.clock.advance(2)
    assert len(device.made) == 6
    await station.clock.advance(60)
    assert len(device.made) == 7
    await station.clock.advance(60)
    assert station.path()[-1] == "faulted→online"


async def test_a_driver_that_cannot_even_be_made_is_a_bug_too(start: Start, tmp_path: Path) -> None:
    device = Device("rpm1", [BACKGROUND])
    device._make = lambda *_: 1 / 0  # type: ignore[method-assign,assignment,return-value]  # the bug
    station = start(device)
    await station.clock.advance(0.1)
    assert station.changes[0][2].cause == "crash"


async def test_a_bug_of_whoever_listens_to_readings_is_reported_as_a_crash(start: Start) -> None:
    station = start(Device("rpm1", [BACKGROUND, FOR_EVER]))

    def buggy(name: str, item: Reading) -> None:
        raise RuntimeError("the lane has a bug")

    station.on_reading = buggy
    await station.clock.advance(0.1)
    assert station.path() == ["starting→online", "online→backoff"]
    (report,) = await station.reports()
    assert "the lane has a bug" in report


async def test_a_bug_of_whoever_listens_to_health_ends_nothing(
    tmp_path: Path,
) -> None:
    def buggy(name: str, change: HealthChange) -> None:
        raise RuntimeError("bug")

    clock = ManualClock()
    got: list[Reading] = []
    device = Device("rpm1", [BACKGROUND, 20.0, BACKGROUND, FOR_EVER])
    supervisor = Supervisor(
        [device.fitted()], clock, lambda _, item: got.append(item), buggy, tmp_path, draw=lambda: 0.5
    )
    supervisor.start()
    await clock.advance(30)
    assert len(got) == 2
    await supervisor.stop()
    assert len(os.listdir(tmp_path)) == 3  # online, stale, online


async def test_a_bug_in_close_is_reported_and_the_device_goes_on(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def close(self: Scripted) -> None:
        raise ValueError("already closed")

    monkeypatch.setattr(Scripted, "close", close)
    station = start(Device("rpm1", [BACKGROUND, LinkLost("gone")], [BACKGROUND, FOR_EVER]))
    await station.clock.advance(2)
    assert station.path() == ["starting→online", "online→backoff", "backoff→online"]
    assert "already closed" in (await station.reports())[0]


async def test_a_driver_that_does_not_close_is_left_behind(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def close(self: Scripted) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Scripted, "close", close)
    monkeypatch.setattr("station.runtime.device.GRACE_S", 0.01)
    device = Device("rpm1", [BACKGROUND, LinkLost("gone")], [BACKGROUND, FOR_EVER])
    station = start(device)
    for _ in range(100):
        await asyncio.sleep(0.005)
        await station.clock.advance(0.1)
        if len(device.made) == 2:
            break
    assert station.path()[-1] == "backoff→online"
    assert station.supervisor.health("rpm1").abandoned == 1


async def test_a_driver_that_ignores_its_end_holds_up_no_stop(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, released: asyncio.Event
) -> None:

    async def open_(self: Scripted) -> DeviceIdentity:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        return IDENTITY

    monkeypatch.setattr(Scripted, "open", open_)
    monkeypatch.setattr("station.runtime.supervisor.STOP_LIMIT_S", 0.01)
    station = start(Device("rpm1", [BACKGROUND]))
    await station.clock.advance(0.1)
    await asyncio.wait_for(station.supervisor.stop(), 2.0)
    assert "rpm1 does not stop" in caplog.text
    released.set()


async def test_a_supervisor_that_ends_by_a_bug_is_not_silent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    supervisor = Supervisor([], clock, lambda *_: None, lambda *_: None, tmp_path, beat=lambda: 1 / 0)
    supervisor.start()
    await clock.advance(1)
    assert "nobody watches the devices any more" in caplog.text
    await supervisor.stop()


async def test_a_crash_report_that_cannot_be_written_stops_nothing(start: Start, tmp_path: Path) -> None:
    (tmp_path / "crash").write_text("a file where the folder should be")
    station = start(Device("rpm1", [ZeroDivisionError("bug")], [BACKGROUND, FOR_EVER]))
    await station.clock.advance(1)
    assert station.path()[-1] == "backoff→online"


async def test_a_flood_lets_the_other_tasks_have_their_turn(start: Start) -> None:
    station = start(Device("rpm1", [*[BACKGROUND] * 5_000, FOR_EVER]))
    turns = 0
    while len(station.readings) < 5_000:
        await asyncio.sleep(0)
        turns += 1
    assert turns > 5_000 / 100


# --- persons and the lane -------------------------------------------------------------------------


async def test_a_disabled_device_is_closed_until_it_is_enabled(start: Start) -> None:
    device = Device("rpm1", [BACKGROUND, FOR_EVER])
    station = start(device)
    await station.clock.advance(1)
    await station.supervisor.disable("rpm1", "M. Ortiz: pole hit by a truck")
    await station.clock.advance(100)
    assert (len(device.made), device.made[0].closed) == (1, 1)
    assert station.supervisor.driver("rpm1") is None
    station.supervisor.enable("rpm1")
    await station.clock.advance(1)
    assert station.path() == ["starting→online", "online→disabled", "disabled→starting", "starting→online"]
    station.supervisor.enable("rpm1")  # already is
    assert len(device.made) == 2


async def test_a_driver_that_closes_late_takes_nothing_from_its_successor(
    start: Start, monkeypatch: pytest.MonkeyPatch, released: asyncio.Event
) -> None:

    async def close(self: Scripted) -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    monkeypatch.setattr(Scripted, "close", close)
    monkeypatch.setattr("station.runtime.supervisor.STOP_LIMIT_S", 0.01)
    device = Device("rpm1", [BACKGROUND, FOR_EVER])
    station = start(device)
    await station.clock.advance(1)
    await station.supervisor.disable("rpm1", "M. Ortiz")
    station.supervisor.enable("rpm1")
    await station.clock.advance(1)
    released.set()
    await station.clock.settle()
    assert station.supervisor.driver("rpm1") is device.made[1]


async def test_the_lane_may_suspect_a_device(start: Start) -> None:
    station = start(Device("lpr1", [0.0, FOR_EVER], role=Role.CAMERA))
    await station.clock.advance(0.1)
    station.supervisor.suspect("lpr1", "no_reads", on=True)
    assert station.supervisor.health("lpr1").cause == "no_reads"
    station.supervisor.suspect("lpr1", "no_reads", on=False)
    assert station.path("lpr1") == ["starting→online", "online→degraded", "degraded→online"]


async def test_the_watchdog_hears_every_tick(tmp_path: Path) -> None:
    clock, beats = ManualClock(), []
    supervisor = Supervisor(
        [], clock, lambda *_: None, lambda *_: None, tmp_path, beat=lambda: beats.append(1)
    )
    supervisor.start()
    await clock.advance(1.05)
    assert len(beats) == 10
    await supervisor.stop()
