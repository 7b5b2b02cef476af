"""The writer: one thread, one connection, group commit; every waiter is always told.

A group is what waited while the last one was synced: the sync is the batching window. Its order is fixed:
commit (synced by SQLite), mark (synced), ``published``, waiters. Nobody is told of a record before that, and
the feed serves nothing beyond it. What each failure means is the table in ``_failed``.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from enum import StrEnum

from station.store import database
from station.store.ages import Ages
from station.store.ballast import Ballast
from station.store.chore import Chore, Chores
from station.store.crashpoint import crashpoint
from station.store.database import Fault, fault_of
from station.store.errors import (
    RecordRejected,
    StoreError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    Unknown,
)
from station.store.intake import Intake
from station.store.ops import Transaction
from station.store.place import Journal, Place
from station.store.quota import Room, used_pages
from station.store.readers import Readers, Tip
from station.store.recovery import Repeats, abandon, in_doubt, is_refusal, judged
from station.store.schema import SET_HEAD
from station.store.startup import open_journal, renew_journal
from station.store.stats import Stats
from station.store.waiting import Bell, Waiter
from station.store.wal import Wal

COUNT_EACH = 8
BEAT_S = 1.0
HUNG_S = 10.0
REOPEN_S = 2.0
GATE_S = 0.25
BUGS, BUGS_IN_S = 3, 60.0
DAMAGES, DAMAGES_IN_S = 2, 600.0
"""SQLite calls a read that the disk refused damage: only what comes back after reopening is it."""

log = logging.getLogger("carril.store")


class State(StrEnum):
    """What the writer can do now."""

    OPEN = "open"
    REOPENING = "reopening"
    """The disk failed; the journal is tried again every second."""
    FAULTED = "faulted"
    """A programming error came back: only a restart helps."""
    CLOSED = "closed"


class Writer:
    """Owns the journal's only writing connection. ``submit`` may be called from any thread."""

    def __init__(
        self,
        place: Place,
        journal: Journal,
        readers: Readers,
        ballast: Ballast,
        chores: Sequence[Chore] = (),
        stats: Stats | None = None,
    ) -> None:
        self._chores, self._place = Chores(chores), place
        self._readers, self._ballast, self._intake = readers, ballast, Intake()
        self._group: list[Waiter] = []
        self._bugs, self._damages = Repeats(BUGS, BUGS_IN_S), Repeats(DAMAGES, DAMAGES_IN_S)
        self._renew_cause = ""
        self._ended = threading.Event()
        self.journal = journal
        self.state = State.OPEN
        self.cause = ""
        """Why the journal is not open."""
        self.pages = used_pages(journal.connection)
        """Pages of the database that hold something, counted at every eighth commit and after chores."""
        self._room = Room(place.quota_bytes)
        self.beat_s = time.monotonic()
        """When the thread last went round; it stands still while the disk hangs."""
        self.stats = stats or Stats()
        self.ages = Ages(time.monotonic, journal.seq)
        self._wal = Wal(place.database, self.stats)
        self.bell = Bell()
        self._thread = threading.Thread(target=self._run, name="carril-journal", daemon=True)
        self._watch = threading.Thread(target=self._watch_disk, name="carril-journal-watch", daemon=True)

    # --- the callers' side --------------------------------------------------------------------

    def start(self) -> None:
        """Let callers in."""
        self._readers.open(self._tip())
        self._thread.start()
        self._watch.start()

    def submit(self, waiter: Waiter) -> None:
        """Queue an operation; raises ``StoreBusy`` or ``StoreUnavailable`` at once, else tells the waiter."""
        self._intake.put(waiter)

    @property
    def is_open(self) -> bool:
        """Whether records can be kept."""
        return self.state is State.OPEN

    @property
    def silent_s(self) -> float:
        """Seconds since the thread last went round."""
        return time.monotonic() - self.beat_s

    def close(self) -> None:
        """Write what is queued, close everything, end the threads."""
        self._intake.stop()
        self._thread.join()
        self._watch.join()
        self._readers.end()

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            busy = True  # chores need not wait for the first beat
            while True:
                self._group = group = self._intake.take(0 if busy else BEAT_S)
                self._beat()
                if group:
                    self._write(group)
                elif self._intake.stopping or self.state is State.FAULTED:
                    self._do_chores(idle=True)
                    break
                elif self.state is State.REOPENING:
                    self._try_again()
                else:
                    self._ballast.hold()
                busy = self._do_chores(idle=not group)
        except BaseException as error:
            self._set_state(State.FAULTED, f"the writer ended with {error!r}")
            log.exception("the journal's writer ended")
        finally:
            self._end()

    def _beat(self) -> None:
        """Show that the disk does not hang, and let callers in whom the watch shut out while it did."""
        self.beat_s = time.monotonic()
        if self.state is State.OPEN:
            self._intake.open()

    def _write(self, group: list[Waiter]) -> None:
        """Make one group durable and tell its waiters."""
        group = self._group = self._affordable(group)
        if not group:
            return
        tx = self._transaction()
        try:
            self._store(group, tx)
            self._group = []
            if self.stats.commits % COUNT_EACH == 0:
                self.pages = used_pages(self.journal.connection)
            self._wal.tend(self.journal.connection, 6 + sum(waiter.op.size for waiter in group) // 4096)
        except Exception as error:
            # A failure after the waiters were told is one of the log alone.
            self._failed(self._group, tx, error)
        self._group = []

    def _affordable(self, group: list[Waiter]) -> list[Waiter]:
        """Return what may be written: while the ballast's room is in use, only what must be kept."""
        if self._ballast.spent:
            self._ballast.hold()
        if not self._ballast.spent:
            return group
        refused = [waiter for waiter in group if not waiter.op.vital]
        self.bell.fail(refused, StoreFull("The disk is full: only alarms and acknowledgements are kept."))
        return [waiter for waiter in group if waiter.op.vital]

    def _store(self, group: list[Waiter], tx: Transaction) -> None:
        started, before = time.monotonic(), tx.seq
        self._apply(group, tx)
        crashpoint("before_commit")
        self._commit(tx)
        crashpoint("after_commit")
        if tx.seq > before:  # else the mark says so already: an acknowledgement or a look costs no sync
            self._set_mark(tx)
            self.stats.group_records.add(tx.seq - before)
        self._beat()
        database.check_identity(self._place.database, self.journal.identity)
        self.stats.commits += 1
        self.stats.commit_seconds.add(time.monotonic() - started)
        self._publish(tx)
        tx.settle()
        self.bell.ring(group, tx.seq if tx.seq > before else None)

    def _transaction(self) -> Transaction:
        journal, now_us = self.journal, self._place.now_us()
        start = (journal.connection, journal.epoch, journal.seq, journal.seq, journal.hash, now_us)
        return Transaction(*start, acked=dict(journal.acked), blob_bytes=journal.blob_bytes)

    def _apply(self, group: list[Waiter], tx: Transaction) -> None:
        """Run all operations in one transaction; when one is refused, again with a savepoint around each."""
        start = tx.standing()
        try:
            tx.connection.execute("BEGIN IMMEDIATE")
            crashpoint("begin")
            self._room.allow(tx.connection, vital=all(waiter.op.vital for waiter in group))
            for waiter in group:
                self._run_op(waiter, tx)
        except Exception as error:
            if not is_refusal(error):
                raise
            tx.connection.rollback()
            tx.restore(start)
            self._apply_singly(group, tx)
        if tx.seq != start[0]:
            tx.connection.execute(SET_HEAD, {"seq": tx.seq, "hash": tx.hash})

    def _run_op(self, waiter: Waiter, tx: Transaction) -> None:
        try:
            waiter.op.prepare()
            waiter.outcome = waiter.op.apply(tx)
        except StoreRefused as refusal:
            waiter.outcome = refusal

    def _apply_singly(self, group: list[Waiter], tx: Transaction) -> None:
        tx.connection.execute("BEGIN IMMEDIATE")
        for waiter in group:
            start = tx.standing()
            tx.connection.execute("SAVEPOINT one")
            try:
                self._run_op(waiter, tx)
            except Exception as error:
                if not is_refusal(error):
                    raise
                waiter.outcome = RecordRejected(f"The journal refuses this record: {error}.")
                tx.connection.execute("ROLLBACK TO one")
                tx.restore(start)
            tx.connection.execute("RELEASE one")

    def _commit(self, tx: Transaction) -> None:
        tx.committing = True
        tx.connection.execute("COMMIT")

    def _set_mark(self, tx: Transaction) -> None:
        self.journal.mark.write(tx.epoch, tx.seq, tx.hash, tx.now_us)
        self.stats.mark_syncs += 1

    def _publish(self, tx: Transaction) -> None:
        self.journal.seq, self.journal.hash, self.journal.acked = tx.seq, tx.hash, tx.acked
        self.journal.blob_bytes = tx.blob_bytes
        self._readers.tip = self._tip()
        self.ages.note(tx.seq)

    def _tip(self) -> Tip:
        return Tip(self.journal.epoch, self.journal.first_seq, self.journal.seq, self.journal.hash)

    def _do_chores(self, *, idle: bool) -> bool:
        """Let each chore take one step; whether one did."""
        busy = False
        for chore in self._chores.ready():
            try:
                busy |= self.is_open and self._step(chore, idle=idle)
                if self.is_open and (busy or idle):
                    chore.tidy(self.journal.connection)
                    self.pages = used_pages(self.journal.connection)
            except Exception as error:
                self._failed([], self._transaction(), error)
        return busy

    def _step(self, chore: Chore, *, idle: bool) -> bool:
        """Let a chore take a step; whether it did."""
        op, done = chore.next(self.journal, idle=idle), Future[object]()
        if op is not None:
            self._write([Waiter(op, done, None)])
            self._chores.took(chore, done)
        return done.done() and done.exception() is None

    # --- failures -----------------------------------------------------------------------------

    def _failed(self, group: list[Waiter], tx: Transaction, error: Exception) -> None:
        """Do what the failure demands, and tell everybody in the group."""
        fault = fault_of(error)
        log.error("the journal failed (%s): %s", fault.value, error)
        if fault is Fault.FULL:
            self._disk_full(group, error)
        elif fault is Fault.IO:
            self._recover(group, tx, f"the disk failed ({error})")
        elif fault is Fault.CORRUPT:
            self._recover(group, tx, f"the journal failed ({error!r})", renew=self._damages.one_more())
        else:
            self.bell.fail(group, in_doubt(tx, f"the journal failed ({error!r})"))
            self._recover([], tx, f"the journal failed ({error!r})")
            if fault is Fault.OTHER and self._bugs.one_more():
                self._set_state(State.FAULTED, self.cause or "the writer failed three times in a minute")

    def _disk_full(self, group: list[Waiter], error: Exception) -> None:
        """Try what must be kept once more, without the rest or in the ballast's room; the handle is sound."""
        with contextlib.suppress(sqlite3.Error):
            self.journal.connection.rollback()  # SQLite has done so already, mostly
        vital = [waiter for waiter in group if waiter.op.vital]
        others = [waiter for waiter in group if not waiter.op.vital]
        again = bool(vital) and (self._ballast.release() or bool(others))
        self.bell.fail(others if again else group, StoreFull(f"No room for more records: {error}."))
        if again:
            self._write(vital)

    def _recover(self, group: list[Waiter], tx: Transaction, cause: str, *, renew: bool = False) -> None:
        """Replace the poisoned handle, never retrying a sync on it, and find out about the group."""
        self._set_state(State.REOPENING, cause)
        self._renew_cause = cause if renew else ""
        abandon(self._place, self.journal, self._readers, GATE_S)
        deadline = time.monotonic() + REOPEN_S
        while not self._try_again():
            if self._intake.stopping or time.monotonic() > deadline:
                self.bell.fail(group, in_doubt(tx, cause))
                return
            time.sleep(0.05)
        self._judge(group, tx, cause)

    def _try_again(self) -> bool:
        """Open the journal anew; ``False`` when the disk still fails."""
        if not self._readers.close(GATE_S):
            return False  # beside an open reader SQLite would not check the log anew
        renew, self._renew_cause = self._renew_cause, ""
        try:
            journal = renew_journal(self._place, renew) if renew else open_journal(self._place)
        except StoreError as error:
            self.cause = str(error)
            if isinstance(error, StoreFull) and self._ballast.release():
                log.error("the ballast was given up: %s", error)
            self._let_readers_in()
            return False
        self.stats.reopened += 1
        self.stats.epochs += journal.epoch != self.journal.epoch
        self.journal = journal
        self._wal.frames = 0
        self._readers.open(self._tip())
        self._set_state(State.OPEN, "")
        self.bell.ring([], journal.seq)
        return True

    def _let_readers_in(self) -> None:
        """What was published can still be read while nothing can be written, if the file is the same."""
        with contextlib.suppress(OSError):
            if database.identity_of(self._place.database)[0] == self.journal.identity[0]:
                self._readers.open(self._tip())

    def _judge(self, group: list[Waiter], tx: Transaction, cause: str) -> None:
        """Tell the group what the reopened journal says: its records are there together or not at all."""
        failure = judged(tx, self.journal, cause)
        if failure is None:
            tx.settle()
            self.bell.ring(group, tx.seq)
        else:
            self.bell.fail(group, failure)

    def _set_state(self, state: State, cause: str) -> None:
        """Change the state; only an open journal takes anything in."""
        self.state, self.cause = state, cause
        if state is State.OPEN:
            self._intake.open()
        else:
            self._refuse(cause)

    def _refuse(self, cause: str) -> None:
        """Let nobody in, and tell those in the queue, whose records are certainly not written."""
        self.bell.fail(self._intake.shut(cause), StoreUnavailable(f"Not written: {cause}."))

    def _watch_disk(self) -> None:
        """Free everybody who waits for a disk that hangs; the writer itself cannot."""
        while not self._ended.wait(BEAT_S):
            group = self._group
            if self.silent_s > HUNG_S:  # in a checkpoint there is no group, and the queue waits all the same
                self.bell.fail(group, Unknown("The disk hangs: the records may or may not be written."))
                self._refuse("the disk hangs")

    def _end(self) -> None:
        """Tell everybody, and close; nothing that fails here may keep a waiter waiting.

        After a fault of the writer what was published can still be read, until ``close``.
        """
        if self.state is not State.FAULTED:
            self._set_state(State.CLOSED, self.cause or "the station stops")
        lost = "The writer ended: nobody knows whether it was written. Look before writing it again."
        self.bell.fail(self._group, Unknown(lost))
        self._ended.set()
        if self.state is State.CLOSED:
            self._readers.end()
        with contextlib.suppress(sqlite3.Error, OSError):
            self.journal.close()
