"""Consumers of the feed: each has one cursor, which only it moves, and what it has refused."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from station.api.feed import MAX_SEQ, Epoch, Seq, beyond_head, epoch_changed, no_consumer
from station.api.problems import Problem, refusals
from station.api.services import Lent
from station.domain.signed import Strict
from station.store.errors import BeyondHead, UnknownConsumer, WrongEpoch
from station.store.nacks import BadNack, Nack, NotRefused, Refused
from station.store.nacks import page as quarantine_page
from station.store.readers import View
from station.store.reoffer import Damaged

router = APIRouter(prefix="/v1/consumers", tags=["central"])
log = logging.getLogger("carril.api")

MAX_NACKS = 500
MAX_QUARANTINE = 1000
Record = Annotated[int, Path(ge=1, le=MAX_SEQ)]


class NackBody(Strict):
    """A record that cannot be taken, and why, in the words of the one who cannot."""

    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    reason: Annotated[str, Field(min_length=1, max_length=200)]


class AckBody(Strict):
    """Everything up to ``seq`` is safe on the other side, except what ``nack`` refuses."""

    epoch: Epoch
    seq: Seq
    nack: list[NackBody] = Field([], max_length=MAX_NACKS)


class Cursor(BaseModel):
    """How far a consumer has acknowledged; nothing is removed that a ``required`` one has not."""

    epoch: str
    acked: int
    required: bool


class Moved(BaseModel):
    """A cursor after an acknowledgement; ``moved`` is false when it had been there before."""

    epoch: str
    acked: int
    moved: bool


class QuarantineQuery(BaseModel):
    """Where to go on, and how much to read."""

    model_config = ConfigDict(extra="forbid")
    after: Seq = Field(0, description="``next`` of the page before")
    limit: int = Field(100, ge=1, le=MAX_QUARANTINE)


class QuarantineItem(BaseModel):
    """A refused record; ``offered_seq`` is where it was offered anew since it was refused last."""

    seq: int
    reason: str
    tries: int
    offered_seq: int | None


class Quarantine(BaseModel):
    """Refused records, oldest first: continue with ``after=next`` while there is ``more``."""

    items: list[QuarantineItem]
    next: int
    more: bool


class Offered(BaseModel):
    """Where a refused record stands in the feed anew; ``new`` is false when it stood there before."""

    epoch: str
    seq: int
    offered_seq: int
    new: bool


@router.get("/{name}", responses=refusals("not-found"))
async def consumer(name: str, services: Lent) -> Cursor:
    """Return a consumer's cursor, so that a reinstalled central system learns where it was."""
    acked = services.store.acked.get(name)
    if acked is None:
        raise no_consumer(name)
    return Cursor(epoch=services.store.epoch, acked=acked, required=name in services.store.required)


_ACK_REFUSALS = refusals("not-found", "epoch-changed", "beyond-head", "invalid", "store-unavailable")


@router.post("/{name}/ack", responses=_ACK_REFUSALS)
async def ack(name: str, body: AckBody, services: Lent) -> Moved:
    """Take all records up to one, except refused ones: cumulative, idempotent, durable before the answer."""
    services.contact.asked_s = services.clock.monotonic_s()
    try:
        nacks = [Nack(nack.seq, nack.reason) for nack in body.nack]
        acked = await services.store.ack(name, body.epoch, body.seq, nacks)
    except UnknownConsumer:
        raise no_consumer(name) from None
    except WrongEpoch:
        raise epoch_changed(services.store) from None
    except BeyondHead as error:
        log.error("consumer %s acknowledged %d, the head is %d", name, body.seq, error.head)
        raise beyond_head(services.store, error, name) from None
    except BadNack as error:
        field = f"body.nack.{error.index}.seq"
        errors = [{"field": field, "message": error.rule}]
        raise Problem(422, "invalid", f"{field}: {error.rule}", errors=errors) from None
    return Moved(epoch=acked.epoch, acked=acked.acked, moved=acked.moved)


@router.get("/{name}/quarantine", responses=refusals("not-found", "store-unavailable"))
async def quarantine(name: str, query: Annotated[QuarantineQuery, Query()], services: Lent) -> Quarantine:
    """Return the records that a consumer has refused, for a person to look into."""
    if name not in services.store.acked:
        raise no_consumer(name)

    def look(view: View) -> tuple[list[Refused], int]:
        return quarantine_page(view.connection, name, query.after, query.limit + 1), view.tip.seq

    found, published = await services.store.read(look)
    items = [_item(each, published) for each in found[: query.limit]]
    return Quarantine(
        items=items, next=items[-1].seq if items else query.after, more=len(found) > query.limit
    )


def _item(found: Refused, published: int) -> QuarantineItem:
    offered = found.offered_seq
    return QuarantineItem(
        seq=found.seq,
        reason=found.reason,
        tries=found.tries,
        offered_seq=offered if offered is not None and offered <= published else None,
    )


@router.post(
    "/{name}/quarantine/{seq}/retry", responses=refusals("not-found", "damaged", "store-unavailable")
)
async def retry(name: str, seq: Record, services: Lent) -> Offered:
    """Offer a refused record anew, at the end of the feed; durable before the answer, never twice."""
    try:
        offer = await services.store.reoffer(name, seq)
    except UnknownConsumer:
        raise no_consumer(name) from None
    except NotRefused:
        detail = f"Record {seq} is not in the quarantine of {name!r}: never refused, or taken since."
        raise Problem(404, "not-found", detail) from None
    except Damaged as error:
        raise Problem(410, "damaged", f"{error} It stays in quarantine.") from None
    return Offered(epoch=offer.epoch, seq=offer.seq, offered_seq=offer.offered_seq, new=offer.new)
