"""What a portal's stream costs: true wire bytes through codec, stamps, state machine and every test."""

from __future__ import annotations

import statistics
import tempfile
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import _scale
import numpy as np
from _row import Row

from drivers.rpm.tsa.portal import INTERVAL_S
from imaging.radiation.gross import GrossConfig, GrossLimit, GrossRun, window_false_alarm
from tests.support.lane_places import APPROACH_S, CLEAN
from tests.support.portal_stream import PortalStream, passage

STREAMS, OCCUPIED_S = 50, 20.0
ROUNDS = 5
AGED = 100_000
TRUCK = CLEAN.model_copy(update={"length_m": 20.0, "speed_mps": 1.0})


def rows() -> Iterator[Row]:
    yield _streams()
    yield _exact_sum()
    yield _hot_path()
    yield from _memory()
    yield _aged_database()
    yield _aged_stream()


def _vacant() -> PortalStream:
    stream = PortalStream()
    for i in range(20):
        stream.hear(b"GB,000612,000588,000604,000596\r\nNB,000001,000001,000001,000000\r\n", 5.0 * i)
    stream.portal.effects.clear()
    return stream


def _wire() -> list[bytes]:
    """What a portal sends in each interval while a truck stands in it."""
    sent = passage(TRUCK, seconds=APPROACH_S + OCCUPIED_S + 1)
    return [data for t_s, data in sent if t_s > APPROACH_S + 0.5][: round(OCCUPIED_S / INTERVAL_S)]


def _cpu_s(work: Callable[[], object]) -> float:
    """Return the median of what it takes of one core."""
    taken_s = []
    for _ in range(ROUNDS):
        start_s = time.process_time()
        work()
        taken_s.append(time.process_time() - start_s)
    return statistics.median(taken_s)


def _streams() -> Row:
    wire, streams = _wire(), [_vacant() for _ in range(STREAMS)]
    t_s = 100.0

    def work() -> None:
        nonlocal t_s
        for data in wire:
            t_s += INTERVAL_S
            for stream in streams:
                stream.hear(data, t_s)

    count = STREAMS * OCCUPIED_S / _cpu_s(work)
    return Row("occupied streams at 5 Hz for one core", count, "streams", 1000, True)


def _exact_sum() -> Row:
    spent_s = _cpu_s(lambda: [window_false_alarm(3100, 20)(4.774) for _ in range(50)]) / 50
    return Row("one exact false alarm probability", spent_s * 1000, "ms", 0.5)


def _hot_path() -> Row:
    """The sliding test of one record, against the least that numpy can do: the sum of a ring above k."""
    totals = np.random.default_rng(1).poisson(620, 20_000).tolist()
    config, limit = GrossConfig(), GrossLimit(10**9, 4.8, 3100.0, 20.0, 2e-6)

    def ours() -> None:
        run = GrossRun(config, limit)
        for i, total in enumerate(totals):
            run.push(total, 0.2 * i)

    def plain() -> None:
        ring, k, crossed = np.zeros(5, dtype=np.int64), 10**9, 0
        for i, total in enumerate(totals):
            ring[i % 5] = total
            crossed += ring.sum() > k

    ratio = statistics.median(_cpu_s(ours) / _cpu_s(plain) for _ in range(ROUNDS))
    return Row("hot path of a record over a numpy loop sum > k", ratio, "ratio", 1.0)


def _memory() -> Iterator[Row]:
    wire = _wire()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    streams = [_vacant() for _ in range(STREAMS)]
    vacant, _ = tracemalloc.get_traced_memory()
    for i, data in enumerate(wire):
        for stream in streams:
            stream.hear(data, 100 + i * INTERVAL_S)
            stream.readings.clear()
    occupied, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    yield Row("memory of an open stream, vacant", (vacant - before) / STREAMS / 1024, "KiB", 64)
    yield Row("memory of an open stream, 20 s occupied", (occupied - before) / STREAMS / 1024, "KiB", 128)


def _aged_database() -> Row:
    """Each occupancy is one record of the journal; the stream itself asks it nothing."""
    with tempfile.TemporaryDirectory() as folder:
        stores = []
        for count in (_scale.FEW, AGED):
            state = Path(folder) / str(count)
            _scale.fill(state, count)
            stores.append(_scale._open(state))
        few, aged = stores
        pairs = [(_scale._p50(_scale._append, few), _scale._p50(_scale._append, aged)) for _ in range(5)]
        for store in stores:
            store.close()
    ratio = statistics.median(late_s / early_s for early_s, late_s in pairs)
    return Row(f"record of an occupancy, {AGED:,} rows over {_scale.FEW:,}", ratio, "ratio", 1.2)


def _aged_stream() -> Row:
    """A passage after a thousand others over one of the first."""
    wire, stream = _wire()[:40], _vacant()
    stream.portal.effects = deque(maxlen=1)  # type: ignore[assignment]  # a station keeps none either
    taken_s = []
    for n in range(1_000):
        start_s, t_s = time.process_time(), 200.0 + 20 * n
        for i, data in enumerate(wire):
            stream.hear(data, t_s + i * INTERVAL_S)
        stream.hear(f"GX,{n + 1:06d},004741,000000,000000\r\n".encode(), t_s + 8.2)
        stream.portal.tick(t_s + 10)
        taken_s.append(time.process_time() - start_s)
        stream.readings.clear()
    ratio = statistics.median(taken_s[-100:]) / statistics.median(taken_s[:100])
    return Row("the thousandth passage over the first", ratio, "ratio", 1.1)
