"""Between lane and journal: screens see what is stored, all of it, and learn what cannot be stored."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest

from drivers.readings import Channel, Counts, DeviceFlag, Inputs, Phase
from station.domain.values import Verdict
from station.domain.view import DeviceView
from station.lane.commands import Decide
from station.lane.effects import BlobKept
from station.lane.host import LaneHost, Ports
from station.lane.lane import Lane
from station.lane.restart import Before
from station.runtime.bus import Bus, Message, Subscription
from station.runtime.clock import ManualClock
from station.store.draft import Draft, Idem, Receipt
from station.store.errors import NotStored, RecordRejected, StoredResponse, StoreUnavailable
from tests.support.lane_rig import DEVICES, REST, facts


@dataclass
class SlowJournal:
    """A journal whose disk answers when the test says so."""

    epoch: str = "e" * 32
    published: int = 0
    waiting: list[tuple[list[Draft], Future[Receipt]]] = field(default_factory=list)
    stored: list[Draft] = field(default_factory=list)

    def append_soon(self, drafts: list[Draft], idem: Idem | None = None) -> Future[Receipt]:
        future: Future[Receipt] = Future()
        self.waiting.append((drafts, future))
        return future

    async def answer(self, client: str, key: str) -> StoredResponse | None:
        return None

    def write(self, error: Exception | None = None) -> None:
        """Answer everything that waits."""
        waiting, self.waiting = self.waiting, []
        for drafts, future in waiting:
            if error is not None:
                future.set_exception(error)
                continue
            first = self.published + 1
            self.published += len(drafts)
            self.stored += drafts
            future.set_result(Receipt(self.epoch, first, self.published, stored_us=1_795_492_800_120_000))


class NoVault:
    """Nothing of these tests reaches the disk."""

    def keep(self, data: bytes, media: str) -> BlobKept:
        return BlobKept("ab" * 32, media, len(data))

    def write_lines(self, *_: Any) -> None:
        raise AssertionError

    keep_lines = write_lines


@dataclass
class Bench:
    """A host on a slow journal, its clock moved by hand."""

    journal: SlowJournal
    clock: ManualClock
    host: LaneHost
    outputs: dict[str, bool]
    messages: Subscription
    inputs: dict[str, bool] = field(default_factory=lambda: dict(REST))

    async def written(self, error: Exception | None = None) -> None:
        """Let the disk answer, and everything that follows happen."""
        while self.journal.waiting:
            self.journal.write(error)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if error is not None:
                return

    @contextlib.asynccontextmanager
    async def ticking(self) -> AsyncIterator[None]:
        """Let the lane notice that time passes."""
        stop = asyncio.Event()
        running = asyncio.create_task(self.host.run(stop))
        yield
        stop.set()
        await self.clock.advance(0.2)
        await running

    def board(self, **values: bool) -> None:
        self.inputs.update(values)
        self.host.reading("io1", Inputs(self.clock.stamp(), dict(self.inputs)))

    def alarm(self) -> None:
        stamp = self.clock.stamp()
        counts = (900, 900, 900, 900)
        self.host.reading("rpm1", Counts(stamp, Channel.GAMMA, Phase.SCAN, 0.2, counts, DeviceFlag.ALARM))

    def seen(self, event: str) -> list[Message]:
        """Return the messages of a kind that wait for the screen."""
        return [message for message in self.messages._waiting if message.event == event]


@pytest.fixture
async def bench() -> Iterator[Bench]:
    journal, clock, bus = SlowJournal(), ManualClock(), Bus()
    outputs: dict[str, bool] = {}

    def set_outputs(values: Mapping[str, bool]) -> None:
        outputs.update(values)

    ids = iter(range(1, 1000))
    lane = Lane(facts(), clock.stamp(), lambda: f"id-{next(ids)}")
    host = LaneHost(
        lane,
        Ports(
            journal=journal,
            vault=NoVault(),  # type: ignore[arg-type]
            bus=bus,
            clock=clock,
            set_outputs=set_outputs,
            acknowledge=lambda *_: None,
            suspect=lambda *_: None,
            clock_quality=lambda: "unknown",
            overlay=lambda view: view,
        ),
    )
    with bus.subscribe(10_000) as messages:
        bench = Bench(journal, clock, host, outputs, messages)
        host.begin(lane.start("test", Before(), clock.stamp()))
        for device in DEVICES:
            view = {"name": device.name, "role": device.role, "mode": "emulated", "required": True}
            host.health(DeviceView.model_validate({**view, "state": "online"}), "starting")
        bench.board()
        await bench.written()
        yield bench
        host.close()


async def test_a_change_without_a_record_is_shown_once_the_journal_has_caught_up(bench: Bench) -> None:
    """Shown before, it would hint at unstored facts; forgotten, the screen would be wrong for ever."""
    bench.board(entry_loop=True)
    await bench.written()
    bench.host.health(
        DeviceView(name="lpr1", role="Camera", mode="emulated", required=True, state="degraded"), "online"
    )
    bench.board(entry_loop=False, booth_loop=True)  # no record, yet locks change
    assert bench.journal.waiting
    inspection = bench.host.lane.core.inspection
    assert inspection is not None
    assert bench.host.view.inspection is not None
    assert bench.host.view.inspection.version < inspection.version
    await bench.written()
    assert bench.host.view.inspection.version == inspection.version


async def test_screens_see_a_fact_when_it_is_stored_and_not_before(bench: Bench) -> None:
    before = len(bench.seen("record"))
    bench.board(entry_loop=True)
    assert bench.host.view.inspection is None
    assert len(bench.seen("record")) == before
    await bench.written()
    assert bench.host.view.inspection is not None
    assert bench.seen("record")[-1].id == f"{bench.journal.epoch}:{bench.journal.published}"


async def test_an_alarm_that_is_not_stored_in_time_is_shown_as_such(bench: Bench) -> None:
    bench.alarm()
    await asyncio.sleep(0.15)
    (raw,) = bench.seen("alarm_raw")
    assert (raw.data["alarm"]["code"], raw.data["alarm"]["stored"]) == ("gamma_alarm", False)
    await bench.written()
    assert bench.host.view.alarms[0].stored


@pytest.mark.parametrize("error", [NotStored("the disk is gone"), RecordRejected("not a record")])
async def test_facts_that_cannot_be_kept_put_the_lane_out_of_service(bench: Bench, error: Exception) -> None:
    assert bench.outputs["entry_green"]
    bench.board(entry_loop=True)
    await bench.written(error)
    assert bench.host.lane.core.mode == "out_of_service"
    assert not bench.outputs["entry_green"]
    codes = {alarm.code: alarm.stored for alarm in bench.host.view.alarms}
    assert codes == {"cannot_record": False}


async def test_facts_that_a_broken_disk_refused_are_written_first_when_it_works_again(bench: Bench) -> None:
    bench.board(entry_loop=True)
    await bench.written(NotStored("the disk is gone"))
    async with bench.ticking():
        for _ in range(20):
            await bench.clock.advance(0.1)
            await bench.written()
    types = [draft.type for draft in bench.journal.stored]
    opened = types.index("carril.inspection.opened")
    reopened = max(n for n, kind in enumerate(types) if kind == "carril.lane_mode.changed")
    assert opened < reopened
    assert bench.host.lane.core.mode == "open"
    assert types.count("carril.inspection.opened") == 1


def decide(bench: Bench, verdict: str = "hold") -> Decide:
    inspection = bench.host.lane.core.inspection
    assert inspection is not None
    return Decide(inspection.inspection_id, inspection.version, Verdict(verdict), "O-1")


async def test_a_repeat_while_the_first_is_on_its_way_gets_its_answer(bench: Bench) -> None:
    """A screen without a receipt sends again with the same key: it must not hear that nothing was done."""
    bench.board(entry_loop=True)
    await bench.written()
    command = decide(bench, "secondary")
    first = asyncio.create_task(bench.host.command(command, "screen", "key-1", "00" * 32))
    await asyncio.sleep(0.01)
    again = asyncio.create_task(bench.host.command(command, "screen", "key-1", "00" * 32))
    await asyncio.sleep(0.01)
    await bench.written()
    assert await first == await again
    types = [draft.type for draft in bench.journal.stored]
    assert types.count("carril.decision.recorded") == 1


async def test_nothing_is_stored_before_the_facts_that_it_follows(bench: Bench) -> None:
    bench.board(entry_loop=True)
    await bench.written(NotStored("the disk is gone"))
    bench.alarm()  # the disk works again, but what came first is still to be written
    assert not bench.journal.waiting
    async with bench.ticking():
        for _ in range(20):
            await bench.clock.advance(0.1)
            await bench.written()
    types = [draft.type for draft in bench.journal.stored]
    assert types.index("carril.inspection.opened") < types.index("carril.radiation_alarm.raised")


async def test_asking_whether_the_disk_works_again_fills_no_memory(bench: Bench) -> None:
    bench.board(entry_loop=True)
    await bench.written(NotStored("the disk is gone"))
    stop = asyncio.Event()
    running = asyncio.create_task(bench.host.run(stop))
    for _ in range(100):
        await bench.clock.advance(0.5)
        await bench.written(NotStored("the disk is still gone"))
    # Fifty questions are not among them.
    kinds = [event.type_name() for append in bench.host._unstored for event in append.events]
    assert kinds == [
        "carril.inspection.opened",
        "carril.inspection.sealed",
    ]
    stop.set()
    await bench.clock.advance(0.2)
    await running


async def test_a_disk_that_does_not_answer_puts_the_lane_out_of_service(bench: Bench) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(bench.host.run(stop))
    bench.board(entry_loop=True)
    await bench.clock.advance(4.0)
    assert bench.host.lane.core.mode == "open"
    await bench.clock.advance(2.0)
    assert bench.host.lane.core.mode == "out_of_service"
    assert bench.host.view.mode == "out_of_service"
    for _ in range(30):
        await bench.written()
        await bench.clock.advance(0.1)
    assert bench.host.lane.core.mode == "open"
    stop.set()
    await bench.clock.advance(0.2)
    await running


async def test_a_hold_works_although_nothing_can_be_recorded(bench: Bench) -> None:
    bench.board(entry_loop=True)
    await bench.written()
    bench.board(cabinet_closed=False)
    await bench.written(NotStored("the disk is gone"))
    with pytest.raises(StoreUnavailable):
        await bench.host.command(decide(bench), "screen", "key-2", "00" * 32)
    inspection = bench.host.lane.core.inspection
    assert inspection is not None
    assert inspection.held
