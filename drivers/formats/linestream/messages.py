"""The messages of linestream v1: one frozen dataclass each, and its bytes.

All integers are little-endian. A message class knows its ``TYPE``, its payload and nothing of frames.
``unpack`` takes a payload whose checksum held and raises ``ValueError`` when it cannot be this message;
fixed payloads may have grown at the end (a later minor version), so extra bytes are ignored there.
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass, field
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

MAX_PAYLOAD = 4_194_304
MAX_JSON = 1_048_576
MAX_TEXT = 256
MAX_LINES_PER_MESSAGE = 256
MAX_DETECTORS = 8_192

LINE_RECORD = np.dtype(
    [
        ("t_ns", "<u8"),
        ("encoder", "<i8"),
        ("integration_ns", "<u4"),
        ("monitor", "<u4", (2,)),
        ("pulses", "<u2"),
        ("flags", "<u2"),
    ]
)
"""The 32 bytes that describe one line."""

SAMPLE_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<u2"), 2: np.dtype("<u4")}
"""Sample formats of the wire."""


@dataclass(frozen=True, slots=True)
class _Fixed:
    """Fields declared in the order of the wire; with ``TEXT`` the last one is UTF-8 up to the end."""

    TYPE: ClassVar[int]
    LAYOUT: ClassVar[struct.Struct]
    TEXT: ClassVar[bool] = False

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        size, spare = cls.LAYOUT.size, len(payload) - cls.LAYOUT.size
        if spare < 0 or (cls.TEXT and spare > MAX_TEXT):
            raise ValueError(f"{cls.__name__} of {len(payload)} bytes, {size} expected")
        text = (payload[size:].decode("utf-8", "replace"),) if cls.TEXT else ()
        make: Any = cls  # its fields are the subclass's
        return cast("Self", make(*cls.LAYOUT.unpack_from(payload), *text))

    def pack(self) -> bytes:
        fields = astuple(self)
        if not self.TEXT:
            return self.LAYOUT.pack(*fields)
        text = fields[-1].encode("utf-8", "replace")[:MAX_TEXT].decode("utf-8", "ignore").encode()
        fixed = self.LAYOUT.pack(*fields[:-1])
        return fixed + bytes(text)


@dataclass(frozen=True, slots=True)
class _Json:
    """JSON kept as its bytes: what it says is read by who needs it (``describe``)."""

    TYPE: ClassVar[int]
    text: bytes

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        if len(payload) > MAX_JSON:
            raise ValueError(f"{cls.__name__} of {len(payload)} bytes, at most {MAX_JSON} expected")
        return cls(payload)

    def pack(self) -> bytes:
        return self.text


@dataclass(frozen=True, slots=True)
class Hello(_Fixed):
    """Device: who I am and what I hold."""

    TYPE: ClassVar[int] = 0x01
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<HHIQQqIIQQQ")
    min_version: int
    max_version: int
    max_payload: int
    boot_id: int
    device_ns: int
    utc_ns: int
    ring_lines: int
    capabilities: int
    open_scan: int
    oldest_line: int
    next_line: int


@dataclass(frozen=True, slots=True)
class Attach(_Fixed):
    """Station: what I want, and from which line."""

    TYPE: ClassVar[int] = 0x02
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<HHIQQQQI4x")
    version: int
    role: int
    max_payload: int
    expected_boot: int
    resume_scan: int
    resume_line: int
    station_ns: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class ScanBegin(_Fixed):
    """Device: a scan begins, or goes on (header flag RESENT)."""

    TYPE: ClassVar[int] = 0x10
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<BBBBHBBQqB3xIIIII16s")
    kind: int
    direction: int
    mode: int
    channels: int
    detectors: int
    sample_format: int
    trigger: int
    start_ns: int
    start_utc: int
    clock: int
    geometry_crc: int
    line_period_ns: int
    full_scale: int
    kev_0: int
    kev_1: int
    trigger_uuid: bytes = bytes(16)


@dataclass(frozen=True, slots=True)
class Gap(_Fixed):
    """Device: these lines will never come."""

    TYPE: ClassVar[int] = 0x12
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<QQB7x")
    first_line: int
    count: int
    reason: int


@dataclass(frozen=True, slots=True)
class ScanEnd(_Fixed):
    """Device: the scan is complete; ``samples_crc`` covers all lines that were digitised."""

    TYPE: ClassVar[int] = 0x13
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<QQQqIIB15x")
    lines_total: int
    lines_lost: int
    end_ns: int
    encoder: int
    samples_crc: int
    beam_on_ms: int
    reason: int


@dataclass(frozen=True, slots=True)
class ScanAbort(_Fixed):
    """Device: the scan ended before its time, or (reason 7) is not held."""

    TYPE: ClassVar[int] = 0x14
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<QB7x")
    TEXT: ClassVar[bool] = True
    lines_sent: int
    reason: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Status(_Fixed):
    """Device: source, interlocks and ring, once a second and on any change."""

    TYPE: ClassVar[int] = 0x20
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<QqIIIIiiIIII4xB3x")
    device_ns: int
    utc_ns: int
    state: int
    faults: int
    held_lines: int
    ring_lines: int
    detector_mdegc: int
    enclosure_mdegc: int
    rate_mhz: int
    dropped: int
    monitor_0: int
    monitor_1: int
    clock: int


@dataclass(frozen=True, slots=True)
class Ping(_Fixed):
    """Station: clock question; ``t1`` is the station's sending time."""

    TYPE: ClassVar[int] = 0x21
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<QQQ")
    t1: int
    t2: int = 0
    t3: int = 0


@dataclass(frozen=True, slots=True)
class Pong(_Fixed):
    """Device: the answer; ``t2`` received, ``t3`` sent, in the device's time."""

    TYPE: ClassVar[int] = 0x22
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<QQQ")
    t1: int
    t2: int
    t3: int


@dataclass(frozen=True, slots=True)
class Ack(_Fixed):
    """Station: all lines before ``next_line`` are durable (``flags`` 1: the END too)."""

    TYPE: ClassVar[int] = 0x30
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<QI4x")
    next_line: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Error(_Fixed):
    """Either side: what went wrong; the sender then closes."""

    TYPE: ClassVar[int] = 0x7E
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<HHI")
    TEXT: ClassVar[bool] = True
    code: int
    about_type: int
    about_seq: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Bye(_Fixed):
    """Either side: orderly close."""

    TYPE: ClassVar[int] = 0x7F
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<")


@dataclass(frozen=True, slots=True)
class Describe(_Json):
    """Device: its geometry, as sent, because the CRC32C of these bytes names it."""

    TYPE: ClassVar[int] = 0x03


@dataclass(frozen=True, slots=True)
class JournalHead(_Json):
    """First message of an acquisition journal (inspection, device, boot, UTC); never on a wire."""

    TYPE: ClassVar[int] = 0x70


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Device: consecutive lines.

    ``records``: ``LINE_RECORD`` of shape (lines,). ``samples``: uint16 or uint32 of shape
    (lines, channels, detectors), C-contiguous; after ``unpack`` a read-only view of the payload.
    """

    TYPE: ClassVar[int] = 0x11
    BLOCK: ClassVar[struct.Struct] = struct.Struct("<QHHBBHI4xQ")
    first_line: int
    geometry_crc: int
    sent_ns: int
    records: NDArray[np.void] = field(repr=False)
    samples: NDArray[np.uint16] | NDArray[np.uint32] = field(repr=False)

    @property
    def next_line(self) -> int:
        """Number of the line after this block."""
        return self.first_line + len(self.records)

    @property
    def sample_format(self) -> int:
        """Code of the sample type: 1 = uint16, 2 = uint32."""
        return 1 if self.samples.dtype.itemsize == 2 else 2

    def tail(self, first_line: int) -> Lines:
        """Return the part from ``first_line`` on."""
        skip = first_line - self.first_line
        return Lines(first_line, self.geometry_crc, self.sent_ns, self.records[skip:], self.samples[skip:])

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """Read a block whose size must match its header exactly."""
        if len(payload) < cls.BLOCK.size:
            raise ValueError(f"{len(payload)} bytes, at least {cls.BLOCK.size} expected")
        first, n, detectors, channels, code, record_bytes, crc, sent_ns = cls.BLOCK.unpack_from(payload)
        dtype = SAMPLE_DTYPES.get(code)
        if dtype is None or record_bytes != LINE_RECORD.itemsize or channels not in (1, 2):
            raise ValueError(f"sample format {code}, {record_bytes} bytes a record, {channels} channels")
        if not (1 <= n <= MAX_LINES_PER_MESSAGE and 1 <= detectors <= MAX_DETECTORS):
            raise ValueError(f"{n} lines of {detectors} detectors")
        samples_at = cls.BLOCK.size + n * LINE_RECORD.itemsize
        expected = samples_at + n * channels * detectors * dtype.itemsize
        if len(payload) != expected:
            raise ValueError(f"{len(payload)} bytes, {expected} expected for {n} lines")
        records = np.frombuffer(payload, LINE_RECORD, n, cls.BLOCK.size)
        samples = np.frombuffer(payload, dtype, offset=samples_at).reshape(n, channels, detectors)
        return cls(first, crc, sent_ns, records, samples)

    def pack(self) -> bytes:
        """Return block header, records and samples."""
        n, channels, detectors = self.samples.shape
        head = self.BLOCK.pack(
            self.first_line, n, detectors, channels, self.sample_format, LINE_RECORD.itemsize,
            self.geometry_crc, self.sent_ns,
        )  # fmt: skip
        return b"".join((head, self.records.tobytes(), self.samples.tobytes()))


Message = (
    Hello | Attach | Describe | ScanBegin | Lines | Gap | ScanEnd | ScanAbort | Status | Ping | Pong | Ack
    | Error | Bye | JournalHead
)  # fmt: skip

MESSAGES: dict[int, type[Message]] = {
    kind.TYPE: kind
    for kind in (
        Hello, Attach, Describe, ScanBegin, Lines, Gap, ScanEnd, ScanAbort, Status, Ping, Pong, Ack,
        Error, Bye, JournalHead,
    )
}  # fmt: skip
