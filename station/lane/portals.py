"""Radiation portals: occupancies become measurements, device alarms become alarms, at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from drivers.api import PortalFacts
from drivers.readings import (
    Channel,
    Counts,
    Phase,
    PortalReading,
    PortalSetup,
    PortalStatus,
    Speed,
)
from imaging.radiation.background import BackgroundRules
from imaging.radiation.gross import GrossConfig
from imaging.radiation.opinion import StationOpinion, device_rule
from imaging.radiation.verdict import OpinionResult
from station.domain import alarms
from station.domain.device_events import CountsMissed, DeviceSetupChanged, PortalNoted
from station.domain.events import OccupancyEnded, OccupancyStarted
from station.domain.inspection import Inspection
from station.domain.occupancy_effects import (
    AlarmRaised,
    Amended,
    BackgroundTaken,
    Closed,
    Effect,
    Missed,
    Noted,
    Orphaned,
    SetupChanged,
    Started,
    StationAlarm,
    TamperChanged,
)
from station.domain.occupancy_record import Occupancy
from station.domain.polled import PolledMachine
from station.domain.values import OccupancySummary, StandingPortal
from station.lane.core import Core, DeviceFacts, Passage, blob_uses
from station.lane.effects import BlobKept, KeepTrace, LiveSample, Show, TraceKept
from station.lane.hotspot import seek
from station.lane.hours import LaneHours
from station.lane.measured import WINDOW_S, measured, radiation_alarm, summary_of, told_late
from station.lane.panels import PanelWatch
from station.lane.profile import panels
from station.lane.restart import Record
from station.lane.sequencer import open_inspection, tamper
from station.lane.strips import trace
from station.lane.track import Track
from station.lane.unended import unended
from station.lane.unplaced import located, with_places

KEPT_OCCUPANCIES = 16
STATION_WAIT_S = 3.0
"""The device has so long to alarm itself, before the officer is told that the station alone does."""
AMENDED = ("occupancy_id", "complete", "close_reason", "gamma_alarm", "neutron_alarm", "suppression")
"""What is told of an occupancy that ended when its inspection was sealed."""


@dataclass(slots=True)
class _Portal:
    facts: PortalFacts
    machine: PolledMachine
    opinion: StationOpinion
    crossed_s: dict[Channel, float] = field(default_factory=dict)
    """Since when the station's own tests alarm on the vehicle that stands there, by channel."""
    setup: dict[str, float | str] = field(default_factory=dict)
    """What the device has told of its set-up, all its records together."""
    inspections: dict[str, Inspection] = field(default_factory=dict)
    """Inspection of each occupancy that is open or closed lately: an end marker may come up to 60 s late."""


class Portals:
    """All portals of the lane."""

    def __init__(self, core: Core, hours: LaneHours) -> None:
        """Build one machine per portal."""
        self._core = core
        self._portals = {d.name: self._portal(d) for d in core.facts.of_role("PortalMonitor")}
        self._panels = PanelWatch(core)
        self._hours = hours
        self._closing: dict[str, tuple[OccupancySummary, KeepTrace]] = {}

    def _portal(self, device: DeviceFacts) -> _Portal:
        facts, portal = self._core.facts, device.portal
        gross = GrossConfig(p_occupancy=facts.p_occupancy, design_s=facts.design_s)
        if portal.interval_s is not None:
            intervals = max(1, round(WINDOW_S / portal.interval_s))
            gross = replace(gross, interval_s=portal.interval_s, window_intervals=intervals)
        channels = frozenset(map(str, portal.channels)) | ({"windows"} if portal.windows else set())
        rules = BackgroundRules(averaging_s=facts.averaging_s(portal))
        opinion = StationOpinion(gross, rules, channels, facts.s50_max_counts)
        return _Portal(portal, PolledMachine(portal.channels, opinion, self._core.new_id), opinion)

    # --- readings -------------------------------------------------------------------------------

    def reading(self, device: str, reading: PortalReading) -> None:
        """Take one record of a portal."""
        portal = self._portals[device]
        portal.machine.scanner_active = self._core.scanner_disturbs
        if isinstance(reading, PortalSetup):
            portal.setup |= reading.values
            if rule := device_rule(portal.setup):
                portal.opinion.setup(*rule)
        self._do(device, portal.machine.accept(reading))
        passage = self._core.passage
        if isinstance(reading, Speed) and passage is not None:
            passage.track.add_speed(reading.stamp.mono_ns / 1e9, reading.speed_mps)
        if isinstance(reading, PortalStatus) and reading.occupied and passage is not None:
            passage.inspection.seen(self._core.now_s)
        if isinstance(reading, Counts):
            self._live(device, portal, reading, passage)

    def _live(self, device: str, portal: _Portal, reading: Counts, passage: Passage | None) -> None:
        if reading.phase == Phase.SCAN and portal.machine.open is not None:
            middle_s = reading.stamp.mono_ns / 1e9 - reading.interval_s / 2
            nose_m = passage.track.nose_at(middle_s) if passage is not None else None
            s_m = None if nose_m is None else round(nose_m - self._core.facts.geometry.portal_m, 3)
            live = LiveSample(reading.channel, reading.stamp, reading.total, s_m, reading.interval_s)
            self._core.effects.append(live)
            if passage is not None:
                passage.inspection.seen(self._core.now_s)
                self._maxima(device, portal.machine.open, passage)

    def _maxima(self, device: str, occupancy: Occupancy, passage: Passage) -> None:
        passage.counted("gamma", occupancy.gamma.max_window, passage.limits.get("gamma"))
        passage.counted("neutron", occupancy.neutron.best_total, passage.limits.get("neutron"))
        vehicle = passage.inspection.inspection_id
        if alarms.measured(self._core.book, device, vehicle, passage.maxima, passage.peak_limits):
            self._core.effects.append(Show())

    def link(self, device: str, *, up: bool) -> None:
        """A portal's link came up or went down."""
        portal = self._portals.get(device)
        if portal is not None:
            self._do(device, portal.machine.link(up=up, now_ns=self._core.now.mono_ns))

    def is_open(self, device: str) -> bool:
        """Whether a portal's tamper contact stands open."""
        return device in self._portals and self._portals[device].machine.tamper

    def clear_tamper(self, device: str) -> None:
        """Take a portal's contact as closed until it says again that it is open."""
        self._do(device, self._portals[device].machine.clear_tamper())

    def tick(self) -> None:
        """Let time pass."""
        for device, portal in self._portals.items():
            portal.machine.presence = self._core.passage is not None
            self._do(device, portal.machine.tick(self._core.now.mono_ns))
            self._station_alone(device, portal)

    def _station_alone(self, device: str, portal: _Portal) -> None:
        """Do not wait until a vehicle has left the portal to tell that the station alone alarms on it."""
        core, occupancy = self._core, portal.machine.open
        due = [c for c, since_s in portal.crossed_s.items() if core.now_s - since_s >= STATION_WAIT_S]
        for channel in due:
            del portal.crossed_s[channel]
            if occupancy is None or channel in occupancy.alarms or core.inspection is None:
                continue
            if _subject(portal, occupancy.occupancy_id) == core.inspection.inspection_id:
                core.lane_alarm("station_only", device)

    def standing(self) -> tuple[StandingPortal, ...]:
        """Return what each portal will not say again by itself."""
        return tuple(
            StandingPortal(
                device=device,
                last_count=portal.machine.last_count,
                tamper=portal.machine.tamper,
                **self._panels.standing(device),
            )
            for device, portal in self._portals.items()
        )

    def stop(self) -> None:
        """The station ends: what is open closes, and is recorded without waiting for its profile."""
        for device, portal in self._portals.items():
            self._do(device, portal.machine.stop())
        for _, work in tuple(self._closing.values()):
            self.kept(TraceKept(work, None))

    def restore(self, before: Mapping[str, StandingPortal], told: Iterable[Record]) -> None:
        """Go on from what the journal says of each portal: its last number, and whether it stood open.

        An occupancy that ``told``, the newest records, leave open was cut off.
        """
        for cut in unended(told):
            passage, summary = self._core.passage, cut.summary()
            if passage is not None and passage.inspection.inspection_id == cut.inspection_id:
                passage.occupancies.append(summary)
                self._core.tell(OccupancyEnded, **summary.model_dump(), blobs=())
            else:
                self._told_afterwards(cut.inspection_id, summary, {})
        for device, known in before.items():
            portal = self._portals.get(device)
            if portal is not None:
                portal.machine.last_count = known.last_count
                portal.machine.tamper = known.tamper
                tamper(self._core, device, opened=known.tamper)
                if known.tamper:
                    self._core.tampered(device)
                self._panels.restore(known, portal.facts)

    # --- effects of the occupancy machine ---------------------------------------------------------

    def _do(self, device: str, effects: list[Effect]) -> None:
        core, portal = self._core, self._portals[device]
        for effect in effects:
            if isinstance(effect, Started):
                self._started(device, portal, effect.occupancy)
            elif isinstance(effect, AlarmRaised):
                self._alarm(device, portal, effect)
            elif isinstance(effect, StationAlarm):
                portal.crossed_s.setdefault(Channel(effect.verdict.channel), core.now_s)
            elif isinstance(effect, BackgroundTaken):
                self._panels.background(device, portal.facts, effect.reading)
                self._hours.background(device, portal.facts, effect.reading)
            elif isinstance(effect, Closed):
                self._closed(device, portal, effect.occupancy, effect.opinion)
                if effect.occupancy.close_reason == "device_restart":
                    portal.opinion.forget()
            elif isinstance(effect, TamperChanged):
                tamper(core, device, opened=effect.open)
            elif isinstance(effect, SetupChanged):
                portal.opinion.forget()
                core.emit(DeviceSetupChanged, device=device, setup_hash=effect.setup_hash)
            elif isinstance(effect, Missed):
                self._missed(device, effect.count)
            elif isinstance(effect, Orphaned):
                self._missed(device, 1)
            elif isinstance(effect, Amended):
                self._amended(device, portal, effect)
            elif isinstance(effect, Noted):
                core.emit(PortalNoted, device=device, code=effect.code, device_count=effect.device_count)
                if effect.code == "stalled":
                    core.lane_alarm("vehicle_stalled", device)

    def _missed(self, device: str, count: int) -> None:
        """Vehicles passed of which nothing was measured: the one in the lane may be among them."""
        core = self._core
        core.emit(CountsMissed, device=device, missed=count)
        core.doubt("rpm", "partial")

    def _started(self, device: str, portal: _Portal, occupancy: Occupancy) -> None:
        core = self._core
        portal.crossed_s.clear()
        passage = core.passage or open_inspection(core, "occupancy")
        portal.inspections[occupancy.occupancy_id] = passage.inspection
        while len(portal.inspections) > KEPT_OCCUPANCIES:
            del portal.inspections[next(iter(portal.inspections))]
        core.begin("rpm")
        if self._panels.blind(device, portal.facts):
            core.doubt("rpm", "fault")
        self._begin_track(passage.track, occupancy)
        for channel in ("gamma", "neutron"):
            passage.limits[channel] = self._limit(portal, channel)
        passage.backgrounds["gamma"] = portal.opinion.background_cps("gamma")
        passage.backgrounds["neutron"] = portal.opinion.background_cps("neutron")
        core.tell(OccupancyStarted, device=device, occupancy_id=occupancy.occupancy_id)

    def _begin_track(self, track: Track, occupancy: Occupancy) -> None:
        facts, start_s = self._core.facts, occupancy.start.mono_ns / 1e9
        for offset_s, speed_mps in occupancy.speeds:
            track.add_speed(start_s + offset_s, speed_mps)
        if occupancy.start_known and track.beam_s is None:
            first_ns = occupancy.first_ns or occupancy.start.mono_ns
            track.beam_s = first_ns / 1e9 - facts.hot_spot.occupancy_lead_s
            track.beam_m = facts.geometry.portal_beams_m[0]

    @staticmethod
    def _limit(portal: _Portal, channel: str) -> float | None:
        """Return the limit that is drawn: the device's own rule on gamma where it is known, else ours."""
        nsigma = portal.setup.get("nsigma", portal.facts.nsigma)
        if channel == "neutron" or not isinstance(nsigma, int | float):
            limit = portal.opinion.limit(channel)
            return None if limit is None else float(limit)
        background = portal.opinion.background_cps("gamma")
        return None if background is None else round(background + nsigma * math.sqrt(background), 1)

    def _alarm(self, device: str, portal: _Portal, effect: AlarmRaised) -> None:
        core, reading, channel = self._core, effect.reading, effect.channel
        passage = core.passage or open_inspection(core, "occupancy")
        occupancy = portal.machine.open
        cps = reading.total if channel == Channel.NEUTRON else None
        if cps is None and occupancy is not None:  # an alarm without counts has those that came before it
            gamma = channel == Channel.GAMMA
            cps = occupancy.gamma.max_1s if gamma else occupancy.neutron.best_total
        limit = self._limit(portal, channel)
        radiation_alarm(core, passage, device, channel, reading, cps, limit, uncertain=effect.uncertain)

    # --- the end of an occupancy ------------------------------------------------------------------

    def _closed(self, device: str, portal: _Portal, occupancy: Occupancy, opinion: OpinionResult) -> None:
        core, passage = self._core, self._core.passage
        inspection_id = _subject(portal, occupancy.occupancy_id)
        mine = passage is not None and passage.inspection.inspection_id == inspection_id
        if passage is not None and mine:
            self._maxima(device, occupancy, passage)
            passage.inspection.work(+1, core.now_s)
        summary = summary_of(device, portal.facts, occupancy, opinion, self._limit(portal, "gamma"))
        sought = None
        if passage is not None and mine:
            sought = seek(core.facts, passage, occupancy, summary, _hold_in_s(portal, occupancy))
        strips = trace(passage if mine else None, occupancy, core.facts.geometry.portal_m)
        strips["panels"] = panels(occupancy, dict.fromkeys(Channel, portal.facts.detectors), opinion)
        work = KeepTrace(inspection_id, occupancy.occupancy_id, device, strips, sought)
        self._closing[occupancy.occupancy_id] = summary, work
        if portal.machine.fitted:
            core.effects.append(work)
        else:  # there is no profile to be kept
            self.kept(TraceKept(work, None))

    def kept(self, result: TraceKept) -> None:
        """The profile is durable (or failed): now the occupancy counts as measured."""
        core, passage = self._core, self._core.passage
        closing = self._closing.pop(result.work.occupancy_id, None)
        if closing is None:
            located(core, result)
            return
        summary = with_places(closing[0], result)
        if passage is None or passage.inspection.inspection_id != result.work.inspection_id:
            self._amend(summary, {"trace": result.blob} if result.blob else {})
            return
        if result.found.wants_length:
            passage.unplaced.append(result.work)
        self._panels.judged(summary, passage.inspection.inspection_id, "")
        passage.inspection.work(-1, core.now_s)
        measured(core, passage, summary, {"trace": result.blob} if result.blob else {})

    def _amend(self, summary: OccupancySummary, blobs: Mapping[str, BlobKept]) -> None:
        """Its vehicle is sealed: what was measured, and what the station alone saw, is told all the same."""
        inspection = self._portals[summary.device].inspections.get(summary.occupancy_id)
        if inspection is None:
            return
        subject, plate = inspection.inspection_id, inspection.identity.plate
        self._told_afterwards(subject, summary, blobs)
        told_late(self._core, subject, plate.text if plate else "", summary)
        self._panels.judged(summary, subject, plate.text if plate else "")

    def _told_afterwards(
        self, inspection_id: str, summary: OccupancySummary, blobs: Mapping[str, BlobKept]
    ) -> None:
        self._core.amend(
            inspection_id,
            "occupancy",
            device=summary.device,
            fields={name: getattr(summary, name) for name in AMENDED},
            blobs=blob_uses(blobs),
            occupancy=summary,
        )

    def _amended(self, device: str, portal: _Portal, effect: Amended) -> None:
        if inspection_id := _subject(portal, effect.occupancy_id):
            self._core.amend(
                inspection_id,
                "device_count",
                device=device,
                fields={"occupancy_id": effect.occupancy_id, "device_count": effect.device_count},
            )


def _subject(portal: _Portal, occupancy_id: str) -> str:
    """Return the inspection of an occupancy; empty where it is long gone."""
    inspection = portal.inspections.get(occupancy_id)
    return "" if inspection is None else inspection.inspection_id


def _hold_in_s(portal: _Portal, occupancy: Occupancy) -> float | None:
    """Return how long the device goes on counting behind a vehicle, if it has told."""
    intervals = portal.setup.get("occupancy_holdin")
    return intervals * occupancy.gamma.interval_s if isinstance(intervals, float) else None
