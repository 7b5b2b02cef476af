"""What the answers of a polled portal become: a status when it changes, counts while it sees a vehicle.

A portal that is polled says levels, not events. Occupied, every answer is told; vacant, whatever changes at
once, and all of it every 5 s together with the background. Neutrons are told by the second, as other portals
count them. Pure: no clock, no socket; times are those of the answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from pydantic import Field, field_validator, model_validator

from drivers.api import PortalOptions
from drivers.readings import Channel, Counts, Phase, PortalReading, PortalStatus, Speed

VACANT_S = 5.0
"""Time between two records of the background."""
SOON_S = 1.0
"""The same while there is none yet."""
MOST_COUNTS = 999_999
"""More in one interval is no count: five million per second and more."""


class PolledOptions(PortalOptions):
    """What every polled portal needs; a time of 0 is one that nobody knows."""

    host: str = "127.0.0.1"
    port: int = Field(default=502, ge=1, le=65_535)
    poll_s: float = Field(default=0.2, ge=0.05, le=1)
    timeout_s: float = Field(default=0.5, gt=0, le=1)
    """Longest wait for the connection, and for each answer."""
    count_interval_s: float = Field(default=0.0, ge=0, le=1)
    """Counting time of one number of counts; it divides one second."""
    bg_averaging_s: float = Field(default=0.0, ge=0, le=300)
    """Time over which the device averages the background that it tells."""

    @field_validator("count_interval_s")
    @classmethod
    def _divides_a_second(cls, interval_s: float) -> float:
        if interval_s and (interval_s < 0.05 or abs(1 / interval_s - round(1 / interval_s)) > 1e-6):
            raise ValueError(
                "must divide one second (0.05, 0.1, 0.2, 0.25, 0.5, 1), or be left out: "
                "the counts are then kept and not judged"
            )
        return interval_s

    @model_validator(mode="after")
    def _every_count_is_read(self) -> Self:
        if 0 < self.count_interval_s < self.poll_s:
            raise ValueError(
                f"count_interval_s = {self.count_interval_s:g} is shorter than poll_s = {self.poll_s:g}: "
                "counts between two polls would be lost, and the rest taken for all; "
                "give poll_s at most count_interval_s"
            )
        return self


def flaw(number: float) -> str | None:
    """Return why a number cannot be counts, or the mean of counts; ``None``: it can."""
    if not math.isfinite(number):
        return "not_a_number"
    if number < 0:
        return "negative_count"
    return "count_too_large" if number > MOST_COUNTS else None


@dataclass(frozen=True, slots=True)
class Poll:
    """One answer in the words of all portals.

    ``counts`` hold one number per panel and counting interval for each channel that is fitted; ``None``
    where the device has none. ``background`` is the mean of such numbers as the device has learnt it; a
    channel that is not in it has its background from the counts of the empty portal.
    """

    status: PortalStatus
    counts: Mapping[Channel, tuple[int | None, ...]] = field(default_factory=dict)
    background: Mapping[Channel, tuple[float | None, ...]] = field(default_factory=dict)
    windows: tuple[int | None, int | None] | None = None
    speed_mps: float | None = None


class Publisher:
    """Turns the polls of one link, in their order, into readings; each one's stamp is its poll's."""

    def __init__(self, options: PolledOptions) -> None:
        """Begin a link."""
        self._interval_s = options.count_interval_s
        self._averaging_s = options.bg_averaging_s
        self._poll_ns = round(options.poll_s * 1e9)
        self._per_second = round(1 / self._interval_s) if self._interval_s else 1
        self._count_ns = self._due_ns = -(1 << 62)
        """When the next counts are there, and when the next background is due."""
        self._follows = False
        """Whether counts have come since the vehicle came or left: what comes then follows, or is late."""
        self._levels: tuple[object, ...] = ()
        self._present = False
        self._run: dict[Channel, list[tuple[int | None, ...]]] = {}
        """Intervals of a second that is not whole yet."""
        self._vacant: dict[Channel, Counts] = {}
        """The last whole second of the empty portal."""

    def take(self, poll: Poll) -> list[PortalReading]:
        """Return what there is to tell of one poll, the status first; nothing: an empty list."""
        status, now_ns = poll.status, poll.status.stamp.mono_ns
        present = bool(status.occupied)
        if present != self._present:
            self._present = present
            self._run.clear()
            self._vacant.clear()
            self._follows = False
        counts = [*self._counts(poll)]
        due = now_ns >= self._due_ns
        alarms = (status.gamma_alarm, status.neutron_alarm)
        levels = (status.occupied, *alarms, status.fault, status.warning, status.tamper)
        if not (present or due or (*levels, status.occupancy_count) != self._levels):
            return []
        self._levels = (*levels, status.occupancy_count)
        readings: list[PortalReading] = [status]
        if present:
            readings += counts
            readings += [] if poll.speed_mps is None else [Speed(status.stamp, poll.speed_mps)]
        elif due:
            readings += self._backgrounds(poll)
        if present or due:
            whole = present or len(readings) > len(poll.counts)
            self._due_ns = now_ns + round((VACANT_S if whole else SOON_S) * 1e9)
        return readings

    def _counts(self, poll: Poll) -> Iterator[Counts]:
        """Yield the records that are whole with this poll; those of the empty portal are kept."""
        stamp, interval_ns = poll.status.stamp, round(self._interval_s * 1e9)
        if not poll.counts or stamp.mono_ns < self._count_ns - self._poll_ns // 2:
            return  # none are there, or these have been taken
        late = self._follows and stamp.mono_ns > self._count_ns + interval_ns + self._poll_ns // 2
        lost = late and interval_ns > 0
        if lost:  # one count between may have been read twice, two cannot
            self._run.clear()
        self._follows = True
        self._count_ns = max(self._count_ns, stamp.mono_ns) + interval_ns
        for channel, counts in poll.counts.items():
            windows = poll.windows if channel is Channel.GAMMA else None
            if self._present and lost and channel is Channel.GAMMA:
                yield Counts(stamp, channel, Phase.SCAN, self._interval_s, (None,) * len(counts))
            if self._present and channel is Channel.GAMMA:
                yield Counts(stamp, channel, Phase.SCAN, self._interval_s, counts, windows=windows)
                continue
            sums = self._second(channel, (*counts, *(windows or ())))
            if sums is None:
                continue
            whole = Counts(
                stamp,
                channel,
                Phase.SCAN if self._present else Phase.BACKGROUND,
                self._interval_s * self._per_second,
                sums[: len(counts)],
                windows=(sums[-2], sums[-1]) if windows else None,
            )
            if self._present:
                yield whole
            else:
                self._vacant[channel] = whole

    def _second(self, channel: Channel, counts: tuple[int | None, ...]) -> tuple[int | None, ...] | None:
        """Return the sums of a second by columns when it is whole; ``None`` where a part is missing."""
        run = self._run.setdefault(channel, [])
        run.append(counts)
        if len(run) < self._per_second:
            return None
        del self._run[channel]
        present = ([count for count in column if count is not None] for column in zip(*run, strict=True))
        return tuple(sum(column) if len(column) == len(run) else None for column in present)

    def _backgrounds(self, poll: Poll) -> Iterator[Counts]:
        """Yield each channel's background: the device's own, else the last second of the empty portal."""
        stamp = poll.status.stamp
        times = self._averaging_s / self._interval_s if self._interval_s else 0.0
        for channel in poll.counts:
            means = poll.background.get(channel)
            if means is not None:
                counts = tuple(None if mean is None else round(mean * (times or 1.0)) for mean in means)
                interval_s = self._averaging_s if times else 0.0
                yield Counts(stamp, channel, Phase.BACKGROUND, interval_s, counts)
            elif channel in self._vacant:
                yield replace(self._vacant[channel], stamp=stamp)
