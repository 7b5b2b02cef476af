"""Monotonic time for every duration, UTC as evidence; virtual time wakes its sleepers in order."""

from __future__ import annotations

import asyncio
import ctypes
import time

import pytest

from drivers.api import Clock
from drivers.readings import Channel, Counts, DeviceFlag, OccupancyEnd, Phase
from imaging.radiation.background import BackgroundRules
from imaging.radiation.gross import GrossConfig
from imaging.radiation.opinion import StationOpinion
from station.domain.occupancy import OccupancyMachine
from station.domain.occupancy_effects import Closed
from station.runtime.clock import BOOT_ID, Overdue, SystemClock, clock_quality, end, within
from tests.support.manual_clock import ManualClock


def test_stamps_carry_the_kernels_boot_id_and_both_times() -> None:
    clock: Clock = SystemClock()
    before, stamp, after = time.monotonic_ns(), clock.stamp(), time.monotonic_ns()
    assert before <= stamp.mono_ns <= after
    assert abs(stamp.utc_ns - time.time_ns()) < 1e9
    assert stamp.boot_id == BOOT_ID.read_text().strip()


@pytest.mark.fault("F11")
def test_peer_fault_3_a_step_of_the_wall_clock_moves_utc_and_no_duration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SystemClock()
    first = clock.stamp()
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 3_600_000_000_000)
    second = clock.stamp()
    assert second.utc_ns - first.utc_ns < -3_599_000_000_000
    assert 0 <= second.mono_ns - first.mono_ns < 1_000_000_000
    assert 0 <= clock.monotonic_s() - first.mono_ns / 1e9 < 1


@pytest.mark.parametrize(("answer", "quality"), [(0, "sync"), (1, "sync"), (5, "unsync"), (-1, "unknown")])
def test_the_kernel_says_whether_its_clock_is_synchronised(
    answer: int, quality: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kernel:
        def adjtimex(self, timex: ctypes.Array[ctypes.c_char]) -> int:
            assert not any(timex.raw), "modes 0: only read"
            return answer

    monkeypatch.setattr("station.runtime.clock._LIBC", Kernel())
    assert clock_quality() == quality


def test_the_real_kernel_answers_too() -> None:
    assert clock_quality() in ("sync", "unsync")


def test_a_rate_scales_monotonic_time_and_utc_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"mono": 5_000_000_000, "utc": 1_767_225_600_000_000_000}
    monkeypatch.setattr(time, "monotonic_ns", lambda: now["mono"])
    monkeypatch.setattr(time, "time_ns", lambda: now["utc"])
    clock = SystemClock(rate=5)
    first = clock.stamp()
    for each in now:
        now[each] += 2_000_000_000
    second = clock.stamp()
    assert second.mono_ns - first.mono_ns == 10_000_000_000
    assert second.utc_ns - first.utc_ns == 10_000_000_000
    assert clock.monotonic_s() == 15.0


async def test_a_sleep_of_a_fast_clock_is_short() -> None:
    clock = SystemClock(rate=1000)
    before_s = time.monotonic()
    await clock.sleep(1.0)
    assert time.monotonic() - before_s < 0.5


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_clock_runs_forward(rate: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        SystemClock(rate)


async def test_virtual_time_wakes_sleepers_in_order_each_at_its_time() -> None:
    clock = ManualClock(start_s=0)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *naps_s: float) -> None:
        for nap_s in naps_s:
            await clock.sleep(nap_s)
            woken.append((name, clock.monotonic_s()))

    tasks = [asyncio.create_task(sleeper("a", 2, 2)), asyncio.create_task(sleeper("b", 1, 1, 1))]
    await clock.advance(3)
    assert woken == [("b", 1.0), ("a", 2.0), ("b", 2.0), ("b", 3.0)]
    assert clock.monotonic_s() == 3.0
    await clock.advance(0.5)
    assert len(woken) == 4
    await clock.advance(0.5)
    assert woken[-1] == ("a", 4.0)
    await asyncio.gather(*tasks)


async def test_virtual_time_stands_still_until_it_is_moved() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(0.001))
    await clock.settle()
    assert not task.done()
    assert clock.stamp() == clock.stamp()
    await end(task)
    await clock.advance(1)  # a cancelled sleeper wakes nobody


async def test_no_time_at_all_passes_at_once() -> None:
    await ManualClock().sleep(0)


async def test_a_step_of_virtual_utc_moves_nothing_else() -> None:
    clock = ManualClock()
    before = clock.stamp()
    clock.step_utc(-3600)
    assert clock.stamp().utc_ns == before.utc_ns - 3_600_000_000_000
    assert clock.stamp().mono_ns == before.mono_ns


async def answer(clock: Clock, after_s: float) -> str:
    await clock.sleep(after_s)
    return "done"


async def test_within_returns_the_result_of_work_that_is_done_in_time() -> None:
    clock = ManualClock()
    task = asyncio.create_task(within(clock, 5, answer(clock, 4.9)))
    await clock.advance(5)
    assert await task == "done"


async def test_within_cancels_work_that_is_late() -> None:
    clock = ManualClock()
    cancelled: list[bool] = []

    async def late() -> None:
        try:
            await clock.sleep(100)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    task = asyncio.create_task(within(clock, 5, late()))
    await clock.advance(4.9)
    assert not task.done()
    await clock.advance(0.2)
    with pytest.raises(Overdue):
        await task
    assert cancelled == [True]


async def test_within_hands_on_what_the_work_raises() -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await within(ManualClock(), 5, fail())


async def test_within_takes_work_that_cancels_itself_for_a_bug() -> None:
    async def cancels_itself() -> None:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="cancelled itself"):
        await within(ManualClock(), 5, cancels_itself())


async def test_end_tells_how_many_are_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("station.runtime.clock.GRACE_S", 0.01)
    released = asyncio.Event()

    async def ignores() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    stubborn, obedient = asyncio.create_task(ignores()), asyncio.create_task(asyncio.Event().wait())
    await asyncio.sleep(0)
    left = await end(stubborn, obedient)
    released.set()
    await stubborn
    assert left == 1


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_peer_defect_7_a_step_of_the_wall_clock_by_an_hour_changes_no_duration(step_s: int) -> None:
    """In the middle of an occupancy; the device's own milliseconds are kept as they came."""
    clock = ManualClock()
    opinion = StationOpinion(GrossConfig(), BackgroundRules())
    portal = OccupancyMachine(frozenset({Channel.GAMMA}), opinion, lambda: "id")
    closed = []
    for number in range(20):
        if number == 10:
            clock.step_utc(step_s)
        clock._mono_ns += 200_000_000
        counts = (120 + number, 121, 122, 123)
        t_device = f"00-00-04.{number:03}"
        reading = Counts(clock.stamp(), Channel.GAMMA, Phase.SCAN, 0.2, counts, DeviceFlag.NONE, t_device)
        assert reading.t_device == t_device
        portal.accept(reading)
    portal.accept(OccupancyEnd(clock.stamp(), 1))
    clock._mono_ns += 2_000_000_000
    closed += [each.occupancy for each in portal.tick(clock.stamp().mono_ns) if isinstance(each, Closed)]
    (occupancy,) = closed
    assert occupancy.duration_s == pytest.approx(4.0)
    assert occupancy.gaps == []
    assert occupancy.gamma.times_s[-1] - occupancy.gamma.times_s[0] == pytest.approx(3.8)
