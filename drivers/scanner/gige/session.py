"""Blocks in, readings out, without I/O: which lines are a scan, and which of them are lost.

A scan begins with the first block and ends when none came for ``scan_gap_s``: a GigE Vision camera tells of
no vehicle, so that its line trigger has to be gated by one. With digital inputs in chunk data it also ends
where its kind changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from drivers.api import DeviceIdentity
from drivers.formats.gige.gvsp import Block, chunks
from drivers.formats.linestream.codes import AbortReason, EndReason, GapReason, LineFlag
from drivers.formats.linestream.describe import parse
from drivers.formats.linestream.frames import crc32c, encode
from drivers.formats.linestream.messages import (
    LINE_RECORD,
    Gap,
    Lines,
    Message,
    ScanAbort,
    ScanBegin,
    ScanEnd,
)
from drivers.readings import (
    LineBlock,
    LinesLost,
    ScanClosed,
    ScanKey,
    ScanKind,
    ScannerGeometry,
    ScannerReading,
    ScanOpened,
    SourceStatus,
    Stamp,
)
from drivers.scanner.gige.options import GigeOptions

MAX_LINES = 2_000_000
MAX_SCAN_S = 2 * 3600
BLOCK_LINES = 64
"""Lines of one message of the raw file."""
KIND_CODES = {ScanKind.VEHICLE: 1, ScanKind.DARK: 2, ScanKind.AIR: 3}
TIME_TRIGGER, ENCODER_TRIGGER = 1, 2
CLOCK_FREE = 1


@dataclass(slots=True)
class _Scan:
    key: ScanKey
    kind: ScanKind
    begun: Stamp
    last: Stamp
    next_line: int = 0
    lost: int = 0
    crc: int = 0
    last_ns: int | None = None
    """Time of the block before by its own clock, if it came."""
    messages: int = 0
    beam_off: bool = False


class ScanSession:
    """Remembers the scan of one camera; it outlives the link, to say how its last scan ended."""

    def __init__(self, boot_id: int) -> None:
        """Know nothing yet; ``boot_id`` is a number that no session before had."""
        self._boot_id = boot_id
        self._scans = 0
        self._scan: _Scan | None = None
        self._options: GigeOptions
        self._geometry: ScannerGeometry
        self._ticks_per_s = 0
        self._began: Stamp | None = None
        self._held = 0
        """Blocks of which nothing came since the last scan; what they showed is known with the next one."""

    def begin(self, options: GigeOptions, identity: DeviceIdentity, ticks_per_s: int, stamp: Stamp) -> None:
        """Begin with a link on which acquisition has just been started.

        ``ticks_per_s`` is the rate of the camera's clock; 0: it has none, and lines have the station's time.
        """
        self._options, self._ticks_per_s, self._began, self._held = options, ticks_per_s, stamp, 0
        _, self._geometry = parse(options.describe(identity))

    def greeting(self, stamp: Stamp) -> Iterator[ScannerReading]:
        """Say, first of all, how a scan ended whose link was lost, and that no lines come."""
        yield from self.close(stamp, "link")
        yield _source(stamp, on=False)

    @property
    def ends_s(self) -> float | None:
        """Monotonic time at which the open scan is over unless a block comes."""
        return None if self._scan is None else self._scan.last.mono_ns / 1e9 + self._options.scan_gap_s

    def idle(self, stamp: Stamp) -> Iterator[ScannerReading]:
        """End the scan if it is over."""
        if self.ends_s is not None and stamp.mono_ns / 1e9 >= self.ends_s:
            yield from self.close(stamp, None)

    def take(self, block: Block, stamp: Stamp) -> Iterator[ScannerReading]:
        """Take the next block; they come in their order, none left out."""
        beam, kind = self._inputs(block)
        scan = self._scan
        if scan is not None and (cause := self._over(scan, block, kind, stamp)) is not None:
            yield from self.close(stamp, cause or None)
            scan = None
        if scan is None and block.payload is None and self._options.inputs is not None:
            self._held += 1
            return
        if scan is None:
            scan = self._scan = self._new(kind or ScanKind.VEHICLE, stamp)
            yield self._opened(scan, stamp)
            yield _source(stamp, on=scan.kind is not ScanKind.DARK)
            if self._held:
                scan.next_line, self._held = self._held * self._options.lines, 0
                yield self._lost(scan, 0, scan.next_line, stamp)
        scan.last = stamp
        scan.beam_off |= scan.kind is not ScanKind.DARK and beam is False
        yield from self._lines(scan, block, beam, stamp)

    def close(self, stamp: Stamp, cause: str | None) -> Iterator[ScannerReading]:
        """End the scan, if there is one; ``cause`` says why it is not whole."""
        scan, self._scan = self._scan, None
        if scan is None:
            return
        end: Message
        if cause is None:
            crc = 0 if scan.lost else scan.crc
            end = ScanEnd(scan.next_line, scan.lost, scan.last_ns or 0, 0, crc, 0, EndReason.NORMAL)
            cause = "beam_off" if scan.beam_off else None
        else:
            end = ScanAbort(scan.next_line, AbortReason.STATION_JOURNAL_ONLY, cause)
        yield ScanClosed(stamp, scan.key, scan.next_line, scan.lost, None, cause, self._wire(scan, end))
        yield _source(stamp, on=False)

    # --- inside ---------------------------------------------------------------------------------

    def _inputs(self, block: Block) -> tuple[bool | None, ScanKind | None]:
        """Return what the inputs of a block say of beam and kind; ``None``: nothing."""
        inputs = self._options.inputs
        if inputs is None or block.payload is None:
            return None, None
        image = self._options.image_bytes
        if block.missing and block.missing[-1][1] > image:
            return None, None
        word = chunks(block.payload[image:]).get(inputs.chunk)
        if word is None:
            return None, None
        bits = int.from_bytes(word, "big")
        beam = bool(bits >> inputs.beam & 1)
        if not bits >> inputs.calibration & 1:
            return beam, ScanKind.VEHICLE
        return beam, ScanKind.AIR if beam else ScanKind.DARK

    def _over(self, scan: _Scan, block: Block, kind: ScanKind | None, stamp: Stamp) -> str | None:
        """Return why a scan does not go on with a block ("" where it is whole); ``None``: it does."""
        if kind is not None and kind is not scan.kind:
            return ""
        # By the camera's clock, if there is one: blocks that waited for a busy station are no gap.
        if block.payload is not None and scan.last_ns is not None:
            gap_ns = self._start_ns(block, stamp) - scan.last_ns
            if gap_ns >= self._options.scan_gap_s * 1e9:
                return ""
        too_long = stamp.mono_ns - scan.begun.mono_ns > MAX_SCAN_S * 1e9
        return "limit" if too_long or scan.next_line + self._options.lines > MAX_LINES else None

    def _new(self, kind: ScanKind, stamp: Stamp) -> _Scan:
        self._scans += 1
        return _Scan(ScanKey(self._boot_id, self._scans), kind, stamp, stamp)

    def _opened(self, scan: _Scan, stamp: Stamp) -> ScanOpened:
        options, geometry = self._options, self._geometry
        began, self._began = self._began, None
        unseen = began is not None and stamp.mono_ns - began.mono_ns < options.scan_gap_s * 1e9
        period_ns = max(1, round(options.line_period_us * 1e3))
        begin = ScanBegin(
            kind=KIND_CODES[scan.kind],
            direction=0,
            mode=1,
            channels=1,
            detectors=options.detectors,
            sample_format=1,
            trigger=ENCODER_TRIGGER if options.line_pitch_mm else TIME_TRIGGER,
            start_ns=stamp.mono_ns,
            start_utc=stamp.utc_ns,
            clock=CLOCK_FREE,
            geometry_crc=geometry.crc,
            line_period_ns=period_ns,
            full_scale=geometry.full_scale,
            kev_0=0,
            kev_1=0,
        )
        return ScanOpened(
            stamp=stamp,
            key=scan.key,
            kind=scan.kind,
            detectors=options.detectors,
            channels=1,
            line_period_s=period_ns / 1e9,
            full_scale=geometry.full_scale,
            encoder_triggered=options.line_pitch_mm > 0,
            resent=unseen,
            geometry=geometry,
            wire=self._wire(scan, begin),
        )

    def _lines(self, scan: _Scan, block: Block, beam: bool | None, stamp: Stamp) -> Iterator[ScannerReading]:
        options = self._options
        first = scan.next_line
        scan.next_line += options.lines
        if block.payload is None:
            scan.last_ns = None
            yield self._lost(scan, first, options.lines, stamp)
            return
        image = np.frombuffer(block.payload, "<u2", options.detectors * options.lines)
        image = image.reshape(options.lines, options.detectors)
        if options.column.first_pixel == "bottom":
            image = image[:, ::-1]
        t_ns, flags = self._times(scan, block, stamp)
        if beam:
            flags |= np.uint16(LineFlag.BEAM_ON)
        for here, after, present in _spans(self._present(block)):
            if not present:
                yield self._lost(scan, first + here, after - here, stamp)
                continue
            for at in range(here, after, BLOCK_LINES):
                part = slice(at, min(at + BLOCK_LINES, after))
                yield self._block(scan, first + at, image[part], t_ns[part], flags[part], stamp)

    def _present(self, block: Block) -> NDArray[np.bool_]:
        """Return for each line whether all of it came."""
        line_bytes = self._options.detectors * 2
        present = np.ones(self._options.lines, np.bool_)
        for first, after in block.missing:
            present[first // line_bytes : -(-after // line_bytes)] = False
        return present

    def _start_ns(self, block: Block, stamp: Stamp) -> int:
        """Return the time of a block's first line: by the camera's clock, if it has one."""
        if not self._ticks_per_s:
            return stamp.mono_ns
        return min(block.ticks * 1_000_000_000 // self._ticks_per_s, 1 << 62)

    def _times(self, scan: _Scan, block: Block, stamp: Stamp) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
        """Return device time and flags of each line of a block."""
        start_ns = self._start_ns(block, stamp)
        t_ns = start_ns + np.rint(np.arange(self._options.lines) * self._options.line_period_us * 1e3)
        flags = np.zeros(self._options.lines, np.uint16)
        if self._options.line_pitch_mm:
            flags |= np.uint16(LineFlag.ENCODER_VALID)
        if scan.last_ns is not None and start_ns < scan.last_ns:
            flags |= np.uint16(LineFlag.TIME_JUMP)
        scan.last_ns = start_ns
        return t_ns.astype(np.int64), flags

    def _block(
        self,
        scan: _Scan,
        first: int,
        image: NDArray[np.uint16],
        t_ns: NDArray[np.int64],
        flags: NDArray[np.uint16],
        stamp: Stamp,
    ) -> LineBlock:
        options = self._options
        samples = np.ascontiguousarray(image, np.uint16)[:, np.newaxis, :]
        saturated = (samples >= options.column.full_scale).any(axis=(1, 2))
        flags = flags | np.where(saturated, np.uint16(LineFlag.SATURATED), np.uint16(0))
        scan.crc = crc32c(samples.tobytes(), scan.crc)
        line = np.arange(first, first + len(samples))
        records = np.zeros(len(samples), LINE_RECORD)
        records["t_ns"] = t_ns
        records["encoder"] = line if options.line_pitch_mm else 0
        records["integration_ns"] = min(round(options.line_period_us * 1e3), 0xFFFF_FFFF)
        records["flags"] = flags & LineFlag.WIRE
        lines = Lines(first, self._geometry.crc, stamp.mono_ns, records, samples)
        pitch_mm = options.line_pitch_mm
        x_m = None if not pitch_mm else line.astype(np.float64) * (pitch_mm / 1e3)
        wire = self._wire(scan, lines)
        return LineBlock(stamp, scan.key, first, samples, t_ns, x_m, None, flags, wire)

    def _lost(self, scan: _Scan, first: int, count: int, stamp: Stamp) -> LinesLost:
        scan.lost += count
        wire = self._wire(scan, Gap(first, count, GapReason.NO_LONGER_HELD))
        return LinesLost(stamp, scan.key, first, count, "packets_lost", wire)

    def _wire(self, scan: _Scan, message: Message) -> bytes:
        """Return a message of the raw file, which is a journal of linestream whatever the scanner speaks."""
        scan.messages += 1
        return encode(message, seq=scan.messages + 1, scan_id=scan.key.scan_id)


def _spans(present: NDArray[np.bool_]) -> Iterator[tuple[int, int, bool]]:
    """Return runs of equal values: first, behind the last, value."""
    edges = [0, *(np.flatnonzero(np.diff(present)) + 1), len(present)]
    for first, after in pairwise(edges):
        yield int(first), int(after), bool(present[first])


def _source(stamp: Stamp, *, on: bool) -> SourceStatus:
    """Return what is taken of the source: on while lines come. No camera knows more of it."""
    return SourceStatus(
        stamp=stamp,
        beam_on=on,
        shutter_open=on,
        shutter_closed=not on,
        interlock_ok=False,
        emergency_stop=False,
        detector_ok=True,
        faults=0,
    )
