"""The device's side of linestream v1 without I/O: a ring that the detector fills and one station reads.

The detector never waits: the station's place in the ring is a cursor, and what is overwritten before it is
sent becomes a GAP. Live lines, a slow station and a resumed scan are the same walk through the ring.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from drivers.formats.linestream.codes import AbortReason, Capability, ErrorCode, GapReason, HeaderFlag
from drivers.formats.linestream.frames import VERSION, Frame, FrameReader, encode
from drivers.formats.linestream.messages import (
    MAX_PAYLOAD,
    Ack,
    Attach,
    Bye,
    Describe,
    Error,
    Gap,
    Hello,
    Lines,
    Message,
    Ping,
    Pong,
    ScanAbort,
    ScanBegin,
    ScanEnd,
    Status,
)
from drivers.readings import BadFrame
from drivers.scanner.linestream.sim.faults import Misbehaviour
from drivers.scanner.linestream.sim.ring import HeldScan, Ring, first_after

PRIMARY = 1
MAX_REPLIES = 64
UNLIMITED = 1 << 62


@dataclass(slots=True)
class _Station:
    """One link to a station and its place in the ring."""

    reader: FrameReader = field(default_factory=FrameReader)
    replies: deque[tuple[Message, int]] = field(default_factory=lambda: deque(maxlen=MAX_REPLIES))
    """What goes out before any line, each with its scan number."""
    seq: int = 0
    attached: bool = False
    closing: bool = False
    scan_id: int = 0
    """The scan that is being sent (``sending``), or the last one that was sent."""
    sending: bool = False
    announced: bool = False
    line: int = 0


class FrontEnd:
    """One boot of the device."""

    def __init__(self, boot_id: int, description: bytes, ring_lines: int, faults: Misbehaviour) -> None:
        """Hold nothing, without a station."""
        self.boot_id = boot_id
        self.ring = Ring(ring_lines)
        self.open_scan: HeldScan | None = None
        self.acked: tuple[int, int] = (0, 0)
        """Scan and line of the last ACK."""
        self._description = description
        self._faults = faults
        self._last_id = 0
        self._station: _Station | None = None

    # --- the detector's side --------------------------------------------------------------------

    def begin(self, begin: ScanBegin) -> None:
        """Open a scan under the next number."""
        self._last_id += 1
        self.open_scan = HeldScan(self._last_id, begin)
        self.ring.open(self.open_scan)

    def add(self, item: Lines | Gap) -> None:
        """Append lines or a declared gap to the open scan."""
        if self.open_scan is not None:
            self.ring.add(self.open_scan, item)

    def end(self, end: ScanEnd | ScanAbort) -> None:
        """Close the open scan."""
        if self.open_scan is not None:
            self.open_scan.end = end
            self.open_scan = None

    def report(self, status: Status) -> None:
        """Send STATUS, if a station is attached."""
        if self._station is not None and self._station.attached:
            self._station.replies.append((status, 0))

    # --- the station's side ---------------------------------------------------------------------

    @property
    def attached(self) -> bool:
        """Whether a station has attached on the present link."""
        return self._station is not None and self._station.attached

    @property
    def closing(self) -> bool:
        """Whether the link is to be closed once everything is sent."""
        return self._station is not None and self._station.closing

    def connect(self, device_ns: int, utc_ns: int) -> None:
        """Begin a link, in place of the one before: say HELLO."""
        self._station = _Station()
        scan = self.open_scan
        version = 2 if "version_2" in self._faults.on else VERSION
        hello = Hello(
            min_version=version,
            max_version=version,
            max_payload=MAX_PAYLOAD,
            boot_id=self.boot_id,
            device_ns=device_ns,
            utc_ns=utc_ns,
            ring_lines=self.ring.capacity_lines,
            capabilities=Capability.RESUME | Capability.ENCODER | Capability.MONITOR,
            open_scan=scan.scan_id if scan else 0,
            oldest_line=scan.oldest_line if scan else 0,
            next_line=scan.next_line if scan else 0,
        )
        self._station.replies.append((hello, 0))

    def disconnect(self) -> None:
        """Forget the link; scans stay."""
        self._station = None

    def receive(self, data: bytes, device_ns: int) -> None:
        """Take the station's bytes; the answers come with ``pull``."""
        station = self._station
        if station is None or station.closing:
            return
        for item in station.reader.feed(data):
            if isinstance(item, BadFrame):
                self._refuse(station, ErrorCode.MALFORMED, 0, 0, item.kind)
                return
            self._take(station, item, device_ns)

    def pull(self, room: int = UNLIMITED) -> list[bytes]:
        """Return the frames that go out next, until about ``room`` bytes are used."""
        sent: list[bytes] = []
        while room > 0 and self._station is not None and (frames := self._next(self._station)):
            sent += frames
            room -= sum(len(frame) for frame in frames)
        return sent

    def _take(self, station: _Station, frame: Frame, device_ns: int) -> None:
        match frame.message:
            case Attach() as attach if not station.attached:
                self._attach(station, attach, frame.seq)
            case Ack(next_line=line):
                self.acked = (frame.scan_id, line)
            case Ping(t1=t1):
                station.replies.append((Pong(t1, device_ns, device_ns), 0))
            case Bye() | Error():
                station.closing = True
            case other:
                self._refuse(station, ErrorCode.MALFORMED, other.TYPE, frame.seq, "has no place here")

    def _refuse(self, station: _Station, code: ErrorCode, about: int, seq: int, text: str) -> None:
        station.replies.append((Error(code, about, seq, text), 0))
        station.closing = True

    def _attach(self, station: _Station, attach: Attach, seq: int) -> None:
        if attach.version != VERSION:
            self._refuse(station, ErrorCode.VERSION, attach.TYPE, seq, f"only version {VERSION}")
            return
        if attach.role != PRIMARY:
            self._refuse(station, ErrorCode.BUSY, attach.TYPE, seq, "observers are not served")
            return
        if "no_describe" in self._faults.on:
            return
        station.attached = True
        bad = "bad_describe" in self._faults.on
        station.replies.append((Describe(b'{"v": NaN}' if bad else self._description), 0))
        wanted = attach.resume_scan if attach.expected_boot in (0, self.boot_id) else 0
        held = self.ring.get(wanted)
        if held is not None:
            station.scan_id, station.sending = wanted, True
            station.line = min(attach.resume_line, held.next_line)
        elif wanted:
            station.scan_id = wanted
            abort = ScanAbort(0, AbortReason.NOT_HELD, "this scan is not held any more")
            station.replies.append((abort, wanted))
        elif self.open_scan is not None:
            station.scan_id, station.sending = self.open_scan.scan_id, True
            station.line = self.open_scan.next_line
        else:
            station.scan_id = self._last_id

    # --- the walk through the ring --------------------------------------------------------------

    def _next(self, station: _Station) -> list[bytes]:
        if station.replies:
            message, scan_id = station.replies.popleft()
            return [self._encode(station, message, scan_id)]
        return self._walk(station) if station.attached and not station.closing else []

    def _walk(self, station: _Station) -> list[bytes]:
        if not station.sending:
            later = self.ring.after(station.scan_id)
            if later is None:
                return []
            station.scan_id, station.sending, station.announced, station.line = later.scan_id, True, False, 0
        scan = self.ring.get(station.scan_id)
        if scan is None:
            station.sending = False
            return [self._encode(station, ScanAbort(station.line, AbortReason.NOT_HELD), station.scan_id)]
        if not station.announced:
            again, scan.announced, station.announced = scan.announced, True, True
            return [self._encode(station, scan.begin, scan.scan_id, resent=again)]
        if station.line < scan.oldest_line:
            gap = Gap(station.line, scan.oldest_line - station.line, GapReason.RING_OVERFLOW)
            station.line = scan.oldest_line
            return [self._encode(station, gap, scan.scan_id)]
        item = scan.item_at(station.line)
        return self._lines(station, scan, item) if item is not None else self._end(station, scan)

    def _lines(self, station: _Station, scan: HeldScan, item: Lines | Gap) -> list[bytes]:
        again = station.line < scan.sent
        station.line = first_after(item)
        scan.sent = max(scan.sent, station.line)

        def send(message: Message) -> bytes:
            return self._encode(station, message, scan.scan_id, resent=again)

        return self._faults.spoil(item, send) if isinstance(item, Lines) else [send(item)]

    def _end(self, station: _Station, scan: HeldScan) -> list[bytes]:
        if scan.end is None:
            if scan is self.open_scan:
                return []
            station.sending = False  # the fault "scan_without_end"
            return self._walk(station)
        station.sending = False
        again, scan.end_sent = scan.end_sent, True
        return [self._encode(station, scan.end, scan.scan_id, resent=again)]

    def _encode(self, station: _Station, message: Message, scan_id: int, *, resent: bool = False) -> bytes:
        flags = HeaderFlag.SIMULATED | (HeaderFlag.RESENT if resent else 0)
        station.seq += 1
        return encode(message, seq=station.seq - 1, scan_id=scan_id, flags=flags)
