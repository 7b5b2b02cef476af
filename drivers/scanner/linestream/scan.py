"""One scan as the station has received it so far: each line once, in order, and checked."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from drivers.formats.linestream.codes import LineFlag
from drivers.formats.linestream.frames import crc32c
from drivers.formats.linestream.messages import Lines, ScanBegin
from drivers.readings import LineBlock, LinesLost, ScanClosed, ScanKey, Stamp

MAX_SPEED_MPS = 20.0
"""An encoder that says more is not believed."""
REVERSE = 2


@dataclass(slots=True)
class Scan:
    """It outlives the link; ``next_line`` is the first line not passed on, ``durable`` the one to resume."""

    key: ScanKey
    begin: ScanBegin
    m_per_tick: float
    next_line: int = 0
    durable: int = 0
    lost: int = 0
    closed: bool = False
    doubt: str | None = None
    """Why the scan is not whole, however it ends."""
    _samples_crc: int = 0
    """CRC32C of all samples so far: the sum that the device forms over all lines as it digitises them."""
    _line_crcs: array[int] = field(default_factory=lambda: array("I"))
    """CRC32C of the samples of every line so far, 0 where it was lost."""
    _first_ticks: int | None = None
    _last_t_ns: int | None = None
    _last_ticks: int | None = None

    def block(self, lines: Lines, wire: bytes, stamp: Stamp) -> LineBlock:
        """Pass on lines that begin at ``next_line``; ``wire`` is the message that holds them."""
        records = lines.records
        flags = (records["flags"] & LineFlag.WIRE).astype(np.uint16)
        t_ns = records["t_ns"].astype(np.int64)
        flags |= np.where(self._jumps(t_ns, records), np.uint16(LineFlag.TIME_JUMP), np.uint16(0))
        x_m = None
        if (flags & LineFlag.ENCODER_VALID).all():
            if self._first_ticks is None:
                self._first_ticks = int(records["encoder"][0])
            sign = -1.0 if self.begin.direction == REVERSE else 1.0
            x_m = (records["encoder"] - self._first_ticks) * (sign * self.m_per_tick)
        monitor = records["monitor"][:, 0].copy() if (flags & LineFlag.MONITOR_VALID).all() else None
        self._samples_crc = crc32c(lines.samples.tobytes(), self._samples_crc)
        self._line_crcs.extend(crc32c(line.tobytes()) for line in lines.samples)
        if ((flags & (LineFlag.VEHICLE | LineFlag.BEAM_ON)) == LineFlag.VEHICLE).any():
            self.doubt = "beam_off"
        self.next_line = lines.next_line
        samples = lines.samples.astype(np.uint16, copy=False)
        return LineBlock(stamp, self.key, lines.first_line, samples, t_ns, x_m, monitor, flags, wire)

    def _jumps(self, t_ns: NDArray[np.int64], records: NDArray[np.void]) -> NDArray[np.bool_]:
        """Tell for each line whether time went back since the one before, or the encoder ran away."""
        ticks = records["encoder"].astype(np.float64)
        before_t = t_ns[0] if self._last_t_ns is None else self._last_t_ns
        before_ticks = ticks[0] if self._last_ticks is None else self._last_ticks
        step_s = np.diff(t_ns.astype(np.float64), prepend=float(before_t)) * 1e-9
        step_m = np.abs(np.diff(ticks, prepend=float(before_ticks))) * abs(self.m_per_tick)
        valid = (records["flags"] & LineFlag.ENCODER_VALID) != 0
        self._last_t_ns, self._last_ticks = int(t_ns[-1]), int(records["encoder"][-1])
        jumps: NDArray[np.bool_] = (step_s < 0) | (valid & (step_m > MAX_SPEED_MPS * np.maximum(step_s, 0)))
        return jumps

    def conflicts(self, lines: Lines) -> bool:
        """Tell whether lines that were passed on before differ now."""
        again = lines.samples[: self.next_line - lines.first_line]
        held = self._line_crcs[lines.first_line :]
        return any(crc not in (0, crc32c(line.tobytes())) for line, crc in zip(again, held, strict=False))

    def skip_to(self, line: int, cause: str, stamp: Stamp, wire: bytes = b"") -> Iterator[LinesLost]:
        """Give up the lines before ``line``, if there are any."""
        count = line - self.next_line
        if count > 0:
            yield LinesLost(stamp, self.key, self.next_line, count, cause, wire)
            self._line_crcs.frombytes(bytes(4 * count))
            self.next_line = line
            self.lost += count

    def close(
        self, stamp: Stamp, *, aborted: str | None = None, samples_crc: int | None = None, wire: bytes = b""
    ) -> ScanClosed:
        """Close it; ``samples_crc`` is the device's, passed on only where every line is here to be compared.

        A sum that differs means that a sample changed on its way from the detector: the scan is not whole.
        """
        self.closed = True
        self._line_crcs = array("I")
        crc = None if self.lost else samples_crc
        differs = "samples_crc" if crc is not None and crc != self._samples_crc else None
        cause = aborted or self.doubt or differs
        return ScanClosed(stamp, self.key, self.next_line, self.lost, crc, cause, wire)
