"""A day of a portal as the station counts it: rain in the afternoon, a panel that fails, an hour without a station."""

from __future__ import annotations

import math
from typing import Any

from station.api.stats import DayStats
from station.domain.statistics import Rate, Spread

PANELS = {"ML": 611.0, "MU": 588.0, "SL": 604.0, "SU": 596.0}
GONE = 6
"""The hour in which the station did not run."""
NOW = 17


def a_day(day: str, kind: str) -> dict[str, Any]:
    """Return the statistics of a day."""
    hours = [_counts(hour) | {"hour": hour} for hour in range(NOW + 1) if hour != GONE]
    rate = Rate(count=1, of=40, rate=0.025, low=0.001, high=0.13)
    rates = {f"{name}_rate": rate for name in ("alarm", "real", "innocent", "false")}
    told = {
        "station": "LAR-04",
        "day": day,
        "kind": kind,
        "covered_s": 3600.0 * NOW,
        "lacks": ["running", "not_covered"],
        "total": _counts(NOW) | rates,
        "hours": hours,
    }
    return DayStats.model_validate(told).model_dump(mode="json")


def _counts(hour: int) -> dict[str, Any]:
    rain = 40.0 * math.exp(-((hour - 14) ** 2) / 4)
    panels = [
        {
            "channel": channel,
            "panel": name,
            "records": 640,
            "background_cps": (cps + rain) / (1 if channel == "gamma" else 600),
            "dispersion": 1.0 + 0.05 * math.sin(hour + cps) + (0.6 if name == "SU" and hour > 11 else 0.0),
        }
        for channel in ("gamma", "neutron")
        for name, cps in PANELS.items()
    ]
    spread = Spread(count=40, p50=0.08 + hour / 400, p95=0.21 + hour / 300, most=0.31)
    numbers = ("gamma", "neutron", "gamma_neutron", "faults", "gamma_faults", "neutron_faults", "tampers")
    return {
        **dict.fromkeys((*numbers, "missed", "extended", "alarms"), 1),
        "covered_s": 3600.0,
        "occupancies": 40 + hour,
        "incomplete": {},
        "disagreed": {},
        "codes": {"0": 1},
        "decision_s": spread,
        "down_s": {},
        "portals": [{"device": "rpm1", "suppression": spread, "panels": panels}],
    }
