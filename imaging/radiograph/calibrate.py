"""Dark and air lines to a calibration, streaming, in memory that does not depend on their number.

Dark gives each detector's offset and read noise. Air gives gains; the reference detectors above every
vehicle tell how bright each line was, so that the jitter of a pulsed source leaves the noise estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.radiograph.model import (
    F64,
    LINE_BEAM_ON,
    LINE_MONITOR_VALID,
    LINE_PULSE_MISSED,
    LINE_SOURCE_OFF,
    LINE_TEST_PATTERN,
    U16,
    Calibration,
    Mask,
    RadiographError,
)

DARK_LINES = 1_000
AIR_LINES = 2_000
LOST_SHARE = 0.02
"""Of the lines asked for, so many may be lost or unusable on their way."""
LOCAL_DETECTORS = 33
LEAST_DARK_SIGMA = 0.2
"""Quiet counters have almost no dark noise; five times this is no sign of a dead detector."""
SATURATED_SHARE = 1e-3
GAIN_TOLERANCE = 0.20

UNUSABLE = LINE_SOURCE_OFF | LINE_TEST_PATTERN | LINE_PULSE_MISSED


@dataclass(frozen=True, slots=True)
class Dark:
    """Offset ``mean`` and noise ``sigma`` per detector, float64 (detectors,), from ``lines`` lines."""

    mean: F64
    sigma: F64
    lines: int


class DarkScan:
    """Accumulates lines that were taken with the beam off."""

    def __init__(self, detectors: int) -> None:
        self.lines = 0
        self._sum = np.zeros(detectors)
        self._squares = np.zeros(detectors)

    def push(self, samples: U16, flags: NDArray[np.uint16]) -> None:
        """Add lines: ``samples`` uint16 (lines, detectors), ``flags`` uint16 (lines,)."""
        s = samples[(flags & (LINE_BEAM_ON | LINE_TEST_PATTERN)) == 0].astype(np.float64)
        self.lines += s.shape[0]
        self._sum += s.sum(axis=0)
        self._squares += np.einsum("ij,ij->j", s, s)

    def result(self) -> Dark:
        """Return the dark calibration; ``RadiographError`` with too few lines."""
        _enough("dark", "with the beam off", self.lines, DARK_LINES)
        mean = self._sum / self.lines
        return Dark(mean, np.sqrt(np.maximum(self._squares / self.lines - mean**2, 0)), self.lines)


class AirScan:
    """Accumulates lines of plain air with the beam on, then gives the calibration."""

    def __init__(
        self,
        dark: Dark,
        reference_detectors: tuple[int, ...],
        *,
        full_scale: int,
        pulsed: bool,
        units_per_quantum: float | None,
    ) -> None:
        """Prepare for one air scan.

        ``units_per_quantum``: known for a counter (1); ``None``: it is measured from the noise.
        """
        self._dark = dark
        self._noisy = dark.sigma > 5 * max(float(np.median(dark.sigma)), LEAST_DARK_SIGMA)
        self._declared = len(reference_detectors)
        self._refs = [j for j in reference_detectors if not self._noisy[j]]
        self._full_scale = full_scale
        self._pulsed = pulsed
        self._k = units_per_quantum
        self.lines = 0
        detectors = dark.mean.size
        self._s = np.zeros(detectors)
        self._ss = np.zeros(detectors)
        self._sq = np.zeros(detectors)
        self._q = self._qq = 0.0
        self._saturated = np.zeros(detectors, dtype=np.int64)
        self._ratios = np.zeros(3)
        """Lines with a valid monitor, sum and sum of squares of brightness per monitor count."""

    def push(
        self, samples: U16, flags: NDArray[np.uint16], monitor: NDArray[np.uint32] | None = None
    ) -> None:
        """Add lines: uint16 (lines, detectors), uint16 (lines,), uint32 (lines,) or ``None``."""
        use = ((flags & LINE_BEAM_ON) != 0) & ((flags & UNUSABLE) == 0)
        raw = samples[use]
        s = raw - self._dark.mean
        q = s[:, self._refs].sum(axis=1) if self._refs else np.ones(s.shape[0])
        self.lines += s.shape[0]
        self._s += s.sum(axis=0)
        self._ss += np.einsum("ij,ij->j", s, s)
        self._sq += q @ s
        self._q += float(q.sum())
        self._qq += float(q @ q)
        self._saturated += (raw >= self._full_scale).sum(axis=0)
        if monitor is not None and self._refs:
            valid = ((flags[use] & LINE_MONITOR_VALID) != 0) & (monitor[use] > 0)
            ratio = q[valid] / monitor[use][valid]
            self._ratios += [ratio.size, ratio.sum(), ratio @ ratio]

    def result(self, made_us: int = 0) -> Calibration:
        """Return the calibration; ``RadiographError`` with too few lines, no signal or no live reference."""
        n, dark = self.lines, self._dark
        _enough("air", "with the beam on and nothing in it", n, AIR_LINES)
        mean, q_mean = self._s / n, self._q / n
        if q_mean <= 0 or np.median(mean) <= 5 * np.median(dark.sigma):
            raise RadiographError(
                f"the air scan is dark: a typical detector gave {np.median(mean):.1f} above its dark level; "
                "open the shutter or switch the beam on and repeat the air scan"
            )
        # Spread that is left when each line is scaled by its brightness q.
        residual = (self._ss - 2 * mean / q_mean * self._sq + (mean / q_mean) ** 2 * self._qq) / n
        dead = self._dead(mean, self._ss / n - mean**2)
        refs = tuple(j for j in self._refs if not dead[j])
        if self._declared and not refs:
            raise RadiographError(
                f"none of the {self._declared} reference detectors works: repair one, or declare others"
            )
        level = float(mean[~dead].mean())
        ratio, scatter = self._monitor(float(mean[self._refs].sum()) / level)
        return Calibration(
            dark_mean=dark.mean,
            dark_sigma=dark.sigma,
            gain=np.where(dead, 1.0, mean / level),
            dead=dead,
            level=level,
            units_per_quantum=self._k or self._measured_k(mean, residual, dead),
            reference_detectors=refs,
            pulsed=self._pulsed,
            dark_lines=dark.lines,
            air_lines=n,
            monitor_ratio=ratio,
            monitor_sigma=scatter,
            made_us=made_us,
        )

    def _dead(self, mean: F64, variance: F64) -> Mask:
        """Gain outside 0.5–2 × its neighbourhood, very noisy in the dark, constant, or saturated in air."""
        half = LOCAL_DETECTORS // 2
        around = np.lib.stride_tricks.sliding_window_view(np.pad(mean, half, mode="reflect"), LOCAL_DETECTORS)
        local = np.median(around, axis=1)
        odd = (mean < 0.5 * local) | (mean > 2 * local) | (variance < 1e-9)
        dead: Mask = odd | self._noisy | (self._saturated > SATURATED_SHARE * self.lines)
        return dead

    def _measured_k(self, mean: F64, residual: F64, dead: Mask) -> float:
        """Return samples per quantum from the noise: Var = k·s + σ² + the noise of the line's brightness.

        The brightness is a sum over references, itself noisy by k·S + Σσ² (relative to S²).
        """
        sigma, refs = self._dark.sigma, self._refs
        ours = ~dead
        ours[refs] = False
        if not ours.any():
            ours = ~dead
        total = float(mean[refs].sum()) if refs else np.inf
        read = float((sigma[refs] ** 2).sum())
        m = mean[ours]
        k = (residual[ours] - sigma[ours] ** 2 - (m / total) ** 2 * read) / (m + m**2 / total)
        return max(float(np.median(k)), 1e-6)

    def _monitor(self, gain_sum: float) -> tuple[float | None, float | None]:
        count, total, squares = (float(value) for value in self._ratios)
        if count < (1 - LOST_SHARE) * self.lines or gain_sum <= 0:
            return None, None
        mean = total / count
        return mean / gain_sum, float(np.sqrt(max(squares / count - mean**2, 0.0)) / mean)


def compare(new: Calibration, accepted: Calibration) -> None:
    """Compare with the accepted calibration; ``RadiographError`` when a gain moved by more than 20 %.

    The level may move: Co-60 loses 20 % in 1.7 years.
    """
    if new.detectors != accepted.detectors:
        raise RadiographError(
            f"the new calibration has {new.detectors} detectors, the accepted one {accepted.detectors}: "
            "remove the old calibration if the detector column was exchanged"
        )
    live = ~(new.dead | accepted.dead)
    if not live.any():
        raise RadiographError("no detector works in both the new and the accepted calibration")
    ratio = np.ones(new.detectors)
    ratio[live] = (new.gain[live] / np.median(new.gain[live])) / (
        accepted.gain[live] / np.median(accepted.gain[live])
    )
    worst = int(np.argmax(np.abs(np.log(ratio))))
    if not 1 - GAIN_TOLERANCE <= ratio[worst] <= 1 + GAIN_TOLERANCE:
        raise RadiographError(
            f"detector {worst} changed its gain by {100 * (ratio[worst] - 1):+.0f} % against the accepted "
            f"calibration (allowed ±{100 * GAIN_TOLERANCE:.0f} %): look for an object in the beam, then "
            "repeat the air scan"
        )


def _enough(kind: str, condition: str, lines: int, needed: int) -> None:
    if lines < (1 - LOST_SHARE) * needed:
        raise RadiographError(
            f"the {kind} scan has {lines:,} usable lines, {needed:,} are needed: repeat it {condition}"
        )
