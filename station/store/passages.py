"""Sealed inspections as the journal has them, a bounded stretch at a time."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select

from station.store import schema
from station.store.chain import FLAGS, Row, rows
from station.store.errors import BeyondHead
from station.store.feed import Trimmed, anchor_of
from station.store.own import SEALED
from station.store.readers import View

STRETCH = 5_000
"""Records that one look goes over: no index has their types."""

_record = schema.record
_SEALED = schema.compiled(
    select(_record)
    .where(_record.c.seq > bindparam("after"), _record.c.seq <= bindparam("upto"))
    .where(_record.c.type == bindparam("kind"), _record.c.flags.op("&")(bindparam("hidden")) == 0)
    .order_by(_record.c.seq)
    .limit(bindparam("count"))
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Sound sealed records after a cursor; ``next`` is how far the journal was looked through."""

    rows: list[Row]
    next: int
    head: int


def read_sealed(view: View, after: int, count: int, *, simulated: bool) -> Stretch:
    """Return at most ``count`` sealed records; raises ``BeyondHead`` or ``Trimmed``."""
    if after > view.tip.seq:
        raise BeyondHead(after, view.tip.seq)
    anchor_seq, _ = anchor_of(view.connection)
    if after < anchor_seq:
        raise Trimmed(anchor_seq + 1)
    upto = min(after + STRETCH, view.tip.seq)
    hidden = 0 if simulated else sum(FLAGS.values())
    span = {"after": after, "upto": upto, "count": count, "kind": SEALED, "hidden": hidden}
    found = rows(view.connection.execute(_SEALED, span))
    last = found[-1].seq if len(found) == count else upto
    return Stretch([row for row in found if row.sound(view.tip.epoch)], last, view.tip.seq)
