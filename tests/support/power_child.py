"""What runs under the recorder: a store at work, and stores that restart. See ``test_power_loss.py``."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from station.store import database, epoch, inherit, mark, retention, startup
from station.store import writer as writer_module
from station.store.chain import Row
from station.store.draft import BlobRef, Receipt
from station.store.errors import StoreError
from station.store.feed import read_after
from station.store.journal import Store
from station.store.ops import Ack, Distrust, Op, Transaction
from station.store.place import Journal
from station.store.receipts import KeepReceipt
from station.store.writer import Writer
from tests.support.epochs import salvage_ends
from tests.support.journal import draft, open_small, place_of
from tests.support.power import Recorder
from tests.support.promises import BLOB_FREED, BLOB_TOLD, blob_content

T = TypeVar("T")

TRIMMED_FROM = 4
WITH_BLOB = 3
"""Of the records during which the disk fails."""


def work(store: Store, recorder: Recorder, groups: int) -> None:
    """Append in groups of changing size from several threads, with checkpoints and a few blobs."""

    def told(done: Future[Receipt]) -> None:
        # In the writer's thread, at the moment when the caller could know.
        if done.exception() is None:
            recorder.note(done.result().last)

    for group in range(groups):
        futures = []
        for n in range(group % 4 + 1):
            future = store.append_soon([draft(f"subject{group}", n=n, text="x" * (300 * (group % 7)))])
            future.add_done_callback(told)
            futures.append(future)
        if group == TRIMMED_FROM:  # from now on all before the first blob is removed
            store._submitted(lambda: Ack("central", store.epoch, store.published)).result(10)
        if group % 10 == 5:
            name = store.keep_blob(blob_content(group), "text/plain")
            recorder.note(BLOB_TOLD + group)
            store.append_soon([draft(blobs=(BlobRef("photo", name),))]).result(10)
        if group % 20 == 8:  # the last blob is removed, and then its record; the next one stays for 20 groups
            for n in range(5, group, 10):
                recorder.note(BLOB_FREED + n)
            receipt = KeepReceipt("central", bytes.fromhex(name), len(blob_content(group - 3)), verified=True)
            store._submitted(lambda receipt=receipt: receipt).result(10)
            store._submitted(lambda: Ack("central", store.epoch, store.published)).result(10)
        for future in futures:
            future.result(10)


def record(state: Path, log: Path, groups: int) -> None:
    """Record a store from its first moment on; it is never closed."""
    recorder = Recorder()
    recorder.record(state, log)
    writer_module.PASSIVE_FRAMES = 60  # checkpoints within the short time of a test
    retention.TRIM_FROM = retention.TRIM_TO = 0.0  # type: ignore[misc]
    retention.STEP_RECORDS = 3
    store = open_small(state)
    work(store, recorder, groups)


def restart(folders: list[Path]) -> None:
    """Restart a store in each folder, recording into ``<folder>.log`` what it does and says it has."""
    recorder = Recorder()
    for folder in folders:
        recorder.record(folder, folder.with_suffix(".log"))
        journal = startup.open_journal(place_of(folder))
        recorder.note(journal.seq)
        recorder.record(folder, None)


def renew(folders: list[Path]) -> None:
    """Open a store in each folder, let it find damage, and go on until all of the old epoch is salvaged."""
    recorder = Recorder()
    inherit.TAIL = 5  # so that something is left to be salvaged
    damage = sqlite3.DatabaseError("a page is damaged")
    damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    for folder in folders:
        (folder / "head.key").chmod(0o600)  # a rebuilt disk knows no rights
        recorder.record(folder, folder.with_suffix(".log"))
        store = open_small(folder)
        old = bytes.fromhex(store.epoch)
        while store.epoch == old.hex():
            with contextlib.suppress(StoreError):
                store._submitted(lambda old=old: Distrust(old, damage)).result(10)
        recorder.note(store.append_soon([draft("after")]).result(10).last)
        salvage_ends(store, 1)
        recorder.record(folder, None)


def break_at_each(folder: Path, error: int) -> list[dict[str, Any]]:
    """Let the k-th write, truncation or sync of a store at work fail, for k = 1, 2, … until none does."""
    recorder = Recorder()
    writer_module.PASSIVE_FRAMES = 20
    results: list[dict[str, Any]] = []
    while not results or results[-1]["fired"]:
        results.append(_break_at(len(results) + 1, folder, error, recorder))
    return results


def _break_at(k: int, folder: Path, error: int, recorder: Recorder) -> dict[str, Any]:
    state = folder / str(k)
    recorder.record(state, folder / f"{k}.log")
    store = open_small(state)
    recorder.fail(k, error)
    outcomes = [_outcome(store, recorder, n) for n in range(6)]
    fired = recorder.fired
    recorder.fail(0, 0)
    result = {"k": k, "fired": fired, "outcomes": outcomes} | _recovery(store)
    recorder.record(state, None)
    store.close()
    return result


def break_for_a_while(folder: Path, error: int) -> dict[str, Any]:
    """Let everything fail for 3 s."""
    recorder = Recorder()
    recorder.record(folder / "state", folder / "log")
    store = open_small(folder / "state")
    outcomes = [_outcome(store, recorder, 0)]
    recorder.fail(1, error, for_ever=True)
    began = time.monotonic()
    outcomes += [_outcome(store, recorder, n) for n in (1, 2)]
    answered_s = time.monotonic() - began
    states = [store.state]
    time.sleep(3 - answered_s if answered_s < 3 else 0)
    rows = _patiently(lambda: _rows(store)) or []
    recorder.fail(0, 0)
    result = _recovery(store) | {
        "outcomes": outcomes,
        "answered_s": answered_s,
        "states": states,
        "readable": [row.subject for row in rows],
    }
    recorder.record(folder / "state", None)
    store.close()
    return result


def _recovery(store: Store) -> dict[str, Any]:
    """Append as soon as it works again, and say what is there then."""
    began = time.monotonic()
    last = _patiently(lambda: store.append_soon([draft("last")]).result(15))
    recovered_s = time.monotonic() - began
    rows = _patiently(lambda: _rows(store)) or []
    return {
        "last": last is not None,
        "recovered_s": recovered_s,
        "subjects": [row.subject for row in rows],
        "epochs": store.stats.epochs,
        "reopened": store.stats.reopened,
    }


def _rows(store: Store) -> list[Row]:
    return store._readers.look(lambda view: read_after(view, 0, 100))


def _patiently(call: Callable[[], T]) -> T | None:
    """Do it as soon as the store has recovered; ``None`` when it has not in 5 s."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            return call()
        except StoreError:
            time.sleep(0.005)
    return None


def break_start(folder: Path, error: int) -> list[dict[str, Any]]:
    """Let the k-th operation of a start fail, for k = 1, 2, …; what the start after it finds."""
    recorder, results = Recorder(), list[dict[str, Any]]()
    store = open_small(folder / "state")
    store.append_soon([draft(n=n) for n in range(20)]).result(10)
    store.close()
    recorder.record(folder / "state", None)
    while not results or results[-1]["fired"]:
        recorder.fail(len(results) + 1, error)
        said = ""
        try:
            startup.open_journal(place_of(folder / "state")).close()
        except StoreError as failure:
            said = type(failure).__name__
        fired = recorder.fired
        recorder.fail(0, 0)
        journal = startup.open_journal(place_of(folder / "state"))
        results.append({"fired": fired, "said": said, "epoch": journal.epoch.hex(), "seq": journal.seq})
        journal.close()
    return results


def _outcome(store: Store, recorder: Recorder, n: int) -> str:
    try:
        blobs: tuple[BlobRef, ...] = ()
        if n == WITH_BLOB:
            blobs = (BlobRef("photo", store.keep_blob(blob_content(n), "text/plain")),)
            recorder.note(BLOB_TOLD + n)
        future = store.append_soon([draft(f"s{n}", text="x" * 9000, blobs=blobs)])
        recorder.note(future.result(15).last)
    except StoreError as error:
        return type(error).__name__
    return "stored"


# --- stores that are wrong: the tests must find each of them --------------------------------------


def normal_sync() -> None:
    """SQLite does not sync the log at each commit."""
    database.WRITER_PRAGMAS["synchronous"] = ("NORMAL", 1)


def mark_before_commit() -> None:
    """The mark says more than the journal holds."""
    commit, set_mark = Writer._commit, Writer._set_mark

    def early(writer: Writer, tx: Transaction) -> None:
        set_mark(writer, tx)
        commit(writer, tx)

    Writer._commit = early  # type: ignore[method-assign]
    Writer._set_mark = lambda writer, tx: None  # type: ignore[method-assign]


def mark_not_synced() -> None:
    """The mark is written and not synced."""
    mark.os = _Os()  # type: ignore[attr-defined]


class _Os:
    def __getattr__(self, name: str) -> Any:
        return (lambda _: None) if name == "fdatasync" else getattr(os, name)


def told_before_commit() -> None:
    """Waiters are told before the commit."""
    apply = Writer._apply

    def apply_and_tell(self: Writer, group: Any, tx: Any) -> None:
        apply(self, group, tx)
        self.bell.ring(group, tx.seq)

    Writer._apply = apply_and_tell  # type: ignore[method-assign]


def no_checkpoint_at_start() -> None:
    """What a killed process had not synced is served without a sync."""
    startup.database = _Database()  # type: ignore[attr-defined]


class _Database:
    def __getattr__(self, name: str) -> Any:
        return (lambda *_: True) if name == "checkpoint" else getattr(database, name)


def row_before_blob() -> None:
    """A blob's bytes are not synced before its row is."""
    from station.store import blobs

    blobs.write_synced = lambda path, content: path.write_bytes(content) and None


def file_before_row() -> None:
    """A blob's file is removed before it is durable that the blob is gone."""
    following = retention.Retention.next

    def remove_at_once(self: retention.Retention, journal: Journal, *, idle: bool) -> Op | None:
        op = following(self, journal, idle=idle)
        for digest, _ in op.blobs if isinstance(op, retention.TrimBlobs) else ():
            self._files.remove(digest)
        return op

    retention.Retention.next = remove_at_once  # type: ignore[method-assign]


def names_not_synced() -> None:
    """The folders that a new epoch moves are not synced."""
    epoch.sync_folder = lambda folder: None


MUTANTS = {
    mutant.__name__: mutant
    for mutant in (
        normal_sync,
        mark_before_commit,
        mark_not_synced,
        told_before_commit,
        no_checkpoint_at_start,
        row_before_blob,
        file_before_row,
        names_not_synced,
    )
}


BREAKS: dict[str, Callable[[Path, int], Any]] = {
    "break": break_at_each,
    "outage": break_for_a_while,
    "start": break_start,
}


def main() -> None:
    order = json.loads(sys.argv[1])
    if order["mutant"]:
        MUTANTS[order["mutant"]]()
    if order["do"] == "record":
        record(Path(order["state"]), Path(order["log"]), order["groups"])
    elif order["do"] in BREAKS:
        results = BREAKS[order["do"]](Path(order["folder"]), order["error"])
        Path(order["results"]).write_text(json.dumps(results))
    else:
        again = renew if order["do"] == "renew" else restart
        again([Path(folder) for folder in order["folders"]])
    sys.stdout.flush()
    os._exit(0)  # no clean end: the process is gone


if __name__ == "__main__":
    threading.excepthook = lambda hook: os._exit(3)
    main()
