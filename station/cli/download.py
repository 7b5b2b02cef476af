"""One blob of a station, gathered over as many connections as it takes, and checked before it counts."""

from __future__ import annotations

import base64
import http.client
import os
from pathlib import Path

from station.cli.archive import Archive, own_disk
from station.cli.client import Answer, Later, Server, no_answer, opened, parts_of, raise_later

TOTAL_S = 600.0
"""After this a download is cut; it goes on where it was."""
TRIES = 3
_REFUSAL_BYTES = 64 * 1024


OTHER_BYTES = "its bytes are not those of its name"
DAMAGED = "it is damaged at the station"


def fetch(server: Server, archive: Archive, digest: str) -> str:
    """Have a blob durably in the archive; return why it cannot be had, or nothing.

    Blocks. Raises ``Later`` when the station should be asked again, ``UserError`` when our own disk refuses.
    """
    for _ in range(TRIES):
        if archive.blob(digest).exists():
            return ""
        if missing := _gather(server, archive.part(digest), digest):
            return missing
        if archive.finish(digest):
            return ""
    return OTHER_BYTES


def _gather(server: Server, part: Path, digest: str) -> str:
    """Get the bytes that are still missing; return why the station has none, or nothing."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-", "If-Range": f'"{digest}"'} if have else {}
    try:
        with opened(server, "GET", f"/v1/blobs/{digest}", headers=headers, total_s=TOTAL_S) as reply:
            if reply.status == 416 and have:
                return ""  # there is no more: whether that is all, its SHA-256 says
            if reply.status not in (200, 206):
                answer = Answer(reply.status, reply.headers, reply.read(_REFUSAL_BYTES))
                raise_later(answer)
                if not answer.problem():
                    raise Later(f"what answers is no station ({answer.status})")
                return DAMAGED if answer.problem().get("name") == "damaged" else answer.told()
            whole = f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode()}:"
            if (said := reply.headers.get("Repr-Digest", whole)) != whole:
                return f"its Repr-Digest is {said!r:.80}"
            span = reply.headers.get("Content-Range", "")
            _write(part, have if reply.status == 206 and span.startswith(f"bytes {have}-") else 0, reply)
    except (OSError, http.client.HTTPException) as error:
        raise no_answer(error) from error
    return ""


def _write(part: Path, start: int, reply: http.client.HTTPResponse) -> None:
    """Write what comes behind the first ``start`` bytes."""
    with own_disk(part.parent):
        file = part.open("r+b" if part.exists() else "wb", buffering=0)
        file.truncate(start)
        file.seek(start)
    with file:
        for chunk in parts_of(reply):
            with own_disk(part.parent):
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.write(file.fileno(), rest) :]
