"""When a vehicle is in a portal: the occupancy state machine, pure and driven by records and monotonic time.

    unknown ──background──▶ idle ──scan──▶ occupied ──background──▶ closing_background ──2 s──▶ idle
                                              └──end marker──▶ closing_end ──1.2 s──▶ idle

The first record counts, the device's alarm is raised at once, and every occupancy ends with a record,
whatever happens: time-out, lost link, restart. The devices' habits are as OSCAR and SRLS describe them;
the timers are this station's own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from drivers.readings import (
    Channel,
    Counts,
    DeviceFlag,
    OccupancyEnd,
    Phase,
    PortalReading,
    PortalSetup,
    Speed,
    Stamp,
    Tamper,
)
from station.domain.occupancy_effects import (
    AlarmRaised,
    Amended,
    BackgroundTaken,
    Closed,
    Effect,
    Missed,
    Noted,
    Orphaned,
    SecondOpinion,
    SetupChanged,
    Started,
    StationAlarm,
    TamperChanged,
)
from station.domain.occupancy_record import Occupancy
from station.domain.power_on import PowerOn

S = 1_000_000_000
BACKGROUND_CLOSE_NS = 2 * S
END_CLOSE_NS = 1_200_000_000
NO_SCAN_NS = 10 * S
LINK_RESUME_NS = 30 * S
AMEND_NS = 60 * S
EXTENDED_NS = 60 * S
STALLED_NS = 600 * S
VACANT_SPEED_NS = 10 * S
FAULTS = (DeviceFlag.FAULT_HIGH, DeviceFlag.FAULT_LOW)


class State(StrEnum):
    """Where the machine stands."""

    UNKNOWN = "unknown"
    IDLE = "idle"
    OCCUPIED = "occupied"
    CLOSING_BACKGROUND = "closing_background"
    CLOSING_CLEARED = "closing_cleared"
    """Of a portal that is polled (``station.domain.polled``)."""
    CLOSING_END = "closing_end"


ENDS = {
    State.CLOSING_BACKGROUND: "background_seen",
    State.CLOSING_CLEARED: "cleared",
    State.CLOSING_END: "gx",
}
"""How an occupancy ends whose time in this state is over."""
ENDED = (State.CLOSING_CLEARED, State.CLOSING_END)
"""The device has said that the vehicle is out of the portal."""


@dataclass(slots=True)
class OccupancyMachine:
    """One portal. ``fitted`` channels must have data for a record to be complete."""

    fitted: frozenset[Channel]
    opinion: SecondOpinion
    new_id: Callable[[], str]
    last_count: int | None = None
    """The device's last occupancy number, kept over restarts by whoever makes this machine."""
    scanner_active: bool = False
    """Beam or shutter open: set by the lane; background is not learnt then."""
    presence: bool | None = None
    """Whether the lane's own input sees a vehicle at the portal (``None``: no such input)."""
    state: State = State.UNKNOWN
    open: Occupancy | None = None
    tamper: bool = False
    faults: set[Channel] = field(default_factory=set)
    setup_hash: str = ""
    _now_ns: int = 0
    _deadline_ns: int = 0
    _last_scan_ns: int = 0
    _power: PowerOn = field(default_factory=PowerOn)
    _others: bool = False
    """Whether records other than scans came since the last scan."""
    _up: bool | None = None
    """Whether the link is up (``None``: nobody has said yet)."""
    _lost_ns: int | None = None
    """When the link was lost, until the first record after it."""
    _broken: bool = False
    """The link was lost since the device last said that one vehicle ended or that none is there."""
    _latched: set[Channel] = field(default_factory=set)
    """Channels whose alarm is not raised again; a gap and a lost link empty it."""
    _held: Counts | None = None
    """First leading record after an end marker: this vehicle's tail or the next one's nose."""
    _tail_alarms: dict[Channel, Counts] = field(default_factory=dict)
    """The first alarm of each channel since the end marker."""
    _scan_since_end: bool = False
    _unended: tuple[str, int] | None = None
    """Last occupancy that was closed without an end marker, and when."""
    _doubt_vacancy: bool = False
    """A stalled occupancy closed without an end marker: the vehicle may still stand there."""
    _vacant_speeds: deque[Speed] = field(default_factory=lambda: deque(maxlen=8))

    # --- inputs ---------------------------------------------------------------------------------

    def accept(self, reading: PortalReading) -> list[Effect]:
        """Take one record."""
        now_ns = reading.stamp.mono_ns
        effects = self.tick(now_ns)
        self._lost_ns = None
        if self._power.whole(reading, self.setup_hash):  # a "closed" that was lost must not block for ever
            effects += self._tampered(open_=False)
        if isinstance(reading, Counts):
            # An alarm is an alarm in whatever phase the device puts it.
            scan = reading.phase == Phase.SCAN or reading.flag == DeviceFlag.ALARM
            self._note_fault(reading, scan=scan)
            effects += self._scan(reading) if scan else self._background(reading)
        elif isinstance(reading, OccupancyEnd):
            effects += self._end_marker(reading)
        elif isinstance(reading, Tamper):
            effects += self._tampered(open_=reading.open)
        elif isinstance(reading, PortalSetup):
            effects += self._setup(reading)
        elif isinstance(reading, Speed):
            self._speed(reading)
        self._others |= now_ns > self._last_scan_ns
        self._power.last_ns = max(self._power.last_ns, now_ns)
        return effects + self.tick(now_ns)

    def tick(self, now_ns: int) -> list[Effect]:
        """Let time pass."""
        self._now_ns = now_ns = max(self._now_ns, now_ns)
        if self.open is None:
            return []
        if self._lost_ns is not None:
            lost_for_good = now_ns - self._lost_ns >= LINK_RESUME_NS
            return self._close("link_lost", State.UNKNOWN) if lost_for_good else []
        if self.state in ENDS:
            return self._close(ENDS[self.state], State.IDLE) if now_ns >= self._deadline_ns else []
        if self._others and now_ns - self._last_scan_ns >= NO_SCAN_NS:
            return self._close("timeout", State.UNKNOWN)
        return self._grown_old(self.open, now_ns - self.open.start.mono_ns)

    def link(self, *, up: bool, now_ns: int) -> list[Effect]:
        """The link to the device is up or down; saying it again changes nothing."""
        effects = self.tick(now_ns)
        if up and not self._up:
            self._power.connected(now_ns)
        self._up = up
        if up:
            return effects
        self._broken = True
        self._latched.clear()  # who is there when it is back is not known: what stands then is raised anew
        if self.open is None:
            self.state = State.UNKNOWN
        elif self.state in ENDED:  # nothing of this vehicle is still to come
            effects += self._close(ENDS[self.state], State.IDLE)
        else:
            self.open.doubts.add("link")
            self._lost_ns = now_ns if self._lost_ns is None else self._lost_ns
        return effects

    def clear_tamper(self) -> list[Effect]:
        """A technician has looked: the tamper contact is closed."""
        return self._tampered(open_=False)

    def stop(self) -> list[Effect]:
        """The station stops: nothing stays open."""
        return self._close("station_stop", State.UNKNOWN) if self.open is not None else []

    def _told(self) -> None:
        """The device says that a vehicle ended or that none is there: only a link lost later matters."""
        self._broken = self._up is False

    @property
    def _vacant(self) -> State:
        """The state without a vehicle: a lost link may have hidden the beginning of one."""
        return State.UNKNOWN if self._broken else State.IDLE

    @property
    def _leading(self) -> Channel:
        """The channel that tells vacant from occupied."""
        return Channel.GAMMA if Channel.GAMMA in self.fitted else Channel.NEUTRON

    # --- scans ----------------------------------------------------------------------------------

    def _scan(self, reading: Counts) -> list[Effect]:
        if self.state == State.CLOSING_END:
            return self._after_end(reading)
        effects: list[Effect] = []
        if self.open is None:
            effects = self._begin(reading.stamp, reading.interval_s, start_known=self.state == State.IDLE)
        elif self.state == State.CLOSING_BACKGROUND:
            self.open.doubts.add("background_in_occupancy")
        self.state = State.OCCUPIED
        return effects + self._add(reading)

    def _after_end(self, reading: Counts) -> list[Effect]:
        """A record after the end marker: this vehicle's tail, or two of them: the next, nose to tail.

        An alarm there is raised at once on this vehicle, and on the next one too if there is one.
        """
        if reading.flag == DeviceFlag.ALARM:
            self._tail_alarms.setdefault(reading.channel, reading)
        if reading.channel != self._leading:
            return self._add(reading, uncertain=True)
        first, self._held = self._held, reading
        if first is None:
            return self._hear(reading, uncertain=True)
        self._held = None
        alarms = self._tail_alarms
        effects = self._close("gx", State.IDLE)
        effects += self._begin(first.stamp, first.interval_s, start_known=not self._broken)
        self.state = State.OCCUPIED
        for alarm in alarms.values():
            effects += self._raise(alarm, uncertain=True)
        return effects + self._add(first) + self._add(reading)

    def _begin(self, stamp: Stamp, interval_s: float, *, start_known: bool) -> list[Effect]:
        start = stamp.plus(-interval_s)
        occupancy = Occupancy(self.new_id(), start, start_known, self.setup_hash, tamper=self.tamper)
        if self.faults:
            occupancy.doubts.add("fault")
        for speed in self._vacant_speeds:
            if start.mono_ns - speed.stamp.mono_ns <= VACANT_SPEED_NS:
                occupancy.speeds.append((occupancy.offset_s(speed.stamp.mono_ns), speed.speed_mps))
        self._vacant_speeds.clear()
        self.open = occupancy
        self._latched, self._tail_alarms = set(), {}
        self._unended, self._scan_since_end = None, True
        self.opinion.open(stamp.mono_ns)
        return [Started(occupancy)]

    def _add(self, reading: Counts, *, uncertain: bool = False) -> list[Effect]:
        return [*self._hear(reading, uncertain=uncertain), *self._keep(reading)]

    def _hear(self, reading: Counts, *, uncertain: bool) -> list[Effect]:
        """Raise the alarm of a record that has just come; a gap before it arms both channels again."""
        if self.open is not None and self.open.silent(reading.channel, reading.stamp.mono_ns):
            self._latched.clear()
        return self._raise(reading, uncertain=uncertain)

    def _keep(self, reading: Counts) -> list[Effect]:
        """Put a record into the occupancy; its alarm has been heard."""
        occupancy, channel, now_ns = self.open, reading.channel, reading.stamp.mono_ns
        assert occupancy is not None  # noqa: S101 - every caller has just opened or seen it
        if occupancy.silent(channel, now_ns):
            occupancy.gap(channel, now_ns, "link" if "link" in occupancy.doubts else "silence")
            self.opinion.gap(channel)
        occupancy.add(reading)
        occupancy.scanner_active |= self.scanner_active
        self._last_scan_ns, self._others = max(self._last_scan_ns, now_ns), False
        crossing = self.opinion.scan(channel, now_ns, reading.counts, reading.interval_s, reading.windows)
        return [] if crossing is None else [StationAlarm(occupancy.occupancy_id, crossing)]

    def _raise(self, reading: Counts, *, uncertain: bool) -> list[Effect]:
        """The device's alarm, once per channel and occupancy."""
        occupancy, channel = self.open, reading.channel
        if occupancy is None or reading.flag != DeviceFlag.ALARM or channel in self._latched:
            return []
        self._latched.add(channel)
        occupancy.alarms.add(channel)
        if uncertain:
            occupancy.notes.add("attribution_uncertain")
        return [AlarmRaised(occupancy.occupancy_id, channel, reading, uncertain)]

    # --- background -----------------------------------------------------------------------------

    def _note_fault(self, reading: Counts, *, scan: bool) -> None:
        if reading.flag in FAULTS:
            self.faults.add(reading.channel)
            if self.open is not None:
                self.open.doubts.add("fault")
        elif not scan:
            self.faults.discard(reading.channel)

    def _background(self, reading: Counts) -> list[Effect]:
        leads = reading.channel == self._leading
        if leads:
            self._told()
        if self.open is None:
            self.state = self._vacant if leads else self.state
            return self._learn(reading)
        if leads and self.state == State.OCCUPIED:
            self.state = State.CLOSING_BACKGROUND
            self._deadline_ns = reading.stamp.mono_ns + BACKGROUND_CLOSE_NS
        return []

    def _learn(self, reading: Counts) -> list[Effect]:
        self._doubt_vacancy &= self.presence is not False
        unfit = reading.flag in FAULTS or self.tamper or self.scanner_active or self._doubt_vacancy
        record = reading.channel, reading.stamp.mono_ns, reading.counts, reading.windows
        if unfit or self.opinion.background(*record, interval_s=reading.interval_s):
            return []
        return [BackgroundTaken(reading)]

    # --- the device's own words -------------------------------------------------------------------

    def _end_marker(self, end: OccupancyEnd) -> list[Effect]:
        last, self.last_count = self.last_count, end.device_count
        effects: list[Effect] = []
        if last is not None and end.device_count < last:
            effects.append(Noted("counter_reset", end.device_count))
        elif last is not None and end.device_count > last + 1:
            effects.append(Missed(end.device_count - last - 1))
        if self.state in (State.OCCUPIED, State.CLOSING_BACKGROUND):
            self._ended(end)
            return effects
        if self.state == State.CLOSING_END:
            if end.device_count == last:
                return [*effects, Noted("duplicate_end", end.device_count)]
            effects += self._close("gx", State.IDLE)
        scanned, self._scan_since_end = self._scan_since_end, False
        unended, self._unended = self._unended, None
        self._told()
        idle, self.state = self.state == State.IDLE, self._vacant
        if unended is not None and end.stamp.mono_ns - unended[1] <= AMEND_NS:
            return [*effects, Amended(unended[0], end.device_count)]
        if idle and not scanned and end.device_count == last:
            return [*effects, Noted("duplicate_end", end.device_count)]
        return [*effects, Orphaned()]

    def _ended(self, end: OccupancyEnd) -> None:
        assert self.open is not None  # noqa: S101 - the states say so
        self.open.device_count = end.device_count
        self.open.device_neutron_background = end.neutron_background
        self._told()
        self.state = State.CLOSING_END
        self._deadline_ns = end.stamp.mono_ns + END_CLOSE_NS
        self._scan_since_end = False

    def _tampered(self, *, open_: bool) -> list[Effect]:
        changed, self.tamper = open_ != self.tamper, open_
        if open_ and self.open is not None:
            self.open.tamper = True
        return [TamperChanged(open_)] if changed else []

    def _setup(self, reading: PortalSetup) -> list[Effect]:
        effects: list[Effect] = []
        if self._power.restarted(reading.stamp.mono_ns) and self.state == State.OCCUPIED:
            effects = self._close("device_restart", State.UNKNOWN)
        if reading.setup_hash != self.setup_hash:
            self.setup_hash = reading.setup_hash
            effects.append(SetupChanged(reading.setup_hash))
        return effects

    def _speed(self, reading: Speed) -> None:
        if self.open is None:
            self._vacant_speeds.append(reading)
        else:
            self.open.speeds.append((self.open.offset_s(reading.stamp.mono_ns), reading.speed_mps))

    # --- the end --------------------------------------------------------------------------------

    def _grown_old(self, occupancy: Occupancy, age_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        if age_ns >= EXTENDED_NS and not occupancy.extended:
            occupancy.extended = True
            effects.append(Noted("extended"))
        if age_ns >= STALLED_NS and not occupancy.stalled:
            occupancy.stalled = True
            effects.append(Noted("stalled"))
        return effects

    def _close(self, reason: str, state: State) -> list[Effect]:
        held, self._held = self._held, None
        effects = [] if held is None else self._keep(held)
        occupancy = self.open
        assert occupancy is not None  # noqa: S101 - only an open occupancy is closed
        occupancy.close_reason = reason
        self.open, self.state = None, self._vacant if state == State.IDLE else state
        self._unended = None if state == State.IDLE else (occupancy.occupancy_id, self._now_ns)
        self._doubt_vacancy = reason != "gx" and (self._doubt_vacancy or occupancy.extended)
        opinion = self.opinion.close(self._now_ns, scanner_active=occupancy.scanner_active)
        return [*effects, Closed(occupancy, opinion)]
