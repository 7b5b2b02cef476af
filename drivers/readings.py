"""What devices say, as frozen values in SI units: the words shared by every driver and the lane.

A reading does not know its device's name: the supervisor, which owns the link, adds it.
``raw`` of a portal's reading is its line in the portal's daily file: the line that the device sent, or of one
that is polled the fields of its table in their order, between commas; empty where another reading of the same
poll has it.
Arrays inside readings are read-only by agreement; nobody writes into a reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Stamp:
    """When the bytes were read: UTC as evidence, monotonic time for every duration."""

    utc_ns: int
    mono_ns: int
    boot_id: str

    def plus(self, delta_s: float) -> Stamp:
        """Return this stamp moved by ``delta_s`` seconds (negative: earlier)."""
        delta_ns = round(delta_s * 1e9)
        return Stamp(self.utc_ns + delta_ns, self.mono_ns + delta_ns, self.boot_id)


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """Who the device says it is; empty where its protocol cannot tell."""

    make: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class BadFrame:
    """Bytes that are no record: a value, not an exception.

    ``kind`` is a short code (``bad_checksum``, ``too_long``, ``not_ascii`` …), ``offset`` the place
    of its first byte in the stream since the link opened, ``head`` at most its first 64 bytes.
    """

    kind: str
    offset: int
    head: bytes


# --- portal monitor -----------------------------------------------------------------------------


class Channel(StrEnum):
    """A radiation channel of a portal."""

    GAMMA = "gamma"
    NEUTRON = "neutron"


class Phase(StrEnum):
    """Whether counts were taken with the portal vacant or occupied."""

    BACKGROUND = "background"
    SCAN = "scan"


class DeviceFlag(StrEnum):
    """What the device itself says about a record of counts."""

    NONE = "none"
    ALARM = "alarm"
    FAULT_HIGH = "fault_high"
    FAULT_LOW = "fault_low"


@dataclass(frozen=True, slots=True)
class Counts:
    """One record of counts per detector in one channel.

    ``counts`` has one entry per detector in the lane's ``detectors`` order; ``None`` where the device
    sent no number. ``interval_s`` is the counting time of one entry. ``stamp`` is the arrival, moved
    back by the cadence when several records came in one read (``stamp_interpolated``). ``interval_s`` is 0
    where nobody knows the counting time: such counts are kept and not judged.
    """

    stamp: Stamp
    channel: Channel
    phase: Phase
    interval_s: float
    counts: tuple[int | None, ...]
    flag: DeviceFlag = DeviceFlag.NONE
    t_device: str | None = None
    stamp_interpolated: bool = False
    raw: bytes = b""
    windows: tuple[int | None, int | None] | None = None
    """Counts of all detectors in two separate energy windows, low and high; ``None``: the device has none."""

    @property
    def partial(self) -> bool:
        """Whether at least one detector sent no number."""
        return None in self.counts

    @property
    def total(self) -> int | None:
        """Sum over all detectors, or ``None`` (never less) without any, or when one is missing."""
        present = [count for count in self.counts if count is not None]
        return sum(present) if present and len(present) == len(self.counts) else None


@dataclass(frozen=True, slots=True)
class Speed:
    """Vehicle speed as the portal measures it, in m/s."""

    stamp: Stamp
    speed_mps: float
    inconsistent: bool = False
    """The device's own units disagree by more than 2 %."""
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Tamper:
    """The device's tamper contact opened (``open``) or closed again."""

    stamp: Stamp
    open: bool
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class PortalSetup:
    """One set-up record of a portal; ``values`` keeps numbers as floats and words as text.

    ``setup_hash`` is the SHA-256 (hex) over the last known text of all set-up records.
    Well-known keys: ``intervals``, ``occupancy_holdin``, ``nsigma``, ``gamma_high_fault_cps`` …
    """

    stamp: Stamp
    part: str
    values: Mapping[str, float | str]
    setup_hash: str
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class OccupancyEnd:
    """The device's own end-of-occupancy marker, with its occupancy counter."""

    stamp: Stamp
    device_count: int
    neutron_background: float | None = None
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class PortalStatus:
    """Levels of a polled portal; ``None``: unfitted. With a ``warning`` it measures, with a ``fault`` not."""

    stamp: Stamp
    occupied: bool | None = None
    gamma_alarm: bool | None = None
    neutron_alarm: bool | None = None
    fault: bool | None = None
    warning: bool | None = None
    tamper: bool | None = None
    occupancy_count: int | None = None
    """A running number of 16 bits."""
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class PortalReport:
    """A passage as a portal told it afterwards, in one document, ``body`` (``key``: its SHA-256 in hex).

    ``span`` is the passage in UTC nanoseconds of the portal's own clock, as are the stamps of ``counts``
    (each the end of its interval) and ``speeds``. ``alarms`` are those of a channel, in the portal's words;
    ``item`` is what it knew of the vehicle. A document that cannot be used is ``refused`` in a sentence, and
    says no more.
    """

    stamp: Stamp
    key: str
    name: str
    body: bytes = field(default=b"", repr=False)
    refused: str = ""
    span: tuple[int, int] | None = None
    detectors: Mapping[Channel, tuple[str, ...]] = field(default_factory=dict)
    counts: tuple[Counts, ...] = ()
    speeds: tuple[Speed, ...] = ()
    alarms: Mapping[Channel, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    tamper: bool = False
    item: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnknownRecord:
    """A well-formed record with a tag that the codec does not know: counted and kept."""

    stamp: Stamp
    tag: str
    raw: bytes = b""


# --- line scanner -------------------------------------------------------------------------------


class ScanKind(StrEnum):
    """What is scanned."""

    VEHICLE = "vehicle"
    DARK = "dark"
    AIR = "air"
    TEST_OBJECT = "test_object"
    FREE = "free"


@dataclass(frozen=True, slots=True)
class ScannerGeometry:
    """What a scanner declares of itself once per link; lengths in metres.

    ``reference_detectors`` are the rows above every vehicle, ``raw`` its bytes, ``crc`` their checksum.
    """

    detectors: int
    pitch_m: float
    bottom_m: float
    plane_distance_m: float
    detector_distance_m: float
    m_per_tick: float
    full_scale: int
    quantity: Literal["counts", "charge"]
    units_per_quantum: float
    read_noise: float
    reference_detectors: tuple[int, ...]
    source: str
    raw: bytes
    crc: int


@dataclass(frozen=True, slots=True)
class ScanKey:
    """A scan for ever: the front end's boot and its number in that boot."""

    boot_id: int
    scan_id: int


@dataclass(frozen=True, slots=True)
class ScanOpened:
    """A scan began, or (``resent``) goes on after a broken link; ``wire`` is its message as it came."""

    stamp: Stamp
    key: ScanKey
    kind: ScanKind
    detectors: int
    channels: int
    line_period_s: float
    full_scale: int
    encoder_triggered: bool
    resent: bool
    geometry: ScannerGeometry
    wire: bytes = b""
    invented: bool = False
    """The device itself says that these lines are simulated or a test."""
    directed: bool = True
    """Travel grows forward along the vehicle; false where the device does not know the direction."""


@dataclass(frozen=True, slots=True)
class LineBlock:
    """Consecutive lines of one scan.

    ``samples``: uint16, shape (lines, channels, detectors), C-contiguous, row 0 = highest detector.
    ``t_ns``: int64 (lines,), device monotonic. ``x_m``: float64 (lines,) travel since the scan began, or
    ``None`` without an encoder. ``monitor``: uint32 (lines,) or ``None``. ``flags``: uint16 (lines,),
    the wire's own bits.
    """

    stamp: Stamp
    key: ScanKey
    first_line: int
    samples: NDArray[np.uint16]
    t_ns: NDArray[np.int64]
    x_m: NDArray[np.float64] | None
    monitor: NDArray[np.uint32] | None
    flags: NDArray[np.uint16]
    wire: bytes = b""

    @property
    def next_line(self) -> int:
        """Number of the line after this block."""
        return self.first_line + int(self.samples.shape[0])


@dataclass(frozen=True, slots=True)
class LinesLost:
    """Lines that will never come: declared by the device, or found missing by the codec."""

    stamp: Stamp
    key: ScanKey
    first_line: int
    count: int
    cause: str
    wire: bytes = b""


@dataclass(frozen=True, slots=True)
class ScanClosed:
    """A scan ended.

    ``aborted`` names the cause when it is not whole: it did not end by itself, or its device contradicts
    itself (``samples_crc``, ``wrong_total``) or saw the vehicle without a beam (``beam_off``).

    ``samples_crc`` is the device's checksum, compared with the samples that came; ``None`` where it could
    not be, because lines are lost or no end came.
    """

    stamp: Stamp
    key: ScanKey
    lines_total: int
    lines_lost: int
    samples_crc: int | None
    aborted: str | None = None
    wire: bytes = b""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """State of the radiation source and its interlocks, read only."""

    stamp: Stamp
    beam_on: bool
    shutter_open: bool
    shutter_closed: bool
    interlock_ok: bool
    emergency_stop: bool
    detector_ok: bool
    faults: int


# --- camera -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG as the camera sent it, byte for byte; ``role`` is ``scene`` or ``plate``."""

    role: str
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CameraRead:
    """One event of a reading camera.

    ``text`` is empty when the camera saw a vehicle but read nothing. ``confidence`` is 0 to 1 or ``None``
    (unknown). ``camera_time`` is the camera's own text and never used for order. ``late`` marks a
    retransmission. ``body`` is the whole event as received.
    """

    stamp: Stamp
    kind: Literal["plate", "container"]
    text: str
    region: str
    confidence: float | None
    event_id: str
    camera_time: str
    late: bool
    pictures: tuple[Picture, ...]
    body: bytes = field(default=b"", repr=False)


# --- digital I/O --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inputs:
    """All mapped inputs of an I/O board as one fresh poll read them; true: what its name says is so.

    A contact of a portal has the portal's name before its own: ``rpm1.alarm_gamma``.
    """

    stamp: Stamp
    values: Mapping[str, bool]


PortalReading = (
    Counts | Speed | Tamper | PortalSetup | OccupancyEnd | PortalStatus | PortalReport | UnknownRecord
)
ScannerReading = ScanOpened | LineBlock | LinesLost | ScanClosed | SourceStatus
Reading = PortalReading | ScannerReading | CameraRead | Inputs
