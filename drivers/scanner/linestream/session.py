"""The station's side of linestream v1 without I/O: frames in, readings out, across broken links.

What the device says is checked against what it said before: every line is passed on once, in order; what
is missing is said to be lost; what comes twice is dropped, and reported where it differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

from drivers.formats.linestream.codes import (
    AbortReason,
    EndReason,
    ErrorCode,
    GapReason,
    HeaderFlag,
    SourceState,
)
from drivers.formats.linestream.describe import parse
from drivers.formats.linestream.frames import HEAD_BYTES, VERSION, Frame, encode
from drivers.formats.linestream.messages import (
    MAX_PAYLOAD,
    Attach,
    Describe,
    Gap,
    Hello,
    Lines,
    ScanAbort,
    ScanBegin,
    ScanEnd,
    Status,
)
from drivers.readings import (
    BadFrame,
    DeviceIdentity,
    ScanKey,
    ScanKind,
    ScannerGeometry,
    ScannerReading,
    ScanOpened,
    SourceStatus,
    Stamp,
)
from drivers.scanner.linestream.scan import Scan

MAX_LINES = 2_000_000
MAX_SCAN_S = 2 * 3600
MAX_LINES_PER_S = 20_000
KINDS = {
    1: ScanKind.VEHICLE,
    2: ScanKind.DARK,
    3: ScanKind.AIR,
    4: ScanKind.TEST_OBJECT,
    5: ScanKind.FREE,
}
ENCODER_TRIGGER = 2
PRIMARY = 1
UINT16 = 1


class Refusal(Exception):
    """The device breaks the protocol in a way that ends the link; ``code`` is what it is told."""

    def __init__(self, code: ErrorCode, sentence: str) -> None:
        """Keep the code beside the sentence."""
        super().__init__(sentence)
        self.code = code


class StationSession:
    """Remembers the last scan of one device, so that a new link goes on where the old one broke."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.boot_id = 0
        self.geometry: ScannerGeometry | None = None
        self._scan: Scan | None = None
        self._waiting: list[ScannerReading] = []

    # --- opening a link -------------------------------------------------------------------------

    def greet(self, hello: Hello, stamp: Stamp) -> Attach:
        """Answer HELLO: take up the last scan, or the one that is open there, from its first line.

        Raises ``Refusal`` when no version is common.
        """
        if not hello.min_version <= VERSION <= hello.max_version:
            raise Refusal(
                ErrorCode.VERSION,
                f"it speaks linestream {hello.min_version} to {hello.max_version}, this station speaks "
                f"{VERSION}: update the older of the two",
            )
        scan = self._scan
        if scan is not None and scan.key.boot_id != hello.boot_id:
            if not scan.closed:
                self._waiting.append(scan.close(stamp, aborted="device_restarted"))
            scan = self._scan = None
        self.boot_id = hello.boot_id
        self.geometry = None
        scan_id, line = (scan.key.scan_id, scan.durable) if scan else (hello.open_scan, 0)
        return Attach(VERSION, PRIMARY, MAX_PAYLOAD, hello.boot_id, scan_id, line, stamp.mono_ns)

    def describe(self, message: Describe) -> DeviceIdentity:
        """Take the device's description; ``Refusal`` when it cannot be used."""
        try:
            identity, geometry = parse(message.text)
        except ValueError as error:
            raise Refusal(ErrorCode.GEOMETRY, str(error)) from error
        if self.geometry is not None and geometry.crc != self.geometry.crc and self._open() is not None:
            raise Refusal(ErrorCode.GEOMETRY, "it changed its geometry inside a scan")
        self.geometry = geometry
        return identity

    def waiting(self) -> list[ScannerReading]:
        """Return, once, what opening the link has brought to an end."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def durable(self, key: ScanKey, next_line: int) -> None:
        """Remember from which line to resume."""
        scan = self._scan
        if scan is not None and scan.key == key:
            scan.durable = max(scan.durable, min(next_line, scan.next_line))

    def resumes(self) -> str:
        """Say in words where the next link goes on."""
        scan = self._open()
        return f"scan {scan.key.scan_id} resumes at line {scan.durable}" if scan else "no scan is open"

    # --- the live link --------------------------------------------------------------------------

    def take(self, frame: Frame, stamp: Stamp) -> Iterator[ScannerReading | BadFrame]:
        """Yield what one frame means; raises ``Refusal``, after what the frame still meant."""
        match frame.message:
            case Lines() as lines:
                yield from self._lines(frame, lines, stamp)
            case Status() as status:
                yield _source_status(status, stamp)
            case ScanBegin() as begin:
                yield from self._begin(frame, begin, stamp)
            case Gap() as gap:
                yield from self._gap(frame, gap, stamp)
            case ScanEnd() as end:
                yield from self._end(frame, end, stamp)
            case ScanAbort() as abort:
                scan = self._open()
                if scan is not None and scan.key.scan_id == frame.scan_id:
                    yield scan.close(stamp, aborted=_name(AbortReason, abort.reason), wire=frame.wire)
            case Describe() as description:
                self.describe(description)
            case other:
                raise Refusal(ErrorCode.MALFORMED, f"{type(other).__name__} has no place on a live link")

    def _open(self) -> Scan | None:
        return self._scan if self._scan is not None and not self._scan.closed else None

    def _begin(self, frame: Frame, begin: ScanBegin, stamp: Stamp) -> Iterator[ScannerReading]:
        geometry = self.geometry
        if geometry is None or (begin.geometry_crc, begin.detectors) != (geometry.crc, geometry.detectors):
            raise Refusal(ErrorCode.GEOMETRY, f"scan {frame.scan_id} has another geometry than DESCRIBE")
        _refuse_unreadable(begin)
        key = ScanKey(self.boot_id, frame.scan_id)
        last, scan = self._scan, self._open()
        if last is None or last.key != key:
            newest = last.key.scan_id if last else 0
            if frame.scan_id <= newest:
                raise Refusal(
                    ErrorCode.SEQUENCE, f"scan {frame.scan_id} after scan {newest}: numbers only grow"
                )
            if scan is not None:
                yield scan.close(stamp, aborted="superseded")
            scan = self._scan = Scan(key, begin, geometry.m_per_tick)
        if scan is None:
            return  # a closed scan is sent again: nothing of it is new
        yield ScanOpened(
            stamp=stamp,
            key=key,
            kind=KINDS[begin.kind],
            detectors=begin.detectors,
            channels=begin.channels,
            line_period_s=begin.line_period_ns / 1e9,
            full_scale=begin.full_scale,
            encoder_triggered=begin.trigger == ENCODER_TRIGGER,
            resent=bool(frame.flags & HeaderFlag.RESENT),
            invented=bool(frame.flags & (HeaderFlag.SIMULATED | HeaderFlag.TEST)),
            geometry=geometry,
            wire=frame.wire,
            directed=begin.direction != 0,
        )

    def _current(self, frame: Frame) -> Scan | None:
        """Return the open scan that a frame belongs to, or nothing where a closed one is sent again."""
        scan = self._scan
        if scan is None or frame.scan_id != scan.key.scan_id:
            what = type(frame.message).__name__
            raise Refusal(ErrorCode.SEQUENCE, f"{what} of scan {frame.scan_id}, which did not begin")
        return None if scan.closed else scan

    def _lines(self, frame: Frame, lines: Lines, stamp: Stamp) -> Iterator[ScannerReading | BadFrame]:
        scan = self._current(frame)
        if scan is None:
            return
        begin = scan.begin
        form = (*lines.samples.shape[1:], lines.sample_format, lines.geometry_crc)
        if form != (begin.channels, begin.detectors, begin.sample_format, begin.geometry_crc):
            raise Refusal(ErrorCode.MALFORMED, f"lines of another form than scan {frame.scan_id} began with")
        elapsed_s = (int(lines.records["t_ns"][-1]) - begin.start_ns) / 1e9
        yield from self._limit(scan, lines.next_line, stamp, elapsed_s)
        wire = frame.wire
        if lines.first_line < scan.next_line:
            if scan.conflicts(lines):
                yield BadFrame("conflict", frame.offset, wire[:HEAD_BYTES])
            if lines.next_line <= scan.next_line:
                return
            lines = lines.tail(scan.next_line)
            wire = encode(lines, seq=frame.seq, scan_id=frame.scan_id, flags=frame.flags)
        yield from scan.skip_to(lines.first_line, "undeclared_gap", stamp)
        yield scan.block(lines, wire, stamp)

    def _gap(self, frame: Frame, gap: Gap, stamp: Stamp) -> Iterator[ScannerReading]:
        scan = self._current(frame)
        if scan is None:
            return
        end = gap.first_line + gap.count
        yield from self._limit(scan, end, stamp)
        yield from scan.skip_to(gap.first_line, "undeclared_gap", stamp)
        left = Gap(scan.next_line, max(0, end - scan.next_line), gap.reason)
        wire = encode(left, seq=frame.seq, scan_id=frame.scan_id, flags=frame.flags)
        yield from scan.skip_to(end, _name(GapReason, gap.reason), stamp, wire)

    def _end(self, frame: Frame, end: ScanEnd, stamp: Stamp) -> Iterator[ScannerReading | BadFrame]:
        scan = self._current(frame)
        if scan is None:
            return
        yield from self._limit(scan, end.lines_total, stamp)
        yield from scan.skip_to(end.lines_total, "undeclared_gap", stamp)
        cause = None if end.reason == EndReason.NORMAL else _name(EndReason, end.reason)
        if end.lines_total < scan.next_line or end.lines_lost > scan.lost:
            yield BadFrame("wrong_total", frame.offset, frame.wire[:HEAD_BYTES])
            cause = cause or "wrong_total"
        closed = scan.close(stamp, aborted=cause, samples_crc=end.samples_crc, wire=frame.wire)
        if closed.aborted == "samples_crc":
            yield BadFrame("samples_crc", frame.offset, frame.wire[:HEAD_BYTES])
        yield closed

    def _limit(
        self, scan: Scan, lines: int, stamp: Stamp, elapsed_s: float = 0.0
    ) -> Iterator[ScannerReading]:
        """End a scan that is longer or faster than a lane can hold; a second's burst is allowed."""
        too_fast = elapsed_s > 0 and lines > MAX_LINES_PER_S * (elapsed_s + 1)
        if lines <= MAX_LINES and elapsed_s <= MAX_SCAN_S and not too_fast:
            return
        yield scan.close(stamp, aborted="limit")
        raise Refusal(
            ErrorCode.LIMIT,
            f"scan {scan.key.scan_id} has {lines} lines after {elapsed_s:.1f} s: at most {MAX_LINES} lines, "
            f"{MAX_LINES_PER_S} a second and {MAX_SCAN_S} s can be taken",
        )


def _refuse_unreadable(begin: ScanBegin) -> None:
    """Refuse what cannot become readings, before its lines come."""
    if begin.kind not in KINDS:
        raise Refusal(ErrorCode.MALFORMED, f"scan of kind {begin.kind}, 1 to {len(KINDS)} expected")
    if begin.channels not in (1, 2):
        raise Refusal(ErrorCode.MALFORMED, f"scan of {begin.channels} channels, 1 or 2 expected")
    if begin.sample_format != UINT16:
        raise Refusal(
            ErrorCode.MALFORMED,
            f"samples of format {begin.sample_format} cannot be read, only 1 (16 bit): "
            "set the scanner to 16-bit samples",
        )
    if begin.line_period_ns * MAX_LINES_PER_S < 1_000_000_000:
        raise Refusal(ErrorCode.LIMIT, f"a line every {begin.line_period_ns} ns, at least 50,000 ns expected")


def _name(codes: type[IntEnum], code: int) -> str:
    """Return the word for a code of the wire, or its number where a later version has a new one."""
    return codes(code).name.lower() if code in set(codes) else f"code_{code}"


def _source_status(status: Status, stamp: Stamp) -> SourceStatus:
    state = SourceState(status.state)
    return SourceStatus(
        stamp=stamp,
        beam_on=SourceState.BEAM_ON in state,
        shutter_open=SourceState.SHUTTER_OPEN in state,
        shutter_closed=SourceState.SHUTTER_CLOSED in state,
        interlock_ok=SourceState.INTERLOCK_OK in state,
        emergency_stop=SourceState.EMERGENCY_STOP in state,
        detector_ok=SourceState.DETECTOR_OK in state,
        faults=status.faults,
    )
