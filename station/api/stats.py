"""The counts and rates of a day, hour by hour, as the lane recorded them.

The lane records each hour as ``hour.counted``, some of them in parts, under a subject of the day: a day is
read from a few dozen records, however many vehicles it had. The hour that runs comes from the lane itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import partial
from statistics import median
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, field_validator

from station.api.problems import Problem, refusals
from station.api.services import Lent
from station.domain.day_events import HourCounted, statistics_of
from station.domain.statistics import (
    FALSE_CODES,
    INNOCENT_CODES,
    REAL_CODES,
    Kind,
    Panel,
    Rate,
    Spread,
    Tally,
    coded,
    kind_of,
    rate,
    rounded,
    spread,
    total,
)
from station.lane.hours import LaneHours, Part
from station.store.feed import anchor_of, read_after, read_subject
from station.store.readers import View

DAY_S = 86_400.0
SPARE_S = 60.0
"""A start and its first moments are no hole in a day."""
DAY = r"^\d{4}-\d{2}-\d{2}$"
COUNTED = HourCounted.type_name()


class StatsQuery(BaseModel):
    """Which day (UTC), and what of it: real passages, unless another kind is asked for."""

    model_config = ConfigDict(extra="forbid")
    day: str | None = Field(
        None,
        pattern=DAY,
        description="`YYYY-MM-DD`; without it today",
        json_schema_extra={"format": "date"},
    )
    kind: Kind = "real"

    @field_validator("day")
    @classmethod
    def _is_a_day(cls, day: str | None) -> str | None:
        if day is not None:
            date.fromisoformat(day)
        return day


class PanelStats(BaseModel):
    """Background of one panel; ``null`` is unknown. ``dispersion`` is a median over blocks of 60."""

    channel: str
    panel: str
    records: int
    background_cps: float | None
    dispersion: float | None


class PortalStats(BaseModel):
    """One portal: how much vehicles kept from it, as a part of the background, and its panels."""

    device: str
    suppression: Spread
    panels: list[PanelStats]


class Counts(BaseModel):
    """What was counted; ``gamma`` and ``neutron`` are occupancies with an alarm of that channel alone."""

    covered_s: float
    occupancies: int
    gamma: int
    neutron: int
    gamma_neutron: int
    faults: int
    gamma_faults: int
    neutron_faults: int
    tampers: int
    incomplete: dict[str, int]
    missed: int
    extended: int
    disagreed: dict[str, int]
    alarms: int
    codes: dict[str, int]
    decision_s: Spread
    down_s: dict[str, dict[str, float]]
    portals: list[PortalStats]


class HourStats(Counts):
    """One hour, 0 to 23."""

    hour: int


class DayTotal(Counts):
    """The whole day, with its rates: alarmed of all occupancies, and of the alarms that were adjudicated."""

    alarm_rate: Rate
    real_rate: Rate
    innocent_rate: Rate
    false_rate: Rate


class DayStats(BaseModel):
    """A day (UTC). ``lacks`` says why it may not be the whole one; without any hour ``total`` is ``null``."""

    station: str
    day: str
    kind: Kind
    covered_s: float
    lacks: list[Literal["running", "not_covered", "trimmed"]]
    total: DayTotal | None
    hours: list[HourStats]


def stats_router(hours: LaneHours) -> APIRouter:
    """Return the route of a day's statistics."""
    router = APIRouter(prefix="/v1/stats", tags=["central"])

    @router.get("", responses=refusals("trimmed", "store-unavailable"))
    async def stats(query: Annotated[StatsQuery, Query()], services: Lent) -> DayStats:
        """Return what a day's hours amount to."""
        now_s = services.clock.stamp().utc_ns / 1e9
        day = query.day or f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d}"
        gone_s = now_s - datetime.fromisoformat(f"{day}T00:00+00:00").timestamp()
        turns = -1
        while turns != hours.turns:  # else an hour that was recorded meanwhile might be nowhere, or twice
            turns, known = hours.turns, dict(hours.recorded)
            stored, begins = await services.store.read(partial(_stored, day=day))
            parts = stored | known | hours.running()
        found = [(name, t) for (name, kind, _), t in parts.items() if name[:10] == day and kind == query.kind]
        trimmed = begins > f"{day}T00"
        if trimmed and not found and begins > f"{day}T24":
            raise Problem(410, "trimmed", f"The counts of {day} were removed, or are of an earlier epoch.")
        lacks = [code for code, so in (("running", gone_s < DAY_S), ("trimmed", trimmed)) if so]
        due_s = min(gone_s, DAY_S) - SPARE_S
        return await asyncio.to_thread(_day, services.station, day, query.kind, found, lacks, due_s)

    return router


def _stored(view: View, day: str) -> tuple[dict[Part, Tally], str]:
    """Return the tallies of a day, and, where older records are gone, when the oldest is of."""
    told = [row.told() for row in read_subject(view, statistics_of(day))]
    tallies = dict(_part(data) for _, type_, data in told if type_ == COUNTED)
    anchor, _ = anchor_of(view.connection)
    oldest = read_after(view, anchor, 1) if anchor > 0 else []
    return tallies, oldest[0].event()["time"] if oldest else ""


def _part(data: Mapping[str, Any]) -> tuple[Part, Tally]:
    part = data["hour"], kind_of(data), data["stamp"]["mono_us"]
    return part, Tally.model_validate({name: data[name] for name in Tally.model_fields if name in data})


def _day(
    station: str, day: str, kind: Kind, found: list[tuple[str, Tally]], lacks: list[str], due_s: float
) -> DayStats:
    by_hour: dict[str, list[Tally]] = {}
    for name, tally in found:
        by_hour.setdefault(name, []).append(tally)
    whole = total(tally for _, tally in found)
    if whole.covered_s < due_s:
        lacks = [*lacks, "not_covered"]
    hours = [{"hour": int(name[11:]), **_counts(total(parts))} for name, parts in sorted(by_hour.items())]
    return DayStats.model_validate(
        {
            "station": station,
            "day": day,
            "kind": kind,
            "covered_s": whole.covered_s,
            "lacks": lacks,
            "total": {**_counts(whole), **_rates(whole)} if found else None,
            "hours": hours,
        }
    )


def _counts(tally: Tally) -> dict[str, object]:
    return tally.model_dump() | {
        "decision_s": spread(tally.decisions_s),
        "portals": [
            {
                "device": device,
                "suppression": spread(tally.suppressions.get(device, ())),
                "panels": list(_panels(tally.panels.get(device, {}))),
            }
            for device in sorted(tally.panels.keys() | tally.suppressions.keys())
        ],
    }


def _panels(channels: dict[str, dict[str, Panel]]) -> Iterable[dict[str, object]]:
    for channel, panels in sorted(channels.items()):
        for name, panel in sorted(panels.items()):
            cps = panel.counts / panel.counted_s if panel.counted_s > 0 else None
            found = median(panel.dispersions) if panel.dispersions else None
            told = rounded({"records": panel.records, "background_cps": cps, "dispersion": found})
            yield {"channel": channel, "panel": name, **told}


def _rates(tally: Tally) -> dict[str, Rate]:
    judged = coded(tally.codes, (*REAL_CODES, *INNOCENT_CODES, *FALSE_CODES))
    return {
        "alarm_rate": rate(tally.gamma + tally.neutron + tally.gamma_neutron, tally.occupancies),
        "real_rate": rate(coded(tally.codes, REAL_CODES), judged),
        "innocent_rate": rate(coded(tally.codes, INNOCENT_CODES), judged),
        "false_rate": rate(coded(tally.codes, FALSE_CODES), judged),
    }
