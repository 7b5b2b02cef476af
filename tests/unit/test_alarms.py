"""The list of alarms: what it forgets and what it never does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from station.domain.alarms import MAX_ALARMS, SILENCE_S, Alarm, AlarmBook, settle
from station.domain.decision import NotFound


def alarm(name: str, code: str = "gamma_alarm") -> Alarm:
    return Alarm(name, code, "rpm1", None, raised_utc_us=0)


def test_too_many_ended_alarms_leave_oldest_first_and_an_active_one_never() -> None:
    book = AlarmBook()
    book.add(alarm("active"))
    for number in range(MAX_ALARMS + 10):
        book.add(alarm(f"ended-{number}"))
        book.end(f"ended-{number}")
    kept = [known.alarm_id for known in book]
    assert len(kept) == MAX_ALARMS
    assert "active" in kept
    assert "ended-10" not in kept
    assert f"ended-{MAX_ALARMS + 9}" in kept


def test_more_active_alarms_than_the_list_holds_are_all_kept() -> None:
    book = AlarmBook()
    for number in range(MAX_ALARMS + 10):
        book.add(alarm(str(number)))
    assert len(list(book)) == MAX_ALARMS + 10


def test_a_silence_ends_by_time_and_by_the_next_alarm() -> None:
    book = AlarmBook()
    book.add(alarm("first"))
    book.silence("first", now_s=100.0)
    assert not book.horn(100.0 + SILENCE_S - 0.1)
    assert book.beacon(), "the beacon goes on"
    assert book.horn(100.0 + SILENCE_S)
    book.add(alarm("second"))
    book.ack("second")
    assert book.horn(101.0), "the first sounds again"


def test_an_unknown_alarm_is_named() -> None:
    with pytest.raises(NotFound, match="no open alarm a-7"):
        AlarmBook().ack("a-7")


def test_what_ended_before_the_seal_is_left_to_be_seen() -> None:
    book = AlarmBook()
    book.add(replace(alarm("a", "second_vehicle"), inspection_id="i-1"))
    book.end("a")
    assert settle(book, "i-1", "decided", "") == []
    assert [known.state for known in book] == ["rtn_unack"]
