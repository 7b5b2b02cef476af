"""What moves on the screen before it is a fact: samples and columns, merged to at most ten messages a second.

Samples of the vehicle in the lane are kept (bounded) so that a screen that comes late draws the same strips.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

from drivers.readings import Channel
from station.lane.core import Core
from station.lane.effects import LiveSample
from station.lane.strips import Series
from station.runtime.bus import Bus, Message

MIN_GAP_S = 0.1
MAX_SAMPLES = 4096
KEPT_PROFILES = 4


@dataclass(slots=True)
class Profile:
    """Samples of one inspection: (middle of the interval in monotonic seconds, counts)."""

    gamma: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))
    neutron: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))
    interval_s: dict[Channel, float] = field(default_factory=dict)
    """Counting time of a sample, as the last one says."""

    def of(self, channel: Channel) -> deque[tuple[float, int]]:
        """Return one channel's samples."""
        return self.gamma if channel == Channel.GAMMA else self.neutron


class Live:
    """Collects between two messages."""

    def __init__(self, core: Core) -> None:
        """Begin with nothing to tell."""
        self._core = core
        self._new: dict[Channel, list[list[float | int | None]]] = {Channel.GAMMA: [], Channel.NEUTRON: []}
        self._columns: dict[str, tuple[int, int]] = {}
        self._recent: deque[int] = deque(maxlen=MAX_SAMPLES)
        """Gamma counts of the last second, as far as anybody knows how long they are."""
        self._gamma_s = 0.0
        self._neutron_now: int | None = None
        self._profiles: OrderedDict[str, Profile] = OrderedDict()
        self._sent_s = 0.0

    def sample(self, sample: LiveSample) -> None:
        """Keep one sample."""
        counts = sample.counts
        inspection = self._core.inspection
        if sample.channel == Channel.GAMMA and counts is not None:
            self._second(counts, sample.interval_s)
        elif counts is not None:
            self._neutron_now = counts if sample.interval_s else None
        if inspection is None or counts is None:
            return
        middle_s = sample.stamp.mono_ns / 1e9 - sample.interval_s / 2
        profile = self._profiles.setdefault(inspection.inspection_id, Profile())
        profile.interval_s[sample.channel] = sample.interval_s
        profile.of(sample.channel).append((middle_s, counts))
        while len(self._profiles) > KEPT_PROFILES:
            self._profiles.popitem(last=False)
        new = self._new[sample.channel]
        if len(new) < MAX_SAMPLES:
            new.append([round(middle_s * 1000), counts, sample.s_m])

    def _second(self, counts: int, interval_s: float) -> None:
        self._gamma_s = interval_s
        self._recent.append(counts)
        while len(self._recent) > self._per_second:
            self._recent.popleft()

    @property
    def _per_second(self) -> int:
        """Gamma samples of a second; 0: nobody knows."""
        return max(1, round(1 / self._gamma_s)) if self._gamma_s else 0

    def columns(self, scan_id: str, first: int, last: int) -> None:
        """Columns of a running scan were made."""
        known = self._columns.get(scan_id)
        self._columns[scan_id] = (known[0] if known else first, last)

    def flush(self, bus: Bus, now_s: float) -> None:
        """Send what there is, at most every 100 ms."""
        if now_s - self._sent_s < MIN_GAP_S:
            return
        for scan_id, (first, last) in self._columns.items():
            bus.publish(Message("scan.cols", {"scan_id": scan_id, "from": first, "to": last}))
        if any(self._new.values()):
            bus.publish(Message("live", self._live()))
        if self._columns or any(self._new.values()):
            self._sent_s = now_s
        self._columns.clear()
        self._new = {Channel.GAMMA: [], Channel.NEUTRON: []}

    def _live(self) -> dict[str, Any]:
        inspection = self._core.inspection
        passage = self._core.passage
        full = len(self._recent) == self._per_second > 0
        return {
            "inspection_id": inspection.inspection_id if inspection else None,
            "gamma": self._new[Channel.GAMMA],
            "neutron": self._new[Channel.NEUTRON],
            "gamma_s": self._gamma_s,
            "speed_mps": passage.track.speed_mps if passage else None,
            "travel_m": None,
            "now": {
                "gamma_cps": sum(self._recent) if full else None,
                "neutron_cps": self._neutron_now,
            },
        }

    def samples(self, inspection_id: str) -> tuple[Series, Series]:
        """Return gamma and neutron samples of a running or recent inspection; empty before the first."""
        profile = self._profiles.get(inspection_id, Profile())
        gamma_s, neutron_s = (profile.interval_s.get(channel, 0.0) for channel in Channel)
        return Series(list(profile.gamma), gamma_s), Series(list(profile.neutron), neutron_s)
