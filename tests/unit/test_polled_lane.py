"""A lane with a polled portal, as it is shipped, in virtual time: trucks, alarms, faults, links, restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest

from drivers.api import Options
from drivers.formats.polled import Poll, PolledOptions, Publisher
from drivers.plant.polled import PolledPortal
from drivers.plant.vehicle import Vehicle
from drivers.plant.world import Plant
from drivers.readings import PortalReading, PortalStatus, Stamp
from drivers.rpm.aspect.codec import decode
from drivers.rpm.aspect.driver import AspectOptions
from drivers.rpm.aspect.sim import AspectPortal
from drivers.rpm.modbus import codec
from drivers.rpm.modbus.driver import ModbusPortalOptions
from drivers.rpm.modbus.sim import MappedPortal
from station import plugins
from station.cli.facts import lane_facts
from station.lane.core import DeviceFacts, LaneFacts
from station.lanefile import LaneFile, load_lane, shipped
from tests.support.drive import Drive, Portal
from tests.support.lane_places import CLEAN, HOT
from tests.support.lane_rig import Rig
from tests.support.portal_map import entry

LANES = ("aspect", "generic")
SLOW = CLEAN.model_copy(update={"speed_mps": 2.0})


@cache
def lane_file(name: str) -> LaneFile:
    return load_lane(shipped("lanes", name), plugins.find)


def lane_with(name: str, options: Options | None = None) -> tuple[LaneFacts, PolledOptions]:
    """The facts of a shipped lane, perhaps with other options of its portal, and those options."""
    lane = lane_file(name)
    portal = options or lane.devices[0].options
    assert isinstance(portal, PolledOptions)
    facts = lane_facts(lane)
    first = DeviceFacts("rpm1", "PortalMonitor", "emulated", portal.portal)
    return replace(facts, devices=(first, *facts.devices[1:])), portal


class World(Drive):
    """A drive whose portal is polled every 200 ms while its link is up."""

    def __init__(self, lane: str, *trucks: Vehicle, options: Options | None = None) -> None:
        facts, self.options = lane_with(lane, options)
        self.up = True
        self.electronics: PolledPortal
        self.due_s = 0.0
        self.publisher = Publisher(self.options)
        super().__init__(self._build, *trucks, lane_facts=facts)

    def _build(self, plant: Plant) -> Portal:
        options = self.options
        read: Callable[[Stamp], Poll]
        if isinstance(options, AspectOptions):
            self.electronics = aspect = AspectPortal(plant, 1, options.count_interval_s or 0.2)
            read = partial(self._aspect, aspect, options)
        else:
            assert isinstance(options, ModbusPortalOptions)
            self.electronics = mapped = MappedPortal(options, plant, 1)
            read = partial(self._mapped, mapped, options)
        return partial(self._poll, read)

    @staticmethod
    def _aspect(portal: AspectPortal, options: AspectOptions, stamp: Stamp) -> Poll:
        monitor = decode(portal.registers(stamp.mono_ns / 1e9))
        assert monitor is not None
        return monitor.poll(stamp, options.fitted)

    @staticmethod
    def _mapped(portal: MappedPortal, options: ModbusPortalOptions, stamp: Stamp) -> Poll:
        return codec.poll(options.map, options.unit_id, portal.memory(stamp.mono_ns / 1e9), stamp)[0]

    def _poll(self, read: Callable[[Stamp], Poll], stamp: Stamp) -> Iterable[PortalReading]:
        now_s = stamp.mono_ns / 1e9
        if not self.up or now_s < self.due_s - 1e-6:
            return []
        self.due_s = now_s + self.options.poll_s
        return self.publisher.take(read(stamp))

    def link(self, *, up: bool) -> None:
        """The link goes, or comes back as a new one."""
        self.up = up
        self.publisher = Publisher(self.options)
        self.rig.health("rpm1", "online" if up else "backoff", None if up else "link_timeout")

    def occupied(self) -> None:
        """Drive until a vehicle is in the portal."""
        self.until(lambda: self.electronics.occupied)
        self.run(0.5)

    def cleared(self) -> Any:
        """Drive until the occupancy is over and return its record."""
        self.until(lambda: "occupancy.ended" in self.rig.types())
        return self.rig.last("occupancy.ended")

    def outcomes(self) -> set[tuple[str, str | None]]:
        """What the station's tests said of the occupancy, and why."""
        return {(verdict.outcome, verdict.reason) for verdict in self.cleared().verdicts}


@pytest.mark.parametrize("lane", LANES)
def test_a_clean_truck_is_measured_judged_and_released(lane: str) -> None:
    world = World(lane, CLEAN)
    occupancy = world.cleared()
    assert (occupancy.close_reason, occupancy.complete, occupancy.device_count) == ("cleared", True, 1)
    assert occupancy.start_known
    assert world.outcomes() == {("no_alarm", None)}
    assert occupancy.gamma_background == pytest.approx(2_400, rel=0.05)
    sigma = occupancy.gamma_background**0.5
    assert 4.5 < (occupancy.gamma_limit - occupancy.gamma_background) / sigma < 6.6, "ours, not the device's"
    assert occupancy.gamma_max_1s == pytest.approx(2_450, abs=150)
    shown = world.rig.seen.radiation
    assert shown.gamma.background_cps == occupancy.gamma_background
    assert shown.gamma.max_cps == occupancy.gamma_max_1s
    assert shown.neutron.background_cps == pytest.approx(3, abs=1.5)
    world.sealed()
    sealed = world.rig.last("inspection.sealed")
    assert (sealed.outcome, sealed.coverage.rpm.state) == ("decided", "done")
    assert (sealed.recommendation.level, sealed.incomplete.rpm) == ("clear", False)


@pytest.mark.parametrize("lane", LANES)
def test_an_alarm_is_raised_while_the_truck_is_in_the_portal_and_holds_it(lane: str) -> None:
    world = World(lane, HOT)
    world.occupied()
    world.until(lambda: "radiation_alarm.raised" in world.rig.types(), 3.0)
    assert world.electronics.occupied
    occupancy = world.cleared()
    raised = [event for event in world.rig.events if event.type_name() == "carril.radiation_alarm.raised"]
    assert sorted(event.channel for event in raised) == ["gamma", "neutron"]  # type: ignore[attr-defined]
    assert (occupancy.gamma_alarm, occupancy.neutron_alarm, occupancy.complete) == (True, True, True)
    assert ("alarm", None) in world.outcomes()
    book = world.rig.lane.core.book
    shown = book.find("gamma_alarm", "rpm1")
    assert shown is not None
    assert shown.values["counts"] == occupancy.gamma_max_1s > occupancy.gamma_limit
    world.run(10)
    assert world.rig.seen.level == "hold"
    assert "decision.recorded" not in world.rig.types(), "nobody may release it"


def test_without_counting_times_the_truck_is_cleared_by_the_device_alone() -> None:
    world = World("aspect", CLEAN, options=AspectOptions())
    occupancy = world.cleared()
    assert world.outcomes() == {("not_possible", "interval")}
    assert occupancy.complete
    assert (occupancy.gamma_max_1s, occupancy.neutron_max, occupancy.gamma_background) == (None, None, None)
    world.sealed()
    assert world.rig.last("inspection.sealed").recommendation.level == "clear"


def test_an_alarm_without_counting_times_is_an_alarm() -> None:
    world = World("aspect", HOT, options=AspectOptions())
    occupancy = world.cleared()
    assert (occupancy.gamma_alarm, occupancy.neutron_alarm) == (True, True)
    raised = world.rig.last("radiation_alarm.raised")
    assert (raised.counts_1s, raised.limit, raised.interval_s) == (None, None, 0.0)


CONTACTS = [
    entry("occupied", 2, 0, "bit"),
    entry("gamma_alarm", 2, 1, "bit"),
    entry("neutron_alarm", 2, 2, "bit"),
]


@pytest.mark.parametrize(("truck", "alarms"), [(CLEAN, set()), (HOT, {"gamma", "neutron"})])
def test_a_portal_of_contacts_alone(truck: Vehicle, alarms: set[str]) -> None:
    world = World("generic", truck, options=ModbusPortalOptions.model_validate({"map": CONTACTS}))
    occupancy = world.cleared()
    assert (occupancy.complete, occupancy.profile, occupancy.device_count) == (True, None, None)
    assert {verdict.reason for verdict in occupancy.verdicts} == {"no_counts"}
    raised = [event.channel for event in world.rig.events if hasattr(event, "counts_1s")]
    assert set(raised) == alarms


def test_a_truck_that_only_the_contacts_of_a_portal_see_is_not_given_up() -> None:
    rig = Rig(lane_with("generic", ModbusPortalOptions.model_validate({"map": CONTACTS}))[0])
    for _ in range(200):
        rig.read("rpm1", PortalStatus(rig.stamp(), occupied=True, gamma_alarm=False))
        rig.wait(0.2)
    assert rig.lane.core.inspection is not None
    rig.read("rpm1", PortalStatus(rig.stamp(), occupied=False, gamma_alarm=False))
    rig.wait(35)
    assert rig.last("inspection.sealed").cause == "vehicle_gone"


@pytest.mark.parametrize(
    ("fault", "reason", "missing"),
    [
        ("not_ready", "fault", {"fault", "no_gamma", "no_neutron"}),
        ("low_battery", "fault", {"fault"}),
        ("overload", "fault", {"fault"}),
        ("negative_count", "partial", {"no_gamma"}),
        ("not_a_number", "partial", {"no_neutron"}),
    ],
)
def test_a_truck_that_was_not_measured_is_never_clear(fault: str, reason: str, missing: set[str]) -> None:
    world = World("aspect", CLEAN)
    world.releases = False
    world.until(lambda: world.plant.vehicle is not None)
    world.electronics.fault(fault, on=True)
    occupancy = world.cleared()
    assert set(occupancy.missing) == missing
    world.run(8)
    assert world.rig.seen.coverage.rpm.state == "failed"
    assert world.rig.seen.coverage.rpm.reason == reason
    assert world.rig.seen.level == "secondary"
    assert "needs_supervisor" in world.rig.locks


def test_a_portal_that_runs_on_its_battery_measures_all_the_same() -> None:
    world = World("aspect", CLEAN)
    world.electronics.fault("power_fail", on=True)
    occupancy = world.cleared()
    assert (occupancy.complete, occupancy.missing) == (True, ())
    world.sealed()
    assert world.rig.last("inspection.sealed").recommendation.level == "clear"


def test_a_portal_that_is_open_is_in_the_record_of_the_truck() -> None:
    world = World("aspect", CLEAN)
    world.electronics.fault("tamper", on=True)
    occupancy = world.cleared()
    assert occupancy.tamper
    assert "fault" not in occupancy.missing, "it is told once, as a tamper"
    assert "tamper.opened" in world.rig.types()
    world.electronics.fault("tamper", on=False)
    world.until(lambda: "tamper.closed" in world.rig.types())


def test_a_link_that_breaks_in_mid_occupancy_leaves_a_record_that_says_so() -> None:
    world = World("aspect", SLOW)
    world.occupied()
    world.link(up=False)
    world.run(2)
    world.link(up=True)
    occupancy = world.cleared()
    assert {"gap", "link"} <= set(occupancy.missing)
    assert (occupancy.close_reason, occupancy.gaps, occupancy.device_count) == ("cleared", 2, 1)


def test_a_link_that_is_gone_for_good_ends_the_occupancy() -> None:
    world = World("aspect", SLOW)
    world.occupied()
    world.link(up=False)
    occupancy = world.cleared()
    assert occupancy.close_reason == "link_lost"
    assert "link_lost" in occupancy.missing


def test_a_restart_in_mid_occupancy_goes_on_with_an_unknown_begin_and_the_same_counter() -> None:
    world = World("aspect", CLEAN, SLOW)
    world.sealed()
    world.until(lambda: world.plant.passage == 2)
    world.occupied()
    world.rig.restart(away_s=0.0)
    world.publisher = Publisher(world.options)
    world.rig.events.clear()
    occupancy = world.cleared()
    assert "start_unknown" in occupancy.missing
    assert (occupancy.device_count, occupancy.close_reason) == (2, "cleared")
    assert "counts.missed" not in world.rig.types()


@pytest.mark.parametrize(
    ("fault", "missed", "noted"),
    [("counter_jump", 5, []), ("counter_wrap", 0, ["counter_reset"]), ("missing_step", 0, [])],
)
def test_the_counter_tells_what_was_missed(fault: str, missed: int, noted: list[str]) -> None:
    world = World("aspect", CLEAN)
    world.until(lambda: world.plant.vehicle is not None)
    world.electronics.fault(fault, on=True)
    occupancy = world.cleared()
    told = [event for event in world.rig.events if event.type_name() == "carril.counts.missed"]
    assert sum(event.missed for event in told) == missed  # type: ignore[attr-defined]
    codes = [event.code for event in world.rig.events if event.type_name() == "carril.portal.noted"]  # type: ignore[attr-defined]
    assert codes == noted
    assert occupancy.device_count == {"counter_jump": 6, "counter_wrap": 0, "missing_step": None}[fault]


def test_two_trucks_nose_to_tail_are_told_apart_by_the_counter() -> None:
    """The beams never clear between them; the counter alone tells of the second."""
    world = World("aspect", SLOW)
    world.occupied()
    world.electronics.fault("stuck_beam", on=True)
    world.electronics.count += 1
    world.run(1)
    world.electronics.count += 1
    world.run(1)
    first = world.cleared()
    assert (first.close_reason, first.device_count, first.complete) == ("counter_changed", 1, False)
