"""A truck that drives as it is told past a portal on its real wire, an encoder and loops, in virtual time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from drivers.geometry import LaneGeometry
from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import RecordedProfile, Scenario, Source, Vehicle
from drivers.plant.world import STEP_S, Plant
from drivers.readings import LineBlock, Reading, ScanClosed, ScanKey, ScanKind, ScanOpened, Speed
from drivers.rpm.tsa.driver import TsaReader
from drivers.rpm.tsa.portal import TsaPortal
from tests.support.lane_facts import GEOMETRY, SCANNER
from tests.support.lane_rig import Rig

Way = Callable[[float], float]
"""Place of the nose at seconds after the start of the passage."""
STEP, LINES = 0.05, 10
AHEAD_M = 12.0
"""Way before the first beam on which a truck appears."""
PITCH_M, LEAD_COLUMNS = 0.004, 100


def steady(speed_mps: float) -> Way:
    """Drive on without a change."""
    return lambda t_s: GEOMETRY.portal_beams_m[0] - AHEAD_M + speed_mps * t_s


def legs(*pieces: tuple[float, float]) -> Way:
    """Drive pieces of seconds at metres a second, softly from one to the next."""
    times = np.cumsum([0.0, *[seconds for seconds, _ in pieces]])
    grid = np.arange(0, times[-1], STEP_S)
    speeds = np.array([pieces[min(int(i), len(pieces) - 1)][1] for i in np.searchsorted(times[1:], grid)])
    soft = np.convolve(np.pad(speeds, 100, mode="edge"), np.ones(201) / 201, mode="valid")
    places = np.concatenate([[0.0], np.cumsum(soft) * STEP_S]) + GEOMETRY.portal_beams_m[0] - AHEAD_M
    return lambda t_s: float(np.interp(t_s, np.arange(places.size) * STEP_S, places))


class ScriptedPlant(Plant):
    """The virtual lane with one truck, which drives where it is told and stops for nobody."""

    path: Way | None = None
    began_s = 0.0

    def begin(self, path: Way) -> None:
        """Let it come."""
        self.path, self.began_s = path, self.advance()
        self.vehicle = self.scenario.truck[0]
        self.nose_m = path(0.0)

    def _perhaps_arrive(self) -> None:
        """It comes when it is told."""

    def _move_vehicle(self) -> None:
        if self.path is not None:
            before_m, self.nose_m = self.nose_m, self.path(self._now_s - self.began_s)
            self.speed_mps = abs(self.nose_m - before_m) / STEP_S


@dataclass
class Truck:
    """One passage; ``change`` may drop or change what the portal says."""

    source: Source | RecordedProfile | None
    path: Way
    length_m: float = 12.0
    suppression: float = 0.12
    encoder: bool = True
    cut_at_m: float = math.inf
    """Place of the nose at which the scanner falls silent."""
    seed: int = 1
    rig: Rig = field(default_factory=Rig)
    change: Callable[[Reading], Reading | None] = lambda reading: reading
    portal_fault: str = ""
    standing_at: LaneGeometry = GEOMETRY
    """Where the devices really stand."""

    def __post_init__(self) -> None:
        self.clock = PlantClock(0)
        body: dict[str, Any] = {"length_m": self.length_m, "suppression": self.suppression}
        if isinstance(self.source, RecordedProfile):
            body["recorded"] = self.source
        elif self.source is not None:
            body["sources"] = (self.source,)
        vehicle = Vehicle.model_validate({"name": "told", "plate": "R4K 7719", **body})
        self.plant = ScriptedPlant(self.standing_at, Scenario(title="told", truck=(vehicle,)), self.clock)
        self.portal = TsaPortal(self.plant, self.seed)
        if self.portal_fault:
            self.portal.fault(self.portal_fault, on=True)
        self.key: ScanKey | None = None
        self.origin_m = 0.0
        self._sync()
        self.reader = TsaReader(self.rig.stamp(), {})
        self._hear(self.portal.connected())

    def drive(self, until: Callable[[Truck], bool] | None = None) -> Truck:
        """Learn the background of half a minute, then pass; ``until`` may end the passage early."""
        for _ in range(60):
            self._step(0.5)
        self.plant.begin(self.path)
        passed_m = self.standing_at.scan_plane_m + self.length_m + 1.0
        while self.plant.nose_m < passed_m and not (until and until(self)):
            self._step(STEP)
        if until is None:
            for _ in range(80):
                self._step(STEP)
        return self

    def leave(self) -> Any:
        """Go to secondary and drive out; return the sealed record."""
        rig = self.rig
        rig.plate()
        rig.board(booth_loop=True)
        rig.wait(1.0)
        rig.decide("secondary")
        rig.leave()
        return rig.last("inspection.sealed")

    @property
    def ended(self) -> Any:
        """The record of the occupancy."""
        return self.rig.last("occupancy.ended")

    def _sync(self) -> float:
        now_s = self.plant.advance()
        self.rig.now_s = now_s
        return now_s

    def _step(self, seconds: float) -> None:
        self.clock.advance(seconds)
        now_s = self._sync()
        self._hear(self.portal.step(now_s))
        if self.plant.path is not None:
            self._scan(now_s)
        entry = self.plant.over_loop(self.standing_at.entry_loop_m)
        if entry != self.rig.inputs["entry_loop"]:
            self.rig.board(entry_loop=entry)
        self.rig.carry(self.rig.lane.tick(self.rig.stamp()))

    def _hear(self, lines: list[bytes]) -> None:
        for item in self.reader.take(b"".join(lines), self.rig.stamp()):
            reading = self.change(item)
            if reading is not None:
                self.rig.read("rpm1", reading)

    def _scan(self, now_s: float) -> None:
        nose_m, plane_m = self.plant.nose_m, self.standing_at.scan_plane_m
        if self.key is None and nose_m >= plane_m:
            self.key = ScanKey(1, 1)
            self.origin_m = self._place(now_s - STEP * (1 - 1 / LINES))
            opened = ScanOpened(
                self.rig.stamp(), self.key, ScanKind.VEHICLE, 8, 1, 0.002, 65535, True, False, SCANNER
            )
            self.rig.read("scanner1", opened)
        if self.key is None or self.key.scan_id == 0 or nose_m > self.cut_at_m:
            return
        times_s = now_s - STEP + STEP / LINES * np.arange(1, LINES + 1)
        places = np.array([self._place(t_s) for t_s in times_s]) - self.origin_m
        self.rig.read(
            "scanner1",
            LineBlock(
                self.rig.stamp(),
                self.key,
                0,
                np.zeros((LINES, 1, 8), np.uint16),
                np.round(times_s * 1e9).astype(np.int64),
                places if self.encoder else None,
                None,
                np.zeros(LINES, np.uint16),
            ),
        )
        if nose_m > plane_m + self.length_m + 0.4:
            columns = {"col_nose": LEAD_COLUMNS, "px_mm_x": PITCH_M * 1000}
            tail = LEAD_COLUMNS + round(self.length_m / PITCH_M)
            self.rig.scan_result = {**columns, "col_tail": tail, **self.rig.scan_result}
            self.rig.read("scanner1", ScanClosed(self.rig.stamp(), self.key, 100, 0, None))
            self.key = ScanKey(1, 0)

    def _place(self, time_s: float) -> float:
        assert self.plant.path is not None
        return self.plant.path(max(0.0, time_s - self.plant.began_s))


def point(at_m: float, gamma_cps: float = 1500.0, neutron_cps: float = 0.0) -> Source:
    """A small source."""
    return Source(at_m=at_m, gamma_cps=gamma_cps, neutron_cps=neutron_cps)


def no_speed(reading: Reading) -> Reading | None:
    """A portal that measures no speed."""
    return None if isinstance(reading, Speed) else reading


def shifted(by_m: float) -> LaneGeometry:
    """A portal that does not stand where the lane file says."""
    first_m, last_m = GEOMETRY.portal_beams_m
    return replace(GEOMETRY, portal_m=GEOMETRY.portal_m + by_m, portal_beams_m=(first_m, last_m))
