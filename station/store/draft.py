"""What callers hand to the journal and get back: drafts in, receipts out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import rfc8785

from station.store.canonical import canonical
from station.store.chain import Frame, flags_of, frame
from station.store.errors import RecordRejected

MAX_DATA_BYTES = 256 * 1024
MAX_TIME_US = 253_402_300_799_999_999  # 9999-12-31, the last day that RFC 3339 can write
_NAME = re.compile(r"[a-z][a-z0-9_.]*")
_SCHEMA = re.compile(r"[a-z][a-z0-9_.]*:[1-9][0-9]*")
_SUBJECT = re.compile(r".{1,200}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A stored blob of a record: what it is (``preview``, ``raw``, ``photo`` …) and its SHA-256 in hex."""

    role: str
    sha256: str
    media: str = "application/octet-stream"
    """For a blob that the journal has to enter anew."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A record before it has a place in the journal."""

    type: str
    """Wire type, e.g. ``carril.inspection.sealed``."""
    subject: str
    """Inspection id, device name, directive id or ``lane``."""
    prio: int
    """0 alarm, 1 inspection or decision, 2 directive or health, 3 background."""
    flags: int
    """1 simulated, 2 test, 4 exercise; the data says the same by name."""
    time_us: int
    """UTC, microseconds."""
    data: Mapping[str, Any]
    """JSON values; integers within ±(2^53−1); at most 256 KiB as canonical JSON."""
    schema: str
    """Name and version, e.g. ``inspection.sealed:1``."""
    blobs: tuple[BlobRef, ...] = ()
    opens: bool = False
    """The subject becomes an open subject: it is replayed after a restart until something seals it."""
    seals: bool = False
    """The subject is no longer open."""
    over: bool = False
    """Of a salvaged record: what it began had ended in its own epoch."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where drafts stand in the journal for ever: ``first`` … ``last`` of ``epoch`` (32 hex digits)."""

    epoch: str
    first: int
    last: int
    stored_us: int = field(compare=False)
    """UTC, microseconds, when they were written; the same place is the same receipt."""


@dataclass(frozen=True, slots=True)
class Idem:
    """Store the answer to a command together with its records, so that a repeat does nothing again.

    ``response`` makes the answer's text from the receipt; it runs in the writer and must be quick and pure.
    """

    client: str
    key: str
    request_sha256: bytes
    status: int
    response: Callable[[Receipt], str]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A checked draft with its canonical bytes: all that the writer needs."""

    draft: Draft
    frame: Frame
    blobs: tuple[tuple[str, bytes, str], ...]
    """Role, SHA-256, media."""


def encode(draft: Draft, station: str) -> Encoded:
    """Check a draft and write it as canonical JSON.

    Raises ``RecordRejected`` with the field and the reason.
    """
    _check(draft)
    try:
        data = canonical(dict(draft.data))
    except (rfc8785.CanonicalizationError, RecursionError):
        where, why = _culprit(draft.data)
        raise RecordRejected(f"{draft.type}: data{where}: {why}") from None
    if len(data) > MAX_DATA_BYTES:
        raise RecordRejected(
            f"{draft.type}: data has {len(data)} bytes, at most {MAX_DATA_BYTES} are allowed; "
            "put the large part into a blob"
        )
    try:
        envelope = frame(
            station=station,
            type=draft.type,
            subject=draft.subject,
            prio=draft.prio,
            time_us=draft.time_us,
            schema=draft.schema,
            data=data,
        )
    except rfc8785.CanonicalizationError as error:
        raise RecordRejected(f"{draft.type}: subject: {error}") from None
    blobs = tuple((ref.role, bytes.fromhex(ref.sha256), ref.media) for ref in draft.blobs)
    return Encoded(draft, envelope, blobs)


def _check(draft: Draft) -> None:
    """Raise ``RecordRejected`` for an envelope that cannot be written or would not match its data."""
    wrong: list[str] = []
    data: object = draft.data
    if not _text(draft.type, _NAME):
        wrong.append(f"type {draft.type!r} is not a dotted name")
    if not _text(draft.schema, _SCHEMA):
        wrong.append(f"schema {draft.schema!r} is not NAME:VERSION")
    if not _text(draft.subject, _SUBJECT):
        wrong.append(f"subject {draft.subject!r:.80} is not a text of 1–200 characters")
    if not _int_in(draft.prio, 0, 3):
        wrong.append(f"prio {draft.prio!r} is not 0–3")
    if not _int_in(draft.time_us, 0, MAX_TIME_US):
        wrong.append(f"time_us {draft.time_us!r} is not a UTC time in microseconds")
    if not isinstance(data, Mapping):
        wrong.append(f"data is a {type(data).__name__}, not an object")
    elif draft.flags != flags_of(data):
        wrong.append(f"flags {draft.flags!r} differ from the data's own simulated, test and exercise")
    wrong += [
        f"blob {ref.role!r}: {ref.sha256!r} is not a SHA-256 in hex"
        for ref in draft.blobs
        if not _text(ref.sha256, _SHA256)
    ]
    if wrong:
        raise RecordRejected(f"{draft.type}: " + "; ".join(wrong))


def _text(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and _matches(value, pattern)


@lru_cache(maxsize=512)
def _matches(value: str, pattern: re.Pattern[str]) -> bool:
    return pattern.fullmatch(value) is not None


def _int_in(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _culprit(value: Any, depth: int = 0) -> tuple[str, str]:
    """Return the path to the innermost value that canonical JSON refuses, and why."""
    if depth > 50:
        return "", "nested deeper than 50 levels"
    for step, child in _children(value):
        try:
            rfc8785.dumps(child)
        except (rfc8785.CanonicalizationError, RecursionError):
            where, why = _culprit(child, depth + 1)
            return step + where, why
    try:
        rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        return "", str(error)
    return "", "not a JSON value"


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((f".{key}", child) for key, child in value.items())
    elif isinstance(value, list | tuple):
        yield from ((f"[{index}]", child) for index, child in enumerate(value))
