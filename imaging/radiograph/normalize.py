"""One scan from the wire's lines to calibrated columns, while the vehicle still moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imaging.radiograph.brightness import Brightness
from imaging.radiograph.kernel import kernel_for
from imaging.radiograph.model import (
    D16_NO_DATA,
    DEAD_DETECTOR,
    DEAD_LINE,
    I0_OBSTRUCTED,
    INTERPOLATED,
    MAX_LINES,
    NO_DATA,
    U16,
    Calibration,
    Columns,
    Mask,
    RadiographError,
)
from imaging.radiograph.stream import GridBlock, LineGrid

BRIDGED_DETECTORS = 2
"""So many dead neighbours are bridged in the attenuation; more are no data."""


class ScanChain:
    """One scan, from wire lines to calibrated columns; one thread at a time, bounded memory.

    The same lines give the same columns whatever their split into calls. ``decay`` is the isotope's
    activity now over that at calibration, used only without reference detectors and monitor.
    """

    def __init__(
        self,
        calibration: Calibration,
        detectors: int,
        full_scale: int,
        *,
        max_lines: int = MAX_LINES,
        decay: float = 1.0,
    ) -> None:
        if calibration.detectors != detectors:
            raise RadiographError(
                f"the scan has {detectors} detectors, the calibration {calibration.detectors}: "
                "calibrate again"
            )
        self._grid = LineGrid(detectors, max_lines)
        self._kernel = kernel_for(calibration, full_scale)
        self._brightness = Brightness(calibration, decay)
        self._bridges, self._lost_detectors = _bridges(calibration.dead)

    @property
    def next_line(self) -> int:
        """Number of the line after the last one seen or lost."""
        return self._grid.next_line

    @property
    def lines_lost(self) -> int:
        """Lines that never came."""
        return self._grid.lost_lines

    def push(
        self, first_line: int, samples: U16, flags: U16, monitor: NDArray[np.uint32] | None = None
    ) -> list[Columns]:
        """Take lines and return the columns of every grid block that became full.

        ``samples`` uint16 (lines, detectors), ``flags`` uint16 (lines,) as on the wire, ``monitor`` uint32
        (lines,) or ``None``. Lines seen before are dropped; skipped ones are lost.
        """
        return [self._columns(block) for block in self._grid.push(first_line, samples, flags, monitor)]

    def lost(self, first_line: int, count: int) -> list[Columns]:
        """Mark lines that will never come."""
        return [self._columns(block) for block in self._grid.lost(first_line, count)]

    def close(self) -> list[Columns]:
        """Return the columns of the last, shorter block."""
        return [self._columns(block) for block in self._grid.close()]

    def _columns(self, block: GridBlock) -> Columns:
        ln_i0, exposed, obstructed, dead = self._brightness.of(block)
        d16, flags = self._kernel(block.samples, ln_i0)
        if obstructed.any():
            flags[obstructed] |= I0_OBSTRUCTED
        for j, left, right, weight in self._bridges:
            d16[:, j] = np.rint(d16[:, left] * (1 - weight) + d16[:, right] * weight)
            flags[:, j] = flags[:, left] | flags[:, right] | (DEAD_DETECTOR | INTERPOLATED)
        for j in self._lost_detectors:
            d16[:, j] = D16_NO_DATA
            flags[:, j] = DEAD_DETECTOR | NO_DATA
        blank = ~exposed | dead
        if blank.any():
            d16[blank] = D16_NO_DATA
            flags[blank] = NO_DATA
            flags[dead] |= DEAD_LINE
        return Columns(block.first, d16, flags)


def _bridges(dead: Mask) -> tuple[list[tuple[int, int, int, float]], list[int]]:
    """Return (detector, left, right, weight of right) of dead ones that can be bridged, and the others."""
    bridges: list[tuple[int, int, int, float]] = []
    lost: list[int] = []
    j = 0
    while j < dead.size:
        end = j
        while end < dead.size and dead[end]:
            end += 1
        if 0 < end - j <= BRIDGED_DETECTORS and j > 0 and end < dead.size:
            left, right = j - 1, end
            bridges += [(i, left, right, (i - left) / (right - left)) for i in range(j, end)]
        else:
            lost += range(j, end)
        j = max(end, j + 1)
    return bridges, lost
