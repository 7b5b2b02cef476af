"""When to try again: pauses that double, and a budget for crashes."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

JITTER = 0.2
CRASHES = 5
CRASH_WINDOW_S = 60.0
EXHAUSTED_S = 60.0
"""Pause between tries once the budget is spent."""


class Backoff:
    """Pauses that double from one failure to the next, ±20 % so that devices do not knock in step."""

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        """Begin; ``draw`` gives a number from 0 to 1."""
        self._draw = draw
        self._failures = 0

    def reset(self) -> None:
        """Take note of a reading: the next failure is a first one."""
        self._failures = 0

    def next_s(self, first_s: float, longest_s: float) -> float:
        """Return the pause before the next try."""
        pause_s = min(first_s * 2.0**self._failures, longest_s)
        self._failures = min(self._failures + 1, 32)
        return pause_s * (1 + JITTER * (2 * self._draw() - 1))


class Budget:
    """Five crashes in a minute spend it; then there is one try a minute, until one lasts a minute."""

    def __init__(self) -> None:
        """Begin with a full budget."""
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self.exhausted = False

    def crash(self, now_s: float, started_s: float) -> bool:
        """Take note of a crash of the try that began at ``started_s``; return whether the budget is spent."""
        self._crashes.append(now_s)
        many = len(self._crashes) == CRASHES and now_s - self._crashes[0] < CRASH_WINDOW_S
        lasted = now_s - started_s >= CRASH_WINDOW_S
        self.exhausted = many or (self.exhausted and not lasted)
        return self.exhausted
