"""Every fact about a device that is of no vehicle."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from station.domain.events import LaneEvent, Prio
from station.domain.values import BlobUse, OccupancySummary


class TamperOpened(LaneEvent):
    """A device's cabinet or tamper contact opened."""

    PRIO: ClassVar[Prio] = Prio.ALARM
    device: str


class TamperClosed(LaneEvent):
    """The contact closed again."""

    device: str


class TamperCleared(LaneEvent):
    """A named technician has looked at a contact that its device says is open, and takes it as closed."""

    device: str
    officer: str


class ReportUnattributed(LaneEvent):
    """A portal told of a passage that no vehicle known here explains: kept, and its alarms are raised."""

    PRIO: ClassVar[Prio] = Prio.INSPECTION
    device: str
    name: str
    begin_utc_us: int | None
    end_utc_us: int | None
    """Of the passage, by the portal's own clock; ``None``: the document does not say."""
    item: dict[str, str]
    occupancy: OccupancySummary
    blobs: tuple[BlobUse, ...] = ()


class ReportRefused(LaneEvent):
    """A portal left a document that cannot be used: of the vehicle that it tells of nothing is known."""

    PRIO: ClassVar[Prio] = Prio.INSPECTION
    device: str
    report: str
    """What names it: the SHA-256 of its bytes, or of what is known of a file that was not read."""
    name: str
    why: str


class DeviceHealthChanged(LaneEvent):
    """A device changed its health; one table, one writer."""

    device: str
    before: str = Field(alias="from")
    to: str
    cause: str | None = None


class DeviceSetupChanged(LaneEvent):
    """A portal reported another set-up than before."""

    device: str
    setup_hash: str


class CountsMissed(LaneEvent):
    """A portal's own counter says that occupancies were missed."""

    device: str
    missed: int


class PortalNoted(LaneEvent):
    """A portal's count began anew, its end marker came twice, or a vehicle stood for 1 or 10 minutes."""

    PRIO: ClassVar[Prio] = Prio.BACKGROUND
    device: str
    code: Literal["duplicate_end", "counter_reset", "extended", "stalled"]
    device_count: int | None


class PanelFaultFound(LaneEvent):
    """A panel counts as no sound one does: ``stuck``, ``silent``, ``drift`` or ``dispersion``.

    ``detector`` is its place in a record, from 0, and ``panel`` its name. Told once until it ends. ``value``:
    equal or empty records in a row, sum of deviations, or scatter against that of chance.
    """

    device: str
    channel: Literal["gamma", "neutron"]
    detector: int
    panel: str
    code: Literal["stuck", "silent", "drift", "dispersion"]
    value: float


class PanelFaultEnded(LaneEvent):
    """What was found of a panel is over."""

    device: str
    channel: Literal["gamma", "neutron"]
    detector: int
    panel: str
    code: Literal["stuck", "silent", "drift", "dispersion"]
    value: float


class EmergencyStopPressed(LaneEvent):
    """The emergency-stop circuit opened."""

    PRIO: ClassVar[Prio] = Prio.ALARM
    device: str


class EmergencyStopReset(LaneEvent):
    """The emergency-stop circuit closed again."""

    device: str


class CalibrationApplied(LaneEvent):
    """A scanner's dark and air scans gave a calibration that is used from now on."""

    device: str
    state: Literal["provisional", "full"]
    dark_lines: int
    air_lines: int
    sha256: str
    """Of the blob with its numbers, role ``calibration``; empty where it found no room."""
    blobs: tuple[BlobUse, ...] = ()
