"""The web server inside the daemon."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from station.api.connections import Connection

GRACE_S = 2


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


def server_of(app: ASGIApp, beat: Callable[[], None]) -> Server:
    """Return a server of ``app`` that logs nothing by itself and ends within ``GRACE_S``."""
    return Server(
        uvicorn.Config(
            app,
            http=Connection,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=GRACE_S,
            log_config=None,
            access_log=False,
        ),
        beat,
    )
