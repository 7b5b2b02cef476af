"""One inspection by itself: what it waits for and what it refuses."""

from __future__ import annotations

import pytest

from station.domain.decision import ReleaseLocked
from station.domain.inspection import FUSE_LIMIT_S, Inspection
from station.domain.values import Decision, Verdict

CHECKS = frozenset({"rpm", "lpr"})


@pytest.fixture
def measured() -> Inspection:
    """All measured at 10 s; a result is still being computed."""
    inspection = Inspection("i-1", "entry_loop", 0, 0.0, CHECKS, CHECKS)
    inspection.work(+1, 9.0)
    for check in sorted(CHECKS):
        inspection.finish(check, 10.0)
    return inspection


def test_it_waits_for_results_that_are_on_their_way(measured: Inspection) -> None:
    measured.tick(10.1)
    assert measured.state == "fusing"
    measured.work(-1, 10.2)
    assert measured.state == "awaiting_decision"


def test_but_not_for_long(measured: Inspection) -> None:
    measured.tick(10.0 + FUSE_LIMIT_S - 0.01)
    assert measured.state == "fusing"
    measured.tick(10.0 + FUSE_LIMIT_S)
    assert measured.state == "awaiting_decision"


@pytest.mark.parametrize("verdict", [Verdict.REPEAT_PASS, Verdict.RETURN])
def test_an_order_that_this_lane_cannot_carry_out_is_refused(measured: Inspection, verdict: Verdict) -> None:
    measured.work(-1, 10.2)
    order = Decision(verdict=verdict, officer="O-1", reason=None, at_utc_us=0, seq=None)
    with pytest.raises(ReleaseLocked, match="not offered by this lane yet"):
        measured.give_order(order, measured.version, 11.0)
    assert measured.order is None


def test_a_device_that_was_open_twice_counts_once(measured: Inspection) -> None:
    measured.tampered("rpm1")
    version = measured.version
    measured.tampered("rpm1")
    assert (measured.tamper, measured.version) == (("rpm1",), version)


def test_an_order_that_is_not_stored_when_the_vehicle_is_gone_was_never_given(measured: Inspection) -> None:
    measured.work(-1, 10.2)
    order = Decision(verdict=Verdict.SECONDARY, officer="O-1", reason=None, at_utc_us=0, seq=None)
    measured.give_order(order, measured.version, 11.0)
    measured.abort("vehicle_gone")
    assert measured.order is None
    measured.order_stored(order.model_copy(update={"seq": 7}))
    assert (measured.state, measured.order) == ("aborted", None)
    assert [decision.seq for decision in measured.decisions] == [7], "it is on record all the same"
