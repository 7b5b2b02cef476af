"""One byte stream, whatever carries it: all that a driver needs to know of TCP or of a serial line."""

from __future__ import annotations

from typing import Protocol


class Link(Protocol):
    """An open byte stream to one device; every byte passes the driver's tap on its way."""

    async def read(self) -> bytes:
        """Return the bytes that have come, at least one; ``b""`` when the stream has ended.

        Raises ``LinkLost`` when the link broke instead of ending.
        """
        ...

    async def write(self, data: bytes) -> None:
        """Send ``data``; raises ``LinkLost``."""
        ...

    async def close(self) -> None:
        """Close the stream; idempotent, at most one second. A waiting ``read`` then returns ``b""``."""
        ...
