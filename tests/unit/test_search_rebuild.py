"""The search index is made anew from the records, also of a table that gives the same ones for ever."""

from __future__ import annotations

import sqlite3

import pytest

from station.store import schema, search
from station.store.chain import Row
from station.store.draft import encode
from station.store.ops import next_row
from tests.support.journal import of_inspection

EPOCH = bytes(16)


@pytest.mark.timeout(10)
def test_a_table_that_repeats_itself_ends_the_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = encode(of_inspection("i1", "carril.inspection.opened"), "LAR-04")
    row = next_row(encoded, EPOCH, 0, bytes(32))
    page = [Row.of(tuple(row.values()))]
    asked = 0

    def again(_: sqlite3.Cursor) -> list[Row]:
        nonlocal asked
        asked += 1
        return page

    monkeypatch.setattr(search, "rows", again)
    connection = sqlite3.connect(":memory:")
    for statement in schema.create_statements():
        connection.execute(statement)
    search.rebuild(connection, EPOCH)
    assert asked == 2
    assert [found[0] for found in connection.execute("SELECT id FROM inspection")] == ["i1"]
    connection.close()
