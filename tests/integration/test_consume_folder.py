"""The folder of ``carril consume``: a full disk, damage, and kills at any moment."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from station.cli.archive import Archive
from station.cli.client import Server
from station.cli.consumer import Consumer
from station.cli.errors import UserError
from tests.support.consumer import NAME, filled, numbers, take
from tests.support.liar import Liar, lying
from tests.support.station import CARRIL

pytestmark = pytest.mark.usefixtures("pauses")


# --- its own disk ---------------------------------------------------------------------------------


def test_a_full_disk_ends_it_and_nothing_is_acknowledged_that_is_not_kept(tmp_path: Path) -> None:
    liar = filled(1500)
    into = tmp_path / "into"

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    with lying(liar) as place:
        command = [*CARRIL, "consume", place.url, "--name", NAME, "--into", str(into), "--once"]
        ended = subprocess.run(
            command, capture_output=True, text=True, preexec_fn=little_room, timeout=30, check=False
        )
        assert ended.returncode == 2
        assert "cannot be written (file too large); nothing was acknowledged that is not kept" in ended.stderr
        kept = json.loads((into / "cursor.json").read_bytes())
        assert 0 < liar.acked[NAME] == kept["seq"] < 1500
        take(place, into)
    assert numbers(into) == list(range(1, 1501))


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[tuple[Path, Server, Liar]]:
    """A folder with ten records, and their station."""
    liar = filled(10)
    with lying(liar) as place:
        take(place, tmp_path)
        yield tmp_path, place, liar


def test_a_folder_belongs_to_one_station_and_one_name(kept: tuple[Path, Server, Liar]) -> None:
    folder, place, _ = kept
    with pytest.raises(UserError, match="records of LIAR-01 for central, not of LIAR-01 for conformance"):
        take(place, folder, "conformance")
    holder = Archive(folder)
    with pytest.raises(UserError, match="in use by another"):
        Archive(folder)
    holder.close()


def test_a_folder_that_lost_something_is_refused(kept: tuple[Path, Server, Liar]) -> None:
    folder, place, _ = kept
    (file,) = folder.glob("records-*.jsonl")
    whole = file.read_bytes()
    os.truncate(file, len(whole) - 1)
    with pytest.raises(UserError, match="something was lost after it was acknowledged"):
        take(place, folder)
    cursor = folder / "cursor.json"
    cursor.write_bytes(cursor.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"cursor\.json is damaged"):
        take(place, folder)
    cursor.unlink()
    with pytest.raises(UserError, match=r"has records but no cursor\.json"):
        take(place, folder)


def test_what_no_cursor_covers_is_cut_off_and_files_may_be_moved_away(
    kept: tuple[Path, Server, Liar],
) -> None:
    folder, place, liar = kept
    (file,) = folder.glob("records-*.jsonl")
    with file.open("ab") as unfinished:
        unfinished.write(b'{"half a li')
    (folder / "records-2999-01-01.jsonl").write_bytes(b"of a process that was killed at midnight\n")
    liar.append(n=11)
    take(place, folder)
    assert numbers(folder) == list(range(1, 12))
    file.rename(folder.parent / "taken away")
    liar.append(n=12)
    take(place, folder)
    assert numbers(folder) == [12]


def test_what_an_old_cursor_does_not_cover_is_moved_aside(
    kept: tuple[Path, Server, Liar], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, place, liar = kept
    (file,) = folder.glob("records-*.jsonl")
    cursor, old = folder / "cursor.json", (folder / "cursor.json").read_bytes()
    size = file.stat().st_size
    liar.append(n=11)
    take(place, folder)
    monkeypatch.setattr(time, "strftime", lambda *_: "records-2999-01-01.jsonl")
    liar.append(n=12)
    take(place, folder)
    later, lost = folder / "records-2999-01-01.jsonl", file.read_bytes()[size:]
    lost_later = later.read_bytes()
    for number in (1, 2):
        cursor.write_bytes(old)
        liar.oldest = 13  # the station has removed what was acknowledged
        said = take(place, folder)
        assert any(line.startswith("ALARM: cursor.json is older than what was acknowledged") for line in said)
        assert file.with_name(f"{file.name}.beyond-{number}").read_bytes() == lost
        beyond = later.with_name(f"{later.name}.beyond-{number}")
        assert (beyond.read_bytes() == lost_later) == (number == 1)
        assert file.stat().st_size == size
        file.write_bytes(file.read_bytes() + lost)


# --- kill -9 --------------------------------------------------------------------------------------


def follow_for_ever(place: Server, folder: str, report: Connection) -> None:
    Consumer(place, NAME, Archive(Path(folder)), lambda _: report.send_bytes(b".")).run(once=False)


@contextmanager
def busy(liar: Liar) -> Iterator[None]:
    """Write records, every tenth with a blob, until the block ends."""
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(0.001):
            n = liar.head + 1
            blobs = [liar.put(os.urandom(30_000))] if n % 10 == 0 else []
            liar.append(n=n, blobs=blobs)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_kills_at_any_moment_lose_nothing_and_double_nothing(tmp_path: Path, soak: bool) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.integration.test_consume_folder"])
    chance, liar = random.Random(4), Liar()
    with lying(liar) as place:
        for _ in range(400 if soak else 15):
            received, sent = context.Pipe(duplex=False)
            child = context.Process(target=follow_for_ever, args=(place, str(tmp_path), sent))
            child.start()
            sent.close()
            with busy(liar):
                if received.poll(10):
                    received.recv_bytes()
                time.sleep(chance.uniform(0, 0.08))
                child.kill()
                child.join()
            received.close()
            cursor = json.loads((tmp_path / "cursor.json").read_bytes())
            assert liar.acked[NAME] <= cursor["seq"], "acknowledged before it was kept"
        take(place, tmp_path)
    assert numbers(tmp_path) == list(range(1, liar.head + 1))
    assert liar.acked[NAME] == liar.head > 100
    assert liar.receipts is not None
    assert liar.receipts.keys() == liar.blobs.keys()
    for name, content in liar.blobs.items():
        assert (tmp_path / "blobs" / name[:2] / name).read_bytes() == content
