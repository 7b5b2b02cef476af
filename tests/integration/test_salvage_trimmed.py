"""A new epoch after a journal that had made room: what was removed is no loss, what was kept is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from station.store import inherit, retention
from station.store.place import Consumer
from station.store.schema import PAGE_BYTES
from tests.support.epochs import DB, Follower, distrusted, salvage_ends, sql
from tests.support.journal import open_small
from tests.support.trimming import ack, anchor, fill, hold, in_force, rest, stored

TWO = (Consumer("central"), Consumer("port", required=False))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def always_full(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The store removes whatever may go."""
    with monkeypatch.context() as patch:
        patch.setattr(retention, "TRIM_FROM", 0.0)
        patch.setattr(retention, "TRIM_TO", 0.0)
        yield patch


def numbers(reader: Follower, epoch: str) -> list[int]:
    return sorted(int(id_.partition(":")[2]) for id_ in reader.seen if id_.startswith(epoch))


def salvaged(state: Path, epoch: str) -> Follower:
    """What a consumer reads of the new epoch that had read nothing before."""
    store = open_small(state)
    salvage_ends(store, 1)
    reader = Follower(epoch=epoch)
    reader.read(store)
    store.close()
    return reader


def trimmed(state: Path, upto: int) -> str:
    """Let ``central`` take records, and wait until they are removed; ``port`` takes none. Give the epoch."""
    store = open_small(state, consumers=TWO)
    fill(store, 900, size=500)
    ack(store, upto)
    rest(store)
    assert anchor(store) == upto
    epoch = store.epoch
    store.close()
    return epoch


@pytest.mark.parametrize("cursors", [True, False])
def test_what_had_been_removed_is_no_loss_and_does_not_come_back(
    state: Path, always_full: pytest.MonkeyPatch, cursors: bool
) -> None:
    epoch = trimmed(state, 200)
    always_full.undo()
    if not cursors:
        sql(state, "DROP TABLE consumer")
    distrusted(state)
    found = salvaged(state, epoch)
    assert found.lost == []
    assert numbers(found, epoch) == list(range(201, 901))
    (closing_record,) = found.closed
    told = {name: closing_record[name] for name in ("from", "to", "salvaged", "gaps")}
    assert told == {"from": 201, "to": 900, "salvaged": 700, "gaps": 0}


def test_an_anchor_that_the_record_behind_it_belies_hides_nothing(
    state: Path, always_full: pytest.MonkeyPatch
) -> None:
    epoch = trimmed(state, 200)
    always_full.undo()
    sql(state, "UPDATE head SET anchor_seq = anchor_seq + 256")
    distrusted(state)
    found = salvaged(state, epoch)
    assert set(range(201, 901)) <= set(numbers(found, epoch))


def test_a_cursor_that_cannot_be_read_may_be_the_lowest(state: Path) -> None:
    store = open_small(state)
    fill(store, 600, size=10)
    epoch = store.epoch
    store.close()
    for n in range(600):
        sql(state, "INSERT INTO consumer VALUES (?, ?, 0, 1, 0)", f"port{n:04d}", 5 if n == 599 else 600)
    sql(state, "UPDATE consumer SET acked_seq = 600 WHERE name = 'central'")
    distrusted(state)
    break_page_with(state, b"port0599", leaf=0x0A)
    found = salvaged(state, epoch)
    assert (numbers(found, epoch), found.lost) == (list(range(1, 601)), [])
    store = open_small(state)
    kept = set(stored(store, "SELECT name FROM consumer WHERE required = 1"))
    store.close()
    assert {"central", "port0000", "port0100"} <= kept, "who can be read stays required"


def break_page_with(state: Path, text: bytes, leaf: int = 0x0D) -> None:
    """Overwrite the leaf page in which this stands: of records, or (0x0A) of a table without numbers."""
    content = bytearray((state / DB).read_bytes())
    (start,) = (
        at
        for at in range(0, len(content), PAGE_BYTES)
        if content[at] == leaf and text in content[at : at + PAGE_BYTES]
    )
    content[start : start + PAGE_BYTES] = b"\x55" * PAGE_BYTES
    (state / DB).write_bytes(content)


@pytest.mark.parametrize("why", ["refused", "held", "in force"])
def test_the_loss_of_what_had_to_be_kept_is_told(
    state: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr(inherit, "TAIL", 20)
    store = open_small(state)
    fill(store, 100, size=500)
    kept = fill(store, 1, "kept", size=500, why="the record that is kept")
    fill(store, 900, size=500)
    refused = (kept,) if why == "refused" else ()
    ack(store, store.published, *refused)
    if why == "held":
        hold(store, "kept")
    if why == "in force":
        in_force(store, "kept")
    epoch = store.epoch
    store.close()
    distrusted(state)
    break_page_with(state, b"the record that is kept")
    found = salvaged(state, epoch)
    assert found.lost == [(epoch, kept, kept)]


@pytest.mark.parametrize("table", ["nack", "legal_hold", "directive"])
def test_what_is_there_is_kept_when_nobody_can_tell_what_had_to_be(
    state: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setattr(inherit, "TAIL", 20)
    store = open_small(state)
    fill(store, 600, size=10)
    ack(store, store.published)
    epoch = store.epoch
    store.close()
    sql(state, f"DROP TABLE {table}")
    distrusted(state)
    assert numbers(salvaged(state, epoch), epoch) == list(range(1, 601))
