"""How a lane shall work, as a central system sends it. It is kept; this version changes nothing by it."""

from __future__ import annotations

import zoneinfo
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from station.domain.signed import ListOf, Strict, Text

Program = Literal["standard", "fast", "expres", "empties", "hazmat", "oversize"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone of the IANA list, such as America/Matamoros") from None
    return name


class Shift(Strict):
    """A program at certain hours of certain days; ``to`` before ``from`` runs over midnight."""

    days: Annotated[tuple[Day, ...], Field(strict=False, min_length=1, max_length=7)]
    from_: Annotated[TimeOfDay, Field(alias="from")]
    to: TimeOfDay
    tz: Annotated[Text, AfterValidator(_zone)]
    program: Program


class LaneModeBody(Strict):
    """Posture, program and draw of a lane."""

    posture: Literal["normal", "emergency", "resumption", "closed"]
    program: Program | None = None
    schedule: ListOf[Shift] = ()
    tiers: ListOf[Annotated[int, Field(ge=1, le=3)]] = ()
    """Whom a resuming port serves: 1 relief and national priority, 2 trusted, 3 others."""
    rates_ppm: dict[Program, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(default_factory=dict)
    """Random examinations in a million vehicles."""
    draw_nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    call_tree: ListOf[Annotated[str, Field(min_length=1, max_length=200)]] = ()
