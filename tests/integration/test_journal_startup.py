"""The journal opens on any state of the disk: each test is one row of the start-up table."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from station.domain.events import EpochOpened
from station.store import startup
from station.store.errors import StateLocked, StoreRefused, StoreUnavailable, WrongStation
from station.store.feed import read_after
from station.store.mark import SLOT_BYTES, Mark, read_mark
from station.store.startup import open_journal
from station.store.verify import verify
from tests.support.epochs import DB, salvage_ends, sql, write
from tests.support.journal import CONSUMERS, draft, of_inspection, open_small, place_of


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def last_event(state: Path, seq: int) -> dict[str, Any]:
    connection = sqlite3.connect(state / DB)
    (body,) = connection.execute("SELECT body FROM record WHERE seq = ?", (seq,)).fetchone()
    connection.close()
    event: dict[str, Any] = json.loads(body)
    return event


def assert_new_epoch(state: Path, before: tuple[str, int] | None, cause: str) -> None:
    """Opening begins a new epoch behind the old one, says so, and keeps the old one."""
    store = open_small(state)
    salvage_ends(store, len(list((state / "quarantine").iterdir())))
    epoch, head, first, damaged = store.epoch, store.published, store.first_seq, store.damaged
    known = store.before
    store.close()
    event = last_event(state, first)
    assert event["type"] == EpochOpened.type_name()
    assert event["prio"] == EpochOpened.PRIO == 0
    EpochOpened.model_validate(event["data"])
    assert cause in event["data"]["cause"]
    assert damaged == ()
    if before is not None:
        assert epoch != before[0]
        assert first == before[1] + 1
        assert known is not None
        assert (known.epoch.hex(), known.last) == before
        assert event["data"]["previous"] == before[0]
        assert event["data"]["previous_last"] == before[1]
    # And the new one is an ordinary store from then on.
    again = open_small(state)
    assert (again.epoch, again.published) == (epoch, head)
    again.append_soon([draft()]).result(10)
    again.close()


def test_an_empty_folder_begins_at_one(state: Path) -> None:
    store = open_small(state)
    assert (store.first_seq, store.published, store.before) == (1, 0, None)
    assert store.append_soon([draft()]).result(10).first == 1
    store.close()


def test_a_stopped_store_goes_on(state: Path) -> None:
    before = write(state)
    store = open_small(state)
    assert (store.epoch, store.published) == before
    assert store.append_soon([draft()]).result(10).first == before[1] + 1
    store.close()


def test_a_store_without_records_goes_on(state: Path) -> None:
    before = write(state, 0)
    assert write(state, 0) == before


@pytest.mark.parametrize("how", ["missing", "empty", "folder"])
@pytest.mark.fault("F10")
def test_a_missing_database_is_a_new_epoch(state: Path, how: str) -> None:
    before = write(state)
    if how == "folder":
        shutil.rmtree(state / "journal")
    else:
        (state / DB).unlink()
        if how == "empty":
            (state / DB).touch()
    assert_new_epoch(state, before, "the database is missing")


@pytest.mark.fault("F10")
def test_a_second_journal_that_is_missing_is_accounted_for_like_the_first(state: Path) -> None:
    write(state)
    for folders in (1, 2):
        shutil.rmtree(state / "journal")
        store = open_small(state)
        salvage_ends(store, folders)
        assert store.before is not None
        old, last = store.before.epoch, store.before.last
        rows = store._readers.look(lambda view: read_after(view, 0, 100))
        store.close()
        lost = [row.event()["data"] for row in rows if row.type == "carril.records.lost"]
        assert {each["epoch"] for each in lost} >= {old.hex()}, f"up to {last}, {lost}"
        copies = sorted((state / "quarantine").glob("*/mark.bin"))
        assert len(copies) == folders
        marked = read_mark(copies[-1])
        assert marked is not None
        assert marked.epoch == old


@pytest.mark.parametrize("damage", ["zeroed", "header", "cut", "noise", "schema", "tables"])
@pytest.mark.fault("F9")
def test_an_unreadable_database_is_a_new_epoch_and_is_kept(state: Path, damage: str) -> None:
    before = write(state, 200)
    path = state / DB
    content = bytearray(path.read_bytes())
    if damage == "zeroed":
        content[:] = bytes(len(content))
    elif damage == "header":
        content[:16] = b"not an sqlite db"
    elif damage == "cut":
        del content[8192 * 3 :]
    elif damage == "noise":
        content[100:8192] = os.urandom(8092)
    path.write_bytes(content)
    if damage == "schema":
        sql(state, "UPDATE store SET schema = 99")
    elif damage == "tables":
        sql(state, "DROP TABLE head")
    old = path.read_bytes()
    assert_new_epoch(state, before, "has schema 99" if damage == "schema" else "")
    (kept,) = (state / "quarantine").glob("*/journal/station.db")
    assert kept.read_bytes() == old
    copied = read_mark(kept.parent.parent / "mark.bin")
    assert copied is not None
    assert copied.seq == before[1]


def test_a_journal_shorter_than_its_mark_is_a_new_epoch(state: Path) -> None:
    before = write(state)
    connection = sqlite3.connect(state / DB)
    (hash_,) = connection.execute("SELECT hash FROM record WHERE seq = 3").fetchone()
    connection.close()
    sql(state, "DELETE FROM record WHERE seq > 3")
    sql(state, "UPDATE head SET seq = 3, hash = ?", hash_)
    assert_new_epoch(state, before, "the journal ends at 3, the mark says 5")


@pytest.mark.fault("F10")
def test_a_restored_old_copy_is_a_new_epoch_behind_the_mark(state: Path, tmp_path: Path) -> None:
    write(state, 2)
    shutil.copytree(state / "journal", tmp_path / "copy")
    before = write(state, 3)
    assert before[1] == 5
    shutil.rmtree(state / "journal")
    shutil.copytree(tmp_path / "copy", state / "journal")
    assert_new_epoch(state, before, "the journal ends at 2, the mark says 5")


@pytest.mark.fault("F10")
def test_a_copy_of_another_epoch_is_a_new_epoch_behind_both(state: Path, tmp_path: Path) -> None:
    write(state, 2)
    shutil.copytree(state / "journal", tmp_path / "copy")
    (state / DB).unlink()
    before = write(state, 3)
    shutil.rmtree(state / "journal")
    shutil.copytree(tmp_path / "copy", state / "journal")
    assert_new_epoch(state, before, "the mark is of another epoch")


def test_another_history_of_equal_length_is_a_new_epoch(state: Path) -> None:
    before = write(state)
    mark = read_mark(state / "mark.bin")
    assert mark is not None
    forged = Mark(mark.epoch, mark.seq, b"x" * 32, 0, mark.generation + 1)
    (state / "mark.bin").write_bytes(forged.encode() + bytes(SLOT_BYTES))
    assert_new_epoch(state, before, "record 5 is not the one that was marked")


@pytest.mark.parametrize("content", [None, b"", b"\xff" * 8192])
def test_a_lost_mark_is_a_new_epoch(state: Path, content: bytes | None) -> None:
    before = write(state)
    (state / "mark.bin").unlink()
    if content is not None:
        (state / "mark.bin").write_bytes(content)
    assert_new_epoch(state, before, "there is no valid mark")


def test_a_lost_mark_without_records_is_made_again(state: Path) -> None:
    before = write(state, 0)
    (state / "mark.bin").unlink()
    assert write(state, 0) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE head SET seq = 4",
        "UPDATE head SET hash = zeroblob(32)",
        "DELETE FROM record WHERE seq = 5",
        "DELETE FROM head",
    ],
)
def test_a_head_that_is_not_the_last_record_is_a_new_epoch(state: Path, statement: str) -> None:
    before = write(state)
    sql(state, statement)
    assert_new_epoch(state, before, "head")


def test_nothing_known_at_all_begins_at_one_and_says_so(state: Path) -> None:
    write(state)
    (state / DB).write_bytes(b"x" * 100_000)
    (state / "mark.bin").unlink()
    store = open_small(state)
    assert store.first_seq == 1  # its salvage may have closed already
    store.close()
    assert last_event(state, 1)["data"]["previous"] is None


@pytest.mark.parametrize(
    ("seq", "head", "store"),
    [
        ("5", ("seven", "hash", None, 1.5), (7, "epoch", None, b"\0")),
        (b"\xff", (-3, b"\0", 0, 0), ("LAR-04", b"\0", -1, None)),
        (1e300, (2**62, bytes(32), 0, 0), ("LAR-04", bytes(16), "x", 1)),
    ],
)
def test_values_of_the_wrong_kind_are_a_new_epoch(
    state: Path, seq: object, head: tuple[object, ...], store: tuple[object, ...]
) -> None:
    """A damaged page gives anything, also where the table is strict."""
    before = write(state)
    connection = sqlite3.connect(state / DB)
    for table, columns in (
        ("record", "seq"),
        ("head", "seq, hash, anchor_seq, anchor_hash"),
        ("store", "station, epoch, first_seq, prev_epoch, prev_last, prev_hash, schema, search, created_us"),
        ("consumer", "name, acked_seq, acked_us, required"),
    ):
        connection.execute(f"DROP TABLE {table}")
        connection.execute(f"CREATE TABLE {table} ({columns})")
    connection.execute("INSERT INTO record VALUES (?)", (seq,))
    connection.execute("INSERT INTO head VALUES (?, ?, ?, ?)", head)
    connection.execute("INSERT INTO store VALUES (?, ?, ?, ?, 'last', 0, 1, 1, NULL)", store)
    connection.execute("INSERT INTO consumer VALUES (x'00', 'all', NULL, 'yes'), ('central', 2, 0, 1)")
    connection.commit()
    connection.close()
    assert_new_epoch(state, before, "")


def test_a_new_journal_that_cannot_be_trusted_is_one_sentence(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(state)
    (state / "mark.bin").unlink()

    def distrust(*_: Any) -> None:
        raise startup._Distrust("the disk gives other bytes than were written")

    monkeypatch.setattr(startup, "_compare", distrust)
    with pytest.raises(StoreUnavailable, match="cannot be opened: the disk gives other bytes"):
        open_small(state)


def test_a_damaged_record_in_a_sound_journal_is_found_and_kept(state: Path) -> None:
    before = write(state)
    sql(state, "UPDATE record SET body = replace(body, 'n', 'm') WHERE seq = 3")
    store = open_small(state)
    assert (store.epoch, store.published) == before
    assert store.damaged == (3,)
    store.close()


def test_another_station_changes_nothing(state: Path) -> None:
    write(state)
    files = {path: path.read_bytes() for path in state.rglob("*") if path.is_file() and path.name != "lock"}
    with pytest.raises(WrongStation, match="belongs to station 'LAR-04', this lane is 'LAR-05'"):
        open_journal(replace(place_of(state), station="LAR-05"))
    after = {path: path.read_bytes() for path in state.rglob("*") if path.is_file() and path.name != "lock"}
    assert after == files


def test_another_station_that_was_killed_keeps_its_log(state: Path, tmp_path: Path) -> None:
    store = open_small(state)
    store.append_soon([draft()]).result(10)
    left = tmp_path / "left"
    subprocess.run(["cp", "-r", state, left], check=True)  # as a killed process leaves it
    store.close()
    before = {name: (left / name).read_bytes() for name in (DB, DB + "-wal", "mark.bin")}
    assert before[DB + "-wal"]
    with pytest.raises(WrongStation):
        open_journal(replace(place_of(left), station="LAR-05"))
    assert {name: (left / name).read_bytes() for name in before} == before


def test_a_second_process_is_refused_with_the_first_ones_number(state: Path) -> None:
    store = open_small(state)
    with pytest.raises(StateLocked, match=f"in use by process {os.getpid()}"):
        open_small(state)
    store.close()
    open_small(state).close()


def test_a_configuration_without_a_required_consumer_is_refused(state: Path) -> None:
    with pytest.raises(StoreRefused, match="No consumer is required"):
        open_small(state, consumers=[("port", False)])
    assert not state.exists()


def test_a_state_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="cannot be"):
        open_small(tmp_path / "file" / "state")


# --- consumers ----------------------------------------------------------------------------------


def test_a_new_consumer_begins_at_the_oldest_record(state: Path) -> None:
    epoch, head = write(state)
    store = open_small(state, consumers=[*CONSUMERS, ("port", False)])
    assert store.acked == {"central": 0, "port": 0}
    store._submitted(lambda: epoch_ack("central", epoch, head)).result(10)
    store.close()
    store = open_small(state, consumers=[("port", True)])  # leaving one out of the file drops nothing
    assert store.acked == {"central": 5, "port": 0}
    store.close()


def epoch_ack(name: str, epoch: str, seq: int) -> Any:
    from station.store.ops import Ack

    return Ack(name, epoch, seq)


def test_cursors_survive_a_new_epoch(state: Path) -> None:
    epoch, _ = write(state)
    store = open_small(state)
    store._submitted(lambda: epoch_ack("central", epoch, 3)).result(10)
    store.close()
    (state / "mark.bin").unlink()
    open_small(state).close()
    connection = sqlite3.connect(state / DB)
    assert connection.execute("SELECT name, acked_seq FROM consumer").fetchall() == [("central", 3)]
    connection.close()


# --- the search index ---------------------------------------------------------------------------


def test_a_search_index_of_another_version_is_made_again(state: Path) -> None:
    store = open_small(state)
    plate = {"identity": {"plate": {"text": "ab-123"}, "container": None}}
    papers = {"status": "partial", "equipment": ["CSQU 305438-3"]}
    for type_, data in (
        ("inspection.opened", {}),
        ("inspection.identified", plate),
        ("manifest.matched", papers),
        ("inspection.sealed", {}),
    ):
        store.append_soon([of_inspection("i1", f"carril.{type_}", **data)]).result(10)
    store.close()
    # The first one had fewer columns, and found by them.
    for statement in (
        "DROP TABLE search_key",
        "ALTER TABLE inspection DROP COLUMN declared",
        "CREATE INDEX inspection_plate ON inspection (plate, first_seq)",
        "DELETE FROM inspection",
        "UPDATE store SET search = 1",
    ):
        sql(state, statement)
    open_small(state).close()
    connection = sqlite3.connect(state / DB)
    assert connection.execute("SELECT * FROM inspection").fetchall() == [
        ("i1", 1, 4, "sealed", "AB123", "", 0, "CSQU3054383")
    ]
    assert connection.execute("SELECT * FROM search_key").fetchall() == [
        ("i1", "container", "CS0U3054383", 1),
        ("i1", "plate", "AB123", 1),
    ]
    indexes = {row[1] for row in connection.execute("PRAGMA index_list(inspection)")}
    assert "inspection_plate" not in indexes
    connection.close()
    assert verify(state).ok
