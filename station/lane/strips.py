"""The radiation strips of one vehicle, as they are shown while it moves and as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from station.lane.core import Passage


class Series(NamedTuple):
    """Samples of one channel: the middle of each in monotonic seconds, and its counts in ``dt_s``."""

    samples: Sequence[tuple[float, int]]
    dt_s: float
    """0: nobody knows how long it counts."""


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
        "hot_spots": [],
    }
