"""A clock that a test moves by hand: virtual time."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from drivers.readings import Stamp

SETTLE_ROUNDS = 20
"""Turns of the event loop after which virtual time counts everything that could run as having run."""


class ManualClock:
    """Virtual time: it stands still until ``advance``, which wakes the sleepers one by one, in order."""

    def __init__(self, start_s: float = 1000.0, utc_ns: int = 1_767_225_600_000_000_000) -> None:
        """Start at ``start_s`` monotonic seconds and at a fixed UTC (2026-01-01T00:00:00Z)."""
        self.boot_id = "manual"
        self._mono_ns = round(start_s * 1e9)
        self._utc_ahead_ns = utc_ns - self._mono_ns
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    def stamp(self) -> Stamp:
        """Return now, as UTC and monotonic nanoseconds."""
        return Stamp(self._mono_ns + self._utc_ahead_ns, self._mono_ns, self.boot_id)

    def monotonic_s(self) -> float:
        """Return monotonic seconds."""
        return self._mono_ns / 1e9

    async def sleep(self, seconds: float) -> None:
        """Wait until ``advance`` has passed ``seconds``."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        due_ns = self._mono_ns + round(seconds * 1e9)
        heapq.heappush(self._sleepers, (due_ns, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Move ``seconds`` ahead; whoever wakes on the way sees the time at which it wanted to wake."""
        until_ns = self._mono_ns + round(seconds * 1e9)
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= until_ns:
            due_ns, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():  # else its sleeper was cancelled
                self._mono_ns = max(self._mono_ns, due_ns)
                woken.set_result(None)
                await self.settle()
        self._mono_ns = until_ns

    async def settle(self) -> None:
        """Let every task run that need not wait for time."""
        for _ in range(SETTLE_ROUNDS):
            await asyncio.sleep(0)

    def step_utc(self, seconds: float) -> None:
        """Set the wall clock forward or back (negative); monotonic time does not notice."""
        self._utc_ahead_ns += round(seconds * 1e9)
