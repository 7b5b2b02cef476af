"""What runs on the event loop beside the devices looks at no file: a disk may hang."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from station.cli.daemon import Daemon
from station.store import database
from tests.support.journal import append, draft
from tests.support.manual_clock import ManualClock
from tests.support.served import Served


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any look at a file by name fails, as a hanging one would never come back."""
    stat = Path.stat

    def hangs(path: Path, **more: Any) -> Any:
        if "state" in path.parts or path.name == "index.html":
            raise AssertionError(f"looked at {path}")
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", hangs)


async def test_metrics_ask_no_disk(central: Served, request: pytest.FixtureRequest) -> None:
    await append(central.store, [draft()])
    until_s = time.monotonic() + 5
    while not central.store.stats.log_bytes and time.monotonic() < until_s:
        await asyncio.sleep(0.01)  # the writer looks after it has told us
    size = database.log_of(central.store._place.database).stat().st_size
    request.getfixturevalue("hanging")
    reply = await central.client.get("/metrics")
    assert reply.status_code == 200
    assert f"carril_store_wal_bytes {float(size)}" in reply.text


@pytest.mark.usefixtures("hanging")
def test_the_heartbeat_of_screens_asks_no_disk(tmp_path: Path) -> None:
    daemon: Any = object.__new__(Daemon)
    daemon.clock = ManualClock()
    daemon.lane_file = SimpleNamespace(consumers=[SimpleNamespace(name="central", required=True)])
    daemon.store = SimpleNamespace(published=7, acked={"central": 5})
    daemon.serving = False
    daemon.supervisor = SimpleNamespace(ages=dict)
    daemon.settings = SimpleNamespace(web_dist=tmp_path)
    beat = daemon._beat("build-1")
    assert (beat["seq"], beat["web"]) == (7, "build-1")
    assert beat["centre"] == {"state": "never", "waiting": 2}
