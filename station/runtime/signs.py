"""What readings and bad frames say about the device that sent them, whatever its make."""

from __future__ import annotations

from collections import deque

from drivers.readings import (
    Channel,
    Counts,
    DeviceFlag,
    LineBlock,
    OccupancyEnd,
    Phase,
    Reading,
    ScanClosed,
    ScanOpened,
    SourceStatus,
)

BAD_WINDOW_S = 60
BAD_SHARE = 0.01
BAD_LEAST = 2
"""One bad frame alone never degrades: a vacant portal sends 24 records a minute."""
FROZEN_REPEATS = 6
"""Equal successive gamma records of an occupied portal; by chance less than once in 10^8 occupancies."""


def activity(reading: Reading) -> int | None:
    """Return 0 for the end of activity, more the surer it goes on, ``None`` if it says nothing of it."""
    match reading:
        case Counts(phase=Phase.SCAN):
            return 1
        case ScanOpened() | LineBlock():
            return 2
        case Counts() | OccupancyEnd() | ScanClosed():
            return 0
        case _:
            return None


def device_fault(reading: Reading) -> tuple[str, bool] | None:
    """Return the code of a fault that the device itself reports, and whether it is set or cleared."""
    match reading:
        case Counts(channel=channel, flag=DeviceFlag.FAULT_HIGH | DeviceFlag.FAULT_LOW):
            return f"{channel}_fault", True
        case Counts(channel=channel, phase=Phase.BACKGROUND):
            return f"{channel}_fault", False
        case SourceStatus(detector_ok=detector_ok, faults=faults):
            return "source_fault", bool(faults) or not detector_ok
        case _:
            return None


class Frozen:
    """Equal successive gamma records of an occupied portal: a counter that stands still."""

    def __init__(self) -> None:
        self._last: tuple[int | None, ...] = ()
        self._count = 0

    def repeats(self, reading: Reading) -> bool | None:
        """Return whether the value is frozen; ``None`` when this reading cannot tell."""
        if not isinstance(reading, Counts) or reading.channel != Channel.GAMMA:
            return None
        if reading.phase != Phase.SCAN or all(count is None for count in reading.counts):
            return None
        self._count = self._count + 1 if reading.counts == self._last else 1
        self._last = reading.counts
        return self._count >= FROZEN_REPEATS


class Frames:
    """Good and bad frames of the last minute, in buckets of a second."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, list[int]]] = deque()
        self._good = self._bad = 0

    def add(self, now_s: float, *, bad: bool) -> None:
        """Count one frame."""
        second = int(now_s)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, [0, 0]))
        self._seconds[-1][1][bad] += 1
        self._good += not bad
        self._bad += bad

    def too_bad(self, now_s: float) -> bool:
        """Return whether more than one frame in a hundred of the last minute was bad."""
        while self._seconds and self._seconds[0][0] <= now_s - BAD_WINDOW_S:
            _, (good, bad) = self._seconds.popleft()
            self._good -= good
            self._bad -= bad
        return self._bad >= BAD_LEAST and self._bad > BAD_SHARE * (self._good + self._bad)
