"""Passages that a portal tells afterwards, in documents: whose they are, and that each of them counts once.

An alarm is raised in the moment that a report is read. The document is judged and stored in a thread; when
its record is durable the device is told so and need not keep it. A report that comes again (after a restart,
a lost answer, a copy of it) is known by its key: its record is not made twice, and nothing of it is lost.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Any

from drivers.readings import PortalReport
from imaging.radiation.gross import GrossConfig
from station.domain import alarms
from station.domain.alarms import LATE
from station.domain.attribution import Match, Vehicle, contradicted, match
from station.domain.device_events import ReportRefused, ReportUnattributed
from station.domain.values import Args, CoverageState, Identity, OccupancySummary
from station.lane.core import Core, Passage, Pending, blob_uses
from station.lane.effects import BlobKept, KeepReport, ReportKept, Show, TakeReport
from station.lane.measured import late_alarm, measured, radiation_alarm, told_late
from station.lane.restart import Record, spared
from station.lane.sequencer import open_inspection

KEPT_VEHICLES = 512
"""Vehicles that have left and whose report may still come; one of an older one belongs to nobody."""
KEPT_KEYS = 4_096
LATE_US = 600_000_000
"""A report of nobody that is older says nothing about the vehicle in the lane."""
FRESH_US = 60_000_000
"""Without loops a report that is so young is of a vehicle that nobody else can see."""
TOLD = frozenset({"carril.occupancy.ended", "carril.inspection.amended", "carril.report.unattributed"})
"""Records that may tell of a report."""


class Reports:
    """All reports of the lane's portals."""

    def __init__(self, core: Core) -> None:
        """Know no vehicle and no report."""
        self._core = core
        self._gone: deque[Vehicle] = deque(maxlen=KEPT_VEHICLES)
        self._known: OrderedDict[str, str] = OrderedDict()
        """Reports by key: ``coming``, ``recorded``, or ``bare`` where the document could not be stored."""

    # --- what was before --------------------------------------------------------------------------

    def restore(self, records: Iterable[Record]) -> None:
        """Go on from the newest records, oldest first: who was here, and which reports are recorded."""
        for record in records:
            with spared(record):
                self._learn(record[1], record[2])

    def _learn(self, kind: str, data: Mapping[str, Any]) -> None:
        if kind == "carril.inspection.sealed":
            places = {place: data[f"{place}_at_utc_us"] for place in ("entry", "booth", "exit")}
            moments = {place: at_us for place, at_us in places.items() if at_us is not None}
            gone_us = moments.get("exit", data["stamp"]["utc_us"])
            identity = Identity.model_validate(data["identity"])
            opened_us = data["opened_at_utc_us"]
            self._gone.append(Vehicle.of(data["inspection_id"], opened_us, moments, gone_us, identity))
        elif kind == "carril.report.refused":
            self._note(data["report"], "recorded")
        elif kind in TOLD and (key := _report_of(data)) is not None:
            stored = any(blob["role"] == "n42" for blob in data["blobs"])
            if stored or self._known.get(key) != "recorded":
                self._note(key, "recorded" if stored else "bare")

    def vehicle_left(self, passage: Passage) -> None:
        """The vehicle is sealed: its report may come later."""
        self._gone.append(self._vehicle(passage))

    def _vehicle(self, passage: Passage) -> Vehicle:
        inspection = passage.inspection
        gone_us = passage.moments.get("exit", self._core.now.utc_ns // 1000)
        return Vehicle.of(
            inspection.inspection_id, inspection.opened_utc_us, passage.moments, gone_us, inspection.identity
        )

    def _note(self, key: str, state: str) -> None:
        self._known[key] = state
        self._known.move_to_end(key)
        while len(self._known) > KEPT_KEYS:
            self._known.popitem(last=False)

    # --- a report comes ---------------------------------------------------------------------------

    def reading(self, device: str, report: PortalReport) -> None:
        """Take one report."""
        state = self._known.get(report.key)
        if state == "recorded":
            self._core.effects.append(TakeReport(device, report.key))
        if state in ("recorded", "coming"):
            return
        self._note(report.key, "coming")
        if report.refused:
            self._refuse(device, report, report.refused)
            return
        found = self._match(report)
        passage = self._passage_of(found, report)
        if state is None:
            self._raise(device, report, found, passage)
        if passage is not None:
            self._begin(device, report, passage, certain=found is None or found.certain)
        vehicle_id = found.vehicle.inspection_id if found is not None else None
        self._core.effects.append(
            KeepReport(
                device=device,
                report=report,
                inspection_id=passage.inspection.inspection_id if passage is not None else vehicle_id,
                occupancy_id=self._core.new_id(),
                portal=self._core.facts.portal_of(device),
                gross=GrossConfig(self._core.facts.p_occupancy, self._core.facts.design_s),
                disturbed=self._core.facts.scanner_disturbs and bool(self._core.facts.of_role("LineScanner")),
                certain=found is None or found.certain,
                known=state == "bare",
            )
        )

    def _refuse(self, device: str, report: PortalReport, why: str) -> None:
        self._core.emit(ReportRefused, device=device, report=report.key, name=report.name, why=why)
        if self._core.book.find("report_refused", device) is None:
            self._core.lane_alarm("report_refused", device)
        self._core.settled.append((device, report.key, True))

    def _match(self, report: PortalReport) -> Match | None:
        here = self._core.passage
        vehicles = [*self._gone, *([self._vehicle(here)] if here is not None else [])]
        found = match(_span_us(report), report.item, vehicles)
        if found is None or here is None or "second_vehicle" not in here.inspection.marks:
            return found
        mine = found.vehicle.inspection_id == here.inspection.inspection_id
        return Match(found.vehicle, found.certain and not mine, found.others)

    def _passage_of(self, found: Match | None, report: PortalReport) -> Passage | None:
        """Return the passage in the lane if the report is its own; without loops a fresh one opens one."""
        here = self._core.passage
        if found is not None:
            mine = here is not None and here.inspection.inspection_id == found.vehicle.inspection_id
            return here if mine else None
        if here is None and not self._core.facts.of_role("DigitalIo") and self._age_us(report) <= FRESH_US:
            return open_inspection(self._core, "occupancy")
        return None

    def _age_us(self, report: PortalReport) -> int:
        """Return how far the end of the passage is from now, by the portal's clock."""
        return abs(self._core.now.utc_ns - (report.span[1] if report.span else 0)) // 1000

    def _begin(self, device: str, report: PortalReport, passage: Passage, *, certain: bool) -> None:
        core = self._core
        passage.inspection.work(+1, core.now_s)
        if report.tamper:
            core.tampered(device)
        if not certain:
            core.doubt("rpm", "ambiguous")

    # --- its alarms -------------------------------------------------------------------------------

    def _raise(self, device: str, report: PortalReport, found: Match | None, passage: Passage | None) -> None:
        """Raise the device's alarms at once: on the vehicle in the lane, on one that left, or on nobody."""
        here = passage or self._perhaps(report, found)
        for channel in report.alarms:
            fresh = here is not None and channel not in here.alarmed
            if here is not None and fresh:
                uncertain = passage is None or (found is not None and not found.certain)
                radiation_alarm(self._core, here, device, channel, uncertain=uncertain)
            if passage is None and (found is not None or not fresh):
                vehicle = found.vehicle if found is not None else None
                subject, plate = (vehicle.inspection_id, vehicle.plate) if vehicle is not None else (None, "")
                late_alarm(self._core, LATE[channel], device, subject, plate)

    def _perhaps(self, report: PortalReport, found: Match | None) -> Passage | None:
        """Return the passage in the lane if the report may be its own after all."""
        here = self._core.passage
        if here is None:
            return None
        if found is not None:
            fits = any(each.inspection_id == here.inspection.inspection_id for each in found.others)
            return here if fits and not found.certain else None
        waits = here.inspection.checks["rpm"].state != CoverageState.DONE
        other = contradicted(report.item, self._vehicle(here))
        return here if waits and not other and self._age_us(report) <= LATE_US else None

    # --- its record -------------------------------------------------------------------------------

    def kept(self, result: ReportKept) -> None:
        """The report is judged, its document durable (or not): now it counts."""
        core, work, passage = self._core, result.work, self._core.passage
        key = work.report.key
        mine = passage is not None and passage.inspection.inspection_id == work.inspection_id
        if passage is not None and mine:
            passage.inspection.work(-1, core.now_s)
        stored = "n42" in result.blobs
        if result.summary is None:
            self._refuse(work.device, work.report, result.failed or "")
        elif work.known and not stored:
            self._note(key, "bare")  # as it was
        else:
            if passage is not None and mine and not work.known:
                self._count(passage, result.summary, result.blobs)
            else:
                self._amend(work, result.summary, result.blobs)
                if not work.known:
                    told_late(core, work.inspection_id, self._plate(work.inspection_id), result.summary)
            self._core.settled.append((work.device, key, stored))

    def _count(self, passage: Passage, summary: OccupancySummary, blobs: Mapping[str, BlobKept]) -> None:
        core = self._core
        passage.limits |= {"gamma": summary.gamma_limit, "neutron": summary.neutron_limit}
        passage.counted("gamma", summary.gamma_max_1s, summary.gamma_limit)
        passage.counted("neutron", summary.neutron_max, summary.neutron_limit)
        passage.backgrounds["gamma"] = summary.gamma_background
        vehicle = passage.inspection.inspection_id
        if alarms.measured(core.book, summary.device, vehicle, passage.maxima, passage.peak_limits):
            core.effects.append(Show())
        measured(core, passage, summary, blobs)

    def _plate(self, inspection_id: str | None) -> str:
        return next((gone.plate for gone in self._gone if gone.inspection_id == inspection_id), "")

    def _amend(self, work: KeepReport, summary: OccupancySummary, blobs: Mapping[str, BlobKept]) -> None:
        core, report, span = self._core, work.report, _span_us(work.report)
        uses = blob_uses(blobs)
        if work.inspection_id is not None:
            fields: Args = {"name": report.name, "report": report.key, "certain": work.certain}
            core.amend(
                work.inspection_id,
                "report",
                device=work.device,
                fields=fields,
                blobs=uses,
                occupancy=None if work.known else summary,
            )
        else:
            core.emit(
                ReportUnattributed,
                device=work.device,
                name=report.name,
                begin_utc_us=span[0] if span else None,
                end_utc_us=span[1] if span else None,
                item=dict(report.item),
                occupancy=summary,
                blobs=uses,
            )

    # --- it is durable ----------------------------------------------------------------------------

    def settle(self, token: int) -> dict[int, Pending]:
        """Return what happens once the records that are appended now, under this token, are durable."""
        settled, self._core.settled = self._core.settled, []
        return {token: Pending(stored=lambda seq: self._stored(settled))} if settled else {}

    def _stored(self, settled: Iterable[tuple[str, str, bool]]) -> None:
        """These reports are recorded: the device need not keep those whose document is stored, too."""
        for device, key, whole in settled:
            self._note(key, "recorded" if whole else "bare")
            if whole:
                self._core.effects.append(TakeReport(device, key))


def _span_us(report: PortalReport) -> tuple[int, int] | None:
    return None if report.span is None else (report.span[0] // 1000, report.span[1] // 1000)


def _report_of(data: Mapping[str, Any]) -> str | None:
    """Return the key of the report that a record tells of, if it does."""
    places = (data, data.get("occupancy") or {}, data.get("fields") or {})
    return next((place["report"] for place in places if place.get("report")), None)
