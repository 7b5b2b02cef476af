"""A passage that a portal told afterwards as one occupancy: measured, judged, drawn; work for a thread.

Its samples are those of the document, its background is what the portal counted before the vehicle came; one
that was counted beside or behind it is used where there is no other, and "no alarm" is then not plain.
Neutrons are summed to records of a second, which is what their tests are made for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from drivers.readings import Channel, Counts, Phase, PortalReport, Stamp
from imaging.radiation.background import BackgroundRules
from imaging.radiation.opinion import NEUTRON_RECORD_S, StationOpinion
from imaging.radiation.verdict import BackgroundEstimate, OpinionResult
from station.domain.occupancy_record import Occupancy
from station.domain.values import OccupancySummary
from station.lane.effects import KeepReport
from station.lane.measured import WINDOW_S, summary_of
from station.lane.profile import panels
from station.lane.strips import trace

INTERVALS_S = (0.01, WINDOW_S)
"""Counting times of a gamma record that can be judged."""
MOST_S = 3_600.0
"""Of the counting time of a background; a longer one makes no limit sharper."""
SAME_S = 1e-3


@dataclass(frozen=True, slots=True)
class Judged:
    """What a report amounts to, and its profile as it is stored."""

    summary: OccupancySummary
    trace: bytes


def judged(work: KeepReport) -> Judged:
    """Return what a report amounts to."""
    report = work.report
    scans = sorted((each for each in report.counts if each.phase is Phase.SCAN), key=_mono)
    gamma = [each for each in scans if each.channel is Channel.GAMMA]
    interval_s = _common(gamma)
    window = max(1, round(WINDOW_S / interval_s)) if interval_s else 1
    gross = (
        work.gross
        if interval_s is None
        else replace(work.gross, interval_s=interval_s, window_intervals=window)
    )
    opinion = StationOpinion(gross, BackgroundRules(), frozenset(map(str, work.portal.channels)))
    start = _start(report, scans)
    free_ns = start.mono_ns - round(BackgroundRules().guard_s * 1e9)
    for channel in Channel:
        learnt = _background(report, channel, free_ns)
        if (counted := learnt or _background(report, channel)) is not None:
            opinion.take_background(channel, counted, () if learnt else ("background_beside",))
    seconds = list(_seconds([each for each in scans if each.channel is Channel.NEUTRON]))
    occupancy = Occupancy(
        work.occupancy_id,
        start,
        start_known=True,
        close_reason="reported",
        alarms=set(report.alarms),
        tamper=report.tamper,
        doubts=_doubts(work),
    )
    result = _measure(occupancy, sorted([*gamma, *seconds], key=_mono), opinion, disturbed=work.disturbed)
    for speed in report.speeds:
        occupancy.speeds.append((occupancy.offset_s(speed.stamp.mono_ns), speed.speed_mps))
    limit = None if result.gamma_limit is None else float(result.gamma_limit)  # the device's is not known
    summary = summary_of(work.device, work.portal, occupancy, result, limit)
    summary = summary.model_copy(update={"report": report.key})
    return Judged(summary, _trace(occupancy, report, result, summary))


def _mono(counts: Counts) -> int:
    return counts.stamp.mono_ns


def _doubts(work: KeepReport) -> set[str]:
    doubts = {"fault"} if work.report.faults else set()
    return doubts if work.certain else doubts | {"attribution_uncertain"}


def _start(report: PortalReport, scans: list[Counts]) -> Stamp:
    if scans:
        return min((each.stamp.plus(-each.interval_s) for each in scans), key=lambda stamp: stamp.mono_ns)
    begin_ns = report.span[0] if report.span else report.stamp.utc_ns
    return report.stamp.plus((begin_ns - report.stamp.utc_ns) / 1e9)


def _common(records: list[Counts]) -> float | None:
    """Return the counting time of all records; ``None`` where they have none in common, or an odd one."""
    first_s = records[0].interval_s if records else 0.0
    same = all(abs(each.interval_s - first_s) <= SAME_S for each in records)
    return first_s if same and INTERVALS_S[0] <= first_s <= INTERVALS_S[1] else None


def _background(
    report: PortalReport, channel: Channel, before_ns: int | None = None
) -> BackgroundEstimate | None:
    """Return what the portal counted without a vehicle, by ``before_ns`` if that is given.

    Records of which a panel is missing do not count.
    """
    records = [
        each
        for each in report.counts
        if each.phase is Phase.BACKGROUND and each.channel is channel and not each.partial and each.interval_s
        if before_ns is None or _mono(each) <= before_ns
    ]
    counting_s = sum(each.interval_s for each in records)
    columns = zip(*(each.counts for each in records), strict=True)
    cps = tuple(sum(filter(None, column)) / counting_s for column in columns) if records else ()
    if not cps:
        return None
    return BackgroundEstimate(cps, min(counting_s, MOST_S), len(records), max(map(_mono, records)))


def _seconds(records: list[Counts]) -> Iterator[Counts]:
    """Yield sums over consecutive records that are a second together; as they are where none are."""
    interval_s = _common(records)
    number = round(NEUTRON_RECORD_S / interval_s) if interval_s else 0
    if number < 2 or abs(number * (interval_s or 0.0) - NEUTRON_RECORD_S) > SAME_S:
        yield from records
        return
    run: list[Counts] = []
    for record in records:
        if run and _mono(record) - _mono(run[-1]) > 1.5e9 * record.interval_s:
            run = []
        run.append(record)
        if len(run) == number:
            columns = zip(*(each.counts for each in run), strict=True)
            yield replace(record, interval_s=NEUTRON_RECORD_S, counts=tuple(map(_whole, columns)))
            run = []


def _whole(counts: Iterable[int | None]) -> int | None:
    """Return the sum; ``None`` where one is missing."""
    present = list(counts)
    return None if None in present else sum(filter(None, present))


def _measure(
    occupancy: Occupancy, records: list[Counts], opinion: StationOpinion, *, disturbed: bool
) -> OpinionResult:
    opinion.open(records[0].stamp.mono_ns if records else occupancy.start.mono_ns)
    for record in records:
        channel, now_ns = record.channel, record.stamp.mono_ns
        if occupancy.silent(channel, now_ns):
            occupancy.gap(channel, now_ns, "silence")
            opinion.gap(channel)
        occupancy.add(record)
        opinion.scan(channel, now_ns, record.counts, record.interval_s)
    return opinion.close(occupancy.end_ns, scanner_active=disturbed)


def _trace(
    occupancy: Occupancy, report: PortalReport, result: OpinionResult, summary: OccupancySummary
) -> bytes:
    whole = trace(None, occupancy, 0.0)
    whole["gamma"] |= {"background": summary.gamma_background, "limit": summary.gamma_limit}
    whole["neutron"] |= {"limit": summary.neutron_limit}
    whole["panels"] = panels(occupancy, report.detectors, result)
    return json.dumps(whole, separators=(",", ":")).encode()
