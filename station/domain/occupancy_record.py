"""What one vehicle's passage of one portal was: the record that every occupancy ends with."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from drivers.readings import Channel, Counts, Stamp

MAX_SAMPLES = 6000
"""Samples kept per channel, 20 minutes of gamma; what comes later is judged and counted, not kept."""
MAX_GAPS = 64
MAX_SPEEDS = 512
PARTIAL_SHARE = 0.2
GAP_S = {Channel.GAMMA: 1.0, Channel.NEUTRON: 2.5}
"""A channel that says nothing for longer while the portal sees a vehicle has a gap."""
GAP_INTERVALS = 2.5
"""One whose records come more slowly than that: so many of them."""
NORMAL_ENDS = frozenset({"gx", "background_seen", "cleared", "reported"})


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without scan records of a channel, before one of them; seconds from the start."""

    channel: Channel
    from_s: float
    to_s: float
    cause: str


@dataclass(slots=True)
class Samples:
    """Scan records of one channel: middle of the interval in seconds from the start, and its counts.

    ``counts`` holds one tuple per record in the lane's detector order, ``totals`` their sums; ``None``
    where the device sent no number. ``records`` counts all, also those beyond ``MAX_SAMPLES``. Maxima are of
    a second, and ``None`` where nobody knows how long a record counts (``interval_s`` is 0).
    """

    times_s: list[float] = field(default_factory=list)
    counts: list[tuple[int | None, ...]] = field(default_factory=list)
    totals: list[int | None] = field(default_factory=list)
    windows: list[tuple[int | None, int | None] | None] = field(default_factory=list)
    """Counts in two energy windows, low and high, as many as ``totals``; ``None``: it has none."""
    interval_s: float = 0.0
    """Counting time of a record, as the last one says."""
    first_read: int = 1
    """Records of the first read: all but the last of them were moved back by their cadence."""
    records: int = 0
    partial: int = 0
    last_ns: int | None = None
    max_window: int | None = None
    """Largest sum of the consecutive records of a second."""
    best_total: int | None = None
    """Largest single record."""
    best_run: int | None = None
    """The same, also with fewer records."""
    _window: deque[int] = field(default_factory=deque)

    def add(self, middle_s: float, reading: Counts) -> None:
        """Keep one record; a missing number breaks the sliding sum and never makes it smaller."""
        total = reading.total
        self.records += 1
        self.interval_s = reading.interval_s
        self.last_ns = max(self.last_ns or 0, reading.stamp.mono_ns)
        if reading.stamp_interpolated and self.records == self.first_read:
            self.first_read += 1
        if not self.truncated:
            self.times_s.append(round(middle_s, 3))
            self.counts.append(reading.counts)
            self.totals.append(total)
            self.windows.append(reading.windows)
        if total is None:
            self.partial += 1
            self.break_window()
        elif self.interval_s > 0:
            self._judge(total)

    def _judge(self, total: int) -> None:
        self._window.append(total)
        second = max(1, round(1 / self.interval_s))
        while len(self._window) > second:
            self._window.popleft()
        run = sum(self._window)
        self.best_total = max(total, self.best_total or 0)
        self.best_run = max(run, self.best_run or 0)
        if len(self._window) == second:
            self.max_window = max(run, self.max_window or 0)

    def break_window(self) -> None:
        """No sliding sum may reach over missing records."""
        self._window.clear()

    @property
    def lows(self) -> list[int | None]:
        """Counts in the low one of two energy windows, as many as ``totals``."""
        return [pair[0] if pair else None for pair in self.windows]

    @property
    def truncated(self) -> bool:
        """Whether records came that the profile does not hold."""
        return self.records > MAX_SAMPLES

    @property
    def short(self) -> bool:
        """Whether there was never a whole second of gamma counts: the maximum is of what there is."""
        return self.max_window is None and self.best_run is not None

    @property
    def max_1s(self) -> int | None:
        """Return the largest sum over one second; with less data (``short``), of what is there."""
        return self.best_run if self.max_window is None else self.max_window


@dataclass(slots=True)
class Occupancy:
    """One occupancy, open or closed; the machine alone writes it, and never after it closed.

    ``start`` is the arrival of the first scan minus its interval, ``end_ns`` the arrival of the last one:
    end markers, background and time-outs never enter the duration.
    """

    occupancy_id: str
    start: Stamp
    start_known: bool
    setup_hash: str = ""
    gamma: Samples = field(default_factory=Samples)
    neutron: Samples = field(default_factory=Samples)
    first_ns: int | None = None
    """Arrival of the first scan of any channel."""
    end_ns: int = 0
    device_count: int | None = None
    device_neutron_background: float | None = None
    close_reason: str = ""
    alarms: set[Channel] = field(default_factory=set)
    """Channels in which the device alarmed: never taken back."""
    gaps: list[Gap] = field(default_factory=list)
    doubts: set[str] = field(default_factory=set)
    """Why it is not complete: gap, link, fault, background_in_occupancy."""
    notes: set[str] = field(default_factory=set)
    """What else is to be known: attribution_uncertain."""
    tamper: bool = False
    extended: bool = False
    stalled: bool = False
    scanner_active: bool = False
    speeds: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MAX_SPEEDS))
    """Seconds from the start (negative: shortly before) and speed in m/s, as the portal measures it."""

    def samples(self, channel: Channel) -> Samples:
        """Return one channel's samples."""
        return self.gamma if channel == Channel.GAMMA else self.neutron

    def offset_s(self, mono_ns: int) -> float:
        """Return seconds from the start."""
        return (mono_ns - self.start.mono_ns) / 1e9

    @property
    def duration_s(self) -> float:
        """From the first scan's interval to the arrival of the last scan."""
        return max(0.0, self.offset_s(self.end_ns))

    def add(self, reading: Counts) -> None:
        """Add one scan record."""
        arrival_ns = reading.stamp.mono_ns
        if self.first_ns is None:
            self.first_ns = arrival_ns
        self.samples(reading.channel).add(self.offset_s(arrival_ns) - reading.interval_s / 2, reading)
        self.end_ns = max(self.end_ns, arrival_ns)

    def silence_s(self, channel: Channel, now_ns: int) -> float:
        """Return seconds since the channel's last scan, or since the first scan of any channel."""
        last_ns = self.samples(channel).last_ns or self.first_ns
        return 0.0 if last_ns is None else (now_ns - last_ns) / 1e9

    def silent(self, channel: Channel, now_ns: int) -> bool:
        """Whether the channel has said nothing for longer than its records take."""
        limit_s = max(GAP_S[channel], GAP_INTERVALS * self.samples(channel).interval_s)
        return self.silence_s(channel, now_ns) > limit_s

    def gap(self, channel: Channel, now_ns: int, cause: str) -> None:
        """Note that records of a channel are missing before the one at ``now_ns``."""
        to_s = self.offset_s(now_ns)
        if len(self.gaps) < MAX_GAPS:
            self.gaps.append(Gap(channel, to_s - self.silence_s(channel, now_ns), to_s, cause))
        self.samples(channel).break_window()
        self.doubts.add("gap")

    def missing(self, fitted: frozenset[Channel]) -> tuple[str, ...]:
        """Return why the record is not complete; empty: it is."""
        doubts = set(self.doubts)
        if not self.start_known:
            doubts.add("start_unknown")
        if self.close_reason not in NORMAL_ENDS:
            doubts.add(self.close_reason)
        for channel in fitted:
            samples = self.samples(channel)
            if samples.records == samples.partial:
                doubts.add(f"no_{channel}")
            elif samples.partial > PARTIAL_SHARE * samples.records:
                doubts.add(f"partial_{channel}")
            if self.silent(channel, self.end_ns):
                doubts.add(f"silent_{channel}")  # while another channel went on
        return tuple(sorted(doubts))

    def sigma_max(self, background_cps: float | None) -> float | None:
        """Return the largest excess over one second in units of the background's square root."""
        if not background_cps or self.gamma.max_window is None:
            return None
        return (self.gamma.max_window - background_cps) / math.sqrt(background_cps)
