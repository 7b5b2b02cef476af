"""The bytes of a record and the hash chain over them.

A record's body is one CloudEvents 1.0 event in RFC 8785 canonical JSON, written once and served as it is::

    genesis = SHA-256(00 ‖ epoch16 ‖ last known hash of the previous epoch, else 32 zero bytes)
    hash_n  = SHA-256(01 ‖ hash_(n−1) ‖ epoch16 ‖ u64be(seq) ‖ u32be(length) ‖ body)

Flipping, reordering or removing any byte of a body breaks the chain at that record.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any

from station.store.canonical import canonical

HASH_BYTES = 32
FLAGS = {"simulated": 1, "test": 2, "exercise": 4}
"""The flags of a record; each stands in the event's data under its name and in ``flags`` as a bit."""

SALVAGED, REOFFERED = "carril.record.salvaged", "carril.record.reoffered"
WRAPPERS = (SALVAGED, REOFFERED)
"""Types that bring another record once more, under ``data.original``."""
MOST_WRAPPED = 8
"""An offer that is salvaged is one inside another: two levels; more than these nobody looks for."""

_SHA256 = re.compile("[0-9a-f]{64}")

_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


def genesis(epoch: bytes, previous_hash: bytes | None) -> bytes:
    """Return the hash before the first record of ``epoch`` (16 bytes)."""
    return sha256(b"\0" + epoch + (previous_hash or bytes(HASH_BYTES))).digest()


def link(previous: bytes, epoch: bytes, seq: int, body: bytes) -> bytes:
    """Return the hash of record ``seq``, which follows the record with hash ``previous``."""
    size = len(body).to_bytes(4, "big")
    return sha256(b"\1" + previous + epoch + seq.to_bytes(8, "big") + size + body).digest()


def rfc3339(time_us: int) -> str:
    """Return UTC microseconds as RFC 3339 with milliseconds (cut, not rounded)."""
    seconds, us = divmod(time_us, 1_000_000)
    return f"{_to_the_second(seconds)}.{us // 1000:03d}Z"


@lru_cache(maxsize=16)
def _to_the_second(seconds: int) -> str:
    return (_EPOCH_START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def flags_of(data: Mapping[str, Any]) -> int:
    """Return the flag bits that an event's data claims."""
    flags = 0
    for name, bit in FLAGS.items():
        if data.get(name) is True:
            flags |= bit
    return flags


def unwrapped(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield an event, the original that it brings once more, the original of that: what was first, last.

    Whatever is no event brings nothing.
    """
    for _ in range(MOST_WRAPPED):
        yield event
        data = event.get("data")
        inner = data.get("original") if event.get("type") in WRAPPERS and isinstance(data, dict) else None
        if not isinstance(inner, dict):
            return
        event = inner


def named_blobs(event: dict[str, Any]) -> list[str]:
    """Return the SHA-256 of each blob that an event names, once; of one that brings another, that one's."""
    *_, first = unwrapped(event)
    data = first.get("data")
    uses = data.get("blobs") if isinstance(data, dict) else None
    names = [use.get("sha256") for use in uses if isinstance(use, dict)] if isinstance(uses, list) else []
    return list(dict.fromkeys(name for name in names if isinstance(name, str) and _SHA256.fullmatch(name)))


@dataclass(frozen=True, slots=True)
class Frame:
    """An event without its sequence number: canonical bytes around the places where it goes."""

    before_id: bytes
    before_sequence: bytes
    after: bytes

    def body(self, epoch: bytes, seq: int) -> bytes:
        """Return the whole event."""
        sequence = b"%020d" % seq
        return b"".join(
            (self.before_id, event_id(epoch, seq).encode(), self.before_sequence, sequence, self.after)
        )

    def __len__(self) -> int:
        """Return the bytes known so far."""
        return len(self.before_id) + len(self.before_sequence) + len(self.after)


def event_id(epoch: bytes, seq: int) -> str:
    """Return the ``id`` of an event: the deduplication key for ever."""
    return f"{epoch.hex()}:{seq}"


def frame(
    *, station: str, type: str, subject: str, prio: int, time_us: int, schema: str, data: bytes
) -> Frame:
    """Return the canonical envelope around ``data`` (canonical JSON of an object).

    RFC 8785 sorts the members, so ``id`` and ``sequence`` stand at two fixed places.
    """
    who = _text(subject)
    return Frame(
        b'{"data":' + data + b',"datacontenttype":"application/json","dataschema":'
        + _text(f"urn:carril:schema:{schema}") + b',"id":"',
        b'","partitionkey":' + who + b',"prio":%d,"sequence":"' % prio,
        b'","source":' + _text(f"urn:carril:station:{station}") + b',"specversion":"1.0","subject":' + who
        + b',"time":"' + rfc3339(time_us).encode() + b'","type":' + _text(type) + b"}",
    )  # fmt: skip


@lru_cache(maxsize=256)
def _text(text: str) -> bytes:
    """Return a text of the envelope as canonical JSON; the same few stand in most records."""
    return canonical(text)


@dataclass(frozen=True, slots=True)
class Row:
    """One stored record, as the table has it."""

    seq: int
    type: str
    prio: int
    subject: str
    time_us: int
    flags: int
    body: bytes
    prev: bytes
    hash: bytes

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> Row:
        """Make a row from the columns in table order.

        A damaged page may hold anything: what is no text or no bytes becomes empty, and the row unsound.
        """
        seq, type_, prio, subject, time_us, flags, body, prev, hash_ = row
        type_, subject, body = (value if isinstance(value, str) else "" for value in (type_, subject, body))
        prev, hash_ = (value if isinstance(value, bytes) else b"" for value in (prev, hash_))
        raw = body.encode("utf-8", "surrogateescape")
        return cls(seq, type_, prio, subject, time_us, flags, raw, prev, hash_)

    def event(self) -> dict[str, Any]:
        """Return the event, parsed."""
        event: dict[str, Any] = json.loads(self.body)
        return event

    def told(self) -> tuple[int, str, dict[str, Any]]:
        """Return sequence number, type and data of the event that it tells of.

        A salvaged record tells of its original: numbers go on from epoch to epoch, so that sorting by them
        gives the order in which things happened.
        """
        event = self.event()
        seq = self.seq
        if self.type == SALVAGED:
            event = event["data"]["original"]
            seq = int(event["sequence"])
        return seq, event["type"], event["data"]

    def sound(self, epoch: bytes) -> bool:
        """Whether the row is exactly what was written: hash, and columns equal to the body's."""
        if link(self.prev, epoch, self.seq, self.body) != self.hash:
            return False
        try:
            event = self.event()
            if self.type in WRAPPERS and not isinstance(self.told()[2], dict):
                return False
            return (
                (event["type"], event["prio"], event["subject"]) == (self.type, self.prio, self.subject)
                and flags_of(event["data"]) == self.flags
                and event["id"] == event_id(epoch, self.seq)
            )
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return False  # rewritten with a hash that fits, but no event


def rows(cursor: sqlite3.Cursor) -> list[Row]:
    """Return all rows of a query over the table ``record``."""
    return [Row.of(row) for row in cursor]


def sound_rows(
    found: Sequence[Row], span: range, epoch: bytes, head_seq: int, head_hash: bytes
) -> dict[int, Row]:
    """Return those rows of ``span`` that are exactly what was written; the others are damaged or missing.

    A row that was replaced together with its own hash shows by its successor, so ``found`` should reach one
    row beyond ``span``, or to the head.
    """
    by_seq = {row.seq: row for row in found if row.sound(epoch)}

    def expected(seq: int) -> bytes | None:
        if seq == head_seq:
            return head_hash
        return by_seq[seq + 1].prev if seq + 1 in by_seq else None

    return {seq: by_seq[seq] for seq in span if seq in by_seq and expected(seq) in (None, by_seq[seq].hash)}
