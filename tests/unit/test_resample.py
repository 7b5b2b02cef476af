"""Lines at any speed become columns of one pitch: lengths, mass and flags."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.radiograph.model import (
    D16_AIR,
    D16_NO_DATA,
    F64,
    INTERPOLATED,
    NO_DATA,
    SPEED_ASSUMED,
    STARVED,
    U8,
    U16,
    Columns,
    Mask,
    RadiographError,
)
from imaging.radiograph.resample import Resampler

PITCH_M = 0.005
ROWS = 6


def resampled(
    d16: U16, x_m: F64, end_m: float | None, flags: U8 | None = None, assumed: Mask | None = None
) -> tuple[U16, U8]:
    """All columns of these lines, given in blocks of 64."""
    resampler = Resampler(d16.shape[1], PITCH_M, max_columns=100_000)
    marks = np.zeros_like(d16, dtype=np.uint8) if flags is None else flags
    made = []
    for at in range(0, len(d16), 64):
        block = slice(at, at + 64)
        made.append(
            resampler.push(
                Columns(at, d16[block], marks[block]), x_m[block], None if assumed is None else assumed[block]
            )
        )
    made.append(resampler.close(end_m))
    parts = [part for part in made if part is not None]
    assert [part.first for part in parts] == [0, *np.cumsum([len(part.d16) for part in parts])[:-1]]
    assert resampler.columns == parts[-1].end
    return np.vstack([part.d16 for part in parts]), np.vstack([part.flags for part in parts])


def lines(count: int) -> U16:
    """Lines of which no two are alike."""
    return np.random.default_rng(7).integers(10_000, D16_AIR, (count, ROWS)).astype(np.uint16)


def test_lines_of_the_columns_own_pitch_are_the_columns() -> None:
    d16 = lines(200)
    made, flags = resampled(d16, np.arange(200) * PITCH_M, 200 * PITCH_M)
    assert np.array_equal(made, d16)
    assert not flags.any()


def test_a_line_of_two_pitches_is_two_columns_and_two_of_half_a_pitch_are_their_mean() -> None:
    d16 = lines(64)
    wide, _ = resampled(d16, np.arange(64) * 2 * PITCH_M, 128 * PITCH_M)
    assert np.array_equal(wide, np.repeat(d16, 2, axis=0))
    narrow, _ = resampled(d16, np.arange(64) * PITCH_M / 2, 32 * PITCH_M)
    mean = d16.reshape(32, 2, ROWS).astype(float).mean(axis=1)
    assert np.abs(narrow - mean).max() <= 0.51


@pytest.mark.parametrize("speed", ["even", "4 to 16 km/h", "stops", "rolls back"])
def test_the_mass_is_exact_at_any_speed(speed: str) -> None:
    n = 2_000
    step = {
        "even": np.full(n, 1.0),
        "4 to 16 km/h": np.linspace(0.25, 1.0, n),
        "stops": np.where(np.arange(n) // 300 % 2, 0.0, 1.0),
        "rolls back": np.where(np.arange(n) // 300 % 3 == 1, -0.5, 1.0),
    }[speed] * 0.0047
    d16, x_m = lines(n), np.concatenate(([0.0], np.cumsum(step)))
    made, _ = resampled(d16, x_m[:-1], float(x_m[-1]))
    way_m = np.diff(np.maximum.accumulate(x_m))
    wanted = way_m @ (D16_AIR - d16.astype(float))
    got = PITCH_M * (D16_AIR - made.astype(float)).sum(axis=0)
    assert got == pytest.approx(wanted, rel=1e-5)
    assert len(made) == pytest.approx(np.ceil(way_m.sum() / PITCH_M), abs=1)


def test_a_vehicle_that_stands_adds_no_column_and_none_of_its_flags() -> None:
    d16, flags = lines(300), np.zeros((300, ROWS), np.uint8)
    flags[100:200] = NO_DATA  # the beam was off meanwhile
    d16[100:200] = D16_NO_DATA
    step = np.full(300, PITCH_M)
    step[100:200] = 0
    x_m = np.concatenate(([0.0], np.cumsum(step)))
    made, marks = resampled(d16, x_m[:-1], float(x_m[-1]), flags)
    assert np.array_equal(made, np.delete(d16, np.s_[100:200], axis=0))
    assert not marks.any()


def test_flags_are_those_of_every_line_in_a_column() -> None:
    flags = np.zeros((4, ROWS), np.uint8)
    flags[1, 2] = STARVED
    _, marks = resampled(lines(4), np.arange(4) * 0.75 * PITCH_M, 3 * PITCH_M, flags)
    assert marks[:, 2].tolist() == [STARVED, STARVED, 0]
    assert not np.delete(marks, 2, axis=1).any()


def test_what_was_seen_in_part_is_of_the_part_that_was_seen() -> None:
    d16, flags = lines(3), np.zeros((3, ROWS), np.uint8)
    flags[1] = NO_DATA
    d16[1] = D16_NO_DATA
    half, marks = resampled(d16, np.array([0, 0.5, 2.0]) * PITCH_M, 3 * PITCH_M, flags)
    assert np.array_equal(half[0], d16[0])
    assert set(marks[0]) == {INTERPOLATED}
    assert set(half[1]) == {D16_NO_DATA}
    assert set(marks[1]) == {NO_DATA}
    assert np.array_equal(half[2], d16[2])
    assert not marks[2].any()


def test_a_detector_without_data_leaves_the_others_theirs() -> None:
    d16, flags = lines(130), np.zeros((130, ROWS), np.uint8)
    flags[:, 3], d16[:, 3] = NO_DATA, D16_NO_DATA
    made, marks = resampled(d16, np.arange(130) * PITCH_M, 130 * PITCH_M, flags)
    assert np.array_equal(made, d16)
    assert np.array_equal(marks, flags)


def test_the_last_column_counts_as_air_where_the_vehicle_was_gone() -> None:
    d16 = np.full((3, ROWS), 30_000, np.uint16)
    made, _ = resampled(d16, np.arange(3) * 0.9 * PITCH_M, 2.25 * PITCH_M)
    assert made[:, 0].tolist() == [30_000, 30_000, round(0.25 * 30_000 + 0.75 * D16_AIR)]


def test_without_an_end_the_last_line_is_as_long_as_a_column() -> None:
    made, _ = resampled(lines(10), np.arange(10) * PITCH_M, None)
    assert len(made) == 10


def test_an_assumed_speed_is_said_in_every_pixel_of_it() -> None:
    _, marks = resampled(lines(10), np.arange(10) * PITCH_M, None, assumed=np.arange(10) < 3)
    assert set(marks[:3].ravel()) == {SPEED_ASSUMED}
    assert not marks[3:].any()


def test_nothing_gives_nothing() -> None:
    resampler = Resampler(ROWS, PITCH_M, max_columns=10)
    assert resampler.close() is None
    assert resampler.push(Columns(0, lines(0), np.zeros((0, ROWS), np.uint8)), np.zeros(0)) is None


def test_an_encoder_that_runs_away_makes_no_endless_image() -> None:
    resampler = Resampler(ROWS, PITCH_M, max_columns=1_000)
    with pytest.raises(RadiographError, match="allowed are 1,000: check the encoder"):
        resampler.push(Columns(0, lines(2), np.zeros((2, ROWS), np.uint8)), np.array([0.0, 1e6]))
