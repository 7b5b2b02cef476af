"""The LUT chain with flags against copying the frame, and against a naive float64 chain, alternated."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from _row import Row

from imaging.radiograph.kernel import LutKernel
from imaging.radiograph.model import Calibration

LINES, DETECTORS, ROWS = 8192, 1024, 256
ROUNDS = 41
FRAMES = 8


def rows() -> list[Row]:
    rng = np.random.default_rng(1)
    calibration = Calibration(
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
    frame = (rng.poisson(400, (LINES, DETECTORS)) + 100).astype(np.uint16)
    ln_i0 = np.full(LINES, np.log(1000.0))
    kernels = [LutKernel(calibration, 4000, ROWS) for _ in range(2)]
    big = np.stack([frame] * FRAMES)  # 134 MB, walked through in turn: what comes next is in no cache

    def copy(turn: int) -> None:
        np.copyto(big[(turn + 1) % FRAMES], big[turn % FRAMES])

    def naive(turn: int) -> None:
        samples = big[turn % FRAMES]
        s = samples.astype(np.float64) - calibration.dark_mean
        x = (s + np.sqrt(s * s + 2 * (np.maximum(s, 0) + 4))) / 2
        a = ln_i0[:, None] + np.log(calibration.gain) - np.log(np.maximum(x, 1e-3))
        np.clip(np.rint(63487 - 4096 * a), 0, 65535).astype(np.uint16)
        (s < 10).astype(np.uint8) | ((samples >= 4000).astype(np.uint8) << 2)

    def half(turn: int, index: int) -> None:
        samples, start = big[turn % FRAMES], index * LINES // 2
        for first in range(start, start + LINES // 2, ROWS):
            kernels[index](samples[first : first + ROWS], ln_i0[first : first + ROWS])

    with ThreadPoolExecutor(2) as pool:

        def chain(turn: int) -> None:
            list(pool.map(half, (turn, turn), (0, 1)))

        chain(0)
        times: dict[str, list[float]] = {"copy": [], "chain": [], "naive": []}
        for turn in range(ROUNDS):
            times["copy"].append(_timed(copy, 3 * turn))
            times["chain"].append(_timed(chain, 3 * turn + 2))
            if turn % 10 == 0:
                times["naive"].append(_timed(naive, turn))
    copied, fast, slow = (statistics.median(times[name]) for name in ("copy", "chain", "naive"))
    return [
        Row("copy time over LUT chain with flags", copied / fast, "ratio", 0.18, True),
        Row("naive float64 over LUT chain with flags", slow / fast, "ratio", 10, True),
    ]


def _timed(work: Callable[[int], None], turn: int) -> float:
    start = time.perf_counter()
    work(turn)
    return time.perf_counter() - start
