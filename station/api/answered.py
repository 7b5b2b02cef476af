"""The last answers to requests that may be repeated: the same request under the same key is done once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
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
            known = self._known[key] = digest, asyncio.ensure_future(work())
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        elif known[0] != digest:
            raise Problem(409, "key-reused", "This idempotency key stands for another request.")
        try:
            return await asyncio.shield(known[1])  # who hangs up does not end it for those who repeat it
        except Exception:
            if self._known.get(key) is known:
                del self._known[key]
            raise
