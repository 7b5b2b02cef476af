"""Signed instructions of central systems: taken once they are genuine, newer, and on the record."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import APIRouter, Body, Path, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from station.api.answered import Answered
from station.api.directive_rules import check_end, check_name
from station.api.orders import KeyIfAny, Place
from station.api.problems import Problem, from_store, invalid, refusals
from station.domain.decision import Refused, VersionConflict
from station.domain.directives import (
    DirectiveConflict,
    Envelope,
    HoldTerms,
    Known,
    LaneModeTerms,
    ManifestTerms,
    ReleaseTerms,
    TrustTerms,
    check_newer,
    envelope_of,
)
from station.domain.signed import DIRECTIVE_ID, DirectiveId, Strict
from station.lane.directives import PutDirective
from station.lane.host import LaneHost
from station.store.canonical import canonical
from station.store.chain import rfc3339
from station.store.directives import StoredDirective, find_directive, list_open
from station.store.draft import MAX_DATA_BYTES
from station.store.errors import StoreError
from station.store.feed import Trimmed, read_record
from station.store.journal import Store
from station.store.readers import View

MAX_BATCH = 1000
MAX_BYTES = MAX_DATA_BYTES - 4096
"""A directive stands whole in one record."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who may send directives of which kinds."""

    key: Ed25519PublicKey
    kinds: frozenset[str]


class Taken(BaseModel):
    """The directive is stored; each later change of its state is a record of the feed."""

    id: str
    version: int
    state: str
    record: Place


class Directive(Taken):
    """The newest version of a directive; ``envelope`` is what was signed, and the signature.

    Of a closed one it is there as long as its record is kept.
    """

    kind: str
    envelope: dict[str, Any] | None


class Listed(Taken):
    """An open directive."""

    kind: str
    valid_from: str
    valid_to: str
    sha256: str
    """Of the canonical JSON of what was signed."""


class Listing(BaseModel):
    """Open directives by id; ``next`` is the ``after`` of the next page, ``null`` on the last one."""

    items: list[Listed]
    next: str | None


class Batch(Strict):
    """Directives with their ids; each is taken or refused by itself."""

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


_AnyTerms = Annotated[
    HoldTerms | ManifestTerms | ReleaseTerms | TrustTerms | LaneModeTerms, Field(discriminator="kind")
]
_TERMS: TypeAdapter[Any] = TypeAdapter(_AnyTerms)


class _Sent(dict[str, Any]):
    """A directive as it was sent: described as what it must be, and checked later, off the loop."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        terms = handler.generate_schema(_AnyTerms)
        return core_schema.no_info_wrap_validator_function(lambda sent, _: sent, terms)


def _named(directive_id: str, sent: dict[str, Any]) -> Envelope:
    """Return the directive of this name; raises ``pydantic.ValidationError``."""
    terms = _TERMS.validate_python(sent)
    return envelope_of({**terms.model_dump(exclude_unset=True), "id": directive_id})


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where directives are checked before the lane takes them."""

    host: LaneHost
    store: Store
    issuers: Mapping[str, Issuer]
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One at a time from the look at the known version to the record: else an older one could follow."""

    async def one(self, item: dict[str, Any]) -> Result:
        """Take or refuse one of a batch."""
        name = item.get("id")
        if not (isinstance(name, str) and re.fullmatch(DIRECTIVE_ID, name)):
            name = None  # whatever it is, it is not told back
        try:
            status, _ = await self.take(item, envelope_of)
        except RequestValidationError as wrong:
            problem = invalid(wrong)
        except Problem as refused:
            problem = refused
        else:
            return Result(id=name, status=status)
        return Result(id=name, status=problem.status, problem=problem.body())

    async def take(
        self, sent: dict[str, Any], read: Callable[[dict[str, Any]], Envelope]
    ) -> tuple[Literal[200, 201], Taken]:
        """Take what is genuine and newer; raises ``Problem`` or ``RequestValidationError``."""
        # Off the loop: long bodies take their time, and nobody has shown a key yet.
        envelope, digest = await asyncio.to_thread(self._checked, sent, read)
        async with self.turn:
            return await self._put(envelope, digest)

    def _checked(
        self, sent: dict[str, Any], read: Callable[[dict[str, Any]], Envelope]
    ) -> tuple[Envelope, str]:
        """Return what was sent, once it is sound and genuine, and the SHA-256 of what was signed."""
        try:
            envelope = read(sent)
        except ValidationError as error:
            found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
            raise RequestValidationError(found, body=sent) from None
        payload = _genuine(_issuer(self.issuers, envelope), envelope)
        return envelope, hashlib.sha256(payload).hexdigest()

    async def _put(self, envelope: Envelope, digest: str) -> tuple[Literal[200, 201], Taken]:
        try:
            found, known = await self.store.read(lambda view: _known(view, envelope.id))
            if found and not check_newer(known, envelope, digest):
                return 200, _taken(self.store, found)
            core = self.host.lane.core
            if known is None:  # else it could not be withdrawn
                check_name(envelope, core.facts)
            check_end(envelope, core.now.utc_ns // 1000 if core.clock_quality == "sync" else None)
            whole = {**envelope.signed(), "sig": envelope.sig}
            size = len(await asyncio.to_thread(canonical, whole))
            if size > MAX_BYTES:
                detail = f"It has {size} bytes, at most {MAX_BYTES} are taken: send it in parts."
                raise Problem(413, "too-large", f"{detail} Nothing was changed.")
            command = PutDirective(envelope, digest, whole, size, known)
            receipt = await self.host.command(command)
        except DirectiveConflict as conflict:
            raise Problem(409, conflict.code, str(conflict), version=conflict.stored) from None
        except VersionConflict as conflict:
            inspection = self.host.lane.core.inspection
            now = inspection.version if inspection else None
            raise Problem(409, conflict.code, str(conflict), version=now) from None
        except Refused as refused:
            raise Problem(409, refused.code, str(refused)) from None
        except StoreError as error:
            raise from_store(error) from None
        place = Place(epoch=receipt.epoch, seq=receipt.first)
        taken = Taken(id=envelope.id, version=envelope.version, state="received", record=place)
        return (200 if known else 201), taken


def directives_router(host: LaneHost, store: Store, issuers: Mapping[str, Issuer]) -> APIRouter:
    """Return the routes under ``/v1/directives``; ``issuers`` by their URN."""
    router, desk = APIRouter(prefix="/v1/directives", tags=["central"]), _Desk(host, store, issuers)
    answers: Answered[Results] = Answered()

    @router.put("/{directive_id}", status_code=201, responses=_TAKEN)
    async def put(
        directive_id: Annotated[DirectiveId, Path()],
        terms: Annotated[_Sent, Body()],
        response: Response,
    ) -> Taken:
        """Send a directive, a newer version of one, or its withdrawal (a newer version that is over)."""
        response.status_code, taken = await desk.take(terms, partial(_named, directive_id))
        return taken

    @router.get("", responses=refusals("invalid", "store-unavailable"))
    async def listing(
        after: Annotated[str, Query(max_length=64)] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 500,
    ) -> Listing:
        """List the directives that are received or armed, by id: what this lane holds."""
        found = await store.read(lambda view: list_open(view, after, limit + 1))
        items = [
            Listed(
                **_taken(store, each).model_dump(),
                kind=each.kind,
                valid_from=rfc3339(each.valid_from_us or 0),
                valid_to=rfc3339(each.valid_to_us or 0),
                sha256=each.sha256.hex(),
            )
            for each in found[:limit]
            if each.is_open
        ]
        return Listing(items=items, next=found[limit - 1].id if len(found) > limit else None)

    @router.get("/{directive_id}", responses=refusals("not-found", "store-unavailable"))
    async def directive(directive_id: Annotated[DirectiveId, Path()]) -> Directive:
        """Return the newest version and its state."""
        answer = await store.read(lambda view: _whole(store, view, directive_id))
        if answer is None:
            raise Problem(404, "not-found", f"There is no directive {directive_id!r}.")
        return answer

    @router.post(":batch", responses=refusals("invalid", "too-large", "key-reused"))
    async def batch(body: Batch, key: KeyIfAny = None) -> Results:
        """Send many; not atomic, and safe to repeat: a version that is known changes nothing.

        With a key a repeat gets the first answer, as long as the station remembers it (the last 16).
        """

        async def work() -> Results:
            return Results(results=[await desk.one(item) for item in body.items])

        if key is None:
            return await work()
        digest = await asyncio.to_thread(lambda: hashlib.sha256(json.dumps(body.items).encode()).hexdigest())
        return await answers.once(key, digest, work)

    return router


def _issuer(issuers: Mapping[str, Issuer], envelope: Envelope) -> Issuer:
    issuer = issuers.get(envelope.issuer)
    if issuer is None or envelope.kind not in issuer.kinds:
        what = f"directive of kind {envelope.kind!r} from {envelope.issuer!r}"
        raise Problem(403, "forbidden", f"The lane file allows no {what}: see [[issuer]].")
    return issuer


def _genuine(issuer: Issuer, envelope: Envelope) -> bytes:
    """Return what was signed, in canonical form; raises ``Problem`` unless the issuer signed it."""
    payload = canonical(envelope.signed())
    signature = base64.b64decode(envelope.sig)
    try:
        if base64.b64encode(signature).decode() != envelope.sig:  # another spelling of the same bits
            raise InvalidSignature
        issuer.key.verify(signature, payload)
    except InvalidSignature:
        detail = f"The signature is not that of {envelope.issuer!r} over this directive. Nothing was changed."
        raise Problem(403, "forbidden", detail) from None
    return payload


def _known(view: View, directive_id: str) -> tuple[StoredDirective | None, Known | None]:
    """Return the newest version, and what a newer one is held against."""
    found = find_directive(view, directive_id)
    if found is None:
        return None, None
    issuer = found.issuer or (_sent(view, found) or {}).get("issuer")  # an older station kept it there alone
    return found, Known(found.version, found.sha256.hex(), issuer, found.kind)


def _whole(store: Store, view: View, directive_id: str) -> Directive | None:
    found = find_directive(view, directive_id)
    if found is None:
        return None
    envelope = _sent(view, found)
    return Directive(**_taken(store, found).model_dump(), kind=found.kind, envelope=envelope)


def _sent(view: View, found: StoredDirective) -> dict[str, Any] | None:
    """Return the envelope, of a closed or damaged one from its record; ``None`` if that is gone."""
    with contextlib.suppress(ValueError):
        return found.envelope()
    with contextlib.suppress(Trimmed):
        row, sound = read_record(view, found.seq)
        if row and sound:
            envelope: dict[str, Any] = row.told()[2]["envelope"]
            return envelope
    return None


def _taken(store: Store, found: StoredDirective) -> Taken:
    place = Place(epoch=store.epoch, seq=found.seq)
    return Taken(id=found.id, version=found.version, state=found.state, record=place)
