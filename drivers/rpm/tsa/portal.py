"""A virtual TSA portal: what the electronics in the cabinet do, without a socket and without a clock.

``step(now)`` looks at the plant and returns the lines that the portal would have sent by then. Counts are
Poisson and seeded. Every 200 ms interval is counted; its number goes to a sliding window of ``INTERVALS``.

* vacant: GB and NB every 5 s, the counts of the last second (GH, GL, NH beyond the fault limits);
* occupied and ``HOLD_IN`` intervals more: GS every interval, NS every fifth, SP after every sixth GS;
* GA in place of GS while the window, summed over the panels, exceeds B + N sqrt(B);
* NA in place of NS from the smallest number that background alone reaches one time in a million
  (our choice: the sequential test of the device works on intervals that it does not send);
* then GX with the number of the occupancy, which starts again after a day and after power-on.

Sources: OSCAR drivers of OpenSensorHub (defaults, N = 7), Sandia's SRLS simulator (SP cadence, limits).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from drivers.plant.panels import NSIGMA, Panels
from drivers.plant.world import ROUNDING_S, Plant
from drivers.rpm.tsa.codec import CountsLine, EndLine, Record, SetupLine, SpeedLine, TamperLine, encode

INTERVAL_S = 0.2
INTERVALS = 5
HOLD_IN = 10
BACKGROUND_EVERY = 25
"""Vacant intervals from one background record to the next: 5 s."""
SCANS_PER_SPEED = 6
BURST_SCANS = 6
"""Scans that some devices send at once when an occupancy begins (fault ``burst``)."""
GAMMA_HIGH_CPS, GAMMA_LOW_CPS = 2_000, 100
NEUTRON_HIGH = 9
DAY_S = 86_400.0
POWER_UP_S = 2.0
MOST_COUNTS = 999_999
FOOT_M, MPH_MPS = 0.3048, 0.44704

SETUP = (
    SetupLine("SG1", (f"{GAMMA_HIGH_CPS:06d}", f"{GAMMA_LOW_CPS:06d}", "000005", "000010", "7.0", "000000")),
    SetupLine("SG2", ("000004", "0.050", "5.000", "000003", "SUM", "A")),
    SetupLine("SG3", ("0.050", "5.000", "000020", "7.0", "EMULATED")),
    SetupLine("SN1", (f"{NEUTRON_HIGH:06d}", "000005", "0.000001", "000004", "000004", "000120")),
    SetupLine("SN2", ("0.500", "5.000", "0.500", "5.000", "000000")),
)

FAULTS = frozenset(
    {
        "burst",  # the first six scans of an occupancy in one piece
        "clock_jump",  # its own clock, which every line then carries, jumps by an hour
        "counter_reset",  # at once: the occupancy number starts again
        "duplicate",  # every line twice
        "frozen_counter",  # GX repeats the last number
        "frozen_counts",  # every panel repeats itself
        "garble",  # one character in every fifth line is another
        "gamma_high",  # the first panel counts ten times too much
        "gamma_low",  # the first panel is dead
        "half_line",  # every seventh line is cut in its middle
        "missing_gx",
        "missing_ns",
        "neutron_high",  # noise in the first neutron panel
        "neutron_low",  # the device says NL
        "partial",  # the last panel sends asterisks
        "rate_10x",  # everything ten times as often
        "reorder",  # each pair of lines swapped
        "restart",  # at once: power off and on
        "stall",  # it says nothing, and what it would have said is lost
        "tamper",  # the cabinet of the portal is open
    }
)


class TsaPortal:
    """The portal's own state; it has been counting for a while when it is switched on."""

    FAULTS: ClassVar[frozenset[str]] = FAULTS

    def __init__(self, plant: Plant, seed: int, nsigma: float = NSIGMA) -> None:
        """Switch on now, with a background learnt from an empty lane."""
        now_s = plant.advance()
        self.plant = plant
        self.faults: set[str] = set()
        self.occupied = False
        self.count = 0
        self._random = np.random.default_rng(seed)
        self.panels = Panels(plant, self._random, INTERVAL_S, nsigma)
        self._day_ends_s = now_s + DAY_S
        self._tick_s = now_s + INTERVAL_S
        self._background_in = BACKGROUND_EVERY
        self._scans = 0
        self._vacant_intervals = 0
        self._held: list[bytes] = []
        self._sent = 0
        self._said: list[Record] = []
        self._frozen: dict[str, tuple[int, ...]] = {}

    # --- what goes over the wire ----------------------------------------------------------------

    @property
    def due_s(self) -> float:
        """When ``step`` will have something to do."""
        return self._tick_s

    def connected(self) -> list[bytes]:
        """Return what a station that has just connected is sent; vacant: background, and again in 5 s."""
        lines = [encode(line) for line in SETUP]
        if not self.occupied:
            lines += [encode(line) for line in self._background()]
            self._background_in = BACKGROUND_EVERY
        return lines

    def step(self, now_s: float) -> list[bytes]:
        """Return the lines up to ``now_s``, in order, with their faults."""
        lines: list[bytes] = []
        while self._tick_s <= now_s + ROUNDING_S:
            self.plant.advance()
            said, self._said = self._said, []
            for record in itertools.chain(said, self._interval(self._tick_s)):
                lines += self._spoil(record)
            self._tick_s += INTERVAL_S / 10 if "rate_10x" in self.faults else INTERVAL_S
        return lines

    def fault(self, name: str, *, on: bool) -> None:
        """Begin or end a fault; ``ValueError`` for an unknown name."""
        if name not in FAULTS:
            raise ValueError(f"{name!r} is no fault of this portal; known are {', '.join(sorted(FAULTS))}")
        if name == "counter_reset":
            self.count = 0 if on else self.count
        elif name == "restart":
            if on:
                self._restart()
        elif on != (name in self.faults):
            self.faults ^= {name}
            self._frozen.clear()
            if name == "tamper":
                self._said.append(TamperLine(on))

    def _restart(self) -> None:
        self.count = 0
        self.occupied = False
        self._held.clear()
        self._tick_s += POWER_UP_S
        self._background_in = 1
        self._said += SETUP

    # --- one interval of 200 ms -----------------------------------------------------------------

    def _interval(self, at_s: float) -> Iterable[Record]:
        self.panels.count(
            at_s,
            gain=10.0 if "gamma_high" in self.faults else 0.0 if "gamma_low" in self.faults else 1.0,
            noise_cps=50.0 if "neutron_high" in self.faults else 0.0,
        )
        if at_s >= self._day_ends_s:
            self.count = 0
            self._day_ends_s += DAY_S
        if self.panels.occupied:
            if not self.occupied:
                self.occupied, self._scans = True, 0
            self._vacant_intervals = 0
        elif self.occupied:
            self._vacant_intervals += 1
        if self.occupied and self._vacant_intervals <= HOLD_IN:
            yield from self._scan()
        elif self.occupied:
            yield from self._end()
        else:
            self.panels.learn()
            self._background_in -= 1
            if self._background_in == 0:
                yield from self._background()
                self._background_in = BACKGROUND_EVERY

    def _scan(self) -> Iterable[Record]:
        self._scans += 1
        panels = self.panels
        yield self._counts("GA" if panels.gamma_alarm else "GS", panels.gamma[-1])
        if self._scans % INTERVALS == 0 and "missing_ns" not in self.faults:
            yield self._counts("NA" if panels.neutron_alarm else "NS", np.sum(panels.neutron, axis=0))
        if self._scans % SCANS_PER_SPEED == 0:
            yield _speed(abs(panels.seen.speed_mps))

    def _end(self) -> Iterable[Record]:
        self.occupied = False
        self._vacant_intervals = 0
        self._background_in = BACKGROUND_EVERY
        self.count += 0 if "frozen_counter" in self.faults else 1
        if "missing_gx" not in self.faults:
            yield EndLine(self.count, round(self.panels.neutron_background, 3))

    def _background(self) -> list[Record]:
        gamma, neutron = np.sum(self.panels.gamma, axis=0), np.sum(self.panels.neutron, axis=0)
        gamma_tag = "GH" if max(gamma) > GAMMA_HIGH_CPS else "GL" if min(gamma) < GAMMA_LOW_CPS else "GB"
        neutron_tag = "NL" if "neutron_low" in self.faults else "NH" if max(neutron) > NEUTRON_HIGH else "NB"
        return [self._counts(gamma_tag, gamma), self._counts(neutron_tag, neutron)]

    def _counts(self, tag: str, drawn: NDArray[np.int64]) -> CountsLine:
        counts = tuple(min(int(count), MOST_COUNTS) for count in drawn)
        if "frozen_counts" in self.faults:
            counts = self._frozen.setdefault(tag, counts)
        return CountsLine(tag, (*counts[:-1], None) if "partial" in self.faults else counts)

    # --- what it believes -----------------------------------------------------------------------

    @property
    def state(self) -> dict[str, Any]:
        """What the portal believes, as JSON values."""
        return {
            "occupied": self.occupied,
            "occupancy_count": self.count,
            "gamma_background": self.panels.gamma_background,
            "gamma_limit": self.panels.gamma_limit,
            "neutron_background": self.panels.neutron_background,
            "neutron_limit": self.panels.neutron_limit,
            "faults": sorted(self.faults),
        }

    # --- faults of the line ---------------------------------------------------------------------

    def _spoil(self, record: Record) -> list[bytes]:
        """Return what is sent for one record: usually its line, and nothing else."""
        if "stall" in self.faults:
            return []
        self._sent += 1
        if "clock_jump" in self.faults:
            record = replace(record, t_device=self._own_time())
        line = encode(record)
        if "half_line" in self.faults and self._sent % 7 == 0:
            line = line[: len(line) // 2]
        if "garble" in self.faults and self._sent % 5 == 0:
            place = int(self._random.integers(len(line) - 2))
            line = line[:place] + b"#" + line[place + 1 :]
        lines = [line, line] if "duplicate" in self.faults else [line]
        holding = ("reorder" in self.faults and not self._held) or (
            "burst" in self.faults and self.occupied and self._scans < BURST_SCANS
        )
        if holding:
            self._held += lines
            return []
        lines, self._held = lines + self._held if "reorder" in self.faults else self._held + lines, []
        return lines

    def _own_time(self) -> str:
        """Return the time of a clock that is an hour ahead in every other line."""
        at_s = self._tick_s + 3600.0 * (self._sent % 2)
        return f"{int(at_s / 3600) % 24:02d}-{int(at_s / 60) % 60:02d}-{at_s % 60:06.3f}"


def _speed(speed_mps: float) -> SpeedLine:
    """Return the SP line of a speed, rounded as the device rounds; a standing vehicle is all zeros."""
    s_per_ft = FOOT_M / speed_mps if speed_mps > 0 else 0.0
    return SpeedLine(round(s_per_ft, 4), round(speed_mps / MPH_MPS, 3), round(speed_mps * 3.6, 2))
