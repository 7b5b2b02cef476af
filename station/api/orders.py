"""How an order of a person is answered: when its record is durable, by the place of that record."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header, Response
from pydantic import BaseModel

from station.api.problems import Problem, from_store, refusals
from station.domain.decision import NotFound, Refused, ReleaseLocked
from station.lane.commands import Command
from station.lane.drafts import reply_text
from station.lane.host import LaneHost
from station.store.draft import Receipt
from station.store.errors import Repeated, StoreError

_KEY = Header(alias="Idempotency-Key", min_length=8, max_length=64)
Key = Annotated[str, _KEY]
KeyIfAny = Annotated[str | None, _KEY]


class Place(BaseModel):
    """Where a record stands in the feed."""

    epoch: str
    seq: int


class Recorded(BaseModel):
    """The order is durable, and this is its record."""

    record: Place
    stored_at: str
    """UTC, RFC 3339: a repeat gets the first answer's."""


DONE: dict[int | str, dict[str, Any]] = {
    201: {"model": Recorded, "description": "Durable and done"},
    **refusals("not-found", "version-conflict", "refused", "invalid", "store-unavailable"),
}
DECIDED = DONE | refusals("version-conflict", "release-locked", "key-reused", "refused")


async def answer(host: LaneHost, command: Command, key: str = "", digest: str = "") -> Response:
    """Carry a command out and say where its record stands, or why not."""
    try:
        receipt = await host.command(command, client="screen" if key else "", key=key, request_sha256=digest)
    except Repeated as repeated:
        if repeated.stored.request_sha256.hex() != digest:
            raise Problem(409, "key-reused", "This idempotency key stands for another request.") from None
        return Response(repeated.stored.response, 201, media_type="application/json")
    except NotFound as refused:
        raise Problem(404, refused.code, str(refused)) from None
    except ReleaseLocked as refused:
        locks = [lock.model_dump(mode="json") for lock in refused.locks]
        raise Problem(409, refused.code, str(refused), locks=locks) from None
    except Refused as refused:
        version = host.lane.core.inspection.version if host.lane.core.inspection else None
        raise Problem(409, refused.code, str(refused), version=version) from None
    except StoreError as error:
        raise from_store(error) from None
    return recorded(receipt)


def recorded(receipt: Receipt) -> Response:
    """Return the answer to what was written down."""
    return Response(reply_text(receipt), 201, media_type="application/json")
