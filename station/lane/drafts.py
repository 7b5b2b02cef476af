"""Events as the journal takes them, and its receipt as a command's answer."""

from __future__ import annotations

from station.domain.events import Event
from station.lane.effects import Append
from station.store.chain import rfc3339
from station.store.draft import BlobRef, Draft, Receipt


def draft(event: Event, append: Append) -> Draft:
    """Return the event as the journal takes it."""
    subject = getattr(event, "inspection_id", None) or getattr(event, "device", None) or "lane"
    name = event.type_name().removeprefix("carril.")
    sealing = append.seals is not None and subject == append.seals and name == "inspection.sealed"
    return Draft(
        type=event.type_name(),
        subject=subject,
        prio=int(event.PRIO),
        flags=event.simulated * 1 + event.test * 2 + event.exercise * 4,
        time_us=event.stamp.utc_us,
        data=event.model_dump(mode="json", by_alias=True),
        schema=f"{name}:1",
        blobs=tuple(BlobRef(blob.role, blob.sha256) for blob in getattr(event, "blobs", ())),
        opens=append.opens is not None and subject == append.opens and name == "inspection.opened",
        seals=sealing,
    )


def reply_text(receipt: Receipt) -> str:
    """Return the answer to a command as it is kept for repeats."""
    stored_at = rfc3339(receipt.stored_us)
    return f'{{"record":{{"epoch":"{receipt.epoch}","seq":{receipt.first}}},"stored_at":"{stored_at}"}}'
