"""The newest version of each directive, as its records say: what a restart takes up, and what a route shows.

It changes in the transaction of the record that changes it, and is never evidence: the records are. What is
closed keeps its version, issuer and kind, so that neither an older one nor another's comes in its place: as
long as one could, and while records are held in its name.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
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
_until = _new.excluded.until_us
_PUT = schema.compiled(
    _new.on_conflict_do_update(
        index_elements=["id"],
        set_={column.name: _new.excluded[column.name] for column in _table.columns}
        | {"until_us": func.max(_until, func.coalesce(_table.c.until_us, _until))},
    )
)
_this = _table.c.id == bindparam("who")
_of_version = update(_table).where(_this, _table.c.version == bindparam("of_version"))
_SET = schema.compiled(_of_version.values(state=bindparam("state")))
_CLOSE = schema.compiled(
    _new.on_conflict_do_update(
        index_elements=["id"],
        set_={name: _new.excluded[name] for name in ("version", "state", "body")},
        where=_new.excluded.version >= _table.c.version,
    )
)
"""Of a version that nobody knows a row comes into being: an old record of it, found later, is over then."""
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
_UNKNOWN = dict.fromkeys(_table.columns.keys()) | {"kind": "", "sha256": b"", "body": "", "seq": 0}
_GET = schema.compiled(select(_table).where(_this))
OVER = schema.compiled(select(_table).where(func.length(_table.c.body) == 0))
HOLDS = schema.compiled(select(schema.legal_hold))
_ENDED = ("closed:withdrawn", "closed:expired")
"""States that end the legal holds of a directive."""
OPEN = schema.compiled(select(_table).where(schema.DIRECTIVE_OPEN))
LIST = schema.compiled(
    select(*(column for column in _table.columns if column.name != "body"))
    .where(schema.DIRECTIVE_OPEN, _table.c.id > bindparam("after"))
    .order_by(_table.c.id)
    .limit(bindparam("count"))
)


@dataclass(frozen=True, slots=True)
class StoredDirective:
    """One directive; ``state`` is received, armed, spent, unreadable, or closed with how behind a colon."""

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
    elif change in ("armed", "spent", "unreadable"):
        values = {"who": data["directive_id"], "of_version": data["directive_version"], "state": change}
        connection.execute(_SET, values)
    elif change == "closed":
        state = f"closed:{data['how']}"
        _close(connection, data["directive_id"], data["directive_version"], state)
        if state in _ENDED:
            connection.execute(_END_HOLDS, {"who": data["directive_id"]})
    elif change == "hit" and data["hold_kind"] == "legal":
        connection.execute(_HOLD, {"subject": subject, "directive": data["directive_id"]})
    elif change == "held":
        holds = [{"subject": each, "directive": data["directive_id"]} for each in data["inspections"]]
        connection.executemany(_HOLD, holds)


def _close(connection: sqlite3.Connection, who: str, version: int, state: str) -> None:
    connection.execute(_CLOSE, _UNKNOWN | {"id": who, "version": version, "state": state})


def note_old(
    connection: sqlite3.Connection, seq: int, type_: str, subject: str, data: Mapping[str, Any]
) -> None:
    """Take an old record, salvaged late, into the table where it changes that: what is over stays over."""
    change = type_.removeprefix("carril.directive.")
    if change not in ("received", "armed", "spent", "unreadable", "closed", "hit", "held"):
        return
    known = get_directive(connection, data["directive_id"])
    if known is None or _is_news(known, change, data["directive_version"]):
        note(connection, seq, type_, subject, data)
        if known and not known.is_open:  # of the same version: it has what its end alone did not tell
            _close(connection, known.id, known.version, known.state)


def _is_news(known: StoredDirective, change: str, version: int) -> bool:
    if change == "received":
        return version > known.version or (version == known.version and not known.is_open)
    if change in ("armed", "unreadable"):
        return known.state == "received"
    if change == "spent":
        return known.state in ("received", "armed")
    if change == "closed":
        return version >= known.version
    return version > known.version or known.state not in _ENDED


def is_closed(row: tuple[Any, ...]) -> bool:
    """Whether a row of a damaged table is one of a closed directive, and of the right kinds."""
    kinds = (str, str, int, str, int | None, int | None, bytes, str, int, int | None, str | None)
    fits = all(isinstance(value, kind) for value, kind in zip(row, kinds, strict=True))
    return fits and str(row[3]).startswith("closed")


def take_over(
    connection: sqlite3.Connection, closed: Iterable[tuple[Any, ...]], holds: Iterable[tuple[str, str]]
) -> None:
    """Begin with the closed directives and the legal holds of an earlier journal, as its tables had them."""
    for row in closed:
        connection.execute(_PUT, dict(zip(_table.columns.keys(), row, strict=True)))
    for subject, directive in holds:
        connection.execute(_HOLD, {"subject": subject, "directive": directive})


def get_directive(connection: sqlite3.Connection, directive_id: str) -> StoredDirective | None:
    """Return what the table has of it, also of a record that is not published."""
    row = connection.execute(_GET, {"who": directive_id}).fetchone()
    return StoredDirective(*row) if row else None


def find_directive(view: View, directive_id: str) -> StoredDirective | None:
    """Return the newest version of a directive, or ``None``."""
    found = get_directive(view.connection, directive_id)
    return found if found and found.seq <= view.tip.seq else None


def list_open(view: View, after: str, count: int) -> list[StoredDirective]:
    """Return directives that are open, by id, without their bodies."""
    rows = view.connection.execute(LIST, {"after": after, "count": count})
    return [StoredDirective(*(*row[:7], "", *row[7:])) for row in rows]


def open_directives(view: View) -> list[StoredDirective]:
    """Return all that are open."""
    found = (StoredDirective(*row) for row in view.connection.execute(OPEN))
    return [each for each in found if each.is_open]
