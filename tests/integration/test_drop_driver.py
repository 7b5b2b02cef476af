"""The folder of documents on a real disk, its time moved by hand: what is read when, and when it is moved."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.api import BadFrame, ConnectFailed, DeviceFault, DriverContext, LinkLost, Reporter
from drivers.contract import held
from drivers.plant.clock import PlantClock
from drivers.plant.rig import Hearing, within
from drivers.readings import PortalReport
from drivers.rpm.drop import driver as module
from drivers.rpm.drop.driver import N42Drop, N42DropOptions
from drivers.transport import folder as transport
from tests.support.n42_documents import document

BEGIN_NS = 1_795_000_000_000_000_000
PATIENCE_S = 20.0
SOON_S = 0.3
"""Long enough, in real seconds, for several looks at the folder."""


class Drop:
    """One folder with one driver; only ``pass_s`` moves its time."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.options = N42DropOptions(folder=str(folder), **options)
        self.clock = PlantClock(rate=0)
        self.memory: dict[str, Any] = {}
        self.received = bytearray()
        self.hearing: Hearing
        self.driver: N42Drop

    def make(self) -> N42Drop:
        tap = lambda way, data: self.received.extend(data)  # noqa: E731
        context = DriverContext("rpm1", self.clock, logging.getLogger("rpm1"), tap, self.memory)
        self.driver = N42Drop(self.options, context)
        return self.driver

    async def open(self) -> None:
        await self.make().open()
        self.hearing = Hearing(self.driver)

    async def reopen(self) -> None:
        """As after a restart of the station: nothing is remembered but the folder."""
        await self.driver.close()
        await self.hearing.stop()
        self.memory.clear()
        await self.open()

    def write(self, name: str, body: bytes) -> Path:
        """Write a file in place, as a careless sender does."""
        path = self.folder / name
        path.write_bytes(body)
        return path

    def rename(self, name: str, body: bytes) -> Path:
        """Write a file beside its place and rename it, as a careful one does."""
        self.write(f"{name}.part", body).rename(self.folder / name)
        return self.folder / name

    @property
    def reports(self) -> list[PortalReport]:
        return [each for each in self.hearing.items if isinstance(each, PortalReport)]

    async def hear(self, reports: int) -> PortalReport:
        assert await within(PATIENCE_S, lambda: len(self.reports) >= reports or self.hearing.ended)
        assert len(self.reports) == reports
        return self.reports[-1]

    async def hear_nothing_more(self) -> None:
        known = len(self.hearing.items)
        await asyncio.sleep(SOON_S)
        assert self.hearing.items[known:] == []

    async def pass_s(self, seconds: float) -> None:
        """Let the driver look, then time pass."""
        await asyncio.sleep(SOON_S)
        self.clock.advance(seconds)

    def names(self, place: str = "") -> list[str]:
        return sorted(path.name for path in (self.folder / place).iterdir() if path.is_file())


@contextlib.asynccontextmanager
async def opened(folder: Path, **options: Any) -> AsyncIterator[Drop]:
    drop = Drop(folder, **options)
    await drop.open()
    try:
        yield drop
    finally:
        await drop.driver.close()
        await drop.hearing.stop()


# --- when a file is ready -------------------------------------------------------------------------


async def test_a_file_that_is_renamed_into_the_folder_is_read_at_once_and_stays_until_it_is_taken(
    tmp_path: Path,
) -> None:
    body = document(BEGIN_NS, alarms=("Gamma",))
    async with opened(tmp_path) as drop:
        assert isinstance(drop.driver, Reporter)
        drop.rename("one.n42", body)
        report = await drop.hear(1)
        assert (report.name, report.body, set(report.alarms)) == ("one.n42", body, {"gamma"})
        assert drop.received == body
        await drop.hear_nothing_more()
        assert drop.names() == ["one.n42"]
        await drop.driver.taken("another")
        assert drop.names() == ["one.n42"]
        await drop.driver.taken(report.key)
        (kept,) = drop.names("done")
        assert kept.endswith("Z-one.n42")
        assert (tmp_path / "done" / kept).read_bytes() == body
        assert drop.names() == []
        await drop.driver.taken(report.key)
        await drop.hear_nothing_more()


async def test_a_file_that_is_written_in_place_is_read_when_it_has_stood_still_for_two_seconds(
    tmp_path: Path,
) -> None:
    body = document(BEGIN_NS)
    async with opened(tmp_path) as drop:
        drop.write("one.n42", body[:100])
        await drop.pass_s(1.5)
        drop.write("one.n42", body)
        await drop.pass_s(1.5)
        await drop.hear_nothing_more()
        assert drop.reports == []
        drop.clock.advance(1.0)
        assert (await drop.hear(1)).body == body


async def test_what_lay_there_before_the_start_is_read_the_oldest_first(tmp_path: Path) -> None:
    for name, number, age_s in (("b", 1, 300), ("a", 2, 200), ("c", 3, 100)):
        (tmp_path / name).write_bytes(document(BEGIN_NS + number))
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    async with opened(tmp_path) as drop:
        await drop.pass_s(2.1)
        await drop.hear(3)
        assert [report.name for report in drop.reports] == ["b", "a", "c"]


async def test_files_in_the_making_folders_links_pipes_and_empty_files_are_left_alone(tmp_path: Path) -> None:
    body = document(BEGIN_NS)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(body)
    folder = tmp_path / "drop"
    folder.mkdir()
    (folder / "folder.n42").mkdir()
    (folder / "link.n42").symlink_to(elsewhere)
    os.mkfifo(folder / "pipe.n42")
    async with opened(folder) as drop:
        for name in (".hidden", "one.part", "one.TMP", "one.filepart", "one~"):
            drop.write(name, body)
        drop.write("empty.n42", b"")
        await drop.pass_s(5)
        await drop.hear_nothing_more()
        drop.rename("good.n42", body)
        assert (await drop.hear(1)).name == "good.n42"


async def test_without_inotify_a_renamed_file_has_to_stand_still_like_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_LIBC", type("Libc", (), {"inotify_init1": lambda self, flags: -1})())
    async with opened(tmp_path) as drop:
        drop.rename("one.n42", document(BEGIN_NS))
        await drop.pass_s(0)
        await drop.hear_nothing_more()
        await drop.pass_s(2.1)
        await drop.hear(1)


async def test_a_document_is_read_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    decode = module.decode

    def watched(*args: Any) -> PortalReport:
        threads.append(threading.current_thread())
        return decode(*args)

    monkeypatch.setattr(module, "decode", watched)
    async with opened(tmp_path) as drop:
        drop.rename("one.n42", document(BEGIN_NS))
        await drop.hear(1)
    assert threads
    assert threading.main_thread() not in threads


# --- what cannot be read --------------------------------------------------------------------------


async def test_half_a_document_is_waited_for_and_read_when_it_is_whole(tmp_path: Path) -> None:
    body = document(BEGIN_NS)
    async with opened(tmp_path) as drop:
        drop.write("one.n42", body[:-500])
        await drop.pass_s(2.1)
        await drop.pass_s(20)
        await drop.hear_nothing_more()
        with (tmp_path / "one.n42").open("ab") as file:
            file.write(body[-500:])
        await drop.pass_s(0)
        drop.clock.advance(2.1)
        report = await drop.hear(1)
        assert (report.refused, report.body) == ("", body)


async def test_half_a_document_that_does_not_grow_goes_to_quarantine_with_the_reason(tmp_path: Path) -> None:
    async with opened(tmp_path) as drop:
        half = drop.rename("half.n42", document(BEGIN_NS)[:-500])
        await drop.pass_s(31)
        report = await drop.hear(1)
        assert "not grown for 30 s" in report.refused
        assert half.exists()
        await drop.driver.taken(report.key)
        kept, reason = drop.names("quarantine")
        assert (kept[-10:], reason) == ("Z-half.n42", f"{kept}.why.txt")
        assert (tmp_path / "quarantine" / reason).read_text().strip() == report.refused
        assert drop.names() == drop.names("done") == []


BOMB = b'<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "&b;&b;&b;">]><RadInstrumentData>&c;</RadInstrumentData>'


@pytest.mark.parametrize(
    ("body", "why", "kind"),
    [
        (b"GS,000012,000011,000012,000013\r\n", "no XML", "bad_document"),
        (BOMB, "types or entities", "bad_document"),
        (b"<a/>", "not N42.42-2012", "bad_document"),
        (b"", "at most 67108864 are read", "too_large"),
    ],
)
async def test_what_is_no_document_is_told_counted_and_put_aside(
    tmp_path: Path, body: bytes, why: str, kind: str
) -> None:
    async with opened(tmp_path) as drop:
        path = drop.write("odd.part", body)
        if not body:
            os.truncate(path, 64 * 2**20 + 1)
        path.rename(tmp_path / "odd.n42")
        report = await drop.hear(1)
        assert why in report.refused
        assert drop.hearing.bad_frames == [BadFrame(kind, 0, body[:64])]
        await drop.driver.taken(report.key)
        assert len(drop.names("quarantine")) == 2
        drop.rename("good.n42", document(BEGIN_NS))
        assert (await drop.hear(2)).refused == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is locked for root")
async def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as drop:
        drop.write("locked.part", b"x").chmod(0)
        (tmp_path / "locked.part").rename(tmp_path / "locked.n42")
        assert "cannot be read (Permission denied)" in (await drop.hear(1)).refused


# --- nothing is lost, nothing grows ---------------------------------------------------------------


async def test_what_was_read_and_not_taken_is_told_again_after_a_minute_and_after_a_restart(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as drop:
        drop.rename("good.n42", document(BEGIN_NS))
        drop.rename("junk.n42", b"junk")
        await drop.hear(2)
        await drop.pass_s(59)
        await drop.hear_nothing_more()
        drop.clock.advance(2)
        await drop.hear(4)
        keys = [report.key for report in drop.reports]
        assert len(set(keys)) == 2
        assert len(drop.hearing.bad_frames) == 1, "what comes again is no new bad frame"
        await drop.reopen()
        await drop.pass_s(2.1)
        await drop.hear(2)
        assert {report.key for report in drop.reports} == set(keys)
        for key in keys:
            await drop.driver.taken(key)
        assert (len(drop.names("done")), len(drop.names("quarantine"))) == (1, 2)


async def test_files_of_one_name_and_files_of_one_content_collide_with_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as drop:
        for number in range(3):
            drop.rename("passage.n42", document(BEGIN_NS + number))
            await drop.driver.taken((await drop.hear(number + 1)).key)
        body = document(BEGIN_NS + 9)
        drop.rename("x.n42", body)
        drop.rename("y.n42", body)
        await drop.hear(5)
        assert drop.reports[-1].key == drop.reports[-2].key
        await drop.driver.taken(drop.reports[-1].key)
        kept = drop.names("done")
        assert sorted(name.split("Z-")[1] for name in kept) == ["passage.n42"] * 3 + ["x.n42", "y.n42"]
        assert len({(tmp_path / "done" / name).read_bytes() for name in kept}) == 4


async def test_a_file_that_changed_since_it_was_told_is_not_moved_but_read_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as drop:
        drop.rename("one.n42", document(BEGIN_NS))
        first = await drop.hear(1)
        drop.rename("one.n42", document(BEGIN_NS + 1))
        await drop.driver.taken(first.key)
        second = await drop.hear(2)
        assert second.key != first.key
        assert drop.names("done") == []
        await drop.driver.taken(second.key)
        assert len(drop.names("done")) == 1


@pytest.mark.parametrize("limit", [{"keep_files": 3}, {"keep_mib": 1}])
async def test_what_is_done_does_not_grow_for_ever(tmp_path: Path, limit: dict[str, int]) -> None:
    (tmp_path / "done").mkdir()
    for number in range(5):
        (tmp_path / "done" / f"2020010{number}-old").write_bytes(bytes(300_000))
    async with opened(tmp_path, **limit) as drop:
        drop.rename("new.n42", document(BEGIN_NS))
        await drop.driver.taken((await drop.hear(1)).key)
        kept = drop.names("done")
        assert 2 <= len(kept) <= 4
        assert kept[-1].endswith("new.n42")
        assert kept[0] > "20200101"


async def test_documents_that_nobody_takes_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", len(document(BEGIN_NS)) + 100)
    async with opened(tmp_path) as drop:
        for number in range(3):
            drop.rename(f"{number}.n42", document(BEGIN_NS + number))
        first = await drop.hear(1)
        await drop.hear_nothing_more()
        await drop.driver.taken(first.key)
        await drop.hear(2)


async def test_a_name_of_any_bytes_is_told_and_moved(tmp_path: Path) -> None:
    async with opened(tmp_path) as drop:
        name = os.fsdecode(b"\xff" + b"n" * 230 + b".n42")
        drop.write("x.part", document(BEGIN_NS)).rename(tmp_path / name)
        report = await drop.hear(1)
        report.name.encode()
        await drop.driver.taken(report.key)
        assert len(drop.names("done")) == 1


# --- a folder that is not well --------------------------------------------------------------------


async def test_a_folder_that_is_missing_or_none_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name, why in (("missing", "No such file or directory"), ("file", "Not a directory")):
        drop = Drop(tmp_path / name)
        with pytest.raises(ConnectFailed, match=f"{name} cannot be used \\({why}\\): see that it is there"):
            await drop.make().open()
        await drop.driver.close()


async def test_a_folder_in_which_nothing_can_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "quarantine").write_bytes(b"")
    drop = Drop(tmp_path)
    with pytest.raises(ConnectFailed, match="cannot be used"):
        await drop.make().open()
    await drop.driver.close()


async def test_a_full_disk_is_said_at_once(tmp_path: Path) -> None:
    """A limit on the size of a file is what a test can have of a full disk."""
    drop = Drop(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(ConnectFailed, match=r"cannot be used \(File too large\)"):
            await drop.make().open()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    await drop.driver.close()


async def test_a_folder_that_goes_away_is_a_lost_link(tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    async with opened(folder) as drop:
        folder.rename(tmp_path / "gone")
        drop.clock.advance(1)
        assert await within(PATIENCE_S, lambda: drop.hearing.ended)
        assert isinstance(drop.hearing.error, LinkLost)
        assert "cannot be read any more (No such file or directory)" in str(drop.hearing.error)


async def test_a_file_that_cannot_be_moved_is_a_fault_of_the_device_and_stays(tmp_path: Path) -> None:
    drop = Drop(tmp_path)
    await drop.make().open()
    items = drop.driver.readings()
    drop.rename("one.n42", document(BEGIN_NS))
    report = await anext(items)
    assert isinstance(report, PortalReport)
    (tmp_path / "done").rmdir()
    (tmp_path / "done").write_bytes(b"")
    await drop.driver.taken(report.key)
    with pytest.raises(DeviceFault, match="cannot be moved out of the folder"):
        await anext(items)
    assert "one.n42" in drop.names()
    (tmp_path / "done").unlink()
    (tmp_path / "done").mkdir()
    drop.clock.advance(61)
    again = await anext(drop.driver.readings())
    assert isinstance(again, PortalReport)
    await drop.driver.taken(again.key)
    assert (drop.names(), len(drop.names("done"))) == ([], 1)
    await drop.driver.close()


async def test_a_folder_that_hangs_costs_one_thread_until_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORK_S", 0.2)
    answers = threading.Event()
    look = transport.Folder.look
    before = held()

    def hangs(*args: Any) -> list[transport.Found]:
        answers.wait(30)
        return look(*args)

    monkeypatch.setattr(transport.Folder, "look", hangs)
    drop = Drop(tmp_path)
    await drop.open()
    assert await within(PATIENCE_S, lambda: drop.hearing.ended)
    assert "does not answer any more" in str(drop.hearing.error)
    begun_s = time.monotonic()
    await drop.driver.close()
    assert time.monotonic() - begun_s < 3
    threads = threading.active_count()
    for _ in range(3):
        with pytest.raises(ConnectFailed, match="still does not answer"):
            await drop.make().open()
        await drop.driver.close()
    assert threading.active_count() == threads
    monkeypatch.undo()
    answers.set()
    assert await within(PATIENCE_S, lambda: held()[0] <= before[0])
    await drop.open()
    drop.rename("one.n42", document(BEGIN_NS))
    await drop.hear(1)
    await drop.driver.close()
    await drop.hearing.stop()
    assert await within(PATIENCE_S, lambda: held() <= before)


def test_a_relative_folder_is_refused() -> None:
    with pytest.raises(ValueError, match="must be an absolute path"):
        N42DropOptions(folder="drop")
