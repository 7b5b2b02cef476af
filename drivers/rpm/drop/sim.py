"""The emulated portal on the disk: it leaves its documents in the folder, carefully or carelessly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from collections import deque
from pathlib import Path
from typing import Any, ClassVar

from drivers.api import Clock, Options
from drivers.formats.n42.read import MAX_BYTES
from drivers.formats.n42.write import write
from drivers.plant.world import Plant
from drivers.rpm.drop.portal import FAULTS as PORTAL_FAULTS
from drivers.rpm.drop.portal import DropPortal

OF_FILES = frozenset(
    {
        "duplicate",  # each document twice, under two names
        "entity_bomb",  # a file with entities in entities in its place
        "foreign_prefix",  # the standard's namespace under a prefix of its own
        "half_written",  # the first half of the file, and no more
        "in_place",  # written under its own name, in two halves a second apart
        "late",  # held back until the fault ends
        "not_xml",  # lines of another protocol in its place
        "too_large",  # a file of more than 64 MiB in its place
    }
)
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE bomb [<!ENTITY a "0000000000"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><RadInstrumentData>&c;</RadInstrumentData>'
)
JUNK = b"GS,000012,000011,000012,000013\r\n" * 20
HALF_S = 1.0
MOST_HELD = 100
log = logging.getLogger(__name__)


class DropEmulator:
    """``drivers.plant.emulator.Emulator`` for ``n42_drop``: it has no port, but the folder of its options."""

    FAULTS: ClassVar[frozenset[str]] = PORTAL_FAULTS | OF_FILES
    DIALS: ClassVar[bool] = False

    def __init__(self, options: Options, plant: Plant, clock: Clock, seed: int) -> None:
        """Build it; writes nothing."""
        self.portal = DropPortal(plant, seed)
        self.faults: set[str] = set()
        self.written = 0
        self._folder = Path(str(getattr(options, "folder", "")))
        self._clock = clock
        self._held: deque[tuple[str, bytes]] = deque(maxlen=MOST_HELD)
        self._running: asyncio.Task[None] | None = None

    async def start(self, dial_port: int | None = None) -> int:
        """Make the folder, if it is not there, and begin; 0: there is no port."""
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        self._running = asyncio.create_task(self._loop())
        return 0

    async def stop(self) -> None:
        """End; idempotent."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait([running])

    def fault(self, name: str, *, on: bool) -> None:
        """Begin or end a fault; ``ValueError`` for an unknown name."""
        if name not in self.FAULTS:
            raise ValueError(
                f"{name!r} is no fault of this portal; known are {', '.join(sorted(self.FAULTS))}"
            )
        faults = self.faults if name in OF_FILES else self.portal.faults
        (faults.add if on else faults.discard)(name)

    def state(self) -> dict[str, Any]:
        """Return what the portal believes."""
        faults = sorted(self.faults | self.portal.faults)
        return {**self.portal.state(), "written": self.written, "held": len(self._held), "faults": faults}

    async def _loop(self) -> None:
        while True:
            stamp = self._clock.stamp()
            for document in self.portal.step(stamp):
                when = re.sub(r"[-:]", "", document.measurements[-1].start[:19])
                self._held.append((f"passage-{when}-{self.portal.count:04d}.n42", write(document)))
            while self._held and "late" not in self.faults:
                await self._leave(*self._held.popleft())
            await self._clock.sleep(max(0.0, self.portal.due_s - stamp.mono_ns / 1e9))

    async def _leave(self, name: str, body: bytes) -> None:
        """Leave a document in the folder, with the faults of the moment."""
        if "foreign_prefix" in self.faults:
            text = body.decode().replace('xmlns="', 'xmlns:n42="')
            body = re.sub(r"<(/?)(?=[A-Z])", r"<\1n42:", text).encode()
        stand_ins = (("not_xml", JUNK), ("entity_bomb", BOMB), ("half_written", body[: len(body) // 2]))
        body = next((stand_in for fault, stand_in in stand_ins if fault in self.faults), body)
        with contextlib.suppress(FileNotFoundError):  # somebody took the folder away
            if "in_place" in self.faults:
                await asyncio.to_thread(self._append, name, body[: len(body) // 2])
                await self._clock.sleep(HALF_S)
                await asyncio.to_thread(self._append, name, body[len(body) // 2 :])
            else:
                for number in range(1 + ("duplicate" in self.faults)):
                    await asyncio.to_thread(self._rename, f"{number or ''}{name}", body)
        self.written += 1

    def _append(self, name: str, body: bytes) -> None:
        with (self._folder / name).open("ab") as file:
            file.write(body)

    def _rename(self, name: str, body: bytes) -> None:
        making = self._folder / f".{name}.part"
        making.write_bytes(body)
        if "too_large" in self.faults:
            os.truncate(making, MAX_BYTES + 1)  # a hole: it costs no room
        making.rename(self._folder / name)
