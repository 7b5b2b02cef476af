"""Brightness of each line: ln I0 with its bias term, from reference detectors or the beam monitor.

An isotope shines steadily, so its references are averaged over 512 lines until they step; the pulses of a
linac jitter, so each line has its own. With S the sum of n reference samples, ln S is biased by
−(k·S + n·σ²)/(2·S²), which is added back.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from imaging.radiograph.model import (
    F64,
    LINE_BEAM_ON,
    LINE_MONITOR_VALID,
    LINE_PULSE_MISSED,
    LINE_SOURCE_OFF,
    LINE_TEST_PATTERN,
    Calibration,
    Mask,
    RadiographError,
)
from imaging.radiograph.stream import GridBlock

I0_BLOCKS = 8
"""An isotope's brightness is averaged over 512 lines, in whole grid blocks."""
STEP_SIGMA = 5.0
BRIDGE_LIMIT = 2.75
"""A Brownian bridge leaves ±2.75 as rarely as a normal variable leaves ±5 [Kolmogorov]."""


class Brightness:
    """ln I0 of each line, with its bias term, from the reference detectors or the beam monitor."""

    def __init__(self, calibration: Calibration, decay: float) -> None:
        self._cal = calibration
        self._refs = list(calibration.reference_detectors)
        self._gain = float(calibration.gain[self._refs].sum())
        self._dark = float(calibration.dark_mean[self._refs].sum())
        self._k = calibration.units_per_quantum
        self._read = float((calibration.dark_sigma[self._refs] ** 2).sum())
        """Read noise variance of the reference sum of one line."""
        self._constant = math.log(calibration.level * decay)
        self._window: deque[tuple[float, int]] = deque(maxlen=I0_BLOCKS)
        if not self._refs and calibration.monitor_ratio is None and calibration.pulsed:
            raise RadiographError(
                "not measurable: a pulsed source without reference detectors or beam monitor has no known "
                "brightness; declare reference detectors above the vehicles"
            )

    def of(self, block: GridBlock) -> tuple[F64, Mask, Mask, Mask]:
        """Return ln I0 float64 (lines,), and masks of lines: exposed, obstructed, dead."""
        exposed = (
            block.present
            & ((block.flags & LINE_BEAM_ON) != 0)
            & ((block.flags & (LINE_SOURCE_OFF | LINE_TEST_PATTERN)) == 0)
        )
        missed = exposed & ((block.flags & LINE_PULSE_MISSED) != 0)
        monitor, known = self._monitor(block)
        if not self._refs:
            if self._cal.monitor_ratio is None:
                return np.full(exposed.size, self._constant), exposed, np.zeros_like(exposed), missed
            return monitor, exposed, np.zeros_like(exposed), missed | (exposed & ~known)
        total = block.samples[:, self._refs].sum(axis=1, dtype=np.float64) - self._dark
        obstructed = exposed & ~missed & known & self._below_monitor(total, monitor)
        noise = np.sqrt(self._k * np.maximum(total, 0) + self._read)
        dead = missed | (exposed & ~obstructed & (total <= STEP_SIGMA * noise))
        clean = exposed & ~obstructed & ~dead
        ln_i0 = np.where(known, monitor, 0.0)
        ln_i0[clean] = self._from_references(total[clean])
        return ln_i0, exposed, obstructed, dead

    def _monitor(self, block: GridBlock) -> tuple[F64, Mask]:
        """Return ln I0 by the beam monitor and where it is known."""
        ratio = self._cal.monitor_ratio
        known = ((block.flags & LINE_MONITOR_VALID) != 0) & (block.monitor > 0)
        if ratio is None:
            return np.zeros(known.size), np.zeros_like(known)
        return np.log(np.maximum(block.monitor, 1) * ratio), known

    def _below_monitor(self, total: F64, ln_monitor: F64) -> Mask:
        """Whether the references are more than 5σ below what the monitor promises."""
        i0 = np.exp(ln_monitor)
        scatter = (self._cal.monitor_sigma or 0.0) * np.sqrt(np.maximum(self._cal.level / i0, 1.0))
        below: Mask = total < self._gain * i0 * (1 - STEP_SIGMA * scatter)
        return below

    def _from_references(self, total: F64) -> F64:
        """Return ln I0 of clean lines from their reference sums: averaged for an isotope, else per line."""
        n = total.size
        if n == 0:
            return total
        if self._cal.pulsed:
            return self._ln(total, 1)
        here = float(total.sum())
        spread = np.abs(np.cumsum(total - here / n)).max()
        if spread > BRIDGE_LIMIT * math.sqrt(self._k * max(here, 0.0) + n * self._read):
            self._window.clear()  # the brightness changed inside this block
            return self._ln(total, 1)
        before, lines = (sum(part) for part in zip(*self._window, strict=True)) if self._window else (0.0, 0)
        if lines:
            step = here / n - before / lines
            variance = self._variance(here, n) / n**2 + self._variance(before, lines) / lines**2
            if abs(step) > STEP_SIGMA * math.sqrt(variance):
                self._window.clear()
        self._window.append((here, n))
        window, lines = (sum(part) for part in zip(*self._window, strict=True))
        return np.full(n, self._ln(np.array([window]), lines)[0])

    def _variance(self, total: float, lines: int) -> float:
        return self._k * max(total, 0.0) + lines * self._read

    def _ln(self, total: F64, lines: int) -> F64:
        """Return ln I0 of reference sums over ``lines`` lines, plus the bias of its logarithm."""
        bias = (self._k * total + lines * self._read) / (2 * total**2)
        out: F64 = np.log(total / (lines * self._gain)) + bias
        return out
