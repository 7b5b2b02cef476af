"""A station's central interface on a loopback port, and stores that make room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from station.cli import consumer
from station.store import retention
from station.store.journal import Store
from station.store.verify import verify
from tests.support.journal import open_small
from tests.support.served import Served, serve


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[Served]:
    """A new station, served."""
    store = await asyncio.to_thread(open_small, tmp_path / "state")
    try:
        async with serve(store) as served:
            yield served
    finally:
        await asyncio.to_thread(store.close)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be removed is looked at again at once."""
    monkeypatch.setattr(retention, "AGAIN_S", 0.05)
    monkeypatch.setattr(retention, "LOOK_EACH", 1)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[list[Store]]:
    """Stores of the test; all are closed at its end and must be sound."""
    stores: list[Store] = []
    yield stores
    for store in stores:
        store.close()
    if stores:
        report = verify(tmp_path / "state")
        assert report.ok, report.faults


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the consumer would have waited after each failure; it waits a thousandth."""
    waited: list[float] = []

    def short(seconds: float) -> None:
        waited.append(seconds)
        time.sleep(seconds / 1000)

    monkeypatch.setattr(consumer, "sleep", short)
    return waited
