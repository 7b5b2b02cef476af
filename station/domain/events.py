"""Every fact that the lane records: one class each, past tense, with its wire type and JSON Schema.

The wire type is ``carril.`` + the class name in snake case with a dot before its last word:
``RadiationAlarmRaised`` → ``carril.radiation_alarm.raised``. Within a schema version fields are only added.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import ClassVar, Literal

from pydantic import Field

from station.domain.values import (
    AlarmSummary,
    BlobUse,
    ClockQuality,
    Coverage,
    Decision,
    EventStamp,
    Identity,
    Incomplete,
    Level,
    Lock,
    OccupancySummary,
    RadiationRecord,
    Reason,
    Recommendation,
    ScanSummary,
    StandingAlarm,
    StandingPortal,
    Value,
    Verdict,
)


class Prio(IntEnum):
    """How long the store fights for a record: 0 is refused last."""

    ALARM = 0
    INSPECTION = 1
    HEALTH = 2
    BACKGROUND = 3


# --- events -------------------------------------------------------------------------------------


class Event(Value):
    """Base of every event."""

    PRIO: ClassVar[Prio] = Prio.INSPECTION
    stamp: EventStamp
    config_sha256: str
    simulated: bool = False
    test: bool = False
    exercise: bool = False

    @classmethod
    def type_name(cls) -> str:
        """Return the wire type, e.g. ``carril.inspection.sealed``."""
        return "carril." + schema_name(cls)


class LaneEvent(Event):
    """An event of the lane or of a device, outside any inspection."""

    PRIO: ClassVar[Prio] = Prio.HEALTH


class InspectionEvent(Event):
    """An event of one inspection; ``version`` is the inspection's version after it."""

    inspection_id: str
    version: int


class InspectionOpened(InspectionEvent):
    """A vehicle entered."""

    opened_by: Literal["entry_loop", "booth_loop", "occupancy", "scan", "officer"]
    restless: bool = False
    """Whether it was in the lane before the vehicle ahead of it had left: measurements may be of either."""


class OccupancyStarted(InspectionEvent):
    """A portal sees the vehicle."""

    device: str
    occupancy_id: str | None = None
    """``None`` in records of earlier versions."""


class OccupancyEnded(InspectionEvent, OccupancySummary):
    """A portal's occupancy closed, whatever the cause."""

    blobs: tuple[BlobUse, ...] = ()


class RadiationAlarmRaised(InspectionEvent):
    """The device's own alarm: latched, authoritative, never suppressed."""

    PRIO: ClassVar[Prio] = Prio.ALARM
    alarm_id: str
    device: str
    channel: Literal["gamma", "neutron"]
    counts: tuple[int | None, ...]
    """Counts of each detector in the record that alarmed, and its counting time."""
    interval_s: float
    counts_1s: int | None
    """Sum over all detectors and one second, as far as counted then: what ``limit`` is compared with."""
    limit: float | None


class RadiationOpinionDisagreed(InspectionEvent):
    """The station's tests of one channel contradict the device's own word, which stands."""

    device: str
    channel: Literal["gamma", "neutron"]
    relation: Literal["device_only", "station_only"]


class ReplicaDisagreed(InspectionEvent):
    """A portal did not do what its own rule says of its gamma counts: its set-up is wrong, or it is not well.

    ``device_only``: it alarmed far below its limit; ``replica_only``: it was silent far above it.
    """

    device: str
    relation: Literal["device_only", "replica_only"]


class AlarmEvent(Event):
    """An event of an alarm, inside an inspection or (both ``None``) outside any."""

    PRIO: ClassVar[Prio] = Prio.ALARM
    inspection_id: str | None
    version: int | None
    alarm_id: str


class LaneAlarmRaised(AlarmEvent):
    """Something in the lane that an officer must know at once."""

    code: str
    priority: int
    device: str | None = None


class AlarmAcknowledged(AlarmEvent):
    """A named officer has seen the alarm."""

    officer: str


class AlarmSilenced(AlarmEvent):
    """A named officer silenced the sound for a while."""

    officer: str
    for_s: float


class AlarmEnded(AlarmEvent):
    """The cause of the alarm has gone."""

    PRIO: ClassVar[Prio] = Prio.HEALTH


class ReadUnattributed(LaneEvent):
    """A camera event that no vehicle in the lane explains: kept, never used."""

    device: str
    late: bool
    photo: str | None
    blobs: tuple[BlobUse, ...] = ()


class ScanStarted(InspectionEvent):
    """A scanner began to send lines of this vehicle."""

    scan_id: str
    device: str


class ScanCompleted(InspectionEvent, ScanSummary):
    """A scan ended; ``state`` says whether it is whole."""

    blobs: tuple[BlobUse, ...] = ()


class PlateRead(InspectionEvent):
    """A camera event of this vehicle; ``text`` is empty when nothing could be read."""

    device: str
    text: str
    region: str
    confidence: float | None
    status: Literal["accepted", "probable", "unverified"]
    late: bool = False
    photo: str | None = None
    plate: str | None = None
    blobs: tuple[BlobUse, ...] = ()


class IdentityResolved(InspectionEvent):
    """The identity changed."""

    identity: Identity


class DecisionRequested(InspectionEvent):
    """All that can be known is known: the officer decides."""

    level: Level
    reasons: tuple[Reason, ...]
    coverage: Coverage
    locks: tuple[Lock, ...]
    restarted: bool = False


class InspectionDoubted(InspectionEvent):
    """A check of this vehicle is not to be trusted, or a device was found open beside it."""

    check: Literal["rpm", "scanner", "lpr"] | None
    reason: str
    device: str | None = None


class ImageRead(InspectionEvent):
    """A named officer has read the radiograph."""

    scan_id: str | None
    officer: str
    read_ms: int
    seen_fraction: float


class DecisionRecorded(InspectionEvent):
    """A named officer's order."""

    verdict: Verdict
    officer: str
    reason: str | None = None


class SecondaryReferred(InspectionEvent):
    """The vehicle goes to secondary."""

    officer: str


class BarrierMoved(InspectionEvent):
    """The arm reached an end position; ``decision_seq`` is the order behind it, if any."""

    to: Literal["up", "down"]
    decision_seq: int | None


class InspectionSealed(InspectionEvent):
    """The whole record: immutable from here on."""

    opened_at_utc_us: int
    entry_at_utc_us: int | None = None
    booth_at_utc_us: int | None = None
    exit_at_utc_us: int | None = None
    """When it came upon the entry and booth loops and cleared the exit; ``None`` where nobody saw that."""
    outcome: Literal["decided", "referred_secondary", "cleared_by_rule", "aborted"]
    cause: str | None
    recommendation: Recommendation
    decision: Decision | None
    decisions: tuple[Decision, ...]
    coverage: Coverage
    incomplete: Incomplete
    flags: tuple[str, ...]
    identity: Identity
    radiation: RadiationRecord
    scan: ScanSummary | None
    alarms: tuple[AlarmSummary, ...]
    blobs: tuple[BlobUse, ...]


class InspectionAmended(InspectionEvent):
    """A later fact about an inspection; ``version`` is 0, since it changes none."""

    what: str
    device: str | None = None
    fields: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    blobs: tuple[BlobUse, ...] = ()
    occupancy: OccupancySummary | None = None
    """What the portal saw of it, where that became known later."""


class LaneModeChanged(LaneEvent):
    """The lane's mode changed: open, draining, closed, out_of_service."""

    mode: str
    cause: str


class LaneStarted(LaneEvent):
    """The daemon started; ``restarted_subjects`` were found open."""

    software: str
    restarted_subjects: tuple[str, ...] = ()


class ClockQualityChanged(LaneEvent):
    """The computer's clock is synchronised from now on (``sync``), or no longer (``unsync``)."""

    quality: ClockQuality


class StandingNoted(LaneEvent):
    """What a restart must know, repeated every few hundred records: alarms, and each portal's last words."""

    alarms: tuple[StandingAlarm, ...]
    portals: tuple[StandingPortal, ...]


class ConfigApplied(LaneEvent):
    """A lane file took effect."""

    lane_file_sha256: str


class EpochOpened(LaneEvent):
    """The journal could not be trusted and began anew behind it; the old one is kept in quarantine.

    ``previous``, ``previous_last`` and ``previous_hash`` are what is known of the epoch before.
    """

    PRIO: ClassVar[Prio] = Prio.ALARM
    first_seq: int
    previous: str | None
    previous_last: int
    previous_hash: str | None
    cause: str


def schema_name(event: type[Event]) -> str:
    """Return the name under ``/v1/schemas``: ``inspection.sealed``."""
    words: list[str] = re.findall(r"[A-Z][a-z0-9]*", event.__name__)
    return "_".join(words[:-1]).lower() + "." + words[-1].lower()
