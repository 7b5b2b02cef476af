"""A serial line as a ``Link``: pyserial sets the port up, the event loop waits for it; no thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios

import serial

from drivers.api import Tap
from drivers.errors import ConnectFailed, LinkLost

READ_SIZE = 65_536
RETRY_S = 0.01
"""Pause before the rest of a write goes to a full output buffer."""


class _Port(serial.Serial):
    """A port that may lack modem lines: to these a pty answers ENOTTY or EIO."""

    def _update_dtr_state(self) -> None:
        with contextlib.suppress(OSError):
            super()._update_dtr_state()  # type: ignore[misc]  # not in the stubs

    def _update_rts_state(self) -> None:
        with contextlib.suppress(OSError):
            super()._update_rts_state()  # type: ignore[misc]  # not in the stubs


async def open_serial(path: str, baud: int, *, tap: Tap) -> SerialLink:
    """Open a tty or pty, 8 data bits, no parity, 1 stop bit, for this process alone.

    Raises ``ConnectFailed``.
    """
    try:
        port = _Port(path, baud, timeout=0, exclusive=True)
    except (OSError, ValueError) as error:  # SerialException is an OSError
        raise ConnectFailed(
            f"the serial port {path} cannot be opened at {baud} baud ({error}): "
            "check cable, name and permissions, and that no other program uses it"
        ) from error
    return SerialLink(port, tap, path)


class SerialLink:
    """An open serial line."""

    def __init__(self, port: serial.Serial, tap: Tap, path: str) -> None:
        self._port = port
        self._tap = tap
        self._path = path
        self._woken = asyncio.Event()

    async def read(self) -> bytes:
        """Return what has come; see ``Link.read``. A hang-up raises ``LinkLost``: a line has no end."""
        while await self._readable():
            try:
                data = self._port.read(READ_SIZE)
            except OSError as error:
                raise LinkLost(f"the serial port {self._path} hung up ({error})") from error
            if data:
                self._tap("rx", data)
                return bytes(data)
        return b""

    async def _readable(self) -> bool:
        """Wait for bytes or a hang-up (true), or for ``close`` (false)."""
        if not self._port.is_open:
            return False
        loop = asyncio.get_running_loop()
        self._woken.clear()
        loop.add_reader(self._port.fileno(), self._woken.set)
        try:
            await self._woken.wait()
            return bool(self._port.is_open)
        finally:
            if self._port.is_open:
                loop.remove_reader(self._port.fileno())

    async def write(self, data: bytes) -> None:
        """Send ``data``; see ``Link.write``."""
        self._tap("tx", data)
        while data:
            try:
                data = data[os.write(self._port.fileno(), data) :]
            except BlockingIOError:
                await asyncio.sleep(RETRY_S)
            except OSError as error:
                raise LinkLost(f"the serial port {self._path} hung up ({error})") from error

    async def close(self) -> None:
        """Close; see ``Link.close``."""
        if not self._port.is_open:
            return
        asyncio.get_running_loop().remove_reader(self._port.fileno())
        with contextlib.suppress(OSError, termios.error):
            self._port.reset_output_buffer()  # else the kernel waits for a line that takes nothing
        self._port.close()
        self._woken.set()
