"""A portal's lines on their way to a file, to a blob, to a record that names it: on a real journal."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drivers.readings import Channel, Counts, Inputs, OccupancyEnd, Phase, PortalSetup, Speed
from station.domain.view import DeviceView
from station.lane.daily import MOST_LINES, Daily
from station.lane.vault import StoreVault
from station.store.feed import read_subject
from station.store.journal import Store
from station.store.quota import Pressure
from station.store.verify import verify
from tests.support.host_bench import Bench, benched
from tests.support.journal import append, draft, open_small

LIMIT_S = 10.0


@dataclass
class Lane:
    """A lane's host and its daily files on a store."""

    bench: Bench
    daily: Daily
    store: Store
    folder: Path

    def say(self, *raws: bytes) -> None:
        for raw in raws:
            stamp = self.bench.clock.stamp()
            reading = Counts(stamp, Channel.GAMMA, Phase.BACKGROUND, 1.0, (600, 600, 600, 600), raw=raw)
            self.daily.reading("rpm1", reading)
            self.bench.host.reading("rpm1", reading)

    async def until(self, what: Callable[[], Any], sentence: str) -> Any:
        """Let the thread, the journal and the lane go on until it is so."""
        ends_s = time.monotonic() + LIMIT_S
        while not (found := what()):
            assert time.monotonic() < ends_s, sentence
            self.daily.flush()
            await asyncio.sleep(0.01)
        return found

    async def pass_time(self, seconds: float) -> None:
        async with self.bench.ticking():
            await self.bench.clock.advance(seconds)
        self.daily.flush()

    def lines(self) -> list[str]:
        """All lines of all days and kinds."""
        return [line for path in self.folder.glob("*.csv") for line in path.read_text().splitlines()]

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*.*"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_small(tmp_path / "state")
    yield store
    store.close()
    report = verify(tmp_path / "state")
    assert report.ok, report.faults


@pytest.fixture
async def lane(store: Store, tmp_path: Path) -> AsyncIterator[Lane]:
    late: list[Daily] = []
    with benched(store, told=lambda events: late[0].told(events) if late else None) as bench:
        vault = StoreVault(store, tmp_path / "scans")
        folder = tmp_path / "state" / "daily"
        daily = Daily(folder, bench.host.lane.core, vault, bench.clock, bench.host.report)
        late.append(daily)
        yield Lane(bench, daily, store, folder)
        daily.close()
    await append(store, [draft()])  # whatever was on its way is there before it


async def test_a_day_of_lines_becomes_blobs_that_a_record_names(lane: Lane) -> None:
    lane.say(b"GB,000600,000601,000602,000603\r\n", b"GB,000604,000605,000606,000607\r\n")
    view = {"name": "rpm1", "role": "PortalMonitor", "mode": "emulated", "required": True}
    view |= {"state": "backoff", "cause": "link_lost"}
    lane.bench.host.health(DeviceView.model_validate(view), "online")
    name = "LANE-1_rpm1_20260101_simulated.csv"
    assert len(await lane.until(lane.lines, "the lines are written")) == 2
    lane.bench.clock.step_utc(86_400.0)
    await lane.pass_time(1.0)
    await lane.pass_time(61.0)

    def recorded() -> Any:
        rows = lane.store._readers.look(lambda view: read_subject(view, "rpm1"))
        return [row.event()["data"] for row in rows if row.type == "carril.daily_file.closed"]

    (day,) = await lane.until(recorded, "the day is recorded")
    assert (day["device"], day["day"], day["part"], day["name"]) == ("rpm1", "2026-01-01", 1, name)
    assert (day["lines"], day["lost"], day["simulated"]) == (2, 0, True)
    await lane.until(lambda: name not in lane.names(), "the file goes when its record is durable")
    blobs = {blob["role"]: await _blob(lane.store, blob["sha256"]) for blob in day["blobs"]}
    assert blobs["daily"].decode() == (
        "GB,000600,000601,000602,000603,00-00-00.000\nGB,000604,000605,000606,000607,00-00-00.000\n"
    )
    rows = [json.loads(row) for row in blobs["daily_events"].splitlines()]
    assert (rows[0]["type"], rows[1]["type"]) == ("opened", "carril.lane.started")
    assert [row["cause"] for row in rows if row.get("to") == "backoff"] == ["link_lost"]
    assert lane.store.is_named(day["blobs"][0]["sha256"])
    assert not lane.store.is_named("ab" * 32)


async def _blob(store: Store, sha256: str) -> bytes:
    row = await store.find_blob(sha256)
    assert row is not None
    return await store.read_blob(row, 0)


async def test_only_lines_of_portals_are_taken(lane: Lane) -> None:
    stamp = lane.bench.clock.stamp()
    lane.daily.reading("io1", Inputs(stamp, {"entry_loop": True}))
    lane.daily.reading("rpm1", Speed(stamp, 2.0))  # no line of its own: another reading of the poll has it
    lane.daily.reading("rpm1", OccupancyEnd(stamp, 7, raw=b"GX,000007,000000,000000,000000"))
    lane.daily.reading("rpm1", PortalSetup(stamp, "SG1", {}, "h", raw=b"SG1,1"))
    assert await lane.until(lane.lines, "the lines are written") == [
        "GX,000007,000000,000000,000000,00-00-00.000",
        "SG1,1,00-00-00.000",
    ]


async def test_what_is_no_evidence_goes_where_its_flags_say(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(lane.bench.host.lane.core)
    for flags in ({}, {"simulated": True}, {"test": True}, {"exercise": True}):
        monkeypatch.setattr(kind, "flags", property(lambda core, flags=flags: flags))
        lane.say(b"GB,1,1,1,1")
    wanted = {f"LANE-1_rpm1_20260101{kind}.csv" for kind in ("", "_simulated", "_test", "_exercise")}
    await lane.until(lambda: wanted <= set(lane.names()), "four files")


async def test_the_loop_waits_for_no_disk_and_loses_nothing_in_silence(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    take = lane.daily._book.take

    def slow(work: Any) -> None:
        hangs.wait(LIMIT_S)
        take(work)

    monkeypatch.setattr(lane.daily._worker, "_do", slow)
    began_s = time.monotonic()
    said = 0
    for _ in range(4):
        for _ in range(MOST_LINES // 2):
            lane.daily.reading("rpm1", Speed(lane.bench.clock.stamp(), 2.0, raw=b"SP,%06d" % said))
            said += 1
        lane.daily.flush()
    assert lane.daily.reasons == ("daily_file",)
    assert time.monotonic() - began_s < 5
    hangs.set()

    def all_told() -> bool:
        lane.daily.reading("rpm1", Speed(lane.bench.clock.stamp(), 2.0, raw=b"the last"))
        text = {path.suffix: path.read_text() for path in lane.folder.glob("*_simulated*")}
        rows = [json.loads(row) for row in text.get(".jsonl", "").splitlines()]
        lost = sum(row["lines"] for row in rows if row["type"] == "lines_lost")
        return lost > 0 and text[".csv"].count("SP,") + lost == said

    await lane.until(all_told, "each line is there, or counted")
    assert lane.daily.reasons == ()


async def test_where_room_is_scarce_lines_are_given_up_first(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "pressure", property(lambda store: Pressure.REFUSE))
    lane.say(b"GB,1,1,1,1")
    await lane.until(lambda: lane.daily.reasons == ("daily_file",), "it says so")
    assert [name for name in lane.names() if name.endswith(".csv")] == []
    monkeypatch.undo()
    lane.say(b"GB,2,2,2,2")
    await lane.until(lambda: lane.daily.reasons == (), "there is room again")
    assert await lane.until(lane.lines, "the line is written") == ["GB,2,2,2,2,00-00-00.000"]


async def test_the_last_second_before_the_end_is_written(lane: Lane) -> None:
    lane.say(b"GB,1,1,1,1")
    lane.daily.close()
    assert lane.lines() == ["GB,1,1,1,1,00-00-00.000"]


async def test_it_writes_each_second(lane: Lane) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(lane.daily.run(stop))
    lane.say(b"GB,1,1,1,1")
    await lane.bench.clock.advance(1.0)
    ends_s = time.monotonic() + LIMIT_S
    while not lane.names():
        assert time.monotonic() < ends_s
        await asyncio.sleep(0.01)
    stop.set()
    await lane.bench.clock.advance(1.0)
    await running
