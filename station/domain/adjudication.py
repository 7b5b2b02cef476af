"""What people found out about a radiation alarm: a code, what it rests on, and the rules for it [domain §8].

A finding is an amendment of the sealed record and never changes it. Later findings stand beside earlier ones,
the newest counts. Nobody signs in yet: the names are what was typed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from station.domain.alarms import LATE
from station.domain.decision import NotFound, Refused, VersionConflict
from station.domain.signed import ListOf, Strict, Text
from station.domain.statistics import INNOCENT_CODES
from station.domain.values import Args

WHAT = "adjudication"
"""``what`` of the amendment."""
DECLARED = 5
"""The code of a declared radioactive shipment."""

RAISED = ("carril.radiation_alarm.raised", "carril.lane_alarm.raised")

Channel = Literal["gamma", "neutron"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
Code = Annotated[int, Field(ge=0, le=11)]
Isotope = Annotated[str, Field(pattern=r"^[A-Z][a-z]?-[0-9]{1,3}m?$")]
Note = Annotated[str, Field(max_length=500)]


class Licence(Strict):
    """A licence for radioactive goods, verified with the regulator: counterfeit ones have passed."""

    number: Text
    regulator: Text
    verified_by: Text
    """Who at the regulator said that it is genuine, or who asked there."""


class Finding(Strict):
    """One person's finding about one alarm, and the code that this person saw before."""

    inspection_id: Annotated[str, Field(min_length=1, max_length=64)]
    alarm_id: Annotated[str, Field(min_length=1, max_length=64)]
    before: Code
    code: Code
    secondary_status: Literal["none", "requested", "completed"] = "none"
    isotopes: ListOf[Isotope] = ()
    riid: Text | None = None
    """Reference of the handheld's measurement: its file or serial number and time."""
    licence: Licence | None = None
    second_person: Text | None = None
    reachback: Text | None = None
    """Reference that the experts who were asked gave."""
    note: Note = ""


@dataclass(frozen=True, slots=True)
class RaisedAlarm:
    """A device's alarm as the journal tells of it, and the code that it has by now."""

    inspection_id: str
    alarm_id: str
    device: str
    channel: Channel
    raised_utc_us: int
    flags: Mapping[str, bool]
    """``simulated``, ``test`` and ``exercise`` of the alarm: its finding counts where it counts."""
    code: int


def raised_alarm(told: Iterable[tuple[str, Mapping[str, Any]]], finding: Finding) -> RaisedAlarm:
    """Find the alarm among the records of its inspection (type and data); raises ``NotFound``."""
    alarm: Mapping[str, Any] | None = None
    code = 0
    for kind, data in told:
        if kind in RAISED and data["alarm_id"] == finding.alarm_id:
            alarm = data
        elif kind == "carril.inspection.amended" and data["what"] == WHAT:
            if data["fields"]["alarm_id"] == finding.alarm_id:
                code = data["fields"]["code"]
    channel = _channel(alarm) if alarm is not None else None
    if alarm is None or channel is None:
        raise NotFound(
            f"Inspection {finding.inspection_id} has no radiation alarm {finding.alarm_id} of a device in "
            "this journal. Nothing was recorded."
        )
    flags = {name: bool(alarm.get(name)) for name in ("simulated", "test", "exercise")}
    raised_us = alarm["stamp"]["utc_us"]
    return RaisedAlarm(
        finding.inspection_id, finding.alarm_id, alarm["device"], channel, raised_us, flags, code
    )


def _channel(alarm: Mapping[str, Any]) -> Channel | None:
    """Return the channel of a device's alarm, also of one that it told of afterwards; else ``None``."""
    code = alarm.get("code")
    for channel in CHANNELS:
        if alarm.get("channel") == channel or code == LATE[channel]:
            return channel
    return None


def amendment(alarm: RaisedAlarm, finding: Finding, officer: str) -> Args:
    """Return the fields of the amendment.

    Raises ``VersionConflict`` if the alarm has another code by now than the person saw, ``Refused`` where the
    finding lacks what it must rest on.
    """
    if finding.before != alarm.code:
        raise VersionConflict(f"The alarm has code {alarm.code} by now. Nothing was recorded.")
    missing = list(_missing(alarm, finding, officer))
    if missing:
        raise Refused(f"Code {finding.code} needs {' and '.join(missing)}. Nothing was recorded.")
    said: Args = {
        "alarm_id": alarm.alarm_id,
        "channel": alarm.channel,
        "raised_utc_us": alarm.raised_utc_us,
        "before": finding.before,
        "code": finding.code,
        "officer": officer,
        "secondary_status": finding.secondary_status,
        "isotopes": ", ".join(finding.isotopes),
        "note": finding.note,
    }
    more = finding.model_dump(include={"riid", "second_person", "reachback"}, exclude_none=True)
    licence = finding.licence.model_dump() if finding.licence else {}
    return {**said, **more, **{f"licence_{name}": value for name, value in licence.items()}}


def _missing(alarm: RaisedAlarm, finding: Finding, officer: str) -> Iterable[str]:
    if finding.code in INNOCENT_CODES:
        if not finding.isotopes:
            yield "an isotope"
        if finding.riid is None:
            yield "the reference of a handheld's measurement (riid)"
    if finding.code == DECLARED and finding.licence is None:
        yield "a licence that its regulator has verified"
    if alarm.channel == "neutron" and finding.code:
        if finding.second_person is None or finding.second_person.casefold() == officer.casefold():
            yield "a second person (a neutron alarm)"
        if finding.reachback is None:
            yield "the reference of the experts who were asked (reachback, a neutron alarm)"
