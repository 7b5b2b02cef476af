"""The folder of documents under the contract that every driver keeps, as far as it fits a folder.

No stream of bytes leads to a folder, so what is cut, sliced, half open or mixed with junk on a stream cannot
be done to it. What these checks promise is proved in tests/integration/test_drop_driver.py: half a file, junk
and bombs, a folder that hangs or goes away, and that the tap sees each document once.
"""

from __future__ import annotations

from drivers.contract import DriverCase
from drivers.geometry import LaneGeometry
from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import Scenario, Vehicle
from drivers.plant.world import Plant
from drivers.rpm.drop.driver import SPEC

PLACES = LaneGeometry(
    entry_loop_m=-2.0, portal_m=4.0, portal_beams_m=(3.5, 4.5), lpr_m=5.0, scan_plane_m=8.0,
    booth_loop_m=19.0, stop_line_m=21.0, barrier_m=22.0, exit_loop_m=24.0,
)  # fmt: skip


def endless_traffic(clock: PlantClock) -> Plant:
    truck = Vehicle(name="t", plate="R4K 7719", speed_mps=15)
    plant = Plant(PLACES, Scenario(title="traffic", gap_s=0, truck=(truck,)), clock)
    plant.entry_green = plant.arm_wanted_up = True
    return plant


CASES = (
    DriverCase(
        name="n42_drop",
        spec=SPEC,
        plant=endless_traffic,
        address=lambda place: {"folder": str(place)},
        start_s=5.0,
        rate=20.0,
        readings=2,
        folder=True,
        reads_on_connect=False,
        replayable=False,
    ),
)
