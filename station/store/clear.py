"""What two persons may give up: a required consumer that will never come back, a record that one refuses.

Both only ever let retention go on, and both are records. Nobody signs in yet: the record says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import bindparam, delete

from station.domain.events import LaneEvent
from station.domain.store_events import ConsumerDropped, NackCleared
from station.store import nacks, schema
from station.store.draft import Receipt, encode
from station.store.errors import StoreRefused
from station.store.ops import Small, Transaction, next_row
from station.store.own import common, own_draft
from station.store.place import Place

_DROP = tuple(
    schema.compiled(delete(table).where(column == bindparam("who")))
    for table, column in (
        (schema.nack, schema.nack.c.consumer),
        (schema.blob_receipt, schema.blob_receipt.c.consumer),
        (schema.consumer, schema.consumer.c.name),
    )
)
_CLEAR = schema.compiled(
    delete(schema.nack).where(
        schema.nack.c.consumer == bindparam("who"), schema.nack.c.seq == bindparam("at")
    )
)


class StillNamed(StoreRefused):
    """The lane file names the consumer: at the next start it would be there again."""


@dataclass(frozen=True, slots=True)
class Persons:
    """Who asks for it, who agrees, and why."""

    first: str
    second: str
    reason: str

    def told(self) -> Mapping[str, Any]:
        """Return them as the record has them."""
        return {"persons": (self.first, self.second), "reason": self.reason, "authenticated": False}


@dataclass(frozen=True)
class Drop(Small):
    """Forget a consumer that the lane file no longer names, with its cursor, refusals and receipts."""

    records: ClassVar[int] = 1
    place: Place
    consumer: str
    persons: Persons

    def apply(self, tx: Transaction) -> Receipt:
        """Raise ``UnknownConsumer`` or ``StillNamed``, or write."""
        tx.expect(self.consumer)
        if any(each.name == self.consumer for each in self.place.consumers):
            raise StillNamed(
                f"The lane file names consumer {self.consumer!r}: take it out, start the station again, and "
                "drop it then. Nothing was changed."
            )
        acked = tx.acked.pop(self.consumer)
        for statement in _DROP:
            tx.connection.execute(statement, {"who": self.consumer})
        own = {"consumer": self.consumer, "acked": acked, **self.persons.told()}
        return _record(tx, self.place, ConsumerDropped.model_validate({**common(self.place), **own}))


@dataclass(frozen=True)
class Clear(Small):
    """Give a refused record up: its consumer never took it, and it need not be kept for that any longer."""

    records: ClassVar[int] = 1
    place: Place
    consumer: str
    seq: int
    persons: Persons

    def apply(self, tx: Transaction) -> Receipt:
        """Raise ``UnknownConsumer`` or ``NotRefused``, or write."""
        tx.expect(self.consumer)
        refused = nacks.expect(tx.connection, self.consumer, self.seq)
        tx.connection.execute(_CLEAR, {"who": self.consumer, "at": self.seq})
        own = {"consumer": self.consumer, "refused_seq": self.seq, "why": refused.reason}
        own |= {"tries": refused.tries, **self.persons.told()}
        return _record(tx, self.place, NackCleared.model_validate({**common(self.place), **own}))


def _record(tx: Transaction, place: Place, event: LaneEvent) -> Receipt:
    row = next_row(encode(own_draft(event), place.station), tx.epoch, tx.seq, tx.hash)
    tx.connection.execute(schema.ADD_RECORD, row)
    tx.seq, tx.hash = row["seq"], row["hash"]
    return Receipt(tx.epoch.hex(), tx.seq, tx.seq, tx.now_us)
