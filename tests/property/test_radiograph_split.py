"""However the wire cuts a scan, the image is the same, bit for bit."""

from functools import cache
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imaging.radiograph.model import LINE_MONITOR_VALID, Calibration
from imaging.radiograph.normalize import ScanChain
from tests.support.detector_column import Column, assemble, beam_on, steel

LINES = 330


@cache
def recording() -> tuple[Calibration, Column, np.ndarray, np.ndarray, np.ndarray]:
    column = Column(detectors=40, references=8, sigma=1.0, dark=30.2, seed=51)
    calibration = column.calibrate(1000, 2000)
    samples = np.concatenate([column.expose(t, 110) for t in (1.0, steel(60), 1.0)])
    flags = beam_on(LINES, LINE_MONITOR_VALID)
    flags[37], flags[200:203] = 0, 0
    monitor = column.rng.poisson(50_000, LINES).astype(np.uint32)
    return calibration, column, samples, flags, monitor


def image(cuts: list[int], gaps: set[int], *, overlap: int = 0, declare: bool = True):
    """Push the pieces between cuts; pieces whose index is in ``gaps`` are lost."""
    calibration, column, samples, flags, monitor = recording()
    chain = ScanChain(calibration, column.detectors, column.full_scale)
    columns = []
    edges = [0, *sorted(cuts), LINES]
    for i, (start, end) in enumerate(pairwise(edges)):
        if i in gaps:
            if declare or end == LINES:
                columns += chain.lost(start, end - start)
            continue
        begin = max(0, start - overlap) if (i - 1) not in gaps else start
        columns += chain.push(begin, samples[begin:end], flags[begin:end], monitor[begin:end])
        assert all(c.first % 64 == 0 and c.d16.shape[0] == 64 for c in columns)
    columns += chain.close()
    assert [c.first for c in columns] == [64 * i for i in range(len(columns))]
    assert columns[-1].end == LINES
    return assemble(columns)


cut_lists = st.lists(st.integers(0, LINES), max_size=60)


@given(cuts=cut_lists, overlap=st.integers(0, 5))
def test_any_split_and_any_repetition_give_the_same_image(cuts: list[int], overlap: int) -> None:
    whole, split = image([], set()), image(cuts, set(), overlap=overlap)
    np.testing.assert_array_equal(whole[0], split[0])
    np.testing.assert_array_equal(whole[1], split[1])


@given(cuts=st.lists(st.integers(0, LINES), max_size=12), gaps=st.sets(st.integers(0, 12), max_size=4))
def test_lost_lines_are_the_same_declared_or_not(cuts: list[int], gaps: set[int]) -> None:
    declared, silent = image(cuts, gaps), image(cuts, gaps, declare=False)
    np.testing.assert_array_equal(declared[0], silent[0])
    np.testing.assert_array_equal(declared[1], silent[1])


def test_line_by_line() -> None:
    np.testing.assert_array_equal(image([], set())[0], image(list(range(LINES)), set())[0])
