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
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from station.store import database, schema
from station.store.chain import HASH_BYTES, genesis
from station.store.draft import Draft, encode
from station.store.files import make_folder, sync_folder, write_synced
from station.store.mark import Mark
from station.store.ops import next_row
from station.store.place import NOTHING_KNOWN, Before, Consumer, Place

_CURSORS = "SELECT name, acked_seq, required, 0 FROM consumer"
"""Which of them take blobs is not in every schema; the lane file says it again."""
_LARGEST_SEQ = 2**48
"""A larger sequence number in a damaged database is damage, not history."""


@dataclass(frozen=True, slots=True)
class Old:
    """What a quarantined journal and the mark still tell."""

    before: Before | None
    cursors: dict[str, tuple[int, Consumer]]
    """Acknowledged sequence number, and what it belongs to, by name."""


def quarantine(place: Place) -> Path:
    """Move the journal's folder away as one, copy the mark beside it, and return where they are."""
    make_folder(place.quarantine)
    folders = sorted(path for path in place.quarantine.iterdir() if re.match(r"\d{4}-", path.name))
    if place.journal.exists() or not folders:
        # The number, not the clock, says which one is the latest.
        number = int(folders[-1].name[:4]) + 1 if folders else 1
        moment = datetime.fromtimestamp(place.now_us() / 1e6, UTC)
        folder = place.quarantine / f"{number:04d}-{moment:%Y%m%dT%H%M%SZ}"
        make_folder(folder)
        if place.journal.exists():
            place.journal.rename(folder / "journal")
            sync_folder(folder)
            sync_folder(place.state)
    else:
        folder = folders[-1]  # a new epoch was interrupted after the move
    copy = folder / place.mark.name
    if place.mark.exists() and not copy.exists():
        unfinished = copy.with_name(copy.name + ".new")
        write_synced(unfinished, place.mark.read_bytes())
        unfinished.rename(copy)
        sync_folder(folder)
    return folder


def remains(old: Path, mark: Mark | None) -> Old:
    """Return the latest known end of the epoch before, and the cursors where they can be read.

    A damaged page may hold anything: what is not of the right kind is as good as unreadable.
    """
    seqs = [0]
    ends = []
    cursors: dict[str, tuple[int, Consumer]] = {}
    with (
        contextlib.suppress(sqlite3.Error, UnicodeDecodeError),
        contextlib.closing(database.connect_reader(old)) as reader,
    ):
        seqs += [row[0] for row in _read(reader, schema.MAX_SEQ) if _is_seq(row[0])]
        epochs = [row[1] for row in _read(reader, schema.GET_STORE) if _is_bytes(row[1], 16)]
        for seq, hash_, *_ in _read(reader, schema.GET_HEAD):
            if epochs and _is_seq(seq) and _is_bytes(hash_, HASH_BYTES):
                ends.append(Before(epochs[0], seq, hash_))
        cursors = {
            name: (acked, Consumer(name, required == 1, blobs == 1))
            for name, acked, required, blobs in _read(reader, _CURSORS)
            if isinstance(name, str) and _is_seq(acked) and {required, blobs} <= {0, 1}
        }
    if mark and (not ends or ends[-1].epoch != mark.epoch or ends[-1].last <= mark.seq):
        ends.append(Before(mark.epoch, mark.seq, mark.hash))  # the mark knows better
    seqs += [end.last for end in ends] + ([mark.seq] if mark else [])
    return Old(replace(ends[-1], last=max(seqs)) if ends else NOTHING_KNOWN, cursors)


def _is_seq(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < _LARGEST_SEQ


def _is_bytes(value: object, size: int) -> bool:
    return isinstance(value, bytes) and len(value) == size


def _read(reader: sqlite3.Connection, statement: str) -> list[tuple[Any, ...]]:
    """Return what can still be read of a damaged database."""
    try:
        return reader.execute(statement).fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return []


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
            draft = encode(_opening(place, before, cause), place.station)
            row = next_row(draft, epoch, anchor_seq, anchor_hash)
            connection.execute(schema.ADD_RECORD, row)
            connection.execute(schema.SET_HEAD, {"seq": row["seq"], "hash": row["hash"]})
        connection.execute("COMMIT")
        database.checkpoint(connection, "TRUNCATE")
    sync_folder(place.aside)
    place.aside.rename(place.journal)
    sync_folder(place.state)


def _opening(place: Place, before: Before, cause: str) -> Draft:
    """Return the first record of a new epoch: an alarm of the highest priority."""
    stamp = place.clock.stamp()
    data = {
        "stamp": {
            "utc_us": stamp.utc_ns // 1000,
            "mono_us": stamp.mono_ns // 1000,
            "boot_id": stamp.boot_id,
            "clock": "unknown",
        },
        "config_sha256": place.config_sha256,
        "simulated": False,
        "test": False,
        "exercise": False,
        "first_seq": before.last + 1,
        "previous": before.epoch.hex() if any(before.epoch) else None,
        "previous_last": before.last,
        "previous_hash": before.hash.hex() if any(before.epoch) else None,
        "cause": cause,
    }
    return Draft("carril.epoch.opened", "lane", 0, 0, place.now_us(), data, "epoch.opened:1")
