"""Blobs and scan files: durable before anybody is told, checked before anybody reads."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from station.lane.rawfile import take_up
from station.lane.vault import StoreVault
from station.store import blobs, files, scanfile
from station.store.blobs import CHUNK_BYTES, BlobFiles, DamagedBlob
from station.store.draft import BlobRef
from station.store.errors import NotStored, RecordRejected, StoreBusy, StoreFull, StoreUnavailable
from station.store.journal import Store
from station.store.scanfile import ScanFile
from station.store.verify import verify
from tests.support.journal import append, draft, open_small, put_blob

RAW = bytes(range(256)) * 10_000  # 2.4 MiB


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_small(tmp_path / "state")
    yield store
    await asyncio.to_thread(store.close)


def blob_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "state" / "blobs").rglob("*") if path.is_file()]


async def test_a_blob_lies_under_its_hash_and_is_read_in_checked_parts(store: Store, tmp_path: Path) -> None:
    name = await put_blob(store, RAW, "application/octet-stream")
    assert name == sha256(RAW).hexdigest()
    (path,) = blob_files(tmp_path)
    assert path == tmp_path / "state" / "blobs" / name[:2] / name[2:4] / name
    assert path.read_bytes() == RAW
    row = await store.find_blob(name)
    assert row is not None
    assert (row.size, row.media) == (len(RAW), "application/octet-stream")
    assert b"".join([await store.read_blob(row, chunk) for chunk in range(3)]) == RAW
    assert await store.find_blob("00" * 32) is None
    receipt = await append(store, [draft(blobs=(BlobRef("raw", name),))])
    assert receipt.last == 1


async def test_the_same_bytes_are_one_blob_and_heal_a_damaged_one(store: Store, tmp_path: Path) -> None:
    names = await asyncio.gather(*(put_blob(store, RAW, "image/jpeg") for _ in range(4)))
    assert len(set(names)) == 1
    (path,) = blob_files(tmp_path)
    damaged = bytearray(RAW)
    damaged[CHUNK_BYTES + 5] ^= 1
    path.write_bytes(damaged)
    row = await store.find_blob(names[0])
    assert row is not None
    assert await store.read_blob(row, 0) == RAW[:CHUNK_BYTES]
    with pytest.raises(DamagedBlob, match="damaged in MiB 1"):
        await store.read_blob(row, 1)
    await put_blob(store, RAW, "image/jpeg")
    assert await store.read_blob(row, 1) == RAW[CHUNK_BYTES : 2 * CHUNK_BYTES]
    path.write_bytes(RAW[:-1])
    with pytest.raises(DamagedBlob, match="has not its 2560000 bytes"):
        await store.read_blob(row, 0)
    path.unlink()
    with pytest.raises(DamagedBlob, match="cannot be read"):
        await store.read_blob(row, 0)


async def test_an_empty_blob_is_a_blob(store: Store) -> None:
    name = await put_blob(store, b"", "text/plain")
    row = await store.find_blob(name)
    assert row is not None
    assert (row.size, row.chunks) == (0, b"")


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, StoreFull), (errno.EIO, NotStored)])
async def test_a_blob_that_cannot_be_kept_leaves_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", fail)
        with pytest.raises(error):
            await put_blob(store, b"x", "text/plain")
    assert blob_files(tmp_path) == []
    assert await store.find_blob(sha256(b"x").hexdigest()) is None


async def test_a_folder_that_somebody_else_made_is_made_durable_too(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread, or a process that was killed then, may have made it and not synced it yet."""
    root = tmp_path / "state" / "blobs"
    digest = sha256(b"x").hexdigest()
    folders = [root / digest[:2] / digest[2:4], root / digest[:2], root]
    folders[0].mkdir(parents=True)
    done: list[Path | str] = []
    sync, rename, submitted = files.sync_folder, Path.rename, store._submitted

    def synced(folder: Path) -> None:
        done.append(folder)
        sync(folder)

    def renamed(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    def entered(make: Any) -> Any:
        done.append("row")
        return submitted(make)

    monkeypatch.setattr(blobs, "sync_folder", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(store, "_submitted", entered)
    await put_blob(store, b"x", "text/plain")
    assert (done[0], set(done[1:-1]), done[-1]) == ("rename", set(folders), "row")


async def test_a_record_brings_a_file_without_a_row_back(store: Store, tmp_path: Path) -> None:
    """The journal of a new epoch has no rows, and the vehicle in the lane has its photo."""
    name = await put_blob(store, RAW, "image/jpeg")
    await append(store, [draft()])
    before = await store.find_blob(name)
    await asyncio.to_thread(store.close)
    (tmp_path / "state" / "mark.bin").unlink()
    new = await asyncio.to_thread(open_small, tmp_path / "state")
    assert new.before is not None
    assert await new.find_blob(name) is None
    await append(new, [draft(blobs=(BlobRef("photo", name, "image/jpeg"),), seals=True)])
    row = await new.find_blob(name)
    assert row == before
    assert await new.read_blob(row, 2) == RAW[2 * CHUNK_BYTES :]
    await asyncio.to_thread(new.close)
    assert verify(tmp_path / "state").ok


@pytest.mark.parametrize("how", ["missing", "damaged", "unreadable"])
async def test_a_file_that_is_not_what_its_name_says_is_not_taken(
    store: Store, tmp_path: Path, how: str
) -> None:
    path = BlobFiles(tmp_path / "state" / "blobs").path(sha256(RAW).digest())
    if how == "damaged":
        path.parent.mkdir(parents=True)
        path.write_bytes(RAW[:-1])
    elif how == "unreadable":
        path.mkdir(parents=True)
    with pytest.raises(RecordRejected, match="FOREIGN KEY"):
        await append(store, [draft(blobs=(BlobRef("photo", sha256(RAW).hexdigest()),))])
    assert (await append(store, [draft()])).first == 1


async def test_what_a_killed_process_left_unfinished_is_removed(store: Store, tmp_path: Path) -> None:
    await asyncio.to_thread(store.close)
    (tmp_path / "state" / "blobs" / "part" / "half").write_bytes(b"half")
    open_small(tmp_path / "state").close()
    assert blob_files(tmp_path) == []


# --- scan files -----------------------------------------------------------------------------------


def test_each_message_is_durable_when_its_future_says_so(tmp_path: Path) -> None:
    scan = ScanFile(tmp_path / "scans" / "0193.cls")
    messages = [bytes([n]) * (n + 1) for n in range(100)]
    futures = [scan.append(message) for message in messages]
    sizes = [future.result(10) for future in futures]
    assert sizes == [sum(range(1, n + 2)) for n in range(100)]
    assert scan.path.stat().st_size >= sizes[-1]
    assert scan.close().read_bytes() == b"".join(messages)
    assert scan.close() == scan.path
    with pytest.raises(StoreUnavailable, match="is closed"):
        scan.append(b"late")


def test_a_scan_resumes_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "0193.cls"
    for part in (b"first", b"second"):
        scan = ScanFile(path)
        scan.append(part)
        scan.close()
    assert path.read_bytes() == b"firstsecond"


def test_the_queue_of_a_scan_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanfile, "QUEUE_BYTES", 1000)
    inside, go_on = threading.Event(), threading.Event()
    sync = os.fdatasync

    def slow(file: int) -> None:
        inside.set()
        go_on.wait(20)
        sync(file)

    monkeypatch.setattr(scanfile.os, "fdatasync", slow)
    scan = ScanFile(tmp_path / "0193.cls")
    first = scan.append(b"a" * 600)
    inside.wait(20)
    with pytest.raises(StoreBusy):
        scan.append(b"b" * 600)
    second = scan.append(b"b" * 400)
    go_on.set()
    assert (first.result(10), second.result(10)) == (600, 1000)
    scan.close()


def test_a_failed_sync_fails_everybody_and_is_never_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def fail(file: int) -> None:
        calls.append(file)
        if len(calls) == 1:
            return
        inside.set()
        go_on.wait(20)
        raise OSError(errno.ENOSPC, "No space left on device")

    scan = ScanFile(tmp_path / "0193.cls")
    monkeypatch.setattr(scanfile.os, "fdatasync", fail)
    assert scan.append(b"kept").result(10) == 4
    lost = scan.append(b"lost")
    inside.wait(20)
    queued = scan.append(b"queued")
    go_on.set()
    for future in (lost, queued):
        assert isinstance(future.exception(10), StoreFull)
    with pytest.raises(StoreFull):
        scan.append(b"later")
    assert len(calls) == 2
    # What was promised is there, and no half message stands before what continues the file.
    assert scan.close().read_bytes() == b"kept"


def test_a_scan_that_cannot_be_kept_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be kept"):
        ScanFile(tmp_path / "file" / "0193.cls")


def test_messages_share_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[Any] = []
    sync = os.fdatasync
    monkeypatch.setattr(scanfile.os, "fdatasync", lambda file: (syncs.append(file), sync(file)))
    scan = ScanFile(tmp_path / "0193.cls")
    futures = [scan.append(b"x" * 1000) for _ in range(1000)]
    scan.close()
    assert futures[-1].result() == 1_000_000
    assert len(syncs) < 500


def test_the_raw_lines_of_a_scan_are_there_until_a_record_names_them(tmp_path: Path) -> None:
    store = open_small(tmp_path / "state")
    vault, scans = StoreVault(store, tmp_path / "scans"), tmp_path / "scans"
    vault.write_lines("0193", b"raw lines", lambda: None)
    kept = vault.keep_lines("0193")
    assert [scan.raw for scan in take_up(scans, vault.keep)] == [kept], (
        "a stop before its record loses nothing"
    )
    vault.drop_lines("0193")
    vault.drop_lines("0193")
    assert take_up(scans, vault.keep) == []
    store.close()
