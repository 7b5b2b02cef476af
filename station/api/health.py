"""Is the station well? A sign of life, a report for people, and metrics for Prometheus."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from station.api.feed import LIMITS
from station.api.metrics import render
from station.api.problems import Problem, refusals
from station.api.services import Lent, Services
from station.store.chain import Row
from station.store.errors import StoreError
from station.store.feed import anchor_of, read_record
from station.store.readers import View
from station.store.receipts import Owed, read_owed
from station.store.troubles import MANY_REFUSED

SILENT_S = 5.0
"""More refused records of one consumer than this are no bad records: the two sides disagree."""
API_VERSION = "1.0"

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The station serves."""

    status: Literal["ok"]


class StoreHealth(BaseModel):
    """The journal; ``quota`` is the used part, ``damaged`` counts records that the feed withholds."""

    state: str
    cause: str
    quota: float
    damaged: int


class ConsumerHealth(BaseModel):
    """What waits for a consumer: records, records that it refused, blobs that it sent no receipt for.

    ``refused`` counts up to 10,001; above 1,000 ``reasons`` has ``refused_records``. ``null`` is unknown, and
    ``receipts_missing`` of a consumer that takes no blobs.
    """

    depth: int
    refused: int | None
    receipts_missing: int | None
    reasons: list[str]


class Health(BaseModel):
    """All parts of the station; ``reasons`` say in codes why the lane is not ``ok``."""

    lane: str
    reasons: list[str]
    devices: dict[str, str]
    store: StoreHealth
    clock: str
    consumers: dict[str, ConsumerHealth]


class Index(BaseModel):
    """Where a client begins: the epoch, the range of the journal, and what it may ask for."""

    station: str
    epoch: str
    first_seq: int
    oldest: int
    head: int
    clock: str
    head_key: str
    """Public key of the signed heads: base64 of its SubjectPublicKeyInfo, the one line of a PEM file."""
    api: str
    limits: dict[str, int]


@router.get("/v1", tags=["central"], responses=refusals("store-unavailable"))
async def index(services: Lent) -> Index:
    """Return where to begin."""
    oldest = await services.store.read(lambda view: anchor_of(view.connection)[0] + 1)
    store = services.store
    return Index(
        station=services.station,
        epoch=store.epoch,
        first_seq=store.first_seq,
        oldest=oldest,
        head=store.published,
        clock=services.lane.health().clock,
        head_key=store.head_key,
        api=API_VERSION,
        limits=LIMITS,
    )


@router.get("/healthz", responses=refusals("silent"))
async def healthz(services: Lent) -> Alive:
    """Return 200 while journal and lane give signs of life."""
    for what, silent_s in (("journal", services.store.silent_s), ("lane", services.lane.health().silent_s)):
        if silent_s > SILENT_S:
            detail = f"The {what} has given no sign of life for {silent_s:.0f} s."
            raise Problem(503, "silent", detail, headers={"Retry-After": "5"})
    return Alive(status="ok")


@router.get("/v1/health")
async def health(services: Lent) -> Health:
    """Return how each part is."""
    store, lane = services.store, services.lane.health()
    return Health(
        lane=lane.lane,
        reasons=list(lane.reasons),
        devices=dict(lane.devices),
        store=StoreHealth(
            state=store.state,
            cause=store.cause,
            quota=round(store.quota_ratio, 4),
            damaged=len(store.damaged),
        ),
        clock=lane.clock,
        consumers={name: _consumer(store.published, *each) for name, each in (await _owed(services)).items()},
    )


async def _owed(services: Services) -> dict[str, tuple[int, Owed | None]]:
    """Return each consumer's cursor and what else stands open with it; ``None`` while that cannot be read."""
    acked, owed = dict(services.store.acked), dict[str, Owed]()
    for blobs in (True, False):  # of very many blobs the missing receipts are not counted in time
        with contextlib.suppress(StoreError):
            owed = await services.store.read(partial(read_owed, consumers=list(acked), blobs=blobs))
            break
    return {name: (seq, owed.get(name)) for name, seq in acked.items()}


def _consumer(head: int, acked: int, owed: Owed | None) -> ConsumerHealth:
    many = owed is not None and owed.refused > MANY_REFUSED
    return ConsumerHealth(
        depth=max(head - acked, 0),
        refused=owed.refused if owed else None,
        receipts_missing=owed.receipts_missing if owed else None,
        reasons=["refused_records"] if many else [],
    )


_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


@router.get("/metrics", response_class=Response, responses=_TEXT)
async def metrics(services: Lent) -> Response:
    """Return all metrics in Prometheus' text form; also, and above all, while the journal cannot be read."""
    try:
        oldest = await _oldest_unacked(services)
    except StoreError:
        oldest = {}
    owed = {name: each for name, (_, each) in (await _owed(services)).items() if each is not None}
    return Response(render(services, oldest, owed), media_type=CONTENT_TYPE_LATEST)


async def _oldest_unacked(services: Services) -> dict[str, float]:
    """Return the age of each consumer's oldest unacknowledged record, in seconds."""
    acked = dict(services.store.acked)

    def look(view: View) -> dict[str, Row | None]:
        waiting = {name: seq + 1 for name, seq in acked.items() if seq < view.tip.seq}
        return {name: read_record(view, seq)[0] for name, seq in waiting.items()}

    waiting = await services.store.read(look)
    now_us = services.clock.stamp().utc_ns / 1000
    rows = {name: waiting.get(name) for name in acked}
    ages = services.store.ages
    return {
        name: ages.age_s(row.seq, (now_us - row.time_us) / 1e6) if row else 0.0 for name, row in rows.items()
    }
