"""A stopped station whose journal somebody with a database tool can change."""

# ruff: noqa: S608 - every value in a statement is of the tests
from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from station.store.chain import link
from station.store.mark import MarkFile, read_mark
from tests.support.journal import draft, of_inspection, open_small

INSPECTION = "01a21695-9e0c-708c-bf73-84ae91d91f38"
LAST = 22
SIGNED = [8, 14, 22]


def stopped_station(state: Path) -> Path:
    """Make one: 22 records, an inspection in 3 to 12, signed heads of records 8, 14 and 22."""
    for first, last in zip([1, 9, 15], SIGNED, strict=True):
        store = open_small(state)  # whose end signs the last record
        for seq in range(first, last + 1):
            identity = {"plate": {"text": "B-CD 123"}, "container": {"text": "CSQU3054383"}}
            record = {
                3: of_inspection(INSPECTION, "carril.inspection.opened"),
                5: of_inspection(INSPECTION, "carril.identity.read", identity=identity),
                12: of_inspection(INSPECTION, "carril.scan.started"),
            }.get(seq, draft(n=seq, text="x" * 200))
            store.append_soon([record]).result(10)
        store.close()
    assert [row[0] for row in select(state, "SELECT seq FROM signed_head ORDER BY seq")] == SIGNED
    return state


@contextlib.contextmanager
def database(state: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(state / "journal" / "station.db")
    with connection:
        yield connection
    connection.close()


def select(state: Path, query: str) -> list[tuple[Any, ...]]:
    with database(state) as connection:
        return connection.execute(query).fetchall()


def change(state: Path, *statements: str) -> None:
    with database(state) as connection:
        for statement in statements:
            connection.execute(statement)


def note_of(state: Path, seq: int) -> str:
    return str(select(state, f"SELECT note FROM signed_head WHERE seq = {seq}")[0][0])


def set_mark(state: Path, seq: int) -> None:
    (hash_,) = select(state, f"SELECT hash FROM record WHERE seq = {seq}")[0]
    known = read_mark(state / "mark.bin")
    assert known is not None
    (state / "mark.bin").unlink()
    mark = MarkFile(state / "mark.bin")
    mark.write(known.epoch, seq, hash_, 0)
    mark.close()


def rewrite(state: Path, seq: int) -> None:
    """Change a record and every hash behind it, the head and the mark: a chain that is sound in itself."""
    with database(state) as connection:
        (epoch,) = connection.execute("SELECT epoch FROM store").fetchone()
        (prev,) = connection.execute("SELECT prev FROM record WHERE seq = ?", (seq,)).fetchone()
        found = connection.execute(
            "SELECT seq, body FROM record WHERE seq >= ? ORDER BY seq", (seq,)
        ).fetchall()
        for at, body in found:
            body = body.replace("xxx", "yyy") if at == seq else body
            digest = link(prev, epoch, at, body.encode())
            connection.execute(
                "UPDATE record SET body = ?, prev = ?, hash = ? WHERE seq = ?", (body, prev, digest, at)
            )
            prev = digest
        connection.execute("UPDATE head SET hash = ?", (prev,))
    set_mark(state, LAST)


def cut(state: Path, last: int) -> None:
    """Remove the records and heads behind one, leaving the mark."""
    change(
        state,
        f"DELETE FROM record WHERE seq > {last}",
        f"DELETE FROM signed_head WHERE seq > {last}",
        f"UPDATE head SET seq = {last}, hash = (SELECT hash FROM record WHERE seq = {last})",
    )


def trim(state: Path) -> Path:
    """Remove records up to 10 but for 3, 4, 8 and 10, which something holds, as retention would."""
    change(
        state,
        "UPDATE consumer SET acked_seq = 10",
        "DELETE FROM open_subject",
        "DELETE FROM record WHERE seq IN (1, 2, 5, 6, 7, 9)",
        "UPDATE head SET anchor_seq = 10, anchor_hash = (SELECT hash FROM record WHERE seq = 10)",
    )
    return state
