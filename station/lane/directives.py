"""Directives at work: received, in force, over; and the vehicle in the lane held against those in force."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from station.domain.decision import Refused
from station.domain.directive_events import (
    DirectiveArmed,
    DirectiveClosed,
    DirectiveEvent,
    DirectiveReceived,
    DirectiveSpent,
    DirectiveUnreadable,
    ManifestMatched,
    ReleaseVoted,
)
from station.domain.directives import (
    READABLE,
    Closed,
    Directive,
    Envelope,
    HoldBody,
    Known,
    ManifestEnvelope,
    ReleaseEnvelope,
    Unreadable,
    check_newer,
)
from station.domain.identity import folded
from station.domain.inspection import Inspection
from station.domain.manifest import match
from station.domain.rules import MAX_VOTES, Vote
from station.domain.values import CoverageState
from station.lane import orders
from station.lane.core import Core, Pending

MAX_OPEN = 10_000
"""Directives that are received or armed; more are refused."""
MAX_OPEN_BYTES = 64 * 1024 * 1024
"""Bytes of all of these as JSON."""
NEVER_US = 2**63
LOOK_EVERY_S = 1.0
"""How often time is held against their validity."""


@dataclass(frozen=True, slots=True)
class PutDirective:
    """A central system's signed directive, checked: its signature, and that its issuer may send it."""

    envelope: Envelope
    sha256: str
    """Of ``signed`` in canonical form."""
    signed: Mapping[str, Any]
    """What was signed, and the signature."""
    size: int
    """Bytes of ``signed`` as JSON."""
    known: Known | None


class Directives:
    """All directives that are not closed, and what they mean for the vehicle in the lane."""

    def __init__(self, core: Core) -> None:
        """Begin with none."""
        self._core = core
        self._open: dict[str, Directive] = {}
        self._open_bytes = 0
        self._by_plate: dict[str, set[str]] = {}
        """Ids by plate as it is compared: a vehicle is not held against ten thousand."""
        self._told: tuple[str, set[tuple[str, int]]] = ("", set())
        """Inspection, and id and version of what was told of it: also of what it does not keep."""
        self._unreadable: set[str] = set()
        """Ids of those that no vehicle can be held against."""
        self._coming: set[str] = set()
        """Those of which a version is on its way to the journal."""
        self._looked: object = None
        """What was looked at last: without a change there is nothing to find."""
        self._changes = 0
        self._ticked_s = 0.0
        self._due_us = 0
        self._was_synchronised = False
        self._used: tuple[str, str, set[str]] | None = None
        """Inspection and manifest that belong together, and the plates that were read."""
        self._gone: tuple[str, set[str]] | None = None
        """Manifest and plates of the vehicle that has left with it."""

    def load(self, known: Iterable[Directive]) -> None:
        """Take up those that were open when the station stopped, and that their issuer may still send."""
        for directive in known:
            envelope = directive.envelope
            if envelope.issuer and (envelope.issuer, envelope.kind) not in self._core.facts.senders:
                self._tell(directive, DirectiveClosed, how="issuer_removed")
                continue
            self._add(directive)
            if isinstance(envelope, Unreadable) and not envelope.told:
                self._tell(directive, DirectiveUnreadable, kind=envelope.kind, why=envelope.why)

    def _add(self, directive: Directive) -> None:
        key = directive.envelope.id
        self._remove(key)
        self._open[key] = directive
        self._open_bytes += directive.size
        self._due_us = 0  # it has moments of its own
        if isinstance(directive.envelope, Unreadable):
            self._unreadable.add(key)
        for plate in directive.plates:
            self._by_plate.setdefault(plate, set()).add(key)
        self._changes += 1

    def _remove(self, key: str) -> None:
        if directive := self._open.pop(key, None):
            self._changes += 1
            self._open_bytes -= directive.size
            self._unreadable.discard(key)
            for plate in directive.plates:
                self._by_plate[plate].discard(key)
                if not self._by_plate[plate]:
                    del self._by_plate[plate]

    # --- what comes in --------------------------------------------------------------------------

    def put(self, command: PutDirective) -> Pending:
        """Take a new version; raises ``DirectiveConflict``, or ``Refused`` when it cannot be taken."""
        core, envelope = self._core, command.envelope
        if envelope.id in self._coming:
            raise Refused("Another version of it is being written. Repeat it. Nothing was changed.")
        check_newer(command.known, envelope, command.sha256)
        before = self._open.get(envelope.id)
        new = Directive.of(envelope, command.sha256, command.size)
        over = self._over(envelope, was_known=command.known is not None)
        if over is None:
            self._make_sure_of_room(new, before)
        asked = self._asked(envelope, over)
        if isinstance(envelope, ReleaseEnvelope) and over is None:
            over = "done" if asked else "not_applicable"
        core.emit(
            DirectiveReceived,
            directive_id=envelope.id,
            directive_version=envelope.version,
            kind=envelope.kind,
            issuer=envelope.issuer,
            valid_from_us=envelope.from_us,
            valid_to_us=envelope.to_us,
            sha256=command.sha256,
            envelope=command.signed,
        )
        if before is not None:
            self._tell(before, DirectiveClosed, how="superseded")
        if asked is not None and isinstance(envelope, ReleaseEnvelope):
            said = envelope.body.model_dump(include={"agency", "verdict", "modulation", "integration_no"})
            said |= {"directive_id": envelope.id, "directive_version": envelope.version}
            core.tell(ReleaseVoted, **said, withdrawn=over == "withdrawn")
        if over is not None:
            self._tell(new, DirectiveClosed, how=over)
        self._coming.add(envelope.id)

        def stored(seq: int) -> None:
            self._coming.discard(envelope.id)
            self._remove(envelope.id)
            if over is None:
                self._add(new)
                self._let_time_pass(new)
            if asked is not None and isinstance(envelope, ReleaseEnvelope):
                body, told = envelope.body, asked.directed
                vote = Vote(envelope.id, body.agency, body.verdict, body.modulation)
                is_over = over == "withdrawn"
                asked.direct(told.without_vote(vote.directive_id) if is_over else told.with_vote(vote))

        def lost() -> None:
            self._coming.discard(envelope.id)
            self._changes += 1  # what waited for it is looked at again

        return Pending(stored, lost)

    def _make_sure_of_room(self, new: Directive, before: Directive | None) -> None:
        if before is None and len(self._open) >= MAX_OPEN:
            raise Refused(f"{MAX_OPEN} directives are open here: withdraw some. Nothing was changed.")
        if self._open_bytes - (before.size if before else 0) + new.size > MAX_OPEN_BYTES:
            raise Refused(
                f"Open directives have {self._open_bytes} bytes of {MAX_OPEN_BYTES}, this one {new.size}: "
                "withdraw some. Nothing was changed."
            )

    def _asked(self, envelope: Envelope, over: Closed | None) -> Inspection | None:
        """Return the inspection whose votes this one joins, or leaves; ``None`` where it cannot count.

        Raises ``VersionConflict`` if the authority saw another state of it, ``Refused`` beyond so many.
        """
        inspection = self._core.inspection
        if not isinstance(envelope, ReleaseEnvelope) or inspection is None:
            return None
        if envelope.body.inspection_id != inspection.inspection_id:
            return None
        others = inspection.directed.without_vote(envelope.id).votes
        if over == "withdrawn":
            return inspection if len(others) < len(inspection.directed.votes) else None
        begun = self._synchronised and self._core.now.utc_ns // 1000 >= envelope.from_us
        if over is not None or not begun:
            return None
        inspection.check_version(envelope.body.inspection_version)
        if len(others) >= MAX_VOTES:
            raise Refused(f"{MAX_VOTES} votes stand about this vehicle: withdraw one. Nothing was changed.")
        return inspection

    def _over(self, envelope: Envelope, *, was_known: bool) -> Closed | None:
        """Return how a version is closed as soon as it is received, if it is."""
        facts = self._core.facts
        ours = envelope.concerns(facts.lane_id, facts.direction)
        past = self._synchronised and self._core.now.utc_ns // 1000 >= envelope.to_us
        if ours and not past and not envelope.withdraws:
            return None
        if was_known:
            return "withdrawn"
        return "expired" if ours else "not_applicable"

    @property
    def _synchronised(self) -> bool:
        return self._core.clock_quality == "sync"

    # --- time and vehicles ----------------------------------------------------------------------

    def tick(self) -> None:
        """Arm what is due, close what is over, tell what nobody has received, or nobody can read."""
        orders.tick(self._core)
        self._warn()
        now_utc_us, synchronised = self._core.now.utc_ns // 1000, self._synchronised
        # Ten thousand are not asked every second: the next moment of any of them is known.
        asked = now_utc_us >= self._due_us or synchronised != self._was_synchronised
        if asked and self._core.now_s - self._ticked_s >= LOOK_EVERY_S:
            self._ticked_s, self._was_synchronised = self._core.now_s, synchronised
            for directive in list(self._open.values()):
                if directive.envelope.id not in self._coming:  # else a newer version is about to close it
                    self._let_time_pass(directive)
            moments = (each.next_us for each in self._open.values())
            self._due_us = min(moments, default=NEVER_US) if synchronised else NEVER_US

    def _warn(self) -> None:
        """Alarm as long as an order is open that cannot be read: it must not look as if there were none."""
        core, alarm = self._core, self._core.book.find("order_unreadable")
        if alarm is None and self._unreadable:
            core.raise_lane_alarm("order_unreadable", values={"directive": min(self._unreadable)})
        elif alarm is not None and alarm.values.get("directive") not in self._unreadable:
            core.end_alarm(alarm.alarm_id)  # the next one, if any, has an alarm of its own

    def _let_time_pass(self, directive: Directive) -> None:
        now_utc_us = self._core.now.utc_ns // 1000
        asked = directive.due(now_utc_us, synchronised=self._synchronised)
        if asked == "expire":
            self._remove(directive.envelope.id)
            self._tell(directive, DirectiveClosed, how="expired")
        elif asked == "wait" and directive.armed and self._synchronised:
            self._add(replace(directive, armed=False))  # armed while nobody knew the time
        elif asked == "arm" and not directive.armed:
            self._add(replace(directive, armed=True))
            unreadable = tuple(name for name in directive.keys if name not in READABLE)
            self._tell(directive, DirectiveArmed, unreadable=unreadable)

    def look(self) -> None:
        """Hold the vehicle in the lane against the directives in force; what changed is told."""
        self._close_used()
        inspection = self._core.inspection
        if inspection is None:
            return
        looked = (inspection.inspection_id, inspection.reads, inspection.coverage.lpr.state, self._changes)
        if looked == self._looked:
            return
        self._looked = looked
        if self._told[0] != inspection.inspection_id:
            known = {(hit.directive_id, hit.version) for hit in inspection.directed.hits}
            self._told = (inspection.inspection_id, known)
        plates = {folded(read.text) for read in inspection.reads} - {""}
        found = [
            self._open[key]
            for key in sorted({key for plate in plates for key in self._by_plate.get(plate, ())})
            if self._open[key].armed
        ]
        for directive in found:
            names, key = directive.names(plates), (directive.envelope.id, directive.envelope.version)
            if names and key not in self._told[1]:
                self._told[1].add(key)
                self._hit(directive, names)
            self._use_up(directive, plates, inspection)
        if "manifest" in inspection.fitted:
            self._match([each.envelope for each in found if self._is_of_this_lane(each.envelope)])

    def _is_of_this_lane(self, envelope: Envelope | Unreadable) -> TypeGuard[ManifestEnvelope]:
        """Whether this is a manifest of a truck that goes this way: another's papers are no papers."""
        if not isinstance(envelope, ManifestEnvelope):
            return False
        return (envelope.body.mode, envelope.body.direction) == ("truck", self._core.facts.direction)

    def _match(self, candidates: list[ManifestEnvelope]) -> None:
        core, inspection = self._core, self._core.inspection
        if inspection is None or inspection.coverage.lpr.state == CoverageState.WAITING:
            return  # the plate may still come
        arrival_us = inspection.opened_utc_us if self._synchronised else None
        reads = [(folded(read.text), read.region) for read in inspection.reads]
        found = match([(each.id, each.version, each.body) for each in candidates], reads, arrival_us)
        plates, used = {plate for plate, _ in reads}, found.directive_id
        self._used = (inspection.inspection_id, used, plates) if used else None
        checks = inspection.checks
        if found.status == "none":
            checks.presume("manifest", "none")
        else:
            checks.ended("manifest", None, 1.0 if found.status == "matched" else 0.5)
        if found != inspection.directed.manifest:
            core.tell(ManifestMatched, **found.model_dump())
        inspection.direct(replace(inspection.directed, manifest=found))

    def _close_used(self) -> None:
        """A manifest is of one movement: it is done when its vehicle was let go or sent on.

        A version that is on its way meanwhile is of the same movement, if it still names the vehicle.
        """
        core, used = self._core, self._used
        if used is not None and core.seals == used[0]:
            self._used = None
            if core.last is not None and core.last["verdict"] != "aborted":
                self._gone = used[1:]
        if self._gone is None or self._gone[0] in self._coming:
            return
        (key, plates), self._gone = self._gone, None
        directive = self._open.get(key)
        if directive is not None and not plates.isdisjoint(directive.plates):
            self._remove(directive.envelope.id)
            self._tell(directive, DirectiveClosed, how="done")

    def _hit(self, directive: Directive, names: tuple[str, ...]) -> None:
        envelope, body = directive.envelope, directive.envelope.body
        if not isinstance(body, HoldBody):
            return
        orders.told(self._core, envelope.id, envelope.version, body, names, directive.plates)

    def _use_up(self, directive: Directive, plates: set[str], inspection: Inspection) -> None:
        """A hold of one time is done when its vehicle is known for sure, not at any read of its plate.

        While a newer version is on its way that one decides: this one is closed by it, or looked at again.
        """
        if directive.envelope.id in self._coming:
            return
        body, plate = directive.envelope.body, inspection.identity.plate
        sure = plate is not None and plate.status == "accepted" and folded(plate.text) in directive.plates
        if not (isinstance(body, HoldBody) and body.once and sure and directive.names(plates)):
            return
        if body.hold_kind == "legal":  # open, so that its end, and nothing before, lets the records go
            self._add(replace(directive, armed=False, spent=True))
            self._tell(directive, DirectiveSpent)
        else:
            self._remove(directive.envelope.id)
            self._tell(directive, DirectiveClosed, how="done")

    def _tell(self, directive: Directive, event: type[DirectiveEvent], **fields: object) -> None:
        envelope = directive.envelope
        self._core.emit(event, directive_id=envelope.id, directive_version=envelope.version, **fields)
