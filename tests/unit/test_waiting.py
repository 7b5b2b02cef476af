"""Who waits for the writer is told once, and what was told stays."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any, cast

import pytest

from station.store import chore as chore_module
from station.store.chore import Chores
from station.store.errors import StoreError, StoreFull, Unknown
from station.store.waiting import Bell, Waiter


def waiter(future: Any, loop: asyncio.AbstractEventLoop | None) -> Waiter:
    return Waiter(cast(Any, None), future, loop)


async def test_what_was_told_stays_whatever_comes_of_it_later() -> None:
    bell, loop = Bell(), asyncio.get_running_loop()
    asked = waiter(loop.create_future(), loop)
    bell.fail([asked], Unknown("the disk hangs"))
    asked.outcome = "a receipt of a commit that has not been yet"
    bell.ring([asked], 7)
    with pytest.raises(Unknown, match="hangs"):
        await asked.future


def test_a_failure_is_told_though_there_was_an_outcome() -> None:
    asked: Future[Any] = Future()
    done = waiter(asked, None)
    done.outcome = "a receipt"
    Bell().fail([done], StoreError("not committed"))
    assert isinstance(asked.exception(), StoreError)


def test_a_chore_whose_step_was_refused_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = cast(Any, object()), cast(Any, object())
    chores = Chores([first, second])
    stored, refused = Future[object](), Future[object]()
    stored.set_result(None)
    refused.set_exception(StoreFull("full"))
    chores.took(first, stored)
    chores.took(second, refused)
    assert chores.ready() == [first]
    monkeypatch.setattr(chore_module, "REST_S", -1.0)
    chores.took(second, refused)
    assert chores.ready() == [first, second], "and is asked again"
    chores.took(first, Future())
    assert chores.ready() == [first, second]
