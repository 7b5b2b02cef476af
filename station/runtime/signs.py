"""What readings and bad frames say about the device that sent them, whatever its make."""

from __future__ import annotations

from collections import deque

from drivers.readings import (
    CameraRead,
    Channel,
    Counts,
    DeviceFlag,
    LineBlock,
    OccupancyEnd,
    Phase,
    PortalStatus,
    Reading,
    ScanClosed,
    ScanKind,
    ScanOpened,
    SourceStatus,
)

BAD_WINDOW_S = 60
BAD_SHARE = 0.01
BAD_LEAST = 2
"""One bad frame alone never degrades: a vacant portal sends 24 records a minute."""
FROZEN_REPEATS = 6
"""Equal successive gamma records of an occupied portal; by chance less than once in 10^8 occupancies."""
FROZEN_LINES = 32
"""Equal successive lines of a scanner; noise alone makes two equal lines of 64 detectors impossible."""


def activity(reading: Reading) -> int | None:
    """Return 0 for the end of activity, more the surer it goes on, ``None`` if it says nothing of it."""
    match reading:
        case Counts(phase=Phase.SCAN):
            return 1
        case ScanOpened() | LineBlock() | PortalStatus(occupied=True):
            return 2
        case Counts() | OccupancyEnd() | ScanClosed() | PortalStatus(occupied=False):
            return 0
        case _:
            return None


def device_faults(reading: Reading) -> dict[str, bool]:
    """Return the codes of what the device itself says is wrong, and whether each is set or cleared."""
    match reading:
        case Counts(channel=channel, flag=DeviceFlag.FAULT_HIGH | DeviceFlag.FAULT_LOW):
            return {f"{channel}_fault": True}
        case Counts(channel=channel, phase=Phase.BACKGROUND):
            return {f"{channel}_fault": False}
        case SourceStatus(detector_ok=detector_ok, faults=faults):
            return {"source_fault": bool(faults) or not detector_ok}
        case PortalStatus(fault=fault, warning=warning):
            told = {"device_fault": fault, "device_warning": warning}
            return {code: on for code, on in told.items() if on is not None}
        case _:
            return {}


class Frozen:
    """A device that says the same again and again where the world cannot: a portal, a scanner, a camera.

    Equal gamma counts of an occupied portal, equal lines of a scanner that is not dark, pictures that came
    before with another event. What an I/O board says may well stay as it is: see ``Supervisor.suspect``.
    """

    def __init__(self) -> None:
        self._counts: tuple[int | None, ...] = ()
        self._repeats = 0
        self._dark = False
        self._line = b""
        self._lines = 0
        self._pictures: tuple[str, tuple[bytes, ...]] = ("", ())

    def repeats(self, reading: Reading) -> bool | None:
        """Return whether the value is frozen; ``None`` when this reading cannot tell."""
        match reading:
            case Counts(channel=Channel.GAMMA, phase=Phase.SCAN, counts=counts, interval_s=s) if s > 0:
                return self._equal_counts(counts)  # of unknown counting time it may be one count, seen again
            case ScanOpened(kind=kind):
                self._dark = kind == ScanKind.DARK  # a counter without a beam may well count nothing
                return None
            case LineBlock() if not self._dark:
                return self._equal_lines(reading)
            case CameraRead(event_id=event_id, pictures=pictures) if pictures:
                return self._equal_pictures(event_id, tuple(picture.jpeg for picture in pictures))
            case _:
                return None

    def _equal_counts(self, counts: tuple[int | None, ...]) -> bool | None:
        if all(count is None for count in counts):
            return None
        self._repeats = self._repeats + 1 if counts == self._counts else 1
        self._counts = counts
        return self._repeats >= FROZEN_REPEATS

    def _equal_lines(self, block: LineBlock) -> bool:
        first, last = block.samples[0].tobytes(), block.samples[-1].tobytes()
        still = bool((block.samples == block.samples[0]).all())
        self._lines = (self._lines if first == self._line else 0) + len(block.samples) if still else 1
        self._line = last
        return self._lines >= FROZEN_LINES

    def _equal_pictures(self, event_id: str, pictures: tuple[bytes, ...]) -> bool:
        before, self._pictures = self._pictures, (event_id, pictures)
        return before[1] == pictures and before[0] != event_id


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
