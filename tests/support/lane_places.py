"""The demonstration lane's places and a virtual lane with chosen trucks, for tests of single devices."""

from __future__ import annotations

from drivers.api import Clock
from drivers.geometry import LaneGeometry
from drivers.plant.vehicle import Scenario, Source, Vehicle
from drivers.plant.world import APPROACH_S, Plant

PLACES = LaneGeometry(
    entry_loop_m=-2.0, portal_m=4.0, portal_beams_m=(3.5, 4.5), lpr_m=5.0, scan_plane_m=8.0,
    booth_loop_m=19.0, stop_line_m=21.0, barrier_m=22.0, exit_loop_m=24.0,
)  # fmt: skip

CLEAN = Vehicle(name="clean", plate="R4K 7719", suppression=0.0)
HOT = Vehicle(
    name="hot", plate="R4K 7720", suppression=0.0, sources=(Source(at_m=6.0, gamma_cps=2000, neutron_cps=60),)
)


def lane(clock: Clock, *trucks: Vehicle, gap_s: float = 15.0) -> Plant:
    """A lane whose entry and barrier let every truck pass; without trucks it stays empty."""
    plant = Plant(PLACES, Scenario(title="test", truck=trucks or (CLEAN,), gap_s=gap_s), clock)
    plant.entry_green = bool(trucks)
    plant.arm_wanted_up = True
    return plant


__all__ = ["APPROACH_S", "CLEAN", "HOT", "PLACES", "lane"]
