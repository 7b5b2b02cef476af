"""Where the vehicle's nose was at what time: one axis for radiograph and radiation strips.

Points come from the scanner's encoder. Before them (the portal stands upstream of the scan plane) the nose
came from the first occupancy beam with the portal's own speeds, stretched so that it meets the first point;
without that beam it is carried back with the speed of the first points. Without an encoder the portal's
speeds alone carry it forward. Distances in metres along the lane, times in monotonic seconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal, NamedTuple

MAX_POINTS = 4096
STILL_MPS = 0.05
MOST_TURNS = 2
"""A vehicle without an encoder that stood more often may have turned in too many ways to tell them apart."""
BACK_M = 1.0
"""It cannot have gone back out of the portal, whose occupancy would have ended."""
SIGMAS = {"encoder": 0.01, "portal_speed": 0.05, "length": 0.25}
"""Relative error of a way, by what it rests on: our choice."""

Source = Literal["encoder", "portal_speed", "length"]


class Reckoned(NamedTuple):
    """A speed reading, and the way since the first one."""

    time_s: float
    speed_mps: float
    way_m: float


@dataclass(slots=True)
class Track:
    """Nose positions of one vehicle."""

    times_s: list[float] = field(default_factory=list)
    noses_m: list[float] = field(default_factory=list)
    beam_s: float | None = None
    """When the nose broke the first occupancy beam, if that was seen."""
    beam_m: float = 0.0
    speeds: list[Reckoned] = field(default_factory=list)
    """Of the portal."""
    is_mean: bool = False
    """Whether the one speed is the vehicle's length over its time in the portal: nothing measured it."""

    def add(self, time_s: float, nose_m: float) -> None:
        """Add one encoder point; points that go back in time are dropped."""
        if self.times_s and time_s <= self.times_s[-1]:
            return
        if len(self.times_s) >= MAX_POINTS:
            del self.times_s[1::2], self.noses_m[1::2]
        self.times_s.append(time_s)
        self.noses_m.append(nose_m)

    def add_speed(self, time_s: float, speed_mps: float) -> None:
        """Add one reading of the portal's own speed; it changes evenly from one to the next."""
        before = self.speeds[-1] if self.speeds else Reckoned(time_s, speed_mps, 0.0)
        if self.speeds and time_s <= before.time_s:
            return
        if len(self.speeds) >= MAX_POINTS:
            del self.speeds[1::2]
        way_m = before.way_m + (before.speed_mps + speed_mps) / 2 * (time_s - before.time_s)
        self.speeds.append(Reckoned(time_s, speed_mps, way_m))

    def copy(self) -> Track:
        """Return the track as it is now, for another thread."""
        lists = {name: getattr(self, name).copy() for name in ("times_s", "noses_m", "speeds")}
        return replace(self, **lists)

    @property
    def speed_mps(self) -> float | None:
        """Return the portal's last speed."""
        return self.speeds[-1].speed_mps if self.speeds else None

    @property
    def source(self) -> Source | None:
        """Return what the positions rest on."""
        if len(self.times_s) >= 2:
            return "encoder"
        if self.beam_s is None or not self.speeds:
            return None
        return "length" if self.is_mean else "portal_speed"

    def nose_at(self, time_s: float) -> float | None:
        """Return the nose's place at a time, or ``None`` without any ground for it."""
        if len(self.times_s) >= 2:
            return self._by_encoder(time_s)
        if self.beam_s is None or not self.speeds:
            return None
        return self.beam_m + self._way_m(time_s) - self._way_m(self.beam_s)

    def sigma(self, nose_m: float) -> float:
        """Return the relative error of the way from the first beam to a place; needs a ``source``.

        Between beam and encoder it is taken from how far the speeds miss the encoder's first point.
        """
        least = SIGMAS[self.source or "length"]
        if self.source != "encoder" or self.beam_s is None or nose_m >= self.noses_m[0]:
            return least
        first_s, way_m = self.times_s[0], self.noses_m[0] - self.beam_m
        index = self._first_metre()
        speed_mps = (self.noses_m[index] - self.noses_m[0]) / (self.times_s[index] - first_s)
        told_m = self._way_m(first_s) - self._way_m(self.beam_s) if self.speeds else None
        expected_m = speed_mps * (first_s - self.beam_s) if told_m is None else told_m
        return max(least, min(1.0, abs(expected_m / way_m - 1)) / 4) if way_m > 0 else 1.0

    def readings(self) -> Iterator[Track]:
        """Yield every way that this track can be read.

        Speeds have no sign: a vehicle that stood may have gone back until it stood again. An encoder knows.
        """
        if self.source != "portal_speed":
            yield self
            return
        stands = [speed.speed_mps < STILL_MPS for speed in self.speeds]
        turns = [i for i, still in enumerate(stands) if still and not (i and stands[i - 1])]
        turns = turns[:-1] if stands[-1] else turns  # it has come to its place
        inner = max(0, len(turns) - 1)
        for signs in product((1, -1), repeat=inner) if len(turns) <= MOST_TURNS else ():
            track = replace(self, speeds=[])
            for i, speed in enumerate(self.speeds):
                stretch = bisect_right(turns, i)
                sign = signs[stretch - 1] if 0 < stretch <= inner else 1
                track.add_speed(speed.time_s, sign * speed.speed_mps)
            if min(speed.way_m for speed in track.speeds) > -BACK_M:
                yield track

    def _way_m(self, time_s: float) -> float:
        """Return the way by the portal's speeds since the first of them."""
        after = bisect_right(self.speeds, time_s, key=lambda speed: speed.time_s)
        near = self.speeds[max(0, after - 1)]
        if 0 < after < len(self.speeds):
            then = self.speeds[after]
            share = (time_s - near.time_s) / (then.time_s - near.time_s)
            return near.way_m + share * (then.way_m - near.way_m)
        return near.way_m + near.speed_mps * (time_s - near.time_s)

    def _by_encoder(self, time_s: float) -> float:
        index = min(max(bisect_left(self.times_s, time_s), 1), len(self.times_s) - 1)
        low = index - 1
        if time_s < self.times_s[0]:
            if (from_beam := self._from_beam(time_s)) is not None:
                return from_beam
            index = self._first_metre()
            low = 0
        elif time_s > self.times_s[-1]:
            return self.noses_m[-1]
        span_s = self.times_s[index] - self.times_s[low]
        share = (time_s - self.times_s[low]) / span_s
        return self.noses_m[low] + share * (self.noses_m[index] - self.noses_m[low])

    def _from_beam(self, time_s: float) -> float | None:
        """Return the place on the way from the first beam to the encoder's first point, if there is one."""
        first_s, first_m = self.times_s[0], self.noses_m[0]
        if self.beam_s is None or self.beam_s >= first_s or self.beam_m >= first_m:
            return None
        share = (time_s - self.beam_s) / (first_s - self.beam_s)
        if self.speeds:
            begun_m = self._way_m(self.beam_s)
            whole_m = self._way_m(first_s) - begun_m
            share = (self._way_m(time_s) - begun_m) / whole_m if whole_m > 0 else share
        return self.beam_m + share * (first_m - self.beam_m)

    def _first_metre(self) -> int:
        for index, nose_m in enumerate(self.noses_m[1:], start=1):
            if nose_m - self.noses_m[0] >= 1.0:
                return index
        return len(self.noses_m) - 1
