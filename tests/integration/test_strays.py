"""Blob files that a new epoch does not know count, and go only when an old journal proves that they may."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from station.store import database, inherit, quota, strays
from station.store.journal import Store
from station.store.place import Consumer
from station.store.quota import Pressure, bound_by_disk
from station.store.witness import is_done_with, witnesses
from tests.support.epochs import distrusted, salvage_ends
from tests.support.journal import open_small, place_of
from tests.support.trimming import ack, hold, photo, receive, rest, within

BLOBS = (Consumer("central", required=True, blobs=True),)
PHOTO = 10_000
pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(strays, "AGAIN_S", 0.05)
    monkeypatch.setattr(inherit, "TAIL", 0)


def files(state: Path) -> set[str]:
    return {path.name for path in state.rglob("*") if len(path.name) == 64}


def old_epoch(state: Path, *, why: str = "") -> list[str]:
    """A stopped store with nine photographs, the first of them still needed for the reason ``why``."""
    store = open_small(state, consumers=BLOBS)
    names = [photo(store, bytes([n]) * PHOTO, f"i{n}") for n in range(9)]
    if why == "held":
        hold(store, "i0")
    ack(store, store.published, *([1] if why == "refused" else []))
    receive(store, *names[why == "no receipt" :], size=PHOTO)
    store.close()
    return names


def new_epoch(opened: list[Store], tmp_path: Path, quota_photos: int) -> Store:
    distrusted(tmp_path / "state")
    store = open_small(tmp_path / "state", consumers=BLOBS, blob_quota_bytes=quota_photos * PHOTO)
    opened.append(store)
    salvage_ends(store, 1)
    return store


def test_what_has_no_row_counts(opened: list[Store], tmp_path: Path) -> None:
    names = old_epoch(tmp_path / "state")
    store = new_epoch(opened, tmp_path, 20)
    within(5, lambda: store.blob_ratio == pytest.approx(0.45))
    rest(store)
    assert files(tmp_path / "state") == set(names), "there is room enough"


def test_what_arrived_goes_when_room_is_scarce(opened: list[Store], tmp_path: Path) -> None:
    old_epoch(tmp_path / "state")
    store = new_epoch(opened, tmp_path, 10)
    within(5, lambda: len(files(tmp_path / "state")) == 7)
    within(5, lambda: store.blob_ratio == pytest.approx(0.70))
    assert store.pressure == Pressure.NONE


@pytest.mark.parametrize("why", ["held", "refused", "no receipt"])
def test_what_is_still_needed_stays(opened: list[Store], tmp_path: Path, why: str) -> None:
    names = old_epoch(tmp_path / "state", why=why)
    store = new_epoch(opened, tmp_path, 1)
    within(5, lambda: files(tmp_path / "state") == {names[0]})
    rest(store)
    assert files(tmp_path / "state") == {names[0]}


@pytest.mark.parametrize("lost", ["mark.bin", "journal/station.db"])
def test_what_nobody_can_prove_stays_and_counts(opened: list[Store], tmp_path: Path, lost: str) -> None:
    names = old_epoch(tmp_path / "state")
    state = tmp_path / "state"
    (state / lost).unlink()
    store = open_small(state, consumers=BLOBS, blob_quota_bytes=9 * PHOTO)
    opened.append(store)
    salvage_ends(store, 1)
    within(5, lambda: store.pressure == Pressure.MANUAL)
    rest(store)
    assert files(state) == set(names)


def test_what_lies_in_quarantine_counts_and_goes_likewise(opened: list[Store], tmp_path: Path) -> None:
    state = tmp_path / "state"
    names = old_epoch(state)
    folder = state / "quarantine" / "blobs"
    folder.mkdir(parents=True)
    for path in [path for path in (state / "blobs").rglob("*") if path.name in names]:
        path.rename(folder / path.name)
    store = new_epoch(opened, tmp_path, 10)
    within(5, lambda: store.blob_ratio == pytest.approx(0.70))
    assert len(list(folder.iterdir())) == 7


def test_a_blob_that_is_there_needs_no_room(opened: list[Store], tmp_path: Path) -> None:
    opened.append(store := open_small(tmp_path / "state", blob_quota_bytes=PHOTO))
    name = photo(store, b"p" * PHOTO, "i1")
    assert store.keep_blob(b"p" * PHOTO, "image/jpeg") == name


def test_the_disks_free_space_bounds_the_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk:
        f_frsize, f_blocks, f_bavail = 1000, 1000, 500

    monkeypatch.setattr(quota.os, "statvfs", lambda _: Disk)
    assert bound_by_disk(tmp_path, 100_000, 2**63 - 1) == 550_000
    assert bound_by_disk(tmp_path, 100_000, 540_000) == 540_000, "it does not follow small changes up"
    assert bound_by_disk(tmp_path, 100_000, 500_000) == 550_000
    Disk.f_bavail = 10
    assert bound_by_disk(tmp_path, 100_000, 550_000) == 100_000, "the last 5 % are not for blobs"


_THEN_OR_NOW = [
    ("then", "INSERT INTO legal_hold VALUES ('i0', 'H-1')"),
    ("then", "INSERT INTO open_subject VALUES ('i0', 1, 0)"),
    ("then", "INSERT INTO nack (consumer, seq, reason, tries, offered_seq) VALUES ('central', 1, '', 0, 1)"),
    ("then", "DELETE FROM blob_receipt"),
    ("then", "UPDATE consumer SET acked_seq = 0"),
    ("then", "DELETE FROM record WHERE seq = 1"),
    ("then", "DROP TABLE blob_receipt"),
    ("now", "INSERT INTO legal_hold VALUES ('i0', 'H-1')"),
    ("now", "INSERT INTO consumer VALUES ('port', 0, 0, 1, 0)"),
]


@pytest.mark.parametrize(("when", "change"), [("then", ""), *_THEN_OR_NOW])
def test_one_doubt_is_enough(tmp_path: Path, when: str, change: str) -> None:
    state, stores = tmp_path / "state", list[Store]()
    digest = bytes.fromhex(old_epoch(state)[0])
    new_epoch(stores, tmp_path, 20).close()
    (old,) = state.glob("quarantine/0*/journal/station.db")
    changed = {"then": old, "now": state / "journal" / "station.db"}[when]
    with closing(sqlite3.connect(changed, isolation_level=None)) as connection:
        connection.execute(change)
    with (
        witnesses(place_of(state)) as heard,
        closing(database.connect_reader(state / "journal" / "station.db")) as today,
    ):
        assert len(heard) == 1
        assert is_done_with(digest, heard, today) == (not change)
