"""What a screen shows of the lane: one snapshot, made by the lane and drawn as it is.

The browser holds no second state machine: every record event on the stream carries the snapshot that
is true after it. Codes, never prose: the screen translates them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from station.domain.closures import Seen
from station.domain.directives import Action, HoldKind, Notes
from station.domain.identity import ReadStatus
from station.domain.manifest import ManifestMatch
from station.domain.values import (
    Args,
    BlobUse,
    Coverage,
    Decision,
    HotSpot,
    Identity,
    Incomplete,
    Level,
    Lock,
    Reason,
    ScanSummary,
    Unlocated,
    Value,
)


class DeviceView(Value):
    """One device of the lane."""

    name: str
    role: str
    mode: Literal["real", "emulated", "replay"]
    required: bool
    state: Literal["starting", "online", "degraded", "stale", "backoff", "faulted", "disabled"]
    cause: str | None = None


class AlarmView(Value):
    """One alarm; ``values`` are its numbers: counts, limit, ratio, background; or the plate of who left."""

    alarm_id: str
    code: str
    priority: Literal[1, 2, 3]
    state: Literal["unack", "ack", "rtn_unack"]
    device: str | None
    inspection_id: str | None
    raised_utc_us: int
    silenced_until_utc_us: int | None = None
    stored: bool = True
    values: Args = Field(default_factory=dict)


class ReleaseView(Value):
    """Whether Release is free, and if not, why; the screen may add locks, never remove one."""

    allowed: bool
    locks: tuple[Lock, ...]


class ChannelView(Value):
    """One radiation channel of the current vehicle; counts per second, summed over panels.

    Not ``counted``: a portal alarms in it, and nobody says how much.
    """

    state: Literal["waiting", "measuring", "done", "failed", "not_fitted", "bypassed"]
    max_cps: int | None = None
    limit_cps: float | None = None
    background_cps: float | None = None
    alarm: bool = False
    counted: bool = True


class RadiationView(Value):
    """Both channels, and where along the vehicle they peak."""

    gamma: ChannelView
    neutron: ChannelView
    hot_spots: tuple[HotSpot, ...] = ()
    unlocated: tuple[Unlocated, ...] = ()


class DirectiveView(Value):
    """What the centre orders for this vehicle; a screen shows of a discreet one a code word and the steps."""

    directive_id: str
    version: int
    hold_kind: HoldKind
    action: Action
    discreet: bool
    authority: str
    notes: Notes
    steps: tuple[str, ...]
    keys: tuple[str, ...]
    read: ReadStatus
    """What the plate that it names is worth now."""
    alarm_id: str | None
    due_utc_us: int
    """Until when somebody must have received it."""
    missed: bool
    """Whether the centre was told that nobody did."""
    officer: str | None
    """Who received it."""


class InspectionView(Value):
    """The vehicle that stands or drives between the loops."""

    inspection_id: str
    version: int
    state: Literal[
        "open",
        "measuring",
        "fusing",
        "awaiting_decision",
        "cleared_by_rule",
        "decided",
        "referred_secondary",
        "aborted",
    ]
    flags: tuple[str, ...]
    identity: Identity
    level: Level | None
    """``None`` while measuring: there is no advice yet."""
    reasons: tuple[Reason, ...]
    coverage: Coverage
    manifest: ManifestMatch | None = None
    """``None``: no source of manifests is fitted."""
    seen: Seen | None = None
    """Seals and placards as an officer saw them."""
    directives: tuple[DirectiveView, ...] = ()
    """The most urgent first."""
    incomplete: Incomplete
    release: ReleaseView
    radiation: RadiationView
    scan: ScanSummary | None
    image_read: bool
    decision: Decision | None
    photo: str | None
    plate_photo: str | None
    blobs: tuple[BlobUse, ...] = ()


class LastView(Value):
    """Receipt of the last vehicle."""

    verdict: str
    level: str
    plate: str
    at_utc_us: int


class CentreView(Value):
    """Delivery to the central system: when it last asked, and how much waits for it."""

    state: Literal["connected", "silent", "never"]
    waiting: int


class SimulatedOfficerView(Value):
    """The demonstration's scripted officer: when it decides, unless somebody touches the screen."""

    decides_utc_us: int | None = None


class LaneView(Value):
    """The snapshot."""

    at: str
    """``<epoch>:<seq>`` of the last record in it."""
    lane_id: str
    name: str
    site: str
    direction: Literal["in", "out"]
    time_zone: str
    mode: Literal["open", "draining", "closed", "out_of_service"]
    mode_cause: str | None
    condition: Literal["ok", "degraded"]
    condition_reasons: tuple[str, ...]
    simulated: bool
    officer: str
    devices: tuple[DeviceView, ...]
    alarms: tuple[AlarmView, ...]
    inspection: InspectionView | None
    last: LastView | None
    centre: CentreView
    simulated_officer: SimulatedOfficerView | None
    panel_diagonal_in: float
