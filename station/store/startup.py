"""Opening the journal on any state of the disk: what is found decides between going on and a new epoch.

The order is fixed: settings, checkpoint, comparison with the mark, new mark, the last hashes. The checkpoint
comes first because SQLite's own recovery does not sync the log: a row that a killed process had written but
not synced would be served and marked, and a power cut would then take it away.

A store that cannot be trusted is never repaired in place and never thrown away: its folder is renamed into
``quarantine/`` and a new epoch begins behind the highest sequence number ever seen. The new database is
made aside and appears by one rename, so a crash at any step leaves something that the next start knows.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Iterator

from station.store import database, schema, search
from station.store.blobs import BlobFiles
from station.store.chain import rows, sound_rows
from station.store.crashpoint import crashpoint
from station.store.database import Fault, fault_of
from station.store.epoch import Old, behind_all, create, quarantine, remains
from station.store.errors import StoreFull, StoreUnavailable, WrongStation
from station.store.files import is_full, make_folder, sync_folder, words_of
from station.store.mark import Mark, MarkFile, read_mark
from station.store.migrate import migrate
from station.store.place import Before, Journal, Place

VERIFIED_AT_START = 1000

log = logging.getLogger("carril.store")


class _Distrust(Exception):
    """What is on disk cannot be this journal's continuation: the cause of a new epoch."""


def open_journal(place: Place) -> Journal:
    """Open the journal, or begin a new epoch where what is there cannot be trusted.

    Raises ``WrongStation``, ``StoreFull``, or ``StoreUnavailable`` when the disk fails; then nothing is lost.
    """
    with _sentences(place):
        make_folder(place.state)
        shutil.rmtree(place.aside, ignore_errors=True)  # unfinished, never served
        try:
            if not database.size_of(place.database):
                _check_first(place)
                create(place, Old(None, {}), "")
            with contextlib.suppress(_Distrust):
                return _open(place)
            return _open(place)  # SQLite calls it damage, too, that the disk once refused to read
        except _Distrust as distrust:
            return _begin_epoch(place, str(distrust))


def renew_journal(place: Place, cause: str) -> Journal:
    """Begin a new epoch although the journal could be opened: it was found damaged while it was in use."""
    with _sentences(place):
        return _begin_epoch(place, cause)


def _begin_epoch(place: Place, cause: str) -> Journal:
    folder = quarantine(place)
    log.error("a new epoch begins: %s; the old journal is kept in %s", cause, folder)
    blobs = BlobFiles(place.state / "blobs")
    old = remains(folder / "journal" / place.database.name, read_mark(place.mark), blobs)
    create(place, behind_all(place, old), cause)
    return _open(place)


@contextlib.contextmanager
def _sentences(place: Place) -> Iterator[None]:
    """Turn failures of the disk into sentences for the person who must act."""
    try:
        yield
    except (sqlite3.Error, OSError, _Distrust) as error:  # the last: of a journal made just now
        # On a full disk SQLite calls some failures of its own plain I/O errors.
        if fault_of(error) is Fault.FULL or is_full(place.state):
            raise StoreFull(f"The disk of {place.state} is full: the journal cannot be opened.") from error
        raise StoreUnavailable(
            f"The journal in {place.state} cannot be opened: {words_of(error)}."
        ) from error


def _check_first(place: Place) -> None:
    """Without a database only an empty state folder may begin at 1."""
    traces = (place.mark, place.journal, place.quarantine)
    if any(trace.is_file() or (trace.is_dir() and any(trace.iterdir())) for trace in traces):
        raise _Distrust("the database is missing")


def _open(place: Place) -> Journal:
    """Open what is there; raise ``_Distrust`` when it is damaged or not the latest."""
    with contextlib.ExitStack() as undo:
        try:
            if database.size_of(database.log_of(place.database)):
                # Whoever writes puts the log back on closing: nothing may change in another station's folder.
                with contextlib.closing(database.connect_reader(place.database)) as reader:
                    _check_owner(reader, place)
                    _check_log(reader, read_mark(place.mark))
            connection = database.connect_writer(place.database, place.quota_bytes)
            undo.callback(connection.close)
            _check_owner(connection, place)
            crashpoint("start_before_checkpoint")
            if not database.checkpoint(connection, "TRUNCATE"):
                raise StoreUnavailable(f"Somebody else reads {place.database}: its log cannot be emptied.")
            # The log exists from here on; SQLite syncs its name later, but ignores a failure of that.
            sync_folder(place.journal)
            migrate(connection)
            found = read_mark(place.mark)
            mark = MarkFile(place.mark)
            undo.callback(mark.close)
            journal = _load(connection, mark, place)
            _compare(journal, found)
            _settle(journal, place)
        except (sqlite3.Error, TypeError, ValueError, OverflowError) as error:
            # A damaged page gives values of the wrong kind as well as errors.
            if _unreadable(error):
                raise _Distrust(f"the database is unreadable: {error}") from error
            raise
        sync_folder(place.state)
        crashpoint("start_before_mark")
        mark.write(journal.epoch, journal.seq, journal.hash, place.now_us())
        undo.pop_all()
        return journal


def _unreadable(error: Exception) -> bool:
    """Whether the file is damaged (a missing table or column is damage too), not the disk or a lock."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return fault_of(error) is Fault.CORRUPT or code == sqlite3.SQLITE_ERROR


def _check_owner(connection: sqlite3.Connection, place: Place) -> None:
    """Look whose journal this is, before anything is written."""
    row = connection.execute("SELECT station, schema FROM store").fetchone()
    if row is None or not isinstance(row[0], str):
        raise _Distrust("the database has no owner")
    station, number = row
    if number not in range(1, schema.SCHEMA + 1):
        raise _Distrust(f"the database has schema {number}, this program knows {schema.SCHEMA}")
    if station != place.station:
        raise WrongStation(
            f"The state folder {place.state} belongs to station {station!r}, this lane is {place.station!r}: "
            "choose another folder with --state, or correct lane.id."
        )


def _check_log(reader: sqlite3.Connection, mark: Mark | None) -> None:
    """Look whether the log is read to its end: SQLite stops at the first damaged frame, without a word.

    The checkpoint would then throw away what stands behind it, which the salvage can still find.
    """
    (epoch,) = reader.execute("SELECT epoch FROM store").fetchone()
    seq, *_ = reader.execute(schema.GET_HEAD).fetchone() or (0,)
    if mark and mark.epoch == epoch and mark.seq > seq:
        raise _Distrust(f"the journal ends at {seq}, the mark says {mark.seq}")


def _load(connection: sqlite3.Connection, mark: MarkFile, place: Place) -> Journal:
    """Read epoch, head and anchor, and check that they agree with the records."""
    _, epoch, first_seq, prev_epoch, prev_last, prev_hash, *_ = connection.execute(
        schema.GET_STORE
    ).fetchone()
    ends = connection.execute(schema.GET_HEAD).fetchone()
    if ends is None:
        raise _Distrust("the head is missing")
    seq, hash_, anchor_seq, anchor_hash = ends
    last = connection.execute(schema.MAX_SEQ).fetchone()[0]
    if last is None or last <= anchor_seq:  # what is kept below the anchor says nothing of the end
        agrees = (seq, hash_) == (anchor_seq, anchor_hash)
    else:
        agrees = seq == last and hash_ == _hash_at(connection, last)
    if not agrees:
        raise _Distrust("the head differs from the last record")
    before = Before(prev_epoch, prev_last, prev_hash) if prev_epoch is not None else None
    identity = database.identity_of(place.database)
    return Journal(connection, mark, identity, epoch, first_seq, before, seq, hash_, anchor_seq, anchor_hash)


def _hash_at(connection: sqlite3.Connection, seq: int) -> bytes | None:
    row = connection.execute(schema.GET_RECORD, {"seq": seq}).fetchone()
    return row[-1] if row else None


def _compare(journal: Journal, mark: Mark | None) -> None:
    """Hold the journal against the mark; raise ``_Distrust`` where it is not the marked one or shorter.

    A journal that holds nothing but what it was made with was interrupted while it began: nobody was told of
    it, so a mark of the epoch before, or none, is what must be found.
    """
    row = journal.connection.execute("SELECT next_seq FROM salvage WHERE dir = ''").fetchone()
    untold = journal.seq + 1 == (row[0] if row else journal.first_seq + (1 if journal.before else 0))
    if mark is None:
        if not untold:
            raise _Distrust("there is no valid mark")
    elif mark.epoch != journal.epoch:
        if not (untold and journal.before and mark.epoch == journal.before.epoch):
            raise _Distrust("the mark is of another epoch: an old copy was restored")
    elif not journal.anchor_seq <= mark.seq <= journal.seq:
        raise _Distrust(f"the journal ends at {journal.seq}, the mark says {mark.seq}")
    else:
        at_anchor = mark.seq == journal.anchor_seq
        hash_ = journal.anchor_hash if at_anchor else _hash_at(journal.connection, mark.seq)
        if hash_ != mark.hash:
            raise _Distrust(f"record {mark.seq} is not the one that was marked")


def _settle(journal: Journal, place: Place) -> None:
    """Bring consumers and search index up to date, and check the last hashes."""
    connection = journal.connection
    known = {row[0]: row[3:] for row in connection.execute(schema.GET_CONSUMERS)}
    new = [
        consumer
        for consumer in place.consumers
        if any(wish > had for wish, had in zip(consumer[1:], known.get(consumer.name, (-1, -1)), strict=True))
    ]
    (search_version,) = connection.execute("SELECT search FROM store").fetchone()
    if new or search_version != schema.SEARCH:
        connection.execute("BEGIN IMMEDIATE")
        for consumer in new:
            connection.execute(schema.ADD_CONSUMER, schema.cursor_values(consumer, journal.anchor_seq))
        if search_version != schema.SEARCH:
            search.rebuild(connection, journal.epoch)
        connection.execute("COMMIT")
    consumers = list(connection.execute(schema.GET_CONSUMERS))
    journal.acked = {name: max(acked, journal.anchor_seq) for name, acked, *_ in consumers}
    journal.required = frozenset(name for name, _, _, required, _ in consumers if required)
    (journal.blob_bytes,) = connection.execute(schema.BLOB_BYTES).fetchone()
    journal.damaged = _damaged_at_the_end(journal)


def _damaged_at_the_end(journal: Journal) -> tuple[int, ...]:
    after = max(journal.anchor_seq, journal.seq - VERIFIED_AT_START)
    span = {"after": after, "upto": journal.seq, "count": VERIFIED_AT_START}
    found = rows(journal.connection.execute(schema.RECORDS_AFTER, span))
    seqs = range(after + 1, journal.seq + 1)
    sound = sound_rows(found, seqs, journal.epoch, journal.seq, journal.hash)
    return tuple(seq for seq in seqs if seq not in sound)
