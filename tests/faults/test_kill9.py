"""kill -9 at any moment: nothing that was confirmed is missing, doubled or out of place."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import shutil
import struct
import time
from concurrent.futures import Future
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from station.store.chain import rows
from station.store.draft import Receipt
from station.store.mark import read_mark
from station.store.ops import Ack
from station.store.schema import RECORDS_AFTER
from station.store.startup import open_journal
from station.store.verify import verify
from tests.support.journal import draft, open_small, place_of

FRESH_EVERY = 100
"""Kills after which the journal begins anew: all of it is read after each."""
REPORT = struct.Struct("<qqq")
"""Round, number of the draft in it, sequence number; so short that the pipe never tears it."""


def append_for_ever(state: str, round_: int, report: Connection) -> None:
    """Append from now on and report each receipt; somebody will kill this process."""
    store = open_small(Path(state))
    number = 0

    def append() -> None:
        nonlocal number
        mine, number = number, number + 1

        def done(future: Future[Receipt]) -> None:
            report.send_bytes(REPORT.pack(round_, mine, future.result().last))
            if mine % 20 == 0:
                store._submitted(lambda: Ack("central", store.epoch, future.result().last))

        store.append_soon([draft(f"round{round_}", number=mine, text="x" * (mine % 1500))]).add_done_callback(
            done
        )

    while True:
        for _ in range(number % 9 + 1):
            append()
        time.sleep(0.0005)


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that start in milliseconds, since a server has imported everything for them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.test_kill9", "tests.support.journal"])
    return context


@pytest.mark.fault("F1")
def test_confirmed_records_survive_kills(tmp_path: Path, processes: ForkServerContext, soak: bool) -> None:
    state = tmp_path / "state"
    chance = random.Random(9)
    confirmed: dict[int, tuple[int, int]] = {}
    epoch, total = b"", 0
    for round_ in range(2000 if soak else 25):
        fresh = round_ % FRESH_EVERY == 0
        if fresh:
            shutil.rmtree(state, ignore_errors=True)
            confirmed, epoch = {}, b""
        received, sent = processes.Pipe(duplex=False)
        child = processes.Process(target=append_for_ever, args=(str(state), round_, sent))
        child.start()
        sent.close()
        told = []
        if fresh or chance.random() < 0.7:
            told.append(received.recv_bytes())  # it works: from now on any moment will do
            time.sleep(chance.uniform(0.005, 0.150))
        else:
            time.sleep(chance.uniform(0, 0.050))  # any moment of its start, too
        child.kill()
        with contextlib.suppress(EOFError):
            while True:
                told.append(received.recv_bytes())
        received.close()
        child.join()
        child.close()
        for n, number, seq in map(REPORT.unpack, told):
            assert seq not in confirmed
            confirmed[seq] = (n, number)
        total += len(told)
        epoch = check(state, confirmed, epoch)
    print(f"{round_ + 1} kills, {total} confirmed, 0 lost")
    assert total > 1000


def check(state: Path, confirmed: dict[int, tuple[int, int]], epoch: bytes) -> bytes:
    """Open what the killed process left; return its epoch."""
    last = max(confirmed)
    mark = read_mark(state / "mark.bin")
    assert mark is not None
    assert mark.seq >= last
    journal = open_journal(place_of(state))
    try:
        assert journal.before is None
        assert journal.epoch == (epoch or journal.epoch)
        assert max(journal.acked.values()) <= mark.seq <= journal.seq
        span = {"after": 0, "upto": journal.seq, "count": journal.seq + 1}
        stored = rows(journal.connection.execute(RECORDS_AFTER, span))
    finally:
        journal.close()
    assert [row.seq for row in stored] == list(range(1, journal.seq + 1))  # no gap
    found = {row.seq: (int(row.subject[5:]), row.event()["data"]["number"]) for row in stored}
    assert len(set(found.values())) == len(found)  # nothing twice
    assert confirmed.items() <= found.items()  # nothing missing
    report = verify(state)
    assert report.ok, report.faults
    return journal.epoch
