"""Passages that a portal tells afterwards: whose they are, what they do, and that each counts once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drivers.api import PortalFacts
from drivers.formats.n42.document import Fault
from drivers.formats.n42.write import write
from drivers.readings import Channel, PortalReport
from drivers.rpm.drop.codec import decode
from station.domain.events import Event
from station.lane import lane as lane_module
from station.lane.core import Core
from station.lane.effects import BlobKept
from tests.support.imaging_lane import Shelf
from tests.support.lane_facts import DEVICES, facts
from tests.support.lane_rig import Rig
from tests.support.n42_documents import document, measured, passage

PORTAL = replace(DEVICES[0], portal=PortalFacts(channels=frozenset(Channel), reported_within_s=30.0))
LANE = facts(devices=(PORTAL, *DEVICES[1:]), scanner_disturbs=False)
NEVER_S = -(10**6)


class Full(Shelf):
    """A disk without room, until somebody makes some."""

    full = True

    def keep(self, data: bytes, media: str) -> BlobKept:
        if self.full:
            raise OSError("no room")
        return super().keep(data, media)


def rig(**change: Any) -> Rig:
    return Rig(replace(LANE, **change))


def report(rig: Rig, begin_s: float, **more: Any) -> PortalReport:
    """What a portal tells of a passage that began at this second of the rig's clock."""
    stamp = rig.stamp()
    begin_ns = stamp.utc_ns + round((begin_s - rig.now_s) * 1e9)
    return decode(document(begin_ns, **more), "passage.n42", stamp)


def drive(rig: Rig) -> float:
    """Drive a truck to the booth, past all devices; return when it passed the portal."""
    rig.board(entry_loop=True)
    rig.wait(1.0)
    rig.board(entry_loop=False)
    passed_s = rig.now_s
    rig.wait(6.0)
    rig.plate()
    rig.scan()
    rig.board(booth_loop=True)
    rig.wait(1.0)
    return passed_s


def gone(rig: Rig) -> tuple[float, str]:
    """Drive a truck through that is referred; return when it passed the portal, and its inspection."""
    passed_s = drive(rig)
    inspection_id = rig.seen.inspection_id
    rig.wait(31)
    rig.decide("secondary")
    rig.leave()
    assert rig.lane.core.passage is None
    return passed_s, inspection_id


def told(rig: Rig, kind: str) -> list[Any]:
    return [event for event in rig.events if event.type_name() == f"carril.{kind}"]


def active(rig: Rig) -> list[tuple[str, str | None]]:
    return [(alarm.code, alarm.inspection_id) for alarm in rig.lane.core.book if alarm.active]


# --- the vehicle in the lane ----------------------------------------------------------------------


def test_a_report_of_the_vehicle_in_the_lane_makes_it_measured() -> None:
    lane = rig()
    passed_s = drive(lane)
    assert (lane.seen.state, lane.seen.coverage.rpm.state) == ("measuring", "waiting")
    mine = report(lane, passed_s)
    lane.read("rpm1", mine)
    assert (lane.seen.state, lane.seen.level) == ("awaiting_decision", "clear")
    (ended,) = told(lane, "occupancy.ended")
    assert (ended.complete, ended.close_reason, ended.report) == (True, "reported", mine.key)
    assert (ended.gamma_max_1s, ended.gamma_background, ended.neutron_max) == (2400, 2400.0, 2)
    assert {blob.role for blob in ended.blobs} == {"n42", "trace"}
    assert ended.profile in {blob.sha256 for blob in ended.blobs}
    assert {(v.algo, v.outcome) for v in ended.verdicts} == {
        ("gross_ksigma_calibrated", "no_alarm"),
        ("neutron_predictive", "no_alarm"),
        ("neutron_sprt", "no_alarm"),
    }
    assert lane.taken == [mine.key]
    lane.decide()
    lane.leave()
    sealed = lane.last("inspection.sealed")
    assert [each.report for each in sealed.radiation.occupancies] == [mine.key]
    assert "n42" in {blob.role for blob in sealed.blobs}


@pytest.mark.parametrize(
    ("kind", "level", "code"),
    [
        ("Gamma", "secondary", "gamma_alarm"),
        ("Isotope", "secondary", "gamma_alarm"),
        ("Neutron", "hold", "neutron_alarm"),
    ],
)
def test_an_alarm_is_raised_before_anything_is_judged_or_stored(kind: str, level: str, code: str) -> None:
    lane = rig()
    passed_s = drive(lane)
    lane.lane.accept("rpm1", report(lane, passed_s, alarms=(kind,)), lane.stamp())
    (alarm,) = lane.lane.core.book.of(lane.lane.core.inspection.inspection_id)  # type: ignore[union-attr]
    assert (alarm.code, alarm.values["uncertain"], alarm.values["counts"]) == (code, False, None)
    again = rig()
    again.read("rpm1", report(again, drive(again), alarms=(kind,), source=400))
    assert again.seen.level == level
    (raised,) = told(again, "radiation_alarm.raised")
    assert (raised.channel, raised.counts) == (code.removesuffix("_alarm"), ())
    (ended,) = told(again, "occupancy.ended")
    assert ended.neutron_alarm == (kind == "Neutron")
    assert ended.gamma_alarm == (kind != "Neutron")
    shown = next(alarm for alarm in again.lane.view().alarms)
    if kind != "Neutron":
        assert shown.values["counts"] == ended.gamma_max_1s
        assert shown.values["ratio"] > 1


def test_the_stations_own_opinion_is_told_where_the_portal_says_nothing() -> None:
    lane = rig()
    lane.read("rpm1", report(lane, drive(lane), source=400))
    assert lane.seen.level == "review_image"
    assert told(lane, "radiation_opinion.disagreed")[0].relation == "station_only"


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"background": False}, "no_background"), ({"odd": 0.25}, "interval"), ({"odd": 2.0}, "interval")],
)
def test_without_background_or_a_common_interval_there_is_no_opinion(
    change: dict[str, Any], reason: str
) -> None:
    lane = rig()
    passed_s = drive(lane)
    odd = change.pop("odd", None)
    mine = report(lane, passed_s, **change)
    if odd is not None:
        counts = [replace(each, interval_s=odd) if n % 7 == 3 else each for n, each in enumerate(mine.counts)]
        mine = replace(mine, counts=tuple(counts))
    lane.read("rpm1", mine)
    (ended,) = told(lane, "occupancy.ended")
    assert {
        (verdict.outcome, verdict.reason) for verdict in ended.verdicts if verdict.channel == "gamma"
    } == {("not_possible", reason)}


def with_backgrounds(rig: Rig, begin_s: float, *ends_s: tuple[float, int]) -> PortalReport:
    """A report whose backgrounds of 20 s end so many seconds after the vehicle came, with such counts."""
    stamp = rig.stamp()
    begin_ns = stamp.utc_ns + round((begin_s - rig.now_s) * 1e9)
    found = passage(begin_ns, background=False)
    more = [
        measured(begin_ns + round((end_s - 20) * 1e9), 20.0, gamma, 20, occupied=False)
        for end_s, gamma in ends_s
    ]
    return decode(write(replace(found, measurements=(*found.measurements, *more))), "passage.n42", stamp)


@pytest.mark.parametrize("end_s", [30.0, -1.0])
def test_a_background_beside_the_vehicle_is_taken_only_where_there_is_no_other(end_s: float) -> None:
    lane = rig()
    lane.read("rpm1", with_backgrounds(lane, drive(lane), (-10.0, 12_000), (end_s, 15_000)))
    (ended,) = told(lane, "occupancy.ended")
    assert ended.gamma_background == 2_400
    assert {(v.outcome, v.reason) for v in ended.verdicts} == {("no_alarm", None)}
    lane = rig()
    lane.read("rpm1", with_backgrounds(lane, drive(lane), (end_s, 12_000)))
    (ended,) = told(lane, "occupancy.ended")
    assert ended.gamma_background == 2_400
    assert {(v.outcome, v.reason) for v in ended.verdicts} == {("low_confidence", "background_beside")}


def test_a_portal_with_a_fault_has_measured_nothing_and_an_open_one_is_a_tamper() -> None:
    lane = rig()
    lane.read("rpm1", report(lane, drive(lane), faults=(Fault("HV", "high voltage", "Fatal"),)))
    assert (lane.seen.coverage.rpm.state, lane.seen.coverage.rpm.reason) == ("failed", "fault")
    open_ = rig()
    open_.read("rpm1", report(open_, drive(open_), faults=(Fault("T", "Tamper", "Warning"),)))
    assert (open_.seen.coverage.rpm.state, open_.seen.level) == ("done", "secondary")
    assert "tamper" in {reason.code for reason in open_.seen.reasons}
    assert told(open_, "occupancy.ended")[0].tamper


def test_a_report_without_a_channel_that_is_fitted_is_no_measurement() -> None:
    lane = rig()
    mine = report(lane, drive(lane))
    lane.read("rpm1", replace(mine, counts=tuple(c for c in mine.counts if c.channel is Channel.GAMMA)))
    assert (lane.seen.coverage.rpm.state, lane.seen.coverage.rpm.reason) == ("failed", "partial")
    assert told(lane, "occupancy.ended")[0].missing == ("no_neutron", "silent_neutron")
    assert told(lane, "occupancy.ended")[0].neutron_max is None


def test_samples_that_are_missing_are_a_gap_and_no_smaller_sum() -> None:
    lane = rig()
    mine = report(lane, drive(lane), seconds=8)
    kept = [c for n, c in enumerate(mine.counts) if n < 14 or n > 34]
    lane.read("rpm1", replace(mine, counts=tuple(kept)))
    (ended,) = told(lane, "occupancy.ended")
    assert (ended.complete, ended.missing, ended.gaps) == (False, ("gap",), 2)
    assert ended.gamma_max_1s == 2400


@pytest.mark.parametrize(("disturbs", "level"), [(True, "review_image"), (False, "clear")])
def test_nobody_can_say_whether_the_scanner_was_at_work(disturbs: bool, level: str) -> None:
    lane = rig(scanner_disturbs=disturbs)
    lane.read("rpm1", report(lane, drive(lane)))
    assert lane.seen.level == level


# --- waiting for it -------------------------------------------------------------------------------


def test_the_booth_waits_for_the_report_and_not_for_ever() -> None:
    lane = rig()
    passed_s = drive(lane)
    lane.wait(28)
    assert lane.seen.coverage.rpm.state == "waiting"
    lane.wait(2)
    assert (lane.seen.coverage.rpm.state, lane.seen.coverage.rpm.reason) == ("failed", "timeout")
    assert (lane.seen.state, lane.seen.level) == ("awaiting_decision", "secondary")
    lane.read("rpm1", report(lane, passed_s))
    assert (lane.seen.coverage.rpm.state, lane.seen.level) == ("done", "clear")


def test_the_other_checks_do_not_wait_longer_because_the_portal_does() -> None:
    lane = rig()
    lane.board(entry_loop=True)
    lane.board(entry_loop=False, booth_loop=True)
    lane.wait(5.1)
    states = {name: (check.state, check.reason) for name, check in lane.seen.coverage}
    assert states["scanner"] == states["lpr"] == ("failed", "timeout")
    assert states["rpm"] == ("waiting", None)


def test_a_folder_that_is_lost_is_not_waited_for() -> None:
    lane = rig()
    drive(lane)
    lane.health("rpm1", "backoff", "link_lost")
    lane.wait(0.2)
    assert (lane.seen.coverage.rpm.state, lane.seen.coverage.rpm.reason) == ("failed", "link")


def test_permission_falls_when_the_alarm_comes_after_the_release() -> None:
    lane = rig(required=frozenset({"scanner", "lpr"}))
    passed_s = drive(lane)
    lane.wait(31)
    lane.decide()
    assert lane.outputs["raise_permit"]
    lane.read("rpm1", report(lane, passed_s, alarms=("Gamma",)))
    assert not lane.outputs["raise_permit"]
    assert lane.seen.level == "secondary"


# --- whose it is ----------------------------------------------------------------------------------


def test_a_late_report_amends_the_sealed_inspection_that_it_belongs_to() -> None:
    lane = rig()
    passed_s, inspection_id = gone(lane)
    gone(lane)
    records = len(lane.events)
    mine = report(lane, passed_s, alarms=("Neutron",), source=100)
    lane.read("rpm1", mine)
    amended = lane.last("inspection.amended")
    assert (amended.inspection_id, amended.what, amended.version) == (inspection_id, "report", 0)
    assert (amended.occupancy.report, amended.occupancy.neutron_alarm) == (mine.key, True)
    assert {blob.role for blob in amended.blobs} == {"n42", "trace"}
    raised = told(lane, "lane_alarm.raised")
    assert [(each.code, each.inspection_id, each.version) for each in raised] == [
        ("late_neutron_alarm", inspection_id, 0),
        ("late_station_only", inspection_id, 0),  # the portal says nothing of the gamma counts
    ]
    assert ("late_neutron_alarm", inspection_id) in active(lane)
    assert lane.outputs["horn"]
    assert lane.taken == [mine.key]
    assert len(lane.events) == records + 5, "two alarms, two contradictions and the document"
    lane.read("rpm1", report(lane, passed_s, alarms=("Neutron",), source=101))
    assert len(told(lane, "lane_alarm.raised")) == 2, "they sound already"
    assert lane.last("inspection.amended").inspection_id == inspection_id


def test_a_late_report_of_a_vehicle_that_left_is_nothing_to_the_one_in_the_lane() -> None:
    lane = rig()
    passed_s, _ = gone(lane)
    drive(lane)
    lane.read("rpm1", report(lane, passed_s, alarms=("Gamma",)))
    assert lane.seen.coverage.rpm.state == "waiting"
    assert not told(lane, "radiation_alarm.raised")
    assert [code for code, _ in active(lane)] == ["late_gamma_alarm"]


def test_what_the_report_says_of_the_vehicle_decides_where_the_clock_of_the_portal_is_off() -> None:
    lane = rig()
    passed_s, inspection_id = gone(lane)
    lane.read("rpm1", report(lane, passed_s + 600, item={"plate": "r4k 7719"}))
    amended = lane.last("inspection.amended")
    assert (amended.inspection_id, amended.fields["certain"]) == (inspection_id, True)


def test_a_report_that_names_another_plate_measures_nothing() -> None:
    lane = rig()
    lane.read("rpm1", report(lane, drive(lane), item={"plate": "ZZZ 1"}, alarms=("Gamma",)))
    assert (lane.seen.coverage.rpm.state, lane.seen.coverage.rpm.reason) == ("failed", "ambiguous")
    (alarm,) = lane.lane.core.book.of(lane.seen.inspection_id)
    assert alarm.values["uncertain"] is True
    assert "attribution_uncertain" in told(lane, "occupancy.ended")[0].missing


def test_with_a_second_vehicle_in_the_lane_a_report_may_be_of_either() -> None:
    lane = rig()
    passed_s = drive(lane)
    lane.board(entry_loop=True)
    lane.read("rpm1", report(lane, passed_s))
    assert lane.seen.coverage.rpm.reason == "ambiguous"


def test_an_alarm_between_two_vehicles_is_raised_on_both() -> None:
    lane = rig()
    drive(lane)
    first, left_s = lane.seen.inspection_id, lane.now_s
    lane.decide("secondary")
    lane.leave()
    lane.board(entry_loop=True)
    second = lane.seen.inspection_id
    mine = replace(report(lane, lane.now_s, alarms=("Gamma",)), span=None)
    now_ns = lane.stamp().utc_ns
    span = (now_ns - round((lane.now_s - left_s + 3) * 1e9), now_ns)
    lane.read("rpm1", replace(mine, span=span))
    assert dict(active(lane))["gamma_alarm"] == second
    assert dict(active(lane))["late_gamma_alarm"] == first
    assert lane.last("inspection.amended").fields["certain"] is False


@pytest.mark.parametrize("alarmed", [True, False])
def test_a_report_of_nobody_is_a_record_of_its_own_and_its_alarm_is_heard(alarmed: bool) -> None:
    lane = rig()
    mine = report(lane, lane.now_s - 3_600, alarms=("Gamma", "Neutron") if alarmed else (), item={"x": "y"})
    lane.read("rpm1", mine)
    (record,) = told(lane, "report.unattributed")
    assert (record.occupancy.report, record.item, record.name) == (mine.key, {"x": "y"}, "passage.n42")
    assert record.end_utc_us - record.begin_utc_us == 4_000_000
    assert {blob.role for blob in record.blobs} == {"n42", "trace"}
    expected = {("late_gamma_alarm", None), ("late_neutron_alarm", None)} if alarmed else set()
    assert set(active(lane)) == expected
    assert lane.taken == [mine.key]
    lane.read("rpm1", report(lane, lane.now_s - 7_200, alarms=("Gamma",)))
    assert len([code for code, _ in active(lane) if code == "late_gamma_alarm"]) <= 1


def test_an_alarm_of_nobody_is_raised_on_a_vehicle_that_waits_for_its_own_report() -> None:
    """The portal's clock may be wrong: then it is of this one."""
    lane = rig()
    drive(lane)
    lane.read("rpm1", report(lane, lane.now_s + 300, alarms=("Neutron",)))
    assert active(lane) == [("neutron_alarm", lane.seen.inspection_id)]
    assert lane.lane.core.book.of(lane.seen.inspection_id)[0].values["uncertain"] is True
    assert lane.seen.coverage.rpm.state == "waiting", "it is not measured by it"
    lane.read("rpm1", report(lane, lane.now_s + 301, alarms=("Neutron",)))
    assert ("late_neutron_alarm", None) in active(lane), "a second one is not of the same vehicle"
    assert len(told(lane, "report.unattributed")) == 2


@pytest.mark.parametrize("old", [True, False])
def test_an_alarm_of_nobody_that_is_old_or_of_another_plate_is_not_raised_on_the_vehicle(old: bool) -> None:
    lane = rig()
    drive(lane)
    more: dict[str, Any] = {} if old else {"item": {"plate": "ZZZ 1"}}
    lane.read("rpm1", report(lane, lane.now_s - (3_600 if old else 300), alarms=("Gamma",), **more))
    assert active(lane) == [("late_gamma_alarm", None)]


def test_a_document_without_any_time_is_kept() -> None:
    lane = rig()
    drive(lane)
    mine = replace(report(lane, lane.now_s), span=None, counts=(), speeds=())
    lane.read("rpm1", mine)
    (record,) = told(lane, "report.unattributed")
    assert (record.begin_utc_us, record.occupancy.complete) == (None, False)


def test_without_loops_a_fresh_report_opens_the_inspection_and_an_old_one_does_not() -> None:
    lane = Rig(replace(LANE, devices=(PORTAL,), required=frozenset({"rpm"})))
    lane.read("rpm1", report(lane, lane.now_s - 3_600))
    assert lane.lane.core.passage is None
    lane.read("rpm1", report(lane, lane.now_s - 5, alarms=("Gamma",)))
    assert (lane.seen.coverage.rpm.state, lane.seen.level) == ("done", "secondary")
    assert told(lane, "inspection.opened")[0].opened_by == "occupancy"


# --- what cannot be read --------------------------------------------------------------------------


def test_a_document_that_cannot_be_read_is_recorded_and_told_once() -> None:
    lane = rig()
    drive(lane)
    for number in range(3):
        junk = PortalReport(lane.stamp(), f"{number:064d}", "junk.n42", refused="the file is no XML")
        lane.read("rpm1", junk)
    assert [event.why for event in told(lane, "report.refused")] == ["the file is no XML"] * 3
    assert [code for code, _ in active(lane)] == ["report_refused"]
    assert lane.taken == [f"{number:064d}" for number in range(3)]
    assert lane.seen.coverage.rpm.state == "waiting"


def test_a_bug_in_judging_is_told_and_loses_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(work: object) -> object:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("station.lane.vault.judged", breaks)
    lane = rig()
    lane.read("rpm1", report(lane, drive(lane), alarms=("Gamma",)))
    assert "ZeroDivisionError" in told(lane, "report.refused")[0].why
    assert "gamma_alarm" in dict(active(lane))
    lane.wait(31)
    assert lane.seen.level == "secondary"


# --- once, and nothing lost -----------------------------------------------------------------------


def test_a_report_that_comes_again_is_taken_and_counts_once() -> None:
    lane = rig()
    mine = report(lane, drive(lane), alarms=("Gamma",))
    for _ in range(3):
        lane.read("rpm1", mine)
    assert lane.taken == [mine.key] * 3
    assert len(told(lane, "occupancy.ended")) == len(told(lane, "radiation_alarm.raised")) == 1


def test_a_report_is_not_taken_before_its_record_is_durable() -> None:
    lane = rig()
    mine = report(lane, drive(lane), alarms=("Gamma",))
    lane.hold_appends = True
    lane.read("rpm1", mine)
    lane.read("rpm1", mine)
    assert lane.taken == []
    lane.release_appends()
    assert lane.taken == [mine.key]


def test_what_a_call_that_failed_would_have_recorded_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = rig()
    mine = report(lane, drive(lane))

    def breaks(core: Core) -> None:
        if core.settled:
            raise ZeroDivisionError("oh")

    monkeypatch.setattr(lane_module, "ask", breaks)
    with pytest.raises(ZeroDivisionError):
        lane.read("rpm1", mine)
    monkeypatch.undo()
    records = len(lane.events)
    lane.board(cabinet_closed=False)
    assert len(lane.events) > records
    assert lane.taken == []


@pytest.mark.parametrize("late", [True, False])
def test_a_document_that_found_no_room_is_asked_for_again_until_it_is_kept(late: bool) -> None:
    lane = rig()
    lane.vault = full = Full()
    passed_s, inspection_id = gone(lane) if late else (drive(lane), "")
    inspection_id = inspection_id or lane.seen.inspection_id
    mine = report(lane, passed_s, alarms=("Gamma",))
    lane.read("rpm1", mine)
    assert lane.taken == []
    first = lane.last("inspection.amended" if late else "occupancy.ended")
    assert first.blobs == ()
    lane.read("rpm1", mine)
    assert (lane.taken, len(told(lane, "report.refused"))) == ([], 0)
    full.full = False
    lane.read("rpm1", mine)
    kept = lane.last("inspection.amended")
    assert (kept.inspection_id, kept.occupancy) == (inspection_id, None)
    assert [blob.role for blob in kept.blobs] == ["n42"]
    assert lane.taken == [mine.key]
    assert len(told(lane, "occupancy.ended")) == (0 if late else 1)
    assert len([code for code, _ in active(lane) if code.endswith("gamma_alarm")]) == 1


def test_a_report_of_nobody_that_found_no_room_is_told_again_with_its_document() -> None:
    lane = rig()
    lane.vault = full = Full()
    mine = report(lane, lane.now_s - 3_600)
    lane.read("rpm1", mine)
    full.full = False
    lane.read("rpm1", mine)
    bare, whole = told(lane, "report.unattributed")
    assert (bare.blobs, [blob.role for blob in whole.blobs]) == ((), ["n42"])
    assert lane.taken == [mine.key]


@pytest.mark.parametrize("moment", ["coming", "recorded", "bare"])
def test_a_restart_loses_no_report_and_counts_none_twice(moment: str) -> None:
    lane = rig()
    mine = report(lane, drive(lane), alarms=("Gamma",))
    if moment == "coming":
        lane.lane.accept("rpm1", mine, lane.stamp())  # and the computer goes down
    elif moment == "bare":
        lane.vault = Full()
        lane.read("rpm1", mine)
        lane.vault = Shelf()
    else:
        lane.read("rpm1", mine)
    lane.taken.clear()
    lane.restart()
    lane.read("rpm1", mine)
    assert lane.taken == [mine.key]
    assert len(told(lane, "occupancy.ended")) == 1
    assert (lane.seen.coverage.rpm.state, lane.seen.level) == ("done", "secondary")
    blobs = [blob.role for event in lane.events for blob in getattr(event, "blobs", ())]
    assert blobs.count("n42") == 1


def test_a_restart_knows_who_left_and_what_was_refused() -> None:
    lane = rig()
    passed_s, inspection_id = gone(lane)
    junk = PortalReport(lane.stamp(), "f" * 64, "junk.n42", refused="no XML")
    lane.read("rpm1", junk)
    lane.restart()
    lane.read("rpm1", junk)
    assert len(told(lane, "report.refused")) == 1
    lane.read("rpm1", report(lane, passed_s))
    assert lane.last("inspection.amended").inspection_id == inspection_id


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("station.lane.reports.KEPT_KEYS", 2)
    lane = rig()
    for number in range(4):
        lane.read("rpm1", PortalReport(lane.stamp(), str(number), "junk.n42", refused="no XML"))
    lane.read("rpm1", PortalReport(lane.stamp(), "3", "junk.n42", refused="no XML"))
    assert len(told(lane, "report.refused")) == 4


def test_every_event_of_a_report_is_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = rig()
    lane.read("rpm1", report(lane, drive(lane), alarms=("Gamma",)))
    for event in lane.events:
        assert isinstance(event, Event)
        assert type(event).model_validate_json(event.model_dump_json(by_alias=True)) == event
