"""The lane's events folded into hours, against counts worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from drivers.readings import Channel, Counts, Phase, Stamp
from station.domain import hours
from station.domain.hours import COUNTED, MOST_ALARMED, Hours, hour_name, hour_of
from station.domain.statistics import HOUR_US, Panel, Tally

HOUR = hour_of("2026-11-24T14")
BEGIN_US = HOUR * HOUR_US
DEVICES = {"rpm1": ("ML", "MU", "SL", "SU"), "io1": ()}
PLACE = HOUR, "real"


class Told:
    """Events as the journal has them, folded."""

    def __init__(self) -> None:
        self.hours = Hours(DEVICES)
        self.flags: dict[str, bool] = {}

    def at(self, at_s: float, kind: str, *, boot: str = "b", ahead_s: float = 0.0, **data: Any) -> None:
        """Take an event ``at_s`` after the begin of the hour; its UTC is ``ahead_s`` ahead."""
        utc_us = BEGIN_US + round((at_s + ahead_s) * 1e6)
        stamp = {"utc_us": utc_us, "mono_us": 5_000_000 + round(at_s * 1e6), "boot_id": boot}
        self.hours.take(f"carril.{kind}", {"stamp": stamp, **self.flags, **data})

    def health(self, at_s: float, to: str, cause: str | None = None, device: str = "rpm1") -> None:
        self.at(at_s, "device_health.changed", device=device, to=to, cause=cause)

    def occupancy(self, at_s: float, **other: Any) -> None:
        told = {"device": "rpm1", "close_reason": "gx", "complete": True, "suppression": None}
        self.at(at_s, "occupancy.ended", **{**told, "gamma_alarm": False, "neutron_alarm": False, **other})

    def background(self, at_s: float, counts: tuple[int | None, ...], **other: Any) -> None:
        stamp = Stamp(BEGIN_US * 1000 + round(at_s * 1e9), 5_000_000_000 + round(at_s * 1e9), "b")
        told = {"channel": Channel.GAMMA, "phase": Phase.BACKGROUND, "interval_s": 1.0, **other}
        reading = Counts(stamp, counts=counts, **told)
        self.hours.background("rpm1", reading, stamp, "real", averaged=False)

    def tally(self, place: Any = PLACE) -> Tally:
        return dict(self.hours.all())[place]


@pytest.fixture
def told() -> Told:
    return Told()


def test_an_hour_has_a_name() -> None:
    assert hour_name(0) == "1970-01-01T00"
    assert hour_name(HOUR) == "2026-11-24T14"
    assert hour_of("1970-01-02T01") == 25


def test_occupancies_by_what_they_were(told: Told) -> None:
    told.occupancy(1)
    told.occupancy(2, gamma_alarm=True)
    told.occupancy(3, neutron_alarm=True)
    told.occupancy(4, gamma_alarm=True, neutron_alarm=True, complete=False, close_reason="timeout")
    told.occupancy(5, complete=False, suppression=0.25)
    told.occupancy(6, suppression=0.1)
    tally = told.tally()
    assert (tally.occupancies, tally.gamma, tally.neutron, tally.gamma_neutron) == (6, 1, 1, 1)
    assert tally.incomplete == {"timeout": 1, "gx": 1}
    assert tally.suppressions == {"rpm1": (0.25, 0.1)}


def test_what_a_portal_tells_afterwards_counts_once(told: Told) -> None:
    occupancy = {"device": "rpm1", "complete": True, "close_reason": "reported", "suppression": 0.2}
    alarmed = {**occupancy, "gamma_alarm": True, "neutron_alarm": True}
    told.at(1, "inspection.amended", what="report", device="rpm1", fields={}, occupancy=alarmed)
    told.at(2, "inspection.amended", what="report", device="rpm1", fields={}, occupancy=None)  # its document
    told.at(3, "report.unattributed", device="rpm1", occupancy=occupancy)
    for code in ("late_gamma_alarm", "late_neutron_alarm", "tailgate"):
        told.at(4, "lane_alarm.raised", code=code, inspection_id=None)
    tally = told.tally()
    assert (tally.occupancies, tally.gamma_neutron, tally.incomplete) == (2, 1, {})
    assert tally.suppressions == {"rpm1": (0.2, 0.2)}
    assert (tally.alarms, tally.codes) == (2, {"0": 2})


def test_an_occupancy_that_came_too_late_for_its_inspection_counts(told: Told) -> None:
    fields = {"occupancy_id": "o", "complete": False, "close_reason": "link_lost", "gamma_alarm": True}
    told.at(1, "inspection.amended", what="occupancy", device="rpm1", fields=fields)
    told.at(2, "inspection.amended", what="occupancy", device="rpm1", fields={"complete": False})
    told.at(3, "inspection.amended", what="device_count", device="rpm1", fields={})
    tally = told.tally()
    assert (tally.occupancies, tally.gamma) == (2, 1)
    assert tally.incomplete == {"link_lost": 1, "unknown": 1}


def test_a_fault_counts_when_it_begins(told: Told) -> None:
    told.health(1, "degraded", "gamma_fault")
    told.health(2, "degraded", "gamma_fault,neutron_fault")
    told.health(3, "degraded", "gamma_fault")
    told.health(4, "online")
    told.health(5, "degraded", "device_fault,frozen")
    told.health(6, "degraded", "gamma_fault")
    told.health(7, "degraded", "device_fault", device="io1")  # no portal
    tally = told.tally()
    assert (tally.faults, tally.gamma_faults, tally.neutron_faults) == (4, 2, 1)


def test_a_device_is_down_from_its_loss_to_its_return(told: Told) -> None:
    told.at(0, "lane.started")
    told.health(2, "online")
    told.health(2, "online", device="io1")
    told.health(10, "stale", "silence")
    told.health(16, "backoff", "link_lost")
    told.health(20, "degraded", "frozen")
    told.health(30, "disabled", None)
    told.at(31, "lane_mode.changed")
    tally = told.tally()
    assert tally.down_s == {
        "rpm1": {"starting": 2.0, "silence": 6.0, "link_lost": 4.0, "disabled": 1.0},
        "io1": {"starting": 2.0},
    }
    assert tally.covered_s == 31.0
    assert told.hours.down == {"rpm1": "disabled"}


def test_the_time_between_two_processes_or_boots_is_not_covered(told: Told) -> None:
    told.at(0, "lane.started")
    told.at(10, "lane_mode.changed")
    told.at(100, "lane.started")
    told.at(105, "lane_mode.changed")
    told.at(1, "lane_mode.changed", boot="other", ahead_s=200)
    told.at(4, "lane_mode.changed", boot="other", ahead_s=200)
    assert told.tally().covered_s == 10.0 + 5.0 + 3.0


def test_what_else_is_counted(told: Told) -> None:
    told.at(1, "tamper.opened", device="io1")
    told.at(2, "counts.missed", device="rpm1", missed=3)
    told.at(3, "counts.missed", device="rpm1", missed=1)
    told.at(4, "portal.noted", device="rpm1", code="extended")
    told.at(5, "portal.noted", device="rpm1", code="stalled")
    told.at(6, "radiation_opinion.disagreed", relation="device_only")
    told.at(7, "radiation_opinion.disagreed", relation="station_only")
    told.at(8, "radiation_opinion.disagreed", relation="device_only")
    tally = told.tally()
    assert (tally.tampers, tally.missed, tally.extended) == (1, 4, 1)
    assert tally.disagreed == {"device_only": 2, "station_only": 1}


def test_the_first_decision_after_the_first_alarm_is_timed(told: Told) -> None:
    told.at(1, "decision.recorded", inspection_id="i1")
    told.at(10, "radiation_alarm.raised", inspection_id="i1")
    told.at(12, "radiation_alarm.raised", inspection_id="i1")
    told.at(13, "radiation_alarm.raised", inspection_id="i2")
    told.at(22.5, "decision.recorded", inspection_id="i1")
    told.at(30, "decision.recorded", inspection_id="i1")
    told.at(31, "decision.recorded", inspection_id="i2", boot="other")
    tally = told.tally()
    assert (tally.alarms, tally.codes) == (3, {"0": 3})
    assert tally.decisions_s == (12.5,)


def test_alarms_that_nobody_decides_do_not_grow_without_a_bound(told: Told) -> None:
    for number in range(MOST_ALARMED + 5):
        told.at(number, "radiation_alarm.raised", inspection_id=f"i{number}")
    for number in range(MOST_ALARMED + 5):
        told.at(500, "decision.recorded", inspection_id=f"i{number}")
    assert len(told.tally().decisions_s) == MOST_ALARMED


def test_an_adjudication_counts_for_the_hour_of_its_alarm(told: Told) -> None:
    told.at(10, "radiation_alarm.raised", inspection_id="i1")
    ((_, before),) = told.hours.over(whole=True)
    assert before.codes == {"0": 1}
    raised = {"raised_utc_us": BEGIN_US + 10_000_000}
    for at_s, code, was in ((7200, 4, 0), (7300, 6, 4)):
        fields = {"alarm_id": "a", "code": code, "before": was, **raised}
        told.at(at_s, "inspection.amended", what="adjudication", device=None, fields=fields)
    assert told.tally().codes == {"0": -1, "4": 0, "6": 1}
    assert [place for place, _ in told.hours.over()] == [PLACE]


def test_an_event_counts_for_the_hour_of_its_own_stamp(told: Told) -> None:
    told.occupancy(3599.9)
    told.occupancy(3600.0)
    told.occupancy(3601.0, ahead_s=-3600.0)  # the clock is set back
    told.occupancy(3602.0, ahead_s=86_400.0)
    found = {hour - HOUR: tally.occupancies for (hour, _), tally in told.hours.all()}
    assert found == {0: 2, 1: 1, 25: 1}
    assert sum(tally.covered_s for _, tally in told.hours.all()) == pytest.approx(2.1)
    assert [hour - HOUR for (hour, _), _ in told.hours.over()] == [0, 1]
    assert [hour - HOUR for (hour, _), _ in told.hours.all()] == [25]


def test_what_is_not_real_is_counted_apart(told: Told) -> None:
    told.occupancy(1)
    for number, flag in enumerate(("simulated", "test", "exercise")):
        told.flags = {flag: True}
        for _ in range(2 + number):
            told.occupancy(2 + number)
    found = {kind: tally.occupancies for (_, kind), tally in told.hours.all()}
    assert found == {"real": 1, "simulated": 2, "test": 3, "exercise": 4}


# --- panels ---------------------------------------------------------------------------------------


def test_only_a_vacant_portal_says_something_of_its_panels(told: Told) -> None:
    told.background(0, (600, 610, None, 590))
    told.background(5, (602, 612, 580, 592))
    told.background(6, (120, 120, 120, 120), phase=Phase.SCAN, interval_s=0.2)
    told.background(7, (1, 0, 2, 0), channel=Channel.NEUTRON, interval_s=2.0)
    panels = told.tally().panels["rpm1"]
    assert panels["gamma"] == {
        "ML": Panel(records=2, counts=1202, counted_s=2.0),
        "MU": Panel(records=2, counts=1222, counted_s=2.0),
        "SL": Panel(records=1, counts=580, counted_s=1.0),
        "SU": Panel(records=2, counts=1182, counted_s=2.0),
    }
    assert panels["neutron"]["SL"] == Panel(records=1, counts=2, counted_s=2.0)


def test_a_panel_without_a_name_has_its_number(told: Told) -> None:
    told.background(0, (1, 2, 3, 4, 5))
    assert list(told.tally().panels["rpm1"]["gamma"]) == ["ML", "MU", "SL", "SU", "5"]


def test_each_sixty_records_give_a_dispersion_also_over_the_turn_of_an_hour(told: Told) -> None:
    """99 and 101 in turn: sum of squared steps 59·4, over 2·100·59, is 0.02."""
    for number in range(120):
        told.background(number, (99 + 2 * (number % 2), 0, 100, 100 + 10 * (number % 2)))
        if number == 30:
            told.hours.over(whole=True)
    panels = told.tally().panels["rpm1"]["gamma"]
    assert panels["ML"].dispersions == (0.02, 0.02)
    assert panels["MU"].dispersions == (), "nothing was counted"
    assert panels["SL"].dispersions == (0.0, 0.0)
    assert panels["SU"].dispersions == pytest.approx((100 / (2 * 105),) * 2, abs=1e-4)
    assert (panels["ML"].records, panels["ML"].counts) == (89, sum(99 + 2 * (n % 2) for n in range(31, 120)))


def test_dispersions_are_bounded(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hours, "MOST_DISPERSIONS", 3)
    for number in range(5 * 60):
        told.background(number, (number % 7 + 1, None, None, None))
    panel = told.tally().panels["rpm1"]["gamma"]["ML"]
    assert (len(panel.dispersions), panel.records) == (3, 300)


# --- restarts -------------------------------------------------------------------------------------


def test_a_tally_in_the_journal_holds_what_came_before_it_of_its_hour(told: Told) -> None:
    told.occupancy(10)
    told.occupancy(3590)
    told.occupancy(3601)  # of the next hour, before the tally of the last one is written
    told.at(3602, COUNTED.removeprefix("carril."), hour="2026-11-24T14", down={"rpm1": "silence"})
    told.occupancy(3610)
    (place,) = dict(told.hours.all())
    assert place == (HOUR + 1, "real")
    tally = told.tally(place)
    assert tally.occupancies == 2
    assert tally.down_s == {"rpm1": {"silence": 8.0}}
    told.at(3611, COUNTED.removeprefix("carril."), hour="2026-11-24T14", down={}, simulated=True)
    assert told.tally(place).occupancies == 2, "a tally of another kind"


def test_nothing_is_there_before_anything_happened(told: Told) -> None:
    assert list(told.hours.all()) == []
    assert told.hours.over(whole=True) == []
