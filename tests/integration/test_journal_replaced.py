"""The journal's files are replaced or damaged while it is open: nobody is told what is not so."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from station.store.errors import (
    NotStored,
    Unknown,
)
from station.store.journal import Store
from station.store.ops import Append, Transaction
from station.store.waiting import Waiter
from station.store.writer import Writer
from tests.support.journal import append, draft, open_small


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_small(tmp_path / "state")
    yield store
    await asyncio.to_thread(store.close)


async def shell(command: str) -> None:
    """Touch SQLite's files from another process, as whoever does such things."""
    process = await asyncio.create_subprocess_shell(command)
    assert await process.wait() == 0


@pytest.mark.parametrize(
    "deed",
    [
        "rm {0}/station.db",
        "rm {0}/station.db-wal",
        "rm -r {0}",
        "mv {1} {0}/station.db; rm {0}/station.db-wal",
    ],
)
@pytest.mark.fault("F10")
async def test_files_that_somebody_replaced_are_noticed_before_anybody_is_told(
    store: Store, tmp_path: Path, deed: str
) -> None:
    journal, old = tmp_path / "state" / "journal", tmp_path / "old.db"
    await shell(f"cp {journal}/station.db {old}")
    for n in range(5):
        await append(store, [draft(n=n)])
    epoch = store.epoch
    await shell(deed.format(journal, old))
    with pytest.raises(Unknown, match="Look before writing it again"):
        await append(store, [draft("in doubt")])
    assert store.epoch != epoch
    assert store.before is not None
    assert (store.before.epoch.hex(), store.first_seq) == (epoch, store.before.last + 1)
    assert store.before.last >= 5  # no number that was told is given again
    opening, *_ = await store.records_after(store.before.last)
    assert opening.type == "carril.epoch.opened"
    assert opening.prio == 0
    assert (await append(store, [draft("after")])).epoch == store.epoch
    assert store.stats.epochs == 1


async def test_damage_that_comes_back_at_work_begins_a_new_epoch(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(store, [draft()])
    epoch = store.epoch

    apply = Writer._apply

    def malformed(writer: Writer, group: list[Waiter], tx: Transaction) -> None:
        if not any(isinstance(waiter.op, Append) for waiter in group):
            return apply(writer, group, tx)  # a chore, whose failure would count, too
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_apply", malformed)
        with pytest.raises(NotStored, match="malformed"):
            await append(store, [draft("lost")])
        assert (store.state, store.epoch) == ("open", epoch), "SQLite says so of a read that failed once, too"
        with pytest.raises(NotStored, match="malformed"):
            await append(store, [draft("lost")])
    assert store.before is not None
    assert (store.before.epoch.hex(), store.before.last, store.first_seq) == (epoch, 1, 2)
    assert (await append(store, [draft()])).first > 3  # record 1 stands in the new one already
    (kept,) = (tmp_path / "state" / "quarantine").glob("*/journal/station.db")
    assert kept.stat().st_size > 0
    opening, *_ = await store.records_after(1)
    assert "malformed" in opening.event()["data"]["cause"]
