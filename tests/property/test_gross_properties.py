"""Laws that the calibrated threshold obeys for every background."""

from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.radiation.gross import integer_limit, k_for, window_false_alarm
from imaging.radiation.neutron import neutron_limit
from imaging.radiation.poisson import survival

backgrounds = st.floats(20, 4000)
times = st.floats(2, 60)


@given(b=backgrounds, t_b=times, k=st.floats(1, 12), step=st.floats(0.001, 3))
@settings(max_examples=60, deadline=None)
def test_p_never_rises_with_k_and_is_a_probability(b: float, t_b: float, k: float, step: float) -> None:
    p_window = window_false_alarm(b, t_b)
    assert 0 <= p_window(k + step) <= p_window(k) <= 1 + 1e-9


@given(b=backgrounds, t_b=times, p=st.sampled_from([1e-2, 1e-3, 1e-4, 1e-5]))
@settings(max_examples=30, deadline=None)
def test_k_keeps_the_promise_and_is_the_least(b: float, t_b: float, p: float) -> None:
    k = k_for(b, t_b, 46, p)
    assert k is not None
    p_window = window_false_alarm(b, t_b)
    assert 46 * p_window(k) <= p < 46 * p_window(k - 2e-4)


@given(counts=st.integers(40, 100_000), t_b=times, k=st.floats(1, 12))
def test_the_limit_never_falls_when_the_background_rises(counts: int, t_b: float, k: float) -> None:
    limit = integer_limit(counts, t_b, 1.0, k)
    assert counts / t_b <= limit + 1
    assert limit <= integer_limit(counts + 1, t_b, 1.0, k)


@given(expected=st.floats(0.01, 500), p=st.floats(1e-9, 0.1))
@settings(deadline=None)
def test_neutron_limit_is_the_least_that_keeps_p(expected: float, p: float) -> None:
    n = neutron_limit(expected, p)
    tail = survival(expected, 0, n + 2000)
    assert tail[n] <= p < tail[n - 1]
