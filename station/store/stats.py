"""Counters of the store, for health, metrics and benchmarks."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field


class Histogram:
    """Counts of values up to each bound, as Prometheus wants them. Written by one thread."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.total = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, int]]:
        """Return (bound, values up to it), ending with ``+Inf``."""
        names = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
        sums = [sum(self._counts[: index + 1]) for index in range(len(names))]
        return list(zip(names, sums, strict=True))


@dataclass(slots=True)
class Stats:
    """What the writer and the blobs did since the store was opened."""

    commit_seconds: Histogram = field(
        default_factory=lambda: Histogram((0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10))
    )
    """From BEGIN to the synced mark, in seconds."""
    group_records: Histogram = field(
        default_factory=lambda: Histogram((1, 2, 4, 8, 16, 32, 64, 128, 256, 512))
    )
    """Records of each commit that has any: how well appends share a sync."""
    log_bytes: int = 0
    """Size of the write-ahead log after the last commit: a reader's own ``stat`` would wait for the disk."""
    commits: int = 0
    """Each syncs the write-ahead log once."""
    mark_syncs: int = 0
    blob_syncs: int = 0
    checkpoints: int = 0
    epochs: int = 0
    """New epochs begun while running."""
    reopened: int = 0
    """Poisoned handles that were replaced."""
    beyond_head: int = 0
    """Acknowledgements of records that never were."""
    blobs_unverified: int = 0
    """Blobs that a consumer got with other bytes than their name says."""
    trimmed_records: int = 0
    """Records that retention removed."""
    trimmed_blobs: int = 0
    """Blobs that retention removed."""
    orphans: int = 0
    """Files without a row that went into quarantine."""
