"""Signed heads for a witness outside: central keeps them, and nobody can rewrite what it has one of."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from station.api.feed import Seq
from station.api.problems import refusals
from station.api.services import Lent
from station.store.heads import notes_after

PAGE = 500

router = APIRouter(prefix="/v1/checkpoints", tags=["central"])


class CheckpointQuery(BaseModel):
    """Where to go on."""

    model_config = ConfigDict(extra="forbid")
    after: Seq = Field(0, description="``seq`` of the last one already taken")


class Checkpoint(BaseModel):
    """A signed head: the text that a witness keeps, and the record that it is about."""

    seq: int
    note: str


class Checkpoints(BaseModel):
    """At most 500 signed heads of the current epoch, oldest first; an empty page is the end."""

    items: list[Checkpoint]


@router.get("", responses=refusals("store-unavailable"))
async def checkpoints(query: Annotated[CheckpointQuery, Query()], services: Lent) -> Checkpoints:
    """Return the signed heads after a record."""
    found = await services.store.read(
        lambda view: notes_after(view.connection, query.after, PAGE, view.tip.seq)
    )
    return Checkpoints(items=[Checkpoint(seq=seq, note=note) for seq, note in found])
