"""After a restart: the vehicle that was in the lane, rebuilt from its records.

Nothing opens by itself: an order whose barrier never moved must be given again, and a measurement that
was running has failed. Alarms come back unacknowledged unless somebody had acknowledged them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from station.domain.alarms import Alarm
from station.domain.identity import PlateEvidence
from station.domain.inspection import Inspection
from station.domain.rules import Alarm as DeviceAlarm
from station.domain.rules import Opinion
from station.domain.values import (
    BlobUse,
    Decision,
    OccupancySummary,
    ScanSummary,
    Verdict,
)
from station.lane.core import LaneFacts, Passage

Record = tuple[int, str, Mapping[str, Any]]
"""Sequence number, wire type and data of a record."""


@dataclass(slots=True)
class Found:
    """An open subject as its records tell it."""

    passage: Passage
    alarms: dict[str, Alarm] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PortalBefore:
    """What must outlive a stop: without it missed vehicles and an open portal would go unseen."""

    last_count: int | None = None
    tamper: bool = False


def portals_before(records: Iterable[Record]) -> dict[str, PortalBefore]:
    """Return what the newest records of the journal, oldest first, say of each portal."""
    portals: dict[str, PortalBefore] = {}
    for _, kind, data in records:
        device = data.get("device", "")
        known = portals.get(device, PortalBefore())
        if kind == "carril.occupancy.ended" and data["device_count"] is not None:
            portals[device] = replace(known, last_count=data["device_count"])
        elif kind in ("carril.tamper.opened", "carril.tamper.closed"):
            portals[device] = replace(known, tamper=kind.endswith("opened"))
    return portals


def found_open(facts: LaneFacts, records: Iterable[Record]) -> Found | None:
    """Rebuild one inspection from its records, oldest first; ``None`` when it never was opened."""
    found: Found | None = None
    for seq, kind, data in records:
        if kind == "carril.inspection.opened":
            found = _opened(facts, data)
        elif found is not None and kind in _FOLDS:
            _FOLDS[kind](found, seq, data)
        if found is not None:
            found.passage.blobs += [BlobUse.model_validate(blob) for blob in data.get("blobs", ())]
        if found is not None and data.get("version") is not None:
            found.passage.inspection.version = max(found.passage.inspection.version, data["version"])
    return found


def _opened(facts: LaneFacts, data: Mapping[str, Any]) -> Found:
    inspection = Inspection(
        inspection_id=data["inspection_id"],
        opened_by=data["opened_by"],
        opened_utc_us=data["stamp"]["utc_us"],
        opened_s=0.0,
        required=facts.required,
        fitted=facts.fitted,
    )
    return Found(Passage(inspection))


def _occupancy(found: Found, seq: int, data: Mapping[str, Any]) -> None:
    names = OccupancySummary.model_fields
    summary = OccupancySummary.model_validate({name: data[name] for name in names})
    passage = found.passage
    passage.occupancies.append(summary)
    passage.maxima |= {"gamma": summary.gamma_max_1s, "neutron": summary.neutron_max}
    passage.limits |= {"gamma": summary.gamma_limit, "neutron": summary.neutron_limit}
    passage.backgrounds["gamma"] = summary.gamma_background
    for verdict in summary.verdicts:
        opinion = Opinion(summary.device, verdict.outcome, verdict.statistic, verdict.threshold)
        passage.inspection.opinions = (*passage.inspection.opinions, opinion)
    passage.inspection.checks.ended("rpm", None if summary.complete else "partial", float(summary.complete))


def _scan_started(found: Found, seq: int, data: Mapping[str, Any]) -> None:
    found.passage.scan = ScanSummary(
        scan_id=data["scan_id"], device=data["device"], state="incomplete", cause="station_restart"
    )


def _scan_completed(found: Found, seq: int, data: Mapping[str, Any]) -> None:
    scan = ScanSummary.model_validate({name: data[name] for name in ScanSummary.model_fields})
    found.passage.scan = scan
    whole = scan.state == "complete"
    reason = None if whole else scan.cause or "partial"
    found.passage.inspection.checks.ended("scanner", reason, float(whole))


def _radiation(found: Found, seq: int, data: Mapping[str, Any]) -> None:
    total = data["counts_1s"]
    alarm = DeviceAlarm(data["device"], total, data["limit"])
    inspection = found.passage.inspection
    if data["channel"] == "neutron":
        inspection.neutron = (*inspection.neutron, alarm)
    else:
        inspection.gamma = (*inspection.gamma, alarm)
    found.passage.alarmed.add(data["channel"])
    _alarm(found, {**data, "code": f"{data['channel']}_alarm"}, {"counts": total, "limit": data["limit"]})


def _lane_alarm(found: Found, seq: int, data: Mapping[str, Any]) -> None:
    if data["code"] in ("tailgate", "second_vehicle"):
        found.passage.inspection.marks.add(data["code"])
    if data["code"] == "tamper":
        found.passage.inspection.tampered(data["device"])
    _alarm(found, data, {})


def _alarm(found: Found, data: Mapping[str, Any], values: dict[str, Any]) -> None:
    found.alarms[data["alarm_id"]] = Alarm(
        alarm_id=data["alarm_id"],
        code=data["code"],
        device=data.get("device"),
        inspection_id=data["inspection_id"],
        raised_utc_us=data["stamp"]["utc_us"],
        values=values,
    )


def _acknowledged(found: Found, seq: int, data: Mapping[str, Any]) -> None:
    alarm = found.alarms.get(data["alarm_id"])
    if alarm is not None:
        found.alarms[alarm.alarm_id] = replace(alarm, acked=True)


def _ended(found: Found, seq: int, data: Mapping[str, Any]) -> None:
    alarm = found.alarms.get(data["alarm_id"])
    if alarm is not None and alarm.acked:
        del found.alarms[alarm.alarm_id]
    elif alarm is not None:
        found.alarms[alarm.alarm_id] = replace(alarm, active=False)


def _plate(found: Found, seq: int, data: Mapping[str, Any]) -> None:
    read = PlateEvidence(data["device"], data["text"], data["region"], data["confidence"])
    passage = found.passage
    passage.inspection.reads = (*passage.inspection.reads, read)
    accepted = passage.inspection.identity.status == "accepted"
    passage.inspection.checks.set("lpr", None if accepted else "unreadable", float(accepted))
    passage.photo = data["photo"] or passage.photo
    passage.plate_photo = data["plate"] or passage.plate_photo


def _image_read(found: Found, seq: int, data: Mapping[str, Any]) -> None:
    found.passage.inspection.image_read = True


def _decided(found: Found, seq: int, data: Mapping[str, Any]) -> None:
    inspection = found.passage.inspection
    decision = Decision(
        verdict=Verdict(data["verdict"]),
        officer=data["officer"],
        reason=data["reason"],
        at_utc_us=data["stamp"]["utc_us"],
        seq=seq,
    )
    inspection.decisions = (*inspection.decisions, decision)
    if decision.verdict == Verdict.HOLD:
        inspection.held = inspection.withdrawn = True
        return
    inspection.order = decision
    inspection.withdrawn = False
    inspection.state = "decided" if decision.verdict == Verdict.RELEASE else "referred_secondary"


def _barrier(found: Found, seq: int, data: Mapping[str, Any]) -> None:
    inspection = found.passage.inspection
    if data["to"] == "up" and inspection.order is not None and data["decision_seq"] == inspection.order.seq:
        inspection.left_barrier = True


_FOLDS: dict[str, Callable[[Found, int, Mapping[str, Any]], None]] = {
    "carril.occupancy.ended": _occupancy,
    "carril.scan.started": _scan_started,
    "carril.scan.completed": _scan_completed,
    "carril.radiation_alarm.raised": _radiation,
    "carril.lane_alarm.raised": _lane_alarm,
    "carril.alarm.acknowledged": _acknowledged,
    "carril.alarm.ended": _ended,
    "carril.plate.read": _plate,
    "carril.image.read": _image_read,
    "carril.decision.recorded": _decided,
    "carril.barrier.moved": _barrier,
}
