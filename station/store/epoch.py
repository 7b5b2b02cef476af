"""A new epoch: the old journal into quarantine, a new one made aside and put in its place.

Every step may be interrupted and repeated. The old folder moves as one (a database without its log would
destroy the log of the next); the mark is copied beside it and overwritten only after the new database is
durable; the new database appears by one rename.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import bindparam, insert

from station.domain.events import EpochOpened
from station.store import database, directives, schema
from station.store.blobs import BlobFiles
from station.store.chain import HASH_BYTES, genesis
from station.store.crashpoint import crashpoint
from station.store.draft import encode
from station.store.files import make_folder, sync_folder, write_synced
from station.store.inherit import Inheritance, inherited, look, whole
from station.store.mark import Mark, read_mark
from station.store.ops import Append, Transaction
from station.store.own import common, own_draft
from station.store.place import NOTHING_KNOWN, Before, Consumer, Place

_CURSORS = "SELECT name, acked_seq, required FROM consumer"
"""Which of them take blobs is not in every schema; the lane file says it again."""
_PREV = "SELECT prev FROM record WHERE seq = ?"
FIRST = schema.compiled(
    insert(schema.salvage).values(
        dir=bindparam("dir"), next_seq=bindparam("next"), salvaged=bindparam("salvaged"), done=1
    )
)
"""The row without a folder tells how far the records go that were made together with the epoch."""
_NACK = schema.compiled(insert(schema.nack))
_LARGEST_SEQ = 2**48
"""A larger sequence number in a damaged database is damage, not history."""


@dataclass(frozen=True, slots=True)
class Old:
    """What a quarantined journal and the mark still tell."""

    before: Before | None
    cursors: dict[str, tuple[int, Consumer]]
    """Acknowledged sequence number, and what it belongs to, by name."""
    acked: int | None = None
    """What every consumer had acknowledged, ``None`` where nobody can tell."""
    trimmed: int = 0
    """Up to here retention had removed what nobody needed."""
    legacy: Inheritance = field(default_factory=Inheritance)
    """What the new epoch begins with."""


def quarantine(place: Place) -> Path:
    """Move the journal's folder away as one, copy the mark beside it, and return where they are."""
    make_folder(place.quarantine)
    folders = sorted(path for path in place.quarantine.iterdir() if re.match(r"\d{4}-", path.name))
    if place.journal.exists() or not folders or not _is_begun(folders[-1], place):
        # The number, not the clock, says which one is the latest.
        number = int(folders[-1].name[:4]) + 1 if folders else 1
        moment = datetime.fromtimestamp(place.now_us() / 1e6, UTC)
        folder = place.quarantine / f"{number:04d}-{moment:%Y%m%dT%H%M%SZ}"
        make_folder(folder)
        if place.journal.exists():
            crashpoint("quarantine_begun")
            place.journal.rename(folder / "journal")
            crashpoint("quarantine_moved")
            sync_folder(folder)
            sync_folder(place.state)
            crashpoint("quarantine_synced")
    else:
        folder = folders[-1]  # a new epoch was interrupted after the move
    copy = folder / place.mark.name
    if place.mark.exists() and not copy.exists():
        unfinished = copy.with_name(copy.name + ".new")
        write_synced(unfinished, place.mark.read_bytes())
        crashpoint("quarantine_mark_written")
        unfinished.rename(copy)
        sync_folder(folder)
        crashpoint("quarantine_mark_synced")
    return folder


def _is_begun(folder: Path, place: Place) -> bool:
    """Whether a new epoch was interrupted after this move; else all of a later journal is gone."""
    mark, copy = read_mark(place.mark), read_mark(folder / place.mark.name)
    return mark is None or copy is None or mark.epoch == copy.epoch


def remains(old: Path, mark: Mark | None, files: BlobFiles | None = None) -> Old:
    """Return the latest known end of the epoch before, and the cursors where they can be read.

    With the blobs' ``files`` also what a new epoch begins with. A damaged page may hold anything: what is not
    of the right kind is as good as unreadable.
    """
    seqs = [0]
    ends = []
    cursors: dict[str, tuple[int, Consumer]] = {}
    acks: list[int] = []
    trimmed = 0
    legacy = Inheritance()
    with (
        contextlib.suppress(sqlite3.Error, UnicodeDecodeError),
        contextlib.closing(database.connect_reader(old)) as reader,
    ):
        seqs += [row[0] for row in look(reader, schema.MAX_SEQ) if _is_seq(row[0])]
        epochs = [row[1] for row in look(reader, schema.GET_STORE) if _is_bytes(row[1], 16)]
        for seq, hash_, anchor_seq, anchor_hash in look(reader, schema.GET_HEAD):
            if epochs and _is_seq(seq) and _is_bytes(hash_, HASH_BYTES):
                ends.append(Before(epochs[0], seq, hash_))
            if _is_seq(anchor_seq) and look(reader, _PREV, anchor_seq + 1) in ([], [(anchor_hash,)]):
                trimmed = anchor_seq
        cursors = {
            name: (seq, Consumer(name, required == 1))
            for name, seq, required in look(reader, _CURSORS)
            if isinstance(name, str) and _is_seq(seq) and required in (0, 1)
        }
        acks = [seq for _, seq, _ in whole(reader, _CURSORS, str, int, int) or ()]
        if files:
            marked = {mark.seq: mark.hash} if mark and epochs == [mark.epoch] else {}
            legacy = inherited(reader, files, _LARGEST_SEQ, marked)
    if mark and (not ends or ends[-1].epoch != mark.epoch or ends[-1].last <= mark.seq):
        ends.append(Before(mark.epoch, mark.seq, mark.hash))  # the mark knows better
    seqs += [end.last for end in ends] + ([mark.seq] if mark else [])
    last = max(seqs)
    acked = min(acks) if acks and 0 <= min(acks) and max(acks) <= last else None
    before = replace(ends[-1], last=last) if ends else NOTHING_KNOWN
    return Old(before, cursors, acked, trimmed if trimmed <= last else 0, legacy)


def behind_all(place: Place, old: Old) -> Old:
    """Return this with the highest number of all journals in quarantine: none is ever given again."""
    folders = place.quarantine.iterdir() if place.quarantine.is_dir() else ()
    ends = [
        remains(folder / "journal" / place.database.name, read_mark(folder / place.mark.name)).before
        for folder in folders
        if re.match(r"\d{4}-", folder.name)
    ]
    last = max((end.last for end in ends if end), default=0)
    before = old.before or NOTHING_KNOWN
    return old if last <= before.last else replace(old, before=replace(before, last=last))


def _is_seq(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < _LARGEST_SEQ


def _is_bytes(value: object, size: int) -> bool:
    return isinstance(value, bytes) and len(value) == size


def create(place: Place, old: Old, cause: str) -> None:
    """Make a new journal aside and let it appear by one rename."""
    make_folder(place.aside)
    epoch, before = uuid.uuid4().bytes, old.before
    anchor_seq = before.last if before else 0
    anchor_hash = genesis(epoch, before.hash if before else None)
    cursors = {consumer.name: (anchor_seq, consumer) for consumer in place.consumers} | old.cursors
    connection = database.connect_writer(place.aside / place.database.name, place.quota_bytes, create=True)
    with contextlib.closing(connection):
        connection.execute("BEGIN IMMEDIATE")
        for statement in schema.create_statements():
            connection.execute(statement)
        owner = {
            "station": place.station,
            "epoch": epoch,
            "first_seq": anchor_seq + 1,
            "prev_epoch": before.epoch if before else None,
            "prev_last": before.last if before else None,
            "prev_hash": before.hash if before else None,
            "schema": schema.SCHEMA,
            "search": schema.SEARCH,
            "created_us": place.now_us(),
        }
        connection.execute(schema.ADD_STORE, owner)
        end = {"seq": anchor_seq, "hash": anchor_hash}
        connection.execute(schema.ADD_HEAD, end | {"anchor_seq": anchor_seq, "anchor_hash": anchor_hash})
        for acked, consumer in cursors.values():
            connection.execute(schema.ADD_CONSUMER, schema.cursor_values(consumer, min(acked, anchor_seq)))
        if before:
            tx = Transaction(connection, epoch, anchor_seq, anchor_seq, anchor_hash, place.now_us(), {})
            _append_first(tx, place, _opening(place, before, cause), old.legacy)
            connection.execute(schema.SET_HEAD, {"seq": tx.seq, "hash": tx.hash})
            connection.execute(FIRST, {"dir": "", "next": tx.seq + 1, "salvaged": len(old.legacy.rows)})
        crashpoint("create_rows")
        connection.execute("COMMIT")
        crashpoint("create_committed")
        database.checkpoint(connection, "TRUNCATE")
    sync_folder(place.aside)
    crashpoint("create_synced")
    place.aside.rename(place.journal)
    crashpoint("create_renamed")
    sync_folder(place.state)
    crashpoint("create_done")


def _opening(place: Place, before: Before, cause: str) -> EpochOpened:
    """Return the first record of a new epoch: an alarm of the highest priority."""
    known = any(before.epoch)
    return EpochOpened.model_validate(
        common(place)
        | {
            "first_seq": before.last + 1,
            "previous": before.epoch.hex() if known else None,
            "previous_last": before.last,
            "previous_hash": before.hash.hex() if known else None,
            "cause": cause,
        }
    )


def _append_first(tx: Transaction, place: Place, opening: EpochOpened, legacy: Inheritance) -> None:
    """Append the opening record and, behind it, what must not wait for the salvage."""
    files = BlobFiles(place.state / "blobs")
    for _, blob in legacy.blobs:
        tx.connection.execute(schema.ADD_BLOB, blob.values())
    directives.take_over(tx.connection, legacy.closed, legacy.standing.holds or ())
    encoded = [encode(own_draft(opening), place.station)]
    seqs = {}
    for row, refs in zip(legacy.rows, legacy.refs, strict=True):
        encoded.append(legacy.standing.carried(place, row, refs, sealed=False))
        seqs[row.seq] = tx.seq + len(encoded)
    Append(place.station, (), None, 0, files, encoded=encoded).apply(tx)
    for nack in legacy.nacks:
        seq = seqs[nack.seq]
        refused = {"consumer": nack.consumer, "seq": seq, "reason": nack.reason, "tries": nack.tries}
        tx.connection.execute(_NACK, refused | {"offered_seq": seq})  # it stands in the feed once more
