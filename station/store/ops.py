"""What the writer can be asked to do: each operation is one all-or-nothing step of a group's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from station.store import directives, nacks, schema, search
from station.store.blobs import BlobFiles, find_blob
from station.store.canonical import canonical
from station.store.chain import SALVAGED, Row, link, rows
from station.store.crashpoint import crashpoint
from station.store.draft import Draft, Encoded, Idem, Receipt, encode
from station.store.errors import BeyondHead, Repeated, StoredResponse, UnknownConsumer, WrongEpoch
from station.store.nacks import Nack

DIRECTIVES = "carril.directive."
LOOK_BACK = 1000
"""More records than others add between two tries to append the same."""


@dataclass(slots=True)
class Transaction:
    """The group's transaction: where the chain stands while its operations run."""

    connection: sqlite3.Connection
    epoch: bytes
    published: int
    seq: int
    hash: bytes
    now_us: int
    acked: dict[str, int]
    """The consumers' cursors as this transaction will leave them."""
    committing: bool = False
    """COMMIT was tried: from then on a failure leaves open whether the group is stored."""
    blob_bytes: int = 0
    """Bytes of all blobs that are there."""

    named: list[tuple[BlobFiles, bytes]] = field(default_factory=list)
    """Blobs that a record of this transaction names: true once it is stored, and not before."""

    def standing(self) -> tuple[int, bytes, dict[str, int], int, int]:
        """Return what ``restore`` takes after a roll-back; the sequence number comes first."""
        return self.seq, self.hash, dict(self.acked), self.blob_bytes, len(self.named)

    def restore(self, standing: tuple[int, bytes, dict[str, int], int, int]) -> None:
        """Stand where it stood."""
        self.seq, self.hash, acked, self.blob_bytes, named = standing
        self.acked = dict(acked)
        del self.named[named:]

    def settle(self) -> None:
        """It is stored: from now on its records tell whether their blobs may be removed."""
        for files, digest in self.named:
            files.named(digest)

    def expect(self, consumer: str) -> None:
        """Raise ``UnknownConsumer`` unless there is one of that name."""
        if consumer not in self.acked:
            raise UnknownConsumer(f"There is no consumer {consumer!r}.")

    def add_blob(self, row: dict[str, Any]) -> None:
        """Enter a blob; one that is entered already changes nothing, unless its file had been removed."""
        added = self.connection.execute(schema.ADD_BLOB, row).rowcount
        self.blob_bytes += row["bytes"] * added if row["state"] == 0 else 0


class Op(Protocol):
    """One operation.

    ``apply`` raises ``StoreRefused`` only before it wrote anything; after any other exception the writer
    rolls back.
    """

    @property
    def size(self) -> int:
        """Bytes that it holds while it waits in the queue."""
        ...

    @property
    def records(self) -> int:
        """Records that it adds."""
        ...

    @property
    def vital(self) -> bool:
        """Whether it is tried again with the room of the ballast when the disk is full."""
        ...

    def prepare(self) -> None:
        """Do what needs no transaction; may raise ``RecordRejected``."""
        ...

    def apply(self, tx: Transaction) -> Any:
        """Write, and return the result."""
        ...


class Small:
    """What small operations have in common."""

    records: ClassVar[int] = 0
    vital: ClassVar[bool] = False

    @property
    def size(self) -> int:
        """Bytes of a few numbers."""
        return 200

    def prepare(self) -> None:
        """Nothing to prepare."""


@dataclass(slots=True)
class Append:
    """Append drafts in their order; ``size`` is about the bytes of their data.

    ``again``: they may stand in the journal already, all or none; then nothing is written.
    """

    station: str
    drafts: Sequence[Draft]
    idem: Idem | None
    size: int
    blobs: BlobFiles
    again: bool = False
    encoded: list[Encoded] = field(default_factory=list)

    @property
    def records(self) -> int:
        """Number of drafts."""
        return len(self.drafts)

    @property
    def vital(self) -> bool:
        """Whether an alarm is among the drafts, or what became of a directive."""
        return any(draft.prio == 0 or draft.type.startswith(DIRECTIVES) for draft in self.drafts)

    def prepare(self) -> None:
        """Encode the drafts, unless the caller has done so."""
        if not self.encoded:
            self.encoded = [encode(draft, self.station) for draft in self.drafts]

    def apply(self, tx: Transaction) -> Receipt:
        """Give each draft its sequence number and hash, and write it."""
        if self.again and (known := self._found(tx)):
            return known
        if self.idem:
            _refuse_repeat(tx.connection, self.idem)
        first = tx.seq + 1
        added = []
        for encoded in self.encoded:
            row = next_row(encoded, tx.epoch, tx.seq, tx.hash)
            tx.seq, tx.hash = row["seq"], row["hash"]
            added.append(row)
        tx.connection.executemany(schema.ADD_RECORD, added)
        crashpoint("after_rows")
        for seq, encoded in enumerate(self.encoded, first):
            _keep_blobs(tx, seq, encoded, self.blobs)
            _write_relations(tx.connection, seq, encoded)
        receipt = Receipt(tx.epoch.hex(), first, tx.seq, tx.now_us)
        if self.idem:
            _write_answer(tx.connection, self.idem, receipt)
        return receipt

    def _found(self, tx: Transaction) -> Receipt | None:
        """Return where the drafts stand; a time stamp in their data makes their bytes unique."""
        first, count = self.encoded[0], LOOK_BACK + self.records
        span = {"after": tx.seq - count, "upto": tx.seq, "count": count}
        for row in rows(tx.connection.execute(schema.RECORDS_AFTER, span)):
            if row.subject == first.draft.subject and _is_told(row, first, tx.epoch):
                return Receipt(tx.epoch.hex(), row.seq, row.seq + self.records - 1, tx.now_us)
        return None


def _is_told(row: Row, encoded: Encoded, epoch: bytes) -> bool:
    """Whether this is the record of a draft, in this epoch or taken over from the one before."""
    if row.type != SALVAGED:
        return row.body == encoded.frame.body(epoch, row.seq)
    _, kind, data = row.told()
    return kind == encoded.draft.type and canonical(data) == canonical(encoded.draft.data)


def next_row(encoded: Encoded, epoch: bytes, seq: int, previous: bytes) -> dict[str, Any]:
    """Return the table row of the record after ``seq``, whose hash is ``previous``."""
    draft, seq = encoded.draft, seq + 1
    body = encoded.frame.body(epoch, seq)
    return {
        "seq": seq,
        "type": draft.type,
        "prio": draft.prio,
        "subject": draft.subject,
        "time_us": draft.time_us,
        "flags": draft.flags,
        "body": body.decode("utf-8"),
        "prev": previous,
        "hash": link(previous, epoch, seq, body),
    }


def _keep_blobs(tx: Transaction, seq: int, encoded: Encoded, files: BlobFiles) -> None:
    for role, sha256, media in encoded.blobs:
        if find_blob(tx.connection, sha256) is None and (row := files.adopt(sha256, media)):
            tx.add_blob(row.values())
        tx.connection.execute(schema.ADD_RECORD_BLOB, {"seq": seq, "role": role, "sha256": sha256})
        tx.named.append((files, sha256))


def _write_relations(connection: sqlite3.Connection, seq: int, encoded: Encoded) -> None:
    draft = encoded.draft
    if draft.opens:
        connection.execute(schema.OPEN_SUBJECT, {"subject": draft.subject, "first_seq": seq, "tries": 0})
    if draft.seals:
        connection.execute(schema.SEAL_SUBJECT, {"subject": draft.subject})
    type_, data = draft.type, draft.data
    if type_ == SALVAGED:
        type_, data = data["original"]["type"], data["original"]["data"]
    search.note(connection, seq, type_, draft.subject, data, draft.flags)
    if draft.type != SALVAGED:
        directives.note(connection, seq, type_, draft.subject, data)
    elif not draft.over:
        directives.note_old(connection, seq, type_, draft.subject, data)


def find_answer(
    connection: sqlite3.Connection, client: str, key: str, upto: int = 2**63 - 1
) -> StoredResponse | None:
    """Return what was answered to an idempotency key; ``None`` also where its record lies beyond ``upto``."""
    row = connection.execute(schema.GET_IDEM, {"client": client, "key": key}).fetchone()
    return StoredResponse(*row[3:]) if row and row[2] <= upto else None


def _refuse_repeat(connection: sqlite3.Connection, idem: Idem) -> None:
    stored = find_answer(connection, idem.client, idem.key)
    if stored:
        raise Repeated(stored)


def _write_answer(connection: sqlite3.Connection, idem: Idem, receipt: Receipt) -> None:
    answer = {
        "client": idem.client,
        "key": idem.key,
        "ord": receipt.last,
        "request_sha256": idem.request_sha256,
        "status": idem.status,
        "response": idem.response(receipt),
    }
    connection.execute(schema.ADD_IDEM, answer)
    connection.execute(schema.TRIM_IDEM)


@dataclass(frozen=True, slots=True)
class Acked:
    """A consumer's cursor after an acknowledgement."""

    epoch: str
    acked: int
    moved: bool


@dataclass(frozen=True)
class Ack(Small):
    """Move a consumer's cursor forward, never back, and keep what it refuses for another try."""

    vital = True
    consumer: str
    epoch: str
    seq: int
    refused: Sequence[Nack] = ()

    @property
    def size(self) -> int:
        """A few numbers, and what is said of each refused record."""
        return 200 + sum(100 + len(nack.reason) for nack in self.refused)

    def apply(self, tx: Transaction) -> Acked:
        """Raise ``UnknownConsumer``, ``WrongEpoch``, ``BeyondHead`` or ``BadNack``, or move the cursor."""
        tx.expect(self.consumer)
        if self.epoch != tx.epoch.hex():
            raise WrongEpoch(tx.epoch.hex())
        if self.seq > tx.published:
            raise BeyondHead(self.seq, tx.published)
        before = tx.acked[self.consumer]
        if self.refused:
            oldest = tx.connection.execute(schema.GET_HEAD).fetchone()[2] + 1
            found = nacks.targets(tx.connection, self.consumer, self.seq, self.refused, oldest)
            nacks.write(tx.connection, self.consumer, self.seq, found)
        if self.seq <= before:
            return Acked(self.epoch, before, moved=False)
        values = {"who": self.consumer, "seq": self.seq, "now_us": tx.now_us}
        tx.connection.execute(schema.SET_ACKED, values)
        nacks.take(tx.connection, self.consumer, self.seq)
        tx.acked[self.consumer] = self.seq
        return Acked(self.epoch, self.seq, moved=True)


@dataclass(frozen=True)
class AddBlob(Small):
    """Enter a blob whose bytes are durable already; entering it twice changes nothing."""

    row: dict[str, Any]

    def apply(self, tx: Transaction) -> None:
        """Write the row."""
        tx.add_blob(self.row)


@dataclass(frozen=True)
class Distrust(Small):
    """Fail as the look-up did that found this epoch's database damaged: what follows is the writer's."""

    epoch: bytes
    error: Exception

    def apply(self, tx: Transaction) -> None:
        """Raise the look-up's error, unless another epoch has begun meanwhile."""
        if tx.epoch == self.epoch:
            raise self.error


@dataclass(frozen=True)
class Replay(Small):
    """Count a replay of the open subjects before it begins, or forget the count after it went well."""

    vital = True  # a few bytes, without which no station starts on the room that its ballast gave up
    begins: bool

    def apply(self, tx: Transaction) -> None:
        """Write the count."""
        tx.connection.execute(schema.COUNT_TRIES if self.begins else schema.RESET_TRIES)
