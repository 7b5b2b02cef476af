"""The daily files of the portals: every accepted line, and beside it what happened to device and clock.

``LANE_DEVICE_YYYYMMDD.csv`` holds the lines of a UTC day as the device sent them, each with ``,HH-MM-SS.mmm``
behind it; ``….events.jsonl`` has a row for each gap and each change of link, set-up, configuration and clock.
What is simulated, a test or an exercise has files of its own. A line goes to the day of its own stamp, so
that a clock that is set loses and doubles nothing. A day is closed when it has been over for a minute: its
files become blobs, and go when a durable record names them. A line of a closed day begins another part of it.

All of this runs in one thread. A disk that refuses costs lines, which are counted, and nothing else.
"""

from __future__ import annotations

import contextlib
import glob
import json
import logging
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from drivers.readings import Stamp
from station.domain.hours import EPOCH
from station.domain.statistics import KINDS, Kind, flags_of
from station.lane.effects import DayKept
from station.lane.vault import Keep
from station.store.chain import rfc3339
from station.store.dayfile import DayFile, whole_lines
from station.store.errors import StoreError
from station.store.files import make_folder, replace_synced

DAY_NS = 86_400_000_000_000
GRACE_NS = 60_000_000_000
"""So long a day must be over (monotonic) before it is closed: a clock may be set back a little."""
SYNC_NS = 10_000_000_000
RETRY_NS = 600_000_000_000
STEP_NS = 500_000_000
"""UTC that moves by more against monotonic time between two lines was set."""
PART_BYTES = 16 * 1024 * 1024
FOLDER_BYTES = 256 * 1024 * 1024
"""Of files that are not blobs yet; when they cannot become blobs no more lines are taken."""
MOST_CLOSED = 64
CLOSED = "closed"
"""File with the names of the last parts that are closed."""
CSV, EVENTS = "text/csv", "application/x-ndjson"
_STEM = re.compile(r"(?P<device>.+)_(?P<day>\d{8})(?:_(?P<kind>[a-z]+))?(?:-(?P<part>\d+))?")
_LOST = re.compile(rb'^{"type":"lines_lost","time":"[^"]*","lines":(\d+),', re.MULTILINE)
_CONTROL = re.compile(r"[^\x20-\x7e]")

log = logging.getLogger("carril.daily")


@dataclass(frozen=True, slots=True)
class Line:
    """What a portal said, and when."""

    device: str
    stamp: Stamp
    kind: Kind
    raw: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """Something that happened to a device, in JSON values."""

    device: str
    utc_us: int
    kind: Kind
    told: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """What has come lately; ``is_short``: there is no room for lines."""

    now: Stamp
    lines: list[Line]
    rows: list[Row]
    lost: Mapping[tuple[str, Kind], int]
    """Lines that found no room on their way here."""
    is_short: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """A durable record names the blobs of this file."""

    name: str


@dataclass(frozen=True, slots=True)
class DayName:
    """Which part of which day of which device."""

    device: str
    day: str
    kind: Kind
    part: int = 1

    @property
    def stem(self) -> str:
        """Its file name behind the lane's, without an extension."""
        kind = "" if self.kind == "real" else f"_{self.kind}"
        part = "" if self.part == 1 else f"-{self.part}"
        return f"{self.device}_{self.day}{kind}{part}"

    @classmethod
    def of(cls, stem: str) -> DayName | None:
        """Return what a stem names."""
        found = _STEM.fullmatch(stem)
        kind = found["kind"] or "real" if found else ""
        return (
            cls(found["device"], found["day"], kind, int(found["part"] or 1))
            if found and kind in KINDS
            else None
        )


@dataclass(slots=True)
class _Day:
    """The files of one part of a day."""

    csv: DayFile | None = None
    events: DayFile | None = None
    bytes: int = 0
    over_ns: int | None = None
    """Since when its day is over."""
    closes: bool = False
    """Nothing more is written to it."""
    again_ns: int = 0
    """When its closing may be tried again."""
    told: bool = False
    """The lane was asked to record it."""


@dataclass(slots=True)
class DayBook:
    """All daily files of a lane; for one thread."""

    folder: Path
    lane_id: str
    keep: Keep
    is_named: Callable[[str], bool]
    """Whether a record names this blob (SHA-256)."""
    report: Callable[[DayKept], None]
    trouble: str = ""
    """Why lines are not taken now."""
    _days: dict[DayName, _Day] = field(default_factory=dict)
    _closed: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_CLOSED))
    _lost: Counter[tuple[str, Kind]] = field(default_factory=Counter)
    _ahead_ns: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Boot, and by how much UTC was ahead of monotonic time, at the last line of each device."""
    _synced_ns: int = 0
    _begun: bool = False

    def take(self, work: Batch | Recorded) -> None:
        """Do what there is to do; never raises."""
        try:
            if isinstance(work, Recorded):
                name = self._named(work.name)
                if name is not None:
                    self._drop(name)
                return
            self._write(work, self._refusal(work))
            self._sync(work.now.mono_ns)
            if not work.is_short:
                self._close_days(work.now)
        except Exception as error:
            self._fail(f"{type(error).__name__}: {error}")

    def end(self) -> None:
        """Make durable what there is and close everything; the files stay for the next start."""
        for day in self._days.values():
            self._shut(day)

    def _begin(self) -> None:
        """Take up what the last process left."""
        make_folder(self.folder)
        listed = self.folder / CLOSED
        self._closed.extend(listed.read_text().split() if listed.exists() else ())
        for path in sorted(self.folder.glob(f"{glob.escape(self.lane_id)}_*.*")):
            name = self._named(path.name)
            if name is not None:
                self._days.setdefault(name, _Day()).bytes += path.stat().st_size
        self._begun = True

    def _named(self, file: str) -> DayName | None:
        return DayName.of(file.removeprefix(f"{self.lane_id}_").partition(".")[0])

    # --- writing ----------------------------------------------------------------------------------

    def _refusal(self, batch: Batch) -> str:
        """Return why nothing is written now; empty: it is."""
        try:
            if not self._begun:
                self._begin()
        except OSError as error:
            return str(error)
        if batch.is_short:
            return "no room is left for what is not vital"
        full = sum(day.bytes for day in self._days.values()) >= FOLDER_BYTES
        return "what is there cannot be kept as blobs" if full else ""

    def _write(self, batch: Batch, why: str) -> None:
        self._lost.update(batch.lost)
        lines: dict[DayName, list[str]] = {}
        rows: dict[DayName, list[Mapping[str, Any]]] = {}
        for line in batch.lines:
            name = self._name(line.device, line.stamp.utc_ns, line.kind)
            if (step := self._step(line)) is not None:
                rows.setdefault(name, []).append(step)
            lines.setdefault(name, []).append(csv_line(line))
        for row in batch.rows:
            name = self._name(row.device, row.utc_us * 1000, row.kind)
            rows.setdefault(name, []).append(row.told)
        for name in lines.keys() | rows.keys():
            self._write_day(name, lines.get(name, []), rows.get(name, []), batch.now, why)

    def _write_day(
        self, name: DayName, lines: list[str], rows: list[Mapping[str, Any]], now: Stamp, why: str
    ) -> None:
        whose = name.device, name.kind
        try:
            if why:
                raise OSError(why)
            csv, events = self._files(name, now)
            csv.append("".join(lines).encode())
            lines = []  # they are there, whatever comes now
            if lost := self._lost[whose]:
                why = self.trouble or "the disk is slow"
                rows = [*rows, _row("lines_lost", now.utc_ns // 1000, lines=lost, why=why)]
            events.append(b"".join(map(_json, rows)))
        except OSError as error:
            self._lost[whose] += len(lines)
            self._fail(str(error))
        else:
            del self._lost[whose]
            if self.trouble:
                log.info("the daily files are written again")
            self.trouble = ""
            self._days[name].bytes = csv.size + events.size

    def _fail(self, why: str) -> None:
        if why != self.trouble:
            log.error("the daily files are not written: %s", why)
        self.trouble = why

    def _name(self, device: str, utc_ns: int, kind: Kind) -> DayName:
        """Return the part of the day that is written now: the first that is not closed, nor about to be."""
        name = DayName(device, day_of(utc_ns), kind)
        while name.stem in self._closed or self._days.get(name, _NEW).closes:
            name = replace(name, part=name.part + 1)
        return name

    def _files(self, name: DayName, now: Stamp) -> tuple[DayFile, DayFile]:
        day = self._days.setdefault(name, _Day())
        if day.csv is None:
            day.csv = DayFile(self._path(name, ".csv"))
        if day.events is None:
            day.events = DayFile(self._path(name, ".events.jsonl"))
            what = "continued" if day.events.size else "opened"
            cut = {"cut_bytes": day.csv.cut_bytes} if day.csv.cut_bytes else {}
            whose = {"lane": self.lane_id, "device": name.device, "day": name.day, "part": name.part}
            row = _row(what, now.utc_ns // 1000, **whose, **flags_of(name.kind), **cut)
            day.events.append(_json(row))
        return day.csv, day.events

    def _path(self, name: DayName, ending: str) -> Path:
        return self.folder / f"{self.lane_id}_{name.stem}{ending}"

    def _step(self, line: Line) -> Mapping[str, Any] | None:
        """Return the row of a clock that was set between two lines of a device."""
        ahead_ns = line.stamp.utc_ns - line.stamp.mono_ns
        before, self._ahead_ns[line.device] = self._ahead_ns.get(line.device), (line.stamp.boot_id, ahead_ns)
        if before is None or before[0] != line.stamp.boot_id or abs(ahead_ns - before[1]) < STEP_NS:
            return None
        return _row("clock_stepped", line.stamp.utc_ns // 1000, by_s=round((ahead_ns - before[1]) / 1e9, 3))

    def _sync(self, mono_ns: int) -> None:
        if mono_ns - self._synced_ns < SYNC_NS:
            return
        self._synced_ns = mono_ns
        for day in self._days.values():
            try:
                for file in (day.csv, day.events):
                    if file is not None:
                        file.sync()
            except OSError:
                self._shut(day)  # a descriptor whose sync failed is never synced again
                raise

    # --- closing ----------------------------------------------------------------------------------

    def _close_days(self, now: Stamp) -> None:
        today = day_of(now.utc_ns)
        for name, day in list(self._days.items()):
            day.over_ns = (day.over_ns or now.mono_ns) if name.day < today else None
            grace_ns = GRACE_NS if day.csv else 0  # nobody has written to what the last process left
            over = day.over_ns is not None and now.mono_ns - day.over_ns >= grace_ns
            closes = over or day.bytes >= PART_BYTES or day.closes
            if closes and not day.told and now.mono_ns >= day.again_ns:
                day.closes, day.again_ns = True, now.mono_ns + RETRY_NS
                self._close(name, day)

    def _close(self, name: DayName, day: _Day) -> None:
        """Make blobs of a part, and ask for the record that names them."""
        self._shut(day)
        paths = {
            "daily": (self._path(name, ".csv"), CSV),
            "daily_events": (self._path(name, ".events.jsonl"), EVENTS),
        }
        content = {role: whole_lines(path) if path.exists() else b"" for role, (path, _) in paths.items()}
        try:
            blobs = {
                role: self.keep(content[role], media) for role, (_, media) in paths.items() if content[role]
            }
            if all(self.is_named(blob.sha256) for blob in blobs.values()):
                self._drop(name)  # the last process ended between record and file, or it is empty
                return
        except (OSError, StoreError) as error:
            log.error("%s waits to be kept: %s", self._path(name, ".csv").name, error)
            return
        lost = sum(int(found) for found in _LOST.findall(content["daily_events"]))
        lines, csv = content["daily"].count(b"\n"), self._path(name, ".csv").name
        day.told = True
        self.report(DayKept(name.device, name.day, name.part, name.kind, csv, lines, lost, blobs))

    def _shut(self, day: _Day) -> None:
        for file in (day.csv, day.events):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.sync()
                file.close()
        day.csv = day.events = None

    def _drop(self, name: DayName) -> None:
        """Forget a part: durable records name its blobs."""
        self._closed.append(name.stem)
        replace_synced(self.folder / CLOSED, "\n".join(self._closed).encode())
        for ending in (".csv", ".events.jsonl"):
            self._path(name, ending).unlink(missing_ok=True)
        self._days.pop(name, None)


_NEW = _Day()


def _row(what: str, utc_us: int, **more: Any) -> dict[str, Any]:
    return {"type": what, "time": rfc3339(utc_us), **more}


def _json(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def csv_line(line: Line) -> str:
    """Return the line as the file has it: one line, whatever the device sent."""
    text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", line.raw.decode("latin-1").rstrip("\r\n"))
    seconds, ms = divmod(line.stamp.utc_ns % DAY_NS // 1_000_000, 1000)
    return f"{text},{seconds // 3600:02d}-{seconds // 60 % 60:02d}-{seconds % 60:02d}.{ms:03d}\n"


def day_of(utc_ns: int) -> str:
    """Return the UTC day as ``YYYYMMDD``."""
    return _day(utc_ns // DAY_NS)


@lru_cache(maxsize=16)
def _day(number: int) -> str:
    return f"{EPOCH + timedelta(days=number):%Y%m%d}"
