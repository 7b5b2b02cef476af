"""From lines with encoder places to columns: gaps, doubted steps, unknown direction, no encoder at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imaging.radiograph.chain import MOST_BEHIND, MOST_UNDECIDED, ImageChain
from imaging.radiograph.model import NO_DATA, SPEED_ASSUMED, Columns
from imaging.radiograph.travel import Travel
from tests.support.detector_column import Column, beam_on, steel

PITCH_M = 0.005
PERIOD_NS = 1_000_000
COLUMN = Column()
CALIBRATION = COLUMN.calibrate(air_lines=2_000)
LINES = 640
SAMPLES = COLUMN.expose(steel(30), LINES)


def made_of(
    chain: ImageChain, first: int, last: int, x_m: Any, doubted: Any = None, split: int = 50
) -> list[Columns]:
    """The columns of lines ``first`` to ``last``, of which line i is at ``x_m[i]``."""
    columns: list[Columns] = []
    for at in range(first, last, split):
        part = slice(at, min(at + split, last))
        n = part.stop - at
        columns += chain.push(
            at,
            SAMPLES[part],
            beam_on(n),
            None,
            np.arange(at, part.stop, dtype=np.int64) * PERIOD_NS,
            None if x_m is None else x_m[part],
            np.zeros(n, np.bool_) if doubted is None else doubted[part],
        )
    return columns


def chain(**options: Any) -> ImageChain:
    return ImageChain(
        CALIBRATION, COLUMN.detectors, COLUMN.full_scale, pitch_m=PITCH_M, max_columns=20_000, **options
    )


def whole(columns: list[Columns]) -> tuple[Any, Any]:
    return np.vstack([c.d16 for c in columns]), np.vstack([c.flags for c in columns])


def test_any_split_gives_the_same_columns() -> None:
    x_m = np.cumsum(np.linspace(0.001, 0.009, LINES))
    doubted = np.isin(np.arange(LINES), (0, 63, 64, 65, 300))
    one, other = chain(), chain()
    first = made_of(one, 0, LINES, x_m, doubted, split=LINES) + one.close()
    second = made_of(other, 0, LINES, x_m, doubted, split=7) + other.close()
    for a, b in zip(whole(first), whole(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_lost_lines_lie_between_their_neighbours_and_have_no_data() -> None:
    x_m = np.arange(LINES) * PITCH_M
    work = chain()
    columns = made_of(work, 0, 200, x_m)
    work.lost(200, 40)
    assert work.next_line == 240
    columns += made_of(work, 240, LINES, x_m) + work.close()
    d16, flags = whole(columns)
    assert len(d16) == LINES
    assert work.lines_lost == 40
    assert np.flatnonzero((flags & NO_DATA).all(axis=1)).tolist() == list(range(200, 240))
    assert (flags[200:240] & SPEED_ASSUMED).all()
    other = chain()
    unbroken, _ = whole(made_of(other, 0, LINES, x_m) + other.close())
    apart = np.delete(d16.astype(int) - unbroken, np.s_[200:240], 0)
    assert np.abs(apart).max() <= 1, "the brightness is of fewer lines, all else is the same"


def test_lines_lost_before_the_first_lie_before_it() -> None:
    work = chain()
    columns = made_of(work, 30, LINES, np.arange(LINES) * PITCH_M) + work.close()
    _, flags = whole(columns)
    assert len(flags) == LINES
    assert np.flatnonzero((flags & NO_DATA).all(axis=1)).tolist() == list(range(30))


@pytest.mark.parametrize("missing", [25, 1_000_000])
def test_lines_missing_at_the_end_are_counted_and_some_of_them_drawn(missing: int) -> None:
    work = chain()
    columns = made_of(work, 0, LINES, np.arange(LINES) * PITCH_M) + work.close(LINES + missing)
    _, flags = whole(columns)
    assert work.lines_lost == missing
    assert (flags[LINES:] & NO_DATA).all()
    assert len(flags) == LINES + min(missing, MOST_BEHIND)


def test_lines_seen_before_are_dropped() -> None:
    x_m = np.arange(LINES) * PITCH_M
    work = chain()
    columns = made_of(work, 0, 300, x_m)
    columns += made_of(work, 100, 250, x_m)
    columns += made_of(work, 250, LINES, x_m) + work.close()
    other = chain()
    np.testing.assert_array_equal(whole(columns)[0], whole(made_of(other, 0, LINES, x_m) + other.close())[0])


def test_a_step_that_is_not_believed_is_as_long_as_the_speed_before_says() -> None:
    """An encoder that jumps by ten metres: 5 mm a millisecond is what was measured until then."""
    x_m = np.arange(LINES) * PITCH_M
    x_m[600:] += 10.0
    doubted = np.arange(LINES) == 600
    work = chain(speed_mps=5.0)
    _, flags = whole(made_of(work, 0, LINES, x_m, doubted) + work.close())
    assert len(flags) == pytest.approx(LINES, abs=1)
    assert 1 <= np.count_nonzero((flags & SPEED_ASSUMED).any(axis=1)) <= 2


def test_without_an_encoder_the_speed_of_the_portal_counts_and_without_that_nothing_does() -> None:
    by_portal, by_nothing = chain(speed_mps=10.0), chain()
    _, flags = whole(made_of(by_portal, 0, LINES, None) + by_portal.close())
    assert len(flags) == pytest.approx(2 * LINES, abs=2)
    assert (flags[1:-1] & SPEED_ASSUMED).all()
    assert not by_portal.guessed
    columns = made_of(by_nothing, 0, LINES, None) + by_nothing.close()
    assert len(whole(columns)[0]) == LINES
    assert by_nothing.guessed


@pytest.mark.parametrize("sign", [1, -1])
def test_an_unknown_direction_is_that_of_the_first_200_mm(sign: int) -> None:
    """First it rolls 50 mm the other way."""
    way = np.concatenate((np.arange(0, -10, -1), np.arange(-10, LINES - 20))) * PITCH_M
    work = chain(directed=False)
    early = made_of(work, 0, 40, sign * way)
    assert early == []
    d16, _ = whole(made_of(work, 40, LINES, sign * way) + work.close())
    known = chain()
    straight, _ = whole(made_of(known, 0, LINES, way) + known.close())
    np.testing.assert_array_equal(d16, straight)


def test_a_vehicle_that_stands_before_its_direction_is_known_goes_forward() -> None:
    still = np.zeros(LINES)
    work = chain(directed=False)
    for again in range(MOST_UNDECIDED // LINES + 1):
        work.push(
            again * LINES, SAMPLES, beam_on(LINES), None, np.arange(LINES) * PERIOD_NS, still, still > 0
        )
    later = np.arange(LINES) * PITCH_M
    start = (MOST_UNDECIDED // LINES + 1) * LINES
    columns = work.push(start, SAMPLES, beam_on(LINES), None, np.arange(LINES) * PERIOD_NS, later, still > 0)
    assert sum(len(part.d16) for part in columns) > LINES - 65


def test_a_speed_is_measured_where_every_step_was() -> None:
    travel = Travel(PITCH_M)
    t_ns, x_m = np.arange(1_000) * PERIOD_NS, np.arange(1_000) * 0.002
    for at in range(0, 1_000, 100):
        travel.places(t_ns[at : at + 100], x_m[at : at + 100], np.zeros(100, np.bool_))
    assert travel.speed_mps == pytest.approx(2.0)
    way_m, assumed = travel.places(1_000 * PERIOD_NS + t_ns[:10], None, np.zeros(10, np.bool_))
    assert assumed.all()
    assert np.diff(way_m) == pytest.approx(0.002)
    assert travel.speed_mps == pytest.approx(2.0)
