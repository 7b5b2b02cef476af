"""The pushing camera under the contract that every driver keeps."""

from __future__ import annotations

from drivers.camera.push.driver import SPEC
from drivers.contract import DriverCase
from drivers.geometry import LaneGeometry
from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import Scenario, Vehicle
from drivers.plant.world import Plant
from drivers.readings import CameraRead

PLACES = LaneGeometry(
    entry_loop_m=-2.0, portal_m=4.0, portal_beams_m=(3.5, 4.5), lpr_m=5.0, scan_plane_m=8.0,
    booth_loop_m=19.0, stop_line_m=21.0, barrier_m=22.0, exit_loop_m=24.0,
)  # fmt: skip
TRUCKS = tuple(
    Vehicle(name=plate, plate=plate, speed_mps=15, seed=len(plate)) for plate in ("R4K 7719", "AB1")
)


def endless_traffic(clock: PlantClock) -> Plant:
    """An open lane on which a truck passes every few seconds."""
    plant = Plant(PLACES, Scenario(title="traffic", gap_s=0, truck=TRUCKS), clock)
    plant.entry_green = plant.arm_wanted_up = True
    return plant


def without_when(reading: object) -> object:
    """What an event says, without its time, which is also in its body and decides whether it is late."""
    assert isinstance(reading, CameraRead)
    return reading.text, reading.region, reading.confidence, reading.event_id, reading.pictures


CASES = (
    DriverCase(
        name="http_push",
        spec=SPEC,
        plant=endless_traffic,
        rate=20.0,
        readings=2,
        reads_on_connect=False,
        cut_after=1_000,
        replayable=False,
        essence=without_when,
    ),
)
