"""The error tree of the store.

::

    StoreError
    ├── StoreRefused            nothing was written, and the same call will be refused again
    │   ├── RecordRejected      this draft cannot be a record (field and reason in the message)
    │   ├── Repeated            this idempotency key has its answer already (``stored``)
    │   ├── UnknownConsumer     no cursor of that name
    │   ├── WrongEpoch          the cursor is of another epoch (``epoch`` is the store's)
    │   └── BeyondHead          a sequence number that was never handed out (``head``)
    ├── StoreBusy               nothing was written: 16 MiB wait already, or a look-up took too long
    ├── StoreFull               nothing was written: no room on the disk or in the quota
    ├── NotStored               the disk failed, and the records are certainly not there
    ├── Unknown                 the disk failed, and the records may be there: look before writing again
    └── StoreUnavailable        the journal is not open; nothing can be kept
        ├── StateLocked         another process holds the state folder
        └── WrongStation        the state folder belongs to another station

The message is a sentence for the person who must act. Only ``Unknown`` leaves open what happened.
"""

from __future__ import annotations

from dataclasses import dataclass


class StoreError(Exception):
    """Base of everything that the store raises on purpose."""


class StoreRefused(StoreError):
    """The call itself is wrong; nothing was written."""


class RecordRejected(StoreRefused):
    """A draft that cannot become a record."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """What was answered to an idempotency key, and to which request."""

    request_sha256: bytes
    status: int
    response: str


class Repeated(StoreRefused):
    """The idempotency key was used before: answer with ``stored`` if the request is the same."""

    def __init__(self, stored: StoredResponse) -> None:
        super().__init__("This idempotency key was used before; nothing was written again.")
        self.stored = stored


class UnknownConsumer(StoreRefused):
    """No consumer of that name is configured."""


class WrongEpoch(StoreRefused):
    """A cursor of another epoch."""

    def __init__(self, epoch: str) -> None:
        super().__init__(f"The cursor belongs to another epoch; this store is in {epoch}.")
        self.epoch = epoch


class BeyondHead(StoreRefused):
    """A cursor past the last record: the client is wrong, or this store lost data."""

    def __init__(self, seq: int, head: int) -> None:
        super().__init__(f"Sequence number {seq} was never handed out; the last one is {head}.")
        self.seq = seq
        self.head = head


class StoreBusy(StoreError):
    """More waits than the store takes; try again."""


class StoreFull(StoreError):
    """No room; nothing was written."""


class NotStored(StoreError):
    """The disk failed and the records are certainly not in the journal."""


class Unknown(StoreError):
    """The disk failed or hangs, and the records may be in the journal: look before writing again."""


class StoreUnavailable(StoreError):
    """The journal is not open."""


class StateLocked(StoreUnavailable):
    """Another process holds the state folder."""


class WrongStation(StoreUnavailable):
    """The state folder belongs to another station."""
