"""Where things stand along the lane: one axis, metres, growing in the direction of travel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

LONGEST_LANE_M = 1000.0
"""A longer lane is one that was measured in centimetres or millimetres."""
FURTHEST_BEAM_M = 5.0
"""An occupancy beam further from the portal's middle would speak of another vehicle than the counts."""


@dataclass(frozen=True, slots=True)
class LaneGeometry:
    """Places along the lane in metres; a loop's place is its upstream edge.

    The lane file, the lane and the virtual plant share this one type, so that an
    emulated truck meets the devices where the lane believes that they stand.
    """

    entry_loop_m: float
    portal_m: float
    portal_beams_m: tuple[float, float]
    """First and last occupancy beam; the first one opens the occupancy."""
    lpr_m: float
    scan_plane_m: float
    booth_loop_m: float
    stop_line_m: float
    barrier_m: float
    exit_loop_m: float
    loop_length_m: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what no lane can be; the message has a line for everything that is wrong."""
        if wrong := list(self._wrong_order()) or list(self._wrong_distances()):
            raise ValueError("\n".join(wrong))

    def _wrong_order(self) -> Iterator[str]:
        order = [
            ("entry_loop_m", self.entry_loop_m),
            ("portal_m", self.portal_m),
            ("scan_plane_m", self.scan_plane_m),
            ("booth_loop_m", self.booth_loop_m),
            ("stop_line_m", self.stop_line_m),
            ("barrier_m", self.barrier_m),
            ("exit_loop_m", self.exit_loop_m),
        ]
        for (name, place_m), (after, after_m) in pairwise(order):
            if place_m > after_m:
                yield (
                    f"{name} = {place_m} m lies behind {after} = {after_m} m: "
                    "places grow in the direction of travel"
                )
        first_m, last_m = self.portal_beams_m
        if first_m > last_m:
            yield f"portal_beams_m = [{first_m}, {last_m}]: the upstream beam comes first"
        if self.loop_length_m <= 0:
            yield f"loop_length_m = {self.loop_length_m}: a loop has a length above 0 m"

    def _wrong_distances(self) -> Iterator[str]:
        """Yield what is wrong between places that come in their order; else they would be blamed for it."""
        if self.exit_loop_m - self.entry_loop_m > LONGEST_LANE_M:
            yield (
                f"from entry_loop_m = {self.entry_loop_m} m to exit_loop_m = {self.exit_loop_m} m are more "
                f"than {LONGEST_LANE_M:g} m: give places in metres"
            )
        if not self.entry_loop_m <= self.lpr_m <= self.stop_line_m:
            yield (
                f"lpr_m = {self.lpr_m} m: the camera must be triggered between entry_loop_m = "
                f"{self.entry_loop_m} m and stop_line_m = {self.stop_line_m} m, before the officer decides"
            )
        first_m, last_m = self.portal_beams_m
        if max(self.portal_m - first_m, last_m - self.portal_m) > FURTHEST_BEAM_M:
            yield (
                f"portal_beams_m = [{first_m}, {last_m}]: each beam must stand within {FURTHEST_BEAM_M:g} m "
                f"of portal_m = {self.portal_m} m"
            )
        if self.booth_loop_m == self.stop_line_m:
            yield (
                f"stop_line_m = {self.stop_line_m} m is where the booth loop begins: the nose must stop "
                "behind that edge, or the loop never sees the vehicle"
            )
        apart_m = min(self.booth_loop_m - self.entry_loop_m, self.exit_loop_m - self.booth_loop_m)
        if apart_m < self.loop_length_m:
            yield (
                f"loop_length_m = {self.loop_length_m}: two loops begin only {apart_m:g} m apart; loops that "
                "overlap cannot tell vehicles apart"
            )
