"""A hold order reaches the officer: alarm or silence, received or missed, also over a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from station.domain.decision import NotFound, Refused, VersionConflict
from station.domain.directives import Action, Envelope, HoldKind
from station.domain.view import AlarmView, DirectiveView
from station.lane.commands import AckAlarm, ReceiveOrder
from station.lane.restart import Record
from tests.support import directives
from tests.support.directives import put
from tests.support.lane_rig import Rig

PLATE = "R4K7719"
BODY: dict[str, Any] = {
    "hold_kind": "export_control",
    "authority": "Customs",
    "action": "hold",
    "keys": {"plate": PLATE},
    "notes": {"en": "Cobalt source, papers missing.", "es": "Fuente de cobalto, faltan papeles."},
    "steps": ["Keep the vehicle at the barrier.", "Call Customs, extension 41."],
}


def envelope(version: int = 1, name: str = "H-771", **body: Any) -> Envelope:
    """A hold of the rig's plate."""
    return directives.envelope(name, kind="hold", version=version, body={**BODY, **body})


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.background()
    return rig


def told(rig: Rig, kind: str) -> list[Mapping[str, Any]]:
    """The records of a kind."""
    return [data for _, type_, data in rig.records() if type_ == f"carril.{kind}"]


def shown(rig: Rig) -> DirectiveView:
    """The order that the screen shows first."""
    return rig.seen.directives[0]


def alarms(rig: Rig, code: str) -> list[AlarmView]:
    return [alarm for alarm in rig.lane.view().alarms if alarm.code == code]


def receive(rig: Rig, version: int = 1, name: str = "H-771") -> None:
    rig.order(ReceiveOrder(rig.seen.inspection_id, name, version, "O-1"))


@pytest.mark.parametrize("seconds", [9, 3601, True, "60", None])
def test_the_time_to_answer_has_bounds(seconds: Any) -> None:
    with pytest.raises(ValidationError):
        envelope(ack_within_s=seconds)


def test_the_hit_carries_what_a_screen_and_the_centre_need(rig: Rig) -> None:
    put(rig, envelope(ack_within_s=90))
    rig.arrive(plate="r4k-7719")
    (hit,) = told(rig, "directive.hit")
    assert {name: hit[name] for name in ("authority", "notes", "steps", "ack_within_s")} == {
        "authority": "Customs",
        "notes": BODY["notes"],
        "steps": BODY["steps"],
        "ack_within_s": 90,
    }
    assert (hit["keys"], hit["text"], hit["read"]) == (["plate"], "r4k-7719", "accepted")
    seen = shown(rig)
    assert (seen.authority, seen.notes.es, list(seen.steps)) == (
        "Customs",
        BODY["notes"]["es"],
        BODY["steps"],
    )
    assert (seen.keys, seen.read, seen.officer) == (("plate",), "accepted", None)
    told_us = hit["stamp"]["utc_us"]
    assert seen.due_utc_us - told_us == pytest.approx(90e6, abs=1)


def test_how_the_key_was_read_is_told_and_follows_what_is_read_later(rig: Rig) -> None:
    put(rig, envelope())
    rig.board(entry_loop=True)
    rig.plate("ANOTHER1", confidence=0.8)
    rig.plate(PLATE, confidence=0.3)
    (hit,) = told(rig, "directive.hit")
    assert (hit["read"], hit["text"], shown(rig).read) == ("other", PLATE, "other")
    rig.plate(PLATE, confidence=0.95)
    assert shown(rig).read == "probable", "it is the surest now, and still has a rival"


def test_of_a_person_nothing_but_the_protocol_is_told(rig: Rig) -> None:
    put(rig, envelope(hold_kind="person", notes={"en": "John Doe", "es": "Juan Pérez"}))
    rig.arrive(plate=PLATE)
    (hit,) = told(rig, "directive.hit")
    assert (hit["notes"], hit["steps"]) == ({"en": "", "es": ""}, BODY["steps"])
    assert "Doe" not in rig.lane.view().model_dump_json()


# --- alarm or silence -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "code", "priority"),
    [("hold", "hold_order", 1), ("secondary", "exam_order", 2), ("scan", "exam_order", 2)],
)
def test_an_order_raises_its_alarm_until_the_vehicle_is_gone(
    rig: Rig, action: str, code: str, priority: int
) -> None:
    put(rig, envelope(action=action))
    rig.arrive(plate=PLATE)
    (alarm,) = alarms(rig, code)
    assert (alarm.priority, alarm.state, alarm.values["authority"]) == (priority, "unack", "Customs")
    assert alarm.alarm_id == told(rig, "directive.hit")[0]["alarm_id"] == shown(rig).alarm_id
    assert (rig.outputs["horn"], rig.outputs["beacon"]) == (priority == 1, priority == 1)
    rig.order(AckAlarm(alarm.alarm_id, "O-1"))
    assert (rig.outputs["horn"], rig.outputs["beacon"]) == (False, priority == 1)
    rig.decide("secondary")
    rig.leave()
    assert alarms(rig, code) == []
    assert not rig.outputs["beacon"]


def test_two_orders_for_one_vehicle_are_two_alarms(rig: Rig) -> None:
    put(rig, envelope(action="secondary"))
    put(rig, envelope(name="H-772"))
    put(rig, envelope(name="H-773"))
    rig.arrive(plate=PLATE)
    assert len(alarms(rig, "hold_order")) == 2
    assert [each.directive_id for each in rig.seen.directives] == ["H-772", "H-773", "H-771"]
    rig.order(AckAlarm(rig.seen.directives[0].alarm_id or "", "O-1"))
    assert [each.directive_id for each in rig.seen.directives] == ["H-773", "H-771", "H-772"]
    assert [each["directive_id"] for each in told(rig, "directive.acknowledged")] == ["H-772"]


def quiet() -> Iterator[tuple[str, str, bool | None]]:
    """Every order that must warn nobody, and every one that is only noted."""
    for kind, action in product(get_args(HoldKind), get_args(Action)):
        for discreet in (None, True, False):
            warned = kind not in ("person", "lookout", "targeting") if discreet is None else not discreet
            if not warned or action == "notify":
                yield kind, action, discreet


@pytest.mark.parametrize(("kind", "action", "discreet"), list(quiet()))
def test_what_must_warn_nobody_makes_no_sound_and_no_light(
    kind: str, action: str, discreet: bool | None
) -> None:
    """From the hit to long after the centre was told, and over a restart: no alarm, horn, beacon or lamp."""
    rig = Rig()
    rig.background()
    put(rig, envelope(hold_kind=kind, action=action, discreet=discreet, ack_within_s=10))
    heard: set[str] = set()
    carry = rig.carry

    def listening(effects: list[Any]) -> None:
        carry(effects)
        heard.update(name for name in ("horn", "beacon", "secondary_lamp") if rig.outputs.get(name))
        heard.update(alarm.code for alarm in rig.lane.view().alarms)

    rig.carry = listening  # type: ignore[method-assign]
    rig.arrive(plate=PLATE)
    assert len(told(rig, "directive.hit")) == 1
    rig.wait(11.0)
    assert len(told(rig, "directive.unacknowledged")) == 1
    rig.restart()
    rig.wait(1.0)
    assert heard == set()
    assert "lane_alarm.raised" not in rig.types()


# --- received ---------------------------------------------------------------------------------------


def test_received_is_recorded_with_the_seconds_and_acknowledges_the_alarm(rig: Rig) -> None:
    put(rig, envelope())
    rig.arrive(plate=PLATE)
    at = told(rig, "directive.hit")[0]["stamp"]["mono_us"]
    version = rig.seen.version
    rig.wait(5.0)
    receive(rig)
    (received,) = told(rig, "directive.acknowledged")
    assert (received["directive_id"], received["directive_version"], received["officer"]) == (
        "H-771",
        1,
        "O-1",
    )
    assert received["after_s"] == pytest.approx(rig.now_s - at / 1e6, abs=0.01)
    assert shown(rig).officer == "O-1"
    assert rig.seen.version == version, "a key that was pressed meanwhile still counts"
    assert [alarm.state for alarm in alarms(rig, "hold_order")] == ["ack"]
    assert len(told(rig, "alarm.acknowledged")) == 1
    rig.wait(120.0)
    rig.decide("secondary")
    rig.leave()
    assert told(rig, "directive.unacknowledged") == []


def test_to_have_acknowledged_the_alarm_is_to_have_received_the_order(rig: Rig) -> None:
    put(rig, envelope())
    rig.arrive(plate=PLATE)
    (alarm,) = alarms(rig, "hold_order")
    rig.order(AckAlarm(alarm.alarm_id, "O-1"))
    rig.order(AckAlarm(alarm.alarm_id, "O-1"))
    assert len(told(rig, "directive.acknowledged")) == 1
    assert shown(rig).officer == "O-1"
    with pytest.raises(Refused, match="received already"):
        receive(rig)


def test_received_is_shown_when_it_is_durable_and_forgotten_when_it_never_will_be(rig: Rig) -> None:
    put(rig, envelope(action="notify"))
    rig.arrive(plate=PLATE)
    rig.hold_appends = True
    receive(rig)
    assert shown(rig).officer is None
    with pytest.raises(Refused, match="received already"):
        receive(rig)
    held = rig.take_held()
    rig.broken = True
    for append in held:
        rig._append(append)
    rig.broken = False
    assert shown(rig).officer is None
    rig.carry(rig.lane.try_recording(rig.stamp()))
    receive(rig)
    assert shown(rig).officer == "O-1"


def test_received_is_for_what_was_seen(rig: Rig) -> None:
    known = put(rig, envelope(action="notify"))
    with pytest.raises(NotFound):
        rig.order(ReceiveOrder("id-1", "H-771", 1, "O-1"))
    rig.arrive(plate=PLATE)
    with pytest.raises(NotFound):
        receive(rig, name="H-9")
    with pytest.raises(VersionConflict):
        receive(rig, version=2)
    with pytest.raises(VersionConflict):
        rig.order(ReceiveOrder("another", "H-771", 1, "O-1"))
    assert told(rig, "directive.acknowledged") == []
    put(rig, envelope(2, action="notify"), known)
    assert [each.version for each in rig.seen.directives] == [2]
    receive(rig, version=2)
    rig.wait(70.0)
    assert told(rig, "directive.unacknowledged") == [], "the version that was replaced asks nobody any more"


# --- nobody did -------------------------------------------------------------------------------------


def test_the_centre_is_told_once_that_nobody_received_it(rig: Rig) -> None:
    put(rig, envelope(ack_within_s=30))
    rig.arrive(plate=PLATE)
    hit_s = told(rig, "directive.hit")[0]["stamp"]["mono_us"] / 1e6
    rig.wait(hit_s + 29.8 - rig.now_s)
    assert told(rig, "directive.unacknowledged") == []
    rig.wait(0.4)
    (missed,) = told(rig, "directive.unacknowledged")
    assert (missed["directive_id"], missed["cause"], missed["ack_within_s"]) == ("H-771", "time", 30)
    assert missed["after_s"] == pytest.approx(30.0, abs=0.21)
    assert shown(rig).missed
    rig.restart()
    rig.wait(60.0)
    receive(rig)
    rig.decide("secondary")
    rig.leave()
    assert len(told(rig, "directive.unacknowledged")) == 1, "late is received, and told late once"
    assert len(told(rig, "directive.acknowledged")) == 1


def test_a_vehicle_that_leaves_with_the_order_unseen_is_told_at_once(rig: Rig) -> None:
    put(rig, envelope(action="secondary", ack_within_s=3600))
    rig.arrive(plate=PLATE)
    rig.decide("secondary")
    rig.leave()
    (missed,) = told(rig, "directive.unacknowledged")
    assert missed["cause"] == "vehicle_left"
    assert missed["inspection_id"] == rig.last("inspection.sealed").inspection_id


def test_a_restart_knows_the_order_its_alarm_and_how_many_seconds_are_left(rig: Rig) -> None:
    put(rig, envelope(ack_within_s=30))
    rig.arrive(plate=PLATE)
    hit_s = told(rig, "directive.hit")[0]["stamp"]["mono_us"] / 1e6
    before, alarm = shown(rig), alarms(rig, "hold_order")[0]
    rig.restart()
    assert replace_due(shown(rig)) == replace_due(before)
    assert abs(shown(rig).due_utc_us - before.due_utc_us) < 10
    assert alarms(rig, "hold_order")[0] == alarm
    rig.wait(hit_s + 29.8 - rig.now_s)
    assert told(rig, "directive.unacknowledged") == []
    rig.wait(0.4)
    assert len(told(rig, "directive.unacknowledged")) == 1
    rig.order(AckAlarm(alarm.alarm_id, "O-1"))
    rig.restart()
    assert shown(rig).officer == "O-1"
    assert shown(rig).missed
    assert alarms(rig, "hold_order")[0].state == "ack"


def replace_due(view: DirectiveView) -> DirectiveView:
    """The same without the moment, which is computed anew."""
    return view.model_copy(update={"due_utc_us": 0})


def test_after_another_boot_the_seconds_begin_anew(rig: Rig) -> None:
    put(rig, envelope(ack_within_s=30))
    rig.arrive(plate=PLATE)
    stamp = rig.stamp
    rig.stamp = lambda: replace(stamp(), boot_id="another")  # type: ignore[method-assign]
    rig.restart(away_s=600.0)
    rig.wait(29.0)
    assert told(rig, "directive.unacknowledged") == []
    rig.wait(2.0)
    assert len(told(rig, "directive.unacknowledged")) == 1


def test_a_hit_of_a_station_that_knew_less_is_read_as_it_was(rig: Rig) -> None:
    put(rig, envelope())
    rig.arrive(plate=PLATE)
    new = ("authority", "notes", "steps", "ack_within_s", "text", "read", "alarm_id")

    def as_then(record: Record) -> Record:
        seq, kind, data = record
        hit = kind == "carril.directive.hit"
        return (seq, kind, {k: v for k, v in data.items() if k not in new} if hit else data)

    old = list(map(as_then, rig.records()))
    rig.records = lambda: old  # type: ignore[method-assign]
    rig.restart()
    assert (shown(rig).authority, shown(rig).steps, shown(rig).alarm_id) == ("", (), None)
