"""A train in bounded memory: one image for each car, and a hard cut with an overlap."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.radiograph.cars import HARD_COLUMNS, OVERLAP_COLUMNS, CarCutter, Cut
from imaging.radiograph.model import D16_AIR, D16_NO_DATA, NO_DATA, U8, U16, Columns
from tests.support.detector_column import Column

PIXEL_M = 0.01
CALIBRATION = Column().calibrate(air_lines=2_000)
ROWS = 200
COUPLER_ROWS = 30


def picture(*stretches: tuple[int, int]) -> U16:
    """Columns: so many of them with so many rows of steel."""
    d16 = np.full((sum(columns for columns, _ in stretches), ROWS), D16_AIR, np.uint16)
    at = 0
    for columns, rows in stretches:
        d16[at : at + columns, ROWS - rows :] = 40_000
        at += columns
    return d16


def cuts(
    d16: U16, flags: U8 | None = None, *, at_gaps: bool = True, split: int = 64
) -> list[tuple[int, int]]:
    """After how many columns each image ends, and its overlap; that no column is lost is checked."""
    marks = np.zeros(d16.shape, np.uint8) if flags is None else flags
    cutter = CarCutter(CALIBRATION, PIXEL_M, at_gaps=at_gaps)
    found, seen = [], 0
    for at in range(0, len(d16), split):
        for part in cutter.push(Columns(at, d16[at : at + split], marks[at : at + split])):
            if isinstance(part, Cut):
                found.append((seen, part.overlap))
            else:
                assert part.first == seen
                np.testing.assert_array_equal(part.d16, d16[seen : part.end])
                seen = part.end
    assert seen == len(d16)
    return found


TRAIN = ((50, 0), (400, 150), (80, COUPLER_ROWS), (400, 150), (80, COUPLER_ROWS), (400, 60), (50, 0))


@pytest.mark.parametrize("split", [1, 7, 64, 10_000])
def test_each_car_is_an_image_of_its_own_however_the_columns_come(split: int) -> None:
    assert cuts(picture(*TRAIN), split=split) == [(460, 0), (940, 0), (1420, 0)]


def test_a_truck_is_one_image_whatever_gaps_it_has() -> None:
    assert cuts(picture(*TRAIN), at_gaps=False) == []


def test_a_gap_that_is_too_narrow_and_a_car_that_is_too_short_are_none() -> None:
    assert cuts(picture((300, 150), (9, 0), (300, 150))) == []
    assert cuts(picture((150, 150), (80, 0), (300, 150), (20, 0))) == [(540, 0)]


def test_columns_without_data_are_no_gap() -> None:
    d16 = picture((300, 150), (80, 0), (300, 150))
    flags = np.zeros(d16.shape, np.uint8)
    d16[300:380], flags[300:380] = D16_NO_DATA, NO_DATA
    assert cuts(d16, flags) == []


def test_what_never_ends_is_cut_hard_with_an_overlap() -> None:
    step = HARD_COLUMNS - OVERLAP_COLUMNS
    wanted = [(HARD_COLUMNS, OVERLAP_COLUMNS), (HARD_COLUMNS + step, OVERLAP_COLUMNS)]
    assert cuts(picture((HARD_COLUMNS + step + 10, 150)), at_gaps=False, split=1_000) == wanted
