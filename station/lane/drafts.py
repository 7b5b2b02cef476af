"""Events as the journal takes them: in which order, in which form, and its receipt as a command's answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Protocol

from station.domain.events import (
    DecisionRecorded,
    Event,
    InspectionAmended,
    InspectionOpened,
    InspectionSealed,
    LaneAlarmRaised,
    Prio,
    RadiationAlarmRaised,
    ScanCompleted,
)
from station.domain.values import Verdict
from station.domain.view import LaneView
from station.lane.effects import Append
from station.store.chain import rfc3339
from station.store.draft import BlobRef, Draft, Idem, Receipt
from station.store.errors import StoredResponse, StoreFull
from station.store.troubles import News

log = logging.getLogger("carril.lane")

SUBJECTS = ("subject", "inspection_id", "device", "directive_id")


def draft(event: Event, append: Append) -> Draft:
    """Return the event as the journal takes it."""
    subject = next(filter(None, (getattr(event, name, None) for name in SUBJECTS)), "lane")
    name = event.type_name().removeprefix("carril.")
    sealing = append.seals is not None and subject == append.seals and isinstance(event, InspectionSealed)
    return Draft(
        type=event.type_name(),
        subject=subject,
        prio=int(event.PRIO),
        flags=event.simulated * 1 + event.test * 2 + event.exercise * 4,
        time_us=event.stamp.utc_us,
        data=event.model_dump(mode="json", by_alias=True),
        schema=f"{name}:1",
        blobs=tuple(BlobRef(blob.role, blob.sha256, blob.media) for blob in getattr(event, "blobs", ())),
        opens=append.opens is not None and subject == append.opens and isinstance(event, InspectionOpened),
        seals=sealing,
    )


def reply_text(receipt: Receipt) -> str:
    """Return the answer to a command as it is kept for repeats."""
    stored_at = rfc3339(receipt.stored_us)
    return f'{{"record":{{"epoch":"{receipt.epoch}","seq":{receipt.first}}},"stored_at":"{stored_at}"}}'


def is_hold(append: Append) -> bool:
    """Whether it tells of a Hold, which has worked before it is stored."""
    return any(isinstance(e, DecisionRecorded) and e.verdict == Verdict.HOLD for e in append.events)


def raised(append: Append) -> set[str]:
    """Return the alarms that it raises."""
    return {e.alarm_id for e in append.events if isinstance(e, RadiationAlarmRaised | LaneAlarmRaised)}


def scans_named(append: Append) -> list[str]:
    """Return the scans whose raw lines these events name."""
    return [
        str(event.fields["scan_id"]) if isinstance(event, InspectionAmended) else event.scan_id
        for event in append.events
        if isinstance(event, ScanCompleted | InspectionAmended) and any(b.role == "raw" for b in event.blobs)
    ]


class Journal(Protocol):
    """What the host needs of the store."""

    def news(self) -> News | None:
        """Return what a person must see of the journal and its readers; ``None``: nothing new."""
        ...

    @property
    def epoch(self) -> str:
        """Epoch of the journal, 32 hex digits."""
        ...

    @property
    def published(self) -> int:
        """Highest sequence number that may be shown."""
        ...

    def append_soon(
        self, drafts: list[Draft], idem: Idem | None = None, *, again: bool = False
    ) -> Future[Receipt]:
        """Append atomically, not twice what is there (``again``); the future says durable, or failed."""
        ...

    async def answer(self, client: str, key: str) -> StoredResponse | None:
        """Return what was answered to a command with this idempotency key, or ``None``."""
        ...


@dataclass(slots=True)
class Batch:
    """What goes to the journal as one, all or none: a run of facts, or one command, or the probe."""

    appends: list[Append]
    again: bool = False
    """Nobody knows whether it is stored already."""
    bare: bool = False
    """Without the blobs that its records name: with them the journal refused it."""

    def drafts(self) -> list[Draft]:
        """Return all its records."""
        made = [draft(event, append) for append in self.appends for event in append.events]
        return [replace(each, blobs=()) for each in made] if self.bare else made

    def idem(self) -> Idem | None:
        """Return what makes a command happen once."""
        first = self.appends[0]
        if not first.idempotency_key:
            return None
        digest = bytes.fromhex(first.request_sha256)
        return Idem(first.client, first.idempotency_key, digest, 201, reply_text)

    def receipts(self, whole: Receipt) -> list[tuple[Append, Receipt]]:
        """Return where each append stands."""
        first, found = whole.first, []
        for append in self.appends:
            found.append((append, replace(whole, first=first, last=first + len(append.events) - 1)))
            first += len(append.events)
        return found


class Outbox:
    """Appends in their order; one batch at a time is sent, so that no fact overtakes one that it follows.

    What waits meanwhile is sent as one: an alarm takes what it follows with it into the last room of a disk.
    """

    def __init__(self, alone: Callable[[Append], bool]) -> None:
        """Begin empty; ``alone`` tells what shares its fate with nothing else: commands, the probe."""
        self._alone = alone
        self._sent: Batch | None = None
        self._waiting: list[Append] = []
        self._singly = 0
        """So many appends are sent one by one: one among them is refused."""

    def __iter__(self) -> Iterator[Append]:
        """Iterate over all that is not known to be stored."""
        yield from self._sent.appends if self._sent else ()
        yield from self._waiting

    def __bool__(self) -> bool:
        """Whether anything is not known to be stored."""
        return self._sent is not None or bool(self._waiting)

    def mark(self, view: LaneView) -> LaneView:
        """Return the view with the alarms that are not known to be stored marked as such."""
        waiting = set[str]().union(*map(raised, self))
        alarms = (
            a.model_copy(update={"stored": a.stored and a.alarm_id not in waiting}) for a in view.alarms
        )
        return view.model_copy(update={"alarms": tuple(alarms)})

    def put(self, append: Append) -> None:
        """Add the newest."""
        self._waiting.append(append)

    def send(self) -> Batch | None:
        """Return what is to be sent, until ``done`` or ``failed``."""
        if self._sent is None and self._waiting:
            facts = takewhile(lambda append: not self._singly and not self._alone(append), self._waiting)
            self._sent = Batch(list(facts) or self._waiting[:1])
            self._singly = max(0, self._singly - 1)
            del self._waiting[: len(self._sent.appends)]
        return self._sent

    def done(self) -> None:
        """What was sent is stored, or given up."""
        self._sent = None

    def let_go(self, batch: Batch, error: BaseException) -> bool:
        """Give up what is only background and found no room: the lane goes on without it."""
        scarce = isinstance(error, StoreFull) and all(
            event.PRIO == Prio.BACKGROUND for append in batch.appends for event in append.events
        )
        if scarce:
            log.warning("%d background records are let go: %s", len(batch.appends), error)
            self._sent = None
        return scarce

    def failed(self, batch: Batch, *, in_doubt: bool) -> None:
        """It is not stored, or (``in_doubt``) may be: then it goes again as it was."""
        batch.again |= in_doubt
        if not batch.again:
            self._sent = None
            self._waiting[:0] = batch.appends

    def rejected(self, batch: Batch) -> bool:
        """Send it again in a simpler form: one by one, then without blobs; ``False`` when there is none."""
        if len(batch.appends) > 1:
            self._singly = len(batch.appends)
            self._sent = None
            self._waiting[:0] = batch.appends
            return True
        if batch.bare or not any(each.blobs for each in batch.drafts()):
            return False
        batch.again, batch.bare = False, True
        return True

    def sift(self, choose: Callable[[Append], Append | None]) -> None:
        """Keep of each append what ``choose`` returns."""
        for appends in (self._sent.appends if self._sent else [], self._waiting):
            appends[:] = [kept for kept in map(choose, appends) if kept is not None]
        if self._sent is not None and not self._sent.appends:
            self._sent = None

    def trim(self, limit: int) -> list[Append]:
        """Drop the least important that wait beyond ``limit``, oldest first, and return them."""
        dropped = []
        while len(self._waiting) > limit:
            ranks = [min(event.PRIO for event in append.events) for append in self._waiting]
            dropped.append(self._waiting.pop(ranks.index(max(ranks))))
        return dropped
