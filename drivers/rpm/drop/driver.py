"""A portal that leaves an N42 document of each passage in a folder: read there, moved when it is kept.

A document stays in the folder until the station says that its record is durable (``taken``); only then it
goes to ``done/``. What was read and not recorded is therefore read again after a restart, and the station,
which knows a document by its SHA-256, takes it once. One that cannot be used goes to ``quarantine/`` in the
same way, with the reason in a file beside it. All work on files is done aside: a share that hangs costs one
thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from drivers.api import (
    BadFrame,
    ConnectFailed,
    DeviceFault,
    DeviceIdentity,
    DriverContext,
    DriverSpec,
    LinkLost,
    PortalFacts,
    PortalOptions,
    Role,
)
from drivers.formats.n42.document import NotN42, Unfinished
from drivers.formats.n42.read import MAX_BYTES
from drivers.readings import Channel, PortalReport, Stamp
from drivers.rpm.drop.codec import decode
from drivers.transport.aside import Aside
from drivers.transport.folder import Folder, Found, Watch

POLL_S = 0.5
"""How often the folder is looked at where nothing tells of new files."""
AGAIN_S = 60.0
"""A document that was not taken for so long is told again."""
UNFINISHED_S = 30.0
"""A document that ends too early and has not grown for so long will not."""
MAX_WAITING_BYTES = MAX_BYTES
"""Documents that were told and are not taken yet; one alone may have as much."""
OPEN_S, WORK_S, CLOSE_S = 4.0, 30.0, 0.8
HEAD = 64
MEMORY = "aside"
"""What a driver leaves to the next one: a thread that hangs on the folder still."""


class N42DropOptions(PortalOptions):
    """Which folder, which channels the portal counts, and how long its document is waited for."""

    QUIET: ClassVar[bool] = True

    folder: str = ""
    """Absolute path; the station must be able to write there."""
    channels: Annotated[tuple[Literal["gamma", "neutron"], ...], Field(strict=False, min_length=1)] = (
        "gamma",
        "neutron",
    )
    """Without counts of one of them a passage is not measured."""
    wait_s: float = Field(default=30.0, gt=0, le=50)
    """How long the document is waited for with the vehicle at the booth, seconds."""
    keep_files: int = Field(default=1_000, ge=1, le=100_000)
    keep_mib: int = Field(default=1_024, ge=1, le=1_048_576)
    """Files and MiB that ``done`` and ``quarantine`` hold each at most; the oldest go."""

    @field_validator("folder")
    @classmethod
    def _absolute(cls, folder: str) -> str:
        if folder and not Path(folder).is_absolute():
            raise ValueError("must be an absolute path")
        return folder

    @property
    def portal(self) -> PortalFacts:
        """What it counts; intervals and panels stand in each document."""
        channels = frozenset(map(Channel, self.channels))
        return PortalFacts(channels=channels, reported_within_s=self.wait_s)


@dataclass(frozen=True, slots=True)
class _Offer:
    """A document that was told and not taken yet."""

    found: Found
    key: str
    refused: str
    at_s: float


class N42Drop:
    """One folder (``drivers.api.Reporter``)."""

    def __init__(self, options: N42DropOptions, context: DriverContext) -> None:
        """Build it; ``open`` looks at the folder."""
        self._path = options.folder
        self._context = context
        self._folder = Folder(Path(options.folder), options.keep_files, options.keep_mib * 2**20)
        self._aside: Aside | None = None
        self._watch: Watch | None = None
        self._news = asyncio.Event()
        self._renamed: set[str] = set()
        self._trouble = ""
        self._closed = False
        # Only the thread aside touches these.
        self._offered: dict[str, _Offer] = {}
        self._unfinished: dict[str, Found] = {}

    # --- the link ---------------------------------------------------------------------------------

    async def open(self) -> DeviceIdentity:
        """Look at the folder and make those for what is done; the identity is empty: a folder has none.

        Raises ``ConnectFailed`` when it is missing, full or locked, or does not answer.
        """
        left = self._context.memory.get(MEMORY)
        if left is not None and left.alive:
            raise ConnectFailed(self._sentence("still does not answer"))
        self._aside = Aside(self._context.name)
        try:
            await self._aside.do(self._prepare, OPEN_S)
        except TimeoutError:
            raise ConnectFailed(self._sentence("does not answer")) from None
        except OSError as error:
            raise ConnectFailed(self._sentence(f"cannot be used ({error.strerror})")) from error
        if self._watch is not None:
            asyncio.get_running_loop().add_reader(self._watch.fd, self._came)
        return DeviceIdentity()

    def _prepare(self) -> None:
        self._folder.open()
        try:
            self._watch = Watch(Path(self._path))
        except OSError as error:
            self._context.log.warning("%s is only polled: %s", self._path, error)

    def _sentence(self, what: str) -> str:
        return (
            f"the folder {self._path} {what}: see that it is there, that its disk has room and that the "
            "station may write to it"
        )

    def _came(self) -> None:
        if self._watch is not None:
            self._renamed |= self._watch.renamed()
        self._news.set()

    async def close(self) -> None:
        """End; idempotent. A thread that hangs on the folder is left behind, and known to the next driver."""
        self._closed = True
        self._news.set()
        if self._aside is None:
            return
        await self._aside.end(CLOSE_S)
        if self._aside.alive:
            self._context.memory[MEMORY] = self._aside
        watch, self._watch = self._watch, None
        if watch is not None:
            asyncio.get_running_loop().remove_reader(watch.fd)
            watch.close()

    # --- readings ---------------------------------------------------------------------------------

    async def readings(self) -> AsyncIterator[PortalReport | BadFrame]:
        """Yield each document once, and again while it is not taken; ends after ``close``.

        Raises ``LinkLost`` when the folder is gone, ``DeviceFault`` when a file cannot be moved out of it.
        """
        while not self._closed and self._aside is not None:
            renamed, self._renamed = self._renamed, set()
            self._news.clear()
            stamp = self._context.clock.stamp()
            try:
                items = await self._aside.do(partial(self._next, stamp, renamed), WORK_S)
            except TimeoutError:
                raise LinkLost(self._sentence("does not answer any more")) from None
            except OSError as error:
                raise LinkLost(self._sentence(f"cannot be read any more ({error.strerror})")) from error
            for item in items:
                if isinstance(item, PortalReport) and item.body:
                    self._context.tap("rx", item.body)
                yield item
            if self._trouble:
                trouble, self._trouble = self._trouble, ""
                raise DeviceFault(trouble)
            if not items:
                await self._pause()

    async def _pause(self) -> None:
        """Wait until something comes, or for a moment."""
        waits = [
            asyncio.ensure_future(self._context.clock.sleep(POLL_S)),
            asyncio.ensure_future(self._news.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _next(self, stamp: Stamp, renamed: set[str]) -> list[PortalReport | BadFrame]:
        """Return what the next file that is ready has to tell, or nothing."""
        now_s = stamp.mono_ns / 1e9
        ready = self._folder.look(now_s, renamed)
        names = {found.name for found in ready}
        self._offered = {name: offer for name, offer in self._offered.items() if name in names}
        self._unfinished = {name: found for name, found in self._unfinished.items() if name in names}
        waiting = sum(_weight(offer.found) for offer in self._offered.values())
        for found in ready:
            offer = self._offered.get(found.name)
            told = offer is not None and found.is_as(offer.found)
            if told and offer is not None and now_s - offer.at_s < AGAIN_S:
                continue
            if not told and waiting and waiting + _weight(found) > MAX_WAITING_BYTES:
                continue
            if found.is_as(self._unfinished.get(found.name)) and self._may_grow(found, now_s):
                continue
            if items := self._tell(found, stamp, told=told):
                return items
        return []

    @staticmethod
    def _may_grow(found: Found, now_s: float) -> bool:
        return now_s - found.since_s < UNFINISHED_S

    def _tell(self, found: Found, stamp: Stamp, *, told: bool) -> list[PortalReport | BadFrame]:
        body, name = b"", _shown(found.name)
        try:
            if found.size > MAX_BYTES:
                raise NotN42(f"the file has {found.size} bytes, at most {MAX_BYTES} are read")
            body = self._folder.read(found)
            report = decode(body, name, stamp)
        except Unfinished as error:
            if self._may_grow(found, stamp.mono_ns / 1e9):
                self._unfinished[found.name] = found
                return []
            report = _refused(found, body, stamp, f"{error}, and it has not grown for {UNFINISHED_S:g} s")
        except NotN42 as error:
            report = _refused(found, body, stamp, str(error))
        except FileNotFoundError:
            return []  # it has gone since
        except OSError as error:
            report = _refused(found, body, stamp, f"the file cannot be read ({error.strerror})")
        offer = _Offer(found, report.key, report.refused, stamp.mono_ns / 1e9)
        self._offered[found.name] = offer
        if not report.refused or told:
            return [report]
        self._context.log.warning("%s: %s", name, report.refused)
        kind = "too_large" if found.size > MAX_BYTES else "bad_document"
        return [BadFrame(kind, 0, body[:HEAD]), report]

    # --- what the station has ---------------------------------------------------------------------

    async def taken(self, key: str) -> None:
        """Move the document of this key out of the folder: its record is durable."""
        if self._aside is None or self._closed:
            return
        try:
            await self._aside.do(partial(self._put_away, key, self._context.clock.stamp().utc_ns), WORK_S)
        except TimeoutError:
            return  # the next look at the folder finds out
        except OSError as error:
            self._trouble = f"a file cannot be moved out of the folder {self._path} ({error.strerror})"
        self._news.set()  # there may be room for the next one

    def _put_away(self, key: str, utc_ns: int) -> None:
        for name, offer in list(self._offered.items()):
            if offer.key == key:
                self._folder.put_away(offer.found, utc_ns, offer.refused)
                del self._offered[name]


def _weight(found: Found) -> int:
    return found.size if found.size <= MAX_BYTES else 0


def _shown(name: str) -> str:
    """Return a name that any record can hold."""
    return os.fsencode(name).decode("utf-8", "replace")[:100]


def _refused(found: Found, body: bytes, stamp: Stamp, why: str) -> PortalReport:
    known = body or repr((found.name, found.size, found.changed)).encode()
    return PortalReport(stamp, hashlib.sha256(known).hexdigest(), _shown(found.name), refused=why)


SPEC = DriverSpec(
    name="n42_drop",
    role=Role.PORTAL_MONITOR,
    options=N42DropOptions,
    make=N42Drop,
    simulator="drivers.rpm.drop.sim:DropEmulator",
)
