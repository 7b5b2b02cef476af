"""The chains against copying the frame, and against a naive float64 chain, alternated in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from _row import Row

from imaging.radiograph.kernel import FloatKernel, LutKernel
from imaging.radiograph.model import Calibration, Columns
from imaging.radiograph.resample import Resampler

LINES, DETECTORS, ROWS = 8192, 1024, 256
ROUNDS = 41
FRAMES = 8
LN_I0 = np.full(LINES, np.log(1000.0))
WAY_M = np.arange(LINES) * 0.00515
"""Lines of 5.15 mm for columns of 5 mm."""


def calibration() -> Calibration:
    rng = np.random.default_rng(1)
    return Calibration(
        dark_mean=rng.normal(100, 5, DETECTORS),
        dark_sigma=np.full(DETECTORS, 2.0),
        gain=rng.normal(1, 0.05, DETECTORS),
        dead=np.zeros(DETECTORS, dtype=bool),
        level=1000.0,
        units_per_quantum=1.0,
        reference_detectors=tuple(range(16)),
        pulsed=False,
        dark_lines=2000,
        air_lines=20000,
    )


def frame() -> np.ndarray:
    return (np.random.default_rng(1).poisson(400, (LINES, DETECTORS)) + 100).astype(np.uint16)


def rows() -> list[Row]:
    """Return what the lane's bench tells of it."""
    return [row for row in all_rows() if "with flags" in row.figure and "float chain" not in row.figure]


def all_rows() -> list[Row]:
    known = calibration()
    big = np.stack([frame()] * FRAMES)  # 134 MB, walked through in turn: what comes next is in no cache
    lut = [LutKernel(known, 4000, ROWS) for _ in range(2)]
    float32 = [FloatKernel(known, 4000, ROWS) for _ in range(2)]

    def copy(turn: int) -> None:
        np.copyto(big[(turn + 1) % FRAMES], big[turn % FRAMES])

    def naive(turn: int) -> None:
        samples = big[turn % FRAMES]
        s = samples.astype(np.float64) - known.dark_mean
        x = (s + np.sqrt(s * s + 2 * (np.maximum(s, 0) + 4))) / 2
        a = LN_I0[:, None] + np.log(known.gain) - np.log(np.maximum(x, 1e-3))
        np.clip(np.rint(63487 - 4096 * a), 0, 65535).astype(np.uint16)
        (s < 10).astype(np.uint8) | ((samples >= 4000).astype(np.uint8) << 2)

    def of(kernel: LutKernel | FloatKernel, turn: int, index: int, resampler: Resampler | None) -> None:
        samples, start = big[turn % FRAMES], index * LINES // 2
        for first in range(start, start + LINES // 2, ROWS):
            block = slice(first, first + ROWS)
            d16, flags = kernel(samples[block], LN_I0[block])
            if resampler is not None:
                resampler.push(Columns(first, d16, flags), WAY_M[block])

    with ThreadPoolExecutor(2) as pool:

        def both(kernels: list[LutKernel] | list[FloatKernel], resampled: bool) -> Callable[[int], None]:
            def work(turn: int) -> None:
                made = [
                    Resampler(DETECTORS, 0.005, max_columns=20_000) if resampled else None for _ in range(2)
                ]
                list(pool.map(of, kernels, (turn, turn), (0, 1), made))

            return work

        works = {
            "copy": copy,
            "LUT chain with flags": both(lut, False),
            "float chain with flags": both(float32, False),
            "LUT chain with flags and resampling": both(lut, True),
        }
        times: dict[str, list[float]] = {name: [] for name in (*works, "naive")}
        for turn in range(ROUNDS):
            for step, (name, work) in enumerate(works.items()):
                if turn:  # the first of all warms up
                    times[name].append(_timed(work, len(works) * turn + step))
                else:
                    work(step)
            if turn % 10 == 1:
                times["naive"].append(_timed(naive, turn))
    took = {name: statistics.median(each) for name, each in times.items()}
    goals = dict(zip(list(works)[1:], (0.18, 0.08, 0.07), strict=True))
    ratios = [
        Row(f"copy time over {name}", took["copy"] / took[name], "ratio", goal, True)
        for name, goal in goals.items()
    ]
    faster = took["naive"] / took["LUT chain with flags"]
    return [*ratios, Row("naive float64 over LUT chain with flags", faster, "ratio", 10, True)]


def _timed(work: Callable[[int], None], turn: int) -> float:
    start = time.perf_counter()
    work(turn)
    return time.perf_counter() - start
