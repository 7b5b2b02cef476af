"""What does not grow with what waits: a million records against a thousand; pages, blobs and the restart."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from _row import Row
from _store import draft

from station.api.feed import FeedItem, FeedPage
from station.runtime.clock import SystemClock
from station.store import database, schema
from station.store.blobs import CHUNK_BYTES
from station.store.chain import Row as Record
from station.store.chain import rows as records
from station.store.draft import encode
from station.store.feed import page_bytes, read_page
from station.store.journal import Store
from station.store.mark import MarkFile
from station.store.open import QUOTA_BYTES, open_store
from station.store.ops import Ack, next_row
from station.store.readers import View
from station.store.schema import RECORDS_AFTER

FEW, WAITING = 1_000, 100_000
ROUNDS, EACH = 11, 40
PAGE = 500
BLOB_BYTES, BLOBS = 20_000_000, 9
STARTS = 5
BATCH = 20_000


def rows(many: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _rows_against_few(Path(folder), many)
        yield _restart(Path(folder) / "waiting")
        yield _blob(Path(folder))


def _open(state: Path) -> Store:
    return open_store(state, "BENCH", SystemClock(), consumers=[("c", True)])


def fill(state: Path, count: int) -> None:
    """Make a journal of ``count`` records: the store's own rows, chain and mark, without its syncs."""
    _open(state).close()
    connection = database.connect_writer(state / "journal" / "station.db", QUOTA_BYTES)
    connection.execute("PRAGMA synchronous=OFF")
    (epoch,) = connection.execute("SELECT epoch FROM store").fetchone()
    seq, hash_, *_ = connection.execute(schema.GET_HEAD).fetchone()
    encoded = [encode(draft(n), "BENCH") for n in range(1_000)]
    while seq < count:
        added = []
        for _ in range(min(BATCH, count - seq)):
            row = next_row(encoded[seq % len(encoded)], epoch, seq, hash_)
            seq, hash_ = row["seq"], row["hash"]
            added.append(row)
        connection.execute("BEGIN")
        connection.executemany(schema.ADD_RECORD, added)
        connection.execute(schema.SET_HEAD, {"seq": seq, "hash": hash_})
        connection.execute("COMMIT")
        database.checkpoint(connection, "TRUNCATE")
    connection.close()
    mark = MarkFile(state / "mark.bin")
    mark.write(epoch, seq, hash_, 0)
    mark.close()
    os.sync()  # what is measured next must not wait for this


def _rows_against_few(folder: Path, many: int) -> Iterator[Row]:
    for name, count in (("few", FEW), ("many", many)):
        fill(folder / name, count)
    starts: dict[str, list[float]] = {"few": [], "many": []}
    for _ in range(STARTS):
        for name, taken_s in starts.items():
            start_s = time.perf_counter()
            store = _open(folder / name)
            taken_s.append(time.perf_counter() - start_s)
            store.close()
    few, lot = _open(folder / "few"), _open(folder / "many")
    title = f"{many:,} rows over {FEW:,}"
    for what, act in (("append", _append), ("page of 500", _page), ("ack", _ack)):
        ratios = []
        for _ in range(ROUNDS):
            control_s = _p50(act, few)
            ratios.append(_p50(act, lot) / control_s)
        yield Row(f"{what}, {title}, p50", statistics.median(ratios), "ratio", 1.2)
    ratio = statistics.median(b / a for a, b in zip(starts["few"], starts["many"], strict=True))
    yield Row(f"start, {title}", ratio, "ratio", 1.5)
    yield _against_pydantic(lot)
    few.close()
    lot.close()


def _p50(act: Callable[[Store], None], store: Store) -> float:
    taken_s = []
    for _ in range(EACH):
        start_s = time.perf_counter()
        act(store)
        taken_s.append(time.perf_counter() - start_s)
    return statistics.median(taken_s)


def _append(store: Store) -> None:
    store.append_soon([draft(1)]).result(10)


def _ack(store: Store) -> None:
    seq = store.acked["c"] + 1
    if not store._submitted(lambda: Ack("c", store.epoch, seq)).result(10).moved:
        raise RuntimeError("an acknowledgement that moves nothing costs nothing")


def _page(store: Store) -> None:
    page = _bytes(store, random.randrange(store.published - PAGE))
    if len(page) < PAGE * 700:
        raise RuntimeError("the page is not whole")


def _bytes(store: Store, after: int) -> bytes:
    def look(view: View) -> bytes:
        return page_bytes(read_page(view, store.epoch, after, PAGE, simulated=True), store.epoch)

    return store._readers.look(look)


def _against_pydantic(store: Store) -> Row:
    """A page as the feed makes it against the same rows, as carefully checked, through response models."""

    def modelled(after: int) -> bytes:
        def look(view: View) -> bytes:
            span = {"after": after, "upto": after + PAGE, "count": PAGE}
            found: list[Record] = records(view.connection.execute(RECORDS_AFTER, span))
            if not all(row.sound(view.tip.epoch) for row in found):
                raise RuntimeError("a row is damaged")
            items = [FeedItem(seq=r.seq, hash=r.hash.hex(), event=json.loads(r.body)) for r in found]
            page = FeedPage(
                epoch=store.epoch,
                oldest=1,
                head=view.tip.seq,
                next=after + PAGE,
                more=True,
                signed_head=None,
                prev=found[0].prev.hex(),
                items=items,
            )
            return page.model_dump_json().encode()

        return store._readers.look(look)

    ratios = []
    for _ in range(ROUNDS):
        after = random.randrange(store.published - PAGE)
        ours_s = statistics.median(_timed(_bytes, store, after) for _ in range(9))
        ratios.append(statistics.median(_timed(modelled, after) for _ in range(9)) / ours_s)
    return Row("feed page of 500 over Pydantic response", statistics.median(ratios), "ratio", 1.7, True)


def _timed(work: Callable[..., object], *given: object) -> float:
    start_s = time.perf_counter()
    work(*given)
    return time.perf_counter() - start_s


def _restart(state: Path) -> Row:
    """From opening the state folder to ``published``, with 100,000 records that nobody has acknowledged."""
    fill(state, WAITING)
    taken_s = []
    for _ in range(STARTS):
        start_s = time.perf_counter()
        store = _open(state)
        if store.published != WAITING or store.acked["c"]:
            raise RuntimeError("the records do not wait any more")
        taken_s.append(time.perf_counter() - start_s)
        store.close()
    return Row("restart with 100,000 records waiting, slowest of 5", max(taken_s), "s", 3)


def _blob(folder: Path) -> Row:
    """A blob of 20 MB and its row, durable, against the same bytes, hashed alike, as one SQLite BLOB."""
    store = _open(folder / "blobs")
    connection = sqlite3.connect(folder / "blobs.db", isolation_level=None)
    for pragma in ("journal_mode=wal", "synchronous=full", "wal_autocheckpoint=0"):
        connection.execute(f"pragma {pragma}")
    connection.execute("create table b (sha256 blob primary key, chunks blob, bytes blob) without rowid")

    def insert(content: bytes) -> None:
        view = memoryview(content)
        parts = (view[at : at + CHUNK_BYTES] for at in range(0, len(view), CHUNK_BYTES))
        chunks = b"".join(sha256(part).digest() for part in parts)
        connection.execute("insert into b values (?, ?, ?)", (sha256(view).digest(), chunks, content))

    ratios = []
    for _ in range(BLOBS):
        content = os.urandom(BLOB_BYTES)
        ours_s = _timed(store.keep_blob, content, "application/octet-stream")
        ratios.append(ours_s / _timed(insert, content))
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    store.close()
    with contextlib.closing(connection):
        return Row("20 MB blob over SQLite BLOB", statistics.median(ratios), "ratio", 0.4)
