"""Proof from outside: read a state folder, with or without a running daemon, and name the first bad record.

It only reads, in short look-ups, and trusts nothing that can be computed: every hash, every column against
its body, the mark against the journal, every blob against its digests.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from station.store import database, schema
from station.store.blobs import CHUNK_BYTES, BlobFiles, BlobRow, DamagedBlob
from station.store.chain import rows, sound_rows
from station.store.mark import Mark, read_mark

_SLICE = 1000
_BLOBS_AFTER = (
    "SELECT sha256, bytes, media, chunks, state FROM blob WHERE sha256 > ? ORDER BY sha256 LIMIT 100"
)


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

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def verify(state: Path) -> Report:
    """Check the journal, the mark and the blobs of a state folder; a damaged one gives faults, never raises.

    Raises ``FileNotFoundError`` where there is no journal.
    """
    path = state / "journal" / "station.db"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: {state} holds no journal.")
    mark = read_mark(state / "mark.bin")  # first: a running daemon moves the journal on, never back
    try:
        with contextlib.closing(database.connect_reader(path)) as reader:
            return _verify(reader, mark, BlobFiles(state / "blobs"))
    except (sqlite3.Error, TypeError, ValueError) as error:
        # A damaged page gives wrong types as well as errors.
        return Report("", "", 0, 0, None, 0, (f"The journal cannot be read: {error}.",))


def _verify(reader: sqlite3.Connection, mark: Mark | None, files: BlobFiles) -> Report:
    station, epoch, *_ = reader.execute(schema.GET_STORE).fetchone()
    seq, hash_, anchor_seq, anchor_hash = reader.execute(schema.GET_HEAD).fetchone()
    faults = []
    first_bad = _first_bad(reader, epoch, range(anchor_seq + 1, seq + 1), hash_, anchor_hash)
    if first_bad is not None:
        faults.append(f"Record {first_bad} is not what was written, or is missing.")
    faults += _check_mark(reader, mark, epoch, seq, anchor_seq, anchor_hash)
    blobs, bad_blobs = _check_blobs(reader, files)
    faults += bad_blobs
    return Report(station, epoch.hex(), anchor_seq + 1, seq, first_bad, blobs, tuple(faults))


def _first_bad(
    reader: sqlite3.Connection, epoch: bytes, seqs: range, head_hash: bytes, anchor_hash: bytes
) -> int | None:
    head_seq = seqs.stop - 1
    for start in range(seqs.start, seqs.stop, _SLICE):
        part = range(start, min(start + _SLICE, seqs.stop))
        span = {"after": start - 1, "upto": head_seq, "count": _SLICE + 1}
        found = rows(reader.execute(schema.RECORDS_AFTER, span))
        sound = sound_rows(found, part, epoch, head_seq, head_hash)
        if start == seqs.start and sound.get(start) and sound[start].prev != anchor_hash:
            return start
        bad = next((seq for seq in part if seq not in sound), None)
        if bad is not None:
            return bad
    return None


def _check_mark(
    reader: sqlite3.Connection, mark: Mark | None, epoch: bytes, seq: int, anchor_seq: int, anchor_hash: bytes
) -> list[str]:
    if mark is None:
        return ["mark.bin has no valid mark: nothing proves that the journal is complete."]
    if mark.epoch != epoch:
        return [f"mark.bin is of epoch {mark.epoch.hex()}, the journal of {epoch.hex()}: an old copy?"]
    if not anchor_seq <= mark.seq <= seq:
        return [f"The journal ends at record {seq}, mark.bin says {mark.seq}: records were cut off."]
    row = reader.execute(schema.GET_RECORD, {"seq": mark.seq}).fetchone()
    found = row[-1] if row else anchor_hash if mark.seq == anchor_seq else None
    return [] if found == mark.hash else [f"Record {mark.seq} is not the one that mark.bin names."]


def _check_blobs(reader: sqlite3.Connection, files: BlobFiles) -> tuple[int, list[str]]:
    count, faults, after = 0, [], b""
    while page := [BlobRow(*row) for row in reader.execute(_BLOBS_AFTER, (after,))]:
        for row in page:
            count += 1
            try:
                for chunk in range(-(-row.size // CHUNK_BYTES) if row.present else 0):
                    files.read_chunk(row, chunk)
            except DamagedBlob as error:
                faults.append(str(error))
        after = page[-1].sha256
    return count, faults
