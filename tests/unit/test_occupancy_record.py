"""What the record of an occupancy holds: maxima, gaps, completeness, latches, speeds, bounds."""

import itertools
from dataclasses import replace

import pytest

from drivers.readings import Channel, Counts
from station.domain.occupancy import OccupancyMachine, State
from station.domain.occupancy_effects import Started
from station.domain.occupancy_record import MAX_GAPS, MAX_SAMPLES, MAX_SPEEDS, Gap
from tests.support.portal_lines import BOTH, Portal, S, line, stamp


@pytest.fixture
def portal() -> Portal:
    """A portal that is vacant at 15 s."""
    portal = Portal()
    portal.vacant()
    return portal


def end(portal: Portal, t_s: float, count: int = 1) -> None:
    portal.say("GX", t_s, count)
    portal.tick(t_s + 2)


# --- maxima -------------------------------------------------------------------------------------


def test_the_first_scans_enter_the_maxima(portal: Portal) -> None:
    portal.say("GS", 20.0, 900, 0, 0, 0)
    portal.say("NS", 20.1, 9, 0, 0, 0)
    portal.scans(20.2, 24.0)
    end(portal, 24.2)
    (occupancy,) = portal.closed
    assert occupancy.gamma.max_1s == 900 + 4 * 200
    assert (occupancy.gamma.best_total, occupancy.neutron.best_total) == (900, 9)
    assert not occupancy.gamma.short


def test_less_than_a_second_gives_a_true_maximum_that_says_so(portal: Portal) -> None:
    for i, count in enumerate((10, 40, 20)):
        portal.say("GS", 20.0 + 0.2 * i, count, 0, 0, 0)
    end(portal, 21.0)
    gamma = portal.closed[0].gamma
    assert (gamma.max_1s, gamma.max_window, gamma.short) == (70, None, True)
    assert portal.closed[0].sigma_max(1000.0) is None


@pytest.mark.parametrize(
    ("interval_s", "first", "most"),
    [(0.1, 300, 1_500), (0.25, 400, 1_200), (0.5, 600, 1_200), (1.0, 900, 900)],
)
def test_a_maximum_is_of_a_second_however_long_a_record_counts(
    portal: Portal, interval_s: float, first: int, most: int
) -> None:
    records = round(1 / interval_s)
    for i in range(2 * records + 1):
        count = most // records + (i == records) * (first - most // records)
        reading = replace(line("GS", 20 + interval_s * i, count), interval_s=interval_s)
        portal._keep(portal.machine.accept(reading))
    end(portal, 20.2 + interval_s * 2 * records)
    gamma = portal.closed[0].gamma
    assert gamma.max_window == most // records * (records - 1) + first
    assert (gamma.interval_s, portal.closed[0].gaps) == (interval_s, [])


def test_without_a_counting_time_there_is_a_profile_and_no_maximum(portal: Portal) -> None:
    for i in range(20):
        portal._keep(portal.machine.accept(replace(line("GS", 20 + 0.2 * i, 480), interval_s=0.0)))
    end(portal, 24.2)
    gamma = portal.closed[0].gamma
    assert (gamma.max_1s, gamma.best_total, gamma.max_window, gamma.short) == (None, None, None, False)
    assert gamma.totals == [480] * 20
    assert portal.closed[0].sigma_max(2_400.0) is None


def test_a_portal_that_counts_long_has_no_gap_between_two_records(portal: Portal) -> None:
    for at_s in (20, 21.2, 22.4, 25.4):
        portal._keep(portal.machine.accept(replace(line("GS", at_s, 2_400), interval_s=1.0)))
    assert [(round(gap.from_s, 3), gap.to_s) for gap in portal.machine.open.gaps] == [(3.4, 6.4)]


def test_no_data_is_none_never_zero(portal: Portal) -> None:
    portal.scans(20.0, 22.0, neutron="")
    end(portal, 22.2)
    (occupancy,) = portal.closed
    assert occupancy.neutron.best_total is None
    assert occupancy.neutron.max_1s is None
    assert not occupancy.neutron.short
    assert portal.missing() == ("no_neutron",)


def test_counts_that_are_missing_never_make_a_smaller_sum(portal: Portal) -> None:
    for i in range(9):
        portal.say("GS", 20.0 + 0.2 * i, 50, 50, 50, None if i == 4 else 50)
    end(portal, 22.0)
    gamma = portal.closed[0].gamma
    assert gamma.max_window is None  # four before and four after the hole: no whole second
    assert gamma.max_1s == 800
    assert gamma.totals[4] is None
    assert gamma.counts[4] == (50, 50, 50, None)
    assert (gamma.records, gamma.partial) == (9, 1)


def test_sigma_is_of_a_whole_second(portal: Portal) -> None:
    portal.scans(20.0, 22.0)
    for i in range(5):
        portal.say("GS", 22.2 + 0.2 * i, 55, 55, 55, 55)
    end(portal, 23.3)
    (occupancy,) = portal.closed
    assert occupancy.sigma_max(1000.0) == pytest.approx(100 / 1000**0.5)
    assert occupancy.sigma_max(None) is None
    assert occupancy.sigma_max(0.0) is None


def test_samples_stand_in_the_middle_of_their_interval(portal: Portal) -> None:
    portal.say("GS", 20.0)
    portal.say("GS", 20.2)
    portal.say("NS", 20.8)
    end(portal, 21.0)
    (occupancy,) = portal.closed
    assert occupancy.gamma.times_s == [0.1, 0.3]
    assert occupancy.neutron.times_s == [0.5]


# --- gaps and completeness --------------------------------------------------------------------


def test_a_gap_is_recorded_when_a_later_scan_of_the_channel_follows(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GS", 25.0)  # exactly one second: none
    portal.say("GS", 26.1)
    end(portal, 26.2)
    (occupancy,) = portal.closed
    (gap,) = occupancy.gaps
    assert (gap.channel, gap.cause) == (Channel.GAMMA, "silence")
    assert (gap.from_s, gap.to_s) == (pytest.approx(5.2), pytest.approx(6.3))
    assert portal.missing() == ("gap",)


def test_neutrons_may_be_silent_for_two_and_a_half_seconds(portal: Portal) -> None:
    portal.scans(20.0, 22.4, neutron="")
    portal.say("NS", 22.5)
    portal.scans(22.6, 24.8, neutron="")
    portal.say("NS", 25.1)
    end(portal, 25.2)
    (occupancy,) = portal.closed
    (gap,) = occupancy.gaps
    assert (gap.channel, round(gap.to_s - gap.from_s, 3)) == (Channel.NEUTRON, 2.6)


def test_a_channel_that_begins_late_has_a_gap_from_the_first_scan(portal: Portal) -> None:
    portal.scans(20.0, 22.8, neutron="")
    portal.say("NS", 22.9)
    end(portal, 23.0)
    assert portal.closed[0].gaps == [
        Gap(Channel.NEUTRON, pytest.approx(0.2), pytest.approx(3.1), "silence")  # type: ignore[arg-type]
    ]


def test_trailing_silence_is_no_gap_and_no_duration(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GB", 29.0)
    portal.tick(31.0)
    assert portal.closed[0].duration_s == pytest.approx(4.2)
    assert portal.missing() == ()


def test_a_channel_that_falls_silent_while_the_other_goes_on_was_not_measured(portal: Portal) -> None:
    """A dead detector electronics looks like this; "trailing silence is no gap" is about both of them."""
    portal.scans(20.0, 22.0)
    portal.scans(22.2, 28.0, neutron="")
    end(portal, 28.2)
    assert portal.missing() == ("silent_neutron",)


def test_the_second_opinion_knows_of_gaps(portal: Portal) -> None:
    portal.scans(20.0, 20.6)
    portal.scans(22.0, 22.6)
    end(portal, 22.8)
    closed = portal.effects[-1]
    verdict, *_ = closed.opinion.verdicts  # type: ignore[union-attr]
    assert (verdict.outcome, verdict.reason) == ("not_possible", "too_short")


@pytest.mark.parametrize(("partial", "missing"), [(4, ()), (5, ("partial_gamma",))])
def test_a_fifth_of_the_scans_may_be_partial(portal: Portal, partial: int, missing: tuple[str, ...]) -> None:
    for i in range(20):
        counts = (50, 50, 50, None) if i < partial else (50, 50, 50, 50)
        portal.say("GS", 20.0 + 0.2 * i, *counts)
        if i % 5 == 4:
            portal.say("NS", 20.0 + 0.2 * i)
    end(portal, 24.0)
    assert portal.missing() == missing


def test_only_partial_scans_are_no_data(portal: Portal) -> None:
    portal.say("GS", 20.0)
    portal.say("NS", 20.1, None, None, None, None)
    end(portal, 20.3)
    assert portal.missing() == ("no_neutron",)


@pytest.mark.parametrize(("fault", "healthy"), [("GH", "GB"), ("GL", "GB"), ("NH", "NB"), ("NL", "NB")])
def test_a_fault_before_or_during_an_occupancy_makes_it_incomplete(
    portal: Portal, fault: str, healthy: str
) -> None:
    portal.say(fault, 18.0)
    portal.scans(20.0, 24.0)
    end(portal, 24.2)
    assert portal.missing() == ("fault",)
    portal.say(healthy, 28.0)  # the only thing that ends it
    portal.scans(30.0, 34.0)
    end(portal, 34.2, 2)
    assert portal.missing() == ()
    portal.scans(40.0, 42.0)
    portal.say(fault, 42.1)
    portal.say(healthy, 42.3)
    portal.scans(42.5, 44.0)
    end(portal, 44.2, 3)
    assert "fault" in portal.missing()


def test_a_healthy_neutron_background_does_not_end_a_gamma_fault(portal: Portal) -> None:
    portal.say("GH", 18.0)
    portal.say("NB", 18.1)
    assert portal.machine.faults == {Channel.GAMMA}


def test_tamper_marks_every_occupancy_while_it_is_open(portal: Portal) -> None:
    portal.say("TT", 19.0)
    portal.scans(20.0, 22.0)
    end(portal, 22.2)
    portal.scans(30.0, 31.0)
    portal.say("TC", 31.1)
    end(portal, 31.2, 2)
    portal.scans(40.0, 41.0)
    end(portal, 41.2, 3)
    portal.scans(50.0, 51.0)
    portal.say("TT", 51.1)
    end(portal, 51.2, 4)
    assert [occupancy.tamper for occupancy in portal.closed] == [True, True, False, True]


# --- speed, scanner, set-up ----------------------------------------------------------------------


def test_speeds_are_kept_whenever_they_come(portal: Portal) -> None:
    portal.say("SP", 9.7, 9.0)  # of somebody before
    portal.say("SP", 9.8, 1.4)  # ten seconds before the first interval
    portal.say("SP", 19.3, 1.5)
    portal.scans(20.0, 22.0)
    portal.say("SP", 22.1, 1.6)
    portal.say("GX", 22.2, 1)
    portal.say("SP", 22.3, 1.7)
    portal.tick(24.0)
    (occupancy,) = portal.closed
    speeds = [(round(t_s, 3), v) for t_s, v in occupancy.speeds]
    assert speeds == [(-10.0, 1.4), (-0.5, 1.5), (2.3, 1.6), (2.5, 1.7)]


def test_a_running_scanner_is_noted_and_teaches_no_background(portal: Portal) -> None:
    before = portal.opinion.background_cps("gamma")
    portal.machine.scanner_active = True
    portal.say("GB", 18.0, 900, 900, 900, 900)
    assert portal.opinion.background_cps("gamma") == before
    portal.scans(20.0, 22.0)
    portal.machine.scanner_active = False
    portal.scans(22.2, 24.0)
    end(portal, 24.2)
    assert portal.closed[0].scanner_active
    assert portal.effects[-1].opinion.verdicts[0].reason == "scanner_active"  # type: ignore[union-attr]


def test_the_set_up_of_the_time_is_in_the_record(portal: Portal) -> None:
    portal.say("SG1", 18.0, "abc")
    portal.scans(20.0, 21.0)
    end(portal, 21.2)
    assert portal.closed[0].setup_hash == "abc"


# --- background -------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["GH", "GL"])
def test_faulty_background_is_not_learnt(portal: Portal, tag: str) -> None:
    before = portal.opinion.background_cps("gamma")
    portal.say(tag, 18.0, 900, 900, 900, 900)
    assert portal.opinion.background_cps("gamma") == before


def test_background_with_the_cabinet_open_is_not_learnt(portal: Portal) -> None:
    before = portal.opinion.background_cps("gamma")
    portal.say("TT", 17.0)
    portal.say("GB", 18.0, 900, 900, 900, 900)
    assert portal.opinion.background_cps("gamma") == before


def test_background_is_frozen_until_two_seconds_after_the_close(portal: Portal) -> None:
    before = portal.opinion.background_cps("gamma")
    portal.scans(20.0, 24.0)
    portal.say("GX", 24.1, 1)
    portal.tick(25.3)  # closed here
    portal.say("GB", 27.2, 900, 900, 900, 900)
    assert portal.opinion.background_cps("gamma") == before
    portal.say("GB", 27.4, 900, 900, 900, 900)
    assert portal.opinion.background_cps("gamma") != before


@pytest.mark.parametrize(
    ("presence", "learns"), [(None, False), (True, False), (False, True)], ids=["none", "there", "clear"]
)
def test_after_a_stalled_truck_without_end_marker_vacancy_must_be_seen(
    portal: Portal, presence: bool | None, learns: bool
) -> None:
    """The device may have taken the standing truck for background."""
    portal.scans(20.0, 85.0)
    portal.say("GB", 85.2)
    portal.tick(87.3)
    assert portal.closed[0].extended
    before = portal.opinion.background_cps("gamma")
    portal.machine.presence = presence
    portal.say("GB", 90.0, 900, 900, 900, 900)
    assert (portal.opinion.background_cps("gamma") != before) is learns
    portal.machine.presence = None
    portal.scans(95.0, 97.0)
    end(portal, 97.2)  # an end marker: the device itself saw the lane vacant
    portal.say("GB", 105.0, 900, 900, 900, 900)
    assert portal.opinion.background_cps("gamma") != before


def test_the_doubt_about_vacancy_survives_a_short_occupancy_without_end_marker(portal: Portal) -> None:
    portal.scans(20.0, 85.0)
    portal.say("GB", 85.2)
    portal.tick(87.3)
    portal.scans(90.0, 92.0)
    portal.say("GB", 92.2)
    portal.tick(94.3)
    before = portal.opinion.background_cps("gamma")
    portal.say("GB", 100.0, 900, 900, 900, 900)
    assert portal.opinion.background_cps("gamma") == before


# --- nothing grows without a bound -----------------------------------------------------------


class Deaf:
    """A second opinion that says nothing."""

    def background(self, *record: object) -> None:
        return None

    def open(self, mono_ns: int) -> None: ...

    def scan(self, *record: object) -> None:
        return None

    def gap(self, channel: str) -> None: ...

    def close(self, mono_ns: int, *, scanner_active: bool) -> None:
        return None


class Listening(Deaf):
    """One that keeps what it is told of each record."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def background(self, *record: object, interval_s: float) -> None:
        self.told.append((*record, interval_s))

    def scan(self, *record: object) -> None:
        self.told.append(record)


def test_the_second_opinion_is_told_all_of_a_record() -> None:
    opinion = Listening()
    machine = OccupancyMachine(BOTH, opinion, lambda: "id")  # type: ignore[arg-type]
    background, scan = line("GB", 1.0, 9, 8, 7, 6), line("GS", 6.0, 1, 2, 3, 4)
    assert isinstance(background, Counts)
    assert isinstance(scan, Counts)
    machine.accept(replace(background, windows=(20, 10)))
    machine.accept(replace(scan, windows=(7, 3)))
    assert opinion.told == [
        ("gamma", 1 * S, (9, 8, 7, 6), (20, 10), 1.0),
        ("gamma", 6 * S, (1, 2, 3, 4), 0.2, (7, 3)),
    ]


def test_a_truck_that_stands_for_hours_fills_no_memory() -> None:
    machine = OccupancyMachine(BOTH, Deaf(), lambda: "id")  # type: ignore[arg-type]
    for i in range(MAX_SAMPLES + 500):
        machine.accept(line("GS", 10 + 0.2 * i, 1, 1, 1, 1))
    machine.accept(line("GA", 10 + 0.2 * (MAX_SAMPLES + 500), 9, 9, 9, 9))
    occupancy = machine.open
    assert occupancy is not None
    gamma = occupancy.gamma
    assert len(gamma.totals) == len(gamma.times_s) == len(gamma.counts) == MAX_SAMPLES
    assert (gamma.records, gamma.truncated) == (MAX_SAMPLES + 501, True)
    assert gamma.max_1s == 16 + 36  # judged to the last record
    assert occupancy.alarms == {Channel.GAMMA}


def test_gaps_and_speeds_are_bounded(portal: Portal) -> None:
    for i in range(MAX_GAPS + 10):
        portal.say("GS", 20.0 + 2 * i)
    for i in range(MAX_SPEEDS + 10):
        portal.say("SP", 160.0 + 0.01 * i, float(i))
    occupancy = portal.machine.open
    assert occupancy is not None
    assert len(occupancy.gaps) == MAX_GAPS
    assert len(occupancy.speeds) == MAX_SPEEDS
    assert occupancy.speeds[-1][1] == MAX_SPEEDS + 9


# --- faults of the field's peers that live here ---------------------------------------------------


def test_a_burst_stamped_backwards_in_time_is_taken_as_it_comes(portal: Portal) -> None:
    """Six scans arrive in one read; their stamps were moved back by the cadence."""
    portal.tick(21.0)
    effects = [portal.say("GS", 20.0 + 0.2 * i) for i in range(6)]
    assert isinstance(effects[0][0], Started)
    assert portal.machine.open is not None
    assert portal.machine.open.start == stamp(19.8)
    assert portal.machine.open.gaps == []
    portal.say("GS", 20.5)  # even out of order: no negative duration, no gap
    assert portal.machine.open.end_ns == 21 * S
    assert portal.machine.state is State.OCCUPIED


def test_identifiers_are_injected() -> None:
    ids = itertools.count(7)
    machine = OccupancyMachine(BOTH, Deaf(), lambda: f"x{next(ids)}")  # type: ignore[arg-type]
    (started, *_) = machine.accept(line("GS", 1.0))
    assert isinstance(started, Started)
    assert started.occupancy.occupancy_id == "x7"
