"""What the store promised to somebody, held against what a cut left."""

from __future__ import annotations

import contextlib
from hashlib import sha256
from pathlib import Path

from station.store.blobs import find_blob
from station.store.errors import StoreError
from station.store.mark import read_mark
from station.store.startup import open_journal
from station.store.verify import verify
from tests.support.journal import place_of

BLOB_TOLD = 1 << 32
"""Notes below this are sequence numbers; this plus n: blob n was confirmed."""
BLOB_FREED = 1 << 33
"""This plus n: from now on blob n may be removed."""


def blob_content(n: int) -> bytes:
    """What blob n holds."""
    return f"blob {n}".encode() * 400


def loss(folder: Path, notes: list[int]) -> str:
    """Open what a cut left; return what was promised and is not there."""
    seq = max((note for note in notes if note < BLOB_TOLD), default=0)
    needed = {note - BLOB_TOLD for note in notes if BLOB_TOLD <= note < BLOB_FREED} - {
        note - BLOB_FREED for note in notes if note >= BLOB_FREED
    }
    marked = read_mark(folder / "mark.bin")
    if seq > (marked.seq if marked else 0):
        return f"record {seq} was told of, the mark is {marked}"
    try:
        journal = open_journal(place_of(folder))
    except StoreError as error:
        return f"it does not open: {error}"
    with contextlib.closing(journal):
        if journal.before is not None:
            return "a new epoch began"
        if journal.seq < seq:
            return f"record {seq} was told of, the journal ends at {journal.seq}"
        (integrity,) = journal.connection.execute("PRAGMA integrity_check").fetchone()
        if integrity != "ok":
            return f"the database is damaged: {integrity}"
        for n in needed:
            row = find_blob(journal.connection, sha256(blob_content(n)).digest())
            if row is None or not row.present:
                return f"blob {n} was told of, and is gone"
    return "; ".join(verify(folder).faults)
