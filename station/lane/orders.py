"""What the centre orders for the vehicle in the lane reaches the officer: told, then received or missed.

A hit is told once. It asks the officer to say *Received* within some seconds; when they are over, or the
vehicle is gone, the centre is told once that nobody did. To have acknowledged the hit's alarm is to have
received it, and the other way round. An order that must warn nobody outside the booth has no alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from station.domain.alarms import ORDERS
from station.domain.decision import NotFound, Refused, VersionConflict
from station.domain.directive_events import DirectiveAcknowledged, DirectiveHit, DirectiveUnacknowledged
from station.domain.directives import HoldBody, Notes
from station.domain.identity import PlateEvidence, folded, status_of
from station.domain.inspection import Inspection
from station.domain.rules import RANK, Hit, Order
from station.domain.view import DirectiveView
from station.lane.core import Core, Pending

MAX_SHOWN = 8
"""The screen shows one at a time, and each snapshot carries them."""


def told(
    core: Core, directive_id: str, version: int, body: HoldBody, keys: tuple[str, ...], plates: Iterable[str]
) -> None:
    """Record that a hold names the vehicle in the lane by ``keys``, with the alarm that it asks for."""
    inspection = core.inspection
    if inspection is None:
        return
    code = None if body.quiet else ORDERS.get(body.action)
    values = {"directive": directive_id, "authority": body.authority}
    alarm_id = None if code is None else core.raise_lane_alarm(code, values=dict(values))
    notes = Notes() if body.hold_kind == "person" else body.notes
    text = _best(inspection.reads, set(plates)) if "plate" in keys else ""
    core.tell(
        DirectiveHit,
        directive_id=directive_id,
        directive_version=version,
        hold_kind=body.hold_kind,
        action=body.action,
        keys=keys,
        discreet=body.quiet,
        case_ref=body.case_ref,
        authority=body.authority,
        notes=notes,
        steps=body.steps,
        ack_within_s=body.ack_within_s,
        text=text,
        read=status_of(inspection.identity, text),
        alarm_id=alarm_id,
    )
    order = Order(
        authority=body.authority,
        note_en=notes.en,
        note_es=notes.es,
        steps=body.steps,
        keys=keys,
        text=text,
        alarm_id=alarm_id,
        within_s=body.ack_within_s,
        since_s=core.now.mono_ns // 1000 / 1e6,  # as the record has it, and a restart
        boot_id=core.now.boot_id,
    )
    hit = Hit(directive_id, version, body.action, body.hold_kind, body.quiet, order)
    inspection.direct(inspection.directed.with_hit(hit))


def _best(reads: tuple[PlateEvidence, ...], plates: set[str]) -> str:
    """Return the surest of the reads that these plates, as they are compared, name."""
    named = [read for read in reads if folded(read.text) in plates]
    return max(named, key=lambda read: read.confidence or 0.0).text if named else ""


def asked(inspection: Inspection) -> Iterator[Hit]:
    """Return the hits that nobody has received, of each directive the newest version alone."""
    newest = {hit.directive_id: hit for hit in inspection.directed.hits}
    return (hit for hit in newest.values() if hit.order.officer is None)


def receive(core: Core, inspection_id: str, directive_id: str, version: int, officer: str) -> Pending:
    """Record that the officer has received it, and seen its alarm.

    Raises ``NotFound`` if it names no vehicle in the lane, ``VersionConflict`` if the officer saw another
    one, ``Refused`` if it was received already.
    """
    inspection = core.inspection
    hits = inspection.directed.hits if inspection is not None else ()
    mine = [hit for hit in hits if hit.directive_id == directive_id]
    if inspection is None or not mine:
        raise NotFound("No vehicle in the lane is named by this directive. Nothing was recorded.")
    if inspection.inspection_id != inspection_id or all(hit.version != version for hit in mine):
        raise VersionConflict("The vehicle or the directive changed. Nothing was recorded.")
    hit = next(hit for hit in mine if hit.version == version)
    if _answered(hit):
        raise Refused("It was received already. Nothing was recorded again.")
    return _received(core, inspection, hit, officer)


def alarm_of(core: Core, directive_id: str, version: int) -> str | None:
    """Return the alarm of a hit, if somebody still has to see it."""
    hits = core.inspection.directed.hits if core.inspection is not None else ()
    for hit in hits:
        name = hit.order.alarm_id
        if (hit.directive_id, hit.version) == (directive_id, version) and name and core.book.has(name):
            return None if core.book.get(name).acked else name
    return None


def seen(core: Core, alarm_id: str, officer: str) -> Pending:
    """Its alarm was acknowledged, on the record: record it as received, unless it is that already."""
    inspection = core.inspection
    if inspection is not None:
        for hit in inspection.directed.hits:
            if hit.order.alarm_id == alarm_id and not _answered(hit):
                return _received(core, inspection, hit, officer)
    return Pending()


def _answered(hit: Hit) -> bool:
    return hit.order.coming or hit.order.officer is not None


def _received(core: Core, inspection: Inspection, hit: Hit, officer: str) -> Pending:
    after_s = round(max(0.0, core.now_s - hit.order.since_s), 3)
    core.tell(
        DirectiveAcknowledged,
        directive_id=hit.directive_id,
        directive_version=hit.version,
        officer=officer,
        after_s=after_s,
    )
    _set(inspection, hit, coming=True)
    return Pending(
        lambda seq: _set(inspection, hit, coming=False, officer=officer),
        lambda: _set(inspection, hit, coming=False),
    )


def tick(core: Core) -> None:
    """Tell the centre of what nobody has received in time; of another boot's seconds none is known."""
    inspection = core.inspection
    if inspection is None:
        return
    for hit in list(asked(inspection)):
        order = hit.order
        if order.boot_id != core.now.boot_id or order.since_s > core.now_s:
            _set(inspection, hit, since_s=core.now_s, boot_id=core.now.boot_id)
        elif core.now_s - order.since_s >= order.within_s:
            _missed(core, inspection, hit, "time")


def leave(core: Core) -> None:
    """The vehicle is gone: what nobody has received nobody will."""
    inspection = core.inspection
    if inspection is not None:
        for hit in list(asked(inspection)):
            _missed(core, inspection, hit, "vehicle_left")


def _missed(core: Core, inspection: Inspection, hit: Hit, cause: str) -> None:
    if hit.order.missed or hit.order.coming:
        return
    core.tell(
        DirectiveUnacknowledged,
        directive_id=hit.directive_id,
        directive_version=hit.version,
        cause=cause,
        after_s=round(max(0.0, core.now_s - hit.order.since_s), 3),
        ack_within_s=hit.order.within_s,
    )
    _set(inspection, hit, missed=True)


def _set(inspection: Inspection, hit: Hit, **changed: Any) -> None:
    change(inspection, hit.directive_id, hit.version, **changed)


def change(inspection: Inspection, directive_id: str, version: int, **change: Any) -> None:
    """Change what became of one hit; no rule looks at it, so the inspection's version stays."""

    def changed(hit: Hit) -> Hit:
        same = (hit.directive_id, hit.version) == (directive_id, version)
        return replace(hit, order=replace(hit.order, **change)) if same else hit

    hits = tuple(map(changed, inspection.directed.hits))
    inspection.directed = replace(inspection.directed, hits=hits)


def view(inspection: Inspection, now_s: float, now_utc_us: int) -> tuple[DirectiveView, ...]:
    """Return the hits as the screen draws them: what nobody has received first, then what asks for most."""
    newest = {hit.directive_id: hit for hit in inspection.directed.hits}.values()
    ranked = sorted(newest, key=lambda hit: (hit.order.officer is not None, RANK.index(hit.action)))
    return tuple(
        DirectiveView.model_validate(
            {
                "directive_id": hit.directive_id,
                "version": hit.version,
                "hold_kind": hit.hold_kind,
                "action": hit.action,
                "discreet": hit.discreet,
                "authority": hit.order.authority,
                "notes": {"en": hit.order.note_en, "es": hit.order.note_es},
                "steps": hit.order.steps,
                "keys": hit.order.keys,
                "read": status_of(inspection.identity, hit.order.text),
                "alarm_id": hit.order.alarm_id,
                "due_utc_us": now_utc_us + round((hit.order.since_s + hit.order.within_s - now_s) * 1e6),
                "missed": hit.order.missed,
                "officer": hit.order.officer,
            }
        )
        for hit in ranked[:MAX_SHOWN]
    )
