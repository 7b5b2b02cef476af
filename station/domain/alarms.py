"""Alarms as the officer meets them, in the manner of ISA-18.2: states live here, never in a browser.

    UNACK ──ack──▶ ACK ──end──▶ (normal: record only)
      └──end──▶ RTN_UNACK ──ack──▶ (normal)

Acknowledge, silence and end are different acts with a record each. No alarm ends by time. Radiation ends with
the vehicle's referral; when the vehicle went away without one, its alarm stays until somebody acknowledges it
once more (``linger``). What only happened (a tailgate, a vehicle that left undecided) ends when it was seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from station.domain.decision import NotFound
from station.domain.values import AlarmSummary, Args, StandingAlarm
from station.domain.view import AlarmView

SILENCE_S = 120.0
MAX_ALARMS = 200
"""Ended alarms beyond this number leave the list (never the journal), oldest first."""

PRIORITY = {
    "neutron_alarm": 1,
    "gamma_alarm": 1,
    "tamper": 1,
    "emergency_stop": 1,
    "late_neutron_alarm": 1,
    "late_gamma_alarm": 1,
    "tailgate": 1,
    "vehicle_left_undecided": 1,
    "barrier_moved_unordered": 1,
    "vehicle_in_beam": 1,
    "wrong_way": 1,
    "cannot_record": 1,
    "hold_order": 1,
    "second_vehicle": 2,
    "exam_order": 2,
    "vehicle_stalled": 2,
    "required_device_lost": 2,
    "lane_file_refused": 2,
    "order_unreadable": 2,
    "station_only": 2,
    "late_station_only": 2,
    "panel_stuck": 3,
    "panel_silent": 3,
    "panel_drift": 3,
    "panel_dispersion": 3,
    "portal_rule": 3,
    "report_refused": 2,
    "consumer_ahead": 2,
    "blob_damaged": 2,
    "records_refused": 2,
}


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm; ``raised_s`` and ``silenced_until_s`` are monotonic."""

    alarm_id: str
    code: str
    device: str | None
    inspection_id: str | None
    raised_utc_us: int
    active: bool = True
    acked: bool = False
    lingers: bool = False
    """Its vehicle is gone, unsettled: to have seen that is all that is left to do."""
    silenced_until_s: float = 0.0
    stored: bool = True
    values: Args = field(default_factory=dict)

    @property
    def priority(self) -> int:
        """Return 1 to 3; an unknown code is never less than 2."""
        return PRIORITY.get(self.code, 2)

    @property
    def ends_on_ack(self) -> bool:
        """Whether an acknowledgement ends it."""
        return self.active and (self.lingers or self.code in EVENTS)

    @property
    def state(self) -> str:
        """Return unack, ack or rtn_unack."""
        if self.active:
            return "ack" if self.acked else "unack"
        return "rtn_unack"


class AlarmBook:
    """All alarms that somebody still has to see or end."""

    def __init__(self) -> None:
        """Start with none."""
        self._alarms: dict[str, Alarm] = {}

    def __iter__(self) -> Iterator[Alarm]:
        """Iterate by rank: priority, then newest first."""
        newest_first = reversed(self._alarms.values())
        return iter(sorted(newest_first, key=lambda alarm: alarm.priority))

    def __len__(self) -> int:
        """Return the number of alarms on the list."""
        return len(self._alarms)

    def add(self, alarm: Alarm) -> None:
        """Put a new alarm on the list; any new alarm ends every silence."""
        self._alarms = {key: replace(a, silenced_until_s=0.0) for key, a in self._alarms.items()}
        self._alarms[alarm.alarm_id] = alarm
        ended = [key for key, known in self._alarms.items() if not known.active]
        for key in ended[: max(0, len(self._alarms) - MAX_ALARMS)]:
            del self._alarms[key]

    def get(self, alarm_id: str) -> Alarm:
        """Return one alarm; ``NotFound`` when it is not on the list."""
        try:
            return self._alarms[alarm_id]
        except KeyError:
            raise NotFound(f"There is no open alarm {alarm_id}") from None

    def has(self, alarm_id: str) -> bool:
        """Whether the alarm is on the list."""
        return alarm_id in self._alarms

    def find(self, code: str, device: str | None = None) -> Alarm | None:
        """Return the active alarm of this code and device, if any."""
        for alarm in self._alarms.values():
            if alarm.code == code and alarm.device == device and alarm.active:
                return alarm
        return None

    def stands(self, code: str) -> bool:
        """Whether an alarm of this code is active for any device."""
        return any(alarm.code == code and alarm.active for alarm in self._alarms.values())

    def revise(self, alarm_id: str, values: Args) -> None:
        """Its numbers are known better now."""
        alarm = self.get(alarm_id)
        self._keep(replace(alarm, values={**alarm.values, **values}))

    def ack(self, alarm_id: str) -> None:
        """Somebody has seen it."""
        self._keep(replace(self.get(alarm_id), acked=True))

    def linger(self, alarm_id: str) -> None:
        """Its vehicle went away unsettled: it must be acknowledged again, which then ends it."""
        self._keep(replace(self.get(alarm_id), acked=False, lingers=True))

    def silence(self, alarm_id: str, now_s: float) -> None:
        """Silence browser and horn for two minutes; the beacon goes on."""
        self._keep(replace(self.get(alarm_id), silenced_until_s=now_s + SILENCE_S))

    def end(self, alarm_id: str) -> None:
        """Its cause has gone."""
        self._keep(replace(self.get(alarm_id), active=False))

    def mark_unstored(self, alarm_id: str) -> None:
        """The journal does not hold it (yet)."""
        self._keep(replace(self.get(alarm_id), stored=False))

    def of(self, inspection_id: str) -> list[Alarm]:
        """Return the alarms of one inspection."""
        return [alarm for alarm in self if alarm.inspection_id == inspection_id]

    def horn(self, now_s: float) -> bool:
        """Whether a P1 sounds: unacknowledged and not silenced."""
        return any(a.priority == 1 and not a.acked and now_s >= a.silenced_until_s for a in self)

    def beacon(self) -> bool:
        """Whether a P1 is active."""
        return any(a.priority == 1 and a.active for a in self)

    def _keep(self, alarm: Alarm) -> None:
        if alarm.active or not alarm.acked:
            self._alarms[alarm.alarm_id] = alarm
        else:
            self._alarms.pop(alarm.alarm_id, None)


RADIATION = frozenset({"gamma_alarm", "neutron_alarm"})
ORDERS = {"hold": "hold_order", "secondary": "exam_order", "scan": "exam_order"}
"""Alarm of a directive that names a vehicle, by its action; a discreet one never has an alarm."""
OF_THE_VEHICLE = frozenset({"second_vehicle", "station_only", "vehicle_in_beam", *ORDERS.values()})
"""Alarms that are over when their vehicle has gone; those of devices end with their cause."""
LATE = {"gamma": "late_gamma_alarm", "neutron": "late_neutron_alarm"}
"""Alarm of a portal's report on a vehicle that is not in the lane, by the channel."""
EVENTS = frozenset(
    {"tailgate", "vehicle_left_undecided", "wrong_way", "vehicle_stalled", "portal_rule", "report_refused"}
    | {"consumer_ahead", "blob_damaged", "late_station_only"}
    | set(LATE.values())
)
"""What happened and is over at once: to have seen it is all that can be done."""


def measured(
    book: AlarmBook,
    device: str,
    inspection_id: str,
    maxima: Mapping[str, int | None],
    limits: Mapping[str, float | None],
) -> bool:
    """Give a portal's alarms the largest counts so far, not those of the record that raised them.

    They never shrink. Return whether a number changed.
    """
    changed = False
    for alarm in book.of(inspection_id):
        channel = alarm.code.removesuffix("_alarm")
        counts, limit = maxima.get(channel), limits.get(channel)
        known = alarm.values.get("counts")
        if alarm.device == device and counts is not None and (not isinstance(known, int) or counts > known):
            ratio = round(counts / limit, 2) if limit else None
            book.revise(alarm.alarm_id, {"counts": counts, "limit": limit, "ratio": ratio})
            changed = True
    return changed


def settle(book: AlarmBook, inspection_id: str, outcome: str, plate: str) -> list[Alarm]:
    """The inspection is sealed: return its alarms that end with it; those that it left unsettled linger.

    What stays on the list says which vehicle it was: another one may stand under it.
    """
    over = []
    for alarm in book.of(inspection_id):
        book.revise(alarm.alarm_id, {"plate": plate})
        if not alarm.active:
            continue
        referred = alarm.code in RADIATION and outcome == "referred_secondary"
        if alarm.code in OF_THE_VEHICLE or referred:
            over.append(alarm)
        elif alarm.code in RADIATION:
            book.linger(alarm.alarm_id)
    return over


def standing(alarm: Alarm) -> StandingAlarm:
    """Return the alarm as a restart takes it from the journal."""
    return StandingAlarm(**{name: getattr(alarm, name) for name in StandingAlarm.model_fields})


def view(alarm: Alarm, now_s: float, now_utc_us: int) -> AlarmView:
    """Return the alarm as the screen draws it."""
    left_s = alarm.silenced_until_s - now_s
    return AlarmView.model_validate(
        {
            "alarm_id": alarm.alarm_id,
            "code": alarm.code,
            "priority": alarm.priority,
            "state": alarm.state,
            "device": alarm.device,
            "inspection_id": alarm.inspection_id,
            "raised_utc_us": alarm.raised_utc_us,
            "silenced_until_utc_us": now_utc_us + round(left_s * 1e6) if left_s > 0 else None,
            "stored": alarm.stored,
            "values": alarm.values,
        }
    )


def summary(alarm: Alarm) -> AlarmSummary:
    """Return the alarm as the sealed record keeps it."""
    return AlarmSummary(
        alarm_id=alarm.alarm_id,
        code=alarm.code,
        priority=alarm.priority,
        state=alarm.state,
        device=alarm.device,
        values=alarm.values,
    )
