"""Records that a consumer has refused: kept in quarantine beside the feed, where they block nothing.

A nack is open until a later acknowledgement covers the record's last offer and does not refuse it again.
Refusing an offer is one more try of the record that was refused first, never a nack of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, func, insert, select, update

from station.store import schema
from station.store.chain import REOFFERED, Row
from station.store.errors import StoreRefused

COUNTED = 10_000
"""More open nacks of one consumer are not counted: a count must not read a whole table."""

_nack = schema.nack
_one = (_nack.c.consumer == bindparam("who"), _nack.c.seq == bindparam("at"))
_ADD = schema.compiled(insert(_nack))
_GET = schema.compiled(select(_nack).where(*_one))
_AGAIN = schema.compiled(
    update(_nack)
    .where(*_one)
    .values(reason=bindparam("why"), tries=_nack.c.tries + 1, offered_seq=bindparam("offer"))
)
OFFERED = schema.compiled(update(_nack).where(*_one).values(offered_seq=bindparam("offer")))
_TAKEN = schema.compiled(
    delete(_nack).where(_nack.c.consumer == bindparam("who"), _nack.c.offered_seq <= bindparam("upto"))
)
_PAGE = schema.compiled(
    select(_nack)
    .where(_nack.c.consumer == bindparam("who"), _nack.c.seq > bindparam("after"))
    .order_by(_nack.c.seq)
    .limit(bindparam("count"))
)
_some = select(_nack.c.seq).where(_nack.c.consumer == bindparam("who")).limit(bindparam("most")).subquery()
_COUNT = schema.compiled(select(func.count()).select_from(_some))
_TYPE = schema.compiled(select(schema.record.c.type).where(schema.record.c.seq == bindparam("seq")))


@dataclass(frozen=True, slots=True)
class Nack:
    """What a consumer says of one record that it cannot take."""

    seq: int
    reason: str


class BadNack(StoreRefused):
    """A nack that cannot be meant; ``index`` is its place in the list."""

    def __init__(self, index: int, rule: str) -> None:
        super().__init__(f"nack {index}: {rule}")
        self.index = index
        self.rule = rule


class NotRefused(StoreRefused):
    """There is no open nack of this record."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An open nack: how often the record was refused, and where it was offered anew since the last time."""

    consumer: str
    seq: int
    reason: str
    tries: int
    offered_seq: int | None


def find(connection: sqlite3.Connection, consumer: str, seq: int) -> Refused | None:
    """Return the open nack of a record, or ``None``."""
    row = connection.execute(_GET, {"who": consumer, "at": seq}).fetchone()
    return Refused(*row) if row else None


def expect(connection: sqlite3.Connection, consumer: str, seq: int) -> Refused:
    """Return the open nack of a record; raises ``NotRefused``."""
    refused = find(connection, consumer, seq)
    if refused is None:
        raise NotRefused(f"{consumer} has no refused record {seq}.")
    return refused


def targets(
    connection: sqlite3.Connection, consumer: str, upto: int, nacks: Sequence[Nack], oldest: int
) -> list[tuple[Nack, int]]:
    """Return each nack with the record that it is about, which for an offer is the one offered.

    Raises ``BadNack``; writes nothing. ``upto`` is what the same call acknowledges.
    """
    found: list[tuple[Nack, int]] = []
    named: set[int] = set()
    for index, nack in enumerate(nacks):
        if nack.seq > upto:
            raise BadNack(index, f"is above the acknowledged {upto}")
        if nack.seq in named:
            raise BadNack(index, f"names record {nack.seq} a second time")
        named.add(nack.seq)
        first = _refused_first(connection, consumer, nack.seq)
        if nack.seq < oldest and find(connection, consumer, first) is None:
            raise BadNack(index, f"is removed: it had been acknowledged, and {oldest} is the oldest")
        found.append((nack, first))
    return found


def _refused_first(connection: sqlite3.Connection, consumer: str, seq: int) -> int:
    """Return the record that ``seq`` offers to this consumer anew; itself where it is no such offer."""
    if connection.execute(_TYPE, {"seq": seq}).fetchone() != (REOFFERED,):
        return seq
    row = Row.of(connection.execute(schema.GET_RECORD, {"seq": seq}).fetchone())
    try:
        data = row.event()["data"]
        refused = {"seq": data["refused_seq"]} if data["consumer"] == consumer else None
    except (ValueError, LookupError, TypeError):  # damaged: it stands for itself
        return seq
    kept = refused is not None and connection.execute(_TYPE, refused).fetchone() is not None
    return int(data["refused_seq"]) if kept else seq


def write(
    connection: sqlite3.Connection, consumer: str, upto: int, found: Sequence[tuple[Nack, int]]
) -> None:
    """Write nacks; what an acknowledgement up to ``upto`` repeats about a record changes nothing."""
    for nack, seq in found:
        known = find(connection, consumer, seq)
        if known is None:
            values = {"seq": seq, "reason": nack.reason, "tries": 1, "offered_seq": None}
            connection.execute(_ADD, {"consumer": consumer} | values)
        elif known.offered_seq is not None and known.offered_seq <= upto:
            # By its own number or by the offer's: the offer was in what is acknowledged, and did not help.
            values = {"why": nack.reason, "offer": None}
            connection.execute(_AGAIN, {"who": consumer, "at": seq} | values)


def take(connection: sqlite3.Connection, consumer: str, upto: int) -> None:
    """Close the nacks whose offers stand up to ``upto`` and were not refused again."""
    connection.execute(_TAKEN, {"who": consumer, "upto": upto})


def page(connection: sqlite3.Connection, consumer: str, after: int, count: int) -> list[Refused]:
    """Return open nacks in the order of their records."""
    values = {"who": consumer, "after": after, "count": count}
    return [Refused(*row) for row in connection.execute(_PAGE, values)]


def count(connection: sqlite3.Connection, consumer: str) -> int:
    """Return how many nacks of a consumer are open, at most ``COUNTED`` + 1."""
    (found,) = connection.execute(_COUNT, {"who": consumer, "most": COUNTED + 1}).fetchone()
    return int(found)
