"""The feed of records for central systems: dense, resumable, served as the bytes that were hashed."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from station.api.problems import Problem, refusals
from station.api.services import Lent, Services, client_of
from station.store.errors import BeyondHead, WrongEpoch
from station.store.feed import PAGE_BYTES, Page, Trimmed, page_bytes, read_alarms, read_page
from station.store.journal import Store

MAX_LIMIT = 2000
MAX_WAIT_S = 30
MAX_SEQ = 2**53 - 1
_GZIP_FROM_BYTES = 1024

Epoch = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="The journal's epoch, 32 hex digits")]
Seq = Annotated[int, Field(ge=0, le=MAX_SEQ)]

router = APIRouter(tags=["central"])


class FeedQuery(BaseModel):
    """A cursor, and how much to read; there is no cursor in time and no offset."""

    model_config = ConfigDict(extra="forbid")
    after: Seq = Field(description="The last sequence number already taken")
    epoch: Epoch
    limit: int = Field(500, ge=1, le=MAX_LIMIT)
    wait: int = Field(0, ge=0, le=MAX_WAIT_S, description="Seconds to wait for a record when there is none")
    prio: int | None = Field(
        None, ge=0, le=0, description="0: alarms alone, to look ahead, not to acknowledge"
    )
    include: Literal["simulated"] | None = Field(
        None, description="Send simulated, test and exercise records too, instead of stubs"
    )
    consumer: str | None = Field(
        None,
        min_length=1,
        max_length=32,
        description="Who waits: each consumer has places of its own, also behind one address",
    )


class FeedItem(BaseModel):
    """One record as a CloudEvents event, or a stub that says why it is withheld."""

    seq: int
    hash: str
    event: dict[str, Any] | None = None
    withheld: Literal["policy", "simulated", "damaged"] | None = None


class FeedPage(BaseModel):
    """A page of the feed: continue with ``after=next``."""

    epoch: str
    oldest: int
    head: int
    next: int
    more: bool
    signed_head: str | None
    prev: str
    items: list[FeedItem]


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": FeedPage},
    **refusals("not-found", "epoch-changed", "beyond-head", "trimmed", "too-many", "store-unavailable"),
}


@router.get("/v1/feed", response_class=Response, responses=_RESPONSES)
async def feed(request: Request, query: Annotated[FeedQuery, Query()], services: Lent) -> Response:
    """Return the records after a cursor; with ``wait`` as soon as there is one."""
    if query.consumer is not None and query.consumer not in services.store.acked:
        raise no_consumer(query.consumer)
    services.contact.asked_s = services.clock.monotonic_s()
    try:
        page = await _read(services, request, query)
    except WrongEpoch:
        raise epoch_changed(services.store) from None
    except BeyondHead as error:
        raise beyond_head(services.store, error, query.consumer) from None
    except Trimmed as error:
        detail = f"{error} Continue at {error.oldest - 1} and note the gap."
        raise Problem(410, "trimmed", detail, oldest=error.oldest) from None
    body = page_bytes(page, query.epoch)
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if len(body) >= _GZIP_FROM_BYTES and _accepts_gzip(request.headers.get("accept-encoding", "")):
        body = await asyncio.to_thread(gzip.compress, body, 1)
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers, media_type="application/json")


async def _read(services: Services, request: Request, query: FeedQuery) -> Page:
    """Read a page; when it is empty, wait for what the request allows."""
    if not query.wait:
        return await _page(services.store, query, query.after)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + query.wait
    # The wake-up is registered before the first look: nothing can slip in between.
    async with _endings(services, request) as (wake, ended):
        page = await _page(services.store, query, query.after)
        if page.items or ended.is_set():
            return page
        client = f"consumer {query.consumer}" if query.consumer else client_of(request)
        if not services.waits.take(client):
            detail = f"At most {services.waits.limit} requests of one client may wait at a time."
            raise Problem(429, "too-many", detail, headers={"Retry-After": "1"})
        try:
            while not page.items and not ended.is_set() and (left_s := deadline - loop.time()) > 0:
                try:
                    await asyncio.wait_for(wake.wait(), left_s)
                except TimeoutError:
                    break
                wake.clear()
                page = await _page(services.store, query, page.next)
        finally:
            services.waits.give(client)
        return page


async def _page(store: Store, query: FeedQuery, after: int) -> Page:
    read = read_page if query.prio is None else read_alarms
    simulated = query.include == "simulated"
    return await store.read(lambda view: read(view, query.epoch, after, query.limit, simulated=simulated))


@asynccontextmanager
async def _endings(
    services: Services, request: Request
) -> AsyncIterator[tuple[asyncio.Event, asyncio.Event]]:
    """Give an event for each news, and one for the end: the station stops, or the client is gone."""
    wake, ended = asyncio.Event(), asyncio.Event()
    tasks = [
        asyncio.create_task(_end(services.stop.wait, wake, ended)),
        asyncio.create_task(_end(partial(_gone, request), wake, ended)),
    ]
    forget = services.store.on_commit(lambda _: wake.set())
    try:
        yield wake, ended
    finally:
        forget()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _end(ending: Callable[[], Awaitable[object]], wake: asyncio.Event, ended: asyncio.Event) -> None:
    await ending()
    ended.set()
    wake.set()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _accepts_gzip(header: str) -> bool:
    for part in header.split(","):
        name, _, parameters = part.partition(";")
        if name.strip().lower() in ("gzip", "*"):
            quality = parameters.replace(" ", "").lower()
            return quality not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def no_consumer(name: str) -> Problem:
    """Return the problem of a name that the lane file does not give."""
    return Problem(404, "not-found", f"There is no consumer {name!r}: the lane file names them all.")


def epoch_changed(store: Store) -> Problem:
    """Return what a client of another epoch must know in order to go on."""
    before = store.before
    known = before is not None and any(before.epoch)
    return Problem(
        409,
        "epoch-changed",
        f"Go on in epoch {store.epoch} after {store.first_seq - 1}; drop what you have already, by its id.",
        previous=before.epoch.hex() if before and known else None,
        previous_last=before.last if before else None,
        previous_hash=before.hash.hex() if before and known else None,
        epoch=store.epoch,
        first_seq=store.first_seq,
    )


def beyond_head(store: Store, error: BeyondHead, consumer: str | None = None) -> Problem:
    """Return the refusal of a cursor past the last record, and count it: somebody has lost data.

    A consumer's is told to the lane; anybody else may have typed a wrong number.
    """
    store.stats.beyond_head += 1
    if consumer is not None:
        store.troubles.is_ahead(consumer, error.seq, error.head)
    return Problem(409, "beyond-head", str(error), head=error.head)


LIMITS = {"limit": MAX_LIMIT, "wait": MAX_WAIT_S, "page_bytes": PAGE_BYTES}
