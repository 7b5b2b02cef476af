"""The records that the store writes about itself."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from station.domain.directive_events import DirectiveHeld, DirectiveHit
from station.domain.events import Event, InspectionOpened, InspectionSealed, schema_name
from station.domain.store_events import RecordSalvaged
from station.domain.values import EventStamp
from station.store.canonical import canonical
from station.store.chain import FLAGS, SALVAGED, Row, frame
from station.store.draft import BlobRef, Draft, Encoded
from station.store.place import Place

OPENED, SEALED = InspectionOpened.type_name(), InspectionSealed.type_name()
"""What makes a subject an open one, and what ends that."""
HIT, HELD = DirectiveHit.type_name(), DirectiveHeld.type_name()
"""What may begin a legal hold: of a vehicle that comes, of those that were there before."""


def common(place: Place) -> dict[str, Any]:
    """Return the members that every event has; the store knows nothing of the clock's quality."""
    now = place.clock.stamp()
    stamp = EventStamp(utc_us=now.utc_ns // 1000, mono_us=now.mono_ns // 1000, boot_id=now.boot_id)
    return {"stamp": stamp, "config_sha256": place.config_sha256}


def own_draft(event: Event, subject: str = "lane") -> Draft:
    """Return an event of the store as the journal takes it."""
    data = event.model_dump(mode="json", by_alias=True)
    name = schema_name(type(event))
    flags = int(event.simulated)
    return Draft(event.type_name(), subject, int(event.PRIO), flags, event.stamp.utc_us, data, f"{name}:1")


def salvaged(
    place: Place, row: Row, blobs: tuple[BlobRef, ...], *, opens: bool, seals: bool, over: bool
) -> Encoded:
    """Return the record that carries the event of ``row`` on, byte for byte, into another epoch.

    What was salvaged before is taken out of its wrapper first.
    """
    original = first_original(row)
    event = json.loads(original)
    simulated, test, exercise = (bool(row.flags & bit) for bit in FLAGS.values())
    told = RecordSalvaged(original={}, simulated=simulated, test=test, exercise=exercise, **common(place))
    data = told.model_dump(mode="json") | {"original": None}
    before, after = canonical(data).split(_NOTHING)
    name, now_us = schema_name(type(told)), told.stamp.utc_us
    draft = Draft(
        type=SALVAGED,
        subject=row.subject,
        prio=row.prio,
        flags=row.flags,
        time_us=now_us,
        data=data | {"original": event},
        schema=f"{name}:1",
        blobs=blobs,
        opens=opens,
        seals=seals,
        over=over,
    )
    envelope = frame(
        station=place.station,
        type=SALVAGED,
        subject=row.subject,
        prio=row.prio,
        time_us=now_us,
        schema=draft.schema,
        data=before + _ORIGINAL + original + after,
    )
    return Encoded(draft, envelope, tuple((ref.role, bytes.fromhex(ref.sha256), ref.media) for ref in blobs))


_ORIGINAL = b'"original":'
_NOTHING = _ORIGINAL + b"null"
_decode = partial(json.JSONDecoder().raw_decode)


def first_original(row: Row, wrappers: tuple[str, ...] = (SALVAGED,)) -> bytes:
    """Return the bytes of the event that was recorded first: taken out of records of these types."""
    text, kind = row.body.decode(), row.type
    while kind in wrappers:
        # A quotation mark inside a text is escaped: this is the member of ``data`` and nothing else.
        start = text.index(_ORIGINAL.decode()) + len(_ORIGINAL)
        event, end = _decode(text, start)
        text, kind = text[start:end], event["type"]
    return text.encode()
