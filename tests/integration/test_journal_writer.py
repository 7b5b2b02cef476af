"""Appending: what a receipt promises; one bad draft, a full queue or a hung disk hurts nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from station.store import readers, schema, wal
from station.store.draft import BlobRef, Idem, Receipt
from station.store.errors import (
    BeyondHead,
    RecordRejected,
    Repeated,
    StoreBusy,
    StoreUnavailable,
    UnknownConsumer,
    WrongEpoch,
)
from station.store.journal import Store
from station.store.mark import read_mark
from station.store.writer import State
from tests.support.journal import append, draft, of_inspection, open_small, open_subjects


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_small(tmp_path / "state")
    yield store
    await asyncio.to_thread(store.close)


async def test_a_receipt_means_committed_marked_and_published(store: Store, tmp_path: Path) -> None:
    receipt = await append(store, [draft(n=1), draft(n=2)])
    assert receipt == Receipt(store.epoch, 1, 2, stored_us=0)
    assert store.published == 2
    mark = read_mark(tmp_path / "state" / "mark.bin")
    assert mark is not None
    assert mark.seq == 2
    rows = await store.records_after(0)
    assert [(row.seq, row.event()["data"]["n"]) for row in rows] == [(1, 1), (2, 2)]
    assert rows[1].prev == rows[0].hash
    assert mark.hash == rows[1].hash


async def test_producers_share_commits_and_keep_their_own_order(store: Store) -> None:
    async def produce(name: str) -> list[int]:
        return [(await append(store, [draft(name, n=n)])).first for n in range(20)]

    seqs = await asyncio.gather(*(produce(f"p{index}") for index in range(64)))
    assert sorted(seq for each in seqs for seq in each) == list(range(1, 64 * 20 + 1))
    assert all(each == sorted(each) for each in seqs)
    stats = store.stats
    assert stats.group_records.total == 64 * 20
    # Counts, not times: at most a commit per 10 records, and one sync of the mark for each that has records.
    assert stats.commits <= 64 * 20 / 10
    assert stats.mark_syncs == stats.group_records.count
    assert stats.commit_seconds.count == stats.commits


async def test_a_refused_draft_rejects_only_itself(store: Store) -> None:
    unknown_blob = draft("bad", blobs=(BlobRef("photo", "ab" * 32),))
    with pytest.raises(RecordRejected, match=r"data\.n: 9007199254740992 exceeds"):
        await append(store, [draft(n=1), draft(n=2**53)])
    results = await asyncio.gather(
        append(store, [draft("a")]),
        append(store, [draft("bad"), unknown_blob]),  # its first draft must go with it
        append(store, [draft("b"), draft("c")]),
        return_exceptions=True,
    )
    assert isinstance(results[1], RecordRejected)
    assert "FOREIGN KEY" in str(results[1])
    assert [row.subject for row in await store.records_after(0)] == ["a", "b", "c"]
    assert (await append(store, [draft("d")])).first == 4  # no gap
    assert store.state is State.OPEN


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (Idem("c", "k", b"", "created", lambda _: ""), "cannot store TEXT value in INTEGER column"),  # type: ignore[arg-type]
        (Idem("c", "k", b"", 201, lambda _: b"x"), "cannot store BLOB value in TEXT column"),  # type: ignore[arg-type,return-value]
        (Idem("c", None, b"", 201, lambda _: ""), "NOT NULL"),  # type: ignore[arg-type]
        (Idem("c", "k", b"", 2**70, lambda _: ""), "too large"),
        (Idem("c", "k", b"", 201, lambda _: {}), "not supported"),  # type: ignore[arg-type,return-value]
        (Idem("c", "\ud800", b"", 201, lambda _: ""), "surrogates not allowed"),
    ],
)
async def test_a_value_that_a_strict_table_refuses_rejects_only_its_own(
    store: Store, wrong: Idem, reason: str
) -> None:
    results = await asyncio.gather(
        append(store, [draft("a")]),
        append(store, [draft("bad")], wrong),
        append(store, [draft("b")]),
        store.ack("central", store.epoch, 0),
        return_exceptions=True,
    )
    assert isinstance(results[1], RecordRejected)
    assert reason in str(results[1])
    assert [row.subject for row in await store.records_after(0)] == ["a", "b"]
    assert store.state is State.OPEN
    assert store.stats.reopened == 0


async def test_nothing_to_append_is_refused(store: Store) -> None:
    with pytest.raises(RecordRejected, match="nothing to append"):
        await append(store, [])


async def test_a_key_is_executed_once(store: Store) -> None:
    def idem(key: str) -> Idem:
        return Idem("screen", key, b"r" * 32, 201, lambda receipt: f"stored at {receipt.first}")

    first = await append(store, [draft("d")], idem("k1"))
    with pytest.raises(Repeated) as caught:
        await append(store, [draft("d")], idem("k1"))
    assert (caught.value.stored.status, caught.value.stored.response) == (201, "stored at 1")
    assert caught.value.stored.request_sha256 == b"r" * 32
    # Two at once share a group: still once.
    twice = await asyncio.gather(
        *(append(store, [draft("e")], idem("k2")) for _ in range(2)), return_exceptions=True
    )
    assert [type(result) for result in twice] == [Receipt, Repeated]
    assert [row.subject for row in await store.records_after(0)] == ["d", "e"]
    stored = await store.answer("screen", "k2")
    assert stored is not None
    assert stored.response == "stored at 2"
    assert await store.answer("other", "k2") is None
    assert first.first == 1


async def test_only_the_newest_keys_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "TRIM_IDEM", schema.TRIM_IDEM.replace("OFFSET 10000", "OFFSET 3"))
    for n in range(6):
        await append(store, [draft()], Idem("c", str(n), b"", 201, lambda _: ""))
    kept = [n for n in range(6) if await store.answer("c", str(n))]
    assert kept == [3, 4, 5]


async def test_a_response_that_cannot_be_made_rejects_only_its_own(store: Store) -> None:
    def broken(_: Receipt) -> str:
        raise KeyError("seq")

    results = await asyncio.gather(
        append(store, [draft("a")]),
        append(store, [draft("b")], Idem("c", "k", b"", 201, broken)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [Receipt, RecordRejected]
    assert store.state is State.OPEN
    assert [row.subject for row in await store.records_after(0)] == ["a"]


async def test_large_data_is_encoded_in_the_writer_in_its_order(store: Store) -> None:
    large = draft("large", text="x" * 200_000)
    op = store._append_op([large], None)
    assert getattr(op, "encoded") == []  # noqa: B009 - an Op does not promise it
    futures = [store.append_soon([each]) for each in (draft("a"), large, draft("b"))]
    assert [(await asyncio.wrap_future(future)).first for future in futures] == [1, 2, 3]
    too_large = store.append_soon([draft(text="x" * 300_000)])
    with pytest.raises(RecordRejected, match="at most 262144"):
        await asyncio.wrap_future(too_large)


async def test_a_cancelled_caller_does_not_take_its_record_back(store: Store) -> None:
    task = asyncio.create_task(append(store, [draft("kept")]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await append(store, [draft("after")])
    assert [row.subject for row in await store.records_after(0)] == ["kept", "after"]


# --- acknowledgements -----------------------------------------------------------------------------


async def test_an_acknowledgement_moves_forward_and_never_back(store: Store, tmp_path: Path) -> None:
    for _ in range(5):
        await append(store, [draft()])
    moved = await store.ack("central", store.epoch, 3)
    assert (moved.acked, moved.moved) == (3, True)
    for seq in (3, 2, 0):
        again = await store.ack("central", store.epoch, seq)
        assert (again.acked, again.moved) == (3, False)
    assert store.acked == {"central": 3}
    with pytest.raises(BeyondHead) as beyond:
        await store.ack("central", store.epoch, 6)
    assert beyond.value.head == 5
    with pytest.raises(WrongEpoch):
        await store.ack("central", "0" * 32, 4)
    with pytest.raises(UnknownConsumer):
        await store.ack("nobody", store.epoch, 4)
    await asyncio.to_thread(store.close)
    again_open = open_small(tmp_path / "state")
    assert again_open.acked == {"central": 3}
    again_open.close()


async def test_open_subjects_wait_for_their_seal_and_count_replays(store: Store) -> None:
    for subject in ("i1", "i2"):
        await append(store, [of_inspection(subject, "carril.inspection.opened")])
    await append(store, [of_inspection("i1", "carril.inspection.sealed")])
    assert [(each.subject, each.first_seq, each.tries) for each in await open_subjects(store)] == [
        ("i2", 2, 0)
    ]
    assert [each.tries for each in await store.begin_replay()] == [1]
    assert [each.tries for each in await store.begin_replay()] == [2]
    await store.end_replay()
    assert [each.tries for each in await open_subjects(store)] == [0]
    assert [row.type for row in await store.records_of("i1")] == [
        "carril.inspection.opened",
        "carril.inspection.sealed",
    ]


@pytest.mark.fault("F31")
async def test_a_start_that_did_not_end_well_is_counted(store: Store, tmp_path: Path) -> None:
    await append(store, [of_inspection("i1", "carril.inspection.opened")])
    await asyncio.to_thread(store.close)
    tries = []
    for _ in range(4):
        started = await asyncio.to_thread(open_small, tmp_path / "state")
        tries += [(each.subject, each.tries) for each in await started.begin_replay()]
        await asyncio.to_thread(started.close)  # killed, as far as the journal knows
    assert tries == [("i1", 1), ("i1", 2), ("i1", 3), ("i1", 4)]


async def test_subscribers_hear_of_each_commit_after_it_is_published(store: Store) -> None:
    heard: list[tuple[int, int]] = []
    stop = store.on_commit(lambda published: heard.append((published, store.published)))
    store.on_commit(lambda _: None)
    await append(store, [draft(), draft()])
    await append(store, [draft()])
    await asyncio.sleep(0)
    assert [published for published, _ in heard] == [2, 3]
    assert all(published <= known for published, known in heard)
    stop()
    await append(store, [draft()])
    await asyncio.sleep(0)
    assert len(heard) == 2


# --- look-ups and the log -------------------------------------------------------------------------


async def test_a_look_up_that_takes_too_long_is_ended(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "LIMIT_S", 0.25)
    forever = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(StoreBusy, match=r"longer than 0\.25 s"):
        await store.read(lambda view: view.connection.execute(forever).fetchone())
    assert await store.records_after(0) == []


async def test_look_ups_can_write_nothing(store: Store) -> None:
    await append(store, [draft()])
    for statement in ("DELETE FROM record", "BEGIN IMMEDIATE", "PRAGMA wal_checkpoint(TRUNCATE)"):

        def look(view: Any, statement: str = statement) -> Any:
            return view.connection.execute(statement).fetchall()

        with pytest.raises(StoreUnavailable):
            await store.read(look)
    assert len(await store.records_after(0)) == 1


async def test_the_log_is_kept_short(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal, "PASSIVE_FRAMES", 50)
    monkeypatch.setattr(wal, "TRUNCATE_BYTES", 2_000_000)
    largest = 0
    for _ in range(150):
        await append(store, [draft(text="x" * 50_000)])
        largest = max(largest, store.stats.log_bytes)
    assert store.stats.checkpoints >= 5
    assert largest < 3_000_000  # 7.5 MB were written
    assert len(await store.records_after(0)) == 150
