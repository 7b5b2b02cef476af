"""After a restart: the vehicle that was in the lane, rebuilt from its records.

Nothing opens by itself: an order whose barrier never moved must be given again, and a measurement that
was running has failed. Alarms come back unacknowledged unless somebody had acknowledged them.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import BaseModel

from station.domain.alarms import Alarm, AlarmBook, measured, settle
from station.domain.closures import Seen, later
from station.domain.directives import Directive
from station.domain.events import InspectionOpened, InspectionSealed, StandingNoted
from station.domain.identity import PlateEvidence
from station.domain.inspection import Inspection
from station.domain.manifest import ManifestMatch
from station.domain.rules import Alarm as DeviceAlarm
from station.domain.rules import Hit, Order, Vote
from station.domain.second_opinion import opinions
from station.domain.values import (
    BlobUse,
    Decision,
    OccupancySummary,
    PanelFinding,
    ScanSummary,
    StandingAlarm,
    StandingPortal,
    Verdict,
)
from station.lane import orders
from station.lane.core import Core, LaneFacts, Passage
from station.lane.rawfile import LeftOver

log = logging.getLogger("carril.lane")

M = TypeVar("M", bound=BaseModel)
Record = tuple[int, str, Mapping[str, Any]]
"""Sequence number, wire type and data of a record."""
OPENED, SEALED = InspectionOpened.type_name(), InspectionSealed.type_name()
STANDING = StandingNoted.type_name()


@dataclass(frozen=True, slots=True)
class Before:
    """What the journal tells a lane that starts; all empty for a new one.

    ``open`` are inspections that were not sealed, oldest first; ``cut`` raw lines that the stop cut off.
    """

    open: tuple[Passage, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    portals: Mapping[str, StandingPortal] = field(default_factory=dict)
    """Without it missed vehicles and an open portal would go unseen."""
    directives: tuple[Directive, ...] = ()
    """Those that were received or in force."""
    cut: tuple[LeftOver, ...] = ()
    config_sha256: str = ""
    """Lane file of the last record."""
    told: tuple[Record, ...] = ()
    """The newest records, oldest first."""
    lane_file_refused: bool = False
    """The lane file is wrong: the last good one runs."""


def tell_lane_file(core: Core, *, refused: bool) -> None:
    """Alarm as long as the lane does not run from the file that it was given."""
    alarm = core.book.find("lane_file_refused")
    if refused:
        core.lane_alarm("lane_file_refused")
    elif alarm is not None:
        core.end_alarm(alarm.alarm_id)


def portals_before(records: Iterable[Record]) -> dict[str, StandingPortal]:
    """Return what the newest records of the journal, oldest first, say of each portal."""
    portals: dict[str, StandingPortal] = {}
    for record in records:
        with spared(record):
            portals = _portals_after(portals, record[1], record[2])
    return portals


def _portals_after(
    portals: dict[str, StandingPortal], kind: str, data: Mapping[str, Any]
) -> dict[str, StandingPortal]:
    if kind == STANDING:
        return {known["device"]: StandingPortal.model_validate(known) for known in data["portals"]}
    device = data.get("device") or ""
    known = portals.get(device, StandingPortal(device=device))
    if kind == "carril.occupancy.ended" and data["device_count"] is not None:
        return portals | {device: known.model_copy(update={"last_count": data["device_count"]})}
    if kind in ("carril.tamper.opened", "carril.tamper.closed"):
        return portals | {device: known.model_copy(update={"tamper": kind.endswith("opened")})}
    if kind in ("carril.panel_fault.found", "carril.panel_fault.ended"):
        told = _own(PanelFinding, data)
        others = tuple(finding for finding in known.findings if finding != told)
        findings = (*others, told) if kind.endswith("found") else others
        return portals | {device: known.model_copy(update={"findings": findings})}
    return portals


def alarms_before(records: Iterable[Record]) -> tuple[Alarm, ...]:
    """Return the alarms that somebody still has to see or end, as the records, oldest first, tell."""
    book = AlarmBook()
    for record in records:
        with spared(record):
            book = _book_after(book, record[1], record[2])
    return tuple(book)


def _book_after(book: AlarmBook, kind: str, data: Mapping[str, Any]) -> AlarmBook:
    if kind == STANDING:
        fresh = AlarmBook()
        for known in data["alarms"]:
            fresh.add(Alarm(**StandingAlarm.model_validate(known).model_dump()))
        return fresh
    if kind in ("carril.radiation_alarm.raised", "carril.lane_alarm.raised"):
        book.add(_alarm(data))
    elif kind in _BOOK and book.has(data["alarm_id"]):
        _BOOK[kind](book, data["alarm_id"])
    elif kind == "carril.occupancy.ended":
        summary = _own(OccupancySummary, data)
        measured(book, summary.device, data["inspection_id"], *_largest(summary))
    elif kind == "carril.directive.hit" and book.has(data.get("alarm_id") or ""):
        book.revise(data["alarm_id"], {"directive": data["directive_id"], "authority": data["authority"]})
    elif kind == SEALED:
        plate = data["identity"]["plate"]
        settle(book, data["inspection_id"], data["outcome"], plate["text"] if plate else "")
    return book


@contextlib.contextmanager
def spared(record: Record) -> Iterator[None]:
    """Of a record that is not what its type promises nothing can be learnt: it must not end every start."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        log.error("record %d (%s) cannot be read and tells a restart nothing: %r", *record[:2], error)


def _alarm(data: Mapping[str, Any]) -> Alarm:
    radiation = "channel" in data
    return Alarm(
        alarm_id=data["alarm_id"],
        code=f"{data['channel']}_alarm" if radiation else data["code"],
        device=data.get("device"),
        inspection_id=data["inspection_id"],
        raised_utc_us=data["stamp"]["utc_us"],
        values={"counts": data["counts_1s"], "limit": data["limit"]} if radiation else {},
    )


_BOOK: dict[str, Callable[[AlarmBook, str], None]] = {
    "carril.alarm.acknowledged": AlarmBook.ack,
    "carril.alarm.ended": AlarmBook.end,
}


def found_open(facts: LaneFacts, records: Iterable[Record], *, poison: bool = False) -> Passage | None:
    """Rebuild one inspection from its records; ``None`` when it never was opened.

    A full disk may have let an alarm through before the opening that it follows. Of one that ends every
    start (``poison``) only that it was opened is read, and it is over.
    """
    told = sorted(records, key=lambda record: (record[1] != OPENED, record[0]))
    passage: Passage | None = None
    for seq, kind, data in told[:1] if poison else told:
        if kind == OPENED:
            passage = _opened(facts, data)
            if poison:
                passage.inspection.abort("station_restart")
        if passage is None:
            continue
        if kind in _FOLDS:
            _FOLDS[kind](passage, {**data, "seq": seq})
        passage.blobs += [BlobUse.model_validate(blob) for blob in data.get("blobs", ())]
        passage.inspection.version = max(passage.inspection.version, data.get("version") or 0)
    return passage


def _own(model: type[M], data: Mapping[str, Any]) -> M:
    """Return the value inside an event; a field that the record is too old for keeps its default."""
    return model.model_validate({name: data[name] for name in model.model_fields if name in data})


_LOOPS = {"entry_loop": "entry", "booth_loop": "booth"}


def _opened(facts: LaneFacts, data: Mapping[str, Any]) -> Passage:
    inspection = Inspection(
        inspection_id=data["inspection_id"],
        opened_by=data["opened_by"],
        opened_utc_us=data["stamp"]["utc_us"],
        opened_s=0.0,
        required=facts.required,
        fitted=facts.fitted,
        patience_s=facts.patience_s,
        directed=facts.directed,
    )
    passage = Passage(inspection)
    if data.get("restless"):
        inspection.marks.add("second_vehicle")
    elif data["opened_by"] in _LOOPS:  # when it came to the others no record says
        passage.moments[_LOOPS[data["opened_by"]]] = inspection.opened_utc_us
    return passage


def _largest(summary: OccupancySummary) -> tuple[dict[str, int | None], dict[str, float | None]]:
    """Return maxima and limits of both channels."""
    maxima = {"gamma": summary.gamma_max_1s, "neutron": summary.neutron_max}
    return maxima, {"gamma": summary.gamma_limit, "neutron": summary.neutron_limit}


def _occupancy(passage: Passage, data: Mapping[str, Any]) -> None:
    summary = _own(OccupancySummary, data)
    passage.occupancies.append(summary)
    maxima, limits = _largest(summary)
    passage.limits |= limits
    for channel, counts in maxima.items():
        passage.counted(channel, counts, limits[channel])
    passage.backgrounds["gamma"] = summary.gamma_background
    for opinion, _ in opinions(summary):
        passage.inspection.opine(opinion)
    passage.inspection.checks.ended("rpm", summary.reason, float(summary.complete))


def _located(passage: Passage, data: Mapping[str, Any]) -> None:
    for i, summary in enumerate(passage.occupancies):
        if summary.occupancy_id == data["occupancy_id"]:
            later = {name: data[name] for name in ("hot_spots", "unlocated", "profile")}
            known = OccupancySummary.model_validate({**summary.model_dump(), **later})
            passage.occupancies[i] = known


def _occupancy_started(passage: Passage, data: Mapping[str, Any]) -> None:
    passage.inspection.checks.running["rpm"] += 1


def _doubted(passage: Passage, data: Mapping[str, Any]) -> None:
    if data["check"] is not None:
        passage.inspection.doubt(data["check"], data["reason"])
    elif data["device"] is not None:
        passage.inspection.tampered(data["device"])


def _scan_started(passage: Passage, data: Mapping[str, Any]) -> None:
    passage.inspection.checks.running["scanner"] += 1
    passage.inspection.image_read = False
    passage.scan = ScanSummary(
        scan_id=data["scan_id"], device=data["device"], state="incomplete", cause="station_restart"
    )


def _scan_completed(passage: Passage, data: Mapping[str, Any]) -> None:
    scan = _own(ScanSummary, data)
    passage.scan = scan
    passage.inspection.checks.ended("scanner", scan.reason, scan.whole)


def _radiation(passage: Passage, data: Mapping[str, Any]) -> None:
    total = data["counts_1s"]
    alarm = DeviceAlarm(data["device"], total, data["limit"])
    inspection = passage.inspection
    if data["channel"] == "neutron":
        inspection.neutron = (*inspection.neutron, alarm)
    else:
        inspection.gamma = (*inspection.gamma, alarm)
    passage.alarmed.add(data["channel"])


def _lane_alarm(passage: Passage, data: Mapping[str, Any]) -> None:
    if data["code"] in ("tailgate", "second_vehicle"):
        passage.inspection.marks.add(data["code"])


def _plate(passage: Passage, data: Mapping[str, Any]) -> None:
    read = PlateEvidence(data["device"], data["text"], data["region"], data["confidence"])
    passage.inspection.reads = (*passage.inspection.reads, read)
    accepted = passage.inspection.identity.status == "accepted"
    passage.inspection.checks.set("lpr", None if accepted else "unreadable", float(accepted))
    passage.photo = data["photo"] or passage.photo
    passage.plate_photo = data["plate"] or passage.plate_photo


def _image_read(passage: Passage, data: Mapping[str, Any]) -> None:
    now = passage.scan.scan_id if passage.scan is not None else None
    passage.inspection.image_read |= data["scan_id"] == now


def _decided(passage: Passage, data: Mapping[str, Any]) -> None:
    inspection = passage.inspection
    decision = Decision(
        verdict=Verdict(data["verdict"]),
        officer=data["officer"],
        reason=data["reason"],
        at_utc_us=data["stamp"]["utc_us"],
        seq=data["seq"],
    )
    inspection.decisions = (*inspection.decisions, decision)
    if decision.verdict == Verdict.HOLD:
        inspection.hold()
        return
    inspection.order = decision
    inspection.state = "decided" if decision.verdict == Verdict.RELEASE else "referred_secondary"


def _hit(passage: Passage, data: Mapping[str, Any]) -> None:
    order = Order(
        authority=data.get("authority", ""),
        note_en=data.get("notes", {}).get("en", ""),
        note_es=data.get("notes", {}).get("es", ""),
        steps=tuple(data.get("steps", ())),
        keys=tuple(data["keys"]),
        text=data.get("text", ""),
        alarm_id=data.get("alarm_id"),
        within_s=data.get("ack_within_s", 60),
        since_s=data["stamp"]["mono_us"] / 1e6,
        boot_id=data["stamp"]["boot_id"],
    )
    name, version = data["directive_id"], data["directive_version"]
    hit = Hit(name, version, data["action"], data["hold_kind"], data["discreet"], order)
    passage.inspection.directed = passage.inspection.directed.with_hit(hit)


def _received(passage: Passage, data: Mapping[str, Any]) -> None:
    name, version = data["directive_id"], data["directive_version"]
    orders.change(passage.inspection, name, version, officer=data["officer"])


def _missed(passage: Passage, data: Mapping[str, Any]) -> None:
    orders.change(passage.inspection, data["directive_id"], data["directive_version"], missed=True)


_VOTE = ("directive_id", "agency", "verdict", "modulation")


def _vote(passage: Passage, data: Mapping[str, Any]) -> None:
    vote, told = Vote(*(data[name] for name in _VOTE)), passage.inspection.directed
    is_over = data.get("withdrawn", False)
    passage.inspection.directed = told.without_vote(vote.directive_id) if is_over else told.with_vote(vote)


def _manifest(passage: Passage, data: Mapping[str, Any]) -> None:
    passage.inspection.directed = replace(passage.inspection.directed, manifest=_own(ManifestMatch, data))


def _observed(passage: Passage, data: Mapping[str, Any]) -> None:
    told = passage.inspection.directed
    passage.inspection.directed = replace(told, seen=later(told.seen, _own(Seen, data)))


def _barrier(passage: Passage, data: Mapping[str, Any]) -> None:
    inspection = passage.inspection
    if data["to"] == "up" and inspection.order is not None and data["decision_seq"] == inspection.order.seq:
        inspection.left_barrier = True


_FOLDS: dict[str, Callable[[Passage, Mapping[str, Any]], None]] = {
    "carril.inspection.doubted": _doubted,
    "carril.occupancy.started": _occupancy_started,
    "carril.occupancy.ended": _occupancy,
    "carril.hot_spot.located": _located,
    "carril.scan.started": _scan_started,
    "carril.scan.completed": _scan_completed,
    "carril.radiation_alarm.raised": _radiation,
    "carril.lane_alarm.raised": _lane_alarm,
    "carril.plate.read": _plate,
    "carril.image.read": _image_read,
    "carril.decision.recorded": _decided,
    "carril.barrier.moved": _barrier,
    "carril.directive.hit": _hit,
    "carril.directive.acknowledged": _received,
    "carril.directive.unacknowledged": _missed,
    "carril.manifest.matched": _manifest,
    "carril.release.voted": _vote,
    "carril.inspection.observed": _observed,
}
