"""Signed heads for a witness outside: central keeps them, and nobody can rewrite what it has one of."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from station.api.feed import Epoch, Seq
from station.api.problems import Problem, refusals
from station.api.services import Lent
from station.store.earlier import NotKept, Unreadable
from station.store.heads import notes_after

PAGE = 500

router = APIRouter(prefix="/v1/checkpoints", tags=["central"])


class CheckpointQuery(BaseModel):
    """Where to go on."""

    model_config = ConfigDict(extra="forbid")
    after: Seq = Field(0, description="``seq`` of the last one already taken")
    epoch: Epoch | None = Field(None, description="An earlier epoch; without it the current one")


class Checkpoint(BaseModel):
    """A signed head: the text that a witness keeps, and the record that it is about."""

    seq: int
    note: str


class Checkpoints(BaseModel):
    """At most 500 signed heads of one epoch, oldest first; an empty page is the end."""

    items: list[Checkpoint]


@router.get("", responses=refusals("not-found", "damaged", "store-unavailable"))
async def checkpoints(query: Annotated[CheckpointQuery, Query()], services: Lent) -> Checkpoints:
    """Return the signed heads after a record; of an earlier epoch as long as its journal is in quarantine."""
    store, epoch = services.store, query.epoch
    if epoch is None or epoch == store.epoch:
        found = await store.read(lambda view: notes_after(view.connection, query.after, PAGE, view.tip.seq))
    else:
        try:
            found = await store.earlier_notes(epoch, query.after, PAGE)
        except NotKept as error:
            detail = f"{error} If somebody took it out of quarantine, `carril verify` proves it there."
            raise Problem(404, "not-found", detail) from None
        except Unreadable as error:
            detail = f"{error} What central has kept of them is left."
            raise Problem(410, "damaged", detail) from None
    return Checkpoints(items=[Checkpoint(seq=seq, note=note) for seq, note in found])
