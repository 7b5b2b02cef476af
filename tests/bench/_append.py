"""What an append costs: syncs by count, time against rows and queues that are as durable, CPU of the SQL."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import persistqueue
from _row import Row
from _store import ROUND_S, ROUNDS, control, draft, produce

from station.runtime.clock import SystemClock
from station.store import schema
from station.store.draft import encode
from station.store.journal import Store
from station.store.open import open_store
from station.store.ops import next_row

SLOW_SYNC_S = 0.003
"""A disk of this kind hides what else an append costs: more is expected then."""
SYNC_GOALS = {1: (1.02, 2.03), 16: (0.15, 0.30), 64: (0.05, 0.10)}
"""Syncs of the log, and of log and mark, for each record, by the number of producers."""
GROUP, GROUPS = 64, 60


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _syncs(Path(folder))
        yield from _against_others(Path(folder))
        yield _cpu()


def _open(folder: Path) -> Store:
    return open_store(folder, "BENCH", SystemClock(), consumers=[("c", True)])


def _syncs(folder: Path) -> Iterator[Row]:
    for producers, (log_goal, both_goal) in SYNC_GOALS.items():
        store = _open(folder / f"syncs{producers}")
        asyncio.run(produce(store, producers))
        records, stats = store.published, store.stats
        store.close()
        name = f"{producers} producer{'s' if producers > 1 else ''}"
        yield Row(f"log syncs per record, {name}", stats.commits / records, "1", log_goal)
        both = (stats.commits + stats.mark_syncs) / records
        yield Row(f"log and mark syncs per record, {name}", both, "1", both_goal)


def _against_others(folder: Path) -> Iterator[Row]:
    """Append against one raw durable row and mark at a time, and against a queue, alternated.

    The queue is persist-queue's ``SQLiteAckQueue``, the one whose items are acknowledged; it keeps SQLite's
    log with its default ``synchronous=FULL``, hence a put is as durable as our receipt. One thread puts: its
    lock lets no more than one at a time in, so that this is its best. It puts the same bytes and has no mark.
    """
    store, row = _open(folder / "s"), control(folder)
    put = _queue(folder / "queue")
    one, many, queued, row_s = [], [], [], []
    for _ in range(ROUNDS):
        raw = row()
        row_s.append(1 / raw)
        one.append(asyncio.run(produce(store, 1)) / raw)
        group = asyncio.run(produce(store, 64))
        many.append(group / row())
        queued.append(group / put())
    store.close()
    slow = statistics.median(row_s) / 2 >= SLOW_SYNC_S  # a row syncs twice
    yield Row("append over raw FULL row", statistics.median(one), "ratio", 0.9 if slow else 0.75, True)
    yield Row("64 producers over raw FULL rows", statistics.median(many), "ratio", 12 if slow else 4, True)
    yield Row("64 producers over persist-queue's put", statistics.median(queued), "ratio", 15, True)


def _queue(folder: Path) -> Callable[[], float]:
    """Return a function that puts into a fresh queue: items per second."""
    queue = persistqueue.SQLiteAckQueue(str(folder), multithreading=True)
    ((synchronous,),) = queue._putter.execute("pragma synchronous").fetchall()
    if synchronous < 2:
        raise RuntimeError("the queue does not sync its log at each put: it is no fair control")
    text = encode(draft(0), "BENCH").frame.body(bytes(16), 1).decode()

    def run() -> float:
        done, start_s = 0, time.perf_counter()
        while time.perf_counter() - start_s < ROUND_S:
            queue.put(text)
            done += 1
        return done / (time.perf_counter() - start_s)

    return run


def _cpu() -> Row:
    """CPU of the compiled SQL against the same statements by hand, without a disk, in groups."""
    encoded = [encode(draft(n), "BENCH") for n in range(GROUP)]
    by_hand = (
        "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        "UPDATE head SET seq = ?, hash = ?",
    )
    ours, theirs = _Table(schema.ADD_RECORD, schema.SET_HEAD), _Table(*by_hand)
    ratios = []
    for _ in range(GROUPS):
        epoch, seq, hash_, added = bytes(16), ours.seq, bytes(32), []
        for each in encoded:
            row = next_row(each, epoch, seq, hash_)
            seq, hash_ = row["seq"], row["hash"]
            added.append(row)
        end = {"seq": seq, "hash": hash_}
        mine = ours.write(added, end, seq)
        ratios.append(mine / theirs.write([tuple(r.values()) for r in added], tuple(end.values()), seq))
    return Row("CPU of compiled SQL over SQL by hand", statistics.median(ratios), "ratio", 1.3)


class _Table:
    """A journal's tables in memory, and two statements."""

    def __init__(self, add: str, head: str) -> None:
        self._add, self._head, self.seq = add, head, 0
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        for statement in schema.create_statements():
            self._connection.execute(statement)

    def write(self, added: list, end: object, seq: int) -> float:  # type: ignore[type-arg]  # both kinds
        """Write a group; return its seconds of CPU."""
        self.seq = seq
        start_s = time.thread_time()
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(self._add, added)
        self._connection.execute(self._head, end)  # type: ignore[arg-type]
        self._connection.execute("COMMIT")
        return time.thread_time() - start_s
