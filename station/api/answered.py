"""The last answers to requests that may be repeated: the same request under the same key is done once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

from station.api.problems import Problem

T = TypeVar("T")
KEPT = 16


class Answered(Generic[T]):
    """Answers by key, while they are worked on and after, the newest alone; a restart forgets them."""

    def __init__(self) -> None:
        """Know none."""
        self._known: OrderedDict[str, tuple[str, asyncio.Task[T]]] = OrderedDict()

    async def once(self, key: str, digest: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the answer of ``work``, or what it was the first time.

        Raises ``Problem`` if the key stands for another request, and whatever ``work`` raises; then the key
        is free again.
        """
        known = self._known.get(key)
        if known is None:
            task = asyncio.ensure_future(work())
            task.add_done_callback(partial(self._forget_failed, key))
            known = self._known[key] = digest, task
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        elif known[0] != digest:
            raise Problem(409, "key-reused", "This idempotency key stands for another request.")
        return await asyncio.shield(known[1])  # who hangs up does not end it for those who repeat it

    def _forget_failed(self, key: str, task: asyncio.Task[T]) -> None:
        """Free the key of what has failed, also when nobody waited for it any more."""
        failed = task.cancelled() or task.exception() is not None
        if failed and key in self._known and self._known[key][1] is task:
            del self._known[key]
