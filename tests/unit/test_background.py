"""Which background records count, and for how long."""

import pytest

from imaging.radiation.background import Background, BackgroundRules

S = 1_000_000_000


def filled(times_s: list[float], rules: BackgroundRules | None = None) -> Background:
    background = Background(rules or BackgroundRules())
    for t in times_s:
        assert background.offer(round(t * S), (600, 610, 590, 600)) is None
    return background


def counting_s(times_s: list[float], averaging_s: float) -> float:
    estimate = filled(times_s, BackgroundRules(averaging_s=averaging_s)).estimate()
    assert estimate is not None
    return estimate.counting_s


def test_one_record_is_no_background_and_two_are() -> None:
    assert filled([0]).estimate() is None
    estimate = filled([0, 5]).estimate()
    assert estimate is not None
    assert (estimate.records, estimate.counting_s, estimate.newest_ns) == (2, 2.0, 5 * S)
    assert estimate.cps == (600, 610, 590, 600)
    assert estimate.total_cps == 2400


def test_single_seconds_count_one_second_each() -> None:
    assert counting_s([5 * i for i in range(20)], 1.0) == 20


def test_a_running_mean_is_not_counted_twice() -> None:
    """20 records of a 20 s running mean, 5 s apart: 115 s really passed, not 400."""
    assert counting_s([5 * i for i in range(20)], 20.0) == 115


def test_runs_are_counted_apart() -> None:
    """Two runs of a 20 s mean: (5·1 + 20) s each, the time between them was not counted."""
    assert counting_s([0, 5, 60, 65], 20.0) == 50


def test_only_the_newest_records_are_kept() -> None:
    background = Background()
    for i in range(30):
        background.offer(i * 5 * S, (i,))
    estimate = background.estimate()
    assert estimate is not None
    assert estimate.records == 20
    assert estimate.cps == (pytest.approx(sum(range(10, 30)) / 20),)


def test_nothing_enters_from_the_first_scan_to_the_guard_after_the_close() -> None:
    background = filled([0, 5])
    background.freeze()
    assert background.offer(6 * S, (9999,) * 4) == "frozen"
    background.thaw(20 * S)
    assert background.offer(22 * S - 1, (9999,) * 4) == "guard"
    assert background.offer(22 * S, (600,) * 4) is None
    estimate = background.estimate()
    assert estimate is not None
    assert estimate.total_cps == 2400


@pytest.mark.parametrize("counts", [(600, None, 600, 600), (None,) * 4, ()])
def test_a_partial_record_never_makes_the_background_smaller(counts: tuple[int | None, ...]) -> None:
    background = filled([0, 5])
    assert background.offer(10 * S, counts) == "partial"
    assert background.estimate() == filled([0, 5]).estimate()


def test_another_number_of_detectors_starts_afresh() -> None:
    background = filled([0, 5])
    assert background.offer(10 * S, (600, 600)) is None
    assert background.estimate() is None


def test_records_of_another_counting_time_are_rates_all_the_same() -> None:
    background = Background(BackgroundRules(averaging_s=20.0))
    for i in range(3):
        assert background.offer(i * 5 * S, (48_000, 60), 20.0) is None
    estimate = background.estimate()
    assert estimate is not None
    assert estimate.cps == (2_400, 3)
    assert estimate.counting_s == 30


def test_a_change_of_the_counting_time_starts_afresh() -> None:
    background = filled([0, 5, 10])
    assert background.offer(15 * S, (120, 122, 118, 120), 0.2) is None
    assert background.estimate() is None


@pytest.mark.parametrize("interval_s", [0.0, -1.0])
def test_counts_of_which_nobody_knows_the_time_are_no_background(interval_s: float) -> None:
    background = filled([0, 5])
    assert background.offer(10 * S, (48_000,), interval_s) == "interval"
    estimate = background.estimate()
    assert estimate is not None
    assert estimate.total_cps == 2400


def test_a_background_of_yesterday_does_not_enter_that_of_today() -> None:
    background = filled([5 * i for i in range(20)])
    assert background.offer(36_000 * S, (500,) * 4) is None
    assert background.estimate() is None, "one record is no background"
    assert background.offer(36_005 * S, (500,) * 4) is None
    estimate = background.estimate()
    assert estimate is not None
    assert (estimate.records, estimate.total_cps) == (2, 2000)


def test_records_are_kept_to_the_age_at_which_a_background_is_old() -> None:
    background = filled([0, 300, 600])
    assert (kept := background.estimate()) is not None
    assert kept.records == 3
    background.offer(601 * S, (600, 610, 590, 600))
    assert (kept := background.estimate()) is not None
    assert (kept.records, kept.newest_ns) == (3, 601 * S), "the first is 601 s old"
