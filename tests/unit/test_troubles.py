"""What the journal notices: told once, bounded, as a record and an alarm that a liar cannot repeat."""

from __future__ import annotations

from typing import Any

import pytest

from station.store.troubles import MOST_AHEAD, MOST_BLOBS, Ahead, News, Troubles
from tests.support.lane_rig import Rig

AHEAD, DAMAGED = Ahead("central", 900, 12), "ab" * 32


def news(*ahead: Ahead, blobs: tuple[str, ...] = (), **refused: int) -> News:
    return News(ahead, blobs, refused)


def test_everything_is_told_once() -> None:
    troubles = Troubles()
    assert troubles.take() is None
    for seq in (500, 900):
        troubles.is_ahead("central", seq, 12)
    troubles.is_damaged(DAMAGED)
    assert troubles.take() == news(AHEAD, blobs=(DAMAGED,))
    troubles.is_damaged(DAMAGED)
    assert troubles.take() is None, "a damaged blob is read many times"
    troubles.is_ahead("central", 900, 12)
    assert troubles.take() == news(AHEAD)


def test_what_stands_is_told_when_it_changes() -> None:
    troubles = Troubles(refused={"central": 1001})
    assert troubles.take() == news(central=1001)
    troubles.refused = {"central": 2000}
    assert troubles.take() is None
    troubles.refused = {}
    assert troubles.take() == news()


def test_what_nobody_takes_does_not_grow() -> None:
    troubles = Troubles()
    for number in range(2 * MOST_BLOBS):
        troubles.is_ahead(f"c{number}", 9, 1)
        troubles.is_damaged(f"{number:064x}")
    told = troubles.take()
    assert told is not None
    assert (len(told.ahead), len(told.blobs)) == (MOST_AHEAD, MOST_BLOBS)
    assert told.ahead[-1].consumer == f"c{2 * MOST_BLOBS - 1}"


@pytest.fixture
def rig() -> Rig:
    return Rig()


def tell(rig: Rig, told: News) -> None:
    rig.carry(rig.lane.troubles(told, rig.stamp()))


def of(rig: Rig, kind: str) -> list[Any]:
    return [event for event in rig.events if event.type_name() == f"carril.{kind}"]


def alarms(rig: Rig) -> list[str]:
    return [alarm.code for alarm in rig.lane.core.book if alarm.active]


def test_a_consumer_that_is_ahead_is_an_alarm_and_a_record_until_somebody_has_seen_it(rig: Rig) -> None:
    for _ in range(3):
        tell(rig, news(AHEAD, Ahead("port", 13, 12)))
    (told,) = of(rig, "consumer.ahead")
    assert (told.consumer, told.seq, told.head) == ("central", 900, 12)
    assert [each.code for each in of(rig, "lane_alarm.raised")] == ["consumer_ahead"]
    (alarm,) = rig.lane.core.book
    assert (alarm.priority, alarm.values, alarm.ends_on_ack) == (2, {"consumer": "central"}, True)


def test_each_damaged_blob_is_a_record_and_all_are_one_alarm(rig: Rig) -> None:
    tell(rig, news(blobs=(DAMAGED, "cd" * 32)))
    assert [each.sha256 for each in of(rig, "blob.damaged")] == [DAMAGED, "cd" * 32]
    assert alarms(rig) == ["blob_damaged"]


def test_refused_records_are_an_alarm_as_long_as_there_are_so_many(rig: Rig) -> None:
    tell(rig, news(central=1001))
    tell(rig, news(central=1001, port=5000))
    (told,) = of(rig, "records.refused")
    assert (told.consumer, told.refused) == ("central", 1001)
    assert alarms(rig) == ["records_refused"]
    tell(rig, news())
    assert alarms(rig) == []
    assert of(rig, "alarm.ended")
