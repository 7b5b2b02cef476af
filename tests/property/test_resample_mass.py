"""Mass is conserved whatever the speed: any profile of travel, standing and rolling back included."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imaging.radiograph.model import D16_AIR, Columns
from imaging.radiograph.resample import Resampler

PITCH_M = 0.005
ROWS = 4
SPEEDS = st.lists(
    st.tuples(st.floats(-3.0, 4.0), st.integers(1, 150)), min_size=1, max_size=12
)  # pitches a line, and for how many lines


@given(SPEEDS, st.integers(0, 2**32 - 1))
def test_the_mass_of_a_vehicle_is_that_of_its_lines(speeds: list[tuple[float, int]], seed: int) -> None:
    step_m = np.concatenate([np.full(lines, speed * PITCH_M) for speed, lines in speeds])
    x_m = np.concatenate(([0.0], np.cumsum(step_m)))
    d16 = np.random.default_rng(seed).integers(8_000, D16_AIR, (step_m.size, ROWS)).astype(np.uint16)
    resampler = Resampler(ROWS, PITCH_M, max_columns=100_000)
    made = []
    for at in range(0, step_m.size, 64):
        block = slice(at, at + 64)
        columns = Columns(at, d16[block], np.zeros_like(d16[block], dtype=np.uint8))
        made.append(resampler.push(columns, x_m[:-1][block]))
    made.append(resampler.close(float(x_m[-1])))
    image = np.vstack([np.zeros((0, ROWS)), *[part.d16 for part in made if part is not None]])
    way_m = np.diff(np.maximum.accumulate(x_m))
    wanted = way_m @ (D16_AIR - d16.astype(float))
    got = PITCH_M * (D16_AIR - image).sum(axis=0)
    # Each column is rounded to a step of D16: half a step of each at the very most.
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=0.51 * PITCH_M * (len(image) + 1))
    assert abs(len(image) - way_m.sum() / PITCH_M) <= 1
