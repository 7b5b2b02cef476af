"""N42 documents of one passage as a portal would leave them: built, not recorded."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

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
from drivers.formats.n42.write import write

GAMMA, NEUTRON = ("G1", "G2", "G3", "G4"), ("N1", "N2")
DETECTORS = (
    *(Detector(each, "Gamma", "PVT") for each in GAMMA),
    *(Detector(n, "Neutron", "He3") for n in NEUTRON),
)


def rfc3339(utc_ns: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=utc_ns // 1000)).isoformat()


def measured(
    begin_ns: int,
    seconds: float,
    gamma: int | None,
    neutron: int | None,
    *,
    occupied: bool | None = True,
    **more: Any,
) -> Measurement:
    """One measurement with the same counts on every panel."""
    each = [(name, gamma) for name in GAMMA] + [(name, neutron) for name in NEUTRON]
    counts = tuple(DetectorCounts(name, seconds, n) for name, n in each if n is not None)
    kind = "Foreground" if occupied else "Background"
    values = {"counts": counts, "occupied": occupied, "speed_mps": 2.0, **more}
    return Measurement(rfc3339(begin_ns), seconds, kind, **values)


def passage(
    begin_ns: int,
    *,
    seconds: int = 4,
    background: bool = True,
    source: int = 0,
    alarms: Sequence[str] = (),
    faults: Sequence[Fault] = (),
    item: dict[str, str] | None = None,
    **more: Any,
) -> Document:
    """A passage of so many seconds in intervals of 200 ms, after 20 s of background.

    ``source`` are gamma counts more per panel and interval in its middle second.
    """
    step_ns = 200_000_000
    samples = [
        measured(begin_ns + i * step_ns, 0.2, 120 + source * (abs(i - 5 * seconds // 2) < 3), int(i % 5 == 0))
        for i in range(5 * seconds)
    ]
    samples[0] = Measurement(samples[0].start, 0.2, "Foreground", samples[0].counts, tuple(faults), 2.0, True)
    before = [measured(begin_ns - 30_000_000_000, 20.0, 12_000, 20, occupied=False)] if background else []
    found = tuple(
        Alarm(GAMMA if kind != "Neutron" else NEUTRON, kind, description="7 sigma") for kind in alarms
    )
    values = {
        "uuid": str(uuid.UUID(int=begin_ns)),
        "instrument": Instrument("Maker", "Portal"),
        "detectors": DETECTORS,
        "measurements": (*before, *samples),
        "analyses": (Analysis("device", found),),
        "item": item or {},
    }
    return Document(**{**values, **more})


def document(begin_ns: int, **more: Any) -> bytes:
    """Its bytes."""
    return write(passage(begin_ns, **more))
