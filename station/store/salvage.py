"""After a new epoch: the records of the journals in quarantine, taken over a few at a time.

From the lowest cursor of all consumers on, each sound record is appended again as a salvaged one; what is
missing is told as lost, and one closing record says that all is accounted for. Of the records below it those
come first that are kept although all consumers have them: refused, under a legal hold, of a directive in
force, with blobs that wait for a receipt. Progress stands in the same transaction, so a killed salvage goes
on where it was. Nothing in quarantine is changed or removed.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.sqlite import insert as upsert

from station.domain.store_events import EpochSalvaged, RecordsLost
from station.store import database, schema
from station.store.blobs import BlobFiles, BlobRow, find_blob
from station.store.carve import Carver
from station.store.chain import SALVAGED, Row
from station.store.crashpoint import crashpoint
from station.store.draft import BlobRef, Encoded, encode
from station.store.epoch import remains
from station.store.inherit import blob_refs, find_old_blob, look, standing, whole
from station.store.mark import read_mark
from station.store.ops import Append, Op, Small, Transaction
from station.store.own import common, own_draft
from station.store.place import Journal, Place
from station.store.search import is_sealed

STEP_ROWS = 64
STEP_BYTES = 1024 * 1024
STEP_BLOB_BYTES = 16 * 1024 * 1024
STEP_PAGES = 256
AGAIN_S = 5.0
"""After a step that failed: the disk is full, mostly."""

_table = schema.salvage
_new = upsert(_table)
_PUT = schema.compiled(
    _new.on_conflict_do_update(
        index_elements=["dir"],
        set_={name: _new.excluded[name] for name in ("next_seq", "salvaged", "done")},
    )
)
_GET = schema.compiled(select(_table).where(_table.c.dir == bindparam("folder")))
_OF_IDS = "SELECT seq FROM record WHERE subject IN (SELECT id FROM directive WHERE length(body) > 0)"
"""Kept are those of a directive in force. The index of subjects tells them, also of a page that is lost …"""
_OF_OTHERS = f"{_OF_IDS} AND NOT {schema.OF_DIRECTIVE}"
"""… and of those that can be read their type, since a lane or a device may have the same name."""
_ALL = "SELECT seq FROM record"
"""What else is there may be one of those that are still kept, if nobody can tell."""
_STILL_KEPT = (
    "SELECT seq FROM nack",
    "SELECT seq FROM record WHERE subject IN (SELECT subject FROM legal_hold)",
    "SELECT seq FROM directive WHERE length(body) > 0",
    "SELECT seq FROM record_blob JOIN blob USING (sha256) JOIN consumer ON blobs = 1 WHERE state = 0 AND NOT "
    "EXISTS (SELECT 1 FROM blob_receipt AS r WHERE r.consumer = consumer.name AND r.sha256 = blob.sha256)",
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one folder has come; ``done``: it is accounted for."""

    dir: str
    next_seq: int
    salvaged: int
    done: bool


class Source:
    """One journal in quarantine, open for reading."""

    def __init__(self, folder: Path, earlier: list[Path], later: list[Path], files: BlobFiles) -> None:
        self.folder = folder
        path = folder / "journal" / "station.db"
        mark = read_mark(folder / "mark.bin")
        old = remains(path, mark)
        self.files = files
        self.reader = _reader(path)
        self.epoch = old.before.epoch if old.before else bytes(16)
        self.last = old.before.last if old.before else 0
        self.known = {mark.seq: mark.hash} if mark and mark.epoch == self.epoch else {}
        floor = self._floor(earlier)
        self.first = max(old.acked or 0, old.trimmed, floor - 1) + 1
        """The first record of those that are all taken over, or told as lost."""
        self.kept = self._kept(floor)
        """Records before it that are taken over, too."""
        self.owed = sorted(self.kept)
        first = min(self.kept, default=self.first)
        self.start = _carried(folder.name, later) or Progress(folder.name, first, 0, done=False)
        self.standing = standing(self.reader)
        self.carver = Carver(path)
        self.is_scanned = False

    def close(self) -> None:
        """Close all files."""
        self.carver.close()
        if self.reader:
            self.reader.close()

    def _kept(self, floor: int) -> frozenset[int]:
        if self.reader is None:
            return frozenset()
        asked = [whole(self.reader, statement, int) for statement in _STILL_KEPT]
        named = whole(self.reader, _OF_IDS, int)
        if named is None or None in asked:
            rows = set(look(self.reader, _ALL))
        else:
            rows = set(named.difference(look(self.reader, _OF_OTHERS))).union(*(each or () for each in asked))
        seqs = {row[0] for row in rows}
        return frozenset(seq for seq in seqs if isinstance(seq, int) and floor <= seq < self.first)

    def _floor(self, earlier: list[Path]) -> int:
        """Return the first record of the epoch; 1 when nobody can tell any more."""
        for first, last in look(self.reader, "SELECT first_seq, prev_last FROM store") if self.reader else ():
            if isinstance(first, int) and isinstance(last, int) and first == last + 1 <= self.last:
                return first
        for folder in reversed(earlier):
            old = remains(folder / "journal" / "station.db", read_mark(folder / "mark.bin"))
            return old.before.last + 1 if old.before else 1
        return 1

    @property
    def name(self) -> str | None:
        """The epoch in hex, ``None`` if nobody knows it."""
        return self.epoch.hex() if any(self.epoch) else None

    def chosen(self, seq: int) -> Row | None:
        """Return the record that was written there; ``None`` when nothing sound is left of it.

        Of a transaction that was rolled back, and its number used again, both may be found: the record after
        it, or the mark, tells which one counts.
        """
        found = self.carver.rows(seq)
        if seq in self.known:
            found = [row for row in found if row.hash == self.known[seq]]
        else:
            after = {row.prev for row in self.carver.rows(seq + 1)}
            if after:
                found = [row for row in found if row.hash in after]
        return found[0] if len(found) == 1 else None


def _reader(path: Path) -> sqlite3.Connection | None:
    with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
        return database.connect_reader(path)
    return None


def _carried(name: str, later: list[Path]) -> Progress | None:
    """Return how far an epoch that has ended itself since had come with this folder."""
    for folder in reversed(later):
        if reader := _reader(folder / "journal" / "station.db"):
            with contextlib.closing(reader):
                for row in look(reader, "SELECT * FROM salvage WHERE dir = ?", name):
                    if [type(value) for value in row] == [str, int, int, int]:
                        return Progress(row[0], row[1], row[2], bool(row[3]))
    return None


@dataclass(frozen=True)
class Breath(Small):
    """A step without records: nothing but reading was done, or an earlier epoch had done it all."""

    progress: Progress | None = None

    def apply(self, tx: Transaction) -> None:
        """Write the progress, if there is any."""
        if self.progress:
            _put(tx, self.progress)


@dataclass(slots=True)
class Step:
    """Some records of one folder, what is lost between them, and how far that is."""

    place: Place
    source: Source
    before: Progress
    rows: list[Row] = field(default_factory=list)
    lost: list[tuple[int, int]] = field(default_factory=list)
    next_seq: int = 0
    counted: int = 0
    """Records that are in the new journal from now on, also those that it began with."""
    done: bool = False
    vital: ClassVar[bool] = False

    @property
    def size(self) -> int:
        """Bytes of the records."""
        return sum(len(row.body) for row in self.rows)

    @property
    def records(self) -> int:
        """Records that it adds."""
        return len(self.rows) + len(self.lost) + self.done

    def lose(self, upto: int) -> None:
        """What stands up to there and was not found is lost; of the first part, what was kept."""
        owed = self.source.owed
        self.lost += _runs(owed[bisect_left(owed, self.next_seq) : bisect_right(owed, upto)])
        start = max(self.next_seq, self.source.first)
        if start <= upto:
            self.lost.append((start, upto))

    def prepare(self) -> None:
        """All of it needs the transaction."""

    def apply(self, tx: Transaction) -> None:
        """Append, and write the progress."""
        encoded = [self._encoded(tx, row) for row in self.rows]
        events = [
            RecordsLost.model_validate(common(self.place) | {"epoch": self.source.name, "from": a, "to": b})
            for a, b in self.lost
        ]
        now = Progress(self.before.dir, self.next_seq, self.before.salvaged + self.counted, self.done)
        own = [*events, *([self._closing(now)] if self.done else [])]
        encoded += [encode(own_draft(event), self.place.station) for event in own]
        if encoded:
            Append(self.place.station, (), None, 0, self.source.files, encoded=encoded).apply(tx)
        _put(tx, now)
        crashpoint("salvage_rows")

    def _closing(self, now: Progress) -> EpochSalvaged:
        start, last = max(self.source.start.next_seq, self.source.first), self.source.last
        salvaged_here = now.salvaged - self.source.start.salvaged
        counts = {"salvaged": salvaged_here, "gaps": last - start + 1 - salvaged_here}
        told = {"epoch": self.source.name, "from": start, "to": last} | counts
        return EpochSalvaged.model_validate(common(self.place) | told)

    def _encoded(self, tx: Transaction, row: Row) -> Encoded:
        refs = tuple(ref for ref in blob_refs(self.source.reader, row) if self._has_blob(tx, ref))
        sealed = is_sealed(tx.connection, row.subject)
        return self.source.standing.carried(self.place, row, refs, sealed=sealed)

    def _has_blob(self, tx: Transaction, ref: BlobRef) -> bool:
        if find_blob(tx.connection, bytes.fromhex(ref.sha256)):
            return True
        old: BlobRow | None = find_old_blob(self.source.reader, self.source.files, ref)
        if old:
            tx.add_blob(old.values())
        return old is not None


def _runs(seqs: list[int]) -> list[tuple[int, int]]:
    """Return first and last of each unbroken run of numbers."""
    firsts = [seq for before, seq in pairwise([-2, *seqs]) if seq > before + 1]
    lasts = [seq for seq, after in pairwise([*seqs, 2**63]) if after > seq + 1]
    return list(zip(firsts, lasts, strict=True))


def _put(tx: Transaction, now: Progress) -> None:
    tx.connection.execute(
        _PUT, {"dir": now.dir, "next_seq": now.next_seq, "salvaged": now.salvaged, "done": int(now.done)}
    )


class Salvage:
    """The chore; all of it runs in the writer's thread."""

    def __init__(self, place: Place, files: BlobFiles) -> None:
        self._place = place
        self._files = files
        self._epoch = b""
        self._folders: list[Path] = []
        self._source: Source | None = None
        self._taken: set[int] = set()
        self._tried: Progress | None = None
        self._again_s = 0.0

    def next(self, journal: Journal, *, idle: bool) -> Op | None:
        """Return the next step: at most 256 pages to look through, or 64 records to append."""
        if journal.epoch != self._epoch:
            self._begin(journal)
        while self._folders:
            if _is_done(journal.connection, self._folders[0].name):
                self._leave()
                self._folders.pop(0)
                continue
            now = self._progress(journal)
            return Breath(now) if now.done else self._step(now)
        return None

    def tidy(self, connection: sqlite3.Connection) -> None:
        """Nothing is left to tidy."""

    def is_done(self, journal: Journal) -> bool:
        """Whether no record of an earlier epoch will come into this journal any more and name its blobs."""
        return self._epoch == journal.epoch and not self._folders

    def _begin(self, journal: Journal) -> None:
        self._leave()
        self._epoch, self._tried = journal.epoch, None
        found = self._place.quarantine.iterdir() if self._place.quarantine.is_dir() else ()
        # A folder that is empty was left by a start that ended before it could move anything.
        self._all = sorted(path for path in found if re.match(r"\d{4}-", path.name) and any(path.iterdir()))
        self._folders = [path for path in self._all if not _is_done(journal.connection, path.name)]
        self._taken = _inherited(journal) if self._folders else set()

    def _leave(self) -> None:
        if self._source:
            self._source.close()
        self._source = None

    def _progress(self, journal: Journal) -> Progress:
        """Return how far the first folder has come, and open it if that was not done."""
        folder = self._folders[0]
        if self._source is None:
            place = self._all.index(folder)
            self._source = Source(folder, self._all[:place], self._all[place + 1 :], self._files)
        row = journal.connection.execute(_GET, {"folder": folder.name}).fetchone()
        return Progress(row[0], row[1], row[2], bool(row[3])) if row else self._source.start

    def _step(self, now: Progress) -> Op | None:
        if (source := self._source) is None:
            return None
        if not source.carver.covers(now.next_seq):
            source.carver.begin(now.next_seq, source.last)
            source.is_scanned = now.next_seq > source.last
        if not source.is_scanned:
            source.is_scanned = not source.carver.scan(STEP_PAGES)
            return Breath()
        if now == self._tried and time.monotonic() < self._again_s:
            return None  # the last step failed
        self._tried, self._again_s = now, time.monotonic() + AGAIN_S
        crashpoint("salvage_step")
        return self._read(source, now)

    def _read(self, source: Source, now: Progress) -> Op:
        """Return the step from ``now`` on."""
        step = Step(self._place, source, now, next_seq=now.next_seq)
        looked = size = blob_bytes = 0
        upto = min(source.carver.upto, source.last)
        for seq in source.carver.after(now.next_seq):
            is_owed = seq < source.first
            if is_owed and seq not in source.kept:
                continue
            if looked == STEP_ROWS or size > STEP_BYTES or blob_bytes > STEP_BLOB_BYTES:
                upto = seq - 1
                break
            looked += 1
            row = source.chosen(seq)
            if row is None:
                continue
            step.lose(seq - 1)
            step.next_seq = seq + 1
            step.counted += not is_owed
            original, _, _ = row.told()
            if original not in self._taken:
                step.rows.append(row)
                size += len(row.body)
                blob_bytes += self._bytes_of_blobs(source, row)
        step.done = upto >= source.last
        if step.next_seq <= upto and (step.done or step.next_seq == now.next_seq):
            step.lose(upto)
            step.next_seq = upto + 1
        return step

    def _bytes_of_blobs(self, source: Source, row: Row) -> int:
        refs = blob_refs(source.reader, row)
        return sum(database.size_of(source.files.path(bytes.fromhex(ref.sha256))) for ref in refs)


def _is_done(connection: sqlite3.Connection, name: str) -> bool:
    row = connection.execute(_GET, {"folder": name}).fetchone()
    return bool(row and row[-1])


def _inherited(journal: Journal) -> set[int]:
    """Return the first numbers of the records that this epoch began with."""
    row = journal.connection.execute(_GET, {"folder": ""}).fetchone()
    if row is None:
        return set()
    span = {"after": journal.first_seq, "upto": row[1] - 1, "count": row[1]}
    found = map(Row.of, journal.connection.execute(schema.RECORDS_AFTER, span))
    return {each.told()[0] for each in found if each.type == SALVAGED and each.sound(journal.epoch)}
