"""How long a download waits, by times that are given: no more than the rate, after one burst."""

from __future__ import annotations

import pytest

from station.api.pace import Pace


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    pace = Pace(bytes_per_s=100.0, burst_bytes=50.0)
    assert [pace.wait_s(25, 7.0) for _ in range(4)] == pytest.approx([0.0, 0.0, 0.25, 0.5])


def test_time_fills_the_bucket_as_far_as_it_goes() -> None:
    pace = Pace(bytes_per_s=100.0, burst_bytes=50.0)
    assert pace.wait_s(50, 0.0) == 0.0
    assert pace.wait_s(10, 0.1) == pytest.approx(0.0)  # what was earned meanwhile
    assert pace.wait_s(10, 0.1) == pytest.approx(0.1)
    assert [pace.wait_s(50, 1e6), pace.wait_s(1, 1e6)] == pytest.approx([0.0, 0.01])  # no more than a burst


def test_who_comes_later_waits_behind_what_was_granted() -> None:
    pace = Pace(bytes_per_s=100.0, burst_bytes=100.0)
    waits = [pace.wait_s(100, 0.0) for _ in range(3)]
    assert waits == pytest.approx([0.0, 1.0, 2.0])
    assert pace.wait_s(100, 1.5) == pytest.approx(1.5)
