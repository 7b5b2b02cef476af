"""What a portal measured of one vehicle: its alarm at once, its occupancy when that is over."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.api import PortalFacts
from drivers.readings import Channel, Counts
from imaging.radiation.verdict import OpinionResult, Verdict
from station.domain import alarms
from station.domain.events import (
    LaneAlarmRaised,
    OccupancyEnded,
    RadiationAlarmRaised,
    RadiationOpinionDisagreed,
)
from station.domain.occupancy_record import Occupancy
from station.domain.rules import Alarm
from station.domain.second_opinion import opinions, uncounted
from station.domain.values import AlgorithmVerdict, Args, OccupancySummary
from station.lane.core import Core, Passage
from station.lane.effects import BlobKept

WINDOW_S = 1.0
"""Gamma counts are judged by sums over so long."""


def radiation_alarm(
    core: Core,
    passage: Passage,
    device: str,
    channel: Channel,
    record: Counts | None = None,
    cps: int | None = None,
    limit: float | None = None,
    *,
    uncertain: bool,
) -> None:
    """Raise the device's own alarm on the vehicle in the lane; ``record`` is what alarmed, if it is known."""
    values: Args = {
        "counts": cps,
        "limit": limit,
        "ratio": round(cps / limit, 2) if cps is not None and limit else None,
        "background": passage.backgrounds.get(channel),
        "uncertain": uncertain,
    }
    alarm_id = core.raise_alarm(f"{channel}_alarm", device, values)
    passage.alarmed.add(str(channel))
    passage.inspection.alarm(channel, Alarm(device, cps, limit))
    core.tell(
        RadiationAlarmRaised,
        alarm_id=alarm_id,
        device=device,
        channel=channel,
        counts=record.counts if record is not None else (),
        interval_s=record.interval_s if record is not None else 0.0,
        counts_1s=cps,
        limit=limit,
    )


def measured(core: Core, passage: Passage, summary: OccupancySummary, blobs: Mapping[str, BlobKept]) -> None:
    """An occupancy of the vehicle in the lane is over, and as durable as it can be: it counts."""
    uses, inspection = passage.keep(blobs), passage.inspection
    summary = summary.on(passage.scan)
    passage.occupancies.append(summary)
    for opinion, _ in opinions(summary):
        inspection.opine(opinion)
    if _disagreed(core, inspection.inspection_id, summary):
        core.lane_alarm("station_only", summary.device)
    inspection.finish("rpm", core.now_s, summary.reason, float(summary.complete))
    core.tell(OccupancyEnded, **summary.model_dump(), blobs=uses)


def told_late(core: Core, inspection_id: str | None, plate: str, summary: OccupancySummary) -> None:
    """Tell what the station alone sees of a vehicle that is sealed, or that no inspection knows."""
    if _disagreed(core, inspection_id, summary):
        late_alarm(core, "late_station_only", summary.device, inspection_id, plate)


def late_alarm(core: Core, code: str, device: str, inspection_id: str | None, plate: str) -> None:
    """Raise an alarm about a vehicle that is not in the lane; one that sounds already is not repeated."""
    for known in core.book:
        if (known.code, known.device, known.inspection_id) == (code, device, inspection_id) and known.active:
            return
    values: Args = {"plate": plate} if plate else {}
    alarm = alarms.Alarm(core.new_id(), code, device, inspection_id, core.now.utc_ns // 1000, values=values)
    core.book.add(alarm)
    core.emit(
        LaneAlarmRaised,
        alarm_id=alarm.alarm_id,
        code=code,
        device=device,
        priority=alarm.priority,
        inspection_id=inspection_id,
        version=None if inspection_id is None else 0,
    )


def _disagreed(core: Core, inspection_id: str | None, summary: OccupancySummary) -> bool:
    """Tell where the station's tests contradict the device; return whether they alone alarm."""
    found = [(opinion.channel, relation) for opinion, relation in opinions(summary)]
    for channel, relation in found:
        if relation in ("device_only", "station_only") and inspection_id is not None:
            told = {"device": summary.device, "channel": channel, "relation": relation}
            core.emit(RadiationOpinionDisagreed, inspection_id=inspection_id, version=0, **told)
    return any(relation == "station_only" for _, relation in found)


def summary_of(
    device: str,
    portal: PortalFacts,
    occupancy: Occupancy,
    opinion: OpinionResult,
    limit: float | None,
) -> OccupancySummary:
    """Return what one portal saw of one vehicle; ``limit`` is the device's own on gamma, if it is known."""
    background = opinion.gamma_background.total_cps if opinion.gamma_background else None
    sigma, missing = occupancy.sigma_max(background), occupancy.missing(portal.channels)
    return OccupancySummary(
        occupancy_id=occupancy.occupancy_id,
        device=device,
        close_reason=occupancy.close_reason,
        device_count=occupancy.device_count,
        complete=not missing,
        missing=tuple(missing),
        start_known=occupancy.start_known,
        duration_s=round(occupancy.duration_s, 3),
        gamma_max_1s=occupancy.gamma.max_1s,
        gamma_background=background,
        gamma_limit=limit,
        neutron_max=occupancy.neutron.best_total,
        neutron_limit=opinion.neutron_limit,
        sigma_max=_rounded(sigma, 3),
        suppression=_rounded(opinion.suppression, 3),
        suppression_limit=_rounded(opinion.suppression_limit, 3),
        s50=_rounded(opinion.s50, 1),
        gamma_alarm=Channel.GAMMA in occupancy.alarms,
        neutron_alarm=Channel.NEUTRON in occupancy.alarms,
        tamper=occupancy.tamper,
        gaps=len(occupancy.gaps),
        verdicts=(*map(_verdict, opinion.verdicts), *uncounted(portal.alarms - portal.channels)),
    )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _verdict(verdict: Verdict) -> AlgorithmVerdict:
    return AlgorithmVerdict(
        algo=verdict.algo,
        version=verdict.version,
        channel=verdict.channel,
        params=dict(verdict.params),
        statistic=verdict.statistic,
        threshold=verdict.threshold,
        t_first_s=verdict.t_first_s,
        outcome=str(verdict.outcome),
        reason=verdict.reason,
    )
