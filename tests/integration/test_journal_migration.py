"""A journal of the first schema: opened, migrated in one step, or left as it was."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from station.store import schema, startup
from station.store.errors import StoreUnavailable
from station.store.journal import Store
from station.store.migrate import migrate
from tests.support.journal import append, draft, open_small

ADDED = ("nack", "blob_receipt", "signed_head", "salvage", "directive", "legal_hold")


def as_first_schema(state: Path) -> None:
    """Take from a closed journal what the second schema added."""
    with sqlite3.connect(state / "journal" / "station.db", isolation_level=None) as database:
        for table in ADDED:
            database.execute(f"DROP TABLE {table}")
        database.execute("ALTER TABLE consumer DROP COLUMN blobs")
        database.execute("UPDATE store SET schema = 1")
    database.close()


def shape(state: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return the columns of every table."""
    with sqlite3.connect(state / "journal" / "station.db") as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: database.execute(f"PRAGMA table_xinfo({name})").fetchall() for name in names}
    database.close()
    return found


@pytest.fixture
async def old(tmp_path: Path) -> Path:
    """A closed journal of the first schema with three records, one of them acknowledged."""
    store = open_small(tmp_path)
    for n in range(3):
        await append(store, [draft(n=n)])
    await store.ack("central", store.epoch, 1)
    store.close()
    as_first_schema(tmp_path)
    return tmp_path


async def test_an_older_journal_goes_on_with_all_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    store = open_small(old)
    assert (store.before, store.published, store.acked["central"]) == (None, 3, 1)
    assert (await append(store, [draft("more")])).first == 4
    store.close()
    fresh = tmp_path / "fresh"
    new: Store = open_small(fresh)
    new.close()
    assert shape(old) == shape(fresh)


@pytest.mark.fault("F28")
async def test_a_migration_that_is_killed_leaves_the_old_journal(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever step of it does not come to its end, the next start finds what was there before."""
    before = shape(old)
    steps = 0

    class Killed:
        def __init__(self, connection: sqlite3.Connection, last: int) -> None:
            self.connection, self.left = connection, last

        def execute(self, *args: object) -> sqlite3.Cursor:
            nonlocal steps
            steps += 1
            self.left -= 1
            if self.left < 0:
                error = sqlite3.OperationalError("the disk is gone")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error
            return self.connection.execute(*args)  # type: ignore[arg-type]

    def cut(connection: sqlite3.Connection, last: int) -> None:
        migrate(Killed(connection, last))  # type: ignore[arg-type]

    last = 0
    while True:
        monkeypatch.setattr(startup, "migrate", lambda connection, last=last: cut(connection, last))
        try:
            open_small(old).close()
            break
        except StoreUnavailable:
            assert shape(old) == before, f"after {last} statements"
        last += 1
    assert last > len(ADDED)
    assert set(shape(old)) >= {*before, *ADDED}
    with sqlite3.connect(old / "journal" / "station.db") as database:
        assert database.execute("SELECT schema FROM store").fetchone() == (schema.SCHEMA,)
    database.close()


@pytest.mark.fault("F28")
async def test_a_journal_of_a_later_program_is_never_written(tmp_path: Path) -> None:
    """A downgrade begins a new epoch beside it; test_journal_startup has the rest."""
    open_small(tmp_path).close()
    with sqlite3.connect(tmp_path / "journal" / "station.db", isolation_level=None) as database:
        database.execute("UPDATE store SET schema = ?", (schema.SCHEMA + 1,))
    database.close()
    store = open_small(tmp_path)
    assert store.before is not None
    store.close()
