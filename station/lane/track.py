"""Where the vehicle's nose was at what time: one axis for radiograph and radiation strips.

Points come from the scanner's encoder. Before them (the portal stands upstream of the scan plane) the
nose is carried back with the speed of the first points, or forward from the first occupancy beam with
the portal's own speed. Distances in metres along the lane, times in monotonic seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

MAX_POINTS = 4096


@dataclass(slots=True)
class Track:
    """Nose positions of one vehicle."""

    times_s: list[float] = field(default_factory=list)
    noses_m: list[float] = field(default_factory=list)
    beam_s: float | None = None
    """When the first occupancy beam was broken."""
    beam_m: float = 0.0
    speed_mps: float | None = None
    """Speed from the portal, used only while there is no encoder."""

    def add(self, time_s: float, nose_m: float) -> None:
        """Add one encoder point; points that go back in time are dropped."""
        if self.times_s and time_s <= self.times_s[-1]:
            return
        if len(self.times_s) >= MAX_POINTS:
            del self.times_s[1::2], self.noses_m[1::2]
        self.times_s.append(time_s)
        self.noses_m.append(nose_m)

    @property
    def source(self) -> str | None:
        """Return what the positions rest on: encoder, portal_speed or nothing."""
        if len(self.times_s) >= 2:
            return "encoder"
        return "portal_speed" if self.beam_s is not None and self.speed_mps is not None else None

    def nose_at(self, time_s: float) -> float | None:
        """Return the nose's place at a time, or ``None`` without any ground for it."""
        if len(self.times_s) >= 2:
            return self._by_encoder(time_s)
        if self.beam_s is None or self.speed_mps is None:
            return None
        return self.beam_m + self.speed_mps * (time_s - self.beam_s)

    def _by_encoder(self, time_s: float) -> float:
        index = min(max(bisect_left(self.times_s, time_s), 1), len(self.times_s) - 1)
        low = index - 1
        if time_s < self.times_s[0]:
            index = self._first_metre()
            low = 0
        elif time_s > self.times_s[-1]:
            return self.noses_m[-1]
        span_s = self.times_s[index] - self.times_s[low]
        share = (time_s - self.times_s[low]) / span_s
        return self.noses_m[low] + share * (self.noses_m[index] - self.noses_m[low])

    def _first_metre(self) -> int:
        for index, nose_m in enumerate(self.noses_m[1:], start=1):
            if nose_m - self.noses_m[0] >= 1.0:
                return index
        return len(self.noses_m) - 1
