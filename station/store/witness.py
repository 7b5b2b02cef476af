"""What the journals in quarantine prove: that a blob which this journal does not know is needed no more.

A journal is a witness when it can be read and reaches as far as the mark beside it; one that is older than a
journal which is none is not heard, since nobody knows what was held or refused later. A blob is needed no
more when some witness names it, and for every witness that names it: each required consumer, those of today
too, had acknowledged all its records and sent its receipt if it takes blobs; none of the records was refused,
and none of their subjects was open, under legal hold or under a directive in force, then or now.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from station.store import database
from station.store.mark import read_mark
from station.store.place import Place

_NAMES = "SELECT n.seq, r.subject FROM record_blob AS n LEFT JOIN record AS r USING (seq) WHERE n.sha256 = ?"
_REQUIRED = "SELECT name, acked_seq, blobs FROM consumer WHERE required = 1"
_RECEIPT = "SELECT 1 FROM blob_receipt WHERE consumer = ? AND sha256 = ?"
_FIRST_OPEN = "SELECT min(first_seq) FROM open_subject"
_REFUSED = "SELECT 1 FROM nack WHERE seq = ?"
_IN_USE = (
    "SELECT 1 FROM legal_hold WHERE subject = ?",
    "SELECT 1 FROM directive WHERE id = ? AND length(body) > 0",
    "SELECT 1 FROM open_subject WHERE subject = ?",
)
_MARKED = "SELECT 1 FROM store WHERE epoch = :epoch AND (EXISTS (SELECT 1 FROM record WHERE seq = :seq AND \
hash = :hash) OR EXISTS (SELECT 1 FROM head WHERE seq = :seq AND hash = :hash))"

Witnesses = list[sqlite3.Connection]


@contextlib.contextmanager
def witnesses(place: Place) -> Iterator[Witnesses]:
    """Open the journals in quarantine that can be heard, the newest first; none where one is in doubt."""
    with contextlib.ExitStack() as stack:
        found: Witnesses = []
        folders = place.quarantine.iterdir() if place.quarantine.is_dir() else ()
        for folder in sorted((path for path in folders if re.match(r"\d{4}-", path.name)), reverse=True):
            if not any(folder.iterdir()):
                continue  # left by a start that ended before it could move anything
            reader = _heard(folder, place)
            if reader is None:
                break
            stack.callback(reader.close)
            found.append(reader)
        yield found


def _heard(folder: Path, place: Place) -> sqlite3.Connection | None:
    mark = read_mark(folder / place.mark.name)
    if mark is None:
        return None
    try:
        reader = database.connect_reader(folder / "journal" / place.database.name)
    except (sqlite3.Error, OSError):
        return None
    with contextlib.suppress(sqlite3.Error):
        if reader.execute(_MARKED, {"epoch": mark.epoch, "seq": mark.seq, "hash": mark.hash}).fetchone():
            return reader
    reader.close()
    return None


def is_done_with(digest: bytes, heard: Witnesses, today: sqlite3.Connection) -> bool:
    """Whether it is proven that nobody needs the blob; what cannot be read proves nothing.

    ``today`` is the journal in use; its own failures are raised as ``sqlite3.Error``.
    """
    required = today.execute(_REQUIRED).fetchall()
    proofs = 0
    for reader in heard:
        try:
            named = reader.execute(_NAMES, (digest,)).fetchall()
            if named and not _proves(reader, digest, named, required):
                return False
        except (sqlite3.Error, UnicodeDecodeError, TypeError):
            return False
        if any(_is_in_use(today, subject) for _, subject in named):
            return False
        proofs += bool(named)
    return proofs > 0


def _proves(
    reader: sqlite3.Connection,
    digest: bytes,
    named: list[tuple[int, str | None]],
    required: list[tuple[str, int, int]],
) -> bool:
    then = reader.execute(_REQUIRED).fetchall()
    known = {name for name, _, _ in then}
    if not then or any(name not in known for name, _, _ in required):
        return False
    (first_open,) = reader.execute(_FIRST_OPEN).fetchone()
    last = max(seq for seq, _ in named)
    if last > min(acked for _, acked, _ in then) or (first_open is not None and last >= first_open):
        return False
    if any(
        subject is None or _is_in_use(reader, subject) or reader.execute(_REFUSED, (seq,)).fetchone()
        for seq, subject in named
    ):
        return False
    takers = {name for name, _, blobs in (*then, *required) if blobs}
    return all(reader.execute(_RECEIPT, (name, digest)).fetchone() for name in takers)


def _is_in_use(connection: sqlite3.Connection, subject: str | None) -> bool:
    return any(connection.execute(statement, (subject,)).fetchone() for statement in _IN_USE)
