"""What became of a directive: each change of its state, and each vehicle that it named."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from station.domain.directives import Action, Closed, HoldKind, Kind, Notes
from station.domain.events import Event, InspectionEvent, Prio
from station.domain.identity import ReadStatus
from station.domain.manifest import ManifestMatch


class DirectiveEvent(Event):
    """An event of one version of a directive."""

    PRIO: ClassVar[Prio] = Prio.HEALTH
    directive_id: str
    directive_version: int


class DirectiveReceived(DirectiveEvent):
    """It is stored; ``envelope`` is what was signed."""

    kind: Kind
    issuer: str
    valid_from_us: int
    valid_to_us: int
    sha256: str
    envelope: dict[str, Any]


class DirectiveArmed(DirectiveEvent):
    """It is in force in this lane; ``unreadable`` are keys that no reader of this lane can give."""

    unreadable: tuple[str, ...]


class DirectiveUnreadable(DirectiveEvent):
    """A start could not read it: it names no vehicle and is not over. Send it again, newer."""

    kind: str
    why: str


class DirectiveHeld(DirectiveEvent):
    """Records of earlier vehicles are under its legal hold: it was held against what the journal has."""

    inspections: tuple[str, ...]
    """Newest first, as far as this record goes."""
    next_before_seq: int | None
    """The rest began before this record, and is told next; ``None``: this is all."""
    history_from_seq: int
    """The oldest record that the journal had in its order: what began before it may be removed already."""
    history_from_us: int | None
    """When that record was written, UTC; ``None`` if it cannot be read."""


class DirectiveSpent(DirectiveEvent):
    """A legal hold of one time has named its vehicle: no other is stopped, and what it holds stays held."""


class DirectiveClosed(DirectiveEvent):
    """It is not in force any more, or never was."""

    how: Closed


class DirectiveHit(InspectionEvent):
    """It names this vehicle: told once for each inspection and version."""

    directive_id: str
    directive_version: int
    hold_kind: HoldKind
    action: Action
    keys: tuple[str, ...]
    """What matched, by name."""
    discreet: bool
    case_ref: str | None
    authority: str = ""
    notes: Notes = Notes()
    """Empty for a person: notes may hold a name."""
    steps: tuple[str, ...] = ()
    ack_within_s: int = 60
    text: str = ""
    """The plate as it was read."""
    read: ReadStatus = "other"
    """What that was worth then."""
    alarm_id: str | None = None
    """Its alarm; a discreet one has none."""


class DirectiveAcknowledged(InspectionEvent):
    """A named officer has received what a directive orders for this vehicle, ``after_s`` after the hit."""

    directive_id: str
    directive_version: int
    officer: str
    after_s: float


class DirectiveUnacknowledged(InspectionEvent):
    """Nobody has received it in time, or before the vehicle had left: told once, for the centre."""

    PRIO: ClassVar[Prio] = Prio.ALARM
    directive_id: str
    directive_version: int
    cause: Literal["time", "vehicle_left"]
    after_s: float
    ack_within_s: int


class ManifestMatched(InspectionEvent, ManifestMatch):
    """What was declared of this vehicle was looked for; told again when the answer changes."""


class ReleaseVoted(InspectionEvent):
    """Another authority gave its word about this vehicle: a vote, the officer decides."""

    directive_id: str
    directive_version: int
    agency: str
    verdict: Literal["release", "secondary", "hold"]
    modulation: Literal["red", "green"] | None
    withdrawn: bool = False
    """It was taken back, and counts no more."""
    integration_no: str | None
