"""Too little memory, too little of the processor: the journal degrades or ends, and loses nothing."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from station.store.errors import StoreError
from station.store.feed import read_after
from station.store.readers import View
from station.store.verify import verify
from tests.support.journal import draft, open_small

ROOMS_MB = (2, 8)
LARGE = 200_000
ABSENT = {"NotStored", "StoreFull", "StoreUnavailable", "StoreBusy", "RecordRejected", "MemoryError"}
BUSY_S = 2.0


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that start in milliseconds, since a server has imported everything for them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.test_starved", "tests.support.journal"])
    return context


def short_of_memory(state: str, room_mb: int, report: Connection) -> None:
    """Append more than there is memory for, then again with room; report what each caller was told."""
    store = open_small(Path(state))
    store.append_soon([draft("first")]).result(10)
    text = "x" * LARGE  # once, and before: what is short must be the journal's memory, not this test's
    # RLIMIT_AS would count what the C library has only reserved: it bites too late.
    size = int(re.findall(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (size + room_mb * 1024 * 1024, limits[1]))
    told: list[tuple[str, str]] = []
    waiting: list[tuple[str, Any]] = []
    for n in range(300):
        try:
            waiting.append((f"s{n}", store.append_soon([draft(f"s{n}", text=text)])))
        except MemoryError:
            told.append((f"s{n}", "MemoryError"))
    for subject, future in waiting:
        try:
            error = future.exception(20)
        except TimeoutError:
            told.append((subject, "nobody told"))
            continue
        told.append((subject, "stored" if error is None else type(error).__name__))
    resource.setrlimit(resource.RLIMIT_DATA, limits)
    last = ""
    ends_s = time.monotonic() + 5
    while not last and time.monotonic() < ends_s:
        try:
            store.append_soon([draft("last")]).result(10)
            last = "stored"
        except StoreError:
            time.sleep(0.02)
    report.send((told, last, str(store.state), store.cause))
    os._exit(0)


def asked(processes: ForkServerContext, what: Any, *given: Any) -> Any:
    received, sent = processes.Pipe(duplex=False)
    child = processes.Process(target=what, args=(*given, sent))
    child.start()
    sent.close()
    try:
        return received.recv() if received.poll(45) else None
    finally:
        child.kill()
        child.join()


@pytest.mark.fault("F25")
@pytest.mark.parametrize("room_mb", ROOMS_MB)
def test_short_memory_loses_nothing_and_everybody_is_told(
    tmp_path: Path, processes: ForkServerContext, room_mb: int
) -> None:
    state = tmp_path / "state"
    told, last, now, cause = asked(processes, short_of_memory, str(state), room_mb)
    outcomes = Counter(outcome for _, outcome in told)
    assert outcomes.keys() - {"stored"}, "there was memory enough"
    assert "nobody told" not in outcomes
    assert last == "stored" or now == "faulted", f"neither does it go on nor does it say so: {now} {cause}"
    present = Counter(_subjects(state))
    for subject, outcome in told:
        if outcome == "stored":
            assert present[subject] == 1, subject
        elif outcome in ABSENT:
            assert present[subject] == 0, (subject, outcome)
        else:
            assert outcome == "Unknown"
    assert present["first"] == 1
    assert verify(state).ok


def _subjects(state: Path) -> list[str]:
    store = open_small(state)
    try:
        return [store._readers.look(partial(_subject, seq=seq)) for seq in range(1, store.published + 1)]
    finally:
        store.close()


def _subject(view: View, seq: int) -> str:
    (row,) = read_after(view, seq - 1, 1)
    return row.subject


def starved(state: str, report: Connection) -> None:
    """Append one after the other with the least claim to the processor."""
    os.nice(19)
    store = open_small(Path(state))
    ends_s = time.monotonic() + BUSY_S
    stored, silent_s, failed = 0, 0.0, ""
    while time.monotonic() < ends_s:
        try:
            store.append_soon([draft(n=stored)]).result(10)
            stored += 1
        except StoreError as error:
            failed = repr(error)
        silent_s = max(silent_s, store.silent_s)
    report.send((stored, silent_s, failed, str(store.state)))
    os._exit(0)


def spin() -> None:
    """Use a processor for ever, with less claim to it than other tests and more than the journal here."""
    os.nice(10)
    while True:
        pass


@pytest.fixture
def busy(processes: ForkServerContext) -> Iterator[None]:
    """More work than processors."""
    children = [processes.Process(target=spin, daemon=True) for _ in range(2 * (os.cpu_count() or 1))]
    for child in children:
        child.start()
    try:
        yield
    finally:
        for child in children:
            child.kill()
            child.join()


@pytest.mark.fault("F25")
@pytest.mark.usefixtures("busy")
def test_a_starved_journal_is_slow_and_nothing_else(tmp_path: Path, processes: ForkServerContext) -> None:
    stored, silent_s, failed, now = asked(processes, starved, str(tmp_path / "state"))
    assert (failed, now) == ("", "open"), "no failure is made of a processor that is busy"
    assert stored > 5
    assert silent_s < 5, "its watchdog must not end it"
    assert len(_subjects(tmp_path / "state")) == stored
    assert verify(tmp_path / "state").ok
