"""What may be removed when room runs out: only what every required consumer has, and nothing that is in use.

A record may go when all required consumers have acknowledged it and every inspection that is still open began
after it. It stays while its subject is under legal hold, while some consumer refuses it, while it tells of a
directive that is open, and while it is the last one to name a blob that is still there; then it stands below
the anchor, outside the feed. A blob may go when all records that name it may, and every required consumer
that takes blobs has sent its receipt. Clocks and ages play no part.

Records go in order, so each step looks at the next 500 behind the anchor and never at the backlog. The blobs'
walk is as bounded; a blob is judged at the last record that names it.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, delete, exists, func, literal_column, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from station.store import schema
from station.store.blobs import BlobFiles, find_blob
from station.store.chain import Row
from station.store.crashpoint import crashpoint
from station.store.ops import Op, Small, Transaction
from station.store.place import Journal, Place
from station.store.quota import TRIM_FROM, TRIM_TO, used_pages
from station.store.salvage import Breath
from station.store.schema import PAGE_BYTES
from station.store.stats import Stats

STEP_RECORDS = 500
STEP_NAMES = 500
STEP_BLOBS = 16
"""Removing a large file takes some milliseconds."""
FREE_PAGES = 64
"""Fewer free pages stay where they are: what comes next uses them."""
LOOK_EACH = 16
"""Groups between two looks at how full the database is."""
AGAIN_S = 10.0
"""Between two walks through what could not be removed; monotonic."""

log = logging.getLogger("carril.store")

_record, _blob, _named = schema.record, schema.blob, schema.record_blob
_consumer, _nack, _receipt = schema.consumer, schema.nack, schema.blob_receipt
_also = _named.alias("also")


def _in_use(seq: ColumnElement[int], subject: ColumnElement[str]) -> ColumnElement[bool]:
    refused = exists().where(_nack.c.consumer == _consumer.c.name, _nack.c.seq == seq)
    is_open = exists().where(schema.directive.c.id == subject, schema.DIRECTIVE_OPEN)
    in_force = and_(is_open, literal_column(schema.OF_DIRECTIVE))
    return or_(refused, exists().where(schema.legal_hold.c.subject == subject), in_force)


_named_later = exists().where(_also.c.sha256 == _named.c.sha256, _also.c.seq > _named.c.seq)
_last_name = exists().where(
    _named.c.seq == _record.c.seq, _blob.c.sha256 == _named.c.sha256, _blob.c.state == 0, ~_named_later
)
_span = and_(_record.c.seq > bindparam("after"), _record.c.seq <= bindparam("upto"))
_removable = and_(_span, ~_in_use(_record.c.seq, _record.c.subject), ~_last_name)

_ACKED = schema.compiled(select(func.min(_consumer.c.acked_seq)).where(_consumer.c.required == 1))
_OPEN = schema.compiled(select(func.min(schema.open_subject.c.first_seq)))
_END_OF_STEP = schema.compiled(
    select(_record.c.seq)
    .where(_record.c.seq > bindparam("after"), _record.c.seq <= bindparam("upto"))
    .order_by(_record.c.seq)
    .limit(1)
    .offset(STEP_RECORDS - 1)
)
_SUBJECTS = schema.compiled(select(_record.c.subject).where(_span).distinct())
_NAMED_BLOBS = schema.compiled(
    select(_named.c.sha256)
    .where(_named.c.seq > bindparam("after"), _named.c.seq <= bindparam("upto"))
    .distinct()
)
_SET_ANCHOR = schema.compiled(
    update(schema.head).values(anchor_seq=bindparam("seq"), anchor_hash=bindparam("hash"))
)
_FORGET_INSPECTION = schema.compiled(
    delete(schema.inspection).where(
        schema.inspection.c.id == bindparam("subject"),
        schema.inspection.c.last_seq <= bindparam("upto"),
        ~exists().where(_record.c.subject == bindparam("subject")),
    )
)
_unnamed = ~exists().where(_named.c.sha256 == bindparam("digest"))
_FORGET_BLOB = schema.compiled(
    delete(_blob).where(_blob.c.sha256 == bindparam("digest"), _blob.c.state == 1, _unnamed)
)
_FORGET_RECEIPTS = schema.compiled(
    delete(_receipt).where(
        _receipt.c.consumer.in_(select(_consumer.c.name)), _receipt.c.sha256 == bindparam("digest")
    )
)
_SOME = schema.compiled(select(_record.c.seq).where(_removable).limit(1))
_REMOVE = schema.compiled(delete(_record).where(_removable))

_takes_blobs = and_(_consumer.c.required == 1, _consumer.c.blobs == 1)
_received = (
    exists()
    .where(_receipt.c.consumer == _consumer.c.name, _receipt.c.sha256 == _named.c.sha256)
    .correlate(_consumer, _named)
)
_BLOBS = schema.compiled(
    select(_named.c.seq, _blob.c.sha256, _blob.c.bytes)
    .where(_named.c.seq > bindparam("after"), _named.c.seq <= bindparam("upto"))
    .where(_blob.c.sha256 == _named.c.sha256, _blob.c.state == 0)
    .where(~_named_later)
    .where(~exists().where(_takes_blobs, ~_received))
    .where(
        ~exists().where(
            _also.c.sha256 == _named.c.sha256,
            _record.c.seq == _also.c.seq,
            _in_use(_record.c.seq, _record.c.subject),
        )
    )
    .order_by(_named.c.seq)
    .limit(STEP_BLOBS)
)
_END_OF_NAMES = schema.compiled(
    select(_named.c.seq)
    .where(_named.c.seq > bindparam("after"), _named.c.seq <= bindparam("upto"))
    .order_by(_named.c.seq)
    .limit(1)
    .offset(STEP_NAMES - 1)
)
_GONE = schema.compiled(
    update(_blob).where(_blob.c.sha256 == bindparam("digest"), _blob.c.state == 0).values(state=1)
)


def removable_upto(connection: sqlite3.Connection, published: int) -> int:
    """Return the last record that every required consumer has, and before which nothing is open."""
    (acked,) = connection.execute(_ACKED).fetchone()
    (first_open,) = connection.execute(_OPEN).fetchone()
    return min(acked or 0, published, published if first_open is None else first_open - 1)


@dataclass(frozen=True)
class TrimRecords(Small):
    """Remove what may go of the records after ``after`` up to ``upto``; with a ``hash`` the anchor moves."""

    vital = True
    after: int
    upto: int
    hash: bytes | None
    stats: Stats

    def apply(self, tx: Transaction) -> None:
        """Remove them, and what else only they gave a meaning."""
        connection, span = tx.connection, {"after": self.after, "upto": self.upto}
        subjects = connection.execute(_SUBJECTS, span).fetchall()
        digests = connection.execute(_NAMED_BLOBS, span).fetchall()
        self.stats.trimmed_records += connection.execute(_REMOVE, span).rowcount
        for (subject,) in subjects:
            connection.execute(_FORGET_INSPECTION, {"subject": subject, "upto": self.upto})
        for (digest,) in digests:
            if connection.execute(_FORGET_BLOB, {"digest": digest}).rowcount:
                connection.execute(_FORGET_RECEIPTS, {"digest": digest})
        if self.hash is not None:
            connection.execute(_SET_ANCHOR, {"seq": self.upto, "hash": self.hash})
            # As at a start: who was left behind gets 410 and goes on at the oldest record.
            tx.acked = {name: max(seq, self.upto) for name, seq in tx.acked.items()}
        crashpoint("trim_rows")


@dataclass(frozen=True)
class TrimBlobs(Small):
    """Say that blobs are gone; their files are removed when that is durable."""

    vital = True
    blobs: tuple[tuple[bytes, int], ...]
    """SHA-256 and bytes."""
    stats: Stats

    def apply(self, tx: Transaction) -> None:
        """Change their state."""
        for digest, size in self.blobs:
            gone = tx.connection.execute(_GONE, {"digest": digest}).rowcount
            tx.blob_bytes -= size * gone
            self.stats.trimmed_blobs += gone


class Retention:
    """The chore that makes room."""

    def __init__(
        self, place: Place, files: BlobFiles, stats: Stats, salvaged: Callable[[Journal], bool]
    ) -> None:
        """``salvaged`` tells whether no record of an earlier epoch will come any more and name its blobs."""
        self._salvaged = salvaged
        self._place = place
        self._files = files
        self._stats = stats
        self._journal: Journal | None = None
        self._trims_records = self._trims_blobs = False
        self._groups = 0
        self._kept = self._kept_end = self._name = 0
        """How far the walks through kept records and through the blobs' names have come."""
        self._kept_again_s = self._name_again_s = 0.0
        self._gone: list[bytes] = []
        """Blobs whose files are to be removed."""

    def next(self, journal: Journal, *, idle: bool) -> Op | None:
        """Return the next step: 16 blobs, or 500 records, or a look at 500 names of blobs."""
        if journal is not self._journal:
            self._journal = journal
            self._kept = self._kept_end = self._name = 0
            self._trims_records = self._trims_blobs = False
        self._groups += 1
        op: Op | None = self._make_room_for_blobs(journal)
        if op is None and (idle or self._trims_records or self._groups % LOOK_EACH == 0):
            op = self._make_room_for_records(journal)
        self._gone += [digest for digest, _ in op.blobs] if isinstance(op, TrimBlobs) else []
        return op

    def tidy(self, connection: sqlite3.Connection) -> None:
        """Remove the files of blobs that are durably gone, and give free pages back, some at a time."""
        while self._gone:
            digest = self._gone.pop()
            row = find_blob(connection, digest)
            if row is None or row.present:
                continue  # its step failed, or was one of an earlier epoch
            crashpoint("trim_unlink")
            try:
                self._files.remove(digest)
            except OSError as error:
                log.error("blob %s is removed, its file stays until the next scan: %s", digest.hex(), error)
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        if free >= FREE_PAGES:
            # By ``execute`` it would free a single page.
            connection.executescript(f"PRAGMA incremental_vacuum({FREE_PAGES})")

    # --- records ----------------------------------------------------------------------------------

    def _make_room_for_records(self, journal: Journal) -> Op | None:
        used = used_pages(journal.connection) * PAGE_BYTES / self._place.quota_bytes
        begun, self._trims_records = (
            self._trims_records,
            used >= (TRIM_TO if self._trims_records else TRIM_FROM),
        )
        if not self._trims_records:
            return None
        _, _, anchor, journal.anchor_hash = journal.connection.execute(schema.GET_HEAD).fetchone()
        journal.anchor_seq = anchor
        limit = removable_upto(journal.connection, journal.seq)
        if not begun or (anchor >= limit and time.monotonic() >= self._kept_again_s):
            self._kept, self._kept_end = 0, min(anchor, limit)
            self._kept_again_s = time.monotonic() + AGAIN_S
        if self._kept < self._kept_end:
            return self._trim_kept(journal)
        upto = min(limit, anchor + STEP_RECORDS)
        if upto > anchor and (hash_ := _hash_of(journal, upto)) is not None:
            return self._blobs(journal, anchor, upto) or TrimRecords(anchor, upto, hash_, self._stats)
        return None

    def _trim_kept(self, journal: Journal) -> Op:
        """Look again at what was kept below the anchor: holds end, and refused records are taken at last."""
        row = journal.connection.execute(
            _END_OF_STEP, {"after": self._kept, "upto": self._kept_end}
        ).fetchone()
        upto = row[0] if row else self._kept_end
        blobs = self._blobs(journal, self._kept, upto)
        if blobs is not None:
            return blobs
        after, self._kept = self._kept, upto
        some = journal.connection.execute(_SOME, {"after": after, "upto": upto}).fetchone()
        return TrimRecords(after, upto, None, self._stats) if some else Breath()

    # --- blobs ------------------------------------------------------------------------------------

    def _make_room_for_blobs(self, journal: Journal) -> Op | None:
        quota = journal.blob_room(self._place.blob_quota_bytes)
        self._trims_blobs = journal.blob_used >= quota * (TRIM_TO if self._trims_blobs else TRIM_FROM)
        if not self._trims_blobs:
            return None
        limit = removable_upto(journal.connection, journal.seq)
        if self._name >= limit:
            if time.monotonic() < self._name_again_s:
                return None
            self._name, self._name_again_s = 0, time.monotonic() + AGAIN_S
        span = {"after": self._name, "upto": limit}
        row = journal.connection.execute(_END_OF_NAMES, span).fetchone()
        upto = row[0] if row else limit
        op = self._blobs(journal, self._name, upto, journal.blob_used - int(quota * TRIM_TO))
        if op is None:
            self._name = upto
            return Breath() if upto < limit else None
        return op

    def _blobs(
        self, journal: Journal, after: int, upto: int, needed: float = float("inf")
    ) -> TrimBlobs | None:
        """Return the step that removes the oldest blobs named there, until ``needed`` bytes are free."""
        if not self._salvaged(journal):
            return None
        found = journal.connection.execute(_BLOBS, {"after": after, "upto": upto})
        chosen = []
        for _, digest, size in found:
            if needed < 0:
                break
            if not self._files.is_unnamed(digest):
                chosen.append((digest, size))
                needed -= size
        return TrimBlobs(tuple(chosen), self._stats) if chosen else None


def _hash_of(journal: Journal, seq: int) -> bytes | None:
    """Return the hash of a record; of a damaged one its successor, or the head, knows it."""
    if seq == journal.seq:
        return journal.hash
    found, after = (
        journal.connection.execute(schema.GET_RECORD, {"seq": each}).fetchone() for each in (seq, seq + 1)
    )
    if found and (row := Row.of(found)).sound(journal.epoch):
        return row.hash
    return Row.of(after).prev if after else None
