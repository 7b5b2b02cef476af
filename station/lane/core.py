"""What all parts of a lane share: the vehicle in it, the alarms, and the effects of the running call.

Parts change the core and emit events; at the end of the call the lane turns all events of it into one
atomic append. Nothing here awaits, stores or reads a clock: ``now`` is the stamp of what arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from drivers.api import PortalFacts
from drivers.geometry import LaneGeometry
from drivers.readings import Counts, Stamp
from station.domain import alarms
from station.domain.coverage import REQUIRABLE
from station.domain.events import (
    AlarmEnded,
    Event,
    InspectionAmended,
    InspectionDoubted,
    LaneAlarmRaised,
)
from station.domain.inspection import Inspection
from station.domain.manifest import NOTHING
from station.domain.rules import Directed
from station.domain.values import Args, BlobUse, ClockQuality, EventStamp, OccupancySummary, ScanSummary
from station.domain.view import DeviceView
from station.lane.effects import BlobKept, Effect, KeepTrace
from station.lane.hotspot import AS_DESIGNED, HotSpotOptions
from station.lane.track import Track

CHECK_OF_ROLE = {"PortalMonitor": "rpm", "LineScanner": "scanner", "Camera": "lpr"}
BOARD = "board"
"""What the I/O board stands for: no check of the record, but no lane works without it."""
MAX_BLOBS = 64
UP_STATES = frozenset({"online", "degraded"})
NO_DATA = frozenset({"frozen", "source_fault", "device_fault"})
"""Causes of a degraded device whose readings may be no readings of this vehicle."""


NO_PORTAL = PortalFacts()


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What the lane must know of one device."""

    name: str
    role: str
    mode: str
    portal: PortalFacts = NO_PORTAL
    """Of a portal monitor."""
    board: str = ""
    """The I/O board by whose inputs it says all that it says: it has no link of its own."""


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """The lane file as the lane uses it."""

    lane_id: str
    name: str
    site: str
    direction: str
    time_zone: str
    officer: str
    required: frozenset[str]
    geometry: LaneGeometry
    devices: tuple[DeviceFacts, ...]
    config_sha256: str
    panel_diagonal_in: float
    p_occupancy: float = 1e-4
    design_s: float = 10.0
    gb_averaging_s: float = 1.0
    scanner_disturbs: bool = True
    s50_max_counts: float | None = None
    hot_spot: HotSpotOptions = AS_DESIGNED
    senders: frozenset[tuple[str, str]] = frozenset()
    """URN and kind: who may send directives of which kinds."""
    modulation_required: bool = False
    """Whether Release waits for the fiscal selection."""

    @property
    def simulated(self) -> bool:
        """Whether any device is not real: then every record is simulated."""
        return any(device.mode != "real" for device in self.devices)

    @property
    def manifests(self) -> bool:
        """Whether somebody may send manifests."""
        return any(kind == "manifest" for _, kind in self.senders)

    @property
    def fitted(self) -> frozenset[str]:
        """Return the checks that this lane has devices, or a source of manifests, for."""
        devices = {CHECK_OF_ROLE[d.role] for d in self.devices if d.role in CHECK_OF_ROLE}
        return frozenset(devices | ({"manifest"} if self.manifests else set()))

    @property
    def patience_s(self) -> dict[str, float]:
        """Return for how long a vehicle at the booth waits for a check that is told afterwards."""
        told = [d.portal.reported_within_s for d in self.devices if d.portal.reported_within_s is not None]
        return {"rpm": max(told)} if told else {}

    @property
    def directed(self) -> Directed:
        """Return what directives say of a vehicle that has just come."""
        return Directed((), NOTHING if self.manifests else None, (), self.modulation_required)

    def averaging_s(self, portal: PortalFacts) -> float:
        """Return the counting time behind one background record of a portal."""
        return self.gb_averaging_s if portal.averaging_s is None else portal.averaging_s

    def averaged(self, portal: PortalFacts, reading: Counts) -> bool:
        """Whether a background record of a portal is a mean over more than it counts."""
        return self.averaging_s(portal) > reading.interval_s

    def mode_of(self, name: str) -> str:
        """Return what stands behind a device: real or emulated."""
        return next(device.mode for device in self.devices if device.name == name)

    def portal_of(self, name: str) -> PortalFacts:
        """Return what is known of a portal."""
        return next(device.portal for device in self.devices if device.name == name)

    def of_role(self, role: str) -> tuple[DeviceFacts, ...]:
        """Return the devices of one role."""
        return tuple(device for device in self.devices if device.role == role)


@dataclass(frozen=True, slots=True)
class Pending:
    """What a command does once its record is durable (under a sequence number), or when it never will be."""

    stored: Callable[[int], None] = lambda seq: None
    lost: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Passage:
    """What belongs to the vehicle in the lane beside its inspection."""

    inspection: Inspection
    track: Track = field(default_factory=Track)
    occupancies: list[OccupancySummary] = field(default_factory=list)
    scan: ScanSummary | None = None
    blobs: list[BlobUse] = field(default_factory=list)
    photo: str | None = None
    plate_photo: str | None = None
    left_entry: bool = False
    on_exit: bool = False
    moments: dict[str, int] = field(default_factory=dict)
    """When it came to ``entry`` and ``booth`` and cleared the ``exit``, as far as seen; UTC, microseconds."""
    passed: bool = False
    """The vehicle has cleared the exit loop."""
    requested: object = None
    """Advice of the last DecisionRequested."""
    limits: dict[str, float | None] = field(default_factory=dict)
    """Of the occupancy of now, by channel."""
    backgrounds: dict[str, float | None] = field(default_factory=dict)
    maxima: dict[str, int] = field(default_factory=dict)
    """The largest counts of all its occupancies, by channel, and in ``peak_limits`` the limit of then."""
    peak_limits: dict[str, float | None] = field(default_factory=dict)
    alarmed: set[str] = field(default_factory=set)
    unplaced: list[KeepTrace] = field(default_factory=list)
    """Occupancies that wait for the vehicle's length: nothing else tells its speed."""

    def counted(self, channel: str, counts: int | None, limit: float | None) -> None:
        """Keep the largest counts: a second look at the vehicle makes the first one no smaller."""
        if counts is not None and counts > self.maxima.get(channel, -1):
            self.maxima[channel], self.peak_limits[channel] = counts, limit

    def keep(self, blobs: Mapping[str, BlobKept]) -> tuple[BlobUse, ...]:
        """Name stored blobs (by role) in the record, and return them as an event names them."""
        uses = blob_uses(blobs)
        self.blobs += [use for use in uses if use not in self.blobs][: MAX_BLOBS - len(self.blobs)]
        return uses


def blob_uses(blobs: Mapping[str, BlobKept]) -> tuple[BlobUse, ...]:
    """Return stored blobs (by role) as an event names them."""
    return tuple(
        BlobUse.model_validate({"role": role, "sha256": b.sha256, "media": b.media, "bytes": b.bytes})
        for role, b in blobs.items()
    )


def doubtful(view: DeviceView) -> bool:
    """Whether a device is up and yet its readings may say nothing."""
    return view.state == "degraded" and not NO_DATA.isdisjoint((view.cause or "").split(","))


@dataclass(slots=True)
class Core:
    """The lane's whole state."""

    facts: LaneFacts
    new_id: Callable[[], str]
    now: Stamp
    clock_quality: ClockQuality = "unknown"
    mode: str = "closed"
    mode_cause: str | None = None
    passage: Passage | None = None
    book: alarms.AlarmBook = field(default_factory=alarms.AlarmBook)
    devices: dict[str, DeviceView] = field(default_factory=dict)
    calibrated: dict[str, str] = field(default_factory=dict)
    scanned: dict[str, str] = field(default_factory=dict)
    """Inspection of each of the last scans, oldest first."""
    sources: set[str] = field(default_factory=set)
    """Scanners whose beam is on, whose shutter is open, or that were lost like that."""
    last: dict[str, Any] | None = None
    events: list[Event] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    settled: list[tuple[str, str, bool]] = field(default_factory=list)
    """Reports that the events of the running call record: device, key, and whether all of it is kept."""
    opens: str | None = None
    seals: str | None = None
    sealed_count: int = 0
    learnt: bool = False
    """Whether a restart would forget something that the journal does not hold yet."""

    @property
    def now_s(self) -> float:
        """Return monotonic seconds of the running call."""
        return self.now.mono_ns / 1e9

    @property
    def inspection(self) -> Inspection | None:
        """Return the inspection of the vehicle in the lane."""
        return self.passage.inspection if self.passage else None

    def emit(self, event: type[Event], **fields: Any) -> None:
        """Add an event of the running call; fields of every event are filled in here."""
        self.events.append(self.made(event, **fields))

    def made(self, event: type[Event], **fields: Any) -> Event:
        """Return an event of the running call."""
        return event.model_validate({**self._common(), **fields})

    def tell(self, event: type[Event], **fields: Any) -> None:
        """Add an event of the inspection in the lane.

        Its version is what the inspection's version is when the call ends: see ``Lane``.
        """
        inspection = self.inspection
        if inspection is None:
            raise LookupError(f"{event.__name__} without an inspection")
        self.emit(event, inspection_id=inspection.inspection_id, version=inspection.version, **fields)

    def amend(
        self,
        inspection_id: str,
        what: str,
        *,
        fields: Args,
        device: str | None = None,
        blobs: tuple[BlobUse, ...] = (),
        occupancy: OccupancySummary | None = None,
    ) -> None:
        """Add a fact to an inspection that is sealed, or whose record does not name it; its version stays."""
        self.emit(
            InspectionAmended,
            inspection_id=inspection_id,
            version=0,
            what=what,
            device=device,
            fields=fields,
            blobs=blobs,
            occupancy=occupancy,
        )

    def drop_call(self) -> None:
        """The running call failed: nothing that it prepared happens, and permission is not left to chance."""
        self.events.clear()
        self.effects.clear()
        self.settled.clear()
        self.opens = self.seals = None
        if self.inspection is not None:
            self.inspection.withdraw()

    def begin(self, check: str) -> None:
        """A measurement of the vehicle in the lane began; with a second vehicle it may be of either."""
        inspection = self.inspection
        if inspection is not None:
            late = inspection.begin(check, self.now_s)
            if late is not None:
                self.tell(InspectionDoubted, check=check, reason=late)
            if "second_vehicle" in inspection.marks:
                self.doubt(check, "ambiguous")

    def doubt(self, check: str, reason: str) -> None:
        """Distrust a check of the vehicle in the lane, on the record: a restart must not forget it."""
        inspection = self.inspection
        if inspection is not None and inspection.checks.doubted.get(check) is None:
            inspection.doubt(check, reason)
            self.tell(InspectionDoubted, check=check, reason=reason)

    def tampered(self, device: str) -> None:
        """A device was open while the vehicle was in the lane."""
        inspection = self.inspection
        if inspection is not None and device not in inspection.tamper:
            inspection.tampered(device)
            self.tell(InspectionDoubted, check=None, reason="tamper", device=device)

    def raise_alarm(self, code: str, device: str | None = None, values: Args | None = None) -> str:
        """Put an alarm on the list and return its id; the caller emits the event that explains it."""
        alarm_id = self.new_id()
        inspection = self.inspection
        self.book.add(
            alarms.Alarm(
                alarm_id=alarm_id,
                code=code,
                device=device,
                inspection_id=inspection.inspection_id if inspection else None,
                raised_utc_us=self.now.utc_ns // 1000,
                values=values or {},
            )
        )
        return alarm_id

    def lane_alarm(self, code: str, device: str | None = None, values: Args | None = None) -> None:
        """Raise and record an alarm of the lane itself: a lasting one once, what happens each time anew."""
        if code in alarms.EVENTS or self.book.find(code, device) is None:
            self.raise_lane_alarm(code, device, values)

    def raise_lane_alarm(self, code: str, device: str | None = None, values: Args | None = None) -> str:
        """Raise and record one alarm more; return its id."""
        alarm_id = self.raise_alarm(code, device, values)
        inspection = self.inspection
        self.emit(
            LaneAlarmRaised,
            alarm_id=alarm_id,
            code=code,
            device=device,
            priority=alarms.PRIORITY.get(code, 2),
            inspection_id=inspection.inspection_id if inspection else None,
            version=inspection.version if inspection else None,
        )
        return alarm_id

    def end_alarm(self, alarm_id: str) -> None:
        """Record that the cause of an alarm has gone."""
        alarm = self.book.get(alarm_id)
        self.book.end(alarm_id)
        self.emit(AlarmEnded, alarm_id=alarm_id, inspection_id=alarm.inspection_id, version=None)

    def doubted_checks(self) -> frozenset[str]:
        """Return the checks with a device whose readings cannot be trusted now."""
        return frozenset(
            CHECK_OF_ROLE[view.role]
            for view in self.devices.values()
            if view.role in CHECK_OF_ROLE and doubtful(view)
        )

    def lost_checks(self) -> frozenset[str]:
        """Return the checks whose every device is gone."""
        lost = set()
        for check in REQUIRABLE:
            states = [
                self.devices[d.name].state
                for d in self.facts.devices
                if CHECK_OF_ROLE.get(d.role) == check and d.name in self.devices
            ]
            if states and not any(state in UP_STATES for state in states):
                lost.add(check)
        return frozenset(lost)

    @property
    def scanner_disturbs(self) -> bool:
        """Whether a scanner may add to the portals' counts now."""
        return self.facts.scanner_disturbs and bool(self.sources)

    def stamp(self) -> EventStamp:
        """Return the running call's stamp as it stands in events."""
        return EventStamp.model_validate(
            {
                "utc_us": self.now.utc_ns // 1000,
                "mono_us": self.now.mono_ns // 1000,
                "boot_id": self.now.boot_id,
                "clock": self.clock_quality,
            }
        )

    @property
    def flags(self) -> dict[str, bool]:
        """Return what makes the records of now no evidence: those flags of every event that are set."""
        return {"simulated": self.facts.simulated}

    def _common(self) -> dict[str, Any]:
        return {"stamp": self.stamp(), "config_sha256": self.facts.config_sha256, **self.flags}
