"""What two persons may give up: a consumer that will never come back, a record that one refuses for ever.

Sign-in does not exist yet: the station sees that two names are given, and the record says that nobody proved
to be one of them.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field, model_validator

from station.api.consumers import Record
from station.api.feed import no_consumer
from station.api.orders import DONE, recorded
from station.api.problems import Problem
from station.api.services import Lent
from station.domain.signed import Strict, Text
from station.store.clear import Persons, StillNamed
from station.store.errors import UnknownConsumer
from station.store.nacks import NotRefused

router = APIRouter(prefix="/v1/lane/consumers", tags=["lane"])

Name = Annotated[str, Path(max_length=32)]


class TwoPersons(Strict):
    """Who asks for it, another one who agrees, and why."""

    first: Text
    second: Text
    reason: Annotated[str, Field(min_length=1, max_length=500)]

    @model_validator(mode="after")
    def _are_two(self) -> TwoPersons:
        if self.first.strip().casefold() == self.second.strip().casefold():
            raise ValueError("first and second are the same person: two must agree")
        return self

    def persons(self) -> Persons:
        """Return them as the store takes them."""
        return Persons(self.first, self.second, self.reason)


@router.post("/{name}/drop", status_code=201, responses=DONE)
async def drop(name: Name, body: TwoPersons, services: Lent) -> Response:
    """Forget a consumer that the lane file no longer names: records need not wait for it any longer."""
    try:
        return recorded(await services.store.drop(name, body.persons()))
    except UnknownConsumer:
        raise no_consumer(name) from None
    except StillNamed as refused:
        raise Problem(409, "refused", str(refused)) from None


@router.post("/{name}/quarantine/{seq}/clear", status_code=201, responses=DONE)
async def clear(name: Name, seq: Record, body: TwoPersons, services: Lent) -> Response:
    """Give up a record that a consumer refused: it need not be kept for that any longer."""
    try:
        return recorded(await services.store.clear(name, seq, body.persons()))
    except UnknownConsumer:
        raise no_consumer(name) from None
    except NotRefused:
        raise Problem(404, "not-found", f"Record {seq} is not in the quarantine of {name!r}.") from None
