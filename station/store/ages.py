"""How long ago records were published, by monotonic time: the wall clock may be set back meanwhile."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable

STEP_S = 1.0
MOST = 4096
"""Moments that are remembered; above, every second one is forgotten: old ages come out somewhat too high."""


class Ages:
    """Up to which record was published when; bounded, exact to a second while young. For all threads."""

    def __init__(self, now: Callable[[], float], seq: int) -> None:
        """Begin at ``seq``, the last record of the time before; ``now`` gives monotonic seconds."""
        self._now, self._lock = now, threading.Lock()
        self._seqs, self._times = [seq], [now()]

    def note(self, seq: int) -> None:
        """Take note that everything up to ``seq`` is published now."""
        with self._lock:
            self._note(seq, self._now())

    def _note(self, seq: int, now_s: float) -> None:
        if seq <= self._seqs[-1]:
            return
        if len(self._seqs) > 1 and now_s - self._times[-1] < STEP_S:
            self._seqs[-1] = seq  # called as old as the first of its second
            return
        self._seqs.append(seq)
        self._times.append(now_s)
        if len(self._seqs) > MOST:  # of two neighbours the older moment goes on, with the later record
            self._seqs[1:] = self._seqs[2::2]
            self._times[1:] = self._times[1:-1:2]

    def age_s(self, seq: int, wall_s: float) -> float:
        """Return how many seconds record ``seq`` has waited.

        Of one that was there at the start it is ``wall_s``, its age by the wall clock, but never less than
        the time since then.
        """
        with self._lock:
            place = min(bisect_left(self._seqs, seq), len(self._seqs) - 1)
            since_s = self._now() - self._times[place]
        return max(wall_s, since_s) if seq <= self._seqs[0] else since_s
