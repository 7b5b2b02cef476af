"""The web server inside the daemon."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import uvicorn


class Server(uvicorn.Server):
    """Uvicorn without signal handling of its own: the daemon decides when it ends."""

    def __init__(self, config: uvicorn.Config, beat: Callable[[], None]) -> None:
        """Prepare; ``beat`` is called ten times a second while it serves."""
        super().__init__(config)
        self._beat = beat

    async def on_tick(self, counter: int) -> bool:
        """Give a sign of life."""
        self._beat()
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the daemon."""
        yield
