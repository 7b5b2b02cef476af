"""Cuts any stream of lines into the 64-line grid by absolute line number.

Whatever the wire's split, the same lines give the same blocks, hence the same image, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.radiograph.model import BLOCK_LINES, MAX_LINES, U16, Mask, RadiographError


@dataclass(frozen=True, slots=True)
class GridBlock:
    """At most 64 lines, from a multiple of 64 on.

    ``samples`` uint16 (lines, detectors), C-contiguous; ``flags`` uint16 (lines,); ``monitor`` uint32
    (lines,), 0 where unknown; ``present`` bool (lines,), false where the line is lost.
    """

    first: int
    samples: U16
    flags: NDArray[np.uint16]
    monitor: NDArray[np.uint32]
    present: Mask


class LineGrid:
    """Collects lines in order; missing ones become lost lines, repeated ones are dropped."""

    def __init__(self, detectors: int, max_lines: int = MAX_LINES) -> None:
        self.detectors = detectors
        self.max_lines = max_lines
        self.next_line = 0
        """Number of the first line that has not been seen."""
        self.lost_lines = 0
        self._all = np.ones(BLOCK_LINES, dtype=np.bool_)
        self._none = np.zeros(BLOCK_LINES, dtype=np.uint32)
        self._fresh()

    def push(
        self,
        first_line: int,
        samples: U16,
        flags: NDArray[np.uint16],
        monitor: NDArray[np.uint32] | None = None,
    ) -> Iterator[GridBlock]:
        """Take lines from ``first_line`` on and yield the grid blocks that became full.

        Lines that were skipped count as lost. Raises ``RadiographError`` for a wrong shape or beyond
        ``max_lines``.
        """
        if samples.ndim != 2 or samples.shape[1] != self.detectors or samples.shape[0] != flags.size:
            raise RadiographError(
                f"lines of shape {samples.shape} with {flags.size} flags came, "
                f"expected (lines, {self.detectors}) with a flag each"
            )
        yield from self.lost(self.next_line, first_line - self.next_line)
        skip = self.next_line - first_line
        count = samples.shape[0] - skip
        self._check(count)
        while count > 0:
            room = BLOCK_LINES - self._filled
            take = slice(skip, skip + min(room, count))
            n = take.stop - take.start
            if n == BLOCK_LINES:  # a whole block in one piece needs no copy
                piece = np.ascontiguousarray(samples[take])
                beam = self._none if monitor is None else monitor[take]
                yield GridBlock(self.next_line, piece, flags[take], beam, self._all)
                self.next_line += n
            else:
                here = slice(self._filled, self._filled + n)
                self._samples[here] = samples[take]
                self._flags[here] = flags[take]
                self._monitor[here] = 0 if monitor is None else monitor[take]
                self._present[here] = True
                yield from self._advance(n)
            skip += n
            count -= n

    def lost(self, first_line: int, count: int) -> Iterator[GridBlock]:
        """Mark ``count`` lines from ``first_line`` on as lost and yield the blocks that became full."""
        end = first_line + count
        self._check(end - self.next_line)
        while self.next_line < end:
            n = min(BLOCK_LINES - self._filled, end - self.next_line)
            self.lost_lines += n
            yield from self._advance(n)

    def close(self) -> Iterator[GridBlock]:
        """Yield what is left, a block shorter than the grid."""
        n = self._filled
        if n:
            yield GridBlock(
                self.next_line - n, self._samples[:n], self._flags[:n], self._monitor[:n], self._present[:n]
            )
            self._fresh()

    def _advance(self, n: int) -> Iterator[GridBlock]:
        self._filled += n
        self.next_line += n
        if self._filled == BLOCK_LINES:
            yield GridBlock(
                self.next_line - BLOCK_LINES, self._samples, self._flags, self._monitor, self._present
            )
            self._fresh()

    def _fresh(self) -> None:
        self._filled = 0
        self._samples = np.zeros((BLOCK_LINES, self.detectors), dtype=np.uint16)
        self._flags = np.zeros(BLOCK_LINES, dtype=np.uint16)
        self._monitor = np.zeros(BLOCK_LINES, dtype=np.uint32)
        self._present = np.zeros(BLOCK_LINES, dtype=np.bool_)

    def _check(self, more: int) -> None:
        if self.next_line + more > self.max_lines:
            raise RadiographError(
                f"the scan would have {self.next_line + more:,} lines, at most {self.max_lines:,} are "
                "allowed: end the scan at the scanner"
            )
