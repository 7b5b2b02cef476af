"""What people order: checked here, written down by the host, carried out only when it is durable."""

from __future__ import annotations

from dataclasses import dataclass

from station.domain.alarms import SILENCE_S
from station.domain.decision import NotFound, VersionConflict
from station.domain.events import (
    AlarmAcknowledged,
    AlarmSilenced,
    DecisionRecorded,
    ImageRead,
    SecondaryReferred,
)
from station.domain.values import Decision, Verdict
from station.lane.core import Core


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


Command = Decide | ReadImage | AckAlarm | SilenceAlarm


class Commands:
    """Commands of officers against the state of now; a refusal raises and changes nothing."""

    def __init__(self, core: Core) -> None:
        """Begin with no order on its way to the journal."""
        self._core = core
        self.writing: Decision | None = None
        """The order in this call's events."""

    def carry_out(self, command: Command) -> None:
        """Check and emit; raises ``Refused``."""
        if isinstance(command, Decide):
            self._decide(command)
        elif isinstance(command, ReadImage):
            self._read_image(command)
        elif isinstance(command, AckAlarm):
            self._ack(command)
        else:
            self._silence(command)

    def _decide(self, command: Decide) -> None:
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
        self.writing = decision
        core.tell(DecisionRecorded, verdict=command.verdict, officer=command.officer, reason=command.reason)
        if command.verdict == Verdict.SECONDARY:
            core.tell(SecondaryReferred, officer=command.officer)

    def _read_image(self, command: ReadImage) -> None:
        core = self._core
        passage = core.passage
        if passage is None or passage.inspection.inspection_id != command.inspection_id:
            raise VersionConflict("The vehicle changed. Nothing was recorded.")
        passage.inspection.image_was_read(command.version)
        core.tell(
            ImageRead,
            scan_id=passage.scan.scan_id if passage.scan else None,
            officer=command.officer,
            read_ms=command.read_ms,
            seen_fraction=command.seen_fraction,
        )

    def _ack(self, command: AckAlarm) -> None:
        core = self._core
        alarm = core.book.get(command.alarm_id)
        core.book.ack(command.alarm_id)
        core.emit(
            AlarmAcknowledged,
            alarm_id=alarm.alarm_id,
            inspection_id=alarm.inspection_id,
            version=None,
            officer=command.officer,
        )

    def _silence(self, command: SilenceAlarm) -> None:
        core = self._core
        alarm = core.book.get(command.alarm_id)
        core.book.silence(command.alarm_id, core.now_s)
        core.emit(
            AlarmSilenced,
            alarm_id=alarm.alarm_id,
            inspection_id=alarm.inspection_id,
            version=None,
            officer=command.officer,
            for_s=SILENCE_S,
        )
