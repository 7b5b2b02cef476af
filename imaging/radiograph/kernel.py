"""Raw samples of known brightness to D16: dark, logarithm with bias correction, gain, flags, per pixel.

    s = r − dark,  v = k·max(s,0) + σ²,  x = (s + √(s² + 2v))/2
    D16 = round(63,487 − 4,096·(ln(I0·gain) − ln x))

A plain ln s would be biased by counting noise; x takes that out. Two ways give the same numbers: a chain of
16-bit table look-ups that stays in cache, and a float chain where the table would be too coarse.
"""

from __future__ import annotations

import math
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from imaging.radiograph.model import (
    BLOCK_LINES,
    D16_AIR,
    D16_PER_NEPER,
    F64,
    U8,
    U16,
    Calibration,
)

Number = TypeVar("Number", np.uint16, np.float32)

STARVED_QUANTA = 10
PEDESTAL_SIGMA = 8
LEAST_STEPS_PER_QUANTUM = 8
"""A table with fewer steps for one quantum errs by more than counting noise allows."""
LUT_BIAS = 8_192
LUT_SIZE = 65_536
MOST_LN_I0_STEPS = 50_000
"""ln I0 of 12.2, more than 16-bit samples can give."""


class Kernel(Protocol):
    """The per-pixel part of the chain."""

    def __call__(self, samples: U16, ln_i0: F64) -> tuple[U16, U8]:
        """Return D16 and flags (starved, saturated) of lines: uint16 (lines, detectors), float64 (lines,)."""
        ...


def bias_free(s: F64, k: float, sigma: float) -> F64:
    """Return x, the estimate whose logarithm is unbiased by counting and read noise."""
    v = k * np.maximum(s, 0) + sigma**2
    x = (s + np.sqrt(s * s + 2 * v)) / 2
    return np.maximum(x, 0.5 * k if sigma == 0 else 1e-3)


class LutKernel:
    """16-bit tables: every step is one OpenCV or numpy pass over a block that stays in cache.

    ``scale`` is F, the steps per sample; a pedestal of 8σ keeps negative noise representable. Work
    buffers hold ``rows`` lines: 64 as the data come, 256 for bulk work.
    """

    def __init__(self, calibration: Calibration, full_scale: int, rows: int = BLOCK_LINES) -> None:
        import cv2  # here, because importing it takes a third of a second

        self._cv2 = cv2
        k, sigma = calibration.units_per_quantum, calibration.sigma
        scale, pedestal = lut_scale(full_scale, sigma)
        s = np.arange(LUT_SIZE) / scale - pedestal
        ln_x = np.log(bias_free(s, k, sigma))
        self._table = np.clip(np.rint(D16_PER_NEPER * ln_x + LUT_BIAS), 0, 65_535).astype(np.uint16)
        offset = np.rint(scale * (calibration.dark_mean - pedestal))
        self._down = _tile(np.maximum(offset, 0), rows, np.uint16)
        self._up = _tile(np.maximum(-offset, 0), rows, np.uint16) if (offset < 0).any() else None
        gain = D16_AIR - LUT_BIAS - D16_PER_NEPER * np.log(calibration.gain)
        self._gain = _tile(np.rint(gain), rows, np.uint16)
        self._starved_below = math.ceil(scale * (pedestal + STARVED_QUANTA * k))
        self._scale = np.uint16(scale)
        self._full_scale = full_scale
        self._base = np.empty_like(self._gain)
        self._base_of: int | None = None

    def __call__(self, samples: U16, ln_i0: F64) -> tuple[U16, U8]:
        """Return D16 and flags of at most ``rows`` lines."""
        n = samples.shape[0]
        cv2 = self._cv2
        brightest = samples.max()
        within = np.minimum(samples, self._full_scale) if brightest > self._full_scale else samples
        # One buffer from samples to D16: passes wait for the cache. A product, because numpy's shift by a
        # scalar is not vectorised for 16 bits.
        d16 = np.empty(samples.shape, dtype=np.uint16)
        np.multiply(within, self._scale, out=d16)
        if self._up is not None:
            cv2.add(d16, self._up[:n], dst=d16)
        cv2.subtract(d16, self._down[:n], dst=d16)
        flags = np.empty(samples.shape, dtype=np.uint8)
        np.less(d16, self._starved_below, out=flags.view(np.bool_))
        cv2.LUT(d16, self._table, dst=d16)
        cv2.add(d16, self._offsets(ln_i0), dst=d16)
        if brightest >= self._full_scale:
            flags |= _saturated(samples, self._full_scale)
        return d16, flags

    def _offsets(self, ln_i0: F64) -> U16:
        """Return gain and brightness in D16 steps, (lines, detectors); kept while the brightness stays."""
        n = ln_i0.size
        if (ln_i0 == ln_i0[0]).all():
            step = min(max(round(D16_PER_NEPER * float(ln_i0[0])), 0), MOST_LN_I0_STEPS)
            if self._base_of != step:
                np.subtract(self._gain, np.uint16(step), out=self._base)
                self._base_of = step
        else:
            steps = np.clip(np.rint(D16_PER_NEPER * ln_i0), 0, MOST_LN_I0_STEPS).astype(np.uint16)
            np.subtract(self._gain[:n], steps[:, None], out=self._base[:n])
            self._base_of = None
        return self._base[:n]


class FloatKernel:
    """The same chain in float32, for samples with too few table steps per quantum."""

    def __init__(self, calibration: Calibration, full_scale: int, rows: int = BLOCK_LINES) -> None:
        import cv2

        self._cv2 = cv2
        k, sigma = calibration.units_per_quantum, calibration.sigma
        self._dark = _tile(calibration.dark_mean, rows, np.float32)
        self._starved_below = STARVED_QUANTA * k
        self._slope, self._offset = np.float32(2 * k), np.float32(2 * sigma**2)
        self._twice_floor = 2 * (0.5 * k if sigma == 0 else 1e-3)
        self._gain = (D16_AIR - D16_PER_NEPER * np.log(2 * calibration.gain)).astype(np.float32)
        self._full_scale = full_scale
        self._s, self._x, self._y = (np.empty_like(self._dark) for _ in range(3))

    def __call__(self, samples: U16, ln_i0: F64) -> tuple[U16, U8]:
        """Return D16 and flags of at most ``rows`` lines."""
        n, cv2 = samples.shape[0], self._cv2
        s, x, y = self._s[:n], self._x[:n], self._y[:n]
        cv2.subtract(samples, self._dark[:n], dst=s, dtype=cv2.CV_32F)
        cv2.max(s, 0, dst=x)
        x *= self._slope
        x += self._offset
        x += np.multiply(s, s, out=y)
        cv2.sqrt(x, dst=x)
        x += s  # twice the estimate; ln 2 stands in the gain
        cv2.max(x, self._twice_floor, dst=x)
        cv2.log(x, dst=x)
        np.subtract(self._gain, (D16_PER_NEPER * ln_i0).astype(np.float32)[:, None], out=y)
        cv2.scaleAdd(x, D16_PER_NEPER, y, dst=y)
        d16 = np.empty(samples.shape, dtype=np.uint16)
        cv2.add(y, 0, dst=d16, dtype=cv2.CV_16U)  # rounds and saturates
        flags = (s < self._starved_below).view(np.uint8)
        if samples.max() >= self._full_scale:
            flags |= _saturated(samples, self._full_scale)
        return d16, flags


def lut_scale(full_scale: int, sigma: float) -> tuple[int, float]:
    """Return F and the pedestal in samples.

    F is the largest power of two with F·(full scale + pedestal) <= 65,535; 0 if there is none.
    """
    pedestal = PEDESTAL_SIGMA * sigma
    steps = int(65_535 // (full_scale + pedestal))
    return (1 << (steps.bit_length() - 1) if steps else 0), pedestal


def kernel_for(calibration: Calibration, full_scale: int, rows: int = BLOCK_LINES) -> Kernel:
    """Return the table chain where it is fine enough, else the float chain."""
    scale, _ = lut_scale(full_scale, calibration.sigma)
    if scale * calibration.units_per_quantum >= LEAST_STEPS_PER_QUANTUM:
        return LutKernel(calibration, full_scale, rows)
    return FloatKernel(calibration, full_scale, rows)


def _tile(row: F64, rows: int, dtype: type[Number]) -> NDArray[Number]:
    """Constants repeated to the block's shape: broadcasting would cost more than the rest of a pass."""
    return np.tile(row.astype(dtype), (rows, 1))


def _saturated(samples: U16, full_scale: int) -> U8:
    return (samples >= full_scale).view(np.uint8) << np.uint8(2)
