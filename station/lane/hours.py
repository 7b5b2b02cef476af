"""The lane's hours: recorded when they are over, and in parts, so that a restart reads a short way back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from drivers.api import PortalFacts
from drivers.readings import Counts
from station.domain.day_events import DailyFileClosed, HourCounted
from station.domain.events import Event
from station.domain.hours import COUNTED, Hours, hour_name
from station.domain.statistics import Kind, Tally, flags_of, kind_of
from station.lane.core import Core, blob_uses
from station.lane.effects import DayKept
from station.lane.restart import Record, spared

KEPT = 64
Part = tuple[str, Kind, int]
"""A part of an hour: its name, what it is of, when it was recorded (monotonic, microseconds; -1: not yet)."""


class LaneHours:
    """Counts what the lane records, and what its vacant portals say."""

    def __init__(self, core: Core) -> None:
        """Begin with nothing."""
        self._core = core
        self._hours = Hours({device.name: device.portal.detectors for device in core.facts.devices})
        self.recorded: OrderedDict[Part, Tally] = OrderedDict()
        """The last that became records, durable by now or not."""
        self.turns = 0
        """How often any did."""

    @property
    def _kind(self) -> Kind:
        return kind_of(self._core.flags)

    def restore(self, records: Iterable[Record]) -> None:
        """Go on from the last records of the journal: what no tally in it has."""
        for record in records:
            with spared(record):
                self._hours.take(record[1], record[2])

    def tick(self) -> None:
        """Let time pass, and record the hours that are over."""
        now = self._core.now
        self._hours.tick(now.utc_ns // 1000, now.mono_ns // 1000, now.boot_id, self._kind)

    def background(self, device: str, portal: PortalFacts, reading: Counts) -> None:
        """Take a record that entered the background of a portal."""
        averaged = self._core.facts.averaged(portal, reading)
        self._hours.background(device, reading, self._core.now, self._kind, averaged=averaged)

    def told(self, events: Sequence[Event]) -> None:
        """Take what the lane has just recorded."""
        for event in events:
            if (type_ := event.type_name()) != COUNTED:
                self._hours.take(type_, event.model_dump(mode="json", by_alias=True))

    def record(self, *, whole: bool) -> None:
        """Put the tallies of hours that are over, or all, before the other events of the running call.

        Before: what comes behind them in the journal is in none of them.
        """
        taken = self._hours.over(whole=whole)
        for (hour, kind), tally in reversed(taken):
            self.recorded[hour_name(hour), kind, self._core.now.mono_ns // 1000] = tally
            self._core.events.insert(0, self._core.made(HourCounted, **self._fields(hour, kind, tally)))
        self.turns += bool(taken)
        while len(self.recorded) > KEPT:
            self.recorded.popitem(last=False)

    def kept(self, day: DayKept) -> None:
        """A portal's daily file is stored: record it."""
        self._core.emit(
            DailyFileClosed,
            device=day.device,
            day=f"{day.day[:4]}-{day.day[4:6]}-{day.day[6:]}",
            part=day.part,
            name=day.name,
            lines=day.lines,
            lost=day.lost,
            blobs=blob_uses(day.blobs),
            **flags_of(day.kind),
        )

    def running(self) -> dict[Part, Tally]:
        """Return what is in no record yet."""
        return {(hour_name(hour), kind, -1): tally for (hour, kind), tally in self._hours.all()}

    def _fields(self, hour: int, kind: Kind, tally: Tally) -> dict[str, object]:
        own = {"hour": hour_name(hour), "down": self._hours.down}
        return own | tally.model_dump() | flags_of(kind)
