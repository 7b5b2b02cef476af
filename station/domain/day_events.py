"""What the lane records of its own days: the counts of an hour, and the daily file of a portal."""

from __future__ import annotations

from station.domain.events import LaneEvent
from station.domain.statistics import Tally
from station.domain.values import BlobUse


class HourCounted(LaneEvent, Tally):
    """What an hour (UTC) amounts to, or a part of it: the counts of all parts of an hour add up."""

    hour: str
    """``YYYY-MM-DDTHH``."""
    down: dict[str, str]
    """Devices that were down when it was written, with the cause."""

    @property
    def subject(self) -> str:
        """What all parts of a day stand under in the journal."""
        return statistics_of(self.hour[:10])


def statistics_of(day: str) -> str:
    """Return the subject of a day's counts."""
    return f"statistics.{day}"


class DailyFileClosed(LaneEvent):
    """A portal's daily file (UTC) is whole: every line that it sent, and what happened to it meanwhile."""

    device: str
    day: str
    """``YYYY-MM-DD``."""
    part: int
    """From 1: a day has several parts where the clock was set back, or a file had grown too large."""
    name: str
    """Of the file with the lines."""
    lines: int
    lost: int
    """Lines that found no room."""
    blobs: tuple[BlobUse, ...]
