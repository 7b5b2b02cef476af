"""Small stores that must make room, and what became of them."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from station.store import database, schema
from station.store.crashpoint import VARIABLE
from station.store.draft import BlobRef
from station.store.feed import Page, anchor_of, read_page
from station.store.journal import Store
from station.store.nacks import Nack
from station.store.ops import Ack, Small, Transaction
from station.store.receipts import KeepReceipt
from tests.support.journal import draft, open_small

KB = b"x" * 1000


def ack(store: Store, seq: int, *refused: int, consumer: str = "central") -> None:
    nacks = [Nack(each, "schema") for each in refused]
    store._submitted(lambda: Ack(consumer, store.epoch, seq, nacks)).result(10)


def receive(store: Store, *digests: str, size: int, consumer: str = "central") -> None:
    for digest in digests:
        op = KeepReceipt(consumer, bytes.fromhex(digest), size, verified=True)
        store._submitted(lambda op=op: op).result(10)


@dataclass(frozen=True)
class Hold(Small):
    """What a directive does when it holds a subject for a court, or no longer."""

    subject: str
    on: bool = True

    def apply(self, tx: Transaction) -> None:
        if self.on:
            values = {"subject": self.subject, "directive": "H-1"}
            tx.connection.execute("INSERT OR IGNORE INTO legal_hold VALUES (:subject, :directive)", values)
        else:
            tx.connection.execute("DELETE FROM legal_hold WHERE subject = ?", (self.subject,))


def hold(store: Store, subject: str, *, on: bool = True) -> None:
    store._submitted(lambda: Hold(subject, on)).result(10)


@dataclass(frozen=True)
class InForce(Small):
    """A directive that is not closed, or no longer."""

    name: str
    is_so: bool

    def apply(self, tx: Transaction) -> None:
        tx.connection.execute("DELETE FROM directive WHERE id = ?", (self.name,))
        if self.is_so:
            row = (self.name, "hold", 1, "armed", 0, 2**53 - 1, b"", "{}", 1, 2**53 - 1, None)
            tx.connection.execute("INSERT INTO directive VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def in_force(store: Store, name: str, *, is_so: bool = True) -> None:
    store._submitted(lambda: InForce(name, is_so)).result(10)


class Counted(Small):
    """A look in the writer's own thread, between two steps."""

    def apply(self, tx: Transaction) -> tuple[int, int]:
        (summed,) = tx.connection.execute(schema.BLOB_BYTES).fetchone()
        return tx.blob_bytes, summed


def blob_bytes(store: Store) -> tuple[int, int]:
    """Bytes of all blobs as they are counted, and as the table has them."""
    found: tuple[int, int] = store._submitted(Counted).result(10)
    return found


def fill(store: Store, count: int, subject: str = "lane", size: int = 2000, **more: Any) -> int:
    """Append so many records of about ``size`` bytes; returns the last one's number."""
    futures = [store.append_soon([draft(subject, n=n, text="x" * size, **more)]) for n in range(count)]
    return max(future.result(20).last for future in futures)


def photo(store: Store, data: bytes, *subjects: str) -> str:
    """Keep a blob and name it in a record of each subject."""
    name = store.keep_blob(data, "image/jpeg")
    for subject in subjects:
        store.append_soon([draft(subject, blobs=(BlobRef("photo", name),))]).result(10)
    return name


def anchor(store: Store) -> int:
    return store._readers.look(lambda view: anchor_of(view.connection)[0])


def page(store: Store, after: int) -> Page:
    return store._readers.look(lambda view: read_page(view, store.epoch, after, 2000, simulated=True))


def stored(store: Store, query: str = "SELECT seq FROM record ORDER BY seq") -> list[Any]:
    """The first column of what a query finds."""
    return [row[0] for row in store._readers.look(lambda view: view.connection.execute(query).fetchall())]


def within(limit_s: float, holds: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < until_s, "it does not come"
        time.sleep(0.01)


def rest(store: Store) -> None:
    """Wait until the chores have nothing more to do: the writer has gone idle twice with the same counts."""
    seen: list[object] = []

    def is_quiet() -> bool:
        seen.append((store.stats.commits, anchor(store), store.stats.trimmed_blobs))
        return len(seen) > 30 and len(set(seen[-30:])) == 1

    within(10, is_quiet)


def row_of(state: Path, digest: str) -> int | None:
    """The state of a blob in a closed store."""
    with closing(database.connect_reader(state / "journal" / "station.db")) as reader:
        row = reader.execute(schema.GET_BLOB, {"sha256": bytes.fromhex(digest)}).fetchone()
    return row[-1] if row else None


def count_steps(connection: sqlite3.Connection, call: Callable[[], object]) -> int:
    """How many of its own instructions SQLite needed, in tens."""
    steps = [0]

    def step() -> None:
        steps[0] += 1

    connection.set_progress_handler(step, 10)
    call()
    connection.set_progress_handler(None, 0)
    return steps[0]


QUOTA_BYTES = 2_500_000


def opening(opened: list[Store], tmp_path: Path, **settings: Any) -> Store:
    given: dict[str, Any] = {"quota_bytes": QUOTA_BYTES} | settings
    opened.append(open_small(tmp_path / "state", **given))
    return opened[-1]


def killed_at(place: str, state: Path, work: str) -> None:
    """Run ``work`` and an acknowledgement of everything in a process that a crash point ends."""
    code = _BEFORE + work + "ack(store, store.published)\ntime.sleep(20)\n"
    environment = os.environ | {VARIABLE: place, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(state)], env=environment, timeout=30, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


_BEFORE = """
import sys, time
from pathlib import Path
from tests.support.journal import open_small
from tests.support.trimming import ack, fill, photo
state = Path(sys.argv[1])
"""
