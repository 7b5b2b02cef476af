"""The columns of one scan as screens read them, and as they are stored: the same numbers at every moment."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from imaging.radiograph.model import D16_NO_DATA

U16 = NDArray[np.uint16]
U8 = NDArray[np.uint8]


class Image:
    """Columns of one scan as far as they are made; read by any thread while one other adds.

    The memory is reserved at once and used only as far as it is written, so that adding and looking
    copy nothing, and it goes back to the system as a whole.
    """

    def __init__(self, height: int, lines: int) -> None:
        """Begin without a column, with room for ``lines``."""
        self.height = height
        self.width = 0
        self.complete = False
        """Whether no more columns will come."""
        self._d16 = np.empty((lines, height), dtype=np.uint16)
        self._flags = np.empty((lines, height), dtype=np.uint8)

    def add(self, d16: U16, flags: U8) -> None:
        """Append consecutive columns and their flags, uint16 and uint8 of shape (lines, detectors)."""
        end = self.width + d16.shape[0]
        self._d16[self.width : end] = d16
        self._flags[self.width : end] = flags
        self.width = end

    def d16(self) -> U16:
        """Return all columns so far, uint16 (lines, detectors), without a copy."""
        return self._d16[: self.width]

    def flags(self) -> U8:
        """Return the flags of all columns so far, uint8 (lines, detectors), without a copy."""
        return self._flags[: self.width]


def reduced(d16: U16, first: int, last: int, level: int) -> bytes:
    """Return columns ``first`` to ``last`` (exclusive) at 1/2^level, little-endian uint16, line-major.

    Numbers count columns of that level; each value is the mean of those of its 2^level x 2^level pixels
    that exist and have data, and no data where none has.
    """
    step = 1 << level
    cut = d16[first * step : last * step]
    if level == 0 or cut.size == 0:
        return cut.astype("<u2", copy=False).tobytes()
    lines, rows = cut.shape
    whole = np.pad(cut, ((0, -lines % step), (0, -rows % step)), constant_values=D16_NO_DATA)
    blocks = whole.reshape(whole.shape[0] // step, step, whole.shape[1] // step, step)
    seen = blocks != D16_NO_DATA
    count = seen.sum(axis=(1, 3), dtype=np.uint32)
    total = blocks.sum(axis=(1, 3), dtype=np.uint32, where=seen)
    means = (total + count // 2) // np.maximum(count, 1)
    return np.where(count > 0, means, D16_NO_DATA).astype("<u2").tobytes()


def reduced_flags(flags: U8, first: int, last: int, level: int) -> bytes:
    """Return the flags of columns ``first`` to ``last`` (exclusive) at 1/2^level, uint8, line-major.

    Each value holds every flag that one of its 2^level x 2^level pixels has.
    """
    step = 1 << level
    cut = flags[first * step : last * step]
    if level == 0 or cut.size == 0:
        return cut.tobytes()
    lines, rows = cut.shape
    whole = np.pad(cut, ((0, -lines % step), (0, -rows % step)))
    blocks = whole.reshape(whole.shape[0] // step, step, whole.shape[1] // step, step)
    joined: U8 = np.bitwise_or.reduce(blocks, axis=(1, 3))
    return joined.tobytes()


def as_npy(array: U16 | U8) -> bytes:
    """Return the array as a NumPy .npy file (format 1.0): self-describing, exact, little-endian."""
    buffer = io.BytesIO()
    np.save(buffer, array.astype(array.dtype.newbyteorder("<"), copy=False), allow_pickle=False)
    return buffer.getvalue()


def from_npy(data: bytes) -> U16 | U8:
    """Return the array of a stored image, or of its flags."""
    array: U16 | U8 = np.load(io.BytesIO(data), allow_pickle=False)
    return array
