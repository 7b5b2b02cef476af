"""Consumers of the feed: each has one cursor, which only its own acknowledgement moves."""

from __future__ import annotations

import logging

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from station.api.feed import Epoch, Seq, beyond_head, epoch_changed
from station.api.problems import Problem, refusals
from station.api.services import Lent
from station.store.errors import BeyondHead, UnknownConsumer, WrongEpoch

router = APIRouter(prefix="/v1/consumers", tags=["central"])
log = logging.getLogger("carril.api")


class AckBody(BaseModel):
    """Everything up to ``seq`` is safe on the other side."""

    model_config = ConfigDict(extra="forbid", strict=True)
    epoch: Epoch
    seq: Seq


class Cursor(BaseModel):
    """How far a consumer has acknowledged."""

    epoch: str
    acked: int


class Moved(Cursor):
    """A cursor after an acknowledgement; ``moved`` is false when it had been there before."""

    moved: bool


@router.get("/{name}", responses=refusals("not-found"))
async def consumer(name: str, services: Lent) -> Cursor:
    """Return a consumer's cursor, so that a reinstalled central system learns where it was."""
    acked = services.store.acked.get(name)
    if acked is None:
        raise _unknown(name)
    return Cursor(epoch=services.store.epoch, acked=acked)


_ACK_REFUSALS = refusals("not-found", "epoch-changed", "beyond-head", "invalid", "store-unavailable")


@router.post("/{name}/ack", responses=_ACK_REFUSALS)
async def ack(name: str, body: AckBody, services: Lent) -> Moved:
    """Acknowledge all records up to one: cumulative, idempotent, durable before the answer."""
    services.contact.asked_s = services.clock.monotonic_s()
    try:
        acked = await services.store.ack(name, body.epoch, body.seq)
    except UnknownConsumer:
        raise _unknown(name) from None
    except WrongEpoch:
        raise epoch_changed(services.store) from None
    except BeyondHead as error:
        log.error("consumer %s acknowledged %d, the head is %d", name, body.seq, error.head)
        raise beyond_head(services.store, error) from None
    return Moved(epoch=acked.epoch, acked=acked.acked, moved=acked.moved)


def _unknown(name: str) -> Problem:
    return Problem(404, "not-found", f"There is no consumer {name!r}: the lane file names them all.")
