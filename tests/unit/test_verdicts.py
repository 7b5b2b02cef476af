"""What a verdict says: every figure from which it can be computed again, and the limits as they are."""

from __future__ import annotations

import math

import pytest

from imaging.radiation import gross, neutron
from imaging.radiation.gross import GrossConfig, GrossLimit, GrossRun, replica_limit, window_false_alarm
from imaging.radiation.neutron import NeutronLimit, NeutronRun, neutron_limit, predictive_limit
from imaging.radiation.poisson import survival
from imaging.radiation.verdict import BackgroundEstimate, Outcome, Verdict

# --- gamma ----------------------------------------------------------------------------------------

CONFIG = GrossConfig(p_occupancy=3e-4, design_s=8.0, tests=4)
LIMIT = GrossLimit(1100, 4.567891, 1000.123456, 17.5, 1.234567e-5)


def test_a_gamma_verdict_says_all_that_it_was_computed_from() -> None:
    run = GrossRun(CONFIG, LIMIT)
    totals = [220, 220, 220, 220, 220, None, 221, 220, 220, 220, 219, 222, 219]
    assert [run.push(total, 0.2 * i) for i, total in enumerate(totals)] == [False] * 11 + [True, False]
    assert run.verdict(("some_doubt",), ("some_note",)) == Verdict(
        algo=gross.ALGORITHM,
        version=1,
        channel="gamma",
        params={
            "k": 4.5679,
            "background_counts": 1000.123,
            "background_s": 17.5,
            "window_s": 1.0,
            "p_occupancy": 7.5e-5,
            "design_windows": 36,
            "windows": 4,
            "p_window": 1.235e-5,
            "false_alarm_bound": 4.938e-5,
            "notes": "some_note",
        },
        statistic=1101,
        threshold=1100,
        t_first_s=pytest.approx(2.2),
        outcome=Outcome.ALARM,
        reason="some_doubt data_missing",
    )


def test_a_bound_is_a_probability() -> None:
    sure = GrossRun(CONFIG, GrossLimit(9999, 1.0, 1000.0, 20.0, 0.7))
    for i in range(6):
        sure.push(200, 0.2 * i)
    assert sure.verdict().params["false_alarm_bound"] == 1
    often = NeutronRun(NeutronLimit(99, (99,), 2.0, 20.0, 1.0, 0.7))
    for i in range(2):
        often.push((1,), float(i))
    assert often.verdict().params["false_alarm_bound"] == 1


def test_nothing_of_the_time_before_a_gap_is_in_a_window_behind_it() -> None:
    run = GrossRun(CONFIG, LIMIT)
    for i in range(3):
        run.push(400, 0.2 * i)
    run.gap()
    for i in range(5):
        run.push(200, 2 + 0.2 * i)
    assert (run.verdict().statistic, run.verdict().params["windows"]) == (1000, 1)


def test_the_devices_rule_on_the_background_that_was_measured() -> None:
    estimate = BackgroundEstimate((300.0, 200.0), 20.0, 20, 0)
    limit = replica_limit(estimate, 6.5, 0.8)
    assert limit is not None
    assert (limit.limit, limit.k, limit.background, limit.t_b_s) == (530, 6.5, 400.0, 20.0)
    assert limit.p_window == window_false_alarm(400.0, 20.0, 0.8)(6.5)
    assert replica_limit(BackgroundEstimate((0.0,), 20.0, 20, 0), 6.5, 0.8) is None
    one = replica_limit(BackgroundEstimate((0.05,), 20.0, 20, 0), 6.5, 1.0)
    assert one is not None
    assert one.limit == math.floor(0.05 + 6.5 * math.sqrt(0.05))


# --- neutrons -------------------------------------------------------------------------------------


def test_a_neutron_verdict_says_all_that_it_was_computed_from() -> None:
    run = NeutronRun(NeutronLimit(9, (5, 5, 5, 5), 2.345678, 17.5, 1.0, 3.456789e-6))
    records = [(3, 3, 2, 0), (1, None, 0, 0), (3, 4, 1, 1), (5, 5, 5, 0), (1, 0, 0, 0)]
    assert [run.push(counts, float(i)) for i, counts in enumerate(records)] == [
        *(False, False, True, False, False),
    ]
    assert run.verdict() == Verdict(
        algo=neutron.ALGORITHM,
        version=1,
        channel="neutron",
        params={
            "background_cps": 2.3457,
            "background_s": 17.5,
            "record_s": 1.0,
            "p_record": 3.457e-6,
            "records": 4,
            "false_alarm_bound": 1.383e-5,
            "notes": "",
        },
        statistic=15,
        threshold=9,
        t_first_s=2.0,
        outcome=Outcome.ALARM,
        reason="data_missing",
    )


@pytest.mark.parametrize(
    ("records", "burst"),
    [
        ([(5, 5, 5, 0)], True),  # three panels at their own limit
        ([(5, 5, 4, 9)], True),
        ([(5, 5, 4, 4)], False),
        ([(5, 5, 5, 0), (9, 0, 0, 0)], False),
        ([(5, 5, 5)], False),  # another number of panels: nobody knows their limits
    ],
)
def test_a_burst_is_one_record_on_three_panels(records: list[tuple[int, ...]], burst: bool) -> None:
    run = NeutronRun(NeutronLimit(9, (5, 5, 5, 5), 2.0, 20.0, 1.0, 1e-5))
    for i, counts in enumerate(records):
        run.push(counts, float(i))
    assert run.verdict().params["notes"] == ("burst_suspect" if burst else "")


def test_the_limits_of_a_background_are_those_of_its_panels_and_of_all_of_them() -> None:
    limit = NeutronLimit.of(BackgroundEstimate((0.5, 1.5), 40.0, 20, 0), 2.0, 1e-5)
    assert limit == NeutronLimit(
        predictive_limit(80, 40.0, 2.0, 1e-5),
        (predictive_limit(20, 40.0, 2.0, 1e-5), predictive_limit(60, 40.0, 2.0, 1e-5)),
        2.0,
        40.0,
        2.0,
        1e-5,
    )


def test_a_probability_that_is_just_kept_is_kept() -> None:
    tail = survival(2.0, 0, int(2 + 40 * math.sqrt(2) + 100))
    assert [neutron_limit(2.0, float(tail[n])) for n in (3, 9, 12)] == [3, 9, 12]


@pytest.mark.parametrize(
    ("counted", "t_b", "t", "p"),
    [(-1, 20, 1, 0.1), (1, math.inf, 1, 0.1), (1, 20, math.inf, 0.1), (1, 20, 1, 1), (1, 20, 1, 1.5)],
)
def test_what_gives_no_limit_is_refused_in_a_sentence(counted: int, t_b: float, t: float, p: float) -> None:
    sentence = (
        f"neutron limit from {counted} counts in {t_b} s for {t} s at p = {p}: "
        "need counts >= 0, times > 0, 0 < p < 1"
    )
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole sentence is compared
        predictive_limit(counted, t_b, t, p)
    assert str(refused.value) == sentence
