"""The pushing camera under the contract that every driver keeps."""

from __future__ import annotations

import hashlib

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
TRUCK = Vehicle(name="t", plate="R4K 7719", speed_mps=15, seed=8)
"""One truck again and again: on a busy machine, twenty times as fast, the camera may miss a passage."""


def endless_traffic(clock: PlantClock) -> Plant:
    """An open lane on which a truck passes every few seconds."""
    plant = Plant(PLACES, Scenario(title="traffic", gap_s=0, truck=(TRUCK,)), clock)
    plant.entry_green = plant.arm_wanted_up = True
    return plant


def without_when(reading: object) -> object:
    """What an event says, without its time, which is also in its body and in a comment of each picture."""
    assert isinstance(reading, CameraRead)
    undated = [(p.role, p.jpeg[4 + int.from_bytes(p.jpeg[4:6]) :]) for p in reading.pictures]
    pictures = [(role, hashlib.sha256(jpeg).hexdigest()) for role, jpeg in undated]
    return reading.text, reading.region, reading.confidence, reading.event_id, pictures


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
