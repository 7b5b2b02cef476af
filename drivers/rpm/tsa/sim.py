"""A portal monitor that speaks TSA ASCII, looking at the virtual plant: Poisson counts, true cadence.

``TsaPortal`` is the device without a socket: ``step`` returns the lines that are due, so that it also runs
in virtual time. ``TsaEmulator`` serves it over TCP to any number of clients, or over a pty.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import pty
import tty
from collections import deque
from typing import Any, ClassVar

import numpy as np

from drivers.api import Clock, Options
from drivers.plant.world import Plant
from drivers.rpm.tsa import codec
from drivers.rpm.tsa.codec import CountsLine, EndLine, SetupLine, SpeedLine, TamperLine, encode

GAMMA_S, NEUTRON_S, BACKGROUND_S = 0.2, 1.0, 5.0
SPEED_EVERY = 6
"""Gamma scans between two SP lines [SRLS]."""
HOLD_IN = 10
"""Gamma scans after the beams are clear [OSCAR's default]."""
INTERVALS, NSIGMA = 5, 7.0
NEUTRON_ALARM = 11
"""Neutron counts in one second, all panels, at which NA replaces NS: about 1e-5 a record at 3 per second."""
BACKGROUND_RECORDS = 20
STEP_S = 0.02

SETUP = (
    SetupLine("SG1", ("000300", "000100", "5", "10", "7.0", "000000")),
    SetupLine("SG2", ("4", "0.0480", "4.9984", "1", "SUM", "A 2.10")),
    SetupLine("SG3", ("0.0480", "4.9984", "20", "7", "2.10.2")),
    SetupLine("SN1", ("7", "5", "3", "9", "4", "20")),
    SetupLine("SN2", ("0.4992", "4.9984", "0.4992", "4.9984", "000000")),
)


class TsaPortal:
    """One portal; times are monotonic seconds of the plant's clock."""

    FAULTS: ClassVar[frozenset[str]] = frozenset(
        {
            "frozen_counter",
            "garble",
            "duplicate",
            "missing_gx",
            "missing_ns",
            "partial",
            "tamper",
            "gamma_low",
            "neutron_low",
            "counter_reset",
            "restart",
        }
    )

    def __init__(self, plant: Plant, seed: int) -> None:
        """Switch it on: set-up and backgrounds come with the first step."""
        self._plant = plant
        self._rng = np.random.default_rng(seed)
        self._faults: set[str] = set()
        self._gamma_due: float | None = None
        self._neutron_due = 0.0
        self._background_due = 0.0
        self._hold = 0
        self._scans = 0
        self._count = 0
        self._window: deque[int] = deque(maxlen=INTERVALS)
        self._backgrounds: deque[int] = deque(maxlen=BACKGROUND_RECORDS)
        self._neutrons: deque[int] = deque(maxlen=BACKGROUND_RECORDS)
        self._tamper = False
        self._last: bytes = b""

    @property
    def state(self) -> dict[str, Any]:
        """What the portal believes."""
        return {
            "occupied": self._gamma_due is not None,
            "occupancy_count": self._count,
            "faults": sorted(self._faults),
        }

    def fault(self, name: str, *, on: bool) -> None:
        """Begin or end a fault; ``counter_reset`` and ``restart`` happen once."""
        if name not in self.FAULTS:
            raise ValueError(f"{name} is no fault of this portal; there are {', '.join(sorted(self.FAULTS))}")
        if on and name == "counter_reset":
            self._count = 0
        elif on:
            self._faults.add(name)
        else:
            self._faults.discard(name)

    def connected(self) -> list[bytes]:
        """Return what a client gets at once: set-up and one background of each channel."""
        return [*map(encode, SETUP), *self._background()]

    def step(self, now_s: float) -> list[bytes]:
        """Return the lines that have become due, each with its CRLF."""
        lines = self._tampering()
        if "restart" in self._faults:
            self._faults.discard("restart")
            self._gamma_due, self._hold = None, 0
            lines += [encode(line) for line in SETUP]
        if self._gamma_due is None:
            lines += self._vacant(now_s)
        if self._gamma_due is not None:
            lines += self._occupied(now_s)
        return [damaged for line in lines for damaged in self._damaged(line)]

    # --- vacant and occupied ----------------------------------------------------------------------

    def _vacant(self, now_s: float) -> list[bytes]:
        if self._plant.occupied:
            self._gamma_due, self._neutron_due = now_s + GAMMA_S, now_s + NEUTRON_S
            self._hold, self._scans = HOLD_IN, 0
            self._window.clear()
            return []
        if now_s < self._background_due:
            return []
        self._background_due = now_s + BACKGROUND_S
        return self._background()

    def _occupied(self, now_s: float) -> list[bytes]:
        lines: list[bytes] = []
        while self._gamma_due is not None and now_s >= self._gamma_due:
            lines.append(self._gamma_scan())
            self._scans += 1
            if self._scans % SPEED_EVERY == 0 and self._plant.speed_mps > 0.1:
                lines.append(self._speed())
            self._gamma_due += GAMMA_S
            self._hold = HOLD_IN if self._plant.occupied else self._hold - 1
            if self._hold < 0:
                self._gamma_due = None
                self._background_due = now_s + BACKGROUND_S
                lines += self._end()
        while now_s >= self._neutron_due and self._gamma_due is not None:
            self._neutron_due += NEUTRON_S
            if "missing_ns" not in self._faults:
                lines.append(self._neutron_scan())
        return lines

    def _gamma_scan(self) -> bytes:
        counts = self._draw(self._plant.gamma_cps(), GAMMA_S)
        self._window.append(sum(counts))
        background = sum(self._backgrounds) / max(1, len(self._backgrounds))
        full = len(self._window) == INTERVALS and background > 0
        alarm = full and sum(self._window) > background + NSIGMA * math.sqrt(background)
        return self._counts("GA" if alarm else "GS", counts)

    def _neutron_scan(self) -> bytes:
        counts = self._draw(self._plant.neutron_cps(), NEUTRON_S)
        return self._counts("NA" if sum(counts) >= NEUTRON_ALARM else "NS", counts)

    def _background(self) -> list[bytes]:
        gamma = self._draw(self._plant.gamma_cps(), 1.0)
        neutron = self._draw(self._plant.neutron_cps(), 1.0)
        self._backgrounds.append(sum(gamma))
        self._neutrons.append(sum(neutron))
        return [
            self._counts("GL" if "gamma_low" in self._faults else "GB", gamma),
            self._counts("NL" if "neutron_low" in self._faults else "NB", neutron),
        ]

    def _speed(self) -> bytes:
        speed_mps = self._plant.speed_mps
        return encode(
            SpeedLine(
                codec.FOOT_M / speed_mps,
                speed_mps / codec.MILE_PER_HOUR_MPS,
                speed_mps / codec.KM_PER_HOUR_MPS,
            )
        )

    def _end(self) -> list[bytes]:
        self._count += 1
        neutron = sum(self._neutrons) / max(1, len(self._neutrons))
        return [] if "missing_gx" in self._faults else [encode(EndLine(self._count, neutron))]

    def _tampering(self) -> list[bytes]:
        tamper = "tamper" in self._faults
        if tamper == self._tamper:
            return []
        self._tamper = tamper
        return [encode(TamperLine(tamper))]

    # --- numbers and damage -----------------------------------------------------------------------

    def _draw(self, rates_cps: tuple[float, ...], seconds: float) -> tuple[int, ...]:
        return tuple(int(n) for n in self._rng.poisson([rate * seconds for rate in rates_cps]))

    def _counts(self, tag: str, counts: tuple[int, ...]) -> bytes:
        if "partial" in self._faults:
            return encode(CountsLine(tag, (None, *counts[1:])))
        line = encode(CountsLine(tag, counts))
        if "frozen_counter" in self._faults and self._last[:2] == line[:2]:
            return self._last
        self._last = line
        return line

    def _damaged(self, line: bytes) -> list[bytes]:
        if "garble" in self._faults and self._rng.random() < 0.2:
            broken = bytearray(line)
            broken[int(self._rng.integers(len(line) - 2))] = 0x23
            return [bytes(broken)]
        return [line, line] if "duplicate" in self._faults else [line]


class TsaEmulator:
    """The portal on the wire (``drivers.plant.emulator.Emulator``)."""

    FAULTS: ClassVar[frozenset[str]] = TsaPortal.FAULTS
    DIALS: ClassVar[bool] = False

    def __init__(self, options: Options, plant: Plant, clock: Clock, seed: int) -> None:
        """Build it; opens nothing."""
        self.portal = TsaPortal(plant, seed)
        self._plant = plant
        self._clock = clock
        self._clients: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._pty: tuple[int, int] | None = None

    async def start(self, dial_port: int | None = None) -> int:
        """Serve every client the same lines on an ephemeral loopback port."""
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self._ticking = asyncio.create_task(self._tick())
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start_pty(self) -> str:
        """Serve a serial line instead; return the path of its device file."""
        controller, device = pty.openpty()
        tty.setraw(device)
        os.set_blocking(controller, False)
        self._pty = (controller, device)
        self._send(self.portal.connected())
        self._ticking = asyncio.create_task(self._tick())
        return os.ttyname(device)

    async def stop(self) -> None:
        """Close everything; idempotent."""
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
            self._ticking = None
        if self._server is not None:
            self._server.close()
            self._server = None
        for client in [*self._clients]:
            client.close()
        for descriptor in self._pty or ():
            os.close(descriptor)
        self._pty = None

    def fault(self, name: str, *, on: bool) -> None:
        """Begin or end a fault of the portal."""
        self.portal.fault(name, on=on)

    def state(self) -> dict[str, Any]:
        """What the portal believes."""
        return self.portal.state

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        with contextlib.suppress(ConnectionError):
            writer.write(b"".join(self.portal.connected()))
            while await reader.read(256):
                pass  # the protocol has no words for the station
        self._clients.discard(writer)
        writer.close()

    async def _tick(self) -> None:
        while True:
            now_s = self._plant.advance()
            self._send(self.portal.step(now_s))
            await self._clock.sleep(STEP_S)

    def _send(self, lines: list[bytes]) -> None:
        data = b"".join(lines)
        if not data:
            return
        for client in self._clients:
            if client.transport.get_write_buffer_size() < 1 << 16:  # a client that reads nothing loses lines
                client.write(data)
        if self._pty is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._pty[0], data)
