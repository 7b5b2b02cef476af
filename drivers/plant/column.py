"""A column of counting gamma detectors: photons in, 16-bit samples out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ColumnModel:
    """What the column is like; counts are per line."""

    detectors: int
    air_counts: float = 2_500.0
    """Mean of a detector of gain 1 in air: 130 mm of steel still give 10 counts at Co-60."""
    gain_spread: float = 0.05
    dark_counts: float = 12.0
    dark_spread: float = 3.0
    read_noise: float = 1.0
    full_scale: int = 4_000
    """Above the brightest air (3,300); 16 steps a count and a noise pedestal still fit 16 bits."""
    counts_per_quantum: float = 1.0
    dead: tuple[int, ...] = ()


class DetectorColumn:
    """One column with its own gains and offsets, fixed by the seed."""

    def __init__(self, model: ColumnModel, seed: int) -> None:
        """Draw gains and offsets."""
        self.model = model
        self._random = np.random.default_rng([seed, 0xC0])
        spread = self._random.normal(1.0, model.gain_spread, model.detectors)
        self.gain = np.clip(spread, 0.8, 1.2)
        self.gain[list(model.dead)] = 0.0
        self.dark = np.maximum(0, self._random.normal(model.dark_counts, model.dark_spread, model.detectors))

    def expose(self, transmission: NDArray[np.floating]) -> NDArray[np.uint16]:
        """Return uint16 samples for the fraction of photons that reaches each detector, (lines, detectors).

        clip(round(k·Poisson + dark + N(0, σ))); rounding, because a cast would take half a count away.
        """
        k = self.model.counts_per_quantum
        quanta = self._random.poisson(transmission * (self.gain * (self.model.air_counts / k)))
        noise = self._random.standard_normal(quanta.shape, dtype=np.float32) * self.model.read_noise
        samples = np.rint(k * quanta + self.dark + noise)
        return np.clip(samples, 0, self.model.full_scale).astype(np.uint16)

    def monitor(self, lines: int, counts: float = 50_000.0) -> NDArray[np.uint32]:
        """Return the beam monitor's counts of ``lines`` lines, uint32."""
        return self._random.poisson(counts, lines).astype(np.uint32)
