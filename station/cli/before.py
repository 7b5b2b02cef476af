"""What the journal tells a lane that starts: vehicles, alarms, directives, raw lines that were cut off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from station.domain.directives import Directive, Envelope, Unreadable, envelope_of
from station.lane.core import LaneFacts
from station.lane.directives import NEVER_US
from station.lane.rawfile import LeftOver, take_up
from station.lane.restart import Before, Record, alarms_before, found_open, portals_before
from station.lane.vault import StoreVault
from station.store.chain import Row
from station.store.directives import StoredDirective, open_directives
from station.store.journal import Store

REMEMBERED = 2000
"""Records in which a restart looks for alarms and the portals' last words, repeated every 500."""
MAX_TOLD = 3
"""Errors of a directive that its record names."""
MAX_TRIES = 3
"""An inspection that ended so many starts is not read again but sealed as aborted."""

log = logging.getLogger("carril.lane")


async def journal_before(store: Store, facts: LaneFacts, scans: Path, vault: StoreVault) -> Before:
    """Return what the journal tells of the time before this start."""
    found, rows = [], {row.seq: row for row in await store.last_records(REMEMBERED)}
    for subject in await store.begin_replay():
        own = await store.records_of(subject.subject)
        rows |= {row.seq: row for row in own}
        found.append(found_open(facts, _records(own), poison=subject.tries > MAX_TRIES))
    told = _records(rows[seq] for seq in sorted(rows))
    return Before(
        open=tuple(passage for passage in found if passage is not None),
        alarms=alarms_before(told),
        portals=portals_before(told),
        directives=tuple(map(directive_of, await store.read(open_directives))),
        told=tuple(told),
        cut=tuple(await _cut_off(store, scans, vault)),
        config_sha256=next((r[2]["config_sha256"] for r in reversed(told) if "config_sha256" in r[2]), ""),
    )


async def _cut_off(store: Store, scans: Path, vault: StoreVault) -> list[LeftOver]:
    """Return the raw lines of scans that the last stop cut off; those that a record names already go."""
    new = []
    for scan in await asyncio.to_thread(take_up, scans, vault.keep):
        rows = await store.records_of(scan.inspection_id) if scan.inspection_id else []
        if scan.inspection_id is None or any(scan.raw.sha256 in row.body.decode() for row in rows):
            await asyncio.to_thread(vault.drop_lines, scan.scan_id)
        else:
            new.append(scan)
    return new


def directive_of(stored: StoredDirective) -> Directive:
    """Return an open directive as the lane works with it; one that cannot be read ends no start."""
    envelope: Envelope | Unreadable
    try:
        envelope = envelope_of(stored.envelope())
    except ValueError as error:
        envelope = Unreadable(
            id=stored.id,
            version=stored.version,
            kind=stored.kind,
            issuer=stored.issuer or "",
            from_us=stored.valid_from_us or 0,
            to_us=stored.valid_to_us or NEVER_US,
            why=_why(error),
            told=stored.state == "unreadable",
        )
        log.error("directive %s, version %d, cannot be read: %s", stored.id, stored.version, envelope.why)
    armed = stored.state == "armed" and not isinstance(envelope, Unreadable)
    spent = stored.state == "spent" and not isinstance(envelope, Unreadable)
    size = len(stored.body.encode())
    return Directive.of(envelope, stored.sha256.hex(), size, armed=armed, spent=spent)


def _why(error: ValueError) -> str:
    """Say what is wrong without what was sent: notes may hold a name."""
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_input=False, include_url=False)[:MAX_TOLD]
    return "; ".join(f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in found)


def _records(rows: Iterable[Row]) -> list[Record]:
    """Return what the records tell, in the order in which it happened; a salvaged one may stand twice."""
    told = {record[0]: record for record in (row.told() for row in rows)}
    return [told[seq] for seq in sorted(told)]
