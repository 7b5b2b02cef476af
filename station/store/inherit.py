"""What a new epoch must know at once, before the salvage has come so far.

A vehicle that stands in the lane, an order in force and an alarm that nobody has seen must not vanish with
the journal that told of them: their records open the new one, as salvaged ones, in the transaction that makes
it.
Only what SQLite can still read comes so early; the rest comes with the salvage.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from station.store import directives, schema
from station.store.blobs import CHUNK_BYTES, BlobFiles, BlobRow
from station.store.chain import HASH_BYTES, Row
from station.store.database import size_of
from station.store.draft import BlobRef, Encoded
from station.store.own import HELD, HIT, OPENED, SEALED, salvaged
from station.store.place import Place

TAIL = 512
"""Standing alarms and the portals' last words are repeated more often than that."""
MOST = 4096
"""Making a new epoch must take less than the watchdog grants: what is more comes with the salvage."""

_COLUMNS, _NUMBERS = 9, (0, 2, 4, 5)
"""Columns of a record, and those that are numbers."""
_MEDIA = "application/octet-stream"
_TAIL = "SELECT * FROM record ORDER BY seq DESC LIMIT ?"
_ALL_OF = "SELECT * FROM record WHERE subject = ? ORDER BY seq LIMIT ?"
_OF = (
    ("SELECT subject FROM open_subject", _ALL_OF),
    (
        "SELECT id FROM directive WHERE state NOT LIKE 'closed%'",
        _ALL_OF.replace("ORDER", f"AND {schema.OF_DIRECTIVE} ORDER"),
    ),
    ("SELECT subject FROM legal_hold", _ALL_OF),
)
"""Subjects, and their records: what a vehicle in the lane needs comes first, what waits for a court last."""
_NACKS = "SELECT consumer, seq, reason, tries FROM nack ORDER BY seq LIMIT 1000"
_BLOBS = "SELECT role, sha256, media FROM record_blob JOIN blob USING (sha256) WHERE seq = ?"


@dataclass(frozen=True, slots=True)
class Nacked:
    """A record that a consumer had refused."""

    consumer: str
    seq: int
    reason: str
    tries: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What was not over when a journal ended; ``None`` where nobody can tell."""

    open: frozenset[tuple[str]] | None = None
    """Subjects that nothing had sealed."""
    holds: frozenset[tuple[str, str]] | None = None
    """Legal holds: subject and directive."""

    def carried(self, place: Place, row: Row, refs: tuple[BlobRef, ...], *, sealed: bool) -> Encoded:
        """Return the record that carries ``row`` on; its subject may have been ``sealed`` since."""
        _, kind, data = row.told()
        opens = kind == OPENED and not sealed and (self.open is None or (row.subject,) in self.open)
        named = [row.subject] if kind == HIT else data["inspections"] if kind == HELD else ()
        over = bool(named) and self.holds is not None
        over &= not any((each, data["directive_id"]) in (self.holds or ()) for each in named)
        return salvaged(place, row, refs, opens=opens, seals=kind == SEALED, over=over)


@dataclass(frozen=True, slots=True)
class Inheritance:
    """The sound records that open the new epoch, oldest first, and what was refused of them."""

    rows: tuple[Row, ...] = ()
    blobs: tuple[tuple[BlobRef, BlobRow], ...] = ()
    refs: tuple[tuple[BlobRef, ...], ...] = ()
    """The blobs of each row that can still be served, or whose loss must be told."""
    standing: Standing = Standing()
    nacks: tuple[Nacked, ...] = ()
    closed: tuple[tuple[Any, ...], ...] = ()
    """Rows of the directives that were over."""


def look(reader: sqlite3.Connection, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return what can still be read of a damaged database, up to the damage."""
    found = []
    with contextlib.suppress(sqlite3.Error, UnicodeDecodeError, OverflowError):
        for row in reader.execute(statement, values):
            found.append(row)  # what came before the damage is kept
    return found


def whole(
    reader: sqlite3.Connection | None, statement: str, *kinds: type
) -> frozenset[tuple[Any, ...]] | None:
    """Return all rows of a damaged database, ``None`` where one cannot be read or is not of these kinds."""
    if reader is not None:
        with contextlib.suppress(sqlite3.Error, UnicodeDecodeError, OverflowError):
            found = reader.execute(statement).fetchall()
            if all(tuple(map(type, row)) == kinds for row in found):
                return frozenset(found)
    return None


def standing(reader: sqlite3.Connection | None) -> Standing:
    """Return what was not over."""
    opened = whole(reader, "SELECT subject FROM open_subject", str)
    return Standing(opened, whole(reader, directives.HOLDS, str, str))


def inherited(
    reader: sqlite3.Connection, files: BlobFiles, last: int, known: dict[int, bytes]
) -> Inheritance:
    """Return what can be read, up to record ``last``; ``known`` are hashes that the mark gives."""
    wanted = [
        (statement, row[0])
        for subjects, statement in _OF
        for row in look(reader, subjects)
        if isinstance(row[0], str)
    ]
    nacks = [Nacked(*row) for row in look(reader, _NACKS) if _is_nack(row)]
    found: dict[int, Row] = {}
    for statement, values in _questions(wanted, nacks):
        for columns in look(reader, statement, *values):
            if len(columns) < _COLUMNS or not all(isinstance(columns[index], int) for index in _NUMBERS):
                continue
            row = Row.of(columns[:_COLUMNS])
            if row.seq <= last and known.get(row.seq, row.hash) == row.hash and is_sound(row):
                found[row.seq] = row
        if len(found) >= MOST:
            break
    chosen = [found[seq] for seq in sorted(list(found)[:MOST])]
    blobs: dict[str, tuple[BlobRef, BlobRow]] = {}
    refs = []
    for row in chosen:
        own = []
        for ref in blob_refs(reader, row):
            if ref.sha256 not in blobs and (kept := find_old_blob(reader, files, ref)):
                blobs[ref.sha256] = (ref, kept)
            if ref.sha256 in blobs:
                own.append(ref)
        refs.append(tuple(own))
    there = {row.seq for row in chosen}
    nacked = tuple(nack for nack in nacks if nack.seq in there)
    closed = tuple(row for row in look(reader, directives.OVER) if directives.is_closed(row))
    return Inheritance(tuple(chosen), tuple(blobs.values()), tuple(refs), standing(reader), nacked, closed)


def _questions(wanted: list[tuple[str, str]], nacks: list[Nacked]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Return what to read, what is needed most first."""
    yield _TAIL, (TAIL,)
    for nack in nacks:
        yield "SELECT * FROM record WHERE seq = ?", (nack.seq,)
    for statement, subject in wanted:
        yield statement, (subject, MOST)


def _is_nack(row: tuple[Any, ...]) -> bool:
    return [type(value) for value in row] == [str, int, str, int]


def is_sound(row: Row) -> bool:
    """Whether a row is what was written in the epoch that it names itself; never raises."""
    try:
        epoch = bytes.fromhex(row.event()["id"].partition(":")[0])
        return row.sound(epoch)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return False


def blob_refs(reader: sqlite3.Connection | None, row: Row) -> list[BlobRef]:
    """Return the blobs that a record names: those of its data prove themselves, others have a row only."""
    _, _, data = row.told()
    named = data.get("blobs")
    found = {
        (one["role"], one["sha256"]): BlobRef(one["role"], one["sha256"], str(one.get("media", _MEDIA)))
        for one in (named if isinstance(named, list) else ())
        if isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("sha256"), str)
    }
    for role, digest, media in look(reader, _BLOBS, row.seq) if reader else ():
        if isinstance(role, str) and isinstance(media, str) and _is_digest(digest):
            found.setdefault((role, digest.hex()), BlobRef(role, digest.hex(), media))
    return [ref for ref in found.values() if len(ref.sha256) == 2 * HASH_BYTES]


def find_old_blob(reader: sqlite3.Connection | None, files: BlobFiles, ref: BlobRef) -> BlobRow | None:
    """Return the row that a blob gets in the new epoch; ``None`` when nothing is known of it but its name.

    A file that is there as the old row says is not read again. A row without its file stays: whoever asks is
    told of the loss.
    """
    digest = bytes.fromhex(ref.sha256)
    known = None
    for row in look(reader, schema.GET_BLOB.replace(":sha256", "?"), digest) if reader else ():
        if [type(value) for value in row] == [bytes, int, str, bytes, int]:
            known = BlobRow(*row)
    if known and known.present and _is_plausible(known, files):
        return known
    return files.adopt(digest, known.media if known else ref.media) or known


def _is_plausible(row: BlobRow, files: BlobFiles) -> bool:
    whole = row.size > CHUNK_BYTES or row.chunks == row.sha256
    chunks = -(-row.size // CHUNK_BYTES)
    return whole and len(row.chunks) == chunks * HASH_BYTES and size_of(files.path(row.sha256)) == row.size


def _is_digest(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == HASH_BYTES
