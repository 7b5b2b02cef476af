"""Background of a portal: which records may enter it, and how long was really counted.

A vehicle suppresses or raises the background, so nothing enters from the first scan record to a guard
time after the close; a running mean must not be counted twice, so the counting time is not wall time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from imaging.radiation.verdict import BackgroundEstimate


@dataclass(frozen=True, slots=True)
class BackgroundRules:
    """How background records are combined.

    ``averaging_s``: counting time behind one record (more than the cadence: a running mean).
    ``cadence_s``: nominal time between records. ``records``: length of the memory. ``guard_s``: time
    after an occupancy in which nothing enters. ``old_s``: age at which a background is called old; records
    older than that by the time a new one comes are forgotten.
    """

    averaging_s: float = 1.0
    cadence_s: float = 5.0
    records: int = 20
    guard_s: float = 2.0
    old_s: float = 600.0
    minimum: int = 2


@dataclass(slots=True)
class Background:
    """The last accepted background records of one channel."""

    rules: BackgroundRules = field(default_factory=BackgroundRules)
    _records: deque[tuple[int, tuple[int, ...]]] = field(init=False)
    _interval_s: float = 1.0
    """Counting time of the numbers in them."""
    _counted: BackgroundEstimate | None = None
    _frozen: bool = False
    _guard_until_ns: int | None = None

    def __post_init__(self) -> None:
        self._records = deque(maxlen=self.rules.records)

    def take(self, counted: BackgroundEstimate) -> None:
        """Take what somebody else has counted, in place of all records."""
        self._counted = counted

    def forget(self) -> None:
        """Begin to learn anew."""
        self._records.clear()
        self._counted = None

    def freeze(self) -> None:
        """A vehicle is there: nothing enters."""
        self._frozen = True

    def thaw(self, mono_ns: int) -> None:
        """The vehicle has left: records are accepted again after the guard time."""
        self._frozen = False
        self._guard_until_ns = mono_ns + round(self.rules.guard_s * 1e9)

    def offer(self, mono_ns: int, counts: tuple[int | None, ...], interval_s: float = 1.0) -> str | None:
        """Take in one record of counts per interval and detector; return why it was refused, else ``None``.

        Refusals: ``frozen``, ``guard``, ``partial``, and ``interval`` where nobody knows the counting time. A
        change in the number of detectors or in the counting time starts afresh. What is older than ``old_s``
        is forgotten: a mean of yesterday and now is the background of neither.
        """
        if interval_s <= 0:
            return "interval"
        if self._frozen:
            return "frozen"
        if self._guard_until_ns is not None and mono_ns < self._guard_until_ns:
            return "guard"
        present = tuple(count for count in counts if count is not None)
        if not present or len(present) < len(counts):
            return "partial"
        if self._records and (len(self._records[-1][1]), self._interval_s) != (len(present), interval_s):
            self._records.clear()
        oldest_ns = mono_ns - round(self.rules.old_s * 1e9)
        while self._records and self._records[0][0] < oldest_ns:
            self._records.popleft()
        self._interval_s = interval_s
        self._records.append((mono_ns, present))
        return None

    def estimate(self) -> BackgroundEstimate | None:
        """Return the mean rates and the time counted, or ``None`` below the least number of records."""
        if self._counted is not None:
            return self._counted
        count = len(self._records)
        if count < self.rules.minimum:
            return None
        sums = [sum(column) for column in zip(*(record for _, record in self._records), strict=True)]
        return BackgroundEstimate(
            cps=tuple(total / (count * self._interval_s) for total in sums),
            counting_s=self._counting_s(),
            records=count,
            newest_ns=self._records[-1][0],
        )

    def _counting_s(self) -> float:
        """Sum min(n·A, cadence·(n−1) + A) over runs of n consecutive records."""
        rules = self.rules
        longest_step_ns = round(1.5 * rules.cadence_s * 1e9)
        runs: list[int] = []
        previous_ns: int | None = None
        for mono_ns, _ in self._records:
            if previous_ns is not None and mono_ns - previous_ns <= longest_step_ns:
                runs[-1] += 1
            else:
                runs.append(1)
            previous_ns = mono_ns
        averaging_s = rules.averaging_s
        return sum(min(n * averaging_s, rules.cadence_s * (n - 1) + averaging_s) for n in runs)
