"""How long each vehicle waited, for those who watch over a port: no plate and no picture leaves through here.

A vehicle has a key instead: the first 16 bytes of HMAC-SHA-256(salt of the day, plate), the salt of the day
being HMAC-SHA-256(secret of the port, its date in UTC). All lanes of the port give it the same key on one
day; on the next day it has another one, and nobody without the secret can find the plate by trying all.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from station.api.feed import Seq, beyond_head
from station.api.problems import Problem, refusals
from station.api.services import Lent
from station.store.chain import Row, rfc3339
from station.store.errors import BeyondHead
from station.store.feed import Trimmed
from station.store.passages import read_sealed
from station.store.search import normal

KEY_BYTES = 16
MAX_LIMIT = 1000

router = APIRouter(prefix="/v1/wait-times", tags=["central"])


class WaitTimesQuery(BaseModel):
    """Where to go on, and how much to read."""

    model_config = ConfigDict(extra="forbid")
    after: Seq = Field(0, description="``next`` of the page before")
    limit: int = Field(500, ge=1, le=MAX_LIMIT)
    include: Literal["simulated"] | None = Field(None, description="Simulated, test and exercise ones too")


class WaitTime(BaseModel):
    """One vehicle; a moment that nobody saw is ``null``, as is the key of one whose plate was not read.

    ``program`` is ``null``: no lane of this version has one. ``clock`` says whether the moments can be
    compared with those of another computer.
    """

    seq: int
    key: str | None
    entry_at: str | None
    booth_at: str | None
    exit_at: str | None
    program: str | None
    direction: str
    clock: str


class WaitTimes(BaseModel):
    """Vehicles in the order of their sealing; a page may be empty while there is ``more`` after ``next``."""

    items: list[WaitTime]
    next: int
    more: bool


_REFUSALS = refusals("not-found", "beyond-head", "trimmed", "store-unavailable")


@router.get("", responses=_REFUSALS)
async def wait_times(query: Annotated[WaitTimesQuery, Query()], services: Lent) -> WaitTimes:
    """Return when vehicles came, stood at the booth and left."""
    salt = services.port_salt
    if salt is None:
        detail = (
            "This lane gives no wait times: name the secret of its port in the lane file, as "
            'port_salt = { credential = "port_salt" } under [lane].'
        )
        raise Problem(404, "not-found", detail)
    simulated = query.include == "simulated"
    try:
        found = await services.store.read(
            lambda view: read_sealed(view, query.after, query.limit, simulated=simulated)
        )
    except BeyondHead as error:
        raise beyond_head(services.store, error) from None
    except Trimmed as error:
        raise Problem(410, "trimmed", str(error), oldest=error.oldest) from None
    items = [_wait_time(row, salt, services.direction) for row in found.rows]
    return WaitTimes(items=items, next=found.next, more=found.head > found.next)


def _wait_time(row: Row, salt: bytes, direction: str) -> WaitTime:
    data = row.event()["data"]
    came_us = data.get("entry_at_utc_us") or data["opened_at_utc_us"]
    return WaitTime(
        seq=row.seq,
        key=_key(data["identity"], salt, came_us),
        entry_at=_at(data, "entry"),
        booth_at=_at(data, "booth"),
        exit_at=_at(data, "exit"),
        program=None,
        direction=direction,
        clock=data["stamp"]["clock"],
    )


def _at(data: Mapping[str, Any], place: str) -> str | None:
    moment_us = data.get(f"{place}_at_utc_us")
    return None if moment_us is None else rfc3339(moment_us)


def _key(identity: Mapping[str, Any], salt: bytes, came_us: int) -> str | None:
    plate = normal(identity["plate"]["text"]) if identity["plate"] else ""
    return vehicle_key(salt, rfc3339(came_us)[:10], plate) if plate else None


def vehicle_key(salt: bytes, day: str, plate: str) -> str:
    """Return the key of a plate (upper-case letters and digits alone) on a day (``YYYY-MM-DD``, UTC)."""
    of_day = hmac.digest(salt, day.encode(), "sha256")
    return hmac.digest(of_day, plate.encode(), "sha256")[:KEY_BYTES].hex()
