"""One measured figure as a line of JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """``goal`` is a bound: at least for ratios that should be large, at most for everything else."""

    figure: str
    value: float
    unit: str
    goal: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def line(self, bench: str) -> str:
        shown = {**asdict(self), "value": round(self.value, 4), "bench": bench, "holds": self.holds}
        del shown["at_least"]
        order = ("bench", "figure", "value", "unit", "goal", "holds")
        return json.dumps({name: shown[name] for name in order})


def percentile(values: list[float], share: float) -> float:
    """Return the value that ``share`` of the values do not exceed (nearest rank)."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
