"""The link-fault proxy: stands on loopback before an emulated device and breaks the link, never the device.

It forwards one TCP port. A fault is set by name, acts on all links at once and can end by itself.
Faults that need knowledge of a protocol belong to the emulators. After the toxics of Toxiproxy.

============== ============================================================ =======================
fault          what the station sees                                        arguments (default)
============== ============================================================ =======================
refused        every link ends, no new one can be opened
half_open      nothing more for ever, no FIN; new links are as dead
reset          RST on every link, and on each new one as soon as it opens
cut_mid_record that many more bytes of the device, then FIN                 after (100) bytes
silence        nothing for a while; it comes later
slicer         segments of that many bytes                                  size (1)
garbage        bytes put in before each piece of the device's stream        data (64 junk bytes)
garble         one flipped bit in that share of the device's bytes          share (0.01)
latency        each piece later                                             delay_s (0.5), jitter_s (0)
flap           reset and refused for half of each period                    period_s (1)
bandwidth      no more than that                                            bytes_per_s (1000)
============== ============================================================ =======================
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from typing import Any

CHUNK = 16_384
QUEUED = 64
"""Pieces of ``CHUNK`` bytes that one direction of one link holds back at most (1 MiB)."""
JUNK = bytes(range(0x80, 0xBE)) + b"\r\n"
TICKS_PER_S = 20
"""How often a link of limited bandwidth may send."""

FAULTS: dict[str, dict[str, Any]] = {
    "refused": {},
    "half_open": {},
    "reset": {},
    "cut_mid_record": {"after": 100},
    "silence": {},
    "slicer": {"size": 1},
    "garbage": {"data": JUNK},
    "garble": {"share": 0.01},
    "latency": {"delay_s": 0.5, "jitter_s": 0.0},
    "flap": {"period_s": 1.0},
    "bandwidth": {"bytes_per_s": 1000},
}
"""Every fault with its arguments and their defaults."""


class ChaosProxy:
    """One proxied loopback port.

    Normally the station dials the proxy, which dials the device's ``target_port``. With
    ``device_dials`` the device dials the proxy and ``target_port`` is the station's listener.
    """

    def __init__(self, target_port: int, *, device_dials: bool = False, seed: int = 1) -> None:
        """Build it; opens nothing."""
        self.target_port = target_port
        self.device_dials = device_dials
        self.random = random.Random(seed)  # noqa: S311 - faults must repeat, not surprise
        self.port = 0
        self.fault: str | None = None
        self.args: dict[str, Any] = {}
        self.struck = 0
        """How often the present fault has done its harm."""
        self.carried: tuple[bytearray, bytearray] | None = None
        """Set to two empty arrays to keep all that goes to the station, and all that goes to the device."""
        self.flowing = asyncio.Event()
        """Cleared while nothing may pass."""
        self.flowing.set()
        self._listener: socket.socket | None = None
        self._flapping: asyncio.Task[None] | None = None
        self._end: asyncio.TimerHandle | None = None
        self._links: dict[asyncio.Task[None], _Link] = {}

    async def start(self) -> int:
        """Listen on an ephemeral loopback port and return it."""
        self._listen()
        return self.port

    async def stop(self) -> None:
        """End every link and stop listening; idempotent."""
        self.set(None)
        self._refuse()
        ending = [*self._links]
        self._drop(rst=False)
        if ending:
            await asyncio.wait(ending)

    def set(self, fault: str | None, *, for_s: float | None = None, **args: Any) -> None:
        """Begin a fault in place of the present one (``None``: a sound link), at most ``for_s`` seconds.

        Raises ``ValueError`` for an unknown fault or argument and names what is known.
        """
        if fault is not None and fault not in FAULTS:
            raise ValueError(f"{fault!r} is no link fault; known are {', '.join(sorted(FAULTS))}")
        known = FAULTS[fault] if fault else {}
        if unknown := sorted(set(args) - set(known)):
            raise ValueError(f"{fault} takes {', '.join(known) or 'no argument'}, not {', '.join(unknown)}")
        for running in (self._end, self._flapping):
            if running is not None:
                running.cancel()
        self._end = self._flapping = None
        self.fault, self.args, self.struck = fault, {**known, **args}, 0
        if fault == "silence":
            self.flowing.clear()
        else:
            self.flowing.set()
        for link in self._links.values():
            link.begin(fault)
        if fault in ("refused", "reset"):
            self._drop(rst=fault == "reset")
        if fault == "refused":
            self._refuse()
        elif self.port:
            self._listen()
        if fault == "flap":
            self._flapping = asyncio.create_task(self._flap(self.args["period_s"] / 2))
        if for_s is not None:
            self._end = asyncio.get_running_loop().call_later(for_s, self.set, None)

    def _listen(self) -> None:
        if self._listener is not None:
            return
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen()
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        # No task: one that is cancelled as a connection comes would lose it.
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _refuse(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        self._listener = None

    def _drop(self, *, rst: bool) -> None:
        self.struck += len(self._links)
        for task, link in self._links.items():
            link.rst = rst
            task.cancel()

    async def _flap(self, half_s: float) -> None:
        while True:
            self._drop(rst=True)
            self._refuse()
            await asyncio.sleep(half_s)
            self._listen()
            await asyncio.sleep(half_s)

    def _accept(self, listener: socket.socket) -> None:
        try:
            near, _ = listener.accept()
        except OSError:
            return  # it has gone again
        near.setblocking(False)
        if self.fault == "reset":
            self.struck += 1
            _close(near, rst=True)
            return
        link = _Link(self, near)
        link.begin(self.fault)
        task = asyncio.create_task(link.run())
        self._links[task] = link
        task.add_done_callback(self._end_link)

    def _end_link(self, task: asyncio.Task[None]) -> None:
        self._links.pop(task).close()  # here, because a task that is cancelled at once never ran


class _Link:
    """One forwarded connection: two directions, each a reader and a writer with a short queue between."""

    def __init__(self, proxy: ChaosProxy, near: socket.socket) -> None:
        self._proxy = proxy
        self._near = near
        self._far = socket.socket()
        self._far.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._dead = False
        self._device_bytes = 0
        self.rst = False

    def begin(self, fault: str | None) -> None:
        """Take note of a new fault; a dead link stays dead."""
        self._dead = self._dead or fault == "half_open"
        self._device_bytes = 0

    async def run(self) -> None:
        """Forward until both ends are closed, one breaks, or the proxy cancels."""
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._loop.sock_connect(self._far, ("127.0.0.1", self._proxy.target_port))
            for end in (self._near, self._far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink in ((self._near, self._far), (self._far, self._near)):
                queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED)
                from_device = (source is self._near) == self._proxy.device_dials
                tasks.append(asyncio.create_task(self._read(source, queue)))
                tasks.append(asyncio.create_task(self._write(sink, queue, from_device=from_device)))
            await asyncio.gather(*tasks)
        except OSError:
            self.rst = True  # one end broke: the other shall see it broken
        finally:
            for task in tasks:
                task.cancel()

    def close(self) -> None:
        """Close both ends."""
        for end in (self._near, self._far):
            _close(end, rst=self.rst)

    async def _read(self, source: socket.socket, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        while data := await self._loop.sock_recv(source, CHUNK):
            await queue.put((self._loop.time(), data))
        await queue.put((self._loop.time(), b""))

    async def _write(
        self, sink: socket.socket, queue: asyncio.Queue[tuple[float, bytes]], *, from_device: bool
    ) -> None:
        while True:
            arrived_s, data = await queue.get()
            await self._hold_back(arrived_s)
            if self._dead and not data and not from_device:
                raise ConnectionAbortedError  # the station gave the dead link up
            if self._dead:
                self._proxy.struck += 1
            elif data:
                data = await self._spoil(data, sink) if from_device else data
                if self._proxy.carried is not None:
                    self._proxy.carried[0 if from_device else 1].extend(data)
                await self._send(sink, data)
            else:
                sink.shutdown(socket.SHUT_WR)
            if not data:
                return

    async def _hold_back(self, arrived_s: float) -> None:
        proxy = self._proxy
        await proxy.flowing.wait()
        if proxy.fault == "latency":
            proxy.struck += 1
            delay_s = proxy.args["delay_s"] + proxy.random.uniform(-1, 1) * proxy.args["jitter_s"]
            await asyncio.sleep(max(0.0, arrived_s + delay_s - self._loop.time()))

    async def _spoil(self, data: bytes, sink: socket.socket) -> bytes:
        """Return what becomes of a piece of the device's stream."""
        proxy = self._proxy
        before = self._device_bytes
        self._device_bytes += len(data)
        if proxy.fault == "cut_mid_record" and self._device_bytes >= proxy.args["after"]:
            await self._loop.sock_sendall(sink, data[: proxy.args["after"] - before])
            proxy.struck += 1
            sink.shutdown(socket.SHUT_WR)
            self._dead = True
            return b""
        if proxy.fault == "garbage":
            proxy.struck += 1
            return bytes(proxy.args["data"]) + data
        if proxy.fault == "garble":
            spoilt = bytearray(data)
            for place in range(len(spoilt)):
                if proxy.random.random() < proxy.args["share"]:
                    spoilt[place] ^= 1 << proxy.random.randrange(8)
                    proxy.struck += 1
            return bytes(spoilt)
        return data

    async def _send(self, sink: socket.socket, data: bytes) -> None:
        while data:
            size, rest_s = len(data), 0.0
            if self._proxy.fault == "slicer":
                size = self._proxy.args["size"]
            elif self._proxy.fault == "bandwidth":
                size, rest_s = max(1, self._proxy.args["bytes_per_s"] // TICKS_PER_S), 1 / TICKS_PER_S
            piece, data = data[:size], data[size:]
            await self._loop.sock_sendall(sink, piece)
            if data or rest_s:
                self._proxy.struck += 1
                await asyncio.sleep(rest_s)


def _close(end: socket.socket, *, rst: bool) -> None:
    """Close a socket with FIN or, ``rst``, with RST."""
    if rst:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
