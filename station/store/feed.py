"""The read side of the journal: dense pages of the feed, single records, what happened to a subject."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import bindparam, select

from station.store import schema
from station.store.chain import FLAGS, Row, rows, sound_rows
from station.store.errors import BeyondHead, WrongEpoch
from station.store.heads import newest_note
from station.store.readers import View
from station.store.search import Found, find_one

PAGE_BYTES = 4 * 1024 * 1024
_LAST = 2**63 - 1
_NOT_REAL = sum(FLAGS.values())
_PREV = schema.compiled(select(schema.record.c.prev).where(schema.record.c.seq == bindparam("seq")))


class Trimmed(Exception):
    """The cursor lies before the oldest record that is kept."""

    def __init__(self, oldest: int) -> None:
        why = "they were removed after they had been acknowledged, or are of an earlier epoch"
        super().__init__(f"Records before {oldest} are not here: {why}.")
        self.oldest = oldest


@dataclass(frozen=True, slots=True)
class Page:
    """Items of the feed as JSON, one for each sequence number after the cursor up to ``next``.

    A peek (``prio`` 0) leaves the others out: ``next`` is then how far it has looked.
    """

    head: int
    oldest: int
    next: int
    prev: bytes
    """Hash before the first item."""
    items: list[bytes]
    signed_head: str | None
    """The newest one of a record up to ``next``."""

    @property
    def more(self) -> bool:
        """Whether there is more to read at once."""
        return self.head > self.next


def anchor_of(connection: sqlite3.Connection) -> tuple[int, bytes]:
    """Return sequence number and hash before the oldest record that is kept."""
    _, _, seq, hash_ = connection.execute(schema.GET_HEAD).fetchone()
    return seq, hash_


def read_page(view: View, epoch: str, after: int, limit: int, *, simulated: bool) -> Page:
    """Return the page after the cursor; raises ``WrongEpoch``, ``BeyondHead`` or ``Trimmed``.

    Every record is checked before it is served. What is damaged, or simulated when nobody asked for that,
    becomes a stub, so that a consumer can always count.
    """
    anchor_seq, anchor_hash = _check_cursor(view, epoch, after)
    last = min(after + limit, view.tip.seq)
    found: list[Row] = []
    size = 0
    # One row beyond the page: it confirms the hash of the last one.
    for row in _rows_after(view, schema.RECORDS_AFTER, after, last + 1, limit + 1):
        found.append(row)
        size += len(row.body)
        if size > PAGE_BYTES and len(found) > 1:
            last = min(last, row.seq - 1)
            break
    seqs = range(after + 1, last + 1)
    sound = sound_rows(found, seqs, view.tip.epoch, view.tip.seq, view.tip.hash)
    by_seq = {row.seq: row for row in found}
    items = [_item(seq, sound.get(seq) or by_seq.get(seq), seq in sound, simulated=simulated) for seq in seqs]
    # What the next record says of the one before it holds also where that one is damaged.
    next_ = sound.get(after + 1)
    prev = next_.prev if next_ else anchor_hash if after == anchor_seq else _hash_at(view, after)
    return Page(view.tip.seq, anchor_seq + 1, last, prev, items, newest_note(view.connection, last))


def read_alarms(view: View, epoch: str, after: int, limit: int, *, simulated: bool) -> Page:
    """Return alarms (``prio`` 0) alone: a way to look ahead, not one to acknowledge."""
    anchor_seq, _ = _check_cursor(view, epoch, after)
    found: list[Row] = []
    last, size = view.tip.seq, 0
    for row in _rows_after(view, schema.ALARMS_AFTER, after, view.tip.seq, limit):
        size += len(row.body)
        if size > PAGE_BYTES and found:
            last = found[-1].seq
            break
        found.append(row)
    if len(found) == limit:
        last = found[-1].seq
    items = [_item(row.seq, row, _is_confirmed(view, row), simulated=simulated) for row in found]
    prev = found[0].prev if found else view.tip.hash
    return Page(view.tip.seq, anchor_seq + 1, last, prev, items, newest_note(view.connection, last))


def _is_confirmed(view: View, row: Row) -> bool:
    """Whether a row is sound and, as in a page, what the one after it follows."""
    if row.seq == view.tip.seq:
        follows = view.tip.hash
    else:
        (follows,) = view.connection.execute(_PREV, {"seq": row.seq + 1}).fetchone() or (b"",)
    if row.hash == follows:
        return row.sound(view.tip.epoch)
    _, sound = read_record(view, row.seq)  # the other one may be the damaged one
    return sound


def _check_cursor(view: View, epoch: str, after: int) -> tuple[int, bytes]:
    if epoch != view.tip.epoch.hex():
        raise WrongEpoch(view.tip.epoch.hex())
    if after > view.tip.seq:
        raise BeyondHead(after, view.tip.seq)
    anchor_seq, anchor_hash = anchor_of(view.connection)
    if after < anchor_seq:
        raise Trimmed(anchor_seq + 1)
    return anchor_seq, anchor_hash


def _rows_after(view: View, statement: str, after: int, upto: int, count: int) -> Iterator[Row]:
    span = {"after": after, "upto": min(upto, view.tip.seq), "count": count}
    return map(Row.of, view.connection.execute(statement, span))


def _hash_at(view: View, seq: int) -> bytes:
    if seq == view.tip.seq:
        return view.tip.hash
    row = view.connection.execute(schema.GET_RECORD, {"seq": seq}).fetchone()
    return Row.of(row).hash if row else b""


def _item(seq: int, row: Row | None, sound: bool, *, simulated: bool) -> bytes:
    digest = row.hash.hex().encode() if row else b""
    begin = b'{"seq":%d,"hash":"%b",' % (seq, digest)
    if row is None or not sound:
        return begin + b'"withheld":"damaged"}'
    if row.flags & _NOT_REAL and not simulated:
        return begin + b'"withheld":"simulated"}'
    return begin + b'"event":' + row.body + b"}"


def page_bytes(page: Page, epoch: str) -> bytes:
    """Return the page as JSON, made of the stored bytes."""
    begin = b'{"epoch":"%b","oldest":%d,"head":%d,"next":%d,"more":%b,"signed_head":%b,"prev":"%b",' % (
        epoch.encode(),
        page.oldest,
        page.head,
        page.next,
        b"true" if page.more else b"false",
        json.dumps(page.signed_head).encode(),
        page.prev.hex().encode(),
    )
    return begin + b'"items":[' + b",".join(page.items) + b"]}"


# --- single records -------------------------------------------------------------------------------


def read_record(view: View, seq: int) -> tuple[Row | None, bool]:
    """Return a published record and whether it is sound; ``None`` where there is none.

    Raises ``Trimmed`` for one that was removed.
    """
    found = list(_rows_after(view, schema.RECORDS_AFTER, seq - 1, seq + 1, 2))
    sound = sound_rows(found, range(seq, seq + 1), view.tip.epoch, view.tip.seq, view.tip.hash)
    if found and found[0].seq == seq:
        return sound.get(seq, found[0]), seq in sound
    anchor_seq, _ = anchor_of(view.connection)
    if seq <= anchor_seq:
        raise Trimmed(anchor_seq + 1)
    return None, False


def read_after(view: View, after: int, limit: int) -> list[Row]:
    """Return sound published records after ``after``, oldest first."""
    found = _rows_after(view, schema.RECORDS_AFTER, after, _LAST, limit)
    return [row for row in found if row.sound(view.tip.epoch)]


def read_subject(view: View, subject: str) -> list[Row]:
    """Return all sound published records of a subject, oldest first."""
    found = rows(view.connection.execute(schema.RECORDS_OF, {"subject": subject, "upto": view.tip.seq}))
    return [row for row in found if row.sound(view.tip.epoch)]


def read_inspection(view: View, subject: str) -> tuple[Found | None, list[Row]]:
    """Return an inspection and its records, oldest first; the records of any other subject are not read."""
    found = find_one(view.connection, subject, view.tip.seq)
    return found, read_subject(view, subject) if found else []


@dataclass(frozen=True, slots=True)
class OpenSubject:
    """A subject that nothing has sealed; ``tries`` counts replays that did not end well."""

    subject: str
    first_seq: int
    tries: int


def read_open_subjects(view: View) -> list[OpenSubject]:
    """Return the open subjects that are published, oldest first."""
    opened = [OpenSubject(*row) for row in view.connection.execute(schema.GET_OPEN_SUBJECTS)]
    return [each for each in opened if each.first_seq <= view.tip.seq]
