"""Small stores and drafts for tests."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from station.runtime.clock import SystemClock
from station.store.draft import BlobRef, Draft, Idem, Receipt
from station.store.feed import OpenSubject, read_open_subjects
from station.store.journal import Store
from station.store.open import open_store
from station.store.place import Consumer, Place

STATION = "LAR-04"
CONSUMERS = (Consumer("central"),)
QUOTA_BYTES = 1 << 30
MEMORY = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
"""A folder in memory where there is one, for tests that do not ask what the disk does."""


def open_small(state: Path, *, ballast_bytes: int = 0, **settings: Any) -> Store:
    """Open a store as the daemon does, without the 64 MiB of ballast."""
    given: dict[str, Any] = {"consumers": CONSUMERS, "quota_bytes": QUOTA_BYTES} | settings
    return open_store(state, STATION, SystemClock(), ballast_bytes=ballast_bytes, **given)


async def append(store: Store, drafts: Sequence[Draft], idem: Idem | None = None) -> Receipt:
    """Append as ``append_soon`` does, and wait until it is durable."""
    return await store.append(drafts, idem)


async def put_blob(store: Store, data: bytes, media: str) -> str:
    """Keep a blob off the event loop."""
    return await asyncio.to_thread(store.keep_blob, data, media)


async def open_subjects(store: Store) -> list[OpenSubject]:
    """Return the subjects that nothing has sealed, oldest first."""
    return await store.read(read_open_subjects)


def left_by_a_kill(store: Store, state: Path, left: Path) -> Path:
    """Copy an open store's files as a killed process leaves them, close it, and return the copy."""
    # By another process: ours must not open SQLite's files.
    subprocess.run(["cp", "-r", state, left], check=True)
    store.close()
    shutil.rmtree(state)
    return left


def place_of(state: Path) -> Place:
    """The place of such a store, for tests of its start-up alone."""
    return Place(state, STATION, SystemClock(), CONSUMERS, QUOTA_BYTES, "")


def draft(
    subject: str = "lane",
    *,
    type: str = "carril.lane_mode.changed",
    prio: int = 2,
    simulated: bool = False,
    blobs: tuple[BlobRef, ...] = (),
    opens: bool = False,
    seals: bool = False,
    **data: Any,
) -> Draft:
    """A record about ``subject`` with these members of ``data``."""
    return Draft(
        type=type,
        subject=subject,
        prio=prio,
        flags=int(simulated),
        time_us=time.time_ns() // 1000,
        data={"simulated": simulated, "test": False, "exercise": False} | data,
        schema=type.removeprefix("carril.") + ":1",
        blobs=blobs,
        opens=opens,
        seals=seals,
    )


def of_inspection(subject: str, type: str, **data: Any) -> Draft:
    """A record of an inspection; ``opens`` and ``seals`` follow from its type."""
    return draft(
        subject,
        type=type,
        prio=1,
        opens=type == "carril.inspection.opened",
        seals=type == "carril.inspection.sealed",
        inspection_id=subject,
        **data,
    )
