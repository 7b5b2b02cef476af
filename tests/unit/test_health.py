"""One table, one writer: what happens to a device, and what its health becomes."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.api import Role
from drivers.readings import (
    CameraRead,
    Channel,
    Counts,
    DeviceFlag,
    Inputs,
    LineBlock,
    OccupancyEnd,
    Phase,
    Picture,
    PortalStatus,
    Reading,
    ScanClosed,
    ScanKey,
    ScanKind,
    ScannerGeometry,
    ScanOpened,
    SourceStatus,
    Speed,
    Stamp,
)
from station.runtime.health import (
    TABLE,
    Health,
    HealthChange,
    HealthMachine,
    Limits,
    News,
    limits_for,
)
from station.runtime.retry import Backoff, Budget

STAMP = Stamp(0, 0, "test")
KEY = ScanKey(1, 7)
GEOMETRY = ScannerGeometry(2, 0.008, 0.4, 3.0, 6.0, 0.001, 4095, "counts", 1.0, 0.0, (), "co60", b"", 0)

BACKGROUND = Counts(STAMP, Channel.GAMMA, Phase.BACKGROUND, 1.0, (600, 610))
SCAN_OPENED = ScanOpened(STAMP, KEY, ScanKind.VEHICLE, 2, 1, 0.002, 4095, True, False, GEOMETRY)
LINES = LineBlock(
    STAMP, KEY, 0, np.zeros((1, 1, 2), np.uint16), np.zeros(1, np.int64), None, None, np.zeros(1, np.uint16)
)
SCAN_CLOSED = ScanClosed(STAMP, KEY, 1, 0, None)
INPUTS = Inputs(STAMP, {"entry_loop": False})
PLATE = CameraRead(STAMP, "plate", "LXR4827", "US-TX", 0.9, "1", "", False, ())
OCCUPANCY_END = OccupancyEnd(STAMP, 5)


def scan(*counts: int | None) -> Counts:
    return Counts(STAMP, Channel.GAMMA, Phase.SCAN, 0.2, counts or (120, 121))


def polled(**levels: bool) -> PortalStatus:
    return PortalStatus(STAMP, **levels)


def status(*, detector_ok: bool = True, faults: int = 0) -> SourceStatus:
    return SourceStatus(STAMP, False, False, True, True, False, detector_ok, faults)


class Device:
    """A health machine whose time is moved by hand."""

    def __init__(self, role: Role, stale_after_s: float | None = None, poll_s: float | None = None) -> None:
        self.machine = HealthMachine(limits_for(role, stale_after_s, poll_s))
        self.now_s = 100.0
        self.changes: list[HealthChange] = []

    def note(self, change: HealthChange | None) -> None:
        if change is not None:
            self.changes.append(change)

    def open(self) -> Device:
        self.note(self.machine.opened(self.now_s))
        return self

    def read(self, reading: Reading, times: int = 1, every_s: float = 0.0) -> Device:
        for _ in range(times):
            self.now_s += every_s
            self.note(self.machine.reading(self.now_s, reading))
        return self

    def bad(self, times: int = 1) -> Device:
        for _ in range(times):
            self.note(self.machine.bad_frame(self.now_s))
        return self

    def wait(self, seconds: float) -> Device:
        self.now_s += seconds
        self.note(self.machine.tick(self.now_s))
        return self

    @property
    def state(self) -> Health:
        return self.machine.state

    @property
    def path(self) -> list[str]:
        return [f"{change.before}→{change.to}" for change in self.changes]


# --- the table ------------------------------------------------------------------------------------

LEADS_TO = {
    #              live       suspect     silent     lost       exhausted  refused    disabled    enabled
    "starting": ("online", "degraded", "stale", "backoff", "faulted", "faulted", "disabled", "starting"),
    "online": ("online", "degraded", "stale", "backoff", "faulted", "faulted", "disabled", "online"),
    "degraded": ("online", "degraded", "stale", "backoff", "faulted", "faulted", "disabled", "degraded"),
    "stale": ("online", "degraded", "stale", "backoff", "faulted", "faulted", "disabled", "stale"),
    "backoff": ("online", "degraded", "backoff", "backoff", "faulted", "faulted", "disabled", "backoff"),
    "faulted": ("online", "degraded", "faulted", "faulted", "faulted", "faulted", "disabled", "faulted"),
    "disabled": ("disabled",) * 7 + ("starting",),
}


@pytest.mark.parametrize("state", Health)
def test_where_each_news_leads(state: Health) -> None:
    assert tuple(TABLE[state].get(news, state) for news in News) == LEADS_TO[state]


def test_peer_fault_8_a_fault_never_clears_itself() -> None:
    """Only fresh readings make a device better: no passing time, no timer, no screen."""
    better = {Health.ONLINE, Health.DEGRADED}
    for state in (Health.STALE, Health.BACKOFF, Health.FAULTED, Health.DISABLED):
        ways_up = {news for news in News if TABLE[state].get(news, state) in better}
        assert ways_up <= {News.LIVE, News.SUSPECT}
    device = Device(Role.PORTAL_MONITOR).open().read(BACKGROUND)
    device.note(device.machine.exhausted("crash", "a bug"))
    for _ in range(1000):
        device.wait(10.0)
    assert device.state == Health.FAULTED


# --- online and back ------------------------------------------------------------------------------


def test_online_needs_a_reading_and_not_only_a_link() -> None:
    device = Device(Role.PORTAL_MONITOR).open()
    assert device.state == Health.STARTING
    device.wait(5.0).read(BACKGROUND)
    assert device.path == ["starting→online"]


@pytest.mark.parametrize("role", [Role.CAMERA, Role.TEXT_READER])
def test_what_speaks_only_when_something_passes_is_online_with_its_link(role: Role) -> None:
    device = Device(role).open()
    assert device.path == ["starting→online"]
    device.wait(86_400)
    assert device.state == Health.ONLINE
    assert not device.machine.reopen_due(device.now_s)


def test_lost_once_and_back_once_however_many_tries_it_takes() -> None:
    device = Device(Role.PORTAL_MONITOR).open().read(BACKGROUND)
    for _ in range(20):
        device.note(device.machine.lost("connect_failed", "refused"))
        device.wait(1.0)
    device.open().wait(1.0).read(BACKGROUND)
    assert device.path == ["starting→online", "online→backoff", "backoff→online"]
    assert (device.changes[1].cause, device.changes[1].detail) == ("connect_failed", "refused")


def test_a_link_that_opens_and_says_only_rubbish_is_not_back() -> None:
    device = Device(Role.PORTAL_MONITOR).open().read(BACKGROUND)
    device.note(device.machine.lost("link_lost", "gone"))
    device.open().bad(100).wait(1.0)
    assert device.state == Health.BACKOFF


def test_options_that_cannot_work_are_a_fault_at_once() -> None:
    device = Device(Role.PORTAL_MONITOR)
    device.note(device.machine.refused("no such panel"))
    assert device.changes == [HealthChange(Health.STARTING, Health.FAULTED, "config", "no such panel")]


def test_a_person_disables_and_enables() -> None:
    device = Device(Role.PORTAL_MONITOR).open().read(BACKGROUND)
    device.note(device.machine.disabled("M. Ortiz: pole hit by a truck"))
    device.read(BACKGROUND).wait(100)
    assert device.state == Health.DISABLED
    device.note(device.machine.enabled())
    assert device.path[-2:] == ["online→disabled", "disabled→starting"]


# --- silence --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "readings", "poll_s", "stale_s", "reopen_s"),
    [
        (Role.PORTAL_MONITOR, [BACKGROUND], None, 12.0, 36.0),
        (Role.PORTAL_MONITOR, [scan(), scan(9)], None, 2.0, 6.0),
        (Role.PORTAL_MONITOR, [BACKGROUND, scan()], None, 2.0, 6.0),
        (Role.LINE_SCANNER, [status()], None, 3.0, 9.0),
        (Role.LINE_SCANNER, [SCAN_OPENED], None, 2.5, 5.0),
        (Role.LINE_SCANNER, [SCAN_OPENED, LINES, status()], None, 2.5, 5.0),
        (Role.LINE_SCANNER, [SCAN_OPENED, LINES, SCAN_CLOSED], None, 3.0, 9.0),
        (Role.DIGITAL_IO, [INPUTS], 1.0, 3.0, 9.0),
        (Role.DIGITAL_IO, [INPUTS], 0.05, 0.5, 1.5),
    ],
)
def test_silence_is_stale_and_three_times_as_long_reopens(
    role: Role, readings: list[Reading], poll_s: float | None, stale_s: float, reopen_s: float
) -> None:
    device = Device(role, poll_s=poll_s).open()
    for reading in readings:
        device.read(reading)
    device.wait(stale_s)
    assert device.state == Health.ONLINE
    device.wait(0.01)
    assert (device.state, device.machine.cause) == (Health.STALE, "silence")
    assert device.changes[-1].detail == f"no reading for {stale_s:.1f} s, limit {stale_s:g} s"
    device.wait(reopen_s - stale_s - 0.02)
    assert not device.machine.reopen_due(device.now_s)
    device.wait(0.02)
    assert device.machine.reopen_due(device.now_s)
    device.read(readings[-1])
    assert device.path[-1] == "stale→online"


def test_a_silent_link_that_never_spoke_is_stale_too() -> None:
    device = Device(Role.PORTAL_MONITOR).open().wait(12.1)
    assert device.path == ["starting→stale"]


def test_the_lane_file_may_shorten_and_lengthen_the_limit() -> None:
    device = Device(Role.PORTAL_MONITOR, stale_after_s=1.0).open().read(scan()).read(scan(9)).wait(1.1)
    assert device.state == Health.STALE
    device = Device(Role.PORTAL_MONITOR, stale_after_s=60.0).open().read(BACKGROUND).wait(59.0)
    assert device.state == Health.ONLINE
    device.read(scan()).read(scan(9)).wait(2.1)  # a longer limit is for the vacant portal only
    assert device.state == Health.STALE
    assert Device(Role.CAMERA, stale_after_s=2.0).open().wait(2.1).state == Health.STALE


def test_the_tail_of_an_occupancy_leaves_the_portal_vacant() -> None:
    device = Device(Role.PORTAL_MONITOR).open()
    device.read(scan(1)).read(scan(2)).read(OCCUPANCY_END).read(scan(3)).wait(4.9)
    assert device.state == Health.ONLINE
    device.read(BACKGROUND)
    assert device.path == ["starting→online"]


def test_speed_and_set_up_say_nothing_about_occupancy() -> None:
    device = Device(Role.PORTAL_MONITOR).open().read(scan(1)).read(scan(2)).read(Speed(STAMP, 2.0))
    assert device.machine.busy


def test_bad_frames_are_no_sign_of_life() -> None:
    device = Device(Role.PORTAL_MONITOR).open().read(BACKGROUND)
    for _ in range(13):
        device.wait(1.0).bad()
    assert device.state == Health.STALE


def test_peer_fault_6_a_poll_that_fails_leaves_the_old_value_old() -> None:
    device = Device(Role.DIGITAL_IO).open().read(INPUTS)
    for _ in range(10):
        device.wait(0.05).bad()
    assert device.machine.age_s(device.now_s) == pytest.approx(0.5)
    device.wait(0.05)
    assert device.state == Health.STALE


# --- suspicion ------------------------------------------------------------------------------------


def test_more_than_one_bad_frame_in_a_hundred_degrades_for_as_long_as_it_lasts() -> None:
    device = Device(Role.LINE_SCANNER).open().read(status(), times=200)
    device.bad(2)
    assert device.state == Health.ONLINE  # 2 of 202 is less than 1 %
    device.bad()
    assert (device.state, device.machine.cause) == (Health.DEGRADED, "bad_frames")
    device.read(status(), times=59, every_s=1.0)
    assert device.state == Health.DEGRADED
    device.read(status(), times=2, every_s=1.0)
    assert device.path == ["starting→online", "online→degraded", "degraded→online"]


def test_a_warning_of_a_portal_degrades_until_it_is_over_and_is_no_fault() -> None:
    device = Device(Role.PORTAL_MONITOR).open().read(PortalStatus(STAMP, fault=False, warning=True))
    assert (device.state, device.machine.cause) == (Health.DEGRADED, "device_warning")
    device.read(PortalStatus(STAMP, fault=True, warning=True))
    assert (device.state, device.machine.cause) == (Health.DEGRADED, "device_fault,device_warning")
    device.read(PortalStatus(STAMP, fault=False, warning=None))
    assert device.machine.cause == "device_warning", "what says nothing of it ends nothing"
    device.read(PortalStatus(STAMP, fault=False, warning=False))
    assert device.state == Health.ONLINE


def test_a_single_bad_frame_never_degrades() -> None:
    assert Device(Role.PORTAL_MONITOR).open().read(BACKGROUND).bad().state == Health.ONLINE
    assert Device(Role.PORTAL_MONITOR).open().read(BACKGROUND).bad(2).state == Health.DEGRADED


def test_a_frozen_counter_of_an_occupied_portal_degrades_until_it_moves() -> None:
    device = Device(Role.PORTAL_MONITOR).open().read(scan(120, 133), times=5, every_s=0.2)
    assert device.state == Health.ONLINE
    device.read(scan(120, 133), every_s=0.2)
    assert (device.state, device.machine.cause) == (Health.DEGRADED, "frozen")
    device.read(scan(120, 134), every_s=0.2)
    assert device.state == Health.ONLINE


@pytest.mark.parametrize(
    "reading",
    [
        BACKGROUND,  # may be a running mean
        Counts(STAMP, Channel.NEUTRON, Phase.SCAN, 1.0, (1, 0)),  # so few that they repeat by chance
        scan(None, None),  # no number at all
        Counts(STAMP, Channel.GAMMA, Phase.SCAN, 0.0, (480,)),  # may be one count, seen again and again
        INPUTS,
        PLATE,
    ],
)
def test_what_may_repeat_is_not_called_frozen(reading: Reading) -> None:
    device = Device(Role.PORTAL_MONITOR).open().read(reading, times=20, every_s=0.05)
    assert device.state == Health.ONLINE


def lines(*values: int, first: int = 0, rows: int = 64) -> LineBlock:
    """A block whose every line has the same samples, or (several values) one line for each."""
    samples = np.array([[[value] * rows] for value in values], np.uint16)
    count = len(values)
    return LineBlock(
        STAMP, KEY, first, samples, np.zeros(count, np.int64), None, None, np.zeros(count, np.uint16)
    )


def test_a_scanner_whose_lines_repeat_degrades_until_they_move() -> None:
    device = Device(Role.LINE_SCANNER).open().read(SCAN_OPENED)
    device.read(lines(*range(100, 164))).read(lines(*[163] * 31))
    assert (device.state, device.machine.cause) == (Health.DEGRADED, "frozen"), "the 32nd equal line"
    device.read(SCAN_CLOSED).wait(1.0).read(SCAN_OPENED).read(lines(*[163] * 8))
    assert device.state == Health.DEGRADED, "the next scan says the same"
    device.read(lines(*[163] * 7, 164))
    assert device.path == ["starting→online", "online→degraded", "degraded→online"]


def test_lines_of_air_and_of_dark_are_not_called_frozen() -> None:
    rng = np.random.default_rng(1)
    device = Device(Role.LINE_SCANNER).open().read(SCAN_OPENED)
    for _ in range(100):
        block = lines(*[0] * 64)
        block.samples[:] = rng.poisson(1000, block.samples.shape)
        device.read(block)
    device.read(ScanOpened(STAMP, KEY, ScanKind.DARK, 2, 1, 0.002, 4095, True, False, GEOMETRY))
    device.read(lines(*[0] * 64), times=10)  # a counter without a beam counts nothing
    assert device.path == ["starting→online"]


def test_a_camera_that_shows_the_same_pictures_for_another_event_degrades() -> None:
    def event(event_id: str, jpeg: bytes) -> CameraRead:
        pictures = (Picture("plate", b"p" + jpeg), Picture("scene", jpeg))
        return CameraRead(STAMP, "plate", "LXR4827", "US-TX", 0.9, event_id, "", False, pictures)

    device = Device(Role.CAMERA).open().read(event("1", b"one")).read(event("1", b"one"))
    assert device.state == Health.ONLINE, "the full record of the same event"
    device.read(event("2", b"one"))
    assert (device.state, device.machine.cause) == (Health.DEGRADED, "frozen")
    device.read(PLATE)  # without a picture: nothing can be said
    assert device.state == Health.DEGRADED
    device.read(event("3", b"two"))
    assert device.state == Health.ONLINE


def test_a_fault_record_degrades_until_a_good_background_of_that_channel() -> None:
    high = Counts(STAMP, Channel.GAMMA, Phase.BACKGROUND, 1.0, (9000,), flag=DeviceFlag.FAULT_HIGH)
    neutron = Counts(STAMP, Channel.NEUTRON, Phase.BACKGROUND, 1.0, (2,))
    device = Device(Role.PORTAL_MONITOR).open().read(high).read(scan()).read(neutron)
    assert (device.state, device.machine.cause) == (Health.DEGRADED, "gamma_fault")
    device.read(BACKGROUND)
    assert device.state == Health.ONLINE


def test_a_polled_portals_own_fault_degrades_until_it_is_gone() -> None:
    device = Device(Role.PORTAL_MONITOR).open().read(polled(fault=True))
    assert (device.state, device.machine.cause) == (Health.DEGRADED, "device_fault")
    assert device.read(polled(occupied=False)).state == Health.DEGRADED, "it says nothing of it"
    assert device.read(polled(fault=False)).state == Health.ONLINE


def test_a_polled_portal_is_busy_while_it_sees_a_vehicle() -> None:
    device = Device(Role.PORTAL_MONITOR).open().read(polled(occupied=True)).read(polled(tamper=True))
    assert device.machine.busy
    assert device.read(polled(occupied=False)).wait(11.0).state == Health.ONLINE
    assert device.read(polled(occupied=True)).wait(2.1).state == Health.STALE


@pytest.mark.parametrize("bad", [status(faults=4), status(detector_ok=False)])
def test_a_scanners_own_fault_degrades_until_it_is_gone(bad: SourceStatus) -> None:
    device = Device(Role.LINE_SCANNER).open().read(bad)
    assert (device.state, device.machine.cause) == (Health.DEGRADED, "source_fault")
    assert device.read(status()).state == Health.ONLINE


def test_a_fault_that_the_driver_raises_degrades_for_a_minute() -> None:
    device = Device(Role.DIGITAL_IO).open()
    device.note(device.machine.fault(device.now_s, "relay welded"))
    assert device.changes[-1] == HealthChange(
        Health.STARTING, Health.DEGRADED, "device_fault", "relay welded"
    )
    device.read(INPUTS, times=59, every_s=1.0)
    assert device.state == Health.DEGRADED
    device.read(INPUTS, times=2, every_s=1.0)
    assert device.state == Health.ONLINE


def test_time_alone_disproves_no_fault() -> None:
    device = Device(Role.CAMERA).open().bad(3)
    device.note(device.machine.fault(device.now_s, "lens broken"))
    for _ in range(1000):
        device.wait(10.0)
    assert (device.state, device.machine.cause) == (Health.DEGRADED, "bad_frames,device_fault")
    device.read(PLATE)
    assert device.state == Health.ONLINE


def test_what_the_lane_suspects_outlives_a_broken_link() -> None:
    device = Device(Role.DIGITAL_IO).open().read(INPUTS)
    device.note(device.machine.suspect(device.now_s, "frozen", on=True))
    device.note(device.machine.lost("link_lost", "gone"))
    device.open().read(INPUTS)
    assert (device.state, device.machine.cause) == (Health.DEGRADED, "frozen")
    device.note(device.machine.suspect(device.now_s, "frozen", on=False))
    assert device.state == Health.ONLINE


def test_the_lane_may_suspect_what_only_it_can_know() -> None:
    device = Device(Role.CAMERA).open()
    device.note(device.machine.suspect(device.now_s, "no_reads", on=True))
    device.read(PLATE)
    assert (device.state, device.machine.cause) == (Health.DEGRADED, "no_reads")
    device.note(device.machine.suspect(device.now_s, "no_reads", on=False))
    assert device.state == Health.ONLINE


def test_a_second_suspicion_is_told_and_a_repeated_one_is_not() -> None:
    device = Device(Role.LINE_SCANNER).open().read(status(faults=1), times=5).bad(5)
    assert [change.cause for change in device.changes] == ["source_fault", "bad_frames,source_fault"]


def test_a_new_link_starts_without_the_suspicions_of_the_old() -> None:
    device = Device(Role.LINE_SCANNER).open().read(status(faults=1))
    device.note(device.machine.lost("link_lost", "gone"))
    device.open().read(SCAN_OPENED)
    assert device.state == Health.ONLINE


# --- trying again ---------------------------------------------------------------------------------


def test_pauses_double_from_half_a_second_to_half_a_minute() -> None:
    backoff = Backoff(draw=lambda: 0.5)
    pauses = [backoff.next_s(0.5, 30.0) for _ in range(9)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    backoff.reset()
    assert backoff.next_s(0.5, 30.0) == 0.5


@pytest.mark.parametrize(("draw", "pause_s"), [(0.0, 0.4), (1.0, 0.6)])
def test_pauses_have_a_fifth_of_jitter(draw: float, pause_s: float) -> None:
    assert Backoff(draw=lambda: draw).next_s(0.5, 30.0) == pytest.approx(pause_s)


def test_a_device_that_is_gone_for_years_is_still_tried() -> None:
    backoff = Backoff(draw=lambda: 0.5)
    assert {backoff.next_s(0.5, 30.0) for _ in range(5000)} >= {30.0}


def test_an_open_scan_is_reopened_with_haste_and_not_for_ever() -> None:
    device = Device(Role.LINE_SCANNER).open().read(SCAN_OPENED).read(LINES)
    device.note(device.machine.lost("link_lost", "gone"))
    assert device.machine.backoff_s(device.now_s + 119) == (0.1, 2.0)
    assert device.machine.backoff_s(device.now_s + 121) == (0.5, 30.0)
    device.open().read(SCAN_CLOSED)
    assert device.machine.backoff_s(device.now_s) == (0.5, 30.0)


def test_five_crashes_in_a_minute_spend_the_budget_then_one_try_a_minute() -> None:
    budget = Budget()
    assert [budget.crash(now_s, now_s) for now_s in (0, 10, 20, 30, 40)] == [False] * 4 + [True]
    assert budget.crash(100.0, started_s=100.0)  # the try a minute later crashes at once
    assert budget.crash(165.0, started_s=160.0)
    assert not budget.crash(300.0, started_s=220.0)  # this one ran for more than a minute


def test_five_crashes_in_more_than_a_minute_are_bad_luck() -> None:
    budget = Budget()
    assert not any(budget.crash(now_s, now_s - 16) for now_s in range(0, 1600, 16))


def test_limits_without_any_are_for_those_who_may_be_silent() -> None:
    assert limits_for(Role.CAMERA) == Limits(None, None, live_on_open=True)


@pytest.mark.parametrize(("stale_after_s", "state"), [(None, Health.ONLINE), (60.0, Health.STALE)])
def test_a_portal_that_tells_afterwards_is_well_while_nothing_passes(
    stale_after_s: float | None, state: Health
) -> None:
    limits = limits_for(Role.PORTAL_MONITOR, stale_after_s, quiet=True)
    machine = HealthMachine(limits)
    machine.opened(0.0)
    assert machine.state == Health.ONLINE
    machine.tick(3_600.0)
    assert machine.state == state
    assert machine.reopen_due(3_600.0) is (stale_after_s is not None)
