"""Where along the vehicle the source is: what of an occupancy is worth a place, and on which axis.

The way of the vehicle comes from the track: encoder, else the portal's speeds, else the vehicle's length over
its time in the portal. Where the place cannot be told, that is told and why. The number work is done in the
thread that stores the trace: it takes milliseconds, and of a vehicle that stood in the portal a second.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from drivers.geometry import LaneGeometry
from drivers.readings import Channel
from imaging.radiation import localise
from imaging.radiation.verdict import Outcome
from station.domain.occupancy_record import Occupancy, Samples
from station.domain.values import HotSpot, OccupancySummary, ScanSummary, Unlocated
from station.lane.track import Track

if TYPE_CHECKING:
    from station.lane.core import LaneFacts, Passage

log = logging.getLogger("carril.lane")

WORTH_SIGMA = 4.5
"""Without any alarm so many standard deviations above the background are worth a place: with a background of
3,000 counts and 20 s of it, chance alone gives them to one empty vehicle in 3,000 of the design length."""
DIRECTED_M = 0.5
"""Way that an encoder must have counted to tell the direction."""


@dataclass(frozen=True, slots=True)
class HotSpotOptions:
    """What was measured at commissioning."""

    panel_distance_m: float = 2.5
    """From the panels to the lane's middle."""
    occupancy_lead_s: float = 0.2
    """From the broken beam to the arrival of the first scan record."""
    sigma_x_m: float = 0.2
    """Standard error of the places of beams, panels and scan plane, and of the nose in the image."""


AS_DESIGNED = HotSpotOptions()


@dataclass(frozen=True, slots=True)
class Sought:
    """An occupancy that is worth a place, and all that is needed to find it; read by one other thread."""

    occupancy: Occupancy
    kinds: tuple[str, ...]
    track: Track
    geometry: LaneGeometry
    options: HotSpotOptions
    hold_in_s: float | None
    """Time that the portal goes on counting behind the vehicle's tail; ``None``: nobody knows."""
    length_m: float | None = None
    """Of the vehicle, by its image."""
    doubt: str | None = None
    """Why no place can be told."""

    @property
    def begun_s(self) -> float:
        """When the first scan's interval began, monotonic seconds."""
        return self.occupancy.start.mono_ns / 1e9

    @property
    def ended_s(self) -> float:
        """When the tail left the last beam, as far as known."""
        return self.occupancy.end_ns / 1e9 - (self.hold_in_s or 0.0)


@dataclass(frozen=True, slots=True)
class Found:
    """The answer."""

    hot_spots: tuple[HotSpot, ...] = ()
    unlocated: tuple[Unlocated, ...] = ()

    @property
    def wants_length(self) -> bool:
        """Whether the vehicle's length would help."""
        return any(each.why == "speed" for each in self.unlocated)


NOTHING = Found()


def worth(occupancy: Occupancy, summary: OccupancySummary) -> tuple[str, ...]:
    """Return what of an occupancy is worth a place: an alarm of the device or the station, or a high sum."""
    alarmed = {str(channel) for channel in occupancy.alarms}
    alarmed |= {each.channel for each in summary.verdicts if each.outcome == Outcome.ALARM}
    kinds: list[str] = []
    if Channel.GAMMA in alarmed or (summary.sigma_max or 0.0) >= WORTH_SIGMA:
        low = any(count is not None for count in occupancy.gamma.lows)
        kinds += ["gamma", "gamma_low"] if low else ["gamma"]
    return (*kinds, "neutron") if Channel.NEUTRON in alarmed else tuple(kinds)


def seek(
    facts: LaneFacts,
    passage: Passage,
    occupancy: Occupancy,
    summary: OccupancySummary,
    hold_in_s: float | None,
) -> Sought | None:
    """Return what is to be located of an occupancy of the vehicle in the lane, or ``None``: nothing is."""
    kinds = worth(occupancy, summary)
    if not kinds:
        return None
    doubt, length_m = _doubt(passage, occupancy), imaged_length_m(passage.scan)
    options = facts.geometry, facts.hot_spot, hold_in_s, length_m, doubt
    return paced(Sought(occupancy, kinds, passage.track, *options), passage.track)


def _doubt(passage: Passage, occupancy: Occupancy) -> str | None:
    """Return why the vehicle's way through the portal is not known."""
    inspection, track = passage.inspection, passage.track
    by_encoder = track.source == "encoder"
    if not occupancy.start_known or (passage.occupancies and not by_encoder):
        return "start_unknown"
    if "second_vehicle" in inspection.marks or inspection.checks.doubted.get("rpm") == "ambiguous":
        return "ambiguous"
    came_in = inspection.opened_by == "entry_loop" or "entry" in passage.moments
    ahead = by_encoder and track.noses_m[-1] - track.noses_m[0] > DIRECTED_M
    return None if came_in or ahead else "direction"


def imaged_length_m(scan: ScanSummary | None) -> float | None:
    """Return the vehicle's length by its radiograph."""
    if scan is None or scan.col_nose is None or scan.col_tail is None or scan.px_mm_x <= 0:
        return None
    return (scan.col_tail - scan.col_nose) * scan.px_mm_x / 1000


def paced(sought: Sought, track: Track) -> Sought:
    """Return it with the track of now, which without speeds is given the mean one if the length is known."""
    first_m, last_m = sought.geometry.portal_beams_m
    if sought.length_m is not None and track.source is None and track.beam_s is not None:
        time_s = sought.ended_s - track.beam_s
        if time_s > 0:
            track.is_mean = True
            track.add_speed(track.beam_s, (sought.length_m + last_m - first_m) / time_s)
    return replace(sought, track=track.copy())


def find(sought: Sought | None) -> Found:
    """Locate all that was sought; a bug leaves it without a place, never the occupancy without its record."""
    if sought is None:
        return NOTHING
    try:
        return _find(sought)
    except Exception:
        log.exception("a bug in the localisation: occupancy %s has no place", sought.occupancy.occupancy_id)
        return _nowhere(sought, "fault")


def _find(sought: Sought) -> Found:
    if sought.doubt is not None or sought.track.source is None:
        return _nowhere(sought, sought.doubt or "speed")
    spots: list[HotSpot] = []
    missing: list[Unlocated] = []
    for kind in sought.kinds:
        found = _Search(sought, kind).run()
        if isinstance(found, str):
            missing.append(Unlocated.model_validate({"kind": kind, "why": found}))
        else:
            spots += found
    return Found(tuple(spots), tuple(missing))


def _nowhere(sought: Sought, why: str) -> Found:
    kinds = sought.kinds
    return Found((), tuple(Unlocated.model_validate({"kind": kind, "why": why}) for kind in kinds))


@dataclass(slots=True)
class _Search:
    """One kind of counts of one occupancy."""

    sought: Sought
    kind: str
    samples: Samples = field(init=False)

    def __post_init__(self) -> None:
        self.samples = self.sought.occupancy.samples(self._channel)

    @property
    def _channel(self) -> Channel:
        return Channel.NEUTRON if self.kind == "neutron" else Channel.GAMMA

    def run(self) -> list[HotSpot] | str:
        """Return the hot spot, or candidates for it, or why there is none."""
        samples, occupancy = self.samples, self.sought.occupancy
        if samples.interval_s <= 0 or samples.records - samples.partial < localise.LEAST_SAMPLES:
            return "no_counts"
        if any(gap.channel == self._channel for gap in occupancy.gaps):
            return "gap"
        if samples.truncated:
            return "too_long"
        readings = list(self.sought.track.readings())
        if not readings:
            return "reversal"
        spots: list[HotSpot] = []
        for track in readings:
            spot = self._on(track)
            if spot is not None and all(not _same(spot, other) for other in spots):
                spots.append(spot)
        several = len(spots) > 1
        return [spot.model_copy(update={"candidate": several}) for spot in spots] or "edge"

    def _on(self, track: Track) -> HotSpot | None:
        """Return the hot spot if the vehicle's way was this one."""
        sought, options = self.sought, self.sought.options
        portal_m = sought.geometry.portal_m
        length_m = sought.length_m or self._length_m(track)
        stretches, counts = self._records(track, length_m)
        array = np.array(stretches, dtype=np.float64).reshape(-1, 2) - portal_m
        totals = np.array(counts, dtype=np.float64)
        spot = localise.locate(array, totals, options.panel_distance_m, length_m)
        if spot is None:
            return None
        travel_m = spot.s_m + portal_m - track.beam_m
        band_m = localise.band_sigma_m(
            spot.sigma_m,
            travel_m,
            self._speed_mps(track),
            track.sigma(spot.s_m + portal_m),
            self._begin_sigma_s(),
            options.sigma_x_m,
        )
        return HotSpot.model_validate(
            {
                "kind": self.kind,
                "s_m": spot.s_m,
                "sigma_m": round(band_m, 2),
                "fwhm_m": spot.fwhm_m,
                "distributed": spot.distributed,
                "speed_from": track.source,
                "version": localise.VERSION,
            }
        )

    def _records(
        self, track: Track, length_m: float | None
    ) -> tuple[list[tuple[float, float]], Sequence[int]]:
        """Return the nose's places at begin and end of each record that has one, and its counts.

        What came after the encoder's last point has no place if the vehicle was still in the portal then: it
        may stand, or go on unseen. Behind its tail one place is as good as another.
        """
        samples = self.samples
        begun_s = self.sought.begun_s
        last_s = math.inf
        if track.source == "encoder":
            behind_m = track.noses_m[-1] - self.sought.geometry.portal_m
            last_s = math.inf if length_m and behind_m > length_m else track.times_s[-1]
        series = samples.lows if self.kind == "gamma_low" else samples.totals
        stretches, counts = [], []
        for middle_s, count in zip(samples.times_s, series, strict=True):
            from_s, to_s = (begun_s + middle_s + side * samples.interval_s / 2 for side in (-1, 1))
            from_m, to_m = track.nose_at(from_s), track.nose_at(to_s)
            if count is not None and from_m is not None and to_m is not None and to_s <= last_s:
                stretches.append((from_m, to_m))
                counts.append(count)
        return stretches, counts

    def _length_m(self, track: Track) -> float | None:
        """Return the vehicle's length by the portal's last beam, if it was seen to leave that."""
        sought = self.sought
        cut = track.source == "encoder" and track.times_s[-1] < sought.ended_s
        if sought.hold_in_s is None or cut:
            return None
        nose_m = track.nose_at(sought.ended_s)
        return None if nose_m is None else max(0.0, nose_m - sought.geometry.portal_beams_m[1])

    def _begin_sigma_s(self) -> float:
        """Return the error of the begin: the first read came at any time of the interval before it."""
        gamma = self.sought.occupancy.gamma
        leading = gamma if gamma.records else self.samples
        return leading.interval_s * leading.first_read / math.sqrt(12)

    @staticmethod
    def _speed_mps(track: Track) -> float:
        """Return the speed with which the vehicle came."""
        if track.beam_s is None:
            return 0.0
        from_m, to_m = track.nose_at(track.beam_s), track.nose_at(track.beam_s + 1.0)
        return 0.0 if from_m is None or to_m is None else abs(to_m - from_m)


def _same(one: HotSpot, other: HotSpot) -> bool:
    """Whether two candidates are one place."""
    return abs(one.s_m - other.s_m) <= 2 * max(one.sigma_m, other.sigma_m)
