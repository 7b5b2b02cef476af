"""What people order: checked here, written down by the host, carried out only when it is durable."""

from __future__ import annotations

from dataclasses import dataclass, replace

from station.domain.adjudication import WHAT, Finding, RaisedAlarm, amendment
from station.domain.alarms import SILENCE_S
from station.domain.closures import InspectionObserved, Seen, later
from station.domain.decision import NotFound, Refused, VersionConflict
from station.domain.device_events import TamperCleared
from station.domain.events import (
    AlarmAcknowledged,
    AlarmEnded,
    AlarmSilenced,
    DecisionRecorded,
    ImageRead,
    InspectionAmended,
    SecondaryReferred,
)
from station.domain.values import Decision, Verdict
from station.lane import orders
from station.lane.core import Core, Pending
from station.lane.directives import Directives, PutDirective
from station.lane.portals import Portals


@dataclass(frozen=True, slots=True)
class Decide:
    """Release, Secondary or Hold for the version that the officer saw."""

    inspection_id: str | None
    version: int
    verdict: Verdict
    officer: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ReadImage:
    """The officer has looked at the radiograph."""

    inspection_id: str
    version: int
    officer: str
    read_ms: int
    seen_fraction: float


@dataclass(frozen=True, slots=True)
class AckAlarm:
    """The officer has seen the alarm."""

    alarm_id: str
    officer: str


@dataclass(frozen=True, slots=True)
class SilenceAlarm:
    """The officer wants two minutes of quiet."""

    alarm_id: str
    officer: str


@dataclass(frozen=True, slots=True)
class Observe:
    """What seals and placards the officer saw at the vehicle."""

    inspection_id: str
    seen: Seen
    officer: str


@dataclass(frozen=True, slots=True)
class ReceiveOrder:
    """The officer has received what a directive orders for this vehicle."""

    inspection_id: str
    directive_id: str
    version: int
    officer: str


@dataclass(frozen=True, slots=True)
class ClearTamper:
    """A technician has looked: the portal's tamper contact is closed, although the portal has not said so."""

    device: str
    officer: str


@dataclass(frozen=True, slots=True)
class Adjudicate:
    """Somebody found out what a radiation alarm was."""

    alarm: RaisedAlarm
    finding: Finding
    officer: str


Command = (
    Decide
    | ReadImage
    | AckAlarm
    | SilenceAlarm
    | ReceiveOrder
    | Observe
    | ClearTamper
    | Adjudicate
    | PutDirective
)


class Commands:
    """Commands of officers against the state of now; a refusal raises and changes nothing.

    A Hold works at once; all else that a command changes, it changes when its record is durable: ``Pending``.
    """

    def __init__(self, core: Core, directives: Directives, portals: Portals) -> None:
        """Lend the lane's state."""
        self._core = core
        self._directives = directives
        self._portals = portals

    def carry_out(self, command: Command) -> Pending:
        """Check and emit; raises ``Refused``."""
        if isinstance(command, Decide):
            return self._decide(command)
        if isinstance(command, ReadImage):
            return self._read_image(command)
        if isinstance(command, AckAlarm):
            return self._ack(command)
        if isinstance(command, ReceiveOrder):
            return self._receive(command)
        if isinstance(command, Observe):
            return self._observe(command)
        if isinstance(command, ClearTamper):
            return self._clear_tamper(command)
        if isinstance(command, Adjudicate):
            return self._adjudicate(command)
        if isinstance(command, PutDirective):
            return self._directives.put(command)
        return self._silence(command)

    def _decide(self, command: Decide) -> Pending:
        core = self._core
        inspection = core.inspection
        if inspection is None:
            raise NotFound("There is no vehicle in the lane")
        hold = command.verdict == Verdict.HOLD
        if command.inspection_id != inspection.inspection_id and not hold:
            raise VersionConflict("The vehicle changed. Nothing was done.")
        decision = Decision(
            verdict=command.verdict,
            officer=command.officer,
            reason=command.reason,
            at_utc_us=core.now.utc_ns // 1000,
        )
        inspection.give_order(decision, command.version, core.now_s)
        core.tell(DecisionRecorded, verdict=command.verdict, officer=command.officer, reason=command.reason)
        if command.verdict == Verdict.SECONDARY:
            core.tell(SecondaryReferred, officer=command.officer)

        def stored(seq: int) -> None:
            inspection.order_stored(decision.model_copy(update={"seq": seq}))

        def lost() -> None:
            if inspection.order == decision:
                inspection.order_lost()

        return Pending(stored, lost)

    def _read_image(self, command: ReadImage) -> Pending:
        core = self._core
        passage = core.passage
        if passage is None or passage.inspection.inspection_id != command.inspection_id:
            raise VersionConflict("The vehicle changed. Nothing was recorded.")
        inspection, scan = passage.inspection, passage.scan
        inspection.check_version(command.version)
        if scan is None and core.facts.of_role("LineScanner"):
            raise Refused("There is no image of this vehicle. Nothing was recorded.")
        if scan is not None and scan.state == "scanning":
            raise Refused("The image is not complete yet. Nothing was recorded.")
        core.tell(
            ImageRead,
            scan_id=scan.scan_id if scan else None,
            officer=command.officer,
            read_ms=command.read_ms,
            seen_fraction=command.seen_fraction,
        )
        return Pending(lambda seq: inspection.image_was_read(scan is passage.scan))

    def _observe(self, command: Observe) -> Pending:
        core, inspection = self._core, self._core.inspection
        if inspection is None:
            raise NotFound("There is no vehicle in the lane")
        if command.inspection_id != inspection.inspection_id:
            raise VersionConflict("The vehicle changed. Nothing was recorded.")
        core.tell(InspectionObserved, officer=command.officer, **command.seen.model_dump())

        def stored(seq: int) -> None:
            told = inspection.directed
            inspection.direct(replace(told, seen=later(told.seen, command.seen)))

        return Pending(stored)

    def _ack(self, command: AckAlarm) -> Pending:
        core, alarm = self._core, self._core.book.get(command.alarm_id)
        of = {"alarm_id": alarm.alarm_id, "inspection_id": alarm.inspection_id, "version": None}
        core.emit(AlarmAcknowledged, **of, officer=command.officer)
        if alarm.ends_on_ack:
            core.emit(AlarmEnded, **of)
        order = orders.seen(core, alarm.alarm_id, command.officer)

        def stored(seq: int) -> None:
            if core.book.has(alarm.alarm_id):
                core.book.ack(alarm.alarm_id)
            if alarm.ends_on_ack and core.book.has(alarm.alarm_id):
                core.book.end(alarm.alarm_id)
            order.stored(seq)

        return Pending(stored, order.lost)

    def _clear_tamper(self, command: ClearTamper) -> Pending:
        device = command.device
        if all(portal.name != device for portal in self._core.facts.of_role("PortalMonitor")):
            raise NotFound(f"There is no portal {device} in this lane")
        if not self._portals.is_open(device):
            raise Refused(f"No portal {device} has an open tamper contact. Nothing was recorded.")
        self._core.emit(TamperCleared, device=device, officer=command.officer)
        return Pending(lambda seq: self._portals.clear_tamper(device))

    def _adjudicate(self, command: Adjudicate) -> Pending:
        alarm = command.alarm
        fields = amendment(alarm, command.finding, command.officer)
        of = {"inspection_id": alarm.inspection_id, "device": alarm.device, "version": 0, **alarm.flags}
        self._core.emit(InspectionAmended, what=WHAT, fields=fields, **of)
        return Pending()

    def _receive(self, command: ReceiveOrder) -> Pending:
        core, officer = self._core, command.officer
        order = orders.receive(core, command.inspection_id, command.directive_id, command.version, officer)
        alarm_id = orders.alarm_of(core, command.directive_id, command.version)
        alarm = self._ack(AckAlarm(alarm_id, officer)) if alarm_id else Pending()

        def stored(seq: int) -> None:
            order.stored(seq)
            alarm.stored(seq)

        return Pending(stored, order.lost)

    def _silence(self, command: SilenceAlarm) -> Pending:
        core, alarm = self._core, self._core.book.get(command.alarm_id)
        core.emit(
            AlarmSilenced,
            alarm_id=alarm.alarm_id,
            inspection_id=alarm.inspection_id,
            version=None,
            officer=command.officer,
            for_s=SILENCE_S,
        )

        def stored(seq: int) -> None:
            if core.book.has(alarm.alarm_id):
                core.book.silence(alarm.alarm_id, core.now_s)

        return Pending(stored)
