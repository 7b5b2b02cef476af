"""The store as the rest of the station sees it: append, acknowledge, look up, keep blobs.

``append_soon`` answers when the records are durable, marked and published, and not before. What a screen or
the central system is shown as recorded has come through here.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from station.store.ages import Ages
from station.store.blobs import BlobFiles, BlobRow, DamagedBlob, find_blob, is_named
from station.store.chain import Row
from station.store.clear import Clear, Drop, Persons
from station.store.draft import BlobRef, Draft, Idem, Receipt
from station.store.earlier import earlier_notes
from station.store.errors import (
    NotStored,
    RecordRejected,
    StoredResponse,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from station.store.feed import OpenSubject, read_after, read_open_subjects, read_subject
from station.store.nacks import Nack
from station.store.ops import Ack, Acked, AddBlob, Append, Distrust, Op, Replay, find_answer
from station.store.place import Before, Place
from station.store.quota import Pressure, pressure_of
from station.store.readers import Readers, View
from station.store.reoffer import Offer, Reoffer
from station.store.schema import PAGE_BYTES
from station.store.stats import Stats
from station.store.troubles import News, Troubles
from station.store.waiting import Subscriber, Waiter
from station.store.writer import State, Writer

__all__ = ["Acked", "BlobRef", "Draft", "Idem", "Receipt", "Store", "View"]

ENCODED_BY_CALLER_BYTES = 64 * 1024
"""Larger data is encoded in the writer's thread, so that the event loop never waits for it."""
BACKGROUND = 3
DRAFT_BYTES = 1024
"""Envelope and objects of a draft in the queue: many small ones must fill it too."""

Result = TypeVar("Result")

LOOK_ROWS = 250
"""So many of the largest records are read and checked well within the time of one look."""


class Store:
    """The open store; made by ``station.store.open.open_store``, closed by ``close``. For any thread."""

    def __init__(
        self,
        place: Place,
        writer: Writer,
        readers: Readers,
        blobs: BlobFiles,
        unlock: Callable[[], None],
        head_key: str,
        troubles: Troubles,
    ) -> None:
        self.troubles = troubles
        """What a person must see of the journal and its readers."""
        self.head_key = head_key
        """The public key of the signed heads, as ``station.store.heads.public_line`` writes it."""
        self._place = place
        self._writer = writer
        self._readers = readers
        self._blobs = blobs
        self._blob_threads = ThreadPoolExecutor(2, thread_name_prefix="carril-blob")
        self._unlock = unlock
        self._is_closed = False
        readers.distrust = lambda epoch, error: self._submitted(lambda: Distrust(epoch, error))

    # --- what is true now -----------------------------------------------------------------------

    @property
    def station(self) -> str:
        """Name of the station."""
        return self._place.station

    @property
    def epoch(self) -> str:
        """The journal's epoch, 32 hex digits."""
        return self._readers.tip.epoch.hex()

    @property
    def first_seq(self) -> int:
        """The first sequence number of this epoch."""
        return self._readers.tip.first_seq

    @property
    def published(self) -> int:
        """The last sequence number that anybody may be told of."""
        return self._readers.tip.seq

    @property
    def before(self) -> Before | None:
        """What is known of the epoch before, if there was one."""
        return self._writer.journal.before

    @property
    def required(self) -> frozenset[str]:
        """Consumers without whose acknowledgement nothing is removed, in the lane file or not."""
        journal = self._writer.journal
        return journal.required & journal.acked.keys()

    @property
    def left_behind(self) -> frozenset[str]:
        """Required consumers that the lane file no longer names: nothing is removed until one is dropped."""
        return self.required - {each.name for each in self._place.consumers}

    @property
    def is_news(self) -> bool:
        """Whether this epoch followed another one, and a required consumer has not yet taken its opening."""
        acked = self._writer.journal.acked
        return self.before is not None and any(acked.get(name, 0) < self.first_seq for name in self.required)

    @property
    def damaged(self) -> tuple[int, ...]:
        """Records whose bytes were found changed when the journal was opened; the feed withholds them."""
        return self._writer.journal.damaged

    @property
    def state(self) -> State:
        """Whether records can be kept."""
        return self._writer.state

    @property
    def cause(self) -> str:
        """Why they cannot."""
        return self._writer.cause

    @property
    def silent_s(self) -> float:
        """Seconds since the writer last went round; above 5 the disk hangs."""
        return self._writer.silent_s

    @property
    def stats(self) -> Stats:
        """Counters since the store was opened."""
        self._writer.stats.blob_syncs = self._blobs.syncs
        return self._writer.stats

    @property
    def acked(self) -> Mapping[str, int]:
        """Each consumer's cursor: the last sequence number that it acknowledged."""
        return self._writer.journal.acked

    @property
    def ages(self) -> Ages:
        """How long records have waited, whatever the wall clock did."""
        return self._writer.ages

    @property
    def quota_ratio(self) -> float:
        """Used part of the database's quota."""
        return self._writer.pages * PAGE_BYTES / self._place.quota_bytes

    @property
    def blob_ratio(self) -> float:
        """Used part of the blobs' quota."""
        journal = self._writer.journal
        return journal.blob_used / journal.blob_room(self._place.blob_quota_bytes)

    @property
    def stray_bytes(self) -> int:
        """Bytes of blob files that this journal does not know; they count too."""
        return self._writer.journal.stray_bytes

    @property
    def pressure(self) -> Pressure:
        """How scarce room is for what is to come."""
        return pressure_of(self.quota_ratio, self.blob_ratio)

    def news(self) -> News | None:
        """Return what a person must see of the journal and its readers; ``None``: nothing new."""
        return self.troubles.take()

    # --- writing --------------------------------------------------------------------------------

    def append_soon(
        self, drafts: Sequence[Draft], idem: Idem | None = None, *, again: bool = False
    ) -> Future[Receipt]:
        """Append drafts in their order, all or none; the future, set in the writer's thread, says durable.

        With ``idem`` the answer is stored too, and a second call with its key fails as ``Repeated``. Say
        ``again`` after an ``Unknown``: what is stored already is not written twice. Every failure that
        ``station.store.errors`` draws comes through the future.
        """
        return self._submitted(lambda: self._append_op(drafts, idem, again=again))

    async def append(self, drafts: Sequence[Draft], idem: Idem | None = None) -> Receipt:
        """Append as ``append_soon`` does, for producers in an event loop: one wake-up for all of a commit."""
        receipt: Receipt = await self.run(lambda: self._append_op(drafts, idem))
        return receipt

    async def ack(self, consumer: str, epoch: str, seq: int, refused: Sequence[Nack] = ()) -> Acked:
        """Move a consumer's cursor forward to ``seq``, durable on return; a lower one does not move it.

        What it ``refused`` up to there is kept for another try. Raises ``UnknownConsumer``, ``WrongEpoch``,
        ``BeyondHead`` or ``BadNack``.
        """
        acked: Acked = await self.run(lambda: Ack(consumer, epoch, seq, refused))
        return acked

    async def reoffer(self, consumer: str, seq: int) -> Offer:
        """Append a refused record anew; durable on return. One that waits already is not offered twice.

        Raises ``UnknownConsumer``, ``NotRefused`` or ``Damaged``.
        """
        offer: Offer = await self.run(lambda: Reoffer(self._place, consumer, seq))
        return offer

    async def drop(self, consumer: str, persons: Persons) -> Receipt:
        """Drop a consumer that the lane file does not name; durable on return.

        Raises ``UnknownConsumer`` or ``StillNamed``.
        """
        receipt: Receipt = await self.run(lambda: Drop(self._place, consumer, persons))
        return receipt

    async def clear(self, consumer: str, seq: int, persons: Persons) -> Receipt:
        """Give up a record that a consumer refused; durable on return.

        Raises ``UnknownConsumer`` or ``NotRefused``.
        """
        receipt: Receipt = await self.run(lambda: Clear(self._place, consumer, seq, persons))
        return receipt

    async def begin_replay(self) -> list[OpenSubject]:
        """Return the open subjects for a restart; this one is durably counted in their tries already."""
        await self.run(lambda: Replay(begins=True))
        return await self.read(read_open_subjects)

    async def end_replay(self) -> None:
        """Say that the restart went well: the tries are forgotten."""
        await self.run(lambda: Replay(begins=False))

    def on_commit(self, callback: Subscriber) -> Callable[[], None]:
        """Call ``callback(published)`` in the running loop after each commit; returns the way to stop it."""
        return self._writer.bell.subscribe(callback)

    def _append_op(self, drafts: Sequence[Draft], idem: Idem | None = None, *, again: bool = False) -> Op:
        if not drafts:
            raise RecordRejected("There is nothing to append.")
        if self.pressure and all(draft.prio == BACKGROUND for draft in drafts):
            used = max(self.quota_ratio, self.blob_ratio)
            raise StoreFull(
                f"{used:.0%} of the room is used, and nothing may be removed: background records are refused "
                "until more is acknowledged."
            )
        size = sum(map(_about, drafts))
        op = Append(self.station, tuple(drafts), idem, size, self._blobs, again)
        if op.size <= ENCODED_BY_CALLER_BYTES:
            op.prepare()
        return op

    def _submitted(self, make: Callable[[], Op]) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # what is on its way cannot be cancelled
        try:
            self._writer.submit(Waiter(make(), future, None))
        except StoreError as error:
            future.set_exception(error)
        return future

    async def run(self, make: Callable[[], Op]) -> Any:
        """Run one operation in a group of the writer and return its result, durable.

        ``make`` may raise what a refused draft raises. Every failure is one of ``station.store.errors``.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._writer.submit(Waiter(make(), future, loop))
        return await future

    # --- reading --------------------------------------------------------------------------------

    async def read(self, fn: Callable[[View], Result]) -> Result:
        """Run a synchronous look-up in a thread, inside a read transaction of at most 250 ms of work.

        It returns plain values and keeps nothing of the view. Raises ``StoreBusy``, ``StoreUnavailable``, and
        whatever ``fn`` raises.
        """
        return await self._readers.run(fn)

    async def records_of(self, subject: str) -> list[Row]:
        """Return all published records of a subject, oldest first."""
        return await self.read(lambda view: read_subject(view, subject))

    async def records_after(self, seq: int, limit: int = 500) -> list[Row]:
        """Return published records after ``seq``, oldest first."""
        return await self.read(lambda view: read_after(view, seq, limit))

    async def earlier_notes(self, epoch: str, after: int, count: int) -> list[tuple[int, str]]:
        """Return signed heads of an epoch before this one; raises ``NotKept`` or ``Unreadable``."""
        return await asyncio.to_thread(earlier_notes, self._place, bytes.fromhex(epoch), after, count)

    async def last_records(self, count: int) -> list[Row]:
        """Return the last ``count`` published records, oldest first, in looks that each end in time."""
        published, found = self.published, list[Row]()
        for after in range(max(published - count, 0), published, LOOK_ROWS):
            size = min(LOOK_ROWS, published - after)
            found += await self.read(partial(read_after, after=after, limit=size))
        return found

    async def answer(self, client: str, key: str) -> StoredResponse | None:
        """Return what was answered to a command with this idempotency key, or ``None``."""
        return await self.read(lambda view: find_answer(view.connection, client, key, view.tip.seq))

    # --- blobs ----------------------------------------------------------------------------------

    def keep_blob(self, data: bytes, media: str) -> str:
        """Keep bytes under their SHA-256 and return it in hex; durable on return. Blocks: for threads.

        Raises ``StoreFull`` or ``NotStored``, or whatever the journal raises.
        """
        journal = self._writer.journal
        room = journal.blob_room(self._place.blob_quota_bytes)
        if journal.blob_used + len(data) > room and not self._blobs.has(data):
            raise StoreFull(
                f"No room for a blob of {len(data)} bytes: of the {room} for blobs {journal.blob_used} are "
                f"used, and those may not be removed yet; {journal.stray_bytes} of them are in no record."
            )
        try:
            row = self._blobs.write(data, media)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(f"No room for a blob of {len(data)} bytes: {error}.") from error
            raise NotStored(f"The blob was not written: {error}.") from error
        self._submitted(lambda: AddBlob(row.values())).result()
        return row.sha256.hex()

    def is_named(self, sha256: str) -> bool:
        """Whether a record names a blob. Blocks: for threads; raises what ``read`` raises."""
        digest = bytes.fromhex(sha256)
        return self._readers.look(lambda view: is_named(view.connection, digest))

    async def find_blob(self, sha256: str) -> BlobRow | None:
        """Return what is known of a blob, or ``None``."""
        digest = bytes.fromhex(sha256)
        return await self.read(lambda view: find_blob(view.connection, digest))

    async def read_blob(self, row: BlobRow, chunk: int) -> bytes:
        """Return one checked MiB of a blob; raises ``DamagedBlob``."""
        if self._is_closed:
            raise StoreUnavailable("The store is closed.")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._blob_threads, self._blobs.read_chunk, row, chunk)
        except DamagedBlob:
            self.troubles.is_damaged(row.sha256.hex())
            raise

    # --- the end --------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what is queued and close everything; blocks until it is done. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._blob_threads.shutdown(wait=True)
        self._writer.close()
        self._unlock()


def _about(draft: Draft) -> int:
    """Return about how many bytes a draft takes while it waits, without writing it as JSON."""
    try:
        return DRAFT_BYTES + _size(draft.data)
    except (TypeError, RecursionError):
        return DRAFT_BYTES  # no JSON: the encoder says why


def _size(value: Any) -> int:
    size = 8
    if isinstance(value, str):
        size = len(value) + 2
    elif isinstance(value, dict):
        for key, item in value.items():
            size += len(key) + 4 + _size(item)
    elif isinstance(value, list | tuple):
        for item in value:
            size += 1 + _size(item)
    elif isinstance(value, Mapping):
        size = _size(dict(value))
    return size
