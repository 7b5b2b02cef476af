"""The one virtual vehicle on the one lane geometry that every emulator looks at.

Positions are metres along the lane, growing in the direction of travel; ``s`` is metres behind the nose.
The world moves when somebody asks: ``advance`` integrates up to the clock in fixed steps, so that the
same clock readings give the same passage. Who asks late asks for the moment that he means: the last
``PAST_S`` are remembered.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from drivers.api import Clock
from drivers.geometry import LaneGeometry
from drivers.plant.vehicle import Halt, Scenario, Vehicle

STEP_S = 0.005
ROUNDING_S = 1e-6
"""Two clocks that say the same time may differ by the rounding of their seconds."""
APPROACH_S = 6.5
"""Time that a truck needs from where it appears to the first occupancy beam."""
BRAKE_MPS2 = 1.8
PULL_MPS2 = 1.5
BACK_MPS = 1.0
REACTION_S = 0.8
ARM_TRAVEL_S = 1.8
GONE_M = 12.0
"""A truck leaves the world when its tail is so far beyond the exit loop."""
EYE_HALF_M = 0.3
PAST_S = 60.0
"""So long the truck's way is remembered: a pause of 12 s where the clock runs five times too fast."""


@dataclass(frozen=True, slots=True)
class Background:
    """Natural count rates per panel, counts per second, in the order of the lane's detectors."""

    gamma_cps: tuple[float, ...] = (612.0, 588.0, 604.0, 596.0)
    neutron_cps: tuple[float, ...] = (0.8, 0.7, 0.8, 0.7)


class Moment(NamedTuple):
    """Where the vehicle is at one time."""

    vehicle: Vehicle | None
    nose_m: float
    speed_mps: float

    @property
    def tail_m(self) -> float:
        """Place of the vehicle's tail, or minus infinity."""
        return self.nose_m - self.vehicle.length_m if self.vehicle else -math.inf

    def covers(self, from_m: float, to_m: float) -> bool:
        """Whether any part of the vehicle stands over the stretch between two places."""
        return self.vehicle is not None and self.nose_m > from_m and self.tail_m < to_m


class Plant:
    """Truck, arm and time; everything else is computed from them."""

    def __init__(
        self, geometry: LaneGeometry, scenario: Scenario, clock: Clock, background: Background | None = None
    ) -> None:
        """Start with an empty lane and a closed arm."""
        self.geometry = geometry
        self.scenario = scenario
        self.background = background or Background()
        self.vehicle: Vehicle | None = None
        self.passage = 0
        """Number of the current or last vehicle, from 1."""
        self.nose_m = -math.inf
        self.speed_mps = 0.0
        """Negative: backwards."""
        self.arm = 0.0
        """0 = down, 1 = up."""
        self.arm_wanted_up = False
        self.entry_green = False
        self.emergency_stop = False
        self.cabinet_open = False
        self._clock = clock
        self._now_s = clock.monotonic_s()
        self._free_since_s: float | None = None
        self._arm_up_since_s: float | None = None
        self._halts: list[Halt] = []
        self._stands_until_s: float | None = None
        self._past: deque[Moment] = deque(maxlen=round(PAST_S / STEP_S))
        """One moment for each step, the last one now."""

    # --- time ---------------------------------------------------------------------------------

    def advance(self) -> float:
        """Move the world up to the clock and return that time (monotonic seconds)."""
        target_s = self._clock.monotonic_s()
        while self._now_s + STEP_S <= target_s + ROUNDING_S:
            self._now_s += STEP_S
            self._move_arm()
            self._move_vehicle()
            self._past.append(self.at())
        return self._now_s

    def at(self, at_s: float | None = None) -> Moment:
        """Return where the vehicle was at ``at_s`` (monotonic seconds), or is now.

        Before all that is remembered it is the oldest moment; what is still to come is as now.
        """
        back = 0 if at_s is None else round((self._now_s - at_s) / STEP_S)
        if back <= 0 or not self._past:
            return Moment(self.vehicle, self.nose_m, self.speed_mps)
        return self._past[max(0, len(self._past) - 1 - back)]

    def _move_arm(self) -> None:
        step = STEP_S / ARM_TRAVEL_S
        self.arm = min(1.0, self.arm + step) if self.arm_wanted_up else max(0.0, self.arm - step)
        if self.arm < 1.0:
            self._arm_up_since_s = None
        elif self._arm_up_since_s is None:
            self._arm_up_since_s = self._now_s

    def _move_vehicle(self) -> None:
        if self.vehicle is None:
            self._perhaps_arrive()
            return
        if self._stands_until_s is not None:
            self._halt(self._halts[0], self._stands_until_s)
        else:
            self._drive(self.vehicle.speed_mps)
        self.nose_m += self.speed_mps * STEP_S
        if self.tail_m > self.geometry.exit_loop_m + self.geometry.loop_length_m + GONE_M:
            self._leave()

    def _drive(self, cruise_mps: float) -> None:
        to_line_m = self.geometry.stop_line_m - self.nose_m
        must_stop = to_line_m > -0.5 and not self._may_pass()
        to_stop_m = to_line_m if must_stop else math.inf
        if self._halts:
            to_stop_m = min(to_stop_m, self._halts[0].at_m - self.nose_m)
        allowed_mps = math.sqrt(max(0.0, 2 * BRAKE_MPS2 * to_stop_m))
        self.speed_mps = min(self.speed_mps + PULL_MPS2 * STEP_S, cruise_mps, allowed_mps)
        if to_stop_m < 0.01:
            self.speed_mps = 0.0
            if self._halts and self._halts[0].at_m - self.nose_m < 0.01:
                self._stands_until_s = self._now_s + self._halts[0].wait_s

    def _halt(self, halt: Halt, until_s: float) -> None:
        """Stand, then roll back; behind that the halt is over."""
        if self._now_s < until_s:
            return
        self.speed_mps = -BACK_MPS
        if self.nose_m <= halt.at_m - halt.back_m:
            self.speed_mps = 0.0
            self._stands_until_s = None
            del self._halts[0]

    def _may_pass(self) -> bool:
        return self._arm_up_since_s is not None and self._now_s - self._arm_up_since_s >= REACTION_S

    def _perhaps_arrive(self) -> None:
        if not self.entry_green:
            self._free_since_s = None
            return
        if self._free_since_s is None:
            self._free_since_s = self._now_s
        wait_s = self.scenario.gap_s if self.passage else 0.0
        if self._now_s - self._free_since_s >= wait_s:
            self.vehicle = self.scenario.truck[self.passage % len(self.scenario.truck)]
            self.passage += 1
            self._halts = list(self.vehicle.halts)
            self.speed_mps = self.vehicle.speed_mps
            self.nose_m = self.geometry.portal_beams_m[0] - self.speed_mps * APPROACH_S
            self._free_since_s = None

    def _leave(self) -> None:
        self.vehicle = None
        self.nose_m = -math.inf
        self.speed_mps = 0.0

    # --- what the devices see ---------------------------------------------------------------

    @property
    def tail_m(self) -> float:
        """Place of the vehicle's tail, or minus infinity."""
        return self.at().tail_m

    def covers(self, from_m: float, to_m: float) -> bool:
        """Whether any part of the vehicle stands over the stretch between two places."""
        return self.at().covers(from_m, to_m)

    def over_loop(self, loop_m: float) -> bool:
        """Whether the vehicle stands over the loop that begins at ``loop_m``."""
        return self.covers(loop_m, loop_m + self.geometry.loop_length_m)

    def occupied(self, at_s: float | None = None) -> bool:
        """Whether the portal's occupancy beams saw the vehicle at ``at_s``, or see it now."""
        return self.at(at_s).covers(*self.geometry.portal_beams_m)

    @property
    def eye_blocked(self) -> bool:
        """Whether the barrier's photo-eye is blocked."""
        return self.covers(self.geometry.barrier_m - EYE_HALF_M, self.geometry.barrier_m + EYE_HALF_M)

    @property
    def scan_s_m(self) -> float:
        """Metres behind the nose that stand in the scan plane now (negative: nose not there yet)."""
        return self.nose_m - self.geometry.scan_plane_m

    def gamma_cps(self, at_s: float | None = None) -> tuple[float, ...]:
        """Return the true gamma rate of each panel at ``at_s``, or now, in counts per second."""
        vehicle, nose_m, _ = self.at(at_s)
        rates = self.background.gamma_cps
        if vehicle is None:
            return rates
        s_m = nose_m - self.geometry.portal_m
        net = sum(source.gamma_cps * source.response(s_m) for source in vehicle.sources)
        if vehicle.recorded is not None:
            net += vehicle.recorded.response_cps(s_m)
        share = 1 - vehicle.suppression * self._shadow(s_m, vehicle.length_m)
        return tuple(rate * share + net / len(rates) for rate in rates)

    def neutron_cps(self, at_s: float | None = None) -> tuple[float, ...]:
        """Return the true neutron rate of each panel at ``at_s``, or now, in counts per second."""
        vehicle, nose_m, _ = self.at(at_s)
        rates = self.background.neutron_cps
        if vehicle is None:
            return rates
        s_m = nose_m - self.geometry.portal_m
        net = sum(source.neutron_cps * source.response(s_m) for source in vehicle.sources)
        return tuple(rate + net / len(rates) for rate in rates)

    @staticmethod
    def _shadow(s_m: float, length_m: float) -> float:
        """Return 0 far from the vehicle and 1 beside its middle, with soft ends of about one metre."""
        return max(0.0, min(1.0, (s_m + 1) / 2)) * max(0.0, min(1.0, (length_m + 1 - s_m) / 2))
