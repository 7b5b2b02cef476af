"""A refused record offered anew: a record of its own at the end of the feed, with the first one inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from station.domain.store_events import RecordReoffered
from station.store import nacks, schema
from station.store.canonical import canonical
from station.store.chain import FLAGS, REOFFERED, WRAPPERS, Row, frame
from station.store.draft import Draft, Encoded
from station.store.errors import StoreRefused
from station.store.ops import Transaction, next_row
from station.store.own import common, first_original
from station.store.place import Place

_ORIGINAL = '"original":'


class Damaged(StoreRefused):
    """The refused record is not what was written, so it is offered to nobody."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Where a refused record is offered; ``new`` is false when that offer was waiting already."""

    epoch: str
    seq: int
    offered_seq: int
    new: bool


@dataclass(frozen=True, slots=True)
class Reoffer:
    """Append a refused record anew, unless its last offer is still to be acknowledged."""

    size: ClassVar[int] = 300 * 1024
    records: ClassVar[int] = 1
    vital: ClassVar[bool] = False
    place: Place
    consumer: str
    seq: int

    def prepare(self) -> None:
        """Nothing to prepare: what is offered stands in the journal."""

    def apply(self, tx: Transaction) -> Offer:
        """Raise ``UnknownConsumer``, ``NotRefused`` or ``Damaged``, or append."""
        tx.expect(self.consumer)
        refused = nacks.expect(tx.connection, self.consumer, self.seq)
        if refused.offered_seq is not None:
            return Offer(tx.epoch.hex(), self.seq, refused.offered_seq, new=False)
        found = tx.connection.execute(schema.GET_RECORD, {"seq": self.seq}).fetchone()
        row = Row.of(found) if found else None
        if row is None or not row.sound(tx.epoch):
            raise Damaged(f"Record {self.seq} is not what was written.")
        added = next_row(self._encoded(row), tx.epoch, tx.seq, tx.hash)
        tx.connection.execute(schema.ADD_RECORD, added)
        tx.seq, tx.hash = added["seq"], added["hash"]
        tx.connection.execute(nacks.OFFERED, {"who": self.consumer, "at": self.seq, "offer": tx.seq})
        return Offer(tx.epoch.hex(), self.seq, tx.seq, new=True)

    def _encoded(self, row: Row) -> Encoded:
        """Write the event around the very bytes of the refused one: parsed and written they might differ."""
        flags = {name: bool(row.flags & bit) for name, bit in FLAGS.items()}
        own = {"consumer": self.consumer, "refused_seq": self.seq, "original": {}}
        told = RecordReoffered.model_validate({**common(self.place), **flags, **own})
        data = told.model_dump(mode="json")
        before, after = canonical(data).split(f"{_ORIGINAL}{{}}".encode())
        whole = before + _ORIGINAL.encode() + first_original(row, WRAPPERS) + after
        draft = Draft(
            REOFFERED, row.subject, row.prio, row.flags, told.stamp.utc_us, data, "record.reoffered:1"
        )
        envelope = frame(
            station=self.place.station,
            type=draft.type,
            subject=draft.subject,
            prio=draft.prio,
            time_us=draft.time_us,
            schema=draft.schema,
            data=whole,
        )
        return Encoded(draft, envelope, ())
