"""A request that is repeated under its key is done once, also while it is still worked on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from station.api.answered import KEPT, Answered
from station.api.problems import Problem


@pytest.fixture
def done() -> list[int]:
    return []


@pytest.fixture
def work(done: list[int]) -> Callable[[], Coroutine[Any, Any, int]]:
    async def take() -> int:
        await asyncio.sleep(0)
        done.append(1)
        return len(done)

    return take


async def test_a_repeat_gets_the_first_answer(work: Any) -> None:
    answers: Answered[int] = Answered()
    assert await asyncio.gather(*(answers.once("k", "d", work) for _ in range(3))) == [1, 1, 1]
    assert await answers.once("k", "d", work) == 1
    assert await answers.once("other", "d", work) == 2


async def test_a_key_stands_for_one_request(work: Any, done: list[int]) -> None:
    answers: Answered[int] = Answered()
    await answers.once("k", "d", work)
    with pytest.raises(Problem, match="another request") as refused:
        await answers.once("k", "e", work)
    assert (refused.value.status, done) == (409, [1])


async def test_what_failed_may_be_tried_again(work: Any) -> None:
    async def fail() -> int:
        raise Problem(503, "store-unavailable", "The disk is full.")

    answers: Answered[int] = Answered()
    with pytest.raises(Problem):
        await answers.once("k", "d", fail)
    assert await answers.once("k", "d", work) == 1


async def test_what_failed_when_nobody_waited_any_more_may_be_tried_again(work: Any) -> None:
    going, failed = asyncio.Event(), asyncio.Event()

    async def fail() -> int:
        await going.wait()
        failed.set()
        raise Problem(503, "store-unavailable", "The disk is full.")

    answers: Answered[int] = Answered()
    first = asyncio.create_task(answers.once("k", "d", fail))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    going.set()
    await failed.wait()
    await asyncio.sleep(0)
    assert await answers.once("k", "d", work) == 1


async def test_who_hangs_up_does_not_end_it_for_who_repeats(work: Any) -> None:
    answers: Answered[int] = Answered()
    first = asyncio.create_task(answers.once("k", "d", work))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await answers.once("k", "d", work) == 1


async def test_only_the_newest_answers_are_kept(work: Any) -> None:
    answers: Answered[int] = Answered()
    for number in range(KEPT + 1):
        await answers.once(f"k{number}", "d", work)
    assert await answers.once("k1", "d", work) == 2
    assert await answers.once("k0", "d", work) == KEPT + 2
