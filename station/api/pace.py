"""How fast downloads may go, all of a kind together: a bucket of bytes that fills with time."""

from __future__ import annotations

import math
from dataclasses import dataclass

BYTES_PER_S = 12_500_000.0
"""100 Mbit/s: what is left of a port's network is for the lanes' feeds and devices."""
BURST_BYTES = 4 * 1024 * 1024
"""A preview or a passage comes at once."""


@dataclass(slots=True)
class Pace:
    """Who sends asks before each piece, and waits as long as it is told; pieces take turns as they ask."""

    bytes_per_s: float = BYTES_PER_S
    burst_bytes: float = BURST_BYTES
    _empty_s: float = -math.inf
    """When all that was granted will have been earned; monotonic seconds."""

    def wait_s(self, size: int, now_s: float) -> float:
        """Grant ``size`` bytes; return the seconds to wait before they are sent."""
        full_s = now_s - self.burst_bytes / self.bytes_per_s
        self._empty_s = max(self._empty_s, full_s) + size / self.bytes_per_s
        return max(self._empty_s - now_s, 0.0)
