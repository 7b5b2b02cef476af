"""The sealed record, and the snapshot that screens draw: both made from the lane's state, nothing else."""

from __future__ import annotations

from station.domain import alarms
from station.domain.events import InspectionSealed
from station.domain.values import RadiationRecord
from station.domain.view import (
    CentreView,
    ChannelView,
    InspectionView,
    LaneView,
    LastView,
    RadiationView,
    ReleaseView,
)
from station.lane import orders
from station.lane.core import Core, Passage
from station.lane.strips import hot_spots


def seal(core: Core, outcome: str) -> None:
    """Write the whole record; from here on only amendments are possible."""
    passage = core.passage
    if passage is None:
        return
    inspection = passage.inspection
    inspection.checks.close()
    orders.leave(core)
    listed = core.book.of(inspection.inspection_id)
    core.tell(
        InspectionSealed,
        opened_at_utc_us=inspection.opened_utc_us,
        entry_at_utc_us=passage.moments.get("entry"),
        booth_at_utc_us=passage.moments.get("booth"),
        exit_at_utc_us=passage.moments.get("exit"),
        outcome=outcome,
        cause=inspection.cause,
        recommendation=inspection.recommendation,
        decision=inspection.order,
        decisions=inspection.decisions,
        coverage=inspection.coverage,
        incomplete=inspection.incomplete,
        flags=inspection.flags,
        identity=inspection.identity,
        radiation=RadiationRecord(occupancies=tuple(each.on(passage.scan) for each in passage.occupancies)),
        scan=passage.scan,
        alarms=tuple(alarms.summary(alarm) for alarm in listed),
        blobs=tuple(passage.blobs),
    )
    core.seals = inspection.inspection_id
    core.sealed_count += 1
    verdict = inspection.order.verdict if inspection.order else "aborted"
    plate = inspection.identity.plate.text if inspection.identity.plate else ""
    core.last = {
        "verdict": str(verdict),
        "level": str(inspection.recommendation.level),
        "plate": plate,
        "at_utc_us": inspection.order.at_utc_us if inspection.order else core.now.utc_ns // 1000,
    }
    core.passage = None
    for alarm in alarms.settle(core.book, inspection.inspection_id, outcome, plate):
        core.end_alarm(alarm.alarm_id)


def lane_view(core: Core) -> LaneView:
    """Return the snapshot of the lane; ``at``, centre and scripted officer are filled in by the host."""
    facts = core.facts
    reasons = degraded_reasons(core)
    utc_us = core.now.utc_ns // 1000
    return LaneView.model_validate(
        {
            "at": "",
            "lane_id": facts.lane_id,
            "name": facts.name,
            "site": facts.site,
            "direction": facts.direction,
            "time_zone": facts.time_zone,
            "mode": core.mode,
            "mode_cause": core.mode_cause,
            "condition": "degraded" if reasons else "ok",
            "condition_reasons": reasons,
            "simulated": facts.simulated,
            "officer": facts.officer,
            "devices": tuple(core.devices.values()),
            "alarms": tuple(alarms.view(alarm, core.now_s, utc_us) for alarm in core.book),
            "inspection": _inspection_view(core, core.passage) if core.passage else None,
            "last": LastView.model_validate(core.last) if core.last else None,
            "centre": CentreView(state="never", waiting=0),
            "simulated_officer": None,
            "panel_diagonal_in": facts.panel_diagonal_in,
        }
    )


def degraded_reasons(core: Core) -> tuple[str, ...]:
    """Return why the lane is not wholly well, as codes with the device behind a colon."""
    reasons = [
        f"{view.state}:{view.name}"
        for view in core.devices.values()
        if view.state not in ("online", "starting")
    ]
    scanners = core.facts.of_role("LineScanner")
    reasons += [f"not_calibrated:{d.name}" for d in scanners if d.name not in core.calibrated]
    return tuple(reasons)


def _inspection_view(core: Core, passage: Passage) -> InspectionView:
    inspection = passage.inspection
    advice = inspection.recommendation if inspection.advised else None
    locks = inspection.locks
    return InspectionView.model_validate(
        {
            "inspection_id": inspection.inspection_id,
            "version": inspection.version,
            "state": inspection.state,
            "flags": inspection.flags,
            "identity": inspection.identity,
            "level": advice.level if advice else None,
            "reasons": advice.reasons if advice else (),
            "coverage": inspection.coverage,
            "manifest": inspection.directed.manifest,
            "seen": inspection.directed.seen,
            "directives": orders.view(inspection, core.now_s, core.now.utc_ns // 1000),
            "incomplete": inspection.incomplete,
            "release": ReleaseView(allowed=not locks, locks=locks),
            "radiation": _radiation(core, passage),
            "scan": passage.scan,
            "image_read": inspection.image_read,
            "decision": inspection.order,
            "photo": passage.photo,
            "plate_photo": passage.plate_photo,
            "blobs": tuple(passage.blobs),
        }
    )


def _radiation(core: Core, passage: Passage) -> RadiationView:
    check = passage.inspection.checks["rpm"].state
    running = passage.inspection.checks.running["rpm"] > 0
    state = "measuring" if running else str(check)

    portals = [device.portal for device in core.facts.of_role("PortalMonitor")]

    def channel(name: str) -> ChannelView:
        counted = any(name in portal.channels for portal in portals)
        silent = bool(portals) and not counted and not any(name in portal.alarms for portal in portals)
        return ChannelView.model_validate(
            {
                "state": "not_fitted" if silent else state,
                "counted": counted or not portals,
                "max_cps": passage.maxima.get(name),
                "limit_cps": passage.peak_limits.get(name, passage.limits.get(name)),
                "background_cps": passage.backgrounds.get(name),
                "alarm": name in passage.alarmed,
            }
        )

    return RadiationView(
        gamma=channel("gamma"),
        neutron=channel("neutron"),
        hot_spots=tuple(hot_spots(passage)),
        unlocated=tuple(each for summary in passage.occupancies for each in summary.unlocated),
    )
