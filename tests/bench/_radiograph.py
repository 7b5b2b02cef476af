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
ROUNDS = 15


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
    big = np.ones((8, LINES, DETECTORS), dtype=np.uint16)  # 134 MB, every page touched
    turn = iter(range(10**6))

    def copy() -> None:
        np.copyto(big[next(turn) % 8], frame)

    def half(index: int) -> None:
        start = index * LINES // 2
        for first in range(start, start + LINES // 2, ROWS):
            kernels[index](frame[first : first + ROWS], ln_i0[first : first + ROWS])

    def naive() -> None:
        s = frame.astype(np.float64) - calibration.dark_mean
        x = (s + np.sqrt(s * s + 2 * (np.maximum(s, 0) + 4))) / 2
        a = ln_i0[:, None] + np.log(calibration.gain) - np.log(np.maximum(x, 1e-3))
        np.clip(np.rint(63487 - 4096 * a), 0, 65535).astype(np.uint16)
        (s < 10).astype(np.uint8) | ((frame >= 4000).astype(np.uint8) << 2)

    with ThreadPoolExecutor(2) as pool:

        def chain() -> None:
            list(pool.map(half, (0, 1)))

        chain()
        times: dict[str, list[float]] = {"copy": [], "chain": []}
        for _ in range(ROUNDS):
            times["copy"].append(_timed(copy))
            times["chain"].append(_timed(chain))
    slow = statistics.median(_timed(naive) for _ in range(3))
    fast = statistics.median(times["chain"])
    return [
        Row(
            "copy time over LUT chain with flags",
            statistics.median(times["copy"]) / fast,
            "ratio",
            0.18,
            True,
        ),
        Row("naive float64 over LUT chain with flags", slow / fast, "ratio", 10, True),
    ]


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
