"""Journals that end, and what comes after: damage, salvage, and the feed as a consumer reads it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from station.store.blobs import BlobFiles
from station.store.feed import Page, Trimmed, read_page
from station.store.journal import Store
from station.store.ops import Transaction
from station.store.readers import Tip, View
from station.store.salvage import Salvage
from station.store.schema import SET_HEAD
from station.store.startup import open_journal, renew_journal
from tests.support.journal import draft, open_small, place_of

DB = "journal/station.db"
SALVAGED = "carril.record.salvaged"
LOST = "carril.records.lost"
CLOSED = "carril.epoch.salvaged"


def write(state: Path, count: int = 5) -> tuple[str, int]:
    """Append ``count`` records and stop; returns epoch and head."""
    store = open_small(state)
    for n in range(count):
        store.append_soon([draft(n=n)]).result(10)
    found = store.epoch, store.published
    store.close()
    return found


def sql(state: Path, statement: str, *values: Any) -> None:
    """Change a stopped journal behind its back."""
    with sqlite3.connect(state / DB) as connection:
        connection.execute(statement, values)
    connection.close()


def distrusted(state: Path) -> None:
    """Make the next opening begin a new epoch; every record stays sound."""
    sql(state, "UPDATE head SET seq = seq - 1")


def salvage_ends(store: Store, folders: int, wait_s: float = 20.0) -> None:
    """Wait until ``folders`` journals in quarantine are accounted for."""
    until = time.monotonic() + wait_s
    query = "SELECT (SELECT count(*) FROM salvage WHERE done = 1 AND dir <> ''), seq FROM head"

    def ended(view: View) -> bool:
        done, seq = view.connection.execute(query).fetchone()
        return bool(done >= folders and seq <= view.tip.seq)

    while not store._readers.look(ended):
        assert time.monotonic() < until, "the salvage does not end"
        time.sleep(0.01)


@dataclass
class Follower:
    """A consumer: follows the feed over a change of epoch and drops what it has by id and original id."""

    epoch: str = ""
    cursor: int = 0
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The events that count, by the id under which each was recorded first."""
    copies: int = 0
    lost: list[tuple[str | None, int, int]] = field(default_factory=list)
    withheld: list[int] = field(default_factory=list)
    closed: list[dict[str, Any]] = field(default_factory=list)

    def read(self, store: Store | Quiet) -> None:
        """Read to the end."""
        if self.epoch != store.epoch:
            # What the answer `epoch-changed` tells it to do.
            self.epoch, self.cursor = store.epoch, store.first_seq - 1
        while True:
            page = store._readers.look(self._page)
            if not page.items:
                return
            self.cursor = page.next
            for item in map(json.loads, page.items):
                self._take(item)

    def _page(self, view: View) -> Page:
        try:
            return read_page(view, self.epoch, self.cursor, 500, simulated=True)
        except Trimmed as gone:
            self.cursor = gone.oldest - 1
            return read_page(view, self.epoch, self.cursor, 500, simulated=True)

    def _take(self, item: dict[str, Any]) -> None:
        if "event" not in item:
            self.withheld.append(item["seq"])
            return
        event = item["event"]
        if event["type"] == SALVAGED:
            event = event["data"]["original"]
            assert event["type"] != SALVAGED, "nested"
        if event["type"] == LOST:
            self.lost.append((event["data"]["epoch"], event["data"]["from"], event["data"]["to"]))
        if event["type"] == CLOSED:
            self.closed.append(event["data"])
        self.copies += event["id"] in self.seen
        assert self.seen.setdefault(event["id"], event) == event, "one id, two contents"


class Quiet:
    """An opened journal without the writer's thread: chores and look-ups run one after the other."""

    def __init__(self, state: Path) -> None:
        self.place = place_of(state)
        self.journal = open_journal(self.place)
        self.epoch, self.first_seq = self.journal.epoch.hex(), self.journal.first_seq
        self.blobs = BlobFiles(state / "blobs")
        self._readers = self

    def look(self, fn: Callable[[View], Any]) -> Any:
        """Run a look-up."""
        journal = self.journal
        tip = Tip(journal.epoch, journal.first_seq, journal.seq, journal.hash)
        return fn(View(journal.connection, tip))

    def renew(self, cause: str) -> None:
        """Begin a new epoch, as the writer does after damage."""
        self.journal.close()
        self.journal = renew_journal(self.place, cause)
        self.epoch, self.first_seq = self.journal.epoch.hex(), self.journal.first_seq

    def salvage(self) -> int:
        """Take over all that is in quarantine; return the number of steps."""
        chore, steps, journal = Salvage(self.place, self.blobs), 0, self.journal
        while op := chore.next(journal, idle=True):
            now_us = self.place.now_us()
            tx = Transaction(
                journal.connection, journal.epoch, journal.seq, journal.seq, journal.hash, now_us, {}
            )
            tx.connection.execute("BEGIN IMMEDIATE")
            op.apply(tx)
            tx.connection.execute(SET_HEAD, {"seq": tx.seq, "hash": tx.hash})
            tx.connection.execute("COMMIT")
            journal.seq, journal.hash = tx.seq, tx.hash
            steps += 1
        return steps
