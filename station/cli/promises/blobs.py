"""Promises of blobs: the bytes of their name, whole or in part."""

from __future__ import annotations

import base64
from hashlib import sha256

from station.cli.promises.kit import Kit, Reply, promise

NO_RANGES = ("bytes=9-3", "lines=1-2", "nonsense")


@promise("blob-bytes", "A blob is the bytes of its name, and its digests say so")
def blob_bytes(kit: Kit) -> None:
    """Download one, and compare what HEAD says."""
    name, size = kit.blob
    digest = f"sha-256=:{base64.b64encode(bytes.fromhex(name)).decode()}:"
    whole = kit.ask("GET", f"/v1/blobs/{name}")
    kit.expect(
        whole, whole.status == 200 and sha256(whole.body).hexdigest() == name, "200 and the bytes of its name"
    )
    for reply in (whole, kit.ask("HEAD", f"/v1/blobs/{name}")):
        told = [reply.header(each) for each in ("ETag", "Repr-Digest", "Content-Length")]
        kit.expect(
            reply, told == [f'"{name}"', digest, str(size)], f"ETag, Repr-Digest {digest}, {size} bytes"
        )


@promise(
    "blob-range", "A range is exactly the bytes that were asked for; one outside is refused with the size"
)
def blob_range(kit: Kit) -> None:
    """Ask for the beginning, the end, and what lies behind."""
    name, size = kit.blob
    path = f"/v1/blobs/{name}"
    whole = kit.ask("GET", path).body
    for asked, first, last in (("bytes=0-0", 0, 0), ("bytes=1-2", 1, 2), ("bytes=-1", size - 1, size - 1)):
        reply = kit.ask("GET", path, headers={"Range": asked})
        span = f"bytes {first}-{last}/{size}"
        holds = reply.status == 206 and reply.header("Content-Range") == span
        kit.expect(
            reply, holds and reply.body == whole[first : last + 1], f"206, {span}, these bytes of the whole"
        )
    reply = kit.ask("GET", path, headers={"Range": f"bytes={size}-"})
    kit.refusal(reply, 416, "range")
    kit.expect(reply, reply.header("Content-Range") == f"bytes */{size}", f"Content-Range: bytes */{size}")


@promise("blob-no-range", "A Range header that is none is ignored")
def blob_no_range(kit: Kit) -> None:
    """Ask for nonsense."""
    name, size = kit.blob
    for asked in NO_RANGES:
        reply = kit.ask("GET", f"/v1/blobs/{name}", headers={"Range": asked})
        kit.expect(reply, reply.status == 200 and len(reply.body) == size, f"200 and all {size} bytes")


@promise("blob-conditional", "What the client has is not sent again")
def blob_conditional(kit: Kit) -> None:
    """Ask with the tag that we have."""
    name, _ = kit.blob
    reply = kit.ask("GET", f"/v1/blobs/{name}", headers={"If-None-Match": f'"{name}"'})
    kit.expect(reply, reply.status == 304 and not reply.body, "304 without a body")


@promise("blob-unknown", "An unknown blob is not found, a misspelt one is a wrong parameter")
def blob_unknown(kit: Kit) -> None:
    """Ask for bytes that nobody has."""
    kit.refusal(kit.ask("GET", f"/v1/blobs/{'0' * 64}"), 404, "not-found")
    kit.refusal(kit.ask("GET", "/v1/blobs/ABC"), 400, "bad-parameter", "errors")


def _receipt(kit: Kit, size: int) -> Reply:
    told = {"consumer": kit.name, "bytes": size, "verified": True}
    return kit.send("POST", f"/v1/blobs/{kit.blob[0]}/receipt", told)


@promise(
    "receipt-length", "A receipt for another number of bytes is refused with the right one", needs_cursor=True
)
def receipt_length(kit: Kit) -> None:
    """Say that a byte more has come."""
    reply = _receipt(kit, kit.blob[1] + 1)
    problem = kit.refusal(reply, 409, "other-length", "bytes")
    kit.expect(reply, problem["bytes"] == kit.blob[1], f"bytes: {kit.blob[1]}")


@promise("receipt", "A receipt for a blob is taken, and may be repeated", needs_cursor=True)
def receipt(kit: Kit) -> None:
    """Say twice that the blob has come."""
    wanted = {"sha256": kit.blob[0], "consumer": kit.name, "received": True}
    for _ in range(2):
        reply = _receipt(kit, kit.blob[1])
        kit.expect(reply, kit.ok(reply) == wanted, f"{wanted}")
