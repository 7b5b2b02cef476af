"""The newest version of each directive, as its records say: what a restart takes up, and what a route shows.

It changes in the transaction of the record that changes it, and is never evidence: the records are. What is
closed keeps its version, issuer and kind, so that neither an older one nor another's comes in its place: as
long as one could, and while records are held in its name.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, exists, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from station.store import schema
from station.store.canonical import canonical
from station.store.readers import View

KEPT_US = 30 * 86_400 * 1_000_000
"""So long after the last of its versions is over a directive is still known."""
FORGOTTEN_AT_ONCE = 8
"""Rows that are removed when one is added: more than one, so that they grow fewer."""

_table = schema.directive
_new = upsert(_table)
_PUT = schema.compiled(
    _new.on_conflict_do_update(
        index_elements=["id"],
        set_={column.name: _new.excluded[column.name] for column in _table.columns}
        | {"until_us": func.max(_new.excluded.until_us, _table.c.until_us)},
    )
)
_this = _table.c.id == bindparam("who")
_of_version = update(_table).where(_this, _table.c.version == bindparam("of_version"))
_SET = schema.compiled(_of_version.values(state=bindparam("state")))
_CLOSE = schema.compiled(_of_version.values(state=bindparam("state"), body=bindparam("nothing")))
_over = (
    select(_table.c.id)
    .where(func.length(_table.c.body) == 0, _table.c.until_us < bindparam("before_us"))
    .where(~exists().where(schema.legal_hold.c.directive == _table.c.id))
    .limit(FORGOTTEN_AT_ONCE)
)
FORGET = schema.compiled(delete(_table).where(_table.c.id.in_(_over)))
_HOLD = schema.compiled(upsert(schema.legal_hold).on_conflict_do_nothing())
_END_HOLDS = schema.compiled(
    delete(schema.legal_hold).where(schema.legal_hold.c.directive == bindparam("who"))
)
_GET = schema.compiled(select(_table).where(_this))
OPEN = schema.compiled(select(_table).where(schema.DIRECTIVE_OPEN))
LIST = schema.compiled(
    select(*(column for column in _table.columns if column.name != "body"))
    .where(schema.DIRECTIVE_OPEN, _table.c.id > bindparam("after"))
    .order_by(_table.c.id)
    .limit(bindparam("count"))
)


@dataclass(frozen=True, slots=True)
class StoredDirective:
    """One directive; ``state`` is received, armed, unreadable, or closed with how behind a colon."""

    id: str
    kind: str
    version: int
    state: str
    valid_from_us: int | None
    valid_to_us: int | None
    sha256: bytes
    body: str
    """The signed envelope as canonical JSON; empty for a closed one."""
    seq: int
    """Its record."""
    until_us: int | None
    """When the last of its versions is over."""
    issuer: str | None
    """Whose its id is; ``None``: an older station took it."""

    @property
    def is_open(self) -> bool:
        """Whether it is not closed."""
        return not self.state.startswith("closed")

    def envelope(self) -> dict[str, Any]:
        """Return the signed envelope of an open one, parsed.

        Raises ``ValueError`` when it is not what was received.
        """
        before, _, after = self.body.rpartition(',"sig":"')
        unsigned = before + after.partition('"')[2]
        if hashlib.sha256(unsigned.encode()).digest() != self.sha256:
            raise ValueError("its bytes are not those that were received")
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
            "until_us": data["valid_to_us"],
            "issuer": data["issuer"],
        }
        connection.execute(_PUT, row)
        stamp = data["stamp"]
        if stamp["clock"] == "sync":  # a wrong clock must not make it forget what is not over
            connection.execute(FORGET, {"before_us": stamp["utc_us"] - KEPT_US})
    elif change in ("armed", "unreadable", "closed"):
        state = f"closed:{data['how']}" if change == "closed" else change
        values = {"who": data["directive_id"], "of_version": data["directive_version"], "state": state}
        connection.execute(_CLOSE if change == "closed" else _SET, {**values, "nothing": ""})
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
    return change not in ("armed", "unreadable") or known.state == "received"


def find_directive(view: View, directive_id: str) -> StoredDirective | None:
    """Return the newest version of a directive, or ``None``."""
    row = view.connection.execute(_GET, {"who": directive_id}).fetchone()
    found = StoredDirective(*row) if row else None
    return found if found and found.seq <= view.tip.seq else None


def list_open(view: View, after: str, count: int) -> list[StoredDirective]:
    """Return directives that are open, by id, without their bodies."""
    rows = view.connection.execute(LIST, {"after": after, "count": count})
    return [StoredDirective(*(*row[:7], "", *row[7:])) for row in rows]


def open_directives(view: View) -> list[StoredDirective]:
    """Return all that are open."""
    found = (StoredDirective(*row) for row in view.connection.execute(OPEN))
    return [each for each in found if each.is_open]
