"""One scan from the wire's lines to the columns of its image, while the vehicle still moves.

Calibrated lines (``ScanChain``) are laid along the vehicle (``Travel``) and become columns of one pitch
(``Resampler``). One thread at a time, bounded memory; the same lines give the same columns, bit for bit,
whatever their split into calls.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from imaging.radiograph.model import F64, MAX_LINES, U16, Calibration, Columns, Mask
from imaging.radiograph.normalize import ScanChain
from imaging.radiograph.resample import Resampler
from imaging.radiograph.travel import Travel

DIRECTION_M = 0.2
"""A scanner that does not know the direction of travel: so much net travel decides it."""
LOST_TOGETHER = 1_024
MOST_BEHIND = 4_096
"""Lines missing at the end that are drawn: where they lay nobody knows."""
MOST_UNDECIDED = 4_096
"""Lines that are held for that; a vehicle that stands longer goes forward."""


class ImageChain:
    """The columns of one image.

    ``pitch_m`` and ``speed_mps`` as in ``Travel``, ``decay`` as in ``ScanChain``.

    ``directed``: the sign of ``x_m`` is that of the travel; otherwise its first 200 mm decide.
    """

    def __init__(
        self,
        calibration: Calibration,
        detectors: int,
        full_scale: int,
        *,
        pitch_m: float,
        max_columns: int,
        max_lines: int = MAX_LINES,
        directed: bool = True,
        speed_mps: float | None = None,
        decay: float = 1.0,
    ) -> None:
        self._lines = ScanChain(calibration, detectors, full_scale, max_lines=max_lines, decay=decay)
        self._travel = Travel(pitch_m, speed_mps)
        self._resampler = Resampler(detectors, pitch_m, max_columns=max_columns)
        self._sign = 1.0 if directed else 0.0
        self._undecided: list[tuple[Columns, F64, Mask]] = []
        self._way_m = np.zeros(0)
        self._assumed = np.zeros(0, dtype=np.bool_)
        """Of the lines that the grid still holds."""
        self._pitch_m = self._step_m = pitch_m
        """From line to line, where the last ones came."""
        self._total = 0
        self.guessed = speed_mps is None
        """Whether nothing at all tells how long the vehicle is."""

    @property
    def next_line(self) -> int:
        """Number of the line after the last one seen or lost."""
        return max(self._total, self._lines.next_line)

    @property
    def lines_lost(self) -> int:
        """Lines that never came."""
        return self._lines.lines_lost + max(0, self._total - self._lines.next_line)

    def push(
        self,
        first_line: int,
        samples: U16,
        flags: U16,
        monitor: NDArray[np.uint32] | None,
        t_ns: NDArray[np.int64],
        x_m: F64 | None,
        doubted: Mask,
    ) -> list[Columns]:
        """Take lines and return the columns that they complete.

        ``samples``, ``flags`` and ``monitor`` as in ``ScanChain.push``, the rest as in ``Travel.places``.
        Lines seen before are dropped; those skipped are lost, and lie evenly between their neighbours.
        """
        seen = min(max(0, self._lines.next_line - first_line), t_ns.size)
        if seen == t_ns.size:
            return []
        new = slice(seen, None)
        missing = max(0, first_line - self._lines.next_line)
        from_m = self._travel.way_m
        way_m, assumed = self._travel.places(t_ns[new], None if x_m is None else x_m[new], doubted[new])
        self.guessed &= x_m is None
        if way_m.size > 1:
            self._step_m = float(way_m[-1] - way_m[-2])
        elif self._lines.next_line:
            self._step_m = float(way_m[0] - from_m) / (missing + 1)
        between = way_m[0] - np.arange(missing, 0.0, -1) * self._pitch_m
        if self._lines.next_line:
            between = np.linspace(from_m, way_m[0], missing + 2)[1:-1]
        made = list(self._lose(between))
        self._lay(way_m, assumed)
        part = None if monitor is None else monitor[new]
        return made + list(self._made(self._lines.push(first_line + seen, samples[new], flags[new], part)))

    def lost(self, first_line: int, count: int) -> None:
        """Take note of lines that will never come: where they lie is known with the next that comes."""
        self._total = max(self._total, first_line + count)

    def close(self, total: int = 0) -> list[Columns]:
        """Return what is left of a scan of ``total`` lines; those missing at its end are like the last."""
        self._total = max(self._total, total)
        missing = min(max(0, self._total - self._lines.next_line), MOST_BEHIND)
        made = list(self._lose(self._travel.way_m + np.arange(1.0, missing + 1) * self._step_m))
        self._sign = self._sign or 1.0
        made += [*self._laid(), *self._made(self._lines.close())]
        end_m = self._travel.way_m + (missing + 1) * self._step_m
        last = self._resampler.close(self._sign * end_m)
        return made if last is None else [*made, last]

    def _lose(self, way_m: NDArray[np.floating]) -> Iterator[Columns]:
        """Take lost lines at these places, in pieces: a long gap costs no memory."""
        for at in range(0, way_m.size, LOST_TOGETHER):
            part = way_m[at : at + LOST_TOGETHER]
            self._lay(part, np.ones(part.size, dtype=np.bool_))
            yield from self._made(self._lines.lost(self._lines.next_line, part.size))

    def _lay(self, way_m: NDArray[np.floating], assumed: Mask) -> None:
        self._way_m = np.concatenate((self._way_m, way_m))
        self._assumed = np.concatenate((self._assumed, assumed))

    def _made(self, blocks: list[Columns]) -> Iterator[Columns]:
        for lines in blocks:
            n = lines.d16.shape[0]
            net_m = float(self._way_m[n - 1])
            self._undecided.append((lines, self._way_m[:n], self._assumed[:n]))
            self._way_m, self._assumed = self._way_m[n:], self._assumed[n:]
            if self._sign == 0.0 and (abs(net_m) >= DIRECTION_M or lines.end > MOST_UNDECIDED):
                self._sign = -1.0 if net_m <= -DIRECTION_M else 1.0
        if self._sign != 0.0:
            yield from self._laid()

    def _laid(self) -> Iterator[Columns]:
        held, self._undecided = self._undecided, []
        for lines, way_m, assumed in held:
            columns = self._resampler.push(lines, self._sign * way_m, assumed)
            if columns is not None:
                yield columns
