"""Snapshots of a lane as the station makes them: one for each look of the screen."""

from __future__ import annotations

import itertools
import time
from typing import Any

from station.domain.values import (
    Check,
    Coverage,
    CoverageState,
    Decision,
    HotSpot,
    Identity,
    Incomplete,
    Level,
    Lock,
    PlateIdentity,
    Reason,
    ScanSummary,
    Verdict,
)
from station.domain.view import (
    AlarmView,
    CentreView,
    ChannelView,
    DeviceView,
    InspectionView,
    LaneView,
    LastView,
    RadiationView,
    ReleaseView,
    SimulatedOfficerView,
)

EPOCH = "0198c0de-0000-7000-8000-000000000001"
SCAN = "0198c0de-0000-7000-8000-00000000005c"
PHOTO, PLATE_PHOTO = "a" * 64, "b" * 64
T0_US = 1_750_000_000_000_000
_numbers = itertools.count(1)

DONE, WAITING = CoverageState.DONE, CoverageState.WAITING
GAMMA = ChannelView(state="done", max_cps=1204, limit_cps=1412.0, background_cps=1250.0)
NEUTRON = ChannelView(state="done", max_cps=3, limit_cps=9.0, background_cps=2.0)


def fresh_id(kind: str) -> str:
    """Return an identifier that no other snapshot has."""
    return f"{kind}-{next(_numbers):06d}"


def coverage(state: CoverageState = DONE, **other: Check) -> Coverage:
    """Return the same state for every fitted check, but ``other``."""
    absent = Check(state=CoverageState.NOT_FITTED)
    checks = {name: Check(state=state, fraction=float(state == DONE)) for name in ("rpm", "scanner", "lpr")}
    return Coverage(**{**checks, "ocr": absent, "manifest": absent, **other})


def scan(**other: Any) -> ScanSummary:
    """Return a whole scan of an articulated truck."""
    whole: dict[str, Any] = {
        "scan_id": SCAN,
        "device": "scanner1",
        "state": "complete",
        "lines": 3900,
        "width": 3900,
        "height": 1024,
        "px_mm_x": 4.2,
        "px_mm_y": 4.2,
        "col_nose": 120,
        "col_tail": 3780,
        "calibration": "full",
        "image": "c" * 64,
    }
    return ScanSummary(**{**whole, **other})


def vehicle(level: Level | None = Level.CLEAR, locks: tuple[str, ...] = (), **other: Any) -> InspectionView:
    """Return a vehicle at the barrier that waits for a decision."""
    plate = PlateIdentity(text="LXR 4827", region="US-TX", status="accepted", confidence=0.97)
    waiting: dict[str, Any] = {
        "inspection_id": fresh_id("vehicle"),
        "version": 7,
        "state": "awaiting_decision",
        "flags": (),
        "identity": Identity(status="accepted", plate=plate),
        "level": level,
        "reasons": (),
        "coverage": coverage(),
        "incomplete": Incomplete(),
        "release": ReleaseView(allowed=not locks, locks=tuple(Lock(code=code) for code in locks)),
        "radiation": RadiationView(gamma=GAMMA, neutron=NEUTRON),
        "scan": scan(),
        "image_read": False,
        "decision": None,
        "photo": PHOTO,
        "plate_photo": PLATE_PHOTO,
    }
    return InspectionView(**{**waiting, **other})


def alarm(code: str, on: InspectionView | None, **other: Any) -> AlarmView:
    """Return an alarm of the first rank that nobody has acknowledged."""
    values = {"counts": 61, "limit": 9, "ratio": 6.8, "background": 2}
    raised: dict[str, Any] = {
        "alarm_id": fresh_id("alarm"),
        "code": code,
        "priority": 1,
        "state": "unack",
        "device": "rpm1",
        "inspection_id": on.inspection_id if on else None,
        "raised_utc_us": time.time_ns() // 1000 - 2_000_000,
        "values": values,
    }
    return AlarmView(**{**raised, **other})


def lane(inspection: InspectionView | None = None, *alarms: AlarmView, **other: Any) -> LaneView:
    """Return a whole snapshot."""
    roles = {"rpm1": "PortalMonitor", "scanner1": "LineScanner", "lpr1": "Camera", "io1": "DigitalIo"}
    devices = tuple(
        DeviceView(name=name, role=role, mode="emulated", required=role != "DigitalIo", state="online")
        for name, role in roles.items()
    )
    snapshot: dict[str, Any] = {
        "at": f"{EPOCH}:1",
        "lane_id": "DEMO-01",
        "name": "Lane 1",
        "site": "Demonstration",
        "direction": "in",
        "time_zone": "America/Chicago",
        "mode": "open",
        "mode_cause": None,
        "condition": "ok",
        "condition_reasons": (),
        "simulated": True,
        "officer": "DEMO-1",
        "devices": devices,
        "alarms": alarms,
        "inspection": inspection,
        "last": LastView(verdict="release", level="clear", plate="57-AK-3R", at_utc_us=T0_US),
        "centre": CentreView(state="connected", waiting=12),
        "simulated_officer": None,
        "panel_diagonal_in": 12.1,
    }
    return LaneView(**{**snapshot, **other})


def free() -> LaneView:
    """No vehicle."""
    return lane()


def scanning() -> LaneView:
    """A truck between portal and scanner: no advice yet."""
    measuring = RadiationView(
        gamma=GAMMA.model_copy(update={"state": "measuring", "max_cps": None}),
        neutron=NEUTRON.model_copy(update={"state": "measuring", "max_cps": None}),
    )
    truck = vehicle(
        None,
        ("measuring", "vehicle_not_at_barrier"),
        state="measuring",
        coverage=coverage(WAITING),
        radiation=measuring,
        scan=scan(state="scanning", lines=2000, col_tail=None, image=None, calibration="none"),
    )
    return lane(truck)


def clear() -> LaneView:
    """Everything done, nothing found: Release is free."""
    return lane(vehicle())


def review() -> LaneView:
    """The radiograph must be read first; the plate is only probable."""
    opinion = {"device": "rpm1", "channel": "neutron", "outcome": "low_confidence"}
    reason = Reason(rule="R6", code="second_opinion", args=opinion)
    plate = PlateIdentity(text="LXR 4827", region="US-TX", status="probable", confidence=0.71)
    identity = Identity(status="probable", plate=plate)
    return lane(vehicle(Level.REVIEW_IMAGE, ("read_image",), reasons=(reason,), identity=identity))


def secondary() -> LaneView:
    """Scanner lost in the middle, plate unread: more reasons than fit."""
    broken = {
        "scanner": Check(state=CoverageState.FAILED, reason="link", fraction=0.4),
        "lpr": Check(state=CoverageState.FAILED, reason="unreadable"),
    }
    reasons = tuple(
        Reason(rule="R5", code=code, args={"device": "rpm1", "reason": why})
        for code, why in (
            ("scan_missing", "link"),
            ("ident_missing", "unreadable"),
            ("tamper", "fault"),
            ("rpm_missing", "partial"),
        )
    )
    part = scan(state="incomplete", cause="link", lines=1500, lines_lost=80, col_tail=None, starved_m2=0.42)
    truck = vehicle(
        Level.SECONDARY,
        ("needs_supervisor",),
        reasons=reasons,
        coverage=coverage(**broken),
        identity=Identity(status="unverified"),
        scan=part,
        photo=None,
        plate_photo=None,
    )
    low = alarm("required_device_lost", truck, priority=2, device="scanner1", values={})
    panels = alarm("panel_stuck", None, priority=3, values={"panel": "ML SU"})
    return lane(truck, low, panels, condition="degraded", condition_reasons=("scanner1",))


def hot_spot(kind: str, s_m: float, sigma_m: float, **other: Any) -> HotSpot:
    """Return a place along the vehicle."""
    point = {"fwhm_m": 5.0, "distributed": False, "speed_from": "encoder", "version": 2}
    return HotSpot.model_validate({"kind": kind, "s_m": s_m, "sigma_m": sigma_m, **point, **other})


def alarm_neutron() -> LaneView:
    """A neutron alarm nobody acknowledged: one place, and gamma that may be at two."""
    unsure = [hot_spot("gamma", at_m, 0.4, candidate=True) for at_m in (6.5, 9.9)]
    channels = RadiationView(
        gamma=GAMMA,
        neutron=NEUTRON.model_copy(update={"max_cps": 61, "alarm": True}),
        hot_spots=(*unsure, hot_spot("neutron", 6.4, 0.55)),
    )
    args = {"device": "rpm1", "counts": 61, "limit": 9, "one_in": 10_000}
    reason = Reason(rule="R2", code="neutron_alarm", args=args)
    truck = vehicle(Level.HOLD, ("needs_supervisor",), reasons=(reason,), radiation=channels)
    return lane(truck, alarm("neutron_alarm", truck), alarm("tamper", truck, priority=2, values={}))


def alarm_gamma() -> LaneView:
    """A gamma alarm of spread goods that was acknowledged: the band stays."""
    channels = RadiationView(
        gamma=GAMMA.model_copy(update={"max_cps": 239_500, "limit_cps": 14_120.0, "alarm": True}),
        neutron=NEUTRON,
        hot_spots=(hot_spot("gamma", 9.4, 0.3, fwhm_m=11.2, distributed=True),),
    )
    numbers = {"device": "rpm1", "counts": 239_500, "limit": 14_120, "one_in": 10_000}
    reasons = (
        Reason(rule="R4", code="gamma_alarm", args=numbers),
        Reason(rule="R4", code="declared_norm", args={"goods": "tiles", "heading": "6907"}),
    )
    truck = vehicle(Level.SECONDARY, ("needs_supervisor",), reasons=reasons, radiation=channels)
    values = {"counts": 239_500, "limit": 14_120, "ratio": 17.0}
    return lane(truck, alarm("gamma_alarm", truck, state="ack", values=values))


def alarm_two() -> LaneView:
    """The gamma alarm was acknowledged, another alarm of the first rank waits: two bands."""
    seen = alarm_gamma()
    moved = alarm("barrier_moved_unordered", seen.inspection, device="io1", values={})
    return seen.model_copy(update={"alarms": (*seen.alarms, moved)})


def decided() -> LaneView:
    """Released: the truck drives out."""
    order = Decision(verdict=Verdict.RELEASE, officer="DEMO-1", at_utc_us=T0_US, seq=41)
    return lane(vehicle(Level.CLEAR, ("decided",), state="decided", decision=order))


def held() -> LaneView:
    """Held by the officer; the lane cannot open, and its centre has never asked."""
    truck = vehicle(Level.HOLD, ("needs_supervisor",), flags=("held",))
    centre = CentreView(state="never", waiting=12_480)
    return lane(truck, mode="out_of_service", mode_cause="cannot_record", centre=centre, simulated=False)


def alarm_ended() -> LaneView:
    """A tamper alarm that ended before anybody saw it, and one below the first rank."""
    truck = vehicle()
    ended = alarm("barrier_moved_unordered", truck, state="rtn_unack", device="io1", values={})
    return lane(truck, ended, alarm("calibration_failed", truck, priority=2, device="scanner1", values={}))


def officer() -> LaneView:
    """The demonstration's officer will decide."""
    at_us = time.time_ns() // 1000 + 12_000_000
    return lane(vehicle(), simulated_officer=SimulatedOfficerView(decides_utc_us=at_us))


def alarm_left() -> LaneView:
    """A gamma alarm whose vehicle drove away; another one, which is clear, stands in its place."""
    values = {"counts": 239_500, "limit": 14_120, "ratio": 17.0, "plate": "MR 3917 T"}
    return lane(vehicle(), alarm("gamma_alarm", None, inspection_id="gone", values=values))


def image_read() -> LaneView:
    """The radiograph was read: only the decision is missing. The portal has contacts alone."""
    truck = review().inspection
    assert truck is not None
    alone = ChannelView(state="done", counted=False)
    channels = RadiationView(gamma=alone.model_copy(update={"alarm": True}), neutron=alone)
    free = {"image_read": True, "release": ReleaseView(allowed=True, locks=()), "radiation": channels}
    return lane(truck.model_copy(update=free))


def scanner_lost() -> LaneView:
    """The scanner's link is gone while it measures, and the portal did not measure all of the truck."""
    seen = scanning()
    part = Check(state=CoverageState.FAILED, reason="partial", fraction=0.5)
    failed = {"state": "failed", "max_cps": 1204}
    channels = RadiationView(
        gamma=GAMMA.model_copy(update=failed), neutron=NEUTRON.model_copy(update={**failed, "max_cps": None})
    )
    truck = seen.inspection
    assert truck is not None
    truck = truck.model_copy(update={"coverage": coverage(WAITING, rpm=part), "radiation": channels})
    devices = tuple(
        device.model_copy(update={"state": "backoff"}) if device.name == "scanner1" else device
        for device in seen.devices
    )
    return lane(truck, devices=devices)
