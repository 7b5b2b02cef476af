"""The emulated polled portals in virtual time: counts, alarms, counter and faults, as codecs read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drivers.formats.polled import Poll
from drivers.plant.clock import PlantClock
from drivers.plant.polled import PolledPortal
from drivers.plant.vehicle import Vehicle
from drivers.readings import Channel
from drivers.rpm.aspect.codec import Monitor, decode
from drivers.rpm.aspect.driver import AspectOptions
from drivers.rpm.aspect.sim import AspectEmulator, AspectPortal
from drivers.rpm.modbus import codec
from drivers.rpm.modbus.driver import ModbusPortalOptions
from drivers.rpm.modbus.sim import MappedPortal, ModbusPortalEmulator
from tests.support.lane_places import APPROACH_S, CLEAN, HOT, lane
from tests.support.portal_lines import stamp
from tests.support.portal_map import KNOWN, WHOLE, WINDOWED

G, N = Channel.GAMMA, Channel.NEUTRON
MAP = ModbusPortalOptions.model_validate({"map": WHOLE, **KNOWN})


class Bench:
    """Both portals beside one lane, polled together every 200 ms."""

    def __init__(self, *trucks: Vehicle, seed: int = 1) -> None:
        self.clock = PlantClock(0)
        self.plant = lane(self.clock, *trucks)
        self.aspect = AspectPortal(self.plant, seed)
        self.mapped = MappedPortal(MAP, self.plant, seed)

    @property
    def monitor(self) -> Monitor:
        monitor = decode(self.aspect.registers(self.clock.monotonic_s()))
        assert monitor is not None
        return monitor

    @property
    def mapped_poll(self) -> Poll:
        told, self.flaws = codec.poll(MAP.map, 1, self.mapped.memory(self.clock.monotonic_s()), stamp(1))
        return told

    def polls(self, seconds: float) -> list[tuple[Poll, Poll]]:
        both = []
        for _ in range(round(seconds / 0.2)):
            self.clock.advance(0.2)
            both.append((self.monitor.poll(stamp(1), tuple(Channel)), self.mapped_poll))
        return both

    def fault(self, name: str, on: bool = True) -> None:
        for portal in (self.aspect, self.mapped):
            if name in portal.FAULTS:
                portal.fault(name, on=on)


def test_both_count_the_same_truck_alike_and_say_the_same_of_it() -> None:
    bench = Bench(HOT, seed=5)
    both = bench.polls(APPROACH_S + 8)
    for aspect, mapped in both:
        a, m = aspect.status, mapped.status
        assert (a.occupied, a.gamma_alarm, a.neutron_alarm) == (m.occupied, m.gamma_alarm, m.neutron_alarm)
        assert (a.fault, a.tamper, a.occupancy_count) == (False, False, m.occupancy_count)
        assert aspect.speed_mps == pytest.approx(mapped.speed_mps, abs=2e-3)
    assert any(aspect.status.gamma_alarm for aspect, _ in both)
    assert any(aspect.status.neutron_alarm for aspect, _ in both)
    assert [aspect.counts[G][0] for aspect, _ in both[:20]] == [sum(m.counts[G]) for _, m in both[:20]]  # type: ignore[arg-type]


def test_counts_are_poisson_and_the_background_is_their_mean() -> None:
    bench = Bench(seed=7)
    polls = bench.polls(200)
    totals = np.array([aspect.counts[G][0] for aspect, _ in polls], dtype=np.float64)
    assert abs(totals.mean() - 480) < 3.5 * np.sqrt(480 / len(totals))
    assert abs(totals.var(ddof=1) / 480 - 1) < 3.5 * np.sqrt(2 / len(totals))
    aspect, mapped = polls[-1]
    assert aspect.background[G][0] == pytest.approx(480, rel=0.02)
    assert aspect.background[N][0] == pytest.approx(0.6, rel=0.25)
    assert mapped.background[G][0] == pytest.approx(aspect.background[G][0])
    assert mapped.background[N][0] == pytest.approx(aspect.background[N][0], abs=0.01)


def test_two_windows_are_a_share_of_the_counts_each() -> None:
    options = ModbusPortalOptions.model_validate({"map": WINDOWED, "count_interval_s": 0.2})
    clock = PlantClock(0)
    portal, told = MappedPortal(options, lane(clock), 1), []
    for _ in range(200):
        clock.advance(0.2)
        told.append(codec.poll(options.map, 1, portal.memory(clock.monotonic_s()), stamp(1))[0])
    windows = np.array([each.windows for each in told])
    totals = np.array([each.counts[G][0] for each in told])
    assert np.array_equal(windows.sum(axis=1), totals)
    assert windows[:, 0].sum() / totals.sum() == pytest.approx(0.7, abs=0.01)


def test_a_longer_counting_time_has_longer_counts() -> None:
    clock = PlantClock(0)
    portal = AspectPortal(lane(clock), 1, 1.0)
    clock.advance(3)
    monitor = decode(portal.registers(clock.monotonic_s()))
    assert monitor is not None
    assert monitor.gamma.count == pytest.approx(2_400, abs=250)
    assert monitor.gamma.background == pytest.approx(2_400, rel=0.02)


def test_the_alarm_stands_for_a_second_after_the_vehicle_and_the_counter_steps_when_it_leaves() -> None:
    bench = Bench(HOT)
    occupied, alarm, count = [], [], []
    for aspect, _ in bench.polls(APPROACH_S + 8):
        occupied.append(bool(aspect.status.occupied))
        alarm.append(bool(aspect.status.gamma_alarm))
        count.append(aspect.status.occupancy_count)
    left = len(occupied) - occupied[::-1].index(True)
    assert alarm[left : left + 5] == [True] * 4 + [False]
    assert count[left - 1 : left + 1] == [0, 1]
    assert occupied.index(True) < alarm.index(True) < left


def test_a_clean_truck_raises_no_alarm_and_teaches_no_background() -> None:
    bench = Bench(CLEAN.model_copy(update={"speed_mps": 1.0}))
    bench.polls(APPROACH_S + 1)
    before = bench.aspect.background
    polls = bench.polls(8)
    assert bench.aspect.background == before
    assert {aspect.status.gamma_alarm for aspect, _ in polls} == {False}


@pytest.mark.parametrize(
    ("fault", "level"),
    [
        ("tamper", {"tamper": True}),
        ("not_ready", {"fault": True}),
        ("power_fail", {"warning": True}),
        ("low_battery", {"fault": True}),
        ("error", {"fault": True}),
        ("high_count", {"fault": True}),
        ("low_count", {"fault": True}),
        ("overload", {"fault": True}),
        ("stuck_beam", {"occupied": True}),
        ("counter_jump", {"occupancy_count": 5}),
        ("counter_wrap", {"occupancy_count": 65_535}),
    ],
)
def test_faults_that_the_portal_itself_shows(fault: str, level: dict[str, Any]) -> None:
    bench = Bench()
    bench.fault(fault)
    both = bench.polls(0.4)[-1]
    for told in both if fault in MappedPortal.FAULTS else both[:1]:
        assert {name: getattr(told.status, name) for name in level} == level
    bench.fault(fault, on=False)
    aspect, mapped = bench.polls(0.4)[-1]
    for name in level.keys() - {"occupancy_count"}:
        told = [aspect.status] if name == "warning" else [aspect.status, mapped.status]  # no map has one
        assert {getattr(each, name) for each in told} == {False}


def test_panels_that_are_not_well() -> None:
    bench = Bench()
    bench.fault("gamma_high")
    assert bench.polls(1)[-1][1].counts[G][0] > 900  # type: ignore[operator]
    bench.fault("gamma_high", on=False)
    bench.fault("gamma_low")
    bench.fault("neutron_high")
    aspect, mapped = bench.polls(1)[-1]
    assert mapped.counts[G][0] == 0
    assert aspect.counts[N][0] > 3  # type: ignore[operator]


def test_numbers_that_are_none() -> None:
    bench = Bench()
    bench.fault("negative_count")
    bench.polls(0.2)
    assert (bench.monitor.gamma.wrong, bench.flaws) == ("negative_count", ("negative_count",) * 3)
    bench.fault("negative_count", on=False)
    bench.fault("not_a_number")
    bench.polls(0.2)
    assert (bench.monitor.neutron.wrong, bench.flaws) == ("not_a_number", ("not_a_number",))


def test_a_frozen_portal_shows_what_it_showed() -> None:
    bench = Bench(CLEAN)
    bench.polls(0.4)
    before = bench.monitor, bench.mapped_poll
    bench.fault("frozen")
    bench.polls(APPROACH_S)
    assert (bench.monitor, bench.mapped_poll) == before
    bench.fault("frozen", on=False)
    assert bench.monitor.elapsed - before[0].elapsed == pytest.approx(APPROACH_S * 1_000, abs=200)


@pytest.mark.parametrize(("fault", "steps"), [("missing_step", 0), ("double_step", 2), ("none", 1)])
def test_steps_of_the_counter(fault: str, steps: int) -> None:
    bench = Bench(CLEAN)
    if fault != "none":
        bench.fault(fault)
    bench.polls(APPROACH_S + 8)
    assert (bench.monitor.object_count, bench.mapped_poll.status.occupancy_count) == (steps, steps)


def test_a_bad_descriptor() -> None:
    bench = Bench()
    assert bench.aspect.descriptor == [0x4153, 121, 1, 100, 21, 0, 0, 0]
    bench.fault("bad_descriptor")
    assert bench.aspect.descriptor[3:5] == [4, 9]


def test_every_fault_ends_without_a_trace_and_an_unknown_one_is_named() -> None:
    for portal in (Bench().aspect, Bench().mapped):
        for name in sorted(portal.FAULTS):
            portal.fault(name, on=False)
        with pytest.raises(ValueError, match="no fault of this portal; known are"):
            portal.fault("half_open", on=True)
    assert PolledPortal.FAULTS < AspectPortal.FAULTS < AspectEmulator.FAULTS


@pytest.mark.parametrize(
    ("emulator", "options"), [(AspectEmulator, MAP), (ModbusPortalEmulator, AspectOptions())]
)
def test_an_emulator_takes_the_options_of_its_own_driver(emulator: Any, options: Any) -> None:
    clock = PlantClock(0)
    with pytest.raises(TypeError, match=r"emulator needs \w+Options, not "):
        emulator(options, lane(clock), clock, 1)
