"""The search index: each inspection's state, plate and containers as its records say last.

A plate is found as holds are matched (O and Q count as 0, I as 1), a vehicle also by the containers that its
manifest names. The index stands in the journal's database and changes in the same transaction, but it is
never evidence: at any time it can be made again from the journal.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from station.domain.identity import folded
from station.store import schema
from station.store.chain import rows
from station.store.own import OPENED, SEALED

_STATES = {
    OPENED: "open",
    "carril.occupancy.started": "measuring",
    "carril.scan.started": "measuring",
    "carril.decision.requested": "awaiting_decision",
    "carril.secondary.referred": "referred_secondary",
    SEALED: "sealed",
}
_VERDICTS = {"release": "decided", "secondary": "referred_secondary"}
"""The state that a record, or a recorded decision, leads to; others change nothing (a hold does not)."""

_MATCHED = "carril.manifest.matched"
_OF_THE_VEHICLE = frozenset({"matched", "partial"})
"""Answers of matching that name one manifest which nothing contradicts."""
PAGE = 100


@dataclass(frozen=True, slots=True)
class Found:
    """An inspection as the index knows it; ``plate`` and ``container`` are empty when unknown.

    ``declared`` are the numbers of equipment that its manifest names, with a space between two.
    """

    id: str
    first_seq: int
    last_seq: int
    state: str
    plate: str
    container: str
    flags: int
    declared: str = ""

    def keys(self) -> set[tuple[str, str]]:
        """Return what it is found by: kind and text, as it is compared."""
        texts = [
            ("plate", self.plate),
            *(("container", no) for no in (self.container, *self.declared.split())),
        ]
        return {(kind, folded(text)) for kind, text in texts if folded(text)}


def normal(text: str) -> str:
    """Return a plate or container number as it is compared: upper-case letters and digits only."""
    return re.sub(r"[\W_]", "", text).upper()


def note(
    connection: sqlite3.Connection, seq: int, type_: str, subject: str, data: Mapping[str, Any], flags: int
) -> None:
    """Take one record into the index, inside the transaction that stores it."""
    if data.get("inspection_id") == subject:
        known = _find(connection, subject)
        found = _after(known, seq, type_, subject, data, flags)
        connection.execute(schema.PUT_INSPECTION, asdict(found))
        if (keys := found.keys()) != (known.keys() if known else set()):
            connection.execute(schema.REMOVE_KEYS, {"id": subject})
            named = [{"id": subject, "kind": kind, "key": key} for kind, key in sorted(keys)]
            connection.executemany(schema.ADD_KEY, [each | {"first_seq": found.first_seq} for each in named])


def _after(
    known: Found | None, seq: int, type_: str, subject: str, data: Mapping[str, Any], flags: int
) -> Found:
    """Return what is known of an inspection after one more of its records."""
    sealed = known is not None and known.state == "sealed"  # what comes later never reopens it
    state = known.state if known else "open"
    if not sealed:
        is_order = type_ == "carril.decision.recorded"
        state = (_VERDICTS.get(data.get("verdict", "")) if is_order else _STATES.get(type_)) or state
    identity = data.get("identity")
    plate, container = (
        _text(identity, what) or (getattr(known, what) if known else "") for what in ("plate", "container")
    )
    declared = _declared(data) if type_ == _MATCHED else known.declared if known else ""
    first_seq = known.first_seq if known else seq
    return Found(subject, first_seq, seq, state, plate, container, flags, declared)


def _text(identity: object, what: str) -> str:
    part = identity.get(what) if isinstance(identity, Mapping) else None
    text = part.get("text") if isinstance(part, Mapping) else None
    return normal(text) if isinstance(text, str) else ""


def _declared(data: Mapping[str, Any]) -> str:
    """Return the numbers that the manifest names; none where it is not surely that of this vehicle."""
    named = data.get("equipment") if data.get("status") in _OF_THE_VEHICLE else None
    texts = [normal(no) for no in named if isinstance(no, str)] if isinstance(named, list) else []
    return " ".join(dict.fromkeys(filter(None, texts)))


def rebuild(connection: sqlite3.Connection, epoch: bytes) -> None:
    """Make the whole index again from the journal's sound records, in the caller's transaction."""
    for table in (schema.search_key, schema.inspection):  # an older index has other columns
        connection.execute(f"DROP TABLE IF EXISTS {table.name}")
    for statement in schema.create_statements(schema.inspection.name, schema.search_key.name):
        connection.execute(statement)
    after = -1
    while True:
        span = {"after": after, "upto": 2**63 - 1, "count": 500}
        page = rows(connection.execute(schema.RECORDS_AFTER, span))
        if not page or page[-1].seq <= after:
            break  # a damaged table may give back what was read before
        for row in page:
            if row.sound(epoch):
                _, type_, data = row.told()
                note(connection, row.seq, type_, row.subject, data, row.flags)
        after = page[-1].seq
    connection.execute(schema.SET_SEARCH, {"search": schema.SEARCH})


def _find(connection: sqlite3.Connection, subject: str) -> Found | None:
    row = connection.execute(schema.GET_INSPECTION, {"id": subject}).fetchone()
    return Found(*row) if row else None


def is_sealed(connection: sqlite3.Connection, subject: str) -> bool:
    """Whether some record of an inspection has sealed it, also one of an earlier epoch."""
    found = _find(connection, subject)
    return found is not None and found.state == "sealed"


def find_one(connection: sqlite3.Connection, subject: str, published: int) -> Found | None:
    """Return one inspection, or ``None`` when no published record speaks of it."""
    found = _find(connection, subject)
    return _as_published(connection, found, published) if found else None


def _as_published(connection: sqlite3.Connection, found: Found, published: int) -> Found | None:
    """Return what the published records say: for a moment the index is ahead of them."""
    if found.last_seq <= published:
        return found
    (epoch,) = connection.execute("SELECT epoch FROM store").fetchone()
    known: Found | None = None
    for row in rows(connection.execute(schema.RECORDS_OF, {"subject": found.id, "upto": published})):
        if not row.sound(epoch):
            continue
        _, type_, data = row.told()
        if data.get("inspection_id") == row.subject:
            known = _after(known, row.seq, type_, row.subject, data, row.flags)
    return known


def find(
    connection: sqlite3.Connection,
    published: int,
    *,
    plate: str | None = None,
    container: str | None = None,
    before: int | None = None,
    count: int = PAGE,
) -> list[Found]:
    """Return inspections, newest first; ``before`` is the ``first_seq`` of the last one already seen."""
    values = {
        "plate": folded(plate or ""),
        "container": folded(container or ""),
        "before": min(before if before is not None else published + 1, published + 1),
        "count": count,
    }
    statement = schema.FIND_INSPECTIONS[(plate is not None, container is not None)]
    found = [Found(*row) for row in connection.execute(statement, values)]
    return [each for row in found if (each := _as_published(connection, row, published))]
