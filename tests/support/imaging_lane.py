"""An imaging thread with a shelf in memory, fed with scans of a seeded detector column."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from drivers.readings import (
    LineBlock,
    ScanClosed,
    ScanKey,
    ScanKind,
    ScannerGeometry,
    ScanOpened,
    Stamp,
)
from station.lane.effects import BlobKept, CalibrationReady, EndScan, FeedScan, OpenScan, Result, ScanReady
from station.lane.imager import Imager
from tests.support.detector_column import Column, beam_on, steel

AT = Stamp(1_795_000_000_000_000_000, 5_000_000_000, "boot")
KEY = ScanKey(77, 3)
PITCH_M = 0.008


def geometry(column: Column) -> ScannerGeometry:
    return ScannerGeometry(
        column.detectors, PITCH_M * 7 / 5, 0.3, 5.0, 7.0, 0.001, column.full_scale, "counts", 1.0, 0.0,
        column.refs, "Co-60", b'{"format":"linestream"}', 0,
    )  # fmt: skip


@dataclass
class Shelf:
    """A vault in memory; what is written is durable at once unless a test says otherwise."""

    lines: dict[str, bytes] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    """Scans whose raw files are still there."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    before_write: Callable[[bytes], None] = lambda wire: None
    before_keep: Callable[[str], None] = lambda media: None
    forgets: bytes = b"\0never"

    def keep(self, data: bytes, media: str) -> BlobKept:
        self.before_keep(media)
        name = hashlib.sha256(data).hexdigest()
        self.blobs[name] = data
        return BlobKept(name, media, len(data))

    def write_lines(self, scan_id: str, wire: bytes, durable: Callable[[], None]) -> None:
        self.before_write(wire)
        self.lines[scan_id] = self.lines.get(scan_id, b"") + wire
        if self.forgets not in wire:
            durable()

    def keep_lines(self, scan_id: str) -> BlobKept | None:
        wire = self.lines.pop(scan_id, None)
        self.closed.add(scan_id)
        return None if wire is None else self.keep(wire, "raw")

    def drop_lines(self, scan_id: str) -> None:
        self.closed.discard(scan_id)


@cache
def recording() -> tuple[Column, np.ndarray, np.ndarray, np.ndarray]:
    """Dark, air, and a truck of 30 mm of steel from line 100 to 299, in 400 lines."""
    column = Column(seed=61)
    truck = np.concatenate([column.expose(t, n) for t, n in ((1.0, 100), (steel(30), 200), (1.0, 100))])
    return column, column.beam_off(1000), column.expose(1.0, 2000), truck


MADE: list[Lane] = []
"""Lanes of the running test: their threads end with it."""


class Lane:
    """An imager with everything that it says, in order."""

    def __init__(self, *, calibrated: bool = True) -> None:
        MADE.append(self)
        self.column, self.dark, self.air, self.truck = recording()
        self.shelf = Shelf()
        self.results: list[Result] = []
        self.acks: list[tuple[int, bool]] = []
        self.grown: list[tuple[int, int]] = []
        self.imager = Imager(
            self.shelf,
            self.results.append,
            lambda device, key, line, end: self.acks.append((line, end)),
            lambda scan_id, first, last: self.grown.append((first, last)),
        )
        if calibrated:
            self.scan("d", self.dark, ScanKind.DARK, np.zeros(1000, dtype=np.uint16))
            self.scan("a", self.air, ScanKind.AIR)
            self.settle()
            assert [r.state for r in self.results if isinstance(r, CalibrationReady)] == ["provisional"]
            assert not self.shelf.closed, "no record will name them"
            self.acks.clear()

    def open(self, name: str, kind: ScanKind = ScanKind.VEHICLE) -> None:
        column = self.column
        opened = ScanOpened(
            AT, KEY, kind, column.detectors, 1, 0.002, column.full_scale, True, False, geometry(column), b"B"
        )
        self.imager.do(OpenScan(name, "s1", opened, "i-1" if kind == ScanKind.VEHICLE else None))

    def feed(
        self,
        name: str,
        samples: np.ndarray,
        flags: np.ndarray,
        first: int = 0,
        step: int = 50,
        travel: bool = True,
    ) -> None:
        for start in range(0, len(samples), step):
            part = samples[start : start + step]
            line = first + start
            x_m = (line + np.arange(len(part))) * PITCH_M if travel else None
            block = LineBlock(
                AT, KEY, line, part[:, None, :], np.zeros(len(part), dtype=np.int64), x_m, None,
                flags[start : start + step], f"<{line}>".encode(),
            )  # fmt: skip
            self.imager.do(FeedScan(name, "s1", block))

    def end(self, name: str, lines: int | None, cause: str | None = None) -> None:
        closed = None if lines is None else ScanClosed(AT, KEY, lines, 0, None, cause, b"E")
        self.imager.do(EndScan(name, "s1", KEY, closed, cause))

    def scan(
        self,
        name: str,
        samples: np.ndarray,
        kind: ScanKind = ScanKind.VEHICLE,
        flags: Any = None,
        **more: Any,
    ) -> None:
        self.open(name, kind)
        self.feed(name, samples, beam_on(len(samples)) if flags is None else flags, **more)
        self.end(name, len(samples))

    def settle(self) -> None:
        """Wait until the thread has done what is queued."""
        done = threading.Event()
        worker = self.imager._workers["s1"]
        before = worker._do
        worker._do = lambda work: done.set() if work is done else before(work)  # type: ignore[comparison-overlap]
        worker.put(done)  # type: ignore[arg-type]
        assert done.wait(20)
        worker._do = before

    def ready(self, *, settle: bool = True) -> ScanReady:
        """Return the one report of the one vehicle's scan."""
        if settle:
            self.settle()
        (result,) = [r for r in self.results if isinstance(r, ScanReady)]
        return result

    def calibration(self) -> CalibrationReady:
        self.settle()
        return [r for r in self.results if isinstance(r, CalibrationReady)][-1]
