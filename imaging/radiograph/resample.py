"""Lines taken at any speed to columns of one pitch along the vehicle: exact mass, true lengths.

A line sees the vehicle from where it stood at the line's start to where it stands at the next one's. With the
attenuation a of line i and its travel ΔX, M(X) = Σ a·ΔX is the mass profile; a column holds
[M(x+p) − M(x)]/p. D16 is linear in a, hence the means are formed there. A vehicle that stands or rolls back
adds nothing; the lines of then stay in the raw data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imaging.radiograph.model import (
    D16_AIR,
    D16_NO_DATA,
    F64,
    INTERPOLATED,
    NO_DATA,
    SPEED_ASSUMED,
    U8,
    U16,
    Columns,
    Mask,
    RadiographError,
)

F32 = NDArray[np.float32]

TOGETHER = 16
"""So many columns are one product: the weights are a band, and a wider product would be of zeroes."""
LEAST_COVERED = 1e-6
"""Of a pitch; less is rounding."""
ROUNDING = 1e-4
"""Of a weight, which is a sum in single precision."""


class Resampler:
    """The columns of one scan; ``push`` its calibrated lines in order, then ``close``.

    The same lines give the same columns, whatever their split into calls of whole grid blocks.
    """

    def __init__(self, detectors: int, pitch_m: float, *, max_columns: int) -> None:
        self.pitch_m = pitch_m
        self.columns = 0
        """Columns made so far."""
        self._max_columns = max_columns
        self._origin_m: float | None = None
        self._reached = 0.0
        """Running maximum of the place, in columns from the first line."""
        self._held: tuple[U16, U8, float] | None = None
        """The last line: it ends where the next one begins."""
        self._sum = np.zeros(detectors, dtype=np.float32)
        self._valid = np.zeros(1, dtype=np.float32)
        self._flags = np.zeros(detectors, dtype=np.uint8)
        """Of the column in work: weighted D16, weight of what has data (one for all detectors while all have
        data), flags."""

    def push(self, lines: Columns, x_m: F64, assumed: Mask | None = None) -> Columns | None:
        """Take lines and return the columns that they complete.

        ``x_m`` float64 (lines,): how far the vehicle had come at the start of each line, growing in its
        direction of travel. ``assumed`` bool (lines,): by a speed that was not measured here. Raises
        ``RadiographError`` beyond ``max_columns``.
        """
        if not x_m.size:
            return None
        if self._origin_m is None:
            self._origin_m = float(x_m[0])
        place = np.maximum.accumulate(np.maximum((x_m - self._origin_m) / self.pitch_m, self._reached))
        flags = lines.flags
        if assumed is not None and assumed.any():
            flags = flags | (assumed * np.uint8(SPEED_ASSUMED))[:, None]
        d16 = lines.d16
        if self._held is not None:
            held_d16, held_flags, held_at = self._held
            d16 = np.concatenate((held_d16, d16))
            flags = np.concatenate((held_flags, flags))
            place = np.concatenate(([held_at], place))
        self._held = (d16[-1:].copy(), flags[-1:].copy(), float(place[-1]))
        return self._made(d16[:-1], flags[:-1], place)

    def close(self, end_m: float | None = None) -> Columns | None:
        """Return what is left; the last line ends at ``end_m``, or is as long as a column.

        The last column is weighted by what of it was seen: the rest counts as air.
        """
        if self._held is None or self._origin_m is None:
            return None
        d16, flags, at = self._held
        self._held = None
        end = at + 1.0 if end_m is None else max(at, (end_m - self._origin_m) / self.pitch_m)
        made = self._made(d16, flags, np.array([at, end]))
        rest = 1 - (self._reached - self.columns)
        if rest >= 1 - LEAST_COVERED:
            return made
        last = _whole(
            self._sum[None] + np.float32(rest * D16_AIR),
            self._valid[None] + np.float32(rest),
            self._flags[None],
        )
        self.columns += 1
        if made is None:
            return Columns(self.columns - 1, *last)
        return Columns(made.first, np.vstack((made.d16, last[0])), np.vstack((made.flags, last[1])))

    def _made(self, d16: U16, flags: U8, place: F64) -> Columns | None:
        """Add lines with their edges (lines + 1,), in columns; return the columns that are complete."""
        moving = np.diff(place) > 0
        if not moving.all():
            d16, flags, place = d16[moving], flags[moving], np.append(place[:-1][moving], place[-1])
        if not d16.shape[0]:
            return None
        first, self._reached = self.columns, float(place[-1])
        complete = int(self._reached + LEAST_COVERED) - first
        if first + complete > self._max_columns:
            raise RadiographError(
                f"the image would have {first + complete:,} columns, allowed are {self._max_columns:,}: "
                "check the encoder, or end the scan at the scanner"
            )
        band = _Band(place, first, complete + 1)
        seen = (flags & np.uint8(NO_DATA)) == 0
        total, joined = (
            band.product(d16.astype(np.float32) if seen.all() else d16 * seen.astype(np.float32)),
            band.joined(flags),
        )
        if seen.all() and self._valid.size == 1:
            valid = band.weights.sum(axis=1, keepdims=True)
        else:
            valid = band.product(seen.astype(np.float32))
        total[0] += self._sum
        valid[0] += self._valid
        joined[0] |= self._flags
        self._sum, self._valid, self._flags = total[-1].copy(), valid[-1].copy(), joined[-1].copy()
        if (self._valid == self._valid[0]).all():
            self._valid = self._valid[:1]
        self.columns += complete
        return Columns(first, *_whole(total[:-1], valid[:-1], joined[:-1])) if complete else None


class _Band:
    """Which share of each column each line covers: ``weights`` float32 (columns, lines).

    Lines and columns are both in order, so that a column's lines are those from ``lo`` to ``hi``: mostly two.
    """

    def __init__(self, place: F64, first: int, count: int) -> None:
        left = np.arange(first, first + count, dtype=np.float64)
        lines = place.size - 1
        self._lo = np.minimum(np.maximum(np.searchsorted(place, left, side="right") - 1, 0), lines - 1)
        self._hi = np.minimum(np.maximum(np.searchsorted(place, left + 1) - 1, 0), lines - 1)
        self._steps = range(int((self._hi - self._lo).max()) + 1)
        self.weights = np.zeros((count, lines), dtype=np.float32)
        columns = np.arange(count)
        for step in self._steps:
            line = np.minimum(self._lo + step, self._hi)
            share = np.minimum(place[line + 1], left + 1) - np.maximum(place[line], left)
            self.weights[columns, line] = np.maximum(share, 0)

    def product(self, values: F32) -> F32:
        """Return weights @ values, float32 (columns, detectors), without the zeroes beside the band."""
        out = np.empty((self._lo.size, values.shape[1]), dtype=np.float32)
        for at in range(0, self._lo.size, TOGETHER):
            columns = slice(at, at + TOGETHER)
            lines = slice(self._lo[at], self._hi[columns][-1] + 1)
            np.matmul(self.weights[columns, lines], values[lines], out=out[columns])
        return out

    def joined(self, flags: U8) -> U8:
        """Return every flag of the lines in each column, uint8 (columns, detectors)."""
        joined: U8 = flags[self._lo]
        for step in self._steps[1:]:
            joined |= flags[np.minimum(self._lo + step, self._hi)]
        if not self.weights[-1].any():
            joined[-1] = 0
        return joined


def _whole(total: F32, valid: F32, flags: U8) -> tuple[U16, U8]:
    """Return D16 and flags of columns; what has data in part is interpolated over the rest."""
    missing = valid < 1 - ROUNDING
    if missing.any():
        none = np.broadcast_to(valid <= ROUNDING, flags.shape)
        part = np.broadcast_to(missing, flags.shape) & ~none
        total = np.where(none, D16_NO_DATA, total / np.maximum(valid, ROUNDING))
        flags[part] = flags[part] & np.uint8(0xFF ^ NO_DATA) | np.uint8(INTERPOLATED)
    return np.rint(total).astype(np.uint16), flags
