"""The clock of emulators and driver tests: it may run fast, leap ahead and have its wall time stepped."""

from __future__ import annotations

import asyncio
import time

from drivers.readings import Stamp

LONGEST_NAP_S = 0.02
"""Real seconds after which a sleeper looks at the clock again: somebody may have called ``advance``."""


class PlantClock:
    """A ``drivers.api.Clock`` at ``rate`` times real time; with rate 0 only ``advance`` moves it."""

    def __init__(self, rate: float = 1.0, *, boot_id: str = "plant") -> None:
        """Start at monotonic 1,000 s, so that a stamp taken back in time stays positive."""
        self.rate = rate
        self._boot_id = boot_id
        self._started_ns = time.monotonic_ns()
        self._ahead_ns = 1_000_000_000_000
        self._utc_offset_ns = time.time_ns() - self._ahead_ns

    def _mono_ns(self) -> int:
        return self._ahead_ns + round((time.monotonic_ns() - self._started_ns) * self.rate)

    def stamp(self) -> Stamp:
        """Return now, as UTC and monotonic nanoseconds."""
        mono_ns = self._mono_ns()
        return Stamp(mono_ns + self._utc_offset_ns, mono_ns, self._boot_id)

    def monotonic_s(self) -> float:
        """Return monotonic seconds of this clock."""
        return self._mono_ns() / 1e9

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` of this clock, however they pass."""
        until_s = self.monotonic_s() + seconds
        while (left_s := until_s - self.monotonic_s()) > 0:
            nap_s = left_s / self.rate if self.rate > 0 else LONGEST_NAP_S
            await asyncio.sleep(min(nap_s, LONGEST_NAP_S))
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Leap ahead by ``seconds``; a monotonic clock never goes back."""
        self._ahead_ns += round(max(0.0, seconds) * 1e9)

    def step_utc(self, seconds: float) -> None:
        """Set the wall clock forward or back (negative); monotonic time does not notice."""
        self._utc_offset_ns += round(seconds * 1e9)
