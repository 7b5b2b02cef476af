"""The lane: every reading, result, command and second of time goes through ``accept``, synchronously.

``accept`` awaits nothing and takes microseconds: it steps the pure state machines and returns effects.
All events of one call are one atomic append; what they say is shown when it is durable, not before.
Outputs that make the lane safer are set at once; permissive ones follow the stored order, because
``Inspection.permit`` is only true with the order's sequence number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from drivers.readings import (
    CameraRead,
    Inputs,
    PortalReading,
    PortalReport,
    Reading,
    ScannerReading,
    Stamp,
)
from station.domain import alarms
from station.domain.device_events import DeviceHealthChanged
from station.domain.events import (
    ClockQualityChanged,
    ConfigApplied,
    InspectionEvent,
    LaneModeChanged,
    LaneStarted,
    StandingNoted,
)
from station.domain.restart import resume
from station.domain.values import ClockQuality
from station.domain.view import DeviceView, LaneView
from station.lane.asking import ask
from station.lane.cameras import Cameras
from station.lane.commands import Command, Commands
from station.lane.contacts import Contacts
from station.lane.core import UP_STATES, Core, LaneFacts, Pending
from station.lane.directives import Directives
from station.lane.effects import (
    Append,
    CalibrationReady,
    DayKept,
    Effect,
    PicturesKept,
    ReportKept,
    Result,
    ScanProgress,
    ScanReady,
    SetOutputs,
    Show,
    TraceKept,
)
from station.lane.hours import LaneHours
from station.lane.portals import Portals
from station.lane.record import lane_view
from station.lane.reports import Reports
from station.lane.restart import Before, tell_lane_file
from station.lane.scans import Scans
from station.lane.sequencer import Sequencer
from station.lane.suspicion import Suspicion
from station.lane.troubles import tell_troubles
from station.lane.unplaced import imaged
from station.lane.whole import whole
from station.store.troubles import News

STANDING_EVERY = 500
"""Records between two repetitions of what a restart must know: it reads the last 2,000."""
MAX_STANDING = 400


class Lane:
    """One lane; one thread; no waiting."""

    def __init__(self, facts: LaneFacts, now: Stamp, new_id: Callable[[], str]) -> None:
        """Begin closed, with no device up and no vehicle."""
        self.core = Core(facts, new_id, now)
        self._sequencer = Sequencer(self.core)
        self.hours = LaneHours(self.core)
        self._portals = Portals(self.core, self.hours)
        self._contacts = Contacts(self.core)
        self._reports = Reports(self.core)
        self._scans = Scans(self.core)
        self._cameras = Cameras(self.core)
        self._directives = Directives(self.core)
        self._commands = Commands(self.core, self._directives, self._portals)
        self._suspicion = Suspicion(self.core)
        self._token = 0
        self._reopens = 0
        self._pending: dict[int, Pending] = {}
        """What the records on their way will do."""
        self._unrepeated = 0  # records since the last ``StandingNoted``
        self._outputs: dict[str, bool] = {}
        self._shown_version: tuple[str, int] | None = None

    # --- what comes in --------------------------------------------------------------------------

    @whole
    def accept(self, device: str, reading: Reading, now: Stamp) -> list[Effect]:
        """Take one reading of one device."""
        self.core.now = now
        if isinstance(reading, PortalReport):
            self._reports.reading(device, reading)
        elif isinstance(reading, PortalReading):
            self._portals.reading(device, reading)
        elif isinstance(reading, Inputs):
            if self._sequencer.inputs(device, reading.values):
                self._suspicion.input_changed()
            for portal, status in self._contacts.inputs(device, reading):
                self._portals.reading(portal, status)
            self._follow_boards()
        elif isinstance(reading, ScannerReading):
            self._scans.reading(device, reading)
        elif isinstance(reading, CameraRead):
            self._cameras.read(device, reading)
            self._suspicion.camera_spoke(device)
        return self._finish()

    @whole
    def result(self, result: Result, now: Stamp) -> list[Effect]:
        """Take the result of work that an effect began."""
        self.core.now = now
        if isinstance(result, ScanProgress):
            self._scans.progress(result)
        elif isinstance(result, ScanReady):
            self._scans.ready(result)
            imaged(self.core)
        elif isinstance(result, PicturesKept):
            self._cameras.kept(result)
        elif isinstance(result, TraceKept):
            self._portals.kept(result)
        elif isinstance(result, ReportKept):
            self._reports.kept(result)
        elif isinstance(result, CalibrationReady):
            self._scans.calibrated(result)
        elif isinstance(result, DayKept):
            self.hours.kept(result)
        return self._finish()

    @whole
    def command(
        self, command: Command, now: Stamp, client: str = "", key: str = "", request_sha256: str = ""
    ) -> list[Effect]:
        """Carry out an officer's command; raises ``Refused`` and changes nothing.

        Its record is an append of its own, the first of the effects: when it is refused nothing else is lost.
        """
        self.core.now = now
        pending = self._commands.carry_out(command)
        ordered = self._append(client, key, request_sha256)
        self._pending[ordered.token] = pending
        return [*self._changed_outputs(), ordered, *self._finish()]

    @whole
    def health(self, device: DeviceView, before: str, now: Stamp) -> list[Effect]:
        """Take a change of a device's health."""
        self.core.now = now
        self._health(device, before)
        if device.required:
            self._required_device(device, up=device.state in UP_STATES)
        self._follow_boards()
        return self._finish()

    def _follow_boards(self) -> None:
        """Portals of contacts are as their board is; the alarm of a lost board stands for them, too."""
        for portal, before in self._contacts.health():
            self._health(portal, before)

    def _health(self, device: DeviceView, before: str) -> None:
        core = self.core
        core.devices[device.name] = device
        up = device.state in UP_STATES
        self._portals.link(device.name, up=up)
        self._scans.link(device.name, up=up)
        if device.role == "DigitalIo" and not up:
            self._sequencer.link_lost()
        for check in core.doubted_checks():
            core.doubt(check, "fault")
        core.emit(DeviceHealthChanged, device=device.name, before=before, to=device.state, cause=device.cause)

    @whole
    def tick(self, now: Stamp) -> list[Effect]:
        """Let time pass: every time-out of the lane happens here."""
        core = self.core
        core.now = now
        self.hours.tick()
        self._portals.tick()
        self._scans.tick()
        if core.inspection is not None:
            core.inspection.links_lost(core.lost_checks(), core.now_s)
            core.inspection.tick(core.now_s)
        return self._finish()

    @whole
    def troubles(self, news: News, now: Stamp) -> list[Effect]:
        """Take what the journal notices about itself and its readers."""
        tell_troubles(self.core, news, now)
        return self._finish()

    @whole
    def clock(self, quality: ClockQuality, now: Stamp) -> list[Effect]:
        """Take what the computer says of its clock's synchronisation."""
        core = self.core
        if quality == core.clock_quality:
            return []
        core.now, core.clock_quality = now, quality
        core.emit(ClockQualityChanged, quality=quality)
        return self._finish()

    @whole
    def start(self, software: str, before: Before, now: Stamp) -> list[Effect]:
        """Come up and open, with the vehicle that was in the lane when the daemon ended, if any.

        Only the last inspection that was not sealed can be in the lane still; what was left behind it is
        sealed as aborted.
        """
        core = self.core
        core.now = now
        core.mode, core.mode_cause = "open", None
        self.hours.restore(before.told)
        ids = tuple(passage.inspection.inspection_id for passage in before.open)
        core.emit(LaneStarted, software=software, restarted_subjects=ids)
        if before.config_sha256 != core.facts.config_sha256:
            core.emit(ConfigApplied, lane_file_sha256=core.facts.config_sha256)
        core.emit(LaneModeChanged, mode="open", cause="started")
        for alarm in before.alarms:
            core.book.add(alarm)
        tell_lane_file(core, refused=before.lane_file_refused)
        self._directives.load(before.directives)  # before a vehicle: an alarm of theirs is none of its
        effects: list[Effect] = []
        for passage in before.open:
            effects += self._finish()
            core.passage = passage
            passage.inspection = resume(passage.inspection, core.now_s)
            if passage is not before.open[-1]:
                passage.inspection.abort("station_restart")
        for scan in before.cut:
            self._scans.cut_off(scan)
        self._portals.restore(before.portals, before.told)
        self._reports.restore(before.told)
        self._unrepeated = STANDING_EVERY
        return effects + self._finish()

    @whole
    def stop(self, now: Stamp) -> list[Effect]:
        """The station ends: what was counted and is in no record yet becomes one."""
        self.core.now = now
        self._portals.stop()
        ended: list[Effect] = [self._append()] if self.core.events else []
        self.hours.tick()
        self.hours.record(whole=True)
        return [*ended, self._append()] if self.core.events else ended

    # --- what became of appends -----------------------------------------------------------------

    @whole
    def stored(self, token: int, first_seq: int, now: Stamp) -> list[Effect]:
        """An append is durable; an order in it counts from now on."""
        core = self.core
        core.now = now
        if token == self._reopens:
            self._reopen()
        if token not in self._pending:
            return self._finish()
        self._pending.pop(token).stored(first_seq)
        return [*self._finish(), Show()]

    @whole
    def not_stored(self, token: int, cause: str, now: Stamp) -> list[Effect]:
        """An append failed: what cannot be kept is not accepted, the lane goes out of service."""
        core = self.core
        core.now = now
        self._forget(token)
        if core.mode != "out_of_service":
            core.mode, core.mode_cause = "out_of_service", cause
            if core.inspection is not None:
                core.inspection.set_lane(in_service=False)
        if core.book.find("cannot_record") is None:
            core.book.mark_unstored(core.raise_alarm("cannot_record"))
        core.events.clear()
        return [*self._changed_outputs(), Show()]

    @whole
    def not_ordered(self, token: int, now: Stamp) -> list[Effect]:
        """An append was refused as such (a repeat): nothing of it happened, and the lane goes on."""
        self.core.now = now
        self._forget(token)
        return self._finish()

    def _forget(self, token: int) -> None:
        if token in self._pending:
            self._pending.pop(token).lost()

    @whole
    def try_recording(self, now: Stamp) -> list[Effect]:
        """Out of service because nothing could be recorded: record that it is open again, if that works.

        The mode changes when the record is durable, not before: see ``stored``. It goes alone: when it fails
        it is forgotten, and what else happened must not be.
        """
        core = self.core
        core.now = now
        effects = self._finish()
        core.emit(LaneModeChanged, mode="open", cause="recording_again")
        effects.append(replace(self._append(), probe=True))
        self._reopens = self._token
        return effects

    def view(self) -> LaneView:
        """Return the snapshot of now."""
        return lane_view(self.core)

    # --- the end of every call ------------------------------------------------------------------

    def _finish(self) -> list[Effect]:
        core = self.core
        before = core.passage
        self._sequencer.tick()
        self._directives.tick()
        self._directives.look()
        if before is not None and core.passage is not before:
            self._suspicion.vehicle_left()
            self._reports.vehicle_left(before)
        self._suspicion.tick(*self._sequencer.board())
        ask(self.core)
        effects = self._changed_outputs()
        repeat = bool(core.events) and (core.learnt or self._unrepeated >= STANDING_EVERY)
        if repeat:
            standing = tuple(alarms.standing(alarm) for alarm in core.book if alarm.stored)[-MAX_STANDING:]
            core.emit(StandingNoted, alarms=standing, portals=self._portals.standing())
            self._unrepeated, core.learnt = 0, False
        self.hours.record(whole=repeat)
        if core.events:
            effects.append(self._append())
        elif self._view_changed():
            effects.append(Show())
        effects += core.effects
        core.effects.clear()
        return effects

    def _append(self, client: str = "", key: str = "", request_sha256: str = "") -> Append:
        core = self.core
        self._token += 1
        inspection = core.inspection
        events = tuple(
            event.model_copy(update={"version": inspection.version})
            if isinstance(event, InspectionEvent)
            and inspection is not None
            and event.inspection_id == inspection.inspection_id
            else event
            for event in core.events
        )
        self._view_changed()
        append = Append(
            token=self._token,
            events=events,
            view=self.view(),
            client=client,
            idempotency_key=key,
            request_sha256=request_sha256,
            opens=core.opens,
            seals=core.seals,
        )
        self.hours.told(events)
        self._pending |= self._reports.settle(self._token)
        self._unrepeated += len(events)
        core.events.clear()
        core.opens = core.seals = None
        return append

    def _changed_outputs(self) -> list[Effect]:
        outputs = self._sequencer.outputs()
        if outputs == self._outputs:
            return []
        self._outputs = outputs
        return [SetOutputs(dict(outputs))]

    def _view_changed(self) -> bool:
        inspection = self.core.inspection
        shown = (inspection.inspection_id, inspection.version) if inspection else None
        changed = shown != self._shown_version
        self._shown_version = shown
        return changed

    def _reopen(self) -> None:
        core = self.core
        core.mode, core.mode_cause = "open", None
        if core.inspection is not None:
            core.inspection.set_lane(in_service=True)
        if (alarm := core.book.find("cannot_record")) is not None:
            core.end_alarm(alarm.alarm_id)

    def _required_device(self, device: DeviceView, *, up: bool) -> None:
        alarm = self.core.book.find("required_device_lost", device.name)
        if not up and alarm is None and device.state not in ("starting", "stale"):
            self.core.lane_alarm("required_device_lost", device.name)
        elif up and alarm is not None:
            self.core.end_alarm(alarm.alarm_id)
