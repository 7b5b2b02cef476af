"""The newest version of each directive, as its records say: what a restart takes up, and what a route shows.

It changes in the transaction of the record that changes it, and is never evidence: the records are.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from station.store import schema
from station.store.canonical import canonical
from station.store.readers import View

OPEN = ("received", "armed")

_new = upsert(schema.directive)
_PUT = schema.compiled(
    _new.on_conflict_do_update(
        index_elements=["id"],
        set_={column.name: _new.excluded[column.name] for column in schema.directive.columns},
    )
)
_this = schema.directive.c.id == bindparam("who")
_SET_STATE = schema.compiled(
    update(schema.directive)
    .where(_this, schema.directive.c.version == bindparam("of_version"))
    .values(state=bindparam("state"))
)
_HOLD = schema.compiled(upsert(schema.legal_hold).on_conflict_do_nothing())
_END_HOLDS = schema.compiled(
    delete(schema.legal_hold).where(schema.legal_hold.c.directive == bindparam("who"))
)
_GET = schema.compiled(select(schema.directive).where(_this))
_OPEN = schema.compiled(
    select(schema.directive).where(schema.directive.c.state.in_([bindparam("a"), bindparam("b")]))
)


@dataclass(frozen=True, slots=True)
class StoredDirective:
    """One directive; ``state`` is received, armed, or closed with how behind a colon."""

    id: str
    kind: str
    version: int
    state: str
    valid_from_us: int | None
    valid_to_us: int | None
    sha256: bytes
    body: str
    """The signed envelope as canonical JSON."""
    seq: int
    """Its record."""

    def envelope(self) -> dict[str, Any]:
        """Return the signed envelope, parsed."""
        envelope: dict[str, Any] = json.loads(self.body)
        return envelope


def note(connection: sqlite3.Connection, seq: int, type_: str, subject: str, data: Mapping[str, Any]) -> None:
    """Take one record into the table, inside the transaction that stores it."""
    change = type_.removeprefix("carril.directive.")
    if change == "received":
        row = {
            "id": data["directive_id"],
            "kind": data["kind"],
            "version": data["directive_version"],
            "state": "received",
            "valid_from_us": data["valid_from_us"],
            "valid_to_us": data["valid_to_us"],
            "sha256": bytes.fromhex(data["sha256"]),
            "body": canonical(data["envelope"]).decode(),
            "seq": seq,
        }
        connection.execute(_PUT, row)
    elif change in ("armed", "closed"):
        state = "armed" if change == "armed" else f"closed:{data['how']}"
        values = {"who": data["directive_id"], "of_version": data["directive_version"], "state": state}
        connection.execute(_SET_STATE, values)
        if state in ("closed:withdrawn", "closed:expired"):
            connection.execute(_END_HOLDS, {"who": data["directive_id"]})
    elif change == "hit" and data["hold_kind"] == "legal":
        connection.execute(_HOLD, {"subject": subject, "directive": data["directive_id"]})


def is_news(connection: sqlite3.Connection, type_: str, data: Mapping[str, Any]) -> bool:
    """Whether an old record, salvaged late, would change the table forward: what is over stays over."""
    row = connection.execute(_GET, {"who": data.get("directive_id", "")}).fetchone()
    if row is None:
        return True
    known = StoredDirective(*row)
    change = type_.rpartition(".")[2]
    if change == "received":
        return bool(data["directive_version"] > known.version)
    return change != "armed" or known.state == "received"


def find_directive(view: View, directive_id: str) -> StoredDirective | None:
    """Return the newest version of a directive, or ``None``."""
    row = view.connection.execute(_GET, {"who": directive_id}).fetchone()
    return StoredDirective(*row) if row and row[-1] <= view.tip.seq else None


def open_directives(view: View) -> list[StoredDirective]:
    """Return all that are received or armed."""
    rows = view.connection.execute(_OPEN, dict(zip("ab", OPEN, strict=True)))
    return [StoredDirective(*row) for row in rows]
