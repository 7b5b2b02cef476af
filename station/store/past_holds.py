"""A legal hold also protects vehicles that have passed: their records are held as soon as it is in force.

The search index tells which they are. Each step holds some, newest first, and says so in a record of the
directive, in one transaction: from that record a restart knows how far it had come, and a new epoch what is
held. What the journal has removed cannot be held; the record says how far back it went.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, func, or_, select

from station.domain.directive_events import DirectiveArmed, DirectiveHeld
from station.domain.directives import Directive, HoldEnvelope, envelope_of
from station.store import schema, search
from station.store.blobs import BlobFiles
from station.store.chain import FLAGS, SALVAGED, Row
from station.store.directives import StoredDirective, get_directive
from station.store.draft import encode
from station.store.ops import Append, Op, Small, Transaction
from station.store.own import HELD, common, own_draft
from station.store.place import Journal, Place
from station.store.salvage import Breath

STEP = 256
"""Inspections that one record holds."""
IN_FORCE = ("armed", "spent")
"""States of a directive whose legal holds last."""
LOOKS = 64
"""Directives that one step looks at."""

_table, _record = schema.directive, schema.record
_legal = and_(
    schema.DIRECTIVE_OPEN,
    _table.c.kind == bindparam("kind"),
    _table.c.state.in_((bindparam("armed_state"), bindparam("spent_state"))),
    func.instr(_table.c.body, bindparam("legal")) > 0,
)
_VALUES = {"kind": "hold", "armed_state": "armed", "spent_state": "spent", "legal": '"hold_kind":"legal"'}
_ALL = schema.compiled(select(_table.c.id).where(_legal).order_by(_table.c.id))
_NEW = schema.compiled(
    select(_record.c.subject)
    .where(_record.c.seq > bindparam("after"), _record.c.type == bindparam("armed"))
    .where(_record.c.subject.in_(select(_table.c.id).where(_legal)))
    .distinct()
)
_TOLD = schema.compiled(
    select(_record)
    .where(_record.c.subject == bindparam("who"))
    .where(
        or_(
            _record.c.type == bindparam("held"),
            and_(
                _record.c.type == bindparam("salvaged"), func.instr(_record.c.body, bindparam("inside")) > 0
            ),
        )
    )
    .order_by(_record.c.seq.desc())
)


@dataclass(frozen=True)
class HoldPast(Small):
    """Hold the next inspections of a directive's plate, if it is in force still."""

    vital = True
    records = 1
    place: Place
    files: BlobFiles
    who: str

    def apply(self, tx: Transaction) -> None:
        """Append the record, which holds them."""
        found = get_directive(tx.connection, self.who)
        if found is None or found.state not in IN_FORCE:
            return
        is_over, before = _progress(tx.connection, tx.epoch, found)
        if not is_over:
            event = self._event(tx, found, before)
            encoded = [encode(own_draft(event, found.id), self.place.station)]
            Append(self.place.station, (), None, 0, self.files, encoded=encoded).apply(tx)

    def _event(self, tx: Transaction, found: StoredDirective, before: int | None) -> DirectiveHeld:
        plate = _plate(found)
        passed = search.find(tx.connection, tx.seq, plate=plate, before=before, count=STEP) if plate else []
        _, _, anchor, _ = tx.connection.execute(schema.GET_HEAD).fetchone()
        oldest, own = (
            tx.connection.execute(schema.GET_RECORD, {"seq": seq}).fetchone()
            for seq in (anchor + 1, found.seq)
        )
        return DirectiveHeld.model_validate(
            common(self.place)
            | {
                "directive_id": found.id,
                "directive_version": found.version,
                "inspections": tuple(each.id for each in passed),
                "next_before_seq": passed[-1].first_seq if len(passed) == STEP else None,
                "history_from_seq": anchor + 1,
                "history_from_us": Row.of(oldest).time_us if oldest else None,
                "simulated": bool(own and Row.of(own).flags & FLAGS["simulated"]),
            }
        )


def _plate(found: StoredDirective) -> str | None:
    """Return the plate by which the hold names a vehicle, ``None`` if it needs more than a plate."""
    try:
        envelope = envelope_of(found.envelope())
    except ValueError:
        return None  # the lane tells that it cannot be read
    if not isinstance(envelope, HoldEnvelope):
        return None
    directive = Directive.of(envelope, "", 0)
    return envelope.body.keys.plate if directive.names(directive.plates) else None


def _progress(
    connection: sqlite3.Connection, epoch: bytes, found: StoredDirective
) -> tuple[bool, int | None]:
    """Return whether all are held, and before which record the rest began.

    An earlier epoch's numbers are not ours: what it had not finished begins anew, and nothing is held twice.
    """
    values = {
        "who": found.id,
        "held": HELD,
        "salvaged": SALVAGED,
        "inside": f'"type":"{HELD}"',
    }
    for row in map(Row.of, connection.execute(_TOLD, values)):
        if row.sound(epoch):
            _, _, data = row.told()
            before = data["next_before_seq"]
            if data["directive_version"] == found.version and (before is None or row.type == HELD):
                return before is None, before
    return False, None


class PastHolds:
    """The chore: one step at a time, whether or not somebody waits."""

    def __init__(self, place: Place, files: BlobFiles, salvaged: Callable[[Journal], bool]) -> None:
        """``salvaged`` tells whether all inspections of earlier epochs are in this journal."""
        self._place, self._files, self._salvaged = place, files, salvaged
        self._epoch = b""
        self._seen = 0
        self._waiting: list[str] = []

    def next(self, journal: Journal, *, idle: bool) -> Op | None:
        """Return the next step: one record, or a look at some directives that may need none."""
        if not self._salvaged(journal):
            return None
        connection = journal.connection
        if journal.epoch != self._epoch:
            self._epoch, self._seen = journal.epoch, journal.seq
            self._waiting = [row[0] for row in connection.execute(_ALL, _VALUES)]
        elif journal.seq > self._seen:
            values = _VALUES | {"after": self._seen, "armed": DirectiveArmed.type_name()}
            self._seen = journal.seq
            self._waiting += [row[0] for row in connection.execute(_NEW, values)]
        for who in self._waiting[:LOOKS]:
            found = get_directive(connection, who)
            if found and found.state in IN_FORCE and not _progress(connection, journal.epoch, found)[0]:
                return HoldPast(self._place, self._files, who)
            self._waiting.pop(0)
        return Breath() if self._waiting else None

    def tidy(self, connection: sqlite3.Connection) -> None:
        """Nothing is left to tidy."""
