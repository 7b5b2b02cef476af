"""Proof from outside: read a state folder, with or without a running daemon, and name the first bad record.

It only reads, in short look-ups, and trusts nothing that can be computed: every hash, every column against
its body, every signed head against its record, the mark against the journal, the search table against the
records, every blob against its digests, and what is gone against what may go. Rows that retention kept below
the anchor are checked each by itself.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from station.store import database, schema, search
from station.store.blobs import CHUNK_BYTES, BlobFiles, BlobRow, DamagedBlob, find_blob
from station.store.chain import WRAPPERS, Row, genesis, named_blobs, rfc3339, rows, sound_rows
from station.store.heads import Head, found_keys, notes_after, public_file, public_keys, read_note
from station.store.mark import Mark, read_mark
from station.store.retention import removable_upto

_SLICE = 1000
_BLOBS_AFTER = (
    "SELECT sha256, bytes, media, chunks, state FROM blob WHERE sha256 > ? ORDER BY sha256 LIMIT 100"
)
_INSPECTIONS_AFTER = (
    "SELECT *, (SELECT group_concat(kind || ' ' || key || ' ' || first_seq, char(10)) FROM search_key"
    " WHERE search_key.id = inspection.id) FROM inspection WHERE id > ? ORDER BY id LIMIT 500"
)
_STRAY_KEYS = "SELECT DISTINCT id FROM search_key WHERE id NOT IN (SELECT id FROM inspection)"
_BEYOND = "SELECT min(record.seq) FROM record, head WHERE record.seq > head.seq"
_REFUSED_GONE = (
    "SELECT consumer, nack.seq FROM nack LEFT JOIN record ON record.seq = nack.seq WHERE record.seq IS NULL"
)
_SHOWN = 20
"""Faults of one kind that are listed; of the others the number is enough."""

Found = TypeVar("Found", bound=tuple[Any, ...])


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked, and what is wrong; the faults are sentences for a person."""

    station: str
    epoch: str
    oldest: int
    head: int
    first_bad: int | None
    """The first record that is not what was written."""
    blobs: int
    faults: tuple[str, ...]
    heads: int = 0
    """Signed heads."""
    kept: str = ""
    """What is to be said of the signed head that was brought along."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def verify(state: Path, *, head: str | None = None, keys: str | None = None) -> Report:
    """Check the journal, the mark and the blobs of a state folder; a damaged one gives faults, never raises.

    ``head`` is a signed head that somebody kept outside; ``keys`` are public keys to trust instead of those
    in the folder. Raises ``FileNotFoundError`` where there is no journal, ``ValueError`` for wrong ``keys``.
    """
    path = state / "journal" / "station.db"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: {state} holds no journal.")
    trusted, fault = (public_keys(keys), "") if keys is not None else _own_keys(state)
    mark = read_mark(state / "mark.bin")  # first: a running daemon moves the journal on, never back
    try:
        with contextlib.closing(database.connect_reader(path)) as reader:
            report = _Check(reader, trusted).run(mark, BlobFiles(state / "blobs"), head)
            return replace(report, faults=(*report.faults, fault)) if fault else report
    except (sqlite3.Error, TypeError, ValueError) as error:
        # A damaged page gives wrong types as well as errors.
        return Report("", "", 0, 0, None, 0, (f"The journal cannot be read: {error}.",))


def _own_keys(state: Path) -> tuple[list[bytes], str]:
    try:
        keys, fault = found_keys(public_file(state).read_text(encoding="ascii", errors="replace"))
    except OSError:
        return [], ""
    return keys, f"head.pub is damaged: {fault}." if fault and keys else ""


class _Check:
    """One journal while it is checked."""

    def __init__(self, reader: sqlite3.Connection, keys: list[bytes]) -> None:
        self.reader = reader
        self.keys = keys
        self.moved = False
        """Records were removed while they were read: of their inspections little can be said."""
        self.gone: list[str] = []
        """Blobs that are not there, though they must be."""
        self.owner = reader.execute(schema.GET_STORE).fetchone()
        self.station, self.epoch = self.owner[:2]
        self.seq, self.hash, self.anchor_seq, self.anchor_hash = reader.execute(schema.GET_HEAD).fetchone()

    def run(self, mark: Mark | None, files: BlobFiles, head: str | None) -> Report:
        faults = []
        with contextlib.closing(sqlite3.connect("")) as index:  # a temporary file, gone when it is closed
            for statement in schema.create_statements("inspection", "search_key"):
                index.execute(statement)
            faults += self._check_front()
            bad = self._first_bad_kept(index)
            bad = self._first_bad(index) if bad is None else bad
            if bad is not None:
                faults.append(f"Record {bad} is not what was written, or is missing.")
            heads, false_heads, rewritten = self._check_heads()
            faults += self._check_mark(mark) + false_heads
            if bad is None:
                bad = rewritten
                faults += self._check_search(index)
            faults += self._check_ends()
        blobs, bad_blobs = _check_blobs(self.reader, files)
        kept = ""
        if head is not None:
            kept, is_fault = self._kept_outside(head, mark)
            faults += [kept] if is_fault else []
        faults += _short(self.gone) + bad_blobs
        ends = (self.anchor_seq + 1, self.seq)
        return Report(self.station, self.epoch.hex(), *ends, bad, blobs, tuple(faults), heads, kept)

    # --- records ----------------------------------------------------------------------------------

    def _check_front(self) -> list[str]:
        """Look whether the journal begins where it must: retention alone moves the anchor, by its rules."""
        first_seq, before, last = self.owner[2], self.owner[3], self.owner[4]
        begin = 1 if before is None else last + 1
        if first_seq != begin:
            return [
                f"The journal says that it begins with record {first_seq}; its epoch begins with {begin}."
            ]
        if self.anchor_seq < first_seq - 1:
            return [
                f"The journal says that it is kept from {self.anchor_seq + 1} on; it begins with {begin}."
            ]
        # The anchor was read first: what may be removed only grows.
        if first_seq <= self.anchor_seq > (upto := removable_upto(self.reader, self.seq)):
            return [
                f"The records up to {self.anchor_seq} are gone, but only those up to {upto} may be: the "
                "others are not acknowledged, or an inspection of them is open. They were cut off."
            ]
        return []

    def _first_bad(self, index: sqlite3.Connection) -> int | None:
        """Check every record behind the anchor and take it into the index."""
        at, before = int(self.anchor_seq) + 1, self.anchor_hash
        first_seq, previous_hash = self.owner[2], self.owner[5]
        if at == first_seq and before != genesis(self.epoch, previous_hash):
            return at
        while at <= self.seq:
            part = range(at, min(at + _SLICE, self.seq + 1))
            span = {"after": at - 1, "upto": self.seq, "count": _SLICE + 1}
            found = rows(self.reader.execute(schema.RECORDS_AFTER, span))
            sound = sound_rows(found, part, self.epoch, self.seq, self.hash)
            at = part.stop
            for seq in part:
                row = sound.get(seq)
                if row is None or row.prev != before or not _is_timely(row):
                    *_, anchor_seq, anchor_hash = self.reader.execute(schema.GET_HEAD).fetchone()
                    if seq > anchor_seq:
                        return seq
                    # A running daemon has removed it meanwhile.
                    self.anchor_seq, self.moved = anchor_seq, True
                    at, before = anchor_seq + 1, anchor_hash
                    break
                before = row.hash
                self._take(index, row)
        return None

    def _first_bad_kept(self, index: sqlite3.Connection) -> int | None:
        """Check what is left below the anchor; what is missing there was removed."""
        last: Row | None = None
        for row in self._kept():
            follows = last is None or last.seq + 1 != row.seq or last.hash == row.prev
            ends_well = row.seq != self.anchor_seq or row.hash == self.anchor_hash
            if not (row.sound(self.epoch) and _is_timely(row) and follows and ends_well):
                return row.seq
            self._take(index, row)
            last = row
        return None

    def _kept(self) -> Iterator[Row]:
        def page(after: int) -> list[tuple[int, Row]]:
            span = {"after": after, "upto": self.anchor_seq, "count": _SLICE}
            return [(row.seq, row) for row in rows(self.reader.execute(schema.RECORDS_AFTER, span))]

        for _, row in _all(page, -1):
            yield row

    def _take(self, index: sqlite3.Connection, row: Row) -> None:
        """Take a sound record into the index, and look for the blobs that it names."""
        _, type_, data = row.told()
        search.note(index, row.seq, type_, row.subject, data, row.flags)
        # Those of a record that was brought once more may have been lost, or removed, before.
        for name in named_blobs(row.event()) if row.type not in WRAPPERS else ():
            blob = find_blob(self.reader, bytes.fromhex(name))
            if blob is None and self._hash_at(row.seq):  # the record is there still, hence the blob must be
                self.gone.append(f"Blob {name}, which record {row.seq} names, is not in the journal.")
            elif blob and not blob.present and row.seq > removable_upto(self.reader, self.seq):
                self.gone.append(
                    f"Blob {name} was removed, but record {row.seq}, which names it, must be kept."
                )

    # --- signed heads -----------------------------------------------------------------------------

    def _check_heads(self) -> tuple[int, list[str], int | None]:
        """Return how many there are, what is wrong, and the first record that is not the signed one."""
        count, good = 0, self.anchor_seq
        faults: list[str] = []
        rewritten = None
        for seq, note in _all(lambda after: notes_after(self.reader, after, _SLICE), -1):
            count += 1
            if not self.keys:
                why = "There is no public key in head.pub: without --key the signed heads prove nothing."
                return 0, [why], None
            try:
                head = read_note(note, self.keys)
            except ValueError as error:
                faults.append(f"Signed head {seq} {error}.")
                continue
            if head.seq != seq:
                faults.append(f"Signed head {seq} is that of record {head.seq}.")
            elif why := self._against(head):
                faults.append(f"Signed head {seq} {why}.")
            elif self._is_rewritten(head):
                rewritten = seq if rewritten is None else rewritten
                span = f"of {good + 1} to {seq} some were rewritten"
                faults.append(f"Record {seq} is not the one that was signed: {span}.")
            else:
                good = max(good, seq)
        return count, _short(faults), rewritten

    def _against(self, head: Head) -> str:
        """Return why a head cannot be one of this journal; empty if it can."""
        if head.station != self.station:
            return f"is of station {head.station}, this journal is of {self.station}"
        if head.epoch != self.epoch.hex():
            return f"is of epoch {head.epoch}, this journal is of {self.epoch.hex()}"
        seq, *_ = self.reader.execute(schema.GET_HEAD).fetchone()
        return f"is that of record {head.seq}, but the journal ends at {seq}" if head.seq > seq else ""

    def _hash_at(self, seq: int) -> bytes | None:
        """Return the hash of a record; ``None`` for one that was removed, below the anchor."""
        row = self.reader.execute(schema.GET_RECORD, {"seq": seq}).fetchone()
        if row is not None:
            return Row.of(row).hash
        *_, anchor_seq, anchor_hash = self.reader.execute(schema.GET_HEAD).fetchone()
        return bytes(anchor_hash) if seq == anchor_seq else None if seq < anchor_seq else b""

    def _is_rewritten(self, head: Head) -> bool:
        return self._hash_at(head.seq) not in (None, head.hash)

    def _kept_outside(self, note: str, mark: Mark | None) -> tuple[str, bool]:
        """Return what is to be said of a head that somebody kept, and whether it is a fault."""
        try:
            head = read_note(note, self.keys)
        except ValueError as error:
            return f"The head that was kept outside {error}.", True
        name = f"The head of record {head.seq} that was kept outside"
        if head.station == self.station and head.epoch == self.epoch.hex() and head.seq > self.seq:
            cut = mark is not None and mark.epoch == self.epoch and mark.seq > self.seq
            why = (
                "its tail was cut off"
                if cut
                else "it is an older copy, or its tail and its mark were cut off"
            )
            return f"{name} is not in this journal, which ends at {self.seq}: {why}.", True
        if why := self._against(head):
            before = self.owner[3]
            hint = ": look in quarantine" if before is not None and head.epoch == before.hex() else ""
            return f"{name} {why}{hint}.", True
        known = self._hash_at(head.seq)
        if known is None:
            return f"{name} cannot be compared: the record was removed after it had been acknowledged.", False
        if known != head.hash:
            return f"{name} is not in this journal: a record up to {head.seq} was rewritten.", True
        return f"{name} is in this journal.", False

    # --- mark and search --------------------------------------------------------------------------

    def _check_ends(self) -> list[str]:
        """Look for what was added behind the head, and for refused records that are gone."""
        (beyond,) = self.reader.execute(_BEYOND).fetchone()
        faults = [] if beyond is None else [f"Record {beyond} stands behind the end of the journal."]
        gone = self.reader.execute(_REFUSED_GONE).fetchall()
        faults += [f"Record {seq}, which {name} has refused, is missing." for name, seq in gone]
        return _short(faults)

    def _check_mark(self, mark: Mark | None) -> list[str]:
        if mark is None:
            return ["mark.bin has no valid mark: nothing proves that the journal is complete."]
        epoch = self.epoch.hex()
        if mark.epoch != self.epoch:
            return [f"mark.bin is of epoch {mark.epoch.hex()}, the journal of {epoch}: an old copy?"]
        if not self.anchor_seq <= mark.seq <= self.seq:
            return [f"The journal ends at record {self.seq}, mark.bin says {mark.seq}: records were cut off."]
        if self._hash_at(mark.seq) not in (None, mark.hash):
            return [f"Record {mark.seq} is not the one that mark.bin names."]
        return []

    def _check_search(self, index: sqlite3.Connection) -> list[str]:
        """Compare the search table with what the records say; it is never evidence, but people go by it."""
        if self.owner[7] != schema.SEARCH:
            return []  # the next start makes it anew
        wrong: list[str] = []
        for found in _all(lambda after: self.reader.execute(_INSPECTIONS_AFTER, (after,)).fetchall(), ""):
            told = index.execute(schema.GET_INSPECTION, {"id": found[0]}).fetchone()
            index.execute("DELETE FROM inspection WHERE id = ?", (found[0],))
            says = search.Found(*found[:-1])
            keys = {f"{kind} {key} {says.first_seq}" for kind, key in says.keys()}
            differ = self._differences(says, search.Found(*told) if told else None)
            lost = [f"The search table does not find inspection {says.id} by what it says of it."]
            wrong += differ or (lost if keys != set((found[-1] or "").splitlines()) else [])
        *_, anchor_seq, _ = self.reader.execute(schema.GET_HEAD).fetchone()
        left = index.execute("SELECT id FROM inspection WHERE last_seq > ?", (anchor_seq,))
        wrong += [f"The search table lacks inspection {name}." for (name,) in left]
        stray = self.reader.execute(_STRAY_KEYS)
        wrong += [f"The search table finds inspection {name}, which it does not have." for (name,) in stray]
        return _short(wrong)

    def _differences(self, found: search.Found, told: search.Found | None) -> list[str]:
        if found.last_seq > self.seq or told is None:
            # A running daemon is ahead of us, or all its records were removed; else somebody made it up.
            row = self.reader.execute(schema.GET_RECORD, {"seq": found.last_seq}).fetchone()
            real = row is not None and Row.of(row).subject == found.id and found.last_seq > self.seq
            removed = told is None and row is None and found.last_seq <= self.anchor_seq
            return [] if real or removed else [f"The search table has inspection {found.id}, no record has."]
        if found.last_seq <= self.anchor_seq and (self.moved or told.last_seq < found.last_seq):
            return []  # its last records were removed, an earlier one is kept
        names = ["last_seq", "flags", "first_seq", "state", "plate", "container", "declared"]
        if found.first_seq <= self.anchor_seq:  # its first records were removed: less follows from the rest
            names = names[:2] + [name for name in names[4:] if getattr(told, name) and not self.moved]
        differ = [name for name in names if getattr(found, name) != getattr(told, name)]
        return [
            f"The search table is not what the records say: inspection {found.id}, {name}." for name in differ
        ]


def _is_timely(row: Row) -> bool:
    """Whether the column says the body's own time (which has no microseconds)."""
    try:
        return bool(row.event()["time"] == rfc3339(row.time_us))
    except (TypeError, ValueError, LookupError, OverflowError):
        return False


def _short(faults: list[str]) -> list[str]:
    more = len(faults) - _SHOWN
    return [*faults[:_SHOWN], f"… and {more} more of this kind."] if more > 0 else faults


def _check_blobs(reader: sqlite3.Connection, files: BlobFiles) -> tuple[int, list[str]]:
    count, faults = 0, []
    for found in _all(lambda after: reader.execute(_BLOBS_AFTER, (after,)).fetchall(), b""):
        row = BlobRow(*found)
        count += 1
        try:
            for chunk in range(-(-row.size // CHUNK_BYTES) if row.present else 0):
                files.read_chunk(row, chunk)
        except DamagedBlob as error:
            faults.append(str(error))
    return count, faults


def _all(page: Callable[[Any], list[Found]], start: object) -> Iterator[Found]:
    """Yield all rows, page after page by their first column.

    Raises ``ValueError`` where a damaged table gives them out of order, which would never end.
    """
    after: Any = start
    while found := page(after):
        for row in found:
            if not row[0] > after:
                raise ValueError("its rows are out of order")
            after = row[0]
            yield row
