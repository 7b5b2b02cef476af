"""What callers see of a slow, full or broken disk and of a writer that fails: the truth, and soon."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from station.store import writer as writer_module
from station.store.draft import Idem, Receipt
from station.store.errors import (
    NotStored,
    Repeated,
    StoreBusy,
    StoreError,
    StoreUnavailable,
    Unknown,
)
from station.store.feed import read_alarms, read_page, read_record
from station.store.journal import Store
from station.store.ops import Ack
from station.store.search import find, find_one
from station.store.wal import Wal
from station.store.writer import State, Writer
from tests.support.journal import append, draft, of_inspection, open_small, open_subjects


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_small(tmp_path / "state")
    yield store
    await asyncio.to_thread(store.close)


class Gate:
    """Holds a step of the writer back until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: str = "_commit", of: type = Writer) -> None:
        self.inside = threading.Event()
        self.open = threading.Event()
        done = getattr(of, step)

        def held(*args: Any) -> None:
            self.inside.set()
            self.open.wait(20)
            done(*args)

        monkeypatch.setattr(of, step, held)


@pytest.mark.fault("F8")
async def test_a_slow_disk_blocks_no_caller_and_the_queue_is_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    first = store.append_soon([draft("first")])
    await asyncio.to_thread(gate.inside.wait)
    waiting: list[Future[Receipt]] = []
    began = time.monotonic()
    while not waiting or not waiting[-1].done():
        waiting.append(store.append_soon([draft("x" * 100, text="y" * 250_000)]))
    assert time.monotonic() - began < 5  # 16 MiB of JSON, no disk in the way
    assert isinstance(waiting.pop().exception(), StoreBusy)
    assert 60 <= len(waiting) <= 70
    assert store.published == 0
    assert not first.done()
    gate.open.set()
    assert (await asyncio.wrap_future(first)).first == 1
    receipts = [await asyncio.wrap_future(future) for future in waiting]
    assert [receipt.first for receipt in receipts] == list(range(2, len(waiting) + 2))


async def test_many_small_drafts_fill_the_queue_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    store.append_soon([draft("first")])
    await asyncio.to_thread(gate.inside.wait)
    small = draft()
    waiting = 0
    while not (last := store.append_soon([small])).done():
        waiting += 1
        assert waiting < 20_000
    assert isinstance(last.exception(), StoreBusy)
    gate.open.set()


async def test_nothing_is_seen_before_its_mark(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await append(store, [of_inspection("i1", "carril.inspection.opened")])
    before = await seen(store)
    gate = Gate(monkeypatch, "_set_mark")
    plate = {"plate": {"text": "AB123"}}
    drafts = [
        of_inspection("i1", "carril.inspection.sealed", identity=plate),
        of_inspection("i2", "carril.inspection.opened"),
        draft("rpm1", prio=0),
    ]
    future = store.append_soon(drafts, Idem("screen", "key", b"", 201, lambda _: "recorded"))
    await asyncio.to_thread(gate.inside.wait)
    count = "SELECT count(*) FROM record"
    assert await store.read(lambda view: view.connection.execute(count).fetchone()) == (4,)
    assert await seen(store) == before
    assert not future.done()
    gate.open.set()
    assert (await asyncio.wrap_future(future)).last == 4
    after = await seen(store)
    assert [key for key in after if after[key] == before[key]] == []
    assert (after["i1"].state, after["i1"].plate, after["answer"].response) == ("sealed", "AB123", "recorded")


async def seen(store: Store) -> dict[str, Any]:
    """What any door of the read side shows."""
    epoch = store.epoch
    doors: dict[str, Any] = {
        "page": lambda view: read_page(view, epoch, 0, 100, simulated=True),
        "alarms": lambda view: read_alarms(view, epoch, 0, 100, simulated=True),
        "record": lambda view: read_record(view, 2),
        "i1": lambda view: find_one(view.connection, "i1", view.tip.seq),
        "i2": lambda view: find_one(view.connection, "i2", view.tip.seq),
        "search": lambda view: find(view.connection, view.tip.seq),
    }
    found = {name: await store.read(door) for name, door in doors.items()}
    return found | {
        "published": store.published,
        "after": await store.records_after(0),
        "last": await store.last_records(5),
        "subject": await store.records_of("i1"),
        "open": [each.subject for each in await open_subjects(store) if each.subject != "i1"],
        "answer": await store.answer("screen", "key"),
    }


@pytest.mark.fault("F8")
async def test_a_hung_disk_frees_its_waiters(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "HUNG_S", 0.3)
    monkeypatch.setattr(writer_module, "BEAT_S", 0.05)
    gate = Gate(monkeypatch)
    running = store.append_soon([draft("running")])
    await asyncio.to_thread(gate.inside.wait)
    queued = store.append_soon([draft("queued")])
    with pytest.raises(Unknown, match="may or may not be written"):
        await asyncio.wrap_future(running)
    with pytest.raises(StoreUnavailable):
        await asyncio.wrap_future(queued)
    with pytest.raises(StoreUnavailable, match="the disk hangs"):
        await append(store, [draft("later")])
    assert store.silent_s > 0.3
    resumed = asyncio.Event()
    store.on_commit(lambda _: resumed.set())
    gate.open.set()
    await resumed.wait()
    assert [row.subject for row in await store.records_after(0)] == ["running"]  # it may be there, and is
    assert (await append(store, [draft("again")])).first == 2


@pytest.mark.parametrize("known", [True, False])
async def test_what_may_be_stored_is_not_written_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """The writer looks, in its own order: whoever looked before could be overtaken by the disk."""
    await append(store, [draft("i1", n=0)])
    doubtful = [draft("i1", n=1), draft("i1", n=2)]
    with monkeypatch.context() as patch:
        patch.setattr(writer_module, "HUNG_S", 0.3)
        patch.setattr(writer_module, "BEAT_S", 0.05)
        gate = Gate(patch)
        running = store.append_soon(doubtful if known else [draft("other")])
        await asyncio.to_thread(gate.inside.wait)
        with pytest.raises(Unknown):
            await asyncio.wrap_future(running)
        gate.open.set()
    await patiently(store, "after")
    again = await asyncio.wrap_future(store.append_soon(doubtful, again=True))
    stored = [(row.seq, row.event()["data"]["n"]) for row in await store.records_of("i1")]
    assert stored == [(1, 0), *([(2, 1), (3, 2)] if known else [(4, 1), (5, 2)])]
    assert (again.first, again.last) == (stored[1][0], stored[2][0])


@pytest.mark.fault("F8")
async def test_a_disk_that_hangs_in_a_checkpoint_frees_the_queue(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "HUNG_S", 0.3)
    monkeypatch.setattr(writer_module, "BEAT_S", 0.05)
    gate = Gate(monkeypatch, "tend", Wal)
    assert (await append(store, [draft("written")])).first == 1
    await asyncio.to_thread(gate.inside.wait)
    with pytest.raises(StoreUnavailable, match="the disk hangs"):
        async with asyncio.timeout(10):
            await append(store, [draft("queued")])
    gate.open.set()
    assert (await patiently(store, "again")).first == 2


async def test_a_watch_that_was_late_shuts_nobody_out_for_good(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "BEAT_S", 0.05)
    store._writer._refuse("the disk hangs")  # it worked again at this very moment
    assert (await patiently(store, "in")).first == 1


async def patiently(store: Store, subject: str) -> Receipt:
    """Append as soon as the store takes something in."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await append(store, [draft(subject)])
            except StoreUnavailable:
                await asyncio.sleep(0.01)


@pytest.mark.fault("F25")
async def test_short_memory_is_not_the_drafts_fault(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_run_op", short)
        with pytest.raises(StoreUnavailable, match="MemoryError"):
            await append(store, [draft("a")])
    assert (await patiently(store, "a")).first == 1


def io_error(*_: Any) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    raise error


@pytest.mark.parametrize("step", ["_apply", "_commit", "_publish"])
async def test_an_acknowledgement_alone_is_never_called_durable_on_a_failed_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await append(store, [draft()])
    with monkeypatch.context() as patch:
        patch.setattr(Writer, step, io_error)
        with pytest.raises((NotStored, Unknown)):
            await store.ack("central", store.epoch, 1)
    async with asyncio.timeout(10):
        while store.state is not State.OPEN:
            await asyncio.sleep(0.005)
    # Only after the commit may it be there.
    assert store.acked["central"] == (1 if step == "_publish" else 0)


async def test_a_refused_draft_beside_it_does_not_make_an_acknowledgement_durable(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    idem = Idem("screen", "key", b"", 201, lambda _: "")
    await append(store, [draft("d")], idem)
    gate = Gate(monkeypatch)
    store.append_soon([draft("first")])
    await asyncio.to_thread(gate.inside.wait)
    repeat = store.append_soon([draft("d")], idem)  # these two share the next group
    ack = store._submitted(lambda: Ack("central", store.epoch, 1))
    monkeypatch.setattr(Writer, "_commit", fails_once(io_error, Writer._commit, gate))
    gate.open.set()
    assert isinstance(await asyncio.to_thread(repeat.exception, 10), Unknown | Repeated)
    assert isinstance(await asyncio.to_thread(ack.exception, 10), Unknown)


def fails_once(failure: Any, real: Any, gate: Gate) -> Any:
    """The next commit fails, those after it do not; whoever stands in the gate already is not touched."""
    left = [failure]

    def commit(writer: Writer, tx: Any) -> None:
        tx.committing = True
        (left.pop() if left else real)(writer, tx)

    return commit


async def test_a_writer_that_dies_fails_every_waiter(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)

    def die(*_: Any) -> None:
        gate.inside.set()
        gate.open.wait(20)
        raise SystemExit

    monkeypatch.setattr(Writer, "_commit", die)
    running = asyncio.create_task(append(store, [draft("running")]))
    await asyncio.to_thread(gate.inside.wait)
    queued = [store.append_soon([draft("queued")]) for _ in range(3)]
    gate.open.set()
    with pytest.raises(Unknown, match="The writer ended"):
        await running  # it had begun
    for future in queued:
        with pytest.raises(StoreUnavailable):
            await asyncio.wrap_future(future)
    with pytest.raises(StoreUnavailable, match="the writer ended with SystemExit"):
        await append(store, [draft("later")])
    assert store.state is State.FAULTED


async def test_three_bugs_in_a_minute_fault_the_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(*_: Any) -> None:
        raise ZeroDivisionError

    await append(store, [draft("kept")])
    monkeypatch.setattr(Writer, "_commit", buggy)
    failures = 0
    while store.state is not State.FAULTED:
        with pytest.raises(StoreError):
            await append(store, [draft()])
        failures += 1
        await asyncio.sleep(0.01)
    monkeypatch.undo()
    store._writer._thread.join(10)
    assert [row.subject for row in await store.records_after(0)] == ["kept"]  # still to be fetched
    assert failures >= 3
    assert store.state is State.FAULTED
    with pytest.raises(StoreUnavailable):
        await append(store, [draft()])


async def test_a_closed_store_refuses_and_what_was_queued_is_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    futures = [store.append_soon([draft(n=n)]) for n in range(50)]
    await asyncio.to_thread(gate.inside.wait)
    closing = asyncio.create_task(asyncio.to_thread(store.close))
    gate.open.set()
    await closing
    assert [future.result().first for future in futures] == list(range(1, 51))
    with pytest.raises(StoreUnavailable, match="the station stops"):
        await append(store, [draft()])
    with pytest.raises(StoreUnavailable):
        await store.records_after(0)
    again = open_small(tmp_path / "state")
    assert again.published == 50
    again.close()
