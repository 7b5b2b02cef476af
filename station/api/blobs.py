"""Blobs for download: immutable bytes under their SHA-256, whole or one range [RFC 9110, RFC 9530]; receipts.

Each MiB is checked against its digest, all of them before the first byte is sent. Damage that happens while
they are sent cuts the connection.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from station.api.feed import MAX_SEQ
from station.api.problems import Problem, refusals
from station.api.services import Lent, Services, client_of, is_screen
from station.domain.signed import Strict
from station.store.blobs import CHUNK_BYTES, BlobRow, DamagedBlob
from station.store.errors import UnknownConsumer
from station.store.receipts import KeepReceipt, OtherLength, UnknownBlob

router = APIRouter(prefix="/v1/blobs", tags=["central"])
log = logging.getLogger("carril.api")

Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the bytes, in hex")]
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_TURN_S = 2.0
"""How long a download waits for its turn: a screen asks for all pictures of a truck at once."""
_BYTES: dict[str, Any] = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: _BYTES | {"description": "The whole blob, in its own media type"},
    206: _BYTES | {"description": "The range that was asked for"},
    304: {"description": "The client has it"},
    **refusals("not-found", "trimmed", "damaged", "range", "too-many", "store-unavailable"),
}
_HEAD_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: _RESPONSES[status] for status in _RESPONSES if status in (200, 304, 404, 410, 503)
}


class ReceiptBody(Strict):
    """What a consumer has on its own disk; ``verified``: its SHA-256 is the name of the blob."""

    consumer: str = Field(min_length=1, max_length=32)
    bytes: int = Field(ge=0, le=MAX_SEQ)
    verified: bool


class BlobReceipt(BaseModel):
    """Whether the station counts the blob as received by the consumer."""

    sha256: str
    consumer: str
    received: bool


@router.get("/{sha256}", response_class=Response, responses=_RESPONSES)
async def blob(request: Request, sha256: Sha256, services: Lent) -> Response:
    """Return a blob or one range of it."""
    row = await _find(services, sha256)
    tag = f'"{sha256}"'
    if _matches(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=_headers(row, tag))
    part = range(row.size)
    wanted = request.headers.get("range")
    if wanted is not None and request.headers.get("if-range", tag) == tag:
        part = _part(wanted, row.size)
    return _Download(services, request, row, part, _headers(row, tag))


@router.head("/{sha256}", response_class=Response, responses=_HEAD_RESPONSES)
async def blob_head(request: Request, sha256: Sha256, services: Lent) -> Response:
    """Return what a download of the whole blob would say of itself."""
    row = await _find(services, sha256)
    headers = _headers(row, f'"{sha256}"')
    if _matches(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(headers=headers | {"Content-Length": str(row.size)}, media_type=row.media)


@router.post(
    "/{sha256}/receipt", responses=refusals("not-found", "other-length", "invalid", "store-unavailable")
)
async def receipt(sha256: Sha256, body: ReceiptBody, services: Lent) -> BlobReceipt:
    """Say that a blob has arrived whole: idempotent, durable before the answer.

    Without ``verified`` it has not: that is counted, and an earlier receipt no longer holds.
    """
    op = KeepReceipt(body.consumer, bytes.fromhex(sha256), body.bytes, body.verified)
    try:
        await services.store.run(lambda: op)
    except (UnknownConsumer, UnknownBlob) as error:
        raise Problem(404, "not-found", str(error)) from None
    except OtherLength as error:
        raise Problem(409, "other-length", str(error), bytes=error.size) from None
    if not body.verified:
        services.store.stats.blobs_unverified += 1
        log.error("consumer %s has other bytes than blob %s: %d", body.consumer, sha256, body.bytes)
    return BlobReceipt(sha256=sha256, consumer=body.consumer, received=body.verified)


async def _find(services: Services, sha256: str) -> BlobRow:
    row = await services.store.find_blob(sha256)
    if row is None:
        raise Problem(404, "not-found", f"There is no blob {sha256}.")
    if not row.present:
        raise Problem(410, "trimmed", f"Blob {sha256} was removed after it had been received.")
    return row


def _headers(row: BlobRow, tag: str) -> dict[str, str]:
    return {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Repr-Digest": _digest(row.sha256),
        "Cache-Control": "private, max-age=31536000, immutable",
        # A camera's bytes must never act as a page of ours.
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }


def _digest(sha256: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def _matches(header: str, tag: str) -> bool:
    """Whether If-None-Match names the tag: a weak comparison, and ``*`` means any."""
    tags = [part.strip().removeprefix("W/") for part in header.split(",")]
    return tag in tags or "*" in tags


def _part(header: str, size: int) -> range:
    """Return the bytes that a Range header asks for; all of them when it is none that we serve."""
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return range(size)  # several ranges, another unit, or nonsense: ignoring it is allowed
    first, last = found.groups()
    if first:
        part = range(int(first), min(int(last) + 1, size) if last else size)
        if last and int(last) < int(first):
            return range(size)  # no valid range: ignored
    else:
        part = range(max(size - int(last), 0), size)
    if not part:
        detail = f"Range {header!r} lies outside the {size} bytes of the blob."
        raise Problem(416, "range", detail, headers={"Content-Range": f"bytes */{size}"}, size=size)
    return part


class _Download(Response):
    """Sends ``part`` of a blob, MiB by MiB."""

    def __init__(
        self, services: Services, request: Request, row: BlobRow, part: range, headers: dict[str, str]
    ) -> None:
        whole = len(part) == row.size
        span = {} if whole else {"Content-Range": f"bytes {part.start}-{part.stop - 1}/{row.size}"}
        length = {"Content-Length": str(len(part))}
        super().__init__(
            status_code=200 if whole else 206, headers=headers | span | length, media_type=row.media
        )
        self._services = services
        self._request = request
        self._client = client_of(request)
        self._pace = services.screen_pace if is_screen(request) else services.pace
        self._row = row
        self._span = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send headers and bytes, or a problem."""
        downloads = self._services.downloads
        if not await downloads.turn(self._client, _TURN_S):
            detail = f"At most {downloads.limit} downloads of one client may run at a time."
            refusal = Problem(429, "too-many", detail, headers={"Retry-After": "1"})
            await refusal.response()(scope, receive, send)
            return
        try:
            await self._send(scope, receive, send)
        except ClientDisconnect:
            log.debug("%s hung up within blob %s", self._client, self._row.sha256.hex())
        finally:
            downloads.give(self._client)

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read twice: once for the digest of a part, which stands before it, and once to send."""
        try:
            self.headers["Content-Digest"] = _digest(await self._sha256())
        except DamagedBlob as error:
            await Problem(410, "damaged", str(error)).response()(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        loop = asyncio.get_running_loop()  # a network does not run faster with a simulated lane
        async for inside in self._bytes():  # damage from now on: the connection ends too early
            await asyncio.sleep(self._pace.wait_s(len(inside), loop.time()))
            await send({"type": "http.response.body", "body": inside, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _sha256(self) -> bytes:
        digest = hashlib.sha256()
        async for inside in self._bytes():
            await asyncio.to_thread(digest.update, inside)
        return digest.digest()

    async def _bytes(self) -> AsyncIterator[bytes]:
        """Yield the part, at most a MiB at a time, each checked against the digest of its chunk.

        Raises ``ClientDisconnect``: who hung up holds no place, and uses none of the pace, of those who wait.
        """
        part = self._span
        for index in range(part.start // CHUNK_BYTES, -(-part.stop // CHUNK_BYTES)):
            if await self._request.is_disconnected():
                raise ClientDisconnect
            chunk = await self._services.store.read_blob(self._row, index)
            offset = index * CHUNK_BYTES
            yield chunk[max(part.start - offset, 0) : part.stop - offset]
