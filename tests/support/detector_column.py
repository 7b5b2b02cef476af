"""A small simulated detector column, and the chain written again in plain float64 as an oracle."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imaging.radiograph.calibrate import AirScan, DarkScan
from imaging.radiograph.model import LINE_BEAM_ON, Calibration, Columns

CO60_STEEL_CM2_G = 0.0535
STEEL_G_CM3 = 7.86


@dataclass
class Column:
    """``i0`` quanta per line in air at gain 1, ``k`` samples per quantum, the rest in samples."""

    detectors: int = 48
    references: int = 16
    i0: float = 1000.0
    k: float = 1.0
    sigma: float = 0.0
    dark: float = 0.0
    full_scale: int = 4095
    spread: float = 0.05
    pulsed: bool = False
    seed: int = 1
    gain: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.gain = 1 + self.spread * self.rng.uniform(-1.7, 1.7, self.detectors)

    @property
    def refs(self) -> tuple[int, ...]:
        return tuple(range(self.references))

    def expose(
        self, transmission: NDArray[np.float64] | float, lines: int, jitter: float = 0.0
    ) -> NDArray[np.uint16]:
        """Samples of lines behind ``transmission``; the references always see air."""
        t = np.broadcast_to(transmission, (lines, self.detectors)).copy()
        t[:, : self.references] = 1.0
        pulse = 1 + jitter * self.rng.standard_normal((lines, 1))
        quanta = self.rng.poisson(self.i0 * self.gain * t * np.maximum(pulse, 0))
        return self._digitise(self.k * quanta)

    def beam_off(self, lines: int) -> NDArray[np.uint16]:
        return self._digitise(np.zeros((lines, self.detectors)))

    def _digitise(self, signal: NDArray[np.float64]) -> NDArray[np.uint16]:
        noise = self.sigma * self.rng.standard_normal(signal.shape) if self.sigma else 0.0
        return np.clip(np.rint(signal + self.dark + noise), 0, self.full_scale).astype(np.uint16)

    def calibrate(self, dark_lines: int = 1000, air_lines: int = 20_000, jitter: float = 0.0) -> Calibration:
        dark = DarkScan(self.detectors)
        dark.push(self.beam_off(dark_lines), np.zeros(dark_lines, dtype=np.uint16))
        air = AirScan(
            dark.result(),
            self.refs,
            full_scale=self.full_scale,
            pulsed=self.pulsed,
            units_per_quantum=self.k,
        )
        for start in range(0, air_lines, 1000):
            n = min(1000, air_lines - start)
            air.push(self.expose(1.0, n, jitter), beam_on(n))
        return air.result()


def beam_on(lines: int, *more: int) -> NDArray[np.uint16]:
    """Line flags of a running beam, with further bits set."""
    return np.full(lines, LINE_BEAM_ON | sum(more), dtype=np.uint16)


def steel(mm: float) -> float:
    """Transmission of so much steel at Co-60, narrow beam."""
    return float(np.exp(-CO60_STEEL_CM2_G * STEEL_G_CM3 * mm / 10))


def attenuation(d16: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Undo the D16 scale."""
    return (63_487 - d16.astype(np.float64)) / 4096


def assemble(columns: list[Columns]) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """The finished image from consecutive columns: D16 and flags, shape (lines, detectors)."""
    return np.concatenate([c.d16 for c in columns]), np.concatenate([c.flags for c in columns])


def oracle(samples: NDArray[np.uint16], calibration: Calibration, ln_i0: NDArray[np.float64] | float):
    """Attenuation in float64, straight from the formula; shape (lines, detectors)."""
    k, sigma = calibration.units_per_quantum, calibration.sigma
    s = samples.astype(np.float64) - calibration.dark_mean
    v = k * np.maximum(s, 0) + sigma**2
    x = np.maximum((s + np.sqrt(s**2 + 2 * v)) / 2, 0.5 * k if sigma == 0 else 1e-3)
    return np.reshape(ln_i0, (-1, 1)) + np.log(calibration.gain) - np.log(x)
