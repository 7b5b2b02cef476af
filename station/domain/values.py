"""Values inside events and snapshots: coverage, advice, identity, measurements, orders, alarms, blobs."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Value(BaseModel):
    """Base of all values inside events: strict, frozen, nothing extra."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)


Args = dict[str, str | int | float | bool | None]
"""Numbers and names that a code is told with."""

ClockQuality = Literal["sync", "unsync", "unknown"]


class EventStamp(Value):
    """When it happened, in microseconds: canonical JSON refuses integers above 2^53-1."""

    utc_us: int
    mono_us: int
    boot_id: str
    clock: ClockQuality = "unknown"


class CoverageState(StrEnum):
    """What became of one required or fitted check."""

    WAITING = "waiting"
    DONE = "done"
    NOT_FITTED = "not_fitted"
    FAILED = "failed"
    BYPASSED = "bypassed"


class Check(Value):
    """Coverage of one check; ``reason`` is a code (link, timeout, partial, unreadable …)."""

    state: CoverageState
    reason: str | None = None
    fraction: float = 0.0


class Coverage(Value):
    """Which checks were done, and why not."""

    rpm: Check
    scanner: Check
    lpr: Check
    ocr: Check
    manifest: Check


class Incomplete(Value):
    """Required checks that were not done. Missing data is never "clear"."""

    rpm: bool = False
    image: bool = False
    ident: bool = False


class Level(StrEnum):
    """Recommendation, lowest first."""

    CLEAR = "clear"
    REVIEW_IMAGE = "review_image"
    SECONDARY = "secondary"
    HOLD = "hold"
    EMERGENCY = "emergency"


class Reason(Value):
    """One rule that fired, with the inputs that it saw."""

    rule: str
    code: str
    args: Args = Field(default_factory=dict)


class Recommendation(Value):
    """What the rules propose; all reasons are kept, the strongest first."""

    level: Level
    reasons: tuple[Reason, ...]
    rules_sha256: str


class Lock(Value):
    """Why Release is not free."""

    code: str
    args: Args = Field(default_factory=dict)


class PlateIdentity(Value):
    """The vehicle's plate as known now."""

    text: str
    region: str = ""
    status: Literal["accepted", "probable", "unverified"]
    confidence: float | None = None


class Identity(Value):
    """Who the vehicle is, as far as the readers say."""

    status: Literal["waiting", "accepted", "probable", "unverified"] = "waiting"
    plate: PlateIdentity | None = None
    container: PlateIdentity | None = None


class BlobUse(Value):
    """A blob of the record and what it is."""

    role: Literal[
        "preview",
        "image",
        "flags",
        "raw",
        "calibration",
        "trace",
        "n42",
        "photo",
        "plate",
        "capture",
        "event",
        "daily",
        "daily_events",
    ]
    sha256: str
    media: str
    bytes: int


class AlgorithmVerdict(Value):
    """One algorithm's answer; advisory unless it is the device's own."""

    algo: str
    version: int
    channel: str = "gamma"
    params: dict[str, float | int | str]
    statistic: float | None
    threshold: float | None
    t_first_s: float | None
    outcome: str
    reason: str | None = None


class HotSpot(Value):
    """Where along the vehicle counts peak: advisory, and always a band, never a point."""

    kind: Literal["gamma", "gamma_low", "neutron"]
    """Channel; ``gamma_low``: the low one of two energy windows."""
    s_m: float
    """Metres behind the vehicle's nose."""
    sigma_m: float
    """Standard error of the place, everything included: counts, speed, begin of the occupancy, geometry."""
    fwhm_m: float
    """Full width at half maximum; it counts where ``distributed``."""
    distributed: bool
    """Spread along the vehicle, as goods are: a hint of NORM."""
    candidate: bool = False
    """One of several: the vehicle may have gone back, and nothing that measures its way has a sign."""
    speed_from: Literal["encoder", "portal_speed", "length"]
    """What its way rests on."""
    version: int
    """Of the algorithm."""
    col: float | None = None
    """The same place and error in columns of the radiograph, as far as one is known."""
    sigma_cols: float | None = None

    def on(self, scan: ScanSummary | None) -> HotSpot:
        """Return this with its columns in a scan, which has one constant pitch."""
        if scan is None or scan.col_nose is None or scan.px_mm_x <= 0:
            return self
        per_m = 1000 / scan.px_mm_x
        col = round(scan.col_nose + self.s_m * per_m, 1)
        return self.model_copy(update={"col": col, "sigma_cols": round(self.sigma_m * per_m, 1)})


class Unlocated(Value):
    """Counts that are worth a place and have none, and why."""

    kind: Literal["gamma", "gamma_low", "neutron"]
    why: Literal[
        "no_counts",
        "start_unknown",
        "gap",
        "ambiguous",
        "direction",
        "speed",
        "reversal",
        "edge",
        "too_long",
        "fault",
    ]


class OccupancySummary(Value):
    """What one portal saw of one vehicle."""

    occupancy_id: str
    device: str
    close_reason: str
    device_count: int | None = None
    """The device's own number of this occupancy."""
    complete: bool
    missing: tuple[str, ...] = ()
    """Codes of all that keeps it from being complete."""
    start_known: bool
    duration_s: float
    gamma_max_1s: int | None
    gamma_background: float | None
    gamma_limit: float | None
    neutron_max: int | None
    neutron_limit: int | None
    sigma_max: float | None
    suppression: float | None = None
    """Largest fraction of the gamma background that the vehicle kept from the panels, over two seconds."""
    suppression_limit: float | None = None
    """What an empty portal shows once in a thousand occupancies of this length."""
    s50: float | None = None
    """Net gamma counts of a source that the station's test finds in half of all cases, so suppressed."""
    gamma_alarm: bool
    neutron_alarm: bool
    tamper: bool
    gaps: int
    verdicts: tuple[AlgorithmVerdict, ...] = ()
    hot_spots: tuple[HotSpot, ...] = ()
    unlocated: tuple[Unlocated, ...] = ()
    profile: str | None = None
    report: str | None = None
    """SHA-256 of the document in which the portal told of it afterwards."""

    def on(self, scan: ScanSummary | None) -> OccupancySummary:
        """Return this with the columns of its hot spots in a scan."""
        return self.model_copy(update={"hot_spots": tuple(spot.on(scan) for spot in self.hot_spots)})

    @property
    def reason(self) -> str | None:
        """Why the check has failed by it; ``None``: it is done."""
        if self.complete:
            return None
        stopped = dict.fromkeys(("station_stop", "station_restart"), "station_restart")
        codes = {"link_lost": "link", "fault": "fault", **stopped}
        return next((reason for code, reason in codes.items() if code in self.missing), "partial")


class ScanSummary(Value):
    """What one scan gave; ``col_nose`` is the image column of the vehicle's nose."""

    scan_id: str
    device: str
    state: Literal["scanning", "complete", "incomplete"]
    cause: str | None = None
    lines: int = 0
    lines_lost: int = 0
    width: int = 0
    """Columns of the image, each ``px_mm_x`` wide; older records, whose columns are lines, have none."""
    height: int = 0
    px_mm_x: float = 0.0
    px_mm_y: float = 0.0
    col_nose: int | None = None
    col_tail: int | None = None
    calibration: Literal["provisional", "full", "none"] = "none"
    calibration_sha256: str | None = None
    """Of the blob with the numbers that the image was made with, role ``calibration``."""
    starved_m2: float = 0.0
    preview: str | None = None
    image: str | None = None
    flags: str | None = None
    raw: str | None = None

    @property
    def reason(self) -> str | None:
        """Why the check has failed by it; ``None``: it is done."""
        return None if self.state == "complete" else self.cause or "partial"

    @property
    def whole(self) -> float:
        """Which fraction of its lines came."""
        return self.lines / max(1, self.lines + self.lines_lost)


class RadiationRecord(Value):
    """All that the portals saw of one vehicle."""

    occupancies: tuple[OccupancySummary, ...] = ()


class Verdict(StrEnum):
    """What an officer may order."""

    RELEASE = "release"
    SECONDARY = "secondary"
    HOLD = "hold"
    REPEAT_PASS = "repeat_pass"  # noqa: S105 - a verdict, no password
    RETURN = "return"


class Decision(Value):
    """The officer's order as recorded; ``seq`` is its place in the journal."""

    verdict: Verdict
    officer: str
    reason: str | None = None
    at_utc_us: int
    seq: int | None = None


class StandingAlarm(Value):
    """An alarm that somebody still has to see or end."""

    alarm_id: str
    code: str
    device: str | None
    inspection_id: str | None
    raised_utc_us: int
    active: bool
    acked: bool
    lingers: bool
    values: dict[str, str | int | float | bool | None] = Field(default_factory=dict)


class PanelFinding(Value):
    """What is wrong with one panel (``detector``: its place in a record) of a portal."""

    channel: Literal["gamma", "neutron"]
    code: str
    detector: int


class PanelsLearnt(Value):
    """Share of each panel in the background and scatter of its counts, as they were learnt."""

    channel: Literal["gamma", "neutron"]
    shares: tuple[float, ...] = ()
    dispersions: tuple[float | None, ...] = ()


class StandingPortal(Value):
    """What a portal said last that it will not say again by itself, and what is known of its panels."""

    device: str
    last_count: int | None = None
    tamper: bool = False
    findings: tuple[PanelFinding, ...] = ()
    panels: tuple[PanelsLearnt, ...] = ()


class AlarmSummary(Value):
    """One alarm of an inspection with its last known state."""

    alarm_id: str
    code: str
    priority: int
    state: str
    device: str | None = None
    values: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
