"""What the lane wants done: values that ``Lane.accept`` returns and its host carries out.

The lane itself awaits nothing. Effects are carried out in order; work and appends report back through
``Lane.accept`` and ``Lane.stored``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drivers.api import PortalFacts
from drivers.readings import (
    CameraRead,
    Channel,
    LineBlock,
    LinesLost,
    PortalReport,
    ScanClosed,
    ScanKey,
    ScanOpened,
    Stamp,
)
from imaging.radiation.gross import GrossConfig
from station.domain.events import Event
from station.domain.statistics import Kind
from station.domain.values import OccupancySummary, ScanSummary
from station.domain.view import LaneView
from station.lane.hotspot import NOTHING, Found, Sought

# --- effects ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Append:
    """Write these events down as one group; ``view`` is what screens show once they are durable.

    The answer comes back as ``Lane.stored(token, first_seq)`` or ``Lane.not_stored(token, cause)``.
    """

    token: int
    events: tuple[Event, ...]
    view: LaneView
    client: str = ""
    idempotency_key: str = ""
    request_sha256: str = ""
    opens: str | None = None
    seals: str | None = None
    probe: bool = False
    """Whether it only asks if anything can be recorded again: not worth keeping when it fails."""


@dataclass(frozen=True, slots=True)
class Show:
    """Something that is no record changed: draw the view again."""


@dataclass(frozen=True, slots=True)
class SetOutputs:
    """The outputs as they must be from now on."""

    outputs: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Suspect:
    """The lane has (``on``) or withdraws a reason to doubt a device: for the supervisor, who owns health."""

    device: str
    code: str
    on: bool


@dataclass(frozen=True, slots=True)
class LiveSample:
    """One radiation sample for the strips: kept in the trace, never a fact on its own."""

    channel: Channel
    stamp: Stamp
    counts: int | None
    s_m: float | None
    interval_s: float
    """Counting time; 0: nobody knows."""


@dataclass(frozen=True, slots=True)
class OpenScan:
    """Begin (or, for a known ``scan_id``, go on with) receiving a scan."""

    scan_id: str
    device: str
    opened: ScanOpened
    inspection_id: str | None
    speed_mps: float | None = None
    """What the portal last measured: it counts where the scanner's encoder does not."""


@dataclass(frozen=True, slots=True)
class FeedScan:
    """Lines, or the certainty that they are lost, for a scan."""

    scan_id: str
    device: str
    reading: LineBlock | LinesLost


@dataclass(frozen=True, slots=True)
class EndScan:
    """No more lines will come: make the image, store the blobs, report ``ScanReady``."""

    scan_id: str
    device: str
    key: ScanKey
    closed: ScanClosed | None
    cause: str | None


@dataclass(frozen=True, slots=True)
class KeepPictures:
    """Store the pictures and the body of a camera event; report ``PicturesKept``."""

    device: str
    read: CameraRead
    inspection_id: str | None


@dataclass(frozen=True, slots=True)
class KeepTrace:
    """Locate what is ``sought`` and store the radiation profile with it; report ``TraceKept``."""

    inspection_id: str
    occupancy_id: str
    device: str
    trace: Mapping[str, Any]
    sought: Sought | None = None


@dataclass(frozen=True, slots=True)
class KeepReport:
    """Judge what a portal told of a passage afterwards, store it and its profile; report ``ReportKept``.

    ``gross`` are the station's rules; ``known``: it is recorded, and only its document has to be stored yet.
    """

    device: str
    report: PortalReport
    inspection_id: str | None
    occupancy_id: str
    portal: PortalFacts
    gross: GrossConfig
    disturbed: bool
    certain: bool
    known: bool = False


@dataclass(frozen=True, slots=True)
class TakeReport:
    """The report of this key is durable: the device need not keep it."""

    device: str
    key: str


Work = OpenScan | FeedScan | EndScan | KeepPictures | KeepTrace | KeepReport
Effect = Append | Show | SetOutputs | Suspect | LiveSample | TakeReport | Work


# --- results of work ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BlobKept:
    """A blob as it lies in the store."""

    sha256: str
    media: str
    bytes: int


@dataclass(frozen=True, slots=True)
class PicturesKept:
    """The blobs of a camera event, by role; empty with ``failed`` when they could not be stored."""

    work: KeepPictures
    blobs: Mapping[str, BlobKept]
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class TraceKept:
    """The blob of a profile, or why there is none."""

    work: KeepTrace
    blob: BlobKept | None
    found: Found = NOTHING
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class ReportKept:
    """What a report amounts to, if anything, and its blobs by role, or why there are none."""

    work: KeepReport
    summary: OccupancySummary | None
    blobs: Mapping[str, BlobKept]
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """What the imaging thread knows of a running scan."""

    scan_id: str
    lines: int
    width: int
    """Columns made so far."""
    col_nose: int | None


@dataclass(frozen=True, slots=True)
class ScanReady:
    """A scan's image is stored, or why not; ``summary.state`` is complete or incomplete."""

    scan_id: str
    summary: ScanSummary
    blobs: Mapping[str, BlobKept]


@dataclass(frozen=True, slots=True)
class CalibrationReady:
    """Dark and air scans gave a calibration, or a sentence says why not; ``kept`` where it is stored."""

    device: str
    state: str | None
    dark_lines: int
    air_lines: int
    kept: BlobKept | None = None
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class DayKept:
    """The daily file of a portal is stored; blobs by role."""

    device: str
    day: str
    part: int
    kind: Kind
    name: str
    lines: int
    lost: int
    blobs: Mapping[str, BlobKept]


Result = PicturesKept | TraceKept | ReportKept | ScanProgress | ScanReady | CalibrationReady | DayKept
