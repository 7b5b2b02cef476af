"""Signed instructions of central systems: taken once they are genuine, newer, and on the record."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import APIRouter, Body, Path, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from station.api.problems import Problem, from_store, refusals
from station.domain.decision import Refused
from station.domain.directives import (
    DirectiveConflict,
    Envelope,
    HoldTerms,
    ManifestTerms,
    ReleaseTerms,
    check_newer,
    envelope_of,
)
from station.domain.signed import DirectiveId
from station.lane.directives import PutDirective
from station.lane.host import LaneHost
from station.store.canonical import canonical
from station.store.directives import StoredDirective, find_directive
from station.store.errors import StoreError
from station.store.journal import Store

MAX_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who may send directives of which kinds."""

    key: Ed25519PublicKey
    kinds: frozenset[str]


class Place(BaseModel):
    """Where a record stands in the feed."""

    epoch: str
    seq: int


class Taken(BaseModel):
    """The directive is stored; each later change of its state is a record of the feed."""

    id: str
    version: int
    state: str
    record: Place


class Directive(Taken):
    """The newest version of a directive; ``envelope`` is what was signed, and the signature."""

    kind: str
    envelope: dict[str, Any]


class Batch(BaseModel):
    """Directives with their ids; each is taken or refused by itself."""

    model_config = ConfigDict(extra="forbid", strict=True)
    items: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_BATCH)


class Result(BaseModel):
    """What became of one of a batch: 201, 200, or the status of its problem."""

    id: str | None
    status: int
    problem: dict[str, Any] | None = None


class Results(BaseModel):
    """What became of each, in the order of the batch."""

    results: list[Result]


_REFUSALS = refusals("forbidden", "version-conflict", "refused", "invalid", "too-large", "store-unavailable")
_TAKEN: dict[int | str, dict[str, Any]] = {
    200: {"model": Taken, "description": "A newer version, or the known one again"},
    201: {"model": Taken, "description": "New"},
    **_REFUSALS,
}


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where directives are checked before the lane takes them."""

    host: LaneHost
    store: Store
    issuers: Mapping[str, Issuer]

    async def one(self, item: dict[str, Any]) -> Result:
        """Take or refuse one of a batch."""
        name = item.get("id") if isinstance(item.get("id"), str) else None
        try:
            status, _ = await self.take(envelope_of(item))
        except ValidationError as error:
            errors = [
                {"field": ".".join(map(str, found["loc"][1:])) or "kind", "message": found["msg"]}
                for found in error.errors()
            ]
            problem = Problem(422, "invalid", "Nothing was changed.", errors=errors)
        except Problem as refused:
            problem = refused
        else:
            return Result(id=name, status=status)
        return Result(id=name, status=problem.status, problem=problem.body())

    async def take(self, envelope: Envelope) -> tuple[Literal[200, 201], Taken]:
        """Take what is genuine and newer; raises ``Problem``."""
        signed = envelope.signed()
        payload = canonical(signed)
        _check_signature(self.issuers, envelope, payload)
        digest = hashlib.sha256(payload).hexdigest()
        known = await self.store.read(lambda view: find_directive(view, envelope.id))
        version = (known.version, known.sha256.hex()) if known else None
        try:
            if known and not check_newer(version, envelope, digest):
                return 200, _taken(self.store, known)
            command = PutDirective(envelope, digest, {**signed, "sig": envelope.sig}, version)
            receipt = await self.host.command(command)
        except DirectiveConflict as conflict:
            raise Problem(409, conflict.code, str(conflict), version=conflict.stored) from None
        except Refused as refused:
            version_now = self.host.lane.core.inspection.version if self.host.lane.core.inspection else None
            raise Problem(409, refused.code, str(refused), version=version_now) from None
        except StoreError as error:
            raise from_store(error) from None
        place = Place(epoch=receipt.epoch, seq=receipt.first)
        taken = Taken(id=envelope.id, version=envelope.version, state="received", record=place)
        return (200 if known else 201), taken


def directives_router(host: LaneHost, store: Store, issuers: Mapping[str, Issuer]) -> APIRouter:
    """Return the routes under ``/v1/directives``; ``issuers`` by their URN."""
    router, desk = APIRouter(prefix="/v1/directives", tags=["central"]), _Desk(host, store, issuers)

    @router.put("/{directive_id}", status_code=201, responses=_TAKEN)
    async def put(
        directive_id: Annotated[DirectiveId, Path()],
        terms: Annotated[HoldTerms | ManifestTerms | ReleaseTerms, Body(discriminator="kind")],
        response: Response,
    ) -> Taken:
        """Send a directive, a newer version of one, or its withdrawal (a newer version that is over)."""
        envelope = envelope_of({**terms.model_dump(exclude_unset=True), "id": directive_id})
        response.status_code, taken = await desk.take(envelope)
        return taken

    @router.get("/{directive_id}", responses=refusals("not-found", "store-unavailable"))
    async def directive(directive_id: Annotated[DirectiveId, Path()]) -> Directive:
        """Return the newest version and its state."""
        found = await store.read(lambda view: find_directive(view, directive_id))
        if found is None:
            raise Problem(404, "not-found", f"There is no directive {directive_id!r}.")
        return Directive.model_validate(
            {**_taken(store, found).model_dump(), "kind": found.kind, "envelope": found.envelope()}
        )

    @router.post(":batch", responses=refusals("invalid", "too-large"))
    async def batch(body: Batch) -> Results:
        """Send many; not atomic, and safe to repeat: a version that is known changes nothing."""
        return Results(results=[await desk.one(item) for item in body.items])

    return router


def _check_signature(issuers: Mapping[str, Issuer], envelope: Envelope, payload: bytes) -> None:
    issuer = issuers.get(envelope.issuer)
    if issuer is None or envelope.kind not in issuer.kinds:
        what = f"a directive of kind {envelope.kind!r} from {envelope.issuer!r}"
        raise Problem(403, "forbidden", f"The lane file allows no {what}: see [[issuer]].")
    try:
        issuer.key.verify(base64.b64decode(envelope.sig), payload)
    except InvalidSignature:
        detail = f"The signature is not that of {envelope.issuer!r} over this directive. Nothing was changed."
        raise Problem(403, "forbidden", detail) from None


def _taken(store: Store, found: StoredDirective) -> Taken:
    place = Place(epoch=store.epoch, seq=found.seq)
    return Taken(id=found.id, version=found.version, state=found.state, record=place)
