"""The second opinion over whole occupancies: background, first crossing, verdict at the close."""

import math

import numpy as np
import pytest
import scipy.stats

from imaging.radiation import gross, neutron, sprt
from imaging.radiation.background import BackgroundRules
from imaging.radiation.gross import GrossConfig, GrossLimit, GrossRun, k_for
from imaging.radiation.neutron import predictive_limit
from imaging.radiation.opinion import StationOpinion, device_rule
from imaging.radiation.verdict import REPLICA, BackgroundEstimate, Outcome, Verdict, relation

S = 1_000_000_000
STEP = S // 5
GAMMA = frozenset({"gamma"})


def opinion_with_background(records: int = 20, per_panel: int = 250) -> StationOpinion:
    opinion = StationOpinion(channels=GAMMA)
    for i in range(records):
        assert opinion.background("gamma", i * 5 * S, (per_panel,) * 4) is None
    return opinion


def drive(opinion: StationOpinion, totals: list[int | None], start_s: float = 100.0):
    start_ns = round(start_s * S)
    opinion.open(start_ns)
    early = [opinion.scan("gamma", start_ns + i * STEP, (total,), 0.2) for i, total in enumerate(totals)]
    result = opinion.close(start_ns + len(totals) * STEP, scanner_active=False)
    return [verdict for verdict in early if verdict], result


def test_a_quiet_truck_is_no_alarm_and_says_what_was_tested() -> None:
    early, result = drive(opinion_with_background(), [200] * 50)
    assert early == []
    (verdict,) = result.verdicts
    assert (verdict.outcome, verdict.reason, verdict.t_first_s) == (Outcome.NO_ALARM, None, None)
    assert verdict.statistic == 1000
    assert verdict.threshold == result.gamma_limit == 1152  # ⌊1000 + 4.824·√1000⌋
    assert verdict.params["k"] == pytest.approx(4.824, abs=1e-3)
    assert verdict.params["windows"] == 46
    assert verdict.params["false_alarm_bound"] == pytest.approx(1e-4, rel=0.01)
    assert verdict.params["notes"] == ""
    assert result.gamma_background is not None
    assert result.gamma_background.total_cps == 1000


def test_the_first_crossing_is_told_at_once_and_once() -> None:
    totals = [200] * 10 + [300] * 10 + [200] * 10
    early, result = drive(opinion_with_background(), totals)
    (first,) = early
    assert first.outcome is Outcome.ALARM
    assert first.t_first_s == pytest.approx(11 * 0.2)  # 3·200 + 2·300 = 1,200 > 1,152
    assert first.statistic == 1200
    (verdict,) = result.verdicts
    assert verdict.t_first_s == first.t_first_s
    assert verdict.statistic == 1500


def test_equal_to_the_limit_is_no_alarm_and_one_count_more_is() -> None:
    at_limit = [230, 230, 230, 231, 231]
    assert sum(at_limit) == 1152
    assert drive(opinion_with_background(), [*at_limit])[1].verdicts[0].outcome is Outcome.NO_ALARM
    assert drive(opinion_with_background(), [231, *at_limit[1:]])[1].verdicts[0].outcome is Outcome.ALARM


def test_before_two_background_records_the_answer_is_not_possible() -> None:
    for records in (0, 1):
        _, result = drive(opinion_with_background(records), [5000] * 20)
        assert result.verdicts[0].outcome is Outcome.NOT_POSSIBLE
        assert result.verdicts[0].reason == "no_background"
        assert result.gamma_limit is None


def test_a_short_background_is_used_and_said() -> None:
    _, result = drive(opinion_with_background(2), [200] * 20)
    verdict = result.verdicts[0]
    assert verdict.outcome is Outcome.NO_ALARM
    assert verdict.params["notes"] == "background_short"
    assert verdict.params["background_s"] == 2.0
    assert verdict.params["k"] > 5.7  # honest about two seconds of counting


def test_a_low_background_is_not_possible_instead_of_wrong() -> None:
    _, result = drive(opinion_with_background(20, per_panel=4), [5] * 20)
    assert (result.verdicts[0].outcome, result.verdicts[0].reason) == (
        Outcome.NOT_POSSIBLE,
        "background_too_low",
    )


def test_missing_counts_never_make_a_clear() -> None:
    _, result = drive(opinion_with_background(), [200] * 10 + [None] + [200] * 10)
    assert (result.verdicts[0].outcome, result.verdicts[0].reason) == (
        Outcome.LOW_CONFIDENCE,
        "data_missing",
    )
    assert result.verdicts[0].params["windows"] == 12


def test_a_window_never_reaches_over_a_gap() -> None:
    opinion = opinion_with_background()
    opinion.open(100 * S)
    for i in range(4):
        opinion.scan("gamma", 100 * S + i * STEP, (290,), 0.2)
    opinion.gap("neutron")
    opinion.gap("gamma")
    assert opinion.scan("gamma", 110 * S, (290,), 0.2) is None  # 5 × 290 would cross
    result = opinion.close(111 * S, scanner_active=False)
    assert (result.verdicts[0].outcome, result.verdicts[0].reason) == (Outcome.NOT_POSSIBLE, "too_short")
    opinion.gap("gamma")  # harmless without an occupancy


def test_an_alarm_stays_an_alarm_whatever_is_missing() -> None:
    _, result = drive(opinion_with_background(), [None, 200, 900, 200, 200, 200, None])
    assert result.verdicts[0].outcome is Outcome.ALARM


def test_a_running_scanner_or_an_old_background_lowers_the_confidence() -> None:
    opinion = opinion_with_background()
    opinion.open(100 * S)
    for i in range(10):
        opinion.scan("gamma", 100 * S + i * STEP, (200,), 0.2)
    verdict = opinion.close(102 * S, scanner_active=True).verdicts[0]
    assert (verdict.outcome, verdict.reason) == (Outcome.LOW_CONFIDENCE, "scanner_active")
    verdict = drive(opinion, [200] * 10, start_s=95 + 600.5)[1].verdicts[0]
    assert (verdict.outcome, verdict.reason) == (Outcome.LOW_CONFIDENCE, "background_old")
    verdict = drive(opinion_with_background(), [200] * 10, start_s=95 + 600.0)[1].verdicts[0]
    assert verdict.outcome is Outcome.NO_ALARM


def test_another_interval_than_configured_is_not_judged() -> None:
    opinion = opinion_with_background()
    opinion.open(100 * S)
    opinion.scan("gamma", 100 * S, (1000,), 1.0)
    verdict = opinion.close(101 * S, scanner_active=False).verdicts[0]
    assert (verdict.outcome, verdict.reason) == (Outcome.NOT_POSSIBLE, "interval")


def test_an_alarm_stays_an_alarm_when_the_interval_changes_later() -> None:
    opinion = opinion_with_background()
    opinion.open(100 * S)
    crossings = [opinion.scan("gamma", 100 * S + i * STEP, (400,), 0.2) for i in range(5)]
    assert crossings[-1] is not None
    assert opinion.scan("gamma", 102 * S, (1000,), 1.0) is None
    assert opinion.scan("gamma", 103 * S, (200,), 0.2) is None
    assert opinion.close(104 * S, scanner_active=True).verdicts[0].outcome is Outcome.ALARM


def test_another_number_of_panels_makes_the_old_limits_void() -> None:
    opinion = opinion_with_background()
    assert opinion.background("gamma", 200 * S, (250,) * 2) is None
    assert opinion.limit("gamma") is None
    _, result = drive(opinion, [200] * 20, start_s=201)
    assert (result.verdicts[0].outcome, result.verdicts[0].reason) == (Outcome.NOT_POSSIBLE, "no_background")


@pytest.mark.parametrize("counts", [(9999, None, 9999, 9999), (None,) * 4])
def test_a_partial_record_moves_no_limit(counts: tuple[int | None, ...]) -> None:
    opinion = opinion_with_background()
    assert opinion.background("gamma", 200 * S, counts) == "partial"
    assert opinion.limit("gamma") == 1152


def test_a_running_mean_is_not_counted_twice_in_the_limit() -> None:
    """Twenty records of a 20 s running mean count 115 s, which moves k and thereby the limit."""
    opinion = StationOpinion(rules=BackgroundRules(averaging_s=20.0), channels=GAMMA)
    for i in range(20):
        opinion.background("gamma", i * 5 * S, (250,) * 4)
    _, result = drive(opinion, [200] * 20)
    assert result.verdicts[0].params["background_s"] == 115
    assert result.verdicts[0].params["k"] == pytest.approx(k_for(1000, 115, 46, 1e-4), abs=1e-3)


def test_the_vehicle_itself_never_enters_the_background() -> None:
    opinion = opinion_with_background()
    drive(opinion, [200] * 10)  # closes at 102 s
    assert opinion.background("gamma", 103 * S, (100,) * 4) == "guard"
    assert opinion.background("gamma", 104 * S, (100,) * 4) is None
    opinion.open(105 * S)
    assert opinion.background("gamma", 106 * S, (100,) * 4) == "frozen"


def test_limits_to_draw_are_known_while_the_lane_is_empty() -> None:
    opinion = StationOpinion()
    assert (opinion.limit("gamma"), opinion.limit("neutron"), opinion.background_cps("gamma")) == (
        None,
        None,
        None,
    )
    opinion = with_both()
    assert opinion.limit("gamma") == 1160  # three tests share the false alarms of the owner
    assert opinion.limit("neutron") == predictive_limit(40, 20, 1, 1e-4 / 3 / 10)
    assert opinion.background_cps("neutron") == 2
    assert opinion.scan("neutron", 0, (100,) * 4, 1.0) is None, "no vehicle is there"


# --- neutrons, the device's own rule, suppression ---------------------------------------------


def with_both(records: int = 20) -> StationOpinion:
    opinion = StationOpinion()
    for i in range(records):
        assert opinion.background("gamma", i * 5 * S, (250,) * 4) is None
        assert opinion.background("neutron", i * 5 * S, (1, 0, 1, 0)) is None
    return opinion


def passed(opinion: StationOpinion, *neutrons: tuple[int | None, ...], gamma: int = 50) -> dict[str, Verdict]:
    """Let a vehicle pass: five gamma records for each of the neutrons; return the verdicts by algorithm."""
    opinion.open(100 * S)
    for i, counts in enumerate(neutrons):
        for step in range(5):
            opinion.scan("gamma", (100 + i) * S + step * STEP, (gamma,) * 4, 0.2)
        opinion.scan("neutron", (101 + i) * S, counts, 1.0)
    result = opinion.close((101 + len(neutrons)) * S, scanner_active=False)
    return {verdict.algo: verdict for verdict in result.verdicts}


QUIET = (1, 0, 1, 0)


def test_quiet_neutrons_are_no_alarm_of_either_test() -> None:
    found = passed(with_both(), *[QUIET] * 10)
    assert set(found) == {gross.ALGORITHM, neutron.ALGORITHM, sprt.ALGORITHM}
    assert {verdict.outcome for verdict in found.values()} == {Outcome.NO_ALARM}
    bounds = [found[name].params["false_alarm_bound"] for name in (gross.ALGORITHM, neutron.ALGORITHM)]
    assert bounds == pytest.approx([1e-4 / 3, 1e-4 / 3], rel=0.02)
    assert found[sprt.ALGORITHM].channel == found[neutron.ALGORITHM].channel == "neutron"


def test_a_strong_source_is_told_at_once_and_a_weak_one_by_the_sequential_test() -> None:
    opinion = with_both()
    opinion.open(100 * S)
    told = opinion.scan("neutron", 101 * S, (10, 9, 8, 3), 1.0)
    assert told is not None
    assert (told.algo, told.outcome, told.statistic, told.t_first_s) == (
        (neutron.ALGORITHM, Outcome.ALARM, 30, 1.0)
    )
    opinion.close(102 * S, scanner_active=False)
    found = passed(with_both(), *[(3, 2, 3, 1)] * 10)
    assert found[neutron.ALGORITHM].outcome is Outcome.NO_ALARM
    assert found[sprt.ALGORITHM].outcome is Outcome.ALARM


def test_the_sequential_test_alone_is_told_at_once_too() -> None:
    opinion = with_both()
    opinion.open(100 * S)
    told = [opinion.scan("neutron", (101 + i) * S, (3, 2, 3, 1), 1.0) for i in range(10)]
    (first,) = [verdict for verdict in told if verdict]
    assert (first.algo, first.outcome) == (sprt.ALGORITHM, Outcome.ALARM)


def test_a_spike_of_one_record_on_three_panels_is_suspected_and_still_an_alarm() -> None:
    found = passed(with_both(), QUIET, (12, 12, 12, 0), QUIET)[neutron.ALGORITHM]
    assert (found.outcome, found.params["notes"]) == (Outcome.ALARM, "burst_suspect")
    for passage in ([(30, 0, 0, 0)], [(12, 12, 12, 0)] * 2):
        found = passed(with_both(), *passage)[neutron.ALGORITHM]
        assert (found.outcome, found.params["notes"]) == (Outcome.ALARM, "")


def test_neutrons_that_are_missing_make_no_clear() -> None:
    for passage in ([QUIET, (1, None, 0, 0)], [QUIET, ()]):
        found = passed(with_both(), *passage)
        for name in (neutron.ALGORITHM, sprt.ALGORITHM):
            assert (found[name].outcome, found[name].reason) == (Outcome.LOW_CONFIDENCE, "data_missing")
    found = passed(with_both(), (None,) * 4)
    assert found[neutron.ALGORITHM].reason == found[sprt.ALGORITHM].reason == "too_short"
    opinion = with_both()
    opinion.open(100 * S)
    opinion.scan("neutron", 101 * S, QUIET, 1.0)
    opinion.gap("neutron")
    verdicts = opinion.close(110 * S, scanner_active=False).verdicts
    assert [verdict.reason for verdict in verdicts if verdict.channel == "neutron"] == ["data_missing"] * 2


def test_without_a_neutron_background_nothing_is_said_of_neutrons() -> None:
    found = passed(with_both(1), QUIET)
    assert {verdict.reason for verdict in found.values()} == {"no_background"}


def test_another_neutron_interval_is_not_judged() -> None:
    opinion = with_both()
    opinion.open(100 * S)
    opinion.scan("neutron", 101 * S, (100,) * 4, 0.5)
    found = opinion.close(102 * S, scanner_active=False).verdicts
    assert [verdict.reason for verdict in found] == ["too_short", "interval", "interval"]


def test_a_channel_that_is_not_counted_has_no_say() -> None:
    opinion = opinion_with_background()
    assert opinion.background("neutron", 0, QUIET) == "not_fitted"
    opinion.open(100 * S)
    assert opinion.scan("neutron", 101 * S, (100,) * 4, 1.0) is None
    assert [v.channel for v in opinion.close(102 * S, scanner_active=False).verdicts] == ["gamma"]
    contacts = StationOpinion(channels=frozenset())
    contacts.open(0)
    assert contacts.close(S, scanner_active=False).verdicts == ()


def test_the_devices_own_rule_is_repeated_as_it_says_it() -> None:
    opinion = with_both()
    opinion.setup(6.5, 5, "SUM")
    found = passed(opinion, *[QUIET] * 3)[REPLICA]
    assert (found.outcome, found.threshold) == (Outcome.NO_ALARM, 1205)  # ⌊1000 + 6.5·√1000⌋
    assert found.params["k"] == 6.5
    loud = passed(opinion, QUIET, gamma=61)
    assert loud[REPLICA].outcome is Outcome.ALARM
    opinion = with_both()
    opinion.setup(6.5, 5, "VERTICAL")
    found = passed(opinion, QUIET)[REPLICA]
    assert (found.outcome, found.reason) == (Outcome.NOT_POSSIBLE, "algorithm")
    opinion.setup(0.0, 5, "SUM")
    assert REPLICA not in passed(opinion, QUIET)
    opinion = with_both(1)
    opinion.setup(6.5, 5, "")
    assert passed(opinion, QUIET)[REPLICA].reason == "no_background"


def test_the_set_up_is_read_as_far_as_it_was_told() -> None:
    assert device_rule({"nsigma": 6.5, "intervals": 5.0, "algorithm": "SUM"}) == (6.5, 5, "SUM")
    assert device_rule({"nsigma": 7.0, "intervals": 5.0}) == (7.0, 5, "")
    for told in (
        {},
        {"nsigma": 7.0},
        {"nsigma": "x", "intervals": 5.0},
        {"nsigma": math.inf, "intervals": 5.0},
    ):
        assert device_rule(told) is None


def test_a_vehicle_that_hides_much_is_not_plainly_clear() -> None:
    opinion = with_both()
    opinion.open(100 * S)
    for i in range(60):
        opinion.scan("gamma", 100 * S + i * STEP, (33,) * 4, 0.2)
    result = opinion.close(113 * S, scanner_active=False)
    assert result.suppression == pytest.approx(0.34)
    assert result.suppression_limit is not None
    assert result.suppression > result.suppression_limit
    assert (result.verdicts[0].outcome, result.verdicts[0].reason) == (Outcome.LOW_CONFIDENCE, "suppression")


def test_a_site_may_say_what_must_still_be_seen() -> None:
    opinion = StationOpinion(channels=GAMMA, s50_max=100.0)
    for i in range(20):
        opinion.background("gamma", i * 5 * S, (250,) * 4)
    _, result = drive(opinion, [200] * 20)
    assert (result.verdicts[0].outcome, result.verdicts[0].reason) == (Outcome.LOW_CONFIDENCE, "s50")


@pytest.mark.parametrize(
    ("device", "outcomes", "expected"),
    [
        (True, "alarm no_alarm", "agree_alarm"),
        (False, "alarm not_possible", "station_only"),
        (True, "no_alarm no_alarm", "device_only"),
        (False, "no_alarm", "agree_none"),
        (True, "no_alarm low_confidence", "undecided"),
        (False, "not_possible", "undecided"),
        (False, "", "undecided"),
    ],
)
def test_the_relation_to_the_device(device: bool, outcomes: str, expected: str) -> None:
    assert relation(device, map(Outcome, outcomes.split())) == expected


def test_the_sliding_sum_equals_a_convolution() -> None:
    rng = np.random.default_rng(5)
    totals = rng.poisson(200, 400)
    run = GrossRun(GrossConfig(), GrossLimit(1060, 3.2, 1000.0, 20.0, 1e-3))
    crossings = [i for i, total in enumerate(totals) if run.push(int(total), i * 0.2)]
    sums = np.convolve(totals, np.ones(5, dtype=int), "valid")
    verdict = run.verdict()
    assert verdict.statistic == sums.max()
    assert sums.max() > 1060
    assert crossings == [int(np.argmax(sums > 1060)) + 4]
    assert verdict.params["windows"] == sums.size
    assert verdict.params["false_alarm_bound"] == pytest.approx(sums.size * 1e-3)


def test_a_neutron_background_beyond_reason_is_none() -> None:
    opinion = StationOpinion(channels=frozenset({"neutron"}))
    for i, (counts, limited) in enumerate(((9_000, False), (9_000, True), (999_999, False))):
        opinion.background("neutron", i * 5 * S, (counts,))
        assert (opinion.limit("neutron") is not None) is limited
    opinion.open(20 * S)
    reasons = {verdict.reason for verdict in opinion.close(30 * S, scanner_active=False).verdicts}
    assert reasons == {"background_too_high"}


def test_counts_of_unknown_time_are_not_judged_and_neither_is_their_background() -> None:
    opinion = StationOpinion(channels=GAMMA)
    for i in range(3):
        assert opinion.background("gamma", i * 5 * S, (480,), interval_s=0.0) == "interval"
    opinion.open(20 * S)
    assert opinion.scan("gamma", 20 * S, (9_000,), 0.0) is None
    result = opinion.close(30 * S, scanner_active=False)
    assert [(v.outcome, v.reason) for v in result.verdicts] == [(Outcome.NOT_POSSIBLE, "interval")]
    assert (result.gamma_background, result.gamma_limit) == (None, None)


def test_a_background_that_the_device_has_counted_takes_the_place_of_records() -> None:
    counted = StationOpinion(channels=frozenset({"gamma"}))
    counted.take_background("gamma", BackgroundEstimate((750.0,) * 4, 20.0, 1, 0))
    counted.take_background("neutron", BackgroundEstimate((1.0,), 20.0, 1, 0))
    assert counted.background_cps("gamma") == 3_000
    assert counted.background_cps("neutron") is None, "it is not fitted"
    learnt = StationOpinion(channels=frozenset({"gamma"}))
    for n in range(20):
        learnt.background("gamma", n * 5 * 10**9, (750,) * 4)
    assert counted.limit("gamma") == learnt.limit("gamma")
    counted.background("gamma", 10**12, (1,) * 4)
    assert counted.background_cps("gamma") == 3_000


def test_the_background_is_learnt_anew_by_another_set_up() -> None:
    opinion = opinion_with_background()
    opinion.forget()
    assert (opinion.limit("gamma"), opinion.background_cps("gamma")) == (None, None)
    (verdict,) = drive(opinion, [200] * 10)[1].verdicts
    assert (verdict.outcome, verdict.reason) == (Outcome.NOT_POSSIBLE, "no_background")


def test_a_vehicle_there_is_judged_by_what_it_came_with_and_not_plainly() -> None:
    opinion = opinion_with_background()
    opinion.open(100 * S)
    for i in range(10):
        opinion.scan("gamma", 100 * S + i * STEP, (200,), 0.2)
    opinion.forget()
    result = opinion.close(102 * S, scanner_active=False)
    (verdict,) = result.verdicts
    assert (verdict.outcome, verdict.reason) == (Outcome.LOW_CONFIDENCE, "setup_changed")
    assert result.gamma_background is not None, "by which it was judged"
    assert opinion.background("gamma", 110 * S, (250,) * 4) is None
    assert opinion.background_cps("gamma") is None, "one record of the new set-up is no background"


@pytest.mark.parametrize("garbage", [26_000, 999_999])
def test_a_gamma_background_beyond_reason_makes_no_limit_of_any_rule(garbage: int) -> None:
    """Its exact sum would hold the lane for up to a second."""
    opinion = StationOpinion(channels=frozenset({"gamma", "windows"}))
    opinion.setup(7.0, 5, "SUM")
    for i in range(20):
        opinion.background("gamma", i * 5 * S, (garbage,) * 4, (garbage * 3, garbage))
    result = drive(opinion, [200] * 10)[1]
    assert {verdict.reason for verdict in result.verdicts} == {"background_too_high"}
    assert len(result.verdicts) == 3
    assert result.gamma_limit is None


@pytest.mark.parametrize(
    ("b", "t_b_s", "t_w_s"), [(25, 2, 1), (100, 20, 1), (3100, 20, 1), (3100, 395, 1), (900, 7.4, 0.4)]
)
@pytest.mark.parametrize("k", [1.0, 3.0, 4.774, 20.0])
def test_limits_taken_together_are_the_sum_over_every_background(
    b: float, t_b_s: float, t_w_s: float, k: float
) -> None:
    mean = b * t_b_s / t_w_s
    reach = 10 * math.sqrt(mean)
    low, high = max(0, math.floor(mean - reach)), math.ceil(mean + reach) + 20
    limits = [gross.integer_limit(x, t_b_s, t_w_s, k) for x in range(low, high + 1)]
    tails = scipy.stats.poisson.sf(limits, b)
    total = float(scipy.stats.poisson.pmf(np.arange(low, high + 1), mean) @ tails)
    assert gross.window_false_alarm(b, t_b_s, t_w_s)(k) == pytest.approx(total, rel=1e-6, abs=1e-40)
