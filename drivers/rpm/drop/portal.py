"""A virtual portal that writes one N42 document of each passage, without a file and without a clock.

``step`` counts every interval of 200 ms and returns the documents of the passages that are over: what was
counted vacant in the last 20 s as one background, then each interval of the vehicle and 2 s more. The
portal's own alarm is that of a gross-count portal: 7 sigma on the sum of a second, and its counterpart for
neutrons.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.api import Stamp
from drivers.formats.n42.document import (
    Alarm,
    Analysis,
    Detector,
    DetectorCounts,
    Document,
    Fault,
    Instrument,
    Measurement,
)
from drivers.plant.panels import Panels
from drivers.plant.world import ROUNDING_S, Plant

INTERVAL_S = 0.2
HOLD_IN = 10
BACKGROUND_INTERVALS = 100
MOST_INTERVALS = 6_000
"""Of one passage: 20 minutes."""
GAMMA, NEUTRON = ("G1", "G2", "G3", "G4"), ("N1", "N2", "N3", "N4")
DETECTORS = (
    *(Detector(name, "Gamma", "PVT") for name in GAMMA),
    *(Detector(name, "Neutron", "He3") for name in NEUTRON),
)
INSTRUMENT = Instrument("Carril", "emulated portal", "rpm", versions={"Firmware": "EMULATED"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLOCK_OFF_S = 3_600.0

Counted = NDArray[np.int64]

FAULTS = frozenset(
    {
        "clock_off",  # its clock is an hour ahead
        "no_background",  # the document has none
        "no_item",  # the document does not say which vehicle
        "partial",  # the last panel counts nothing
        "tamper",  # its cabinet is open
    }
)


@dataclass(frozen=True, slots=True)
class _Interval:
    begin_ns: int
    gamma: Counted
    neutron: Counted
    speed_mps: float


class DropPortal:
    """The portal's own state."""

    def __init__(self, plant: Plant, seed: int) -> None:
        """Switch on now, in an empty lane."""
        self.plant = plant
        self.faults: set[str] = set()
        self.occupied = False
        self.count = 0
        self._panels = Panels(plant, np.random.default_rng(seed), INTERVAL_S)
        self._tick_s = plant.advance() + INTERVAL_S
        self._vacant: deque[_Interval] = deque(maxlen=BACKGROUND_INTERVALS)
        self._passage: deque[_Interval] = deque(maxlen=MOST_INTERVALS)
        self._alarms: dict[str, int] = {}
        self._left = 0
        """Intervals since the vehicle has left."""
        self._item: dict[str, str] = {}

    @property
    def due_s(self) -> float:
        """When ``step`` will have something to do."""
        return self._tick_s

    def step(self, now: Stamp) -> list[Document]:
        """Return the documents of the passages that are over by now."""
        now_s, documents = now.mono_ns / 1e9, []
        while self._tick_s <= now_s + ROUNDING_S:
            self.plant.advance()
            end_ns = now.utc_ns - round((now_s - self._tick_s) * 1e9)
            if (document := self._interval(end_ns)) is not None:
                documents.append(document)
            self._tick_s += INTERVAL_S
        return documents

    def _interval(self, end_ns: int) -> Document | None:
        off_s = CLOCK_OFF_S if "clock_off" in self.faults else 0.0
        self._panels.count(self._tick_s)
        gamma, neutron = self._panels.gamma[-1], self._panels.neutron[-1]
        begin_ns = end_ns + round((off_s - INTERVAL_S) * 1e9)
        interval = _Interval(begin_ns, gamma, neutron, self._panels.seen.speed_mps)
        if self._panels.occupied:
            self.occupied, self._left = True, 0
            vehicle = self._panels.seen.vehicle
            known = {"plate": vehicle.plate, "container": vehicle.container} if vehicle is not None else {}
            self._item = {name: text for name, text in known.items() if text}
        elif not self.occupied:
            self._panels.learn()
            self._vacant.append(interval)
            return None
        else:
            self._left += 1
        self._passage.append(interval)
        for category, alarm in (("Gamma", self._panels.gamma_alarm), ("Neutron", self._panels.neutron_alarm)):
            if alarm:
                self._alarms.setdefault(category, begin_ns)
        return self._over() if self._left >= HOLD_IN else None

    def _over(self) -> Document:
        self.occupied, self._left, self.count = False, 0, self.count + 1
        background = [] if "no_background" in self.faults else self._background()
        samples = [_measurement([each], self.faults, occupied=True) for each in self._passage]
        alarms = tuple(
            Alarm(GAMMA if category == "Gamma" else NEUTRON, category, _rfc3339(at_ns), "emulated")
            for category, at_ns in self._alarms.items()
        )
        document = Document(
            uuid=str(uuid.UUID(int=self._passage[0].begin_ns)),
            written=_rfc3339(self._passage[-1].begin_ns),
            instrument=INSTRUMENT,
            detectors=DETECTORS,
            measurements=(*background, *samples),
            analyses=(Analysis("portal", alarms),),
            item={} if "no_item" in self.faults else self._item,
            creator="Carril emulator",
            remarks=("Simulated: this portal is emulated. This is no evidence.",),
        )
        self._passage.clear()
        self._alarms = {}
        return document

    def _background(self) -> list[Measurement]:
        return [_measurement(list(self._vacant), self.faults, occupied=False)] if self._vacant else []

    def state(self) -> dict[str, Any]:
        """Return what the portal believes, as JSON values."""
        return {
            "occupied": self.occupied,
            "passages": self.count,
            "gamma_background": self._panels.gamma_background,
            "gamma_limit": self._panels.gamma_limit,
            "neutron_limit": self._panels.neutron_limit,
        }


def _measurement(intervals: Sequence[_Interval], faults: set[str], *, occupied: bool) -> Measurement:
    """Return the sum over intervals as one measurement."""
    seconds = round(len(intervals) * INTERVAL_S, 3)
    panels = len(GAMMA) - ("partial" in faults)
    counts = [
        DetectorCounts(name, seconds, int(count))
        for names, totals in (
            (GAMMA, np.sum([each.gamma for each in intervals], axis=0)),
            (NEUTRON, np.sum([each.neutron for each in intervals], axis=0)),
        )
        for name, count in list(zip(names, totals, strict=True))[:panels]
    ]
    tamper = (Fault("Tamper", "The cabinet is open", "Warning"),) if "tamper" in faults else ()
    return Measurement(
        start=_rfc3339(intervals[0].begin_ns),
        real_time_s=seconds,
        class_code="Foreground" if occupied else "Background",
        counts=tuple(counts),
        faults=tamper,
        speed_mps=round(intervals[-1].speed_mps, 3) if occupied else None,
        occupied=occupied,
    )


def _rfc3339(utc_ns: int) -> str:
    return (_EPOCH + timedelta(microseconds=utc_ns // 1000)).isoformat().replace("+00:00", "Z")
