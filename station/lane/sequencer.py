"""Loops, arm and lights: where the vehicle is, what moved, and which outputs must be set.

Safe state = red and no permission. Permission to raise follows a stored order and a vehicle at the
barrier; Carril never commands the arm down: the PLC lowers it.
"""

from __future__ import annotations

from collections.abc import Mapping

from station.domain.device_events import EmergencyStopPressed, EmergencyStopReset, TamperClosed, TamperOpened
from station.domain.events import BarrierMoved, InspectionOpened
from station.domain.inspection import Inspection
from station.domain.values import Verdict
from station.lane.core import UP_STATES, Core, Passage
from station.lane.record import seal

ARM_SETTLE_S = 10.0
"""After permission was withdrawn the arm may still be on its way for so long."""


class Sequencer:
    """Edges of the I/O board's inputs turned into what happened to the vehicle."""

    def __init__(self, core: Core) -> None:
        """Know nothing: the first poll gives levels, not edges."""
        self._core = core
        self._known: dict[str, bool] = {}
        self._device: str | None = None
        self._permit_until_s = -ARM_SETTLE_S
        self._permit_seq: int | None = None
        """The order that the arm may still follow."""
        self._second_waiting = False
        self._second_moments: dict[str, int] = {}
        """When the vehicle behind came where: it has no passage yet."""
        self._edges = {
            "entry_loop": self._entry,
            "booth_loop": self._booth,
            "exit_loop": self._exit,
            "barrier_down": self._barrier_down,
            "barrier_up": self._barrier_up,
            "estop_ok": self._emergency,
            "cabinet_closed": self._cabinet,
        }

    # --- inputs ---------------------------------------------------------------------------------

    def inputs(self, device: str, values: Mapping[str, bool]) -> bool:
        """Take one fresh poll; return whether an input changed since the last one, if there was one."""
        before, self._known = self._known, {**self._known, **values}
        self._device = device
        inspection = self._core.inspection
        if inspection is not None and self._sees_vehicle():
            inspection.seen(self._core.now_s)
        for name, value in values.items():
            if before.get(name) != value and name in self._edges:
                self._edges[name](device, value, name not in before)
        return not before or any(before[name] != value for name, value in values.items() if name in before)

    def board(self) -> tuple[str | None, bool, bool]:
        """Return the board that was read last, whether it was told to permit, and whether the arm is down."""
        return self._device, self._permit(), self._known.get("barrier_down", False)

    def link_lost(self) -> None:
        """The board is gone: what its inputs were is no longer known, nor what the vehicle does meanwhile."""
        self._known.clear()
        self._device = None
        if self._core.inspection is not None:
            self._core.inspection.out_of_sight(self._core.now_s)

    def _sees_vehicle(self) -> bool:
        return any(self._known.get(name) for name in ("entry_loop", "booth_loop", "exit_loop", "obstruction"))

    def _entry(self, device: str, occupied: bool, first: bool) -> None:
        core = self._core
        if not occupied:
            if core.passage is not None:
                core.passage.left_entry = True
            return
        if core.passage is None:
            opened = open_inspection(core, "entry_loop")
            self._came(opened.moments, "entry", first)
        elif core.passage.left_entry and not first:
            self._second_waiting = True
            self._came(self._second_moments, "entry", first)
            core.passage.inspection.mark("second_vehicle")
            core.lane_alarm("second_vehicle")

    def _booth(self, device: str, occupied: bool, first: bool) -> None:
        core = self._core
        if occupied and core.passage is None:
            open_inspection(core, "booth_loop")
        passage = core.passage
        if passage is None:
            return
        if occupied:
            behind = passage.inspection.left_barrier
            self._came(self._second_moments if behind else passage.moments, "booth", first)
        if first:
            passage.inspection.in_sight(occupied, core.now_s)
        elif occupied and passage.inspection.left_barrier:
            self._tailgate(passage.inspection)
            return
        passing = bool(self._known.get("obstruction") or self._known.get("exit_loop"))
        passage.inspection.booth(occupied, core.now_s, passing=passing)
        if not occupied and passing and not passage.inspection.left_barrier:
            passage.on_exit = True

    def _tailgate(self, inspection: Inspection) -> None:
        inspection.mark("tailgate")
        inspection.withdraw()
        self._second_waiting = True
        self._core.lane_alarm("tailgate")

    def _exit(self, device: str, occupied: bool, first: bool) -> None:
        passage = self._core.passage
        if passage is None:
            if occupied and not first:
                self._core.lane_alarm("wrong_way")
            return
        if occupied:
            if passage.passed:
                self._tailgate(passage.inspection)
            passage.on_exit = True
        elif passage.on_exit and passage.inspection.at_barrier and not passage.inspection.left_barrier:
            # What cleared the exit is not what stands at the booth.
            passage.on_exit = False
            self._core.lane_alarm("wrong_way")
        elif passage.on_exit:
            passage.passed = True
            self._left(passage)

    def _came(self, moments: dict[str, int], place: str, first: bool) -> None:
        """Note the first time; a level found at the first poll says that it is there, not since when."""
        if not first:
            moments.setdefault(place, self._core.now.utc_ns // 1000)

    def _left(self, passage: Passage) -> None:
        """The vehicle has cleared the exit loop."""
        self._came(passage.moments, "exit", first=False)
        inspection = passage.inspection
        if inspection.order is not None and inspection.order.seq is not None:
            inspection.left_barrier = True
            return
        self._core.lane_alarm("vehicle_left_undecided")
        inspection.abort("vehicle_left_undecided")

    def _barrier_down(self, device: str, down: bool, first: bool) -> None:
        core = self._core
        moved = core.book.find("barrier_moved_unordered", device)
        if down and moved is not None:
            core.end_alarm(moved.alarm_id)
        if first:
            return
        if not down and not self._ordered_recently():
            core.lane_alarm("barrier_moved_unordered", device)
        elif down:
            self._moved("down")

    def _barrier_up(self, device: str, up: bool, first: bool) -> None:
        if up and not first:
            self._moved("up")

    def _moved(self, to: str) -> None:
        if self._core.inspection is not None:
            seq = self._permit_seq if self._ordered_recently() else None
            self._core.tell(BarrierMoved, to=to, decision_seq=seq)

    def _ordered_recently(self) -> bool:
        return self._core.now_s < self._permit_until_s + ARM_SETTLE_S

    def _emergency(self, device: str, ok: bool, first: bool) -> None:
        core = self._core
        if ok and not core.book.stands("emergency_stop"):
            return
        if not ok:
            if core.book.find("emergency_stop", device) is None:
                core.emit(EmergencyStopPressed, device=device)
                core.lane_alarm("emergency_stop", device)
            if core.inspection is not None:
                core.inspection.set_lane(emergency=True)
        else:
            core.emit(EmergencyStopReset, device=device)
            alarm = core.book.find("emergency_stop", device)
            if alarm is not None:
                core.end_alarm(alarm.alarm_id)
            if core.inspection is not None:
                core.inspection.set_lane(emergency=core.book.stands("emergency_stop"))

    def _cabinet(self, device: str, closed: bool, first: bool) -> None:
        tamper(self._core, device, opened=not closed)

    # --- time and outputs -----------------------------------------------------------------------

    def tick(self) -> None:
        """Seal what is over, and let a second vehicle become the first."""
        core = self._core
        if core.passage is not None:
            self._seal_what_is_over(core.passage)
        at_booth = bool(self._known.get("booth_loop"))
        if core.passage is None and (self._second_waiting or at_booth):
            opened = open_inspection(core, "booth_loop" if at_booth else "entry_loop", restless=True)
            opened.inspection.booth(at_booth, core.now_s)
            opened.moments, self._second_moments = self._second_moments, {}
            self._second_waiting = False

    def _seal_what_is_over(self, passage: Passage) -> None:
        core = self._core
        inspection = passage.inspection
        if inspection.permit and inspection.order is not None:
            self._permit_until_s, self._permit_seq = core.now_s, inspection.order.seq
        arm_down = self._known.get("barrier_down", True)
        if inspection.state == "aborted":
            seal(core, "aborted")
        elif passage.passed and inspection.left_barrier and arm_down:
            seal(core, inspection.state)
        elif inspection.exit_overdue(core.now_s) and not self._sees_vehicle():
            inspection.mark("exit_unseen")
            seal(core, inspection.state)

    def outputs(self) -> dict[str, bool]:
        """Return every output as it must be now; all false is the safe state."""
        core = self._core
        inspection = core.inspection
        permit = self._permit()
        referred = (
            permit
            and inspection is not None
            and inspection.order is not None
            and inspection.order.verdict == Verdict.SECONDARY
        )
        return {
            "green": permit,
            "raise_permit": permit,
            "secondary_lamp": referred,
            "horn": core.book.horn(core.now_s),
            "beacon": core.book.beacon(),
            "entry_green": inspection is None and self._ready(),
        }

    def _permit(self) -> bool:
        passage = self._core.passage
        return passage is not None and passage.inspection.permit and not passage.passed

    def _ready(self) -> bool:
        """Whether a vehicle may enter: in service, every device that is required up, nothing in the way."""
        core = self._core
        required = core.facts.required
        up = all(
            view.state in UP_STATES
            for view in core.devices.values()
            if view.required or view.role == "DigitalIo"
        )
        clear = not self._sees_vehicle() and self._known.get("estop_ok", True)
        return core.mode == "open" and up and clear and not required & core.lost_checks()


def open_inspection(core: Core, opened_by: str, *, restless: bool = False) -> Passage:
    """Begin the inspection of the vehicle that just appeared."""
    inspection = Inspection(
        inspection_id=core.new_id(),
        opened_by=opened_by,
        opened_utc_us=core.now.utc_ns // 1000,
        opened_s=core.now_s,
        required=core.facts.required,
        fitted=core.facts.fitted,
        patience_s=core.facts.patience_s,
        directed=core.facts.directed,
        in_service=core.mode in ("open", "draining"),
    )
    if restless:
        inspection.mark("second_vehicle")
    inspection.set_lane(emergency=core.book.stands("emergency_stop"))
    core.passage = Passage(inspection)
    core.opens = inspection.inspection_id
    core.tell(InspectionOpened, opened_by=opened_by, restless=restless)
    for device in core.devices.values():
        if core.book.find("tamper", device.name) is not None:
            core.tampered(device.name)
    for check in core.doubted_checks():
        core.doubt(check, "fault")
    return core.passage


def tamper(core: Core, device: str, *, opened: bool) -> None:
    """Record a cabinet or tamper contact; an open one marks every inspection while it lasts."""
    alarm = core.book.find("tamper", device)
    if opened and alarm is None:
        core.emit(TamperOpened, device=device)
        core.lane_alarm("tamper", device)
        core.tampered(device)
    elif not opened and alarm is not None:
        core.emit(TamperClosed, device=device)
        core.end_alarm(alarm.alarm_id)
