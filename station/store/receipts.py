"""Receipts for blobs: a consumer has one whole, checked, on its own disk. Retention goes by them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, exists, func, select
from sqlalchemy.dialects.sqlite import insert as upsert

from station.store import nacks, schema
from station.store.blobs import find_blob
from station.store.errors import StoreRefused
from station.store.ops import Small, Transaction
from station.store.readers import View

_receipt, _blob, _consumer = schema.blob_receipt, schema.blob, schema.consumer
_named = exists().where(schema.record_blob.c.sha256 == _blob.c.sha256)
"""Nobody outside can know a blob that no record names yet."""
_ADD = schema.compiled(upsert(_receipt).on_conflict_do_nothing())
_TAKE_BACK = schema.compiled(
    delete(_receipt).where(_receipt.c.consumer == bindparam("who"), _receipt.c.sha256 == bindparam("digest"))
)
_received = exists().where(_receipt.c.consumer == bindparam("who"), _receipt.c.sha256 == _blob.c.sha256)
_MISSING = schema.compiled(
    select(func.count()).select_from(_blob).where(_blob.c.state == 0, _named, ~_received)
)
_TAKES_BLOBS = schema.compiled(select(_consumer.c.name).where(_consumer.c.blobs == 1))


class UnknownBlob(StoreRefused):
    """There is no blob of that name."""


class OtherLength(StoreRefused):
    """The consumer has not the bytes that are stored: ``size`` is their number."""

    def __init__(self, claimed: int, size: int) -> None:
        super().__init__(f"The blob has {size} bytes, not {claimed}.")
        self.size = size


@dataclass(frozen=True)
class KeepReceipt(Small):
    """Keep a consumer's receipt, or take it back when its bytes are not those of the name (``verified``)."""

    vital = True
    consumer: str
    digest: bytes
    size_bytes: int
    verified: bool

    def apply(self, tx: Transaction) -> None:
        """Raise ``UnknownConsumer``, ``UnknownBlob`` or ``OtherLength``, or write."""
        tx.expect(self.consumer)
        row = find_blob(tx.connection, self.digest)
        if row is None:
            raise UnknownBlob(f"There is no blob {self.digest.hex()}.")
        if not self.verified:
            tx.connection.execute(_TAKE_BACK, {"who": self.consumer, "digest": self.digest})
        elif self.size_bytes != row.size:
            raise OtherLength(self.size_bytes, row.size)
        else:
            values = {"consumer": self.consumer, "sha256": self.digest, "at_us": tx.now_us}
            tx.connection.execute(_ADD, values)


@dataclass(frozen=True, slots=True)
class Owed:
    """What stands open with a consumer."""

    refused: int
    """Open nacks, at most ``nacks.COUNTED`` + 1."""
    receipts_missing: int | None
    """Blobs without its receipt; ``None`` for one that takes no blobs."""


def read_owed(view: View, consumers: list[str], *, blobs: bool = True) -> dict[str, Owed]:
    """Return what stands open with each of the consumers, without ``blobs`` their refused records alone."""
    takes = {name for (name,) in view.connection.execute(_TAKES_BLOBS)} if blobs else set()
    return {
        name: Owed(
            nacks.count(view.connection, name), _missing(view.connection, name) if name in takes else None
        )
        for name in consumers
    }


def _missing(connection: sqlite3.Connection, consumer: str) -> int:
    (count,) = connection.execute(_MISSING, {"who": consumer}).fetchone()
    return int(count)
