"""What the store promised to somebody, held against what a cut left."""

from __future__ import annotations

import contextlib
from pathlib import Path

from station.store.errors import StoreError
from station.store.mark import read_mark
from station.store.startup import open_journal
from station.store.verify import verify
from tests.support.journal import place_of

BLOB_TOLD = 1 << 32
"""Notes above this count blobs; below, they are sequence numbers."""


def loss(folder: Path, notes: list[int]) -> str:
    """Open what a cut left; return what was promised and is not there."""
    seq = max((note for note in notes if note < BLOB_TOLD), default=0)
    blobs = max((note - BLOB_TOLD for note in notes if note >= BLOB_TOLD), default=0)
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
        (stored,) = journal.connection.execute("SELECT count(*) FROM blob").fetchone()
        if stored < blobs:
            return f"{blobs} blobs were told of, {stored} are there"
    return "; ".join(verify(folder).faults)
