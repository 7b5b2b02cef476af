"""A portal that is polled: levels become occupancies, and its counter is held against what was seen.

    idle ──occupied──▶ occupied ──vacant──▶ closing_cleared ──1 s──▶ idle

The counter steps once for each vehicle, near its opening or its end: a step by itself is a vehicle of which
nothing was seen, and a second one while the portal is occupied is the next vehicle, nose to tail. The habits
are those of Aspect portals as OSCAR describes them; the times are this station's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from drivers.readings import Channel, Counts, DeviceFlag, Phase, PortalReading, PortalStatus
from station.domain.occupancy import OccupancyMachine, State
from station.domain.occupancy_effects import Effect, Missed, Noted

STEP_NS = 1_000_000_000
"""A step of the counter so long before the opening or after the end belongs to the occupancy."""
WRAP = 65_536
MOST_MISSED = 1_000
"""A step by more is a counter that began again."""
FRESH = 100
"""So is a number up to this one after a lost link, if it was higher before: no step from 65,300 to 0."""


@dataclass
class PolledMachine(OccupancyMachine):
    """One portal, whatever it sends: records, levels or both."""

    _high: set[Channel] = field(default_factory=set)
    """Channels whose alarm stood in the last poll, or was raised for it."""
    _follows: bool = False
    """Whether the link has been up since the last poll."""
    _counted: bool = False
    """Whether the open occupancy has its step of the counter."""
    _early: tuple[int, int] | None = None
    """A step without an occupancy, and when: of one that opens at once, or of none."""

    def accept(self, reading: PortalReading) -> list[Effect]:
        """Take one record, or one poll."""
        if not isinstance(reading, PortalStatus):
            return super().accept(reading)
        now_ns = reading.stamp.mono_ns
        effects = self.tick(now_ns)
        self._lost_ns = None
        if reading.tamper is not None:
            effects += self._tampered(open_=reading.tamper)
        if reading.fault is not None:
            self._faulty(reading.fault)
        effects += [*self._count(reading), *self._levels(reading)]
        self._follows = self._up is not False
        self._power.last_ns = max(self._power.last_ns, now_ns)
        return effects + self.tick(now_ns)

    def tick(self, now_ns: int) -> list[Effect]:
        """Let time pass."""
        effects = super().tick(now_ns)
        if self._early is not None and self._now_ns - self._early[1] > STEP_NS:
            self._early = None
            effects.append(Missed(1))
        return effects

    def link(self, *, up: bool, now_ns: int) -> list[Effect]:
        """The link to the device is up or down; saying it again changes nothing."""
        if not up:
            self._follows = False
            self._high.clear()  # who is there when it is back is not known: what stands then is raised anew
        return super().link(up=up, now_ns=now_ns)

    def _faulty(self, fault: bool) -> None:
        self.faults = {self._leading} if fault else set()
        if fault and self.open is not None:
            self.open.doubts.add("fault")

    # --- levels ---------------------------------------------------------------------------------

    def _levels(self, status: PortalStatus) -> list[Effect]:
        told = ((Channel.GAMMA, status.gamma_alarm), (Channel.NEUTRON, status.neutron_alarm))
        high = {channel for channel, level in told if level}
        present = bool(high) if status.occupied is None else status.occupied
        effects: list[Effect] = []
        if self.state == State.CLOSING_CLEARED and present:
            effects += self._close("cleared", State.IDLE)
        if present and self.open is None:
            effects += self._opened(status, start_known=self.state == State.IDLE)
        if (
            self.open is None and not high <= self._high
        ):  # nobody there, says the portal: an alarm all the same
            effects += self._opened(status, start_known=False)
        for channel in sorted(high - self._high):
            alarm = Counts(status.stamp, channel, Phase.SCAN, 0.0, (), DeviceFlag.ALARM, raw=status.raw)
            effects += self._raise(alarm, uncertain=not present)
        self._high = high
        self._stand(status, present=present)
        return effects

    def _stand(self, status: PortalStatus, *, present: bool) -> None:
        now_ns = status.stamp.mono_ns
        if present and self.open is not None:
            self.state, self.open.end_ns = State.OCCUPIED, max(self.open.end_ns, now_ns)
            self.open.scanner_active |= self.scanner_active
            self._last_scan_ns, self._others = max(self._last_scan_ns, now_ns), False
            return
        self._told()
        if self.open is None:
            self.state = self._vacant
        elif self.state != State.CLOSING_CLEARED:
            self.state, self._deadline_ns = State.CLOSING_CLEARED, now_ns + STEP_NS

    def _opened(self, status: PortalStatus, *, start_known: bool) -> list[Effect]:
        """Open an occupancy; an alarm that stands already is raised for it, too."""
        effects = self._begin(status.stamp, 0.0, start_known=start_known)
        self._high, early, self._early = set(), self._early, None
        self._counted = early is not None
        if self.open is not None and early is not None:
            self.open.device_count = early[0]
        return effects

    # --- the counter ----------------------------------------------------------------------------

    def _count(self, status: PortalStatus) -> list[Effect]:
        count = status.occupancy_count
        last, self.last_count = self.last_count, self.last_count if count is None else count
        if count is None or last is None or count == last:
            return []
        steps = (count - last) % WRAP
        if steps > MOST_MISSED or (not self._follows and count < last and count <= FRESH):
            return [Noted("counter_reset", count)]
        effects: list[Effect] = []
        if self.open is not None and not self._counted:
            self._counted, self.open.device_count = True, count
        elif self.state == State.OCCUPIED:
            if self._follows:
                self._told()
            effects += self._close("counter_changed", State.IDLE)
            self._early = count, status.stamp.mono_ns
            effects += self._opened(status, start_known=not self._broken)
        elif self._early is None:
            self._early = count, status.stamp.mono_ns
        else:
            effects.append(Missed(1))
        return effects if steps == 1 else [*effects, Missed(steps - 1)]
