"""The daily files of a lane on a disk of the test's, their clock set by hand."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drivers.readings import Stamp
from station.domain.statistics import Kind
from station.lane.daybook import Batch, DayBook, Line, Recorded, Row, csv_line
from station.lane.effects import BlobKept, DayKept

EVENING = datetime(2026, 11, 24, 23, 59, 0, tzinfo=UTC)
LANE = "LAR-04"


@dataclass
class Desk:
    """One lane's book, a clock that is set by hand, and what became blobs and records."""

    folder: Path
    utc_s: float = EVENING.timestamp()
    mono_s: float = 1000.0
    boot_id: str = "boot"
    blobs: dict[str, bytes] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    kept: list[DayKept] = field(default_factory=list)
    refuses: Exception | None = None
    said: list[str] = field(default_factory=list)
    """Every line, as its file must have it."""
    number: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin with what lies in the folder, as a new process does; nothing of the last one was closed."""
        self.book = DayBook(self.folder, LANE, self._keep, self.named.__contains__, self.kept.append)

    def _keep(self, data: bytes, media: str) -> BlobKept:
        if self.refuses is not None:
            raise self.refuses
        sha256 = hashlib.sha256(data).hexdigest()
        self.blobs[sha256] = data
        return BlobKept(sha256, media, len(data))

    def stamp(self) -> Stamp:
        return Stamp(round(self.utc_s * 1000) * 1_000_000, round(self.mono_s * 1e9), self.boot_id)

    def line(self, device: str = "rpm1", kind: Kind = "real") -> Line:
        """Return a line that no other is like, said now."""
        self.number += 1
        line = Line(device, self.stamp(), kind, b"GB,%06d,000750,000770,000757" % self.number)
        self.said.append(csv_line(line))
        return line

    def take(self, *lines: Line, rows: tuple[Row, ...] = (), short: bool = False, lost: int = 0) -> None:
        gone = {("rpm1", "real"): lost} if lost else {}
        self.book.take(Batch(self.stamp(), list(lines), list(rows), gone, short))  # type: ignore[arg-type]

    def wait(self, seconds: float) -> None:
        """Let time pass, with a line each second, written each second."""
        for _ in range(round(seconds)):
            self.utc_s += 1
            self.mono_s += 1
            self.take(self.line())

    def record(self) -> None:
        """Let the record of each closed file be durable."""
        for kept in self.kept:
            self.named |= {blob.sha256 for blob in kept.blobs.values()}
            self.book.take(Recorded(kept.name))

    def open_text(self, stem: str = "rpm1_20261124") -> str:
        return (self.folder / f"{LANE}_{stem}.csv").read_text()

    def rows(self, stem: str = "rpm1_20261124") -> list[Any]:
        return [
            json.loads(row) for row in (self.folder / f"{LANE}_{stem}.events.jsonl").read_text().splitlines()
        ]

    def content(self, kept: DayKept) -> str:
        return self.blobs[kept.blobs["daily"].sha256].decode()

    def everything(self) -> list[str]:
        """All lines of all files, closed and open, and no file twice."""
        closed = [line for kept in self.kept for line in self.content(kept).splitlines(keepends=True)]
        names = {kept.name for kept in self.kept}
        left = [path for path in sorted(self.folder.glob("*.csv")) if path.name not in names]
        return closed + [line for path in left for line in path.read_text().splitlines(keepends=True)]
