"""Group commit of 64 producers against one durable row at a time with the same mark, alternated."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _row import Row

from station.runtime.clock import SystemClock
from station.store.draft import Draft
from station.store.journal import Store
from station.store.open import open_store

PRODUCERS, ROUNDS, ROUND_S = 64, 9, 1.0


def draft(number: int) -> Draft:
    data = {"number": number, "simulated": False, "text": "x" * 700}
    return Draft("carril.bench.written", "lane", 3, 0, 1_795_000_000_000_000, data, "bench.written:1")


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "s", "BENCH", SystemClock(), consumers=[("c", True)])
        row = control(Path(folder))
        ratios = []
        for _ in range(ROUNDS):
            group = asyncio.run(produce(store, PRODUCERS))
            ratios.append(group / row())
        store.close()
    return [Row("64 producers over raw FULL rows", statistics.median(ratios), "ratio", 4, True)]


async def produce(store: Store, producers: int) -> float:
    """Return records per second of so many producers, each waiting for its own receipt."""
    done = 0
    until_s = time.perf_counter() + ROUND_S

    async def one(number: int) -> None:
        nonlocal done
        while time.perf_counter() < until_s:
            await store.append([draft(number)])
            done += 1

    start_s = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(producers)))
    return done / (time.perf_counter() - start_s)


def control(folder: Path) -> Callable[[], float]:
    """Return a function that writes raw rows (WAL, FULL, a synced 4 KiB mark): rows per second."""
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("create table r (seq integer primary key, body text)")
    mark = os.open(folder / "mark", os.O_RDWR | os.O_CREAT)

    def run() -> float:
        done, start_s = 0, time.perf_counter()
        while time.perf_counter() - start_s < ROUND_S:
            connection.execute("insert into r (body) values (?)", ("x" * 1000,))
            os.pwrite(mark, b"m" * 4096, 0)
            os.fdatasync(mark)
            done += 1
        return done / (time.perf_counter() - start_s)

    return run
