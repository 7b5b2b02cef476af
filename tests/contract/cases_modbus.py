"""The Modbus I/O board under the contract that every driver keeps."""

from __future__ import annotations

from drivers.contract import DriverCase
from drivers.geometry import LaneGeometry
from drivers.io.modbus.driver import SPEC
from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import Scenario, Vehicle
from drivers.plant.world import Plant

PLACES = LaneGeometry(
    entry_loop_m=-2.0, portal_m=4.0, portal_beams_m=(3.5, 4.5), lpr_m=5.0, scan_plane_m=8.0,
    booth_loop_m=19.0, stop_line_m=21.0, barrier_m=22.0, exit_loop_m=24.0,
)  # fmt: skip


def passing_truck(clock: PlantClock) -> Plant:
    plant = Plant(PLACES, Scenario(title="one truck", truck=(Vehicle(name="t", plate="R4K 7719"),)), clock)
    plant.entry_green = True
    return plant


CASES = (
    DriverCase(
        name="modbus_io",
        spec=SPEC,
        plant=passing_truck,
        options={"timeout_s": 0.2},
        junk_is_counted=False,  # the library drops what is no answer to its question
        junk_ends_link=True,
        cut_is_counted=False,  # half an answer is a poll that failed
        replayable=False,
    ),
)
