"""The daily files: every line once, in the file of its own day, whatever clock, disk and process do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.readings import Stamp
from station.domain.statistics import Kind
from station.lane import daybook
from station.lane.daybook import DayName, Line, Row, csv_line
from tests.support.daily import LANE, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "daily")
    yield desk
    desk.book.end()


# --- one line -------------------------------------------------------------------------------------


def test_a_line_is_what_the_device_sent_and_the_time_behind_it() -> None:
    at = Stamp(4_919_000_000, 5, "b")
    assert csv_line(Line("rpm1", at, "real", b"GB,000822,000750,000770,000757")) == (
        "GB,000822,000750,000770,000757,00-00-04.919\n"
    )
    late = Stamp(86_399_999_999_999, 5, "b")
    assert csv_line(Line("rpm1", late, "real", b"NB,1\r\n")) == "NB,1,23-59-59.999\n"


def test_whatever_a_device_sends_stays_one_line() -> None:
    line = csv_line(Line("rpm1", Stamp(0, 0, "b"), "real", b"GB,\n1\x00\xff"))
    assert line == "GB,\\x0a1\\x00\\xff,00-00-00.000\n"


@pytest.mark.parametrize("name", ["rpm1_20261124", "rpm-2_x_20261124_simulated-3", "a_20261124_exercise"])
def test_a_file_name_says_which_part_of_which_day_it_is(name: str) -> None:
    found = DayName.of(name)
    assert found is not None
    assert found.stem == name


@pytest.mark.parametrize("name", ["closed", "rpm1", "rpm1_2026112", "rpm1_20261124_secret", "_20261124"])
def test_what_is_no_daily_file_is_none(name: str) -> None:
    assert DayName.of(name) is None


# --- midnight -------------------------------------------------------------------------------------


def test_the_day_ends_at_midnight_utc_and_is_closed_a_minute_later(desk: Desk) -> None:
    desk.wait(59)
    desk.wait(60)
    assert desk.kept == []
    desk.wait(2)
    (day,) = desk.kept
    assert (day.name, day.device, day.day, day.part, day.kind) == (
        f"{LANE}_rpm1_20261124.csv",
        "rpm1",
        "20261124",
        1,
        "real",
    )
    assert (day.lines, day.lost, day.blobs["daily"].media) == (59, 0, "text/csv")
    assert desk.content(day) == "".join(desk.said[:59])
    assert desk.open_text("rpm1_20261125") == "".join(desk.said[59:])
    assert desk.said[58].endswith(",23-59-59.000\n")
    assert desk.said[59].endswith(",00-00-00.000\n")


def test_a_portal_that_says_nothing_ends_no_day_later(desk: Desk) -> None:
    desk.take(desk.line())
    desk.utc_s += 120
    desk.mono_s += 120
    desk.take()
    desk.mono_s += 61
    desk.take()
    assert [day.day for day in desk.kept] == ["20261124"]


def test_the_file_goes_when_its_record_is_durable_and_not_before(desk: Desk) -> None:
    desk.wait(125)
    assert (desk.folder / f"{LANE}_rpm1_20261124.csv").exists()
    desk.record()
    assert sorted(path.name for path in desk.folder.glob("*_20261124*")) == []
    assert (desk.folder / "closed").read_text() == "rpm1_20261124"


def test_a_record_is_asked_for_once(desk: Desk) -> None:
    desk.wait(125)
    desk.utc_s += 3600
    desk.mono_s += 3600
    desk.take()
    assert len(desk.kept) == 1


# --- the clock is set -----------------------------------------------------------------------------


def test_a_clock_that_is_set_loses_and_doubles_no_line(desk: Desk) -> None:
    steps = (
        3600.0,
        -3600.0,
        86_400.0,
        -90_000.0,
        5.0,
        -5.0,
        86_400.0 * 3650,
        -86_400.0 * 7300,
        86_400.0 * 3650,
    )
    for step_s in steps:
        desk.wait(90)
        desk.utc_s += step_s
    desk.wait(90)
    desk.record()
    assert sorted(desk.everything()) == sorted(desk.said)
    assert len(set(desk.said)) == len(desk.said)
    for kept in desk.kept:
        assert kept.name.count(kept.day) == 1


def test_a_little_back_over_midnight_stays_in_the_day(desk: Desk) -> None:
    desk.wait(70)
    desk.utc_s -= 20
    desk.wait(20)
    desk.wait(90)
    (day,) = desk.kept
    assert (day.part, day.lines) == (1, 59 + 9)


def test_a_line_of_a_closed_day_begins_another_part_of_it(desk: Desk) -> None:
    desk.wait(125)
    desk.record()
    desk.utc_s -= 600
    desk.wait(3)
    assert desk.open_text("rpm1_20261124-2") == "".join(desk.said[-3:])
    desk.start()  # a new process knows it as well
    desk.wait(2)
    assert desk.open_text("rpm1_20261124-2") == "".join(desk.said[-5:])


def test_each_step_of_the_clock_is_told_beside_the_lines(desk: Desk) -> None:
    desk.wait(5)
    desk.utc_s += 1.5
    desk.wait(5)
    desk.utc_s += 0.2  # the clock is pulled, not set
    desk.wait(5)
    assert [row["by_s"] for row in desk.rows() if row["type"] == "clock_stepped"] == [1.5]


def test_a_new_boot_is_no_step_of_the_clock(desk: Desk) -> None:
    desk.wait(2)
    desk.mono_s, desk.boot_id = 7.0, "other"
    desk.wait(2)
    assert not [row for row in desk.rows() if row["type"] == "clock_stepped"]


# --- a process ends -------------------------------------------------------------------------------


def test_a_restart_goes_on_in_the_same_file(desk: Desk) -> None:
    desk.wait(10)
    desk.start()
    desk.wait(10)
    assert desk.open_text() == "".join(desk.said)
    assert [row["type"] for row in desk.rows()] == ["opened", "continued"]


def test_half_a_line_at_the_end_is_cut_off_and_told(desk: Desk) -> None:
    desk.wait(3)
    path = desk.folder / f"{LANE}_rpm1_20261124.csv"
    path.write_text(desk.open_text() + "GS,0001")
    desk.start()
    desk.wait(2)
    assert desk.open_text() == "".join(desk.said)
    assert desk.rows()[-1]["cut_bytes"] == 7


def test_what_an_ended_process_left_of_yesterday_is_closed_as_it_is(desk: Desk) -> None:
    desk.wait(30)
    path = desk.folder / f"{LANE}_rpm1_20261124.csv"
    path.write_text(desk.open_text() + "GS,0001")
    desk.utc_s += 3600
    desk.mono_s += 3600
    desk.start()
    desk.wait(1)
    (day,) = desk.kept
    assert desk.content(day) == "".join(desk.said[:30])


def test_a_file_that_a_record_names_already_goes_without_another(desk: Desk) -> None:
    desk.wait(125)
    desk.named |= {blob.sha256 for blob in desk.kept[0].blobs.values()}
    desk.start()  # killed between record and file
    desk.wait(2)
    assert len(desk.kept) == 1
    assert not (desk.folder / f"{LANE}_rpm1_20261124.csv").exists()


def test_at_a_clock_of_1970_nothing_of_today_is_closed(desk: Desk) -> None:
    desk.wait(10)
    today = desk.utc_s
    desk.utc_s = 60.0
    desk.start()
    desk.wait(100)
    assert desk.kept == []
    desk.utc_s = today
    desk.wait(62)
    assert [kept.day for kept in desk.kept] == ["19700101"]
    assert sorted(desk.everything()) == sorted(desk.said)


# --- what is not real -----------------------------------------------------------------------------


def test_what_is_not_real_has_files_of_its_own(desk: Desk) -> None:
    kinds: tuple[Kind, ...] = ("real", "simulated", "test", "exercise")
    lines = [desk.line(kind=kind) for kind in kinds for _ in range(2)]
    desk.take(*lines)
    for number, stem in enumerate(("", "_simulated", "_test", "_exercise")):
        assert desk.open_text(f"rpm1_20261124{stem}") == "".join(desk.said[2 * number : 2 * number + 2])
        flags = {kind: desk.rows(f"rpm1_20261124{stem}")[0][kind] for kind in kinds[1:]}
        assert flags == {kind: stem == f"_{kind}" for kind in kinds[1:]}
    desk.utc_s += 120
    desk.mono_s += 120
    desk.take()
    desk.mono_s += 61
    desk.take()
    assert sorted(kept.kind for kept in desk.kept) == sorted(kinds)


def test_each_portal_has_its_own(desk: Desk) -> None:
    desk.take(desk.line("rpm1"), desk.line("rpm2"))
    assert [desk.open_text(f"{name}_20261124") for name in ("rpm1", "rpm2")] == desk.said


# --- events ---------------------------------------------------------------------------------------


def test_what_happens_stands_in_the_file_of_its_own_day(desk: Desk) -> None:
    told = {"type": "carril.device_health.changed", "to": "backoff"}
    desk.take(rows=(Row("rpm1", round(desk.utc_s * 1e6), "real", told),))
    assert desk.rows()[-1] == told
    desk.utc_s += 120
    desk.mono_s += 120
    desk.take()
    desk.mono_s += 61
    desk.take()
    (day,) = desk.kept
    assert (day.lines, set(day.blobs)) == (0, {"daily_events"}), "a day without a line says why"


# --- no room --------------------------------------------------------------------------------------


def test_without_room_lines_are_refused_aloud_and_counted(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.wait(2)
    with caplog.at_level("ERROR"):
        for _ in range(3):
            desk.take(desk.line(), short=True)
    assert len(caplog.records) == 1
    assert "not written: no room is left" in caplog.text
    assert desk.book.trouble
    desk.take(desk.line())
    assert desk.book.trouble == ""
    assert desk.open_text() == "".join([*desk.said[:2], desk.said[-1]])
    assert [row["lines"] for row in desk.rows() if row["type"] == "lines_lost"] == [3]
    desk.take(desk.line(), lost=4)  # on their way here
    desk.wait(125)
    assert (desk.kept[0].lost, desk.kept[0].lines) == (7, 2 + 2 + 57)


def test_what_cannot_be_kept_waits_and_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.refuses = OSError("the quota is used up")
    desk.wait(125)
    assert desk.kept == []
    assert (desk.folder / f"{LANE}_rpm1_20261124.csv").exists()
    monkeypatch.setattr(daybook, "FOLDER_BYTES", 1000)
    desk.wait(1)
    assert "cannot be kept as blobs" in desk.book.trouble
    desk.refuses = None
    desk.mono_s += 601
    desk.take()
    assert [kept.day for kept in desk.kept] == ["20261124"]
    desk.record()
    monkeypatch.undo()
    desk.wait(1)
    assert desk.book.trouble == ""


def test_a_file_that_has_grown_too_large_is_closed_and_another_begun(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daybook, "PART_BYTES", 1200)
    desk.utc_s -= 3600
    desk.wait(60)
    desk.record()
    assert [kept.part for kept in desk.kept] == list(range(1, len(desk.kept) + 1))
    assert len(desk.kept) > 1
    assert desk.everything() == desk.said


def test_a_folder_that_cannot_be_made_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    desk = Desk(tmp_path / "file" / "daily")
    desk.wait(3)
    assert desk.book.trouble
    (tmp_path / "file").unlink()
    desk.wait(1)
    assert desk.rows()[-1]["lines"] == 3
    desk.book.end()


def test_lines_that_are_written_are_not_counted_as_lost_when_their_events_find_no_room(desk: Desk) -> None:
    desk.wait(1)
    events = desk.book._days[DayName("rpm1", "20261124", "real")].events
    assert events is not None

    def full(lines: bytes) -> None:
        raise OSError("No space left on device")

    events.append = full  # type: ignore[method-assign]
    desk.wait(1)
    assert "No space left" in desk.book.trouble
    del events.append
    desk.wait(1)
    assert desk.open_text() == "".join(desk.said)
    assert not [row for row in desk.rows() if row["type"] == "lines_lost"]
