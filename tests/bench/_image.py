"""The whole image chain: how fast, how late after the last line, how much memory for a train."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _radiograph import DETECTORS, LINES, calibration, frame
from _row import Row, percentile

from imaging.radiograph.cars import CarCutter, Cut
from imaging.radiograph.chain import ImageChain
from imaging.radiograph.model import D16_NO_DATA, Columns
from imaging.radiograph.render import preview_jpeg

PITCH_M = 0.005
PERIOD_NS = 1_125_000
"""889 lines a second: 16 km/h at 5 mm."""
FIELD_LINES_PER_S = 889
SCANS = 25
BLOCK = 64
TRAIN_LINES = 400_000
CAR_LINES = 4_032


def rows() -> Iterator[Row]:
    samples = frame()
    rates, last_ms, stored_ms = [], [], []
    for _ in range(SCANS):
        began_s = time.perf_counter()
        image, late_s = scanned(samples)
        rates.append(LINES / (time.perf_counter() - began_s))
        last_ms.append(1e3 * late_s)
        stored_ms.append(1e3 * (late_s + _stored_s(image)))
    needed = percentile(rates, 0.5) / FIELD_LINES_PER_S
    yield Row("lines a second of one thread over those of 16 km/h", needed, "times", 100, True)
    yield Row("last line to calibrated image, p99", percentile(last_ms, 0.99), "ms", 2)
    yield Row("last line to stored JPEG, 8,192 columns, p99", percentile(stored_ms, 0.99), "ms", 40)
    yield Row("event loop's lag beside a scan at full speed, p99", asyncio.run(_lag_ms(samples)), "ms", 20)
    yield Row("memory for a train of 400,000 lines", _train_mb(), "MB", 300)


def scanned(samples: np.ndarray) -> tuple[list[Columns], float]:
    """Run a whole scan; return its columns and how long the last block and the end took."""
    chain = ImageChain(calibration(), DETECTORS, 4000, pitch_m=PITCH_M, max_columns=20_000)
    flags = np.ones(BLOCK, np.uint16)
    sure = np.zeros(BLOCK, np.bool_)
    m_per_ns = 1.03 * PITCH_M / PERIOD_NS
    made: list[Columns] = []
    late_s = 0.0
    for at in range(0, len(samples), BLOCK):
        t_ns = np.arange(at, at + BLOCK) * PERIOD_NS
        began_s = time.perf_counter()
        made += chain.push(at, samples[at : at + BLOCK], flags, None, t_ns, t_ns * m_per_ns, sure)
        late_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    made += chain.close(len(samples))
    return made, late_s + time.perf_counter() - began_s


def _stored_s(image: list[Columns]) -> float:
    d16 = np.concatenate([part.d16 for part in image])
    flags = np.concatenate([part.flags for part in image])
    with tempfile.TemporaryFile() as file:
        began_s = time.perf_counter()
        file.write(preview_jpeg(d16, flags))
        file.flush()
        os.fdatasync(file.fileno())
        return time.perf_counter() - began_s


async def _lag_ms(samples: np.ndarray) -> float:
    """Ask the loop each millisecond while a thread works on scans: how late is it?"""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            scanned(samples)

    thread = threading.Thread(target=work)
    thread.start()
    late_ms = []
    ends_s = time.perf_counter() + 5
    while (now_s := time.perf_counter()) < ends_s:
        await asyncio.sleep(0.001)
        late_ms.append(1e3 * (time.perf_counter() - now_s - 0.001))
    stop.set()
    await asyncio.to_thread(thread.join)
    return percentile(late_ms, 0.99)


def _train_mb() -> float:
    """Let a process of its own scan a train; its peak memory tells."""
    command = [sys.executable, __file__]
    path = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent)])
    run = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, check=True)
    return float(run.stdout)


def _train() -> float:
    """Scan 400,000 lines, keep one car at a time; return the peak of resident memory in MB."""
    rng = np.random.default_rng(2)
    car = (rng.poisson(400, (CAR_LINES, DETECTORS)) + 100).astype(np.uint16)
    car[:64] = rng.poisson(1000, (64, DETECTORS)) + 100
    car[:, :16] = rng.poisson(1000, (CAR_LINES, 16)) + 100  # the references see air
    chain = ImageChain(calibration(), DETECTORS, 4000, pitch_m=PITCH_M, max_columns=TRAIN_LINES + 1)
    cutter = CarCutter(calibration(), PITCH_M, at_gaps=True)
    image = np.full((17_000, DETECTORS), D16_NO_DATA, np.uint16)
    width = cars = 0
    flags, sure = np.ones(BLOCK, np.uint16), np.zeros(BLOCK, np.bool_)
    for at in range(0, TRAIN_LINES, BLOCK):
        t_ns = np.arange(at, at + BLOCK) * PERIOD_NS
        part = car[at % CAR_LINES : at % CAR_LINES + BLOCK]
        for columns in chain.push(at, part, flags, None, t_ns, t_ns * (PITCH_M / PERIOD_NS), sure):
            for piece in cutter.push(columns):
                if isinstance(piece, Cut):
                    preview_jpeg(image[:width], np.zeros((width, DETECTORS), np.uint8))
                    cars, width = cars + 1, 0
                else:
                    image[width : width + len(piece.d16)] = piece.d16
                    width += len(piece.d16)
    if cars < TRAIN_LINES // CAR_LINES - 1:
        raise RuntimeError(f"the train has {cars} cars")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(_train())
