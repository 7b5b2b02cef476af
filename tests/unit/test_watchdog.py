"""The service manager hears a sign of life only while every critical task is alive."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from station.runtime.watchdog import BEAT_LIMIT_S, SAMPLE_S, LoopLag, Watchdog, notify


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The socket on which a service manager listens."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@carril-{id(request)}"
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0", 1))
        listener.setblocking(False)
        yield listener


def test_a_state_reaches_the_service_manager(manager: socket.socket) -> None:
    assert notify("READY=1")
    assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "relative", "/nobody/listens/here"])
def test_without_a_service_manager_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify("WATCHDOG=1")


def test_one_task_that_hangs_silences_the_watchdog(manager: socket.socket) -> None:
    now_s = 100.0
    watchdog = Watchdog(["lane", "journal"], now=lambda: now_s)
    assert watchdog.ping()
    assert manager.recv(100) == b"WATCHDOG=1"
    now_s += BEAT_LIMIT_S + 1
    watchdog.beat("lane")
    assert not watchdog.ping()
    assert watchdog.late() == {"journal": BEAT_LIMIT_S + 1}
    with pytest.raises(BlockingIOError):
        manager.recv(100)
    watchdog.beat("journal")
    assert watchdog.ping()


def test_a_misspelt_task_is_a_bug_and_no_new_task() -> None:
    with pytest.raises(KeyError):
        Watchdog(["lane"]).beat("lnae")


def test_a_thread_that_hangs_silences_it_too_and_is_told_once(
    manager: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    ages = {"journal": BEAT_LIMIT_S + 1}
    watchdog = Watchdog(["lane"], silent={"journal": lambda: ages["journal"]})
    assert [watchdog.ping() for _ in range(3)] == [False] * 3
    with pytest.raises(BlockingIOError):
        manager.recv(100)
    ages["journal"] = 0.1
    assert watchdog.ping()
    assert [record.message for record in caplog.records] == [
        "journal has given no sign of life for 6 s",
        "journal gives signs of life again",
    ]


async def test_a_loop_that_hangs_is_seen(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pings for a loop that is blocked, and a task of it that is stuck for long is late afterwards."""
    monkeypatch.setattr("station.runtime.watchdog.PING_S", 0.01)
    monkeypatch.setattr("station.runtime.watchdog.BEAT_LIMIT_S", 0.1)
    watchdog = Watchdog(["lane"])
    running = asyncio.create_task(watchdog.run())
    await asyncio.sleep(0.05)
    with contextlib.suppress(BlockingIOError):
        while manager.recv(100):
            pass
    time.sleep(0.2)  # noqa: ASYNC251 - the loop is blocked on purpose
    await asyncio.sleep(0.03)
    with pytest.raises(BlockingIOError):
        manager.recv(100)
    watchdog.beat("lane")
    await asyncio.sleep(0.05)
    assert manager.recv(100) == b"WATCHDOG=1"
    running.cancel()


async def test_it_pings_by_itself(manager: socket.socket) -> None:
    running = asyncio.create_task(Watchdog([]).run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert manager.recv(100) == b"WATCHDOG=1"
    running.cancel()


async def test_a_blocked_loop_shows_as_lag_once() -> None:
    lag = LoopLag()
    sampling = asyncio.create_task(lag.run())
    await asyncio.sleep(0)
    time.sleep(SAMPLE_S + 0.2)  # noqa: ASYNC251 - the loop is blocked on purpose
    for _ in range(3):
        await asyncio.sleep(0)
    assert 0.15 < lag.take_max() < 5
    sampling.cancel()
    assert lag.take_max() == 0.0
