"""Opening the store: one process per state folder, then journal, blobs and reserve, in that order."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from drivers.api import Clock
from station.store.ballast import Ballast
from station.store.blobs import BlobFiles
from station.store.chore import Chore
from station.store.errors import StateLocked, StoreFull, StoreRefused, StoreUnavailable
from station.store.files import make_folder, words_of
from station.store.heads import HeadSigner, load_key
from station.store.journal import Store
from station.store.orphans import Orphans
from station.store.past_holds import PastHolds
from station.store.place import Consumer, Journal, Place
from station.store.quota import blob_quota, partition_bytes
from station.store.readers import Readers
from station.store.recheck import Recheck
from station.store.retention import Retention
from station.store.salvage import Salvage
from station.store.startup import open_journal
from station.store.stats import Stats
from station.store.strays import Strays
from station.store.troubles import CountRefused, Troubles
from station.store.writer import Writer

QUOTA_BYTES = 4 * 1024**3
BALLAST_BYTES = 64 * 1024**2


def open_store(
    state: Path,
    station: str,
    clock: Clock,
    *,
    consumers: Sequence[Consumer | tuple[str, bool]],
    config_sha256: str = "",
    quota_bytes: int = QUOTA_BYTES,
    ballast_bytes: int = BALLAST_BYTES,
    blob_quota_bytes: int | None = None,
) -> Store:
    """Open the store of ``station`` in the folder ``state``; blocks for up to 2 s.

    At least one of the ``consumers`` must be required. ``config_sha256`` goes into the record of a new epoch.
    Without ``blob_quota_bytes`` blobs may take what the other quotas leave of the partition.
    Raises ``StateLocked``, ``WrongStation``, ``StoreRefused``, ``StoreFull``, or ``StoreUnavailable`` when
    the folder or the disk fails: nothing is lost then, and it may be tried again.
    """
    known = tuple(Consumer(*consumer) for consumer in consumers)
    if not any(consumer.required for consumer in known):
        raise StoreRefused("No consumer is required: nothing would have to arrive anywhere. Require one.")
    state = state.absolute()
    ballast = Ballast(state / "ballast", ballast_bytes)
    blobs = BlobFiles(state / "blobs")
    with contextlib.ExitStack() as undo:
        unlock = lock_state(state)
        undo.callback(unlock)
        blob_bytes = blob_quota_bytes or _blob_quota(state, quota_bytes, ballast_bytes)
        place = Place(state, station, clock, known, quota_bytes, config_sha256, blob_bytes)
        journal = _open_journal(place, ballast)
        undo.callback(journal.close)
        ballast.hold()
        key = load_key(state, station)
        try:
            blobs.start()
        except OSError as error:
            raise StoreUnavailable(f"Blobs cannot be kept in {state}: {error}.") from error
        undo.pop_all()
    readers = Readers(place)
    stats, troubles = Stats(), Troubles()
    salvage = Salvage(place, blobs)
    chores: list[Chore] = [
        salvage,
        PastHolds(place, blobs, salvage.is_done),
        HeadSigner(place, key),
        Strays(place, blobs, stats, salvage.is_done),
        Retention(place, blobs, stats, salvage.is_done),
        Orphans(place, blobs, stats, salvage.is_done),
        Recheck(),
        CountRefused(troubles),
    ]
    writer = Writer(place, journal, readers, ballast, chores, stats)
    store = Store(place, writer, readers, blobs, unlock, key.line, troubles)
    writer.start()
    return store


def _blob_quota(state: Path, quota_bytes: int, ballast_bytes: int) -> int:
    try:
        return blob_quota(partition_bytes(state), quota_bytes, ballast_bytes)
    except OSError as error:
        raise StoreUnavailable(f"The state folder {state} cannot be used: {words_of(error)}.") from error


def _open_journal(place: Place, ballast: Ballast) -> Journal:
    try:
        return open_journal(place)
    except StoreFull:
        if not ballast.release():
            raise
        return open_journal(place)


def lock_state(state: Path) -> Callable[[], None]:
    """Lock the state folder for this process and return the way to unlock it.

    Raises ``StateLocked``, or ``StoreUnavailable`` when the folder cannot be used.
    """
    try:
        make_folder(state)
        file = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"The state folder {state} cannot be used: {words_of(error)}.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(file, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(file)
        raise StateLocked(
            f"The state folder {state} is in use by process {holder}: stop that one, or choose another "
            "folder with --state."
        ) from None
    with contextlib.suppress(OSError):  # the number is only for the sentence above
        os.ftruncate(file, 0)
        os.pwrite(file, b"%d\n" % os.getpid(), 0)
    return lambda: os.close(file)
