"""Blobs go when everybody has them and no record needs them; files without a row go after two looks."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from station.store import orphans
from station.store.blobs import BlobFiles
from station.store.draft import BlobRef
from station.store.errors import StoreFull
from station.store.journal import Store
from station.store.ops import Op
from station.store.place import Consumer, Journal
from tests.support.journal import draft, of_inspection
from tests.support.served import serve
from tests.support.trimming import (
    ack,
    anchor,
    fill,
    hold,
    killed_at,
    opening,
    photo,
    receive,
    rest,
    row_of,
    stored,
    within,
)

BLOBS = [Consumer("central", required=True, blobs=True)]
PHOTO = 10_000
pytestmark = pytest.mark.usefixtures("impatient")


# --- blobs --------------------------------------------------------------------------------------------


def blob_files(state: Path) -> set[str]:
    return {path.name for path in (state / "blobs").rglob("*") if len(path.name) == 64}


def photos(store: Store, count: int) -> list[str]:
    return [photo(store, bytes([n]) * PHOTO, f"i{n}") for n in range(count)]


def test_received_blobs_go_oldest_first(opened: list[Store], tmp_path: Path) -> None:
    store = opening(opened, tmp_path, consumers=BLOBS, blob_quota_bytes=10 * PHOTO)
    names = photos(store, 9)
    rest(store)
    assert store.stats.trimmed_blobs == 0  # neither acknowledged nor received
    ack(store, store.published)
    rest(store)
    assert store.stats.trimmed_blobs == 0  # not received
    receive(store, *names[1:], size=PHOTO)
    within(3, lambda: store.blob_ratio <= 0.75)
    rest(store)
    assert store.stats.trimmed_blobs == 2  # 90 % to 70 %
    assert blob_files(tmp_path / "state") == {names[0], *names[3:]}
    assert [asyncio.run(store.find_blob(name)).present for name in names[:4]] == [  # type: ignore[union-attr]
        True, False, False, True
    ]  # fmt: skip
    assert stored(store) == list(range(1, 10)), "the records have room enough"

    async def get(name: str) -> int:
        async with serve(store) as central:
            return (await central.client.get(f"/v1/blobs/{name}")).status_code

    assert [asyncio.run(get(name)) for name in names[:2]] == [200, 410]


@pytest.mark.parametrize("why", ["held", "refused", "open", "unacknowledged", "unnamed"])
def test_a_blob_stays_while_one_record_that_names_it_must(
    opened: list[Store], tmp_path: Path, why: str
) -> None:
    store = opening(opened, tmp_path, consumers=BLOBS, blob_quota_bytes=10 * PHOTO)
    data = b"p" * PHOTO
    name = photo(store, data, *(["i1"] if why != "unnamed" else []))
    if why == "held":
        hold(store, "i1")
    if why == "open":
        store.append_soon([of_inspection("i2", "carril.inspection.opened")]).result(10)
    named = () if why == "unnamed" else (BlobRef("photo", name),)
    again = store.append_soon([draft("i3", blobs=named)]).result(10).last
    ack(store, again - 1 if why == "unacknowledged" else again, *([again] if why == "refused" else []))
    receive(store, name, size=PHOTO)
    others = photos(store, 8)
    receive(store, *others, size=PHOTO)
    if why not in ("unacknowledged", "open"):
        ack(store, store.published)
        within(3, lambda: store.blob_ratio <= 0.75)
    rest(store)
    assert name in blob_files(tmp_path / "state")


def test_without_a_consumer_of_blobs_the_acknowledgement_is_enough(
    opened: list[Store], tmp_path: Path
) -> None:
    store = opening(opened, tmp_path, blob_quota_bytes=10 * PHOTO)
    photos(store, 9)
    ack(store, store.published)
    within(3, lambda: store.blob_ratio <= 0.75)


def test_a_record_stays_while_its_blob_was_not_received(opened: list[Store], tmp_path: Path) -> None:
    store = opening(opened, tmp_path, consumers=BLOBS)
    waiting, done = photo(store, b"w" * PHOTO, "i1", "i2"), photo(store, b"d" * PHOTO, "i3")
    receive(store, done, size=PHOTO)
    ack(store, fill(store, 700))
    rest(store)
    assert stored(store)[:2] == [2, anchor(store) + 1], "the last record to name it"
    assert blob_files(tmp_path / "state") == {waiting}
    assert stored(store, "SELECT count(*) FROM blob") == [1], "nothing tells of the other any more"
    assert stored(store, "SELECT count(*) FROM blob_receipt") == [0]
    receive(store, waiting, size=PHOTO)
    fill(store, 500)
    ack(store, store.published)
    within(5, lambda: 2 not in stored(store))
    assert blob_files(tmp_path / "state") == set()


def test_a_removed_blob_that_is_kept_again_is_there_again(opened: list[Store], tmp_path: Path) -> None:
    store = opening(opened, tmp_path, blob_quota_bytes=10 * PHOTO)
    small = photo(store, b"s" * 5000, "first")
    photos(store, 8)
    ack(store, store.published)
    within(3, lambda: store.blob_ratio == pytest.approx(0.70))
    assert store.stats.trimmed_blobs == 2
    within(3, lambda: small not in blob_files(tmp_path / "state"))
    assert photo(store, b"s" * 5000, "again") == small
    assert small in blob_files(tmp_path / "state")
    assert store.blob_ratio == pytest.approx(0.75)
    store.close()
    store = opening(opened, tmp_path, blob_quota_bytes=10 * PHOTO)
    assert store.blob_ratio == pytest.approx(0.75), "summed at the start as it was counted"


def test_a_blob_that_is_kept_again_waits_for_the_record_that_will_name_it(
    opened: list[Store], tmp_path: Path
) -> None:
    store = opening(opened, tmp_path, blob_quota_bytes=10 * PHOTO)
    name = photo(store, b"p" * PHOTO, "i1")
    assert store.keep_blob(b"p" * PHOTO, "image/jpeg") == name
    photos(store, 8)
    ack(store, store.published)
    within(3, lambda: store.blob_ratio <= 0.75)
    rest(store)
    assert name in blob_files(tmp_path / "state")
    store.append_soon([draft("i2", blobs=(BlobRef("photo", name),))]).result(10)
    for n in range(100, 109):  # it is the youngest by its last record
        photo(store, bytes([n]) * PHOTO, "i3")
        ack(store, store.published)
        within(3, lambda: store.blob_ratio < 0.8)
    within(3, lambda: name not in blob_files(tmp_path / "state"))


def test_blobs_beyond_their_quota_are_refused_at_once(opened: list[Store], tmp_path: Path) -> None:
    store = opening(opened, tmp_path, consumers=BLOBS, blob_quota_bytes=3 * PHOTO)
    names = photos(store, 3)
    began = time.monotonic()
    with pytest.raises(StoreFull, match="may not be removed"):
        store.keep_blob(b"y" * PHOTO, "image/jpeg")
    assert time.monotonic() - began < 1
    assert store.append_soon([draft(prio=2)]).exception(10) is None
    ack(store, store.published)
    receive(store, *names, size=PHOTO)
    within(3, lambda: store.blob_ratio < 0.75)
    photo(store, b"y" * PHOTO, "i9")


KILLED = """
store = open_small(state, blob_quota_bytes=100_000)
for n in range(9):
    photo(store, bytes([n]) * 10_000, f"i{n}")
"""


@pytest.mark.fault("F1")
def test_killed_between_row_and_file_only_a_file_is_left_and_the_next_scan_removes_it(
    opened: list[Store], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    killed_at("trim_unlink", state, KILLED)
    left = blob_files(state)
    assert len(left) == 9
    gone = {name for name in left if row_of(state, name) == 1}
    assert len(gone) == 2
    store = opening(opened, tmp_path, blob_quota_bytes=10 * PHOTO)
    within(10, lambda: blob_files(state) == left - gone)
    assert store.blob_ratio == pytest.approx(0.7)


# --- files without a row ------------------------------------------------------------------------------


def orphan(state: Path, data: bytes) -> str:
    files = BlobFiles(state / "blobs")
    files.start()
    return files.write(data, "image/jpeg").sha256.hex()


def scanned(state: Path) -> bool:
    return (state / "orphans").exists()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the scan of all stores was asked for a step, and how often it came to its end."""
    counted: Counter[str] = Counter()
    next_, end = orphans.Orphans.next, orphans.Orphans._end

    def asked(self: orphans.Orphans, journal: Journal, *, idle: bool) -> Op | None:
        op = next_(self, journal, idle=idle)
        counted["asked"] += 1
        return op

    def ended(self: orphans.Orphans) -> None:
        end(self)
        counted["ended"] += 1

    monkeypatch.setattr(orphans.Orphans, "next", asked)
    monkeypatch.setattr(orphans.Orphans, "_end", ended)
    return counted


def test_an_orphan_found_before_and_after_a_restart_goes_into_quarantine(
    opened: list[Store], tmp_path: Path, looks: Counter[str]
) -> None:
    state = tmp_path / "state"
    name = orphan(state, b"o" * 500)
    store = opening(opened, tmp_path)
    within(5, lambda: scanned(state))
    wanted = orphan(state, b"w" * 500)
    store.close()
    assert name in blob_files(state), "it was found once"
    store = opening(opened, tmp_path)
    within(5, lambda: blob_files(state) == {wanted})
    assert (state / "quarantine" / "blobs" / name).read_bytes() == b"o" * 500
    within(5, lambda: store.stats.orphans == 1)
    # The other one was found once; a record names it in time.
    store.append_soon([draft(blobs=(BlobRef("photo", wanted),))]).result(10)
    epoch = store.epoch
    for _ in range(2):
        store.close()
        before = looks["ended"]
        store = opening(opened, tmp_path)
        within(5, lambda: looks["ended"] > before)  # noqa: B023 - asked within this round
    assert (store.epoch, blob_files(state)) == (epoch, {wanted})


def test_a_file_or_folder_that_the_disk_refuses_ends_no_scan(
    opened: list[Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "state"
    names = sorted(orphan(state, bytes([n])) for n in range(40))
    bad, unread = names[3], state / "blobs" / names[5][:2]
    remove, listdir = BlobFiles.remove, os.listdir

    def removed(self: BlobFiles, digest: bytes, into: Path | None = None) -> bool:
        if digest.hex() == bad:
            raise OSError(errno.EIO, "the disk fails")
        return remove(self, digest, into)

    def listed(folder: Path) -> list[str]:
        if folder == unread:
            raise PermissionError(errno.EACCES, "no right")
        return listdir(folder)

    monkeypatch.setattr(BlobFiles, "remove", removed)
    monkeypatch.setattr(os, "listdir", listed)
    left = {bad} | {name for name in names if name[:2] == unread.name}
    store = opening(opened, tmp_path)
    within(5, lambda: scanned(state))
    store.close()
    opening(opened, tmp_path)
    within(5, lambda: blob_files(state) == left)
    assert f"blob {bad} can be neither moved nor removed: " in caplog.text
    assert f"the blobs in {unread} cannot be looked through: " in caplog.text


def test_a_row_that_no_record_names_is_forgotten_and_its_file_moved(
    opened: list[Store], tmp_path: Path, looks: Counter[str]
) -> None:
    """What a crash leaves between the blob and its record: it would count against the quota for ever."""
    state = tmp_path / "state"
    store = opening(opened, tmp_path)
    nameless, wanted = (store.keep_blob(content * 500, "text/plain") for content in (b"n", b"w"))
    store.append_soon([draft(blobs=(BlobRef("photo", wanted),))]).result(10)
    for round_ in range(4):
        store.close()
        assert nameless in blob_files(state), f"it goes only when it was found often enough: {round_}"
        before = looks["ended"]
        store = opening(opened, tmp_path)
        within(5, lambda: looks["ended"] > before)  # noqa: B023 - asked within this round
        if round_ == 1:
            within(5, lambda: store._writer.journal.blob_bytes == 500)  # noqa: B023
        if round_ == 3:
            within(5, lambda: blob_files(state) == {wanted})
    store.close()
    assert (row_of(state, wanted), row_of(state, nameless)) == (0, None)
    assert (state / "quarantine" / "blobs" / nameless).exists()


def test_or_twice_a_day_apart(
    opened: list[Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: Counter[str]
) -> None:
    state = tmp_path / "state"
    name = orphan(state, b"o" * 500)
    store = opening(opened, tmp_path)
    within(5, lambda: looks["ended"] == 1)
    before = looks["asked"]
    within(5, lambda: looks["asked"] > before)  # and has not looked a second time
    assert (looks["ended"], blob_files(state)) == (1, {name})
    store.close()
    (state / "orphans").unlink()
    monkeypatch.setattr(orphans, "SCAN_EACH_S", 0.2)
    store = opening(opened, tmp_path)
    within(5, lambda: blob_files(state) == set())


def test_what_is_kept_at_this_moment_is_no_orphan(tmp_path: Path) -> None:
    files = BlobFiles(tmp_path / "blobs")
    files.start()
    digest = files.write(b"new", "image/jpeg").sha256
    assert not files.remove(digest)
    assert files.path(digest).exists()
    files.named(digest)
    assert files.remove(digest)
    assert not files.path(digest).exists()
