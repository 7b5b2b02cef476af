"""The front end's memory: scans in order of their numbers; the oldest lines make room for new ones."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from drivers.formats.linestream.frames import crc32c
from drivers.formats.linestream.messages import Gap, Lines, ScanAbort, ScanBegin, ScanEnd

MAX_SCANS = 64


def first_after(item: Lines | Gap) -> int:
    """Return the number of the line after a block or gap."""
    return item.next_line if isinstance(item, Lines) else item.first_line + item.count


@dataclass(slots=True)
class HeldScan:
    """One scan: ``items`` are blocks and declared gaps without holes; the first may have been overwritten."""

    scan_id: int
    begin: ScanBegin
    items: list[Lines | Gap] = field(default_factory=list)
    next_line: int = 0
    lost: int = 0
    samples_crc: int = 0
    end: ScanEnd | ScanAbort | None = None
    announced: bool = False
    """SCAN_BEGIN was sent before, on any link."""
    sent: int = 0
    """First line that was never sent, on any link."""
    end_sent: bool = False

    @property
    def oldest_line(self) -> int:
        """First line still held."""
        return self.items[0].first_line if self.items else self.next_line

    def add(self, item: Lines | Gap) -> None:
        """Append what comes next."""
        if isinstance(item, Lines):
            self.samples_crc = crc32c(item.samples.tobytes(), self.samples_crc)
        else:
            self.lost += item.count
        self.items.append(item)
        self.next_line = first_after(item)

    def item_at(self, line: int) -> Lines | Gap | None:
        """Return what holds ``line``, cut to begin there; nothing if it has not come yet."""
        place = bisect_right(self.items, line, key=lambda item: item.first_line) - 1
        if place < 0 or line >= first_after(self.items[place]):
            return None
        item = self.items[place]
        if isinstance(item, Lines):
            return item.tail(line)
        return Gap(line, first_after(item) - line, item.reason)


class Ring:
    """All scans held."""

    def __init__(self, capacity_lines: int) -> None:
        """Hold nothing yet."""
        self.capacity_lines = capacity_lines
        self.held_lines = 0
        self.dropped = 0
        self._scans: dict[int, HeldScan] = {}

    def __iter__(self) -> Iterator[HeldScan]:
        """Iterate over the scans, oldest first."""
        return iter(self._scans.values())

    def get(self, scan_id: int) -> HeldScan | None:
        """Return a held scan."""
        return self._scans.get(scan_id)

    def after(self, scan_id: int) -> HeldScan | None:
        """Return the first held scan with a greater number."""
        return next((scan for number, scan in self._scans.items() if number > scan_id), None)

    def open(self, scan: HeldScan) -> None:
        """Hold a new scan."""
        self._scans[scan.scan_id] = scan
        while len(self._scans) > MAX_SCANS:
            self._forget(next(iter(self._scans)))

    def _forget(self, scan_id: int) -> None:
        scan = self._scans.pop(scan_id)
        self.held_lines -= sum(len(item.records) for item in scan.items if isinstance(item, Lines))

    def add(self, scan: HeldScan, item: Lines | Gap) -> None:
        """Append to a scan; the oldest blocks make room."""
        scan.add(item)
        if isinstance(item, Lines):
            self.held_lines += len(item.records)
        while self.held_lines > self.capacity_lines:
            oldest = next(scan for scan in self if scan.items)
            gone = oldest.items.pop(0)
            if isinstance(gone, Lines):
                self.held_lines -= len(gone.records)
                self.dropped += len(gone.records)
            if not oldest.items and oldest.end is not None:
                self._forget(oldest.scan_id)
