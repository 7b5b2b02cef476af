"""Where things stand along the lane: one axis, metres, growing in the direction of travel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


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
        """Refuse an order that no vehicle could drive."""
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
                raise ValueError(
                    f"{name} = {place_m} m lies behind {after} = {after_m} m: "
                    "places grow in the direction of travel"
                )
        first_m, last_m = self.portal_beams_m
        if first_m > last_m:
            raise ValueError(f"portal_beams_m = [{first_m}, {last_m}]: the upstream beam comes first")
        if self.loop_length_m <= 0:
            raise ValueError(f"loop_length_m = {self.loop_length_m}: a loop has a length above 0 m")
