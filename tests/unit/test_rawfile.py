"""Raw files that a stop of the station cut off become evidence; none is lost, none stays for ever."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from drivers.readings import ScanKey, ScanKind, ScanOpened, Stamp
from station.lane.effects import BlobKept, OpenScan
from station.lane.rawfile import journal_head, take_up
from station.store import scanfile
from station.store.errors import NotStored, StoreUnavailable
from station.store.scanfile import ScanFile, discard
from tests.support.lane_facts import SCANNER

FIRST, SECOND = "01930000-0000-7000-8000-000000000001", "01930000-0000-7000-8000-000000000002"


def cut_off(folder: Path, scan_id: str, content: bytes) -> bytes:
    """Leave a raw file as a killed station does."""
    file = ScanFile(folder / f"{scan_id}.cls")
    file.append(content).result(5)
    file.close()
    return content


def head(scan_id: str, inspection_id: str | None) -> bytes:
    stamp = Stamp(1_795_000_000_000_000_000, 1, "boot")
    opened = ScanOpened(stamp, ScanKey(1, 2), ScanKind.VEHICLE, 8, 1, 0.002, 65535, True, False, SCANNER, b"")
    return journal_head(OpenScan(scan_id, "scanner1", opened, inspection_id))


class Blobs(dict[str, bytes]):
    def keep(self, data: bytes, media: str) -> BlobKept:
        name = hashlib.sha256(data).hexdigest()
        self[name] = data
        return BlobKept(name, media, len(data))


def test_every_raw_file_becomes_a_blob_that_names_its_inspection(tmp_path: Path) -> None:
    second = cut_off(tmp_path, SECOND, head(SECOND, "i-2") + b"lines and half a mess")
    first = cut_off(tmp_path, FIRST, head(FIRST, None))
    blobs = Blobs()
    taken = take_up(tmp_path, blobs.keep)
    assert [(one.scan_id, one.inspection_id) for one in taken] == [(FIRST, None), (SECOND, "i-2")]
    assert [blobs[one.raw.sha256] for one in taken] == [first, second]
    assert taken[0].raw.media == "application/x-carril-linestream"


def test_the_file_stays_until_its_record_is_durable_and_a_second_stop_does_the_same_again(
    tmp_path: Path,
) -> None:
    cut_off(tmp_path, FIRST, head(FIRST, "i-1"))
    assert take_up(tmp_path, Blobs().keep) == take_up(tmp_path, Blobs().keep) != []
    discard(tmp_path, FIRST)
    discard(tmp_path, FIRST)
    assert take_up(tmp_path, Blobs().keep) == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_kept_stays_and_does_not_keep_the_others_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut_off(tmp_path, FIRST, head(FIRST, "i-1"))
    cut_off(tmp_path, SECOND, b"small")
    blobs = Blobs()

    def keep(data: bytes, media: str) -> BlobKept:
        if len(data) > 10:
            raise OSError("the disk is full")
        return blobs.keep(data, media)

    assert [one.scan_id for one in take_up(tmp_path, keep)] == [SECOND]
    assert (tmp_path / f"{FIRST}.cls").exists()
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize("content", [b"CLS1", b"\0" * 5000, head(FIRST, "i")[:60], head(FIRST, "i")[40:]])
def test_a_file_that_does_not_say_whose_it_is_is_kept_all_the_same(tmp_path: Path, content: bytes) -> None:
    cut_off(tmp_path, FIRST, content)
    (one,) = take_up(tmp_path, Blobs().keep)
    assert (one.inspection_id, one.raw.bytes) == (None, len(content))


def test_empty_files_go_and_a_missing_folder_is_empty(tmp_path: Path) -> None:
    (tmp_path / f"{FIRST}.cls").touch()
    assert take_up(tmp_path, Blobs().keep) == []
    assert list(tmp_path.iterdir()) == []
    assert take_up(tmp_path / "none", Blobs().keep) == []


def test_a_disk_that_hangs_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(scanfile, "CLOSE_LIMIT_S", 0.1)
    monkeypatch.setattr(scanfile.os, "fdatasync", lambda file: go.wait(10))
    file = ScanFile(tmp_path / f"{FIRST}.cls")
    future = file.append(b"lines")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        file.close()
    go.set()
    assert future.result(5) == 5
    assert file.close().read_bytes() == b"lines"


def test_whatever_breaks_the_writer_every_future_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanfile.os, "fdatasync", lambda file: 1 / 0)
    file = ScanFile(tmp_path / f"{FIRST}.cls")
    with pytest.raises(NotStored, match="division by zero"):
        file.append(b"lines").result(5)
    with pytest.raises(NotStored):
        file.append(b"more")
    file.close()
    assert take_up(tmp_path, Blobs().keep) == []  # nothing of it counts as written
