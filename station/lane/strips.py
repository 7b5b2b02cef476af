"""The radiation strips of one vehicle, as they are shown while it moves and as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from station.domain.occupancy_record import Occupancy, Samples
from station.domain.values import HotSpot
from station.lane.core import Passage


class Series(NamedTuple):
    """Samples of one channel: the middle of each in monotonic seconds, and its counts in ``dt_s``."""

    samples: Sequence[tuple[float, int]]
    dt_s: float
    """0: nobody knows how long it counts."""


def series(samples: Samples, start_s: float) -> Series:
    """Return the records of a channel that have a sum, of an occupancy that began then."""
    pairs = zip(samples.times_s, samples.totals, strict=True)
    known = [(start_s + t_s, total) for t_s, total in pairs if total is not None]
    return Series(known, samples.interval_s)


def strips(passage: Passage | None, gamma: Series, neutron: Series, portal_m: float) -> dict[str, Any]:
    """Return both channels against the vehicle's own axis, or against time without any track.

    ``s_m`` is the distance of the portal behind the nose; ``None`` where the nose was not known.
    """
    track = passage.track if passage is not None else None

    def channel(name: str, series: Series) -> dict[str, Any]:
        samples = series.samples
        noses = [track.nose_at(middle_s) if track is not None else None for middle_s, _ in samples]
        return {
            "t_ms": [round(middle_s * 1000) for middle_s, _ in samples],
            "s_m": [None if n is None else round(n - portal_m, 3) for n in noses]
            if track is not None and track.source is not None
            else None,
            "counts": [counts for _, counts in samples],
            "dt_s": series.dt_s,
            "background": passage.backgrounds.get(name) if passage is not None else None,
            "limit": passage.limits.get(name) if passage is not None else None,
        }

    return {
        "axis": "column" if track is not None and track.source == "encoder" else "time",
        "gamma": channel("gamma", gamma),
        "neutron": channel("neutron", neutron),
        "hot_spots": [spot.model_dump(mode="json") for spot in hot_spots(passage)],
    }


def trace(passage: Passage | None, occupancy: Occupancy, portal_m: float) -> dict[str, Any]:
    """Return the strips of an occupancy that has closed, as they are stored."""
    start_s = occupancy.start.mono_ns / 1e9
    gamma, neutron = series(occupancy.gamma, start_s), series(occupancy.neutron, start_s)
    drawn = strips(passage, gamma, neutron, portal_m)
    return {**drawn, "occupancy_id": occupancy.occupancy_id}


def hot_spots(passage: Passage | None) -> list[HotSpot]:
    """Return the known places of a vehicle in the lane, with their columns as far as it is imaged."""
    if passage is None:
        return []
    return [spot.on(passage.scan) for summary in passage.occupancies for spot in summary.hot_spots]
