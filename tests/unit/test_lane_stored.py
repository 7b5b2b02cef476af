"""What counts only when it is stored, and what a failure beside it must not take with it."""

from __future__ import annotations

import pytest

from station.domain.decision import Refused
from station.lane import lane as lane_module
from station.lane.commands import AckAlarm, ReadImage
from station.lane.core import Core
from station.lane.effects import Append
from tests.support.lane_rig import Rig


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.background()
    return rig


# --- what counts only when it is stored -------------------------------------------------------------


def test_an_image_that_was_read_and_an_alarm_that_was_seen_count_when_they_are_stored(rig: Rig) -> None:
    rig.scan_result = {"state": "complete"}
    rig.arrive(gamma="alarm")
    (alarm,) = rig.lane.core.book
    rig.hold_appends = True
    rig.order(AckAlarm(alarm.alarm_id, "O-1"))
    rig.order(ReadImage(rig.seen.inspection_id, rig.seen.version, "O-1", 900, 1.0))
    assert rig.codes() == {"gamma_alarm": "unack"}
    assert not rig.seen.image_read
    rig.release_appends()
    assert rig.codes() == {"gamma_alarm": "ack"}
    assert rig.seen.image_read


def test_an_image_that_is_not_there_cannot_have_been_read(rig: Rig) -> None:
    rig.enter()
    with pytest.raises(Refused, match="no image"):
        rig.order(ReadImage(rig.seen.inspection_id, rig.seen.version, "O-1", 0, 0.0))
    rig.scan(end=False)
    with pytest.raises(Refused, match="not complete"):
        rig.order(ReadImage(rig.seen.inspection_id, rig.seen.version, "O-1", 0, 0.0))


def test_a_failure_beside_an_order_keeps_it_on_record_and_asks_for_it_anew(rig: Rig) -> None:
    rig.arrive()
    rig.hold_appends = True
    rig.decide("secondary")
    rig.board(cabinet_closed=False)
    held = rig.take_held()
    rig.carry(rig.lane.not_stored(held[1].token, "cannot_record", rig.stamp()))
    rig.carry(rig.lane.stored(held[0].token, 77, rig.stamp()))
    assert (rig.seen.state, rig.seen.decision) == ("awaiting_decision", None)
    assert rig.lane.core.inspection is not None
    assert [(d.verdict, d.seq) for d in rig.lane.core.inspection.decisions] == [("secondary", 77)]


def test_what_happens_together_with_a_refused_command_is_not_lost_with_it(rig: Rig) -> None:
    """The vehicle's seal falls due in the very call of an acknowledgement that the journal refuses."""
    rig.arrive(gamma="alarm")
    (alarm,) = rig.lane.core.book.of(rig.seen.inspection_id)
    rig.decide("secondary")
    inspection = rig.lane.core.inspection
    assert inspection is not None
    inspection.abort("test")
    acknowledged, sealed = [
        effect
        for effect in rig.lane.command(AckAlarm(alarm.alarm_id, "O-1"), rig.stamp())
        if isinstance(effect, Append)
    ]
    assert [event.type_name() for event in acknowledged.events] == ["carril.alarm.acknowledged"]
    assert "carril.inspection.sealed" in [event.type_name() for event in sealed.events]
    assert sealed.seals == inspection.inspection_id


def test_a_call_that_a_bug_cut_short_is_not_finished_by_the_next_one(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.arrive()
    before = len(rig.events)

    def broken(core: Core) -> None:
        raise ValueError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(lane_module, "ask", broken)
        with pytest.raises(ValueError, match="a bug"):
            rig.decide()
    rig.wait(1.0)
    assert [e for e in rig.events[before:] if e.type_name() == "carril.decision.recorded"] == []
    assert not rig.outputs["raise_permit"]
