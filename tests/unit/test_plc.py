"""The PLC of the cabinet in virtual time: coils and lane in, lane and inputs out, no wire."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drivers.geometry import LaneGeometry
from drivers.io.modbus.codec import COILS, INPUTS
from drivers.io.modbus.sim import Plc
from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import Scenario, Vehicle
from drivers.plant.world import ARM_TRAVEL_S, Plant

PLACES = LaneGeometry(
    entry_loop_m=-2.0, portal_m=4.0, portal_beams_m=(3.5, 4.5), lpr_m=5.0, scan_plane_m=8.0,
    booth_loop_m=19.0, stop_line_m=21.0, barrier_m=22.0, exit_loop_m=24.0,
)  # fmt: skip
TRUCK = Vehicle(name="clean", plate="R4K 7719", length_m=12, speed_mps=4)


class Cabinet:
    """A PLC beside a lane, scanned every 20 ms of virtual time, with a station that keeps its watchdog."""

    def __init__(self) -> None:
        self.clock = PlantClock(rate=0)
        self.plant = Plant(PLACES, Scenario(title="one truck", gap_s=600, truck=(TRUCK,)), self.clock)
        self.plc = Plc(self.plant)
        self.coils = dict.fromkeys(COILS, False)
        self.inputs: dict[str, bool] = {}
        self.station_lives = True
        self.scan()

    def scan(self) -> None:
        self.inputs = self.plc.step(self.plant.advance(), self.coils)

    def run(self, seconds: float) -> None:
        for number in range(round(seconds / 0.02)):
            self.clock.advance(0.02)
            if self.station_lives and number % 25 == 0:
                self.coils["watchdog"] = not self.coils["watchdog"]
            self.scan()

    def run_until(self, true: Callable[[], bool], at_most_s: float = 60) -> float:
        begun_s = self.clock.monotonic_s()
        while not true():
            assert self.clock.monotonic_s() - begun_s < at_most_s, self.inputs
            self.run(0.02)
        return self.clock.monotonic_s() - begun_s

    def truck_at_booth(self) -> None:
        self.coils["entry_green"] = True
        self.run_until(lambda: self.inputs["booth_loop"] and self.plant.speed_mps < 0.01)
        self.coils["entry_green"] = False


@pytest.fixture
def cabinet() -> Cabinet:
    return Cabinet()


def test_an_idle_lane_shows_every_mapped_input_at_rest(cabinet: Cabinet) -> None:
    assert cabinet.inputs == {
        "entry_loop": False,
        "booth_loop": False,
        "exit_loop": False,
        "barrier_up": False,
        "barrier_down": True,
        "obstruction": False,
        "estop_ok": True,
        "cabinet_closed": True,
    }
    assert set(cabinet.inputs) == set(INPUTS)


def test_entry_green_lets_the_truck_in_and_it_stops_on_the_booth_loop(cabinet: Cabinet) -> None:
    cabinet.run(1)
    assert cabinet.plant.vehicle is None
    cabinet.coils["entry_green"] = True
    cabinet.run_until(lambda: cabinet.inputs["entry_loop"])
    cabinet.run_until(lambda: cabinet.inputs["booth_loop"])
    cabinet.run(20)
    assert not cabinet.inputs["exit_loop"]
    assert cabinet.inputs["barrier_down"]


def test_a_truck_passes_and_the_arm_comes_down_one_second_after_it_is_clear(cabinet: Cabinet) -> None:
    cabinet.truck_at_booth()
    cabinet.coils["raise_permit"] = True
    assert cabinet.run_until(lambda: cabinet.inputs["barrier_up"]) == pytest.approx(ARM_TRAVEL_S, abs=0.1)
    cabinet.run_until(lambda: cabinet.inputs["exit_loop"])
    assert cabinet.inputs["obstruction"], "the passing vehicle blocks the photo-eye"
    cabinet.coils["raise_permit"] = False
    cabinet.run_until(lambda: not cabinet.inputs["exit_loop"])
    assert cabinet.inputs["barrier_up"], "the arm stays up over the vehicle"
    assert cabinet.run_until(lambda: not cabinet.inputs["barrier_up"]) == pytest.approx(1.0, abs=0.05)
    assert cabinet.run_until(lambda: cabinet.inputs["barrier_down"]) == pytest.approx(ARM_TRAVEL_S, abs=0.1)


def test_withdrawing_the_permit_never_lowers_the_arm_on_a_vehicle(cabinet: Cabinet) -> None:
    cabinet.truck_at_booth()
    cabinet.coils["raise_permit"] = True
    cabinet.run_until(lambda: cabinet.inputs["barrier_up"])
    cabinet.coils["raise_permit"] = False
    occupied = ("booth_loop", "exit_loop", "obstruction")
    while any(cabinet.inputs[name] for name in occupied):
        assert cabinet.plant.arm == 1
        cabinet.run(0.02)
    cabinet.run_until(lambda: cabinet.inputs["barrier_down"], at_most_s=4)


def test_an_obstruction_reverses_the_falling_arm(cabinet: Cabinet) -> None:
    cabinet.coils["raise_permit"] = True
    cabinet.run_until(lambda: cabinet.inputs["barrier_up"])
    cabinet.coils["raise_permit"] = False
    cabinet.run_until(lambda: cabinet.plant.arm < 0.7)
    cabinet.plant.vehicle, cabinet.plant.nose_m = TRUCK, PLACES.barrier_m + 0.1
    cabinet.run(0.04)
    assert cabinet.inputs["obstruction"]
    turned_at = cabinet.plant.arm
    cabinet.run(0.2)
    assert cabinet.plant.arm > turned_at
    cabinet.run_until(lambda: cabinet.inputs["barrier_up"])


def test_a_silent_station_drops_every_coil_after_two_seconds(cabinet: Cabinet) -> None:
    cabinet.coils.update(green=True, beacon=True, entry_green=True)
    cabinet.run(5)
    assert cabinet.plant.entry_green
    cabinet.station_lives = False
    cabinet.run(1.4)
    assert cabinet.coils["green"], "one missed toggle is no silence"
    cabinet.run(0.7)
    assert not any(cabinet.coils.values())
    assert not cabinet.plant.entry_green
    assert not cabinet.plc.alive


def test_an_open_arm_stays_up_when_the_station_falls_silent_until_the_lane_is_clear(cabinet: Cabinet) -> None:
    cabinet.truck_at_booth()
    cabinet.coils["raise_permit"] = True
    cabinet.run_until(lambda: cabinet.inputs["exit_loop"])
    cabinet.station_lives = False
    cabinet.run_until(lambda: not cabinet.coils["raise_permit"])
    while cabinet.inputs["obstruction"] or cabinet.inputs["exit_loop"]:
        assert cabinet.inputs["barrier_up"]
        cabinet.run(0.02)
    cabinet.run_until(lambda: cabinet.inputs["barrier_down"], at_most_s=4)


def test_a_dead_station_moves_nothing_until_its_watchdog_moves(cabinet: Cabinet) -> None:
    cabinet.station_lives = False
    cabinet.coils["raise_permit"] = True
    cabinet.run(10)
    assert cabinet.inputs["barrier_down"]
    cabinet.station_lives = True
    cabinet.run(3)
    assert cabinet.inputs["barrier_up"]


def test_coils_dropped_by_the_watchdog_do_not_come_back_by_themselves(cabinet: Cabinet) -> None:
    cabinet.coils["raise_permit"] = True
    cabinet.run(3)
    cabinet.station_lives = False
    cabinet.run(10)
    assert cabinet.inputs["barrier_down"]
    cabinet.station_lives = True
    cabinet.run(10)
    assert cabinet.inputs["barrier_down"]


def test_the_emergency_stop_ends_every_permission(cabinet: Cabinet) -> None:
    cabinet.coils.update(raise_permit=True, entry_green=True)
    cabinet.plc.fault("estop", on=True)
    cabinet.run(5)
    assert not cabinet.inputs["estop_ok"]
    assert cabinet.inputs["barrier_down"]
    assert not cabinet.plant.entry_green
    cabinet.plc.fault("estop", on=False)
    cabinet.run(5)
    assert cabinet.inputs["estop_ok"]
    assert cabinet.inputs["barrier_up"]


def test_the_emergency_stop_keeps_an_open_arm_open(cabinet: Cabinet) -> None:
    cabinet.coils["raise_permit"] = True
    cabinet.run(3)
    cabinet.plc.fault("estop", on=True)
    cabinet.coils["raise_permit"] = False
    cabinet.run(10)
    assert cabinet.inputs["barrier_up"]


@pytest.mark.parametrize("loop", ["entry_loop", "booth_loop", "exit_loop"])
def test_a_stuck_loop_reads_occupied_while_the_fault_lasts(cabinet: Cabinet, loop: str) -> None:
    cabinet.plc.fault(f"stuck_loop:{loop}", on=True)
    cabinet.run(1)
    assert cabinet.inputs[loop]
    cabinet.plc.fault(f"stuck_loop:{loop}", on=False)
    cabinet.run(1)
    assert not cabinet.inputs[loop]


def test_an_open_cabinet_is_seen(cabinet: Cabinet) -> None:
    cabinet.plc.fault("cabinet_open", on=True)
    cabinet.run(0.02)
    assert not cabinet.inputs["cabinet_closed"]


def test_an_arm_may_rise_unordered_and_comes_down_as_any_other(cabinet: Cabinet) -> None:
    cabinet.plc.fault("arm_moves_unordered", on=True)
    cabinet.run(3)
    assert cabinet.inputs["barrier_up"]
    assert not cabinet.coils["raise_permit"]
    cabinet.plc.fault("arm_moves_unordered", on=False)
    cabinet.run(4)
    assert cabinet.inputs["barrier_down"]


@pytest.mark.parametrize("end", ["barrier_down", "barrier_up"])
def test_a_stuck_arm_stays_where_it_is(cabinet: Cabinet, end: str) -> None:
    cabinet.coils["raise_permit"] = end == "barrier_up"
    cabinet.run(4)
    cabinet.plc.fault("arm_stuck", on=True)
    cabinet.coils["raise_permit"] = end == "barrier_down"
    cabinet.run(10)
    assert cabinet.inputs[end]


def test_frozen_inputs_show_the_past_while_the_arm_still_minds_the_present(cabinet: Cabinet) -> None:
    cabinet.truck_at_booth()
    cabinet.plc.fault("frozen", on=True)
    cabinet.coils["raise_permit"] = True
    cabinet.run_until(lambda: cabinet.plant.over_loop(PLACES.exit_loop_m))
    assert cabinet.inputs["booth_loop"]
    assert not cabinet.inputs["exit_loop"]
    assert cabinet.inputs["barrier_down"]
    cabinet.coils["raise_permit"] = False
    while cabinet.plant.eye_blocked:
        assert cabinet.plant.arm == 1
        cabinet.run(0.02)
