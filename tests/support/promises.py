"""What the store promised to somebody, held against what a cut left."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from station.store.blobs import find_blob
from station.store.errors import StoreError
from station.store.mark import read_mark
from station.store.startup import open_journal
from station.store.verify import verify
from tests.support.epochs import Follower, Quiet
from tests.support.journal import place_of

BLOB_TOLD = 1 << 32
"""Notes below this are sequence numbers; this plus n: blob n was confirmed."""
BLOB_FREED = 1 << 33
"""This plus n: from now on blob n may be removed."""


def blob_content(n: int) -> bytes:
    """What blob n holds."""
    return f"blob {n}".encode() * 400


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch must leave to the next one."""

    name: str
    last: int
    owed: frozenset[int]
    """Records that some consumer lacks."""

    @classmethod
    def of(cls, folder: Path) -> Epoch:
        """Read it; it goes on meanwhile."""
        with contextlib.closing(open_journal(place_of(folder))) as journal:
            lacking = "SELECT seq FROM record WHERE seq > (SELECT min(acked_seq) FROM consumer)"
            owed = frozenset(seq for (seq,) in journal.connection.execute(lacking))
            return cls(journal.epoch.hex(), journal.seq, owed)


def loss_of_epoch(folder: Path, old: Epoch, told: int) -> str:
    """Open what a cut in a change of epochs left; ``told`` is the last record that anybody knew of."""
    try:
        found = Quiet(folder)
    except StoreError as error:
        return f"it does not open: {error}"
    with contextlib.closing(found.journal):
        before = found.journal.before
        if before is None:
            if (found.epoch, found.journal.seq) != (old.name, old.last) or told > old.last:
                return f"the old epoch has {found.journal.seq}, record {told} was told of"
        elif (before.epoch.hex(), before.last) != (old.name, old.last) or found.journal.seq < told:
            return f"{before} came before {found.epoch}, which has {found.journal.seq} of {told}"
        else:
            found.salvage()
            reader = Follower(epoch=old.name)
            reader.read(found)
            there = {int(name.partition(":")[2]) for name in reader.seen if name.startswith(old.name)}
            if old.owed - there or reader.lost:
                return f"lost: {sorted(old.owed - there)}, told as lost: {reader.lost}"
    return "; ".join(verify(folder).faults)


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
