"""The portals' daily files, off the event loop: gathered here, and written in a thread each second.

A kill takes what was gathered in the last second, and what the disk had not taken by then; a power cut takes
ten seconds more. A disk that hangs or is full costs lines: they are counted in the file, and the lane is
degraded with the reason ``daily_file`` meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from drivers.api import Clock
from drivers.readings import PortalReading, PortalReport, Reading
from station.domain.day_events import DailyFileClosed
from station.domain.events import (
    ClockQualityChanged,
    ConfigApplied,
    Event,
    LaneEvent,
    LaneModeChanged,
    LaneStarted,
    OccupancyEnded,
)
from station.domain.statistics import Kind, kind_of
from station.lane.core import Core
from station.lane.daybook import Batch, DayBook, Line, Recorded, Row
from station.lane.effects import BlobKept, DayKept
from station.lane.worker import Worker
from station.store.chain import FLAGS, rfc3339

FLUSH_S = 1.0
WAITING_BYTES = 4 * 1024 * 1024
MOST_LINES = 20_000
"""Gathered in one second at most."""
LINE_BYTES = 200
"""What a line takes while it waits."""
CLOSE_S = 2.0
OF_ALL = (LaneStarted, LaneModeChanged, ConfigApplied, ClockQualityChanged)
"""Events of the lane that matter to every portal."""
OF_OCCUPANCY = ("inspection_id", "occupancy_id", "close_reason", "complete", "missing", "gaps")


class DayVault(Protocol):
    """What the files need of the store, from any thread."""

    @property
    def is_short(self) -> bool:
        """Whether there is no room for what is not vital."""
        ...

    def keep(self, data: bytes, media: str) -> BlobKept:
        """Make a blob durable; raises ``OSError`` when it cannot be kept."""
        ...

    def is_named(self, sha256: str) -> bool:
        """Whether a record names the blob; raises ``StoreError``."""
        ...


class Daily:
    """Gathers what portals say and what happens to them."""

    def __init__(
        self,
        folder: Path,
        core: Core,
        vault: DayVault,
        clock: Clock,
        report: Callable[[DayKept], None],
    ) -> None:
        """Touch nothing yet; ``report`` is called in the thread."""
        self._portals = [device.name for device in core.facts.of_role("PortalMonitor")]
        self._core, self._vault, self._clock = core, vault, clock
        self._lines: list[Line] = []
        self._rows: list[Row] = []
        self._lost: Counter[tuple[str, Kind]] = Counter()
        self._book = DayBook(folder, core.facts.lane_id, vault.keep, vault.is_named, report)
        self._worker: Worker[Batch | Recorded] = Worker("daily", self._book.take, WAITING_BYTES)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return why the lane is not wholly well: ``daily_file`` while lines of portals are not kept."""
        return ("daily_file",) if self._book.trouble or self._lost else ()

    def reading(self, device: str, reading: Reading) -> None:
        """Take what a device says; what is no line of a portal is nothing to this."""
        if not isinstance(reading, PortalReading) or isinstance(reading, PortalReport) or not reading.raw:
            return  # a document is a blob of its own
        kind = kind_of(self._core.flags)
        if len(self._lines) < MOST_LINES:
            self._lines.append(Line(device, reading.stamp, kind, reading.raw))
        else:
            self._lost[device, kind] += 1

    def told(self, events: Iterable[Event]) -> None:
        """Take what is durable: what of it belongs beside the lines."""
        for event in events:
            if isinstance(event, DailyFileClosed):
                self._worker.put(Recorded(event.name))
                continue
            if not (devices := self._concerned(event)):
                continue
            data = event.model_dump(mode="json", by_alias=True)
            if isinstance(event, OccupancyEnded):
                data = {name: data[name] for name in ("stamp", *OF_OCCUPANCY)}
            utc_us, kind = event.stamp.utc_us, kind_of(event.model_dump(include=set(FLAGS)))
            told = {"type": event.type_name(), "time": rfc3339(utc_us), **data}
            self._rows += [Row(device, utc_us, kind, told) for device in devices]

    def _concerned(self, event: Event) -> list[str]:
        """Return the portals beside whose lines an event belongs."""
        if isinstance(event, OF_ALL):
            return self._portals
        gap = isinstance(event, OccupancyEnded) and (event.gaps > 0 or not event.complete)
        device = getattr(event, "device", None) if gap or isinstance(event, LaneEvent) else None
        return [device] if device in self._portals else []

    async def run(self, stop: asyncio.Event) -> None:
        """Write each second until ``stop``."""
        while not stop.is_set():
            await self._clock.sleep(FLUSH_S)
            self.flush()

    def flush(self) -> None:
        """Give the thread what was gathered."""
        lines, self._lines = self._lines, []
        rows, self._rows = self._rows, []
        lost, self._lost = self._lost, Counter()
        batch = Batch(self._clock.stamp(), lines, rows, lost, self._vault.is_short)
        if not self._worker.put(batch, 1 + len(lines) * LINE_BYTES + len(rows) * 1024):
            self._lost = lost + Counter((line.device, line.kind) for line in lines)
            self._rows = rows[-MOST_LINES:]

    def close(self) -> None:
        """Write what there is and end the thread, in two seconds at most."""
        self.flush()
        self._worker.end()
        if self._worker.ended(CLOSE_S):
            self._book.end()
