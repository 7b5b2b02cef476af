"""Blobs for download: immutable bytes under their SHA-256, whole or one range [RFC 9110, RFC 9530].

Each MiB is checked against its digest before it is sent. Damage that shows only behind the first MiB cuts
the connection; from then on the blob is refused.
"""

from __future__ import annotations

import base64
import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.types import Receive, Scope, Send

from station.api.problems import Problem
from station.api.services import Lent, Services, client_of
from station.store.blobs import CHUNK_BYTES, BlobRow, DamagedBlob

router = APIRouter(prefix="/v1/blobs", tags=["central"])

Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the bytes, in hex")]
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_BYTES: dict[str, Any] = {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: _BYTES | {"description": "The whole blob, in its own media type"},
    206: _BYTES | {"description": "The range that was asked for"},
    304: {"description": "The client has it"},
}


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
    return _Download(services, client_of(request), row, part, _headers(row, tag))


@router.head("/{sha256}", response_class=Response, responses={200: _RESPONSES[200], 304: _RESPONSES[304]})
async def blob_head(request: Request, sha256: Sha256, services: Lent) -> Response:
    """Return what a download of the whole blob would say of itself."""
    row = await _find(services, sha256)
    headers = _headers(row, f'"{sha256}"')
    if _matches(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(headers=headers | {"Content-Length": str(row.size)}, media_type=row.media)


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
        "Repr-Digest": f"sha-256=:{base64.b64encode(row.sha256).decode()}:",
        "Cache-Control": "private, max-age=31536000, immutable",
        # A camera's bytes must never act as a page of ours.
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }


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
        self, services: Services, client: str, row: BlobRow, part: range, headers: dict[str, str]
    ) -> None:
        whole = len(part) == row.size
        span = {} if whole else {"Content-Range": f"bytes {part.start}-{part.stop - 1}/{row.size}"}
        length = {"Content-Length": str(len(part))}
        super().__init__(
            status_code=200 if whole else 206, headers=headers | span | length, media_type=row.media
        )
        self._services = services
        self._client = client
        self._row = row
        self._span = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send headers and bytes, or a problem."""
        downloads = self._services.downloads
        if not downloads.take(self._client):
            detail = f"At most {downloads.limit} downloads of one client may run at a time."
            refusal = Problem(429, "too-many", detail, headers={"Retry-After": "1"})
            await refusal.response()(scope, receive, send)
            return
        try:
            await self._send(scope, receive, send)
        finally:
            downloads.give(self._client)

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        part, store = self._span, self._services.store
        chunks = range(part.start // CHUNK_BYTES, -(-part.stop // CHUNK_BYTES))
        started = False
        for index in chunks:
            try:
                chunk = await store.read_blob(self._row, index)
            except DamagedBlob as error:
                if started:
                    raise  # the client sees a connection that ends too early
                await Problem(410, "damaged", str(error)).response()(scope, receive, send)
                return
            if not started:
                await self._start(send)
                started = True
            offset = index * CHUNK_BYTES
            inside = chunk[max(part.start - offset, 0) : part.stop - offset]
            await send({"type": "http.response.body", "body": inside, "more_body": True})
        if not started:
            await self._start(send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
