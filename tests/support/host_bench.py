"""A lane's host without devices: a journal that answers when the test says so, a clock moved by hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from drivers.readings import Channel, Counts, DeviceFlag, Inputs, Phase
from station.domain.events import Event
from station.domain.values import Verdict
from station.domain.view import DeviceView
from station.lane.commands import Decide
from station.lane.drafts import Journal
from station.lane.effects import BlobKept
from station.lane.host import LaneHost, Ports
from station.lane.lane import Lane
from station.lane.restart import Before
from station.runtime.bus import Bus, Message, Subscription
from station.store.draft import Draft, Idem, Receipt
from station.store.errors import StoredResponse
from tests.support.lane_facts import DEVICES, REST, facts
from tests.support.manual_clock import ManualClock

Disk = Callable[[list[Draft]], Exception | None]
"""What the disk says to an append; ``None``: it is stored."""


def works(drafts: list[Draft]) -> Exception | None:
    """A disk as always."""
    return None


@dataclass
class SlowJournal:
    """A journal whose disk answers when the test says so."""

    epoch: str = "e" * 32
    published: int = 0
    waiting: list[tuple[list[Draft], bool, Future[Receipt]]] = field(default_factory=list)
    stored: list[Draft] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """Idempotency keys of all commands."""
    answers: Callable[[], Any] | None = None
    """What a look-up for the answer to a key awaits first."""
    answered: StoredResponse | None = None

    def append_soon(
        self, drafts: list[Draft], idem: Idem | None = None, *, again: bool = False
    ) -> Future[Receipt]:
        future: Future[Receipt] = Future()
        self.waiting.append((drafts, again, future))
        self.keys += [idem.key] if idem else []
        return future

    async def answer(self, client: str, key: str) -> StoredResponse | None:
        if self.answers is not None:
            await self.answers()
        return self.answered

    def news(self) -> None:
        """It notices nothing."""

    @property
    def types(self) -> list[str]:
        """Types of all stored records."""
        return [draft.type.removeprefix("carril.") for draft in self.stored]

    def keep(self, drafts: list[Draft]) -> Receipt:
        """Store them."""
        first = self.published + 1
        self.published += len(drafts)
        self.stored += drafts
        return Receipt(self.epoch, first, self.published, stored_us=1_795_492_800_120_000)

    def write(self, disk: Disk = works) -> None:
        """Answer everything that waits."""
        waiting, self.waiting = self.waiting, []
        for drafts, again, future in waiting:
            error = disk(drafts)
            if error is not None:
                future.set_exception(error)
            elif again and drafts[0] in self.stored:
                first = self.stored.index(drafts[0]) + 1
                future.set_result(Receipt(self.epoch, first, first + len(drafts) - 1, stored_us=0))
            else:
                future.set_result(self.keep(drafts))


class NoVault:
    """Nothing of these tests reaches the disk."""

    def keep(self, data: bytes, media: str) -> BlobKept:
        return BlobKept("ab" * 32, media, len(data))

    def write_lines(self, *_: Any) -> None:
        raise AssertionError

    keep_lines = drop_lines = write_lines


@dataclass
class Bench:
    """A host on a journal (mostly a slow one), its clock moved by hand."""

    journal: Any
    clock: ManualClock
    host: LaneHost
    outputs: dict[str, bool]
    messages: Subscription
    inputs: dict[str, bool] = field(default_factory=lambda: dict(REST))

    @contextlib.asynccontextmanager
    async def ticking(self) -> AsyncIterator[None]:
        """Let the lane notice that time passes."""
        stop = asyncio.Event()
        running = asyncio.create_task(self.host.run(stop))
        yield
        stop.set()
        await self.clock.advance(0.2)
        await running

    async def written(self, disk: Disk = works) -> None:
        """Let the disk answer, and everything that follows happen."""
        while self.journal.waiting:
            self.journal.write(disk)
            for _ in range(3):
                await asyncio.sleep(0)

    async def later(self, seconds: float, disk: Disk = works) -> None:
        """Let the lane tick so long, on such a disk."""
        async with self.ticking():
            for _ in range(round(seconds / 0.1)):
                await self.clock.advance(0.1)
                await self.written(disk)

    def board(self, **values: bool) -> None:
        self.inputs.update(values)
        self.host.reading("io1", Inputs(self.clock.stamp(), dict(self.inputs)))

    def alarm(self) -> None:
        stamp = self.clock.stamp()
        counts = (900, 900, 900, 900)
        self.host.reading("rpm1", Counts(stamp, Channel.GAMMA, Phase.SCAN, 0.2, counts, DeviceFlag.ALARM))

    def decide(self, verdict: str = "hold") -> Decide:
        """An order for the vehicle as it is."""
        inspection = self.host.lane.core.inspection
        assert inspection is not None
        return Decide(inspection.inspection_id, inspection.version, Verdict(verdict), "O-1")

    def seen(self, event: str) -> list[Message]:
        """Return the messages of a kind that wait for the screen."""
        return [message for message in self.messages._waiting if message.event == event]


@contextlib.contextmanager
def benched(
    journal: Journal, told: Callable[[Sequence[Event]], None] = lambda events: None
) -> Iterator[Bench]:
    """A host on ``journal``, its lane started; ``told`` hears of what is durable."""
    clock, bus = ManualClock(), Bus()
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
            told=told,
        ),
    )
    with bus.subscribe(10_000) as messages:
        bench = Bench(journal, clock, host, outputs, messages)
        host.begin(lane.start("test", Before(), clock.stamp()))
        for device in DEVICES:
            view = {"name": device.name, "role": device.role, "mode": "emulated", "required": True}
            host.health(DeviceView.model_validate({**view, "state": "online"}), "starting")
        bench.board()
        yield bench
        host.close()
