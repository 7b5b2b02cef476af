"""A TSA/Rapiscan portal monitor over TCP or RS-232: it pushes lines, the station sends nothing.

The codec says what each line means; this file says when it came. Lines of one read share an arrival, so
scans are moved back by their cadence and marked ``stamp_interpolated``; the last scan of a read keeps its
arrival. A device that sends its first k scans at once thus gives k - 1 marked records in a row.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated

from pydantic import Field, model_validator

from drivers.api import (
    BadFrame,
    ConfigError,
    DeviceIdentity,
    DriverContext,
    DriverSpec,
    LinkLost,
    PortalFacts,
    PortalOptions,
    Role,
)
from drivers.readings import (
    Channel,
    Counts,
    OccupancyEnd,
    Phase,
    PortalReading,
    PortalSetup,
    Speed,
    Stamp,
    Tamper,
    UnknownRecord,
)
from drivers.rpm.tsa import codec
from drivers.transport.link import Link
from drivers.transport.serial import open_serial
from drivers.transport.tcp import connect_tcp

SPECTROSCOPIC_LINES, SPECTROSCOPIC_S = 3, 60.0
"""So many lines of the spectroscopic dialect in so many seconds, with no gamma counts that this
dialect can read, mean the wrong dialect; one garbled line does not."""


class TsaOptions(PortalOptions):
    """Where the portal is (``host`` and ``port``, or ``serial_port``) and how its panels are called."""

    host: str = "127.0.0.1"
    port: int = Field(default=1601, ge=1, le=65_535)
    serial_port: str = ""
    """Device file of an RS-232 line, used instead of the network."""
    baud: int = Field(default=9600, ge=300, le=921_600)
    detectors: Annotated[tuple[str, ...], Field(strict=False, min_length=4, max_length=4)] = (
        "ML",
        "MU",
        "SL",
        "SU",
    )
    """Names of the four columns of counts in the order in which *this* device sends them
    (M, S = master, slave pillar; L, U = lower, upper): sources disagree, so ask the device."""
    connect_timeout_s: float = Field(default=4.0, gt=0, le=5)

    @model_validator(mode="after")
    def _check(self) -> TsaOptions:
        if self.serial_port and self.model_fields_set & {"host", "port"}:
            raise ValueError("either host and port (network) or serial_port and baud (RS-232), not both")
        if len(set(self.detectors)) < len(self.detectors):
            raise ValueError(f"each detector needs a name of its own, not {', '.join(self.detectors)}")
        return self

    @property
    def portal(self) -> PortalFacts:
        """Both channels on all panels, gamma in intervals of 200 ms; the family's usual limit [OSCAR]."""
        interval_s = codec.COUNT_TAGS["GS"].interval_s
        return PortalFacts(self.detectors, frozenset(Channel), interval_s, nsigma=7.0)


class TsaDriver:
    """One portal on one link (``drivers.api.Driver``)."""

    def __init__(self, options: TsaOptions, context: DriverContext) -> None:
        """Build it; ``open`` connects."""
        self._options = options
        self._context = context
        self._link: Link | None = None
        self._closed = False
        self._reader: TsaReader

    async def open(self) -> DeviceIdentity:
        """Connect; the protocol has no identity (the firmware's version comes later, in SG3)."""
        options, tap = self._options, self._context.tap
        if options.serial_port:
            self._link = await open_serial(options.serial_port, options.baud, tap=tap)
        else:
            self._link = await connect_tcp(
                options.host, options.port, tap=tap, timeout_s=options.connect_timeout_s
            )
        # Its set-up is kept over broken links: a portal that says the same again has the same.
        self._reader = TsaReader(self._context.clock.stamp(), self._context.memory.setdefault("setup", {}))
        return DeviceIdentity()

    async def readings(self) -> AsyncIterator[PortalReading | BadFrame]:
        """Yield readings; ends after ``close``, raises ``LinkLost`` when the portal is gone.

        Raises ``ConfigError`` when the device speaks the spectroscopic dialect.
        """
        if self._link is None:
            return
        lost = LinkLost("the portal closed the connection: check the portal and its network port")
        try:
            while data := await self._link.read():
                for item in self._reader.take(data, self._context.clock.stamp()):
                    yield item
        except LinkLost as error:
            lost = error
        for rest in self._reader.end():
            yield rest
        if not self._closed:
            raise lost

    async def close(self) -> None:
        """Close the link; idempotent."""
        self._closed = True
        if self._link is not None:
            await self._link.close()


class TsaReader:
    """What the bytes of one link say, and when they said it: no socket, no clock."""

    def __init__(self, opened: Stamp, setup: dict[str, str]) -> None:
        """Begin a link; ``setup`` holds the last text of each set-up line and is written to."""
        self._stream = codec.TsaCodec()
        self._stamps = Stamper(opened)
        self._dialect = DialectGuard()
        self._setup = setup

    def take(self, data: bytes, arrival: Stamp) -> Iterator[PortalReading | BadFrame]:
        """Yield what has become whole with one read; raises ``ConfigError`` in the spectroscopic dialect."""
        for item, stamp in self._stamps.place(self._stream.feed(data), arrival):
            self._dialect.check(item, arrival)
            yield item if isinstance(item, BadFrame) else self._reading(item, stamp, stamp != arrival)

    def end(self) -> list[BadFrame]:
        """Return the unfinished line of a link that has ended, if there is one."""
        return self._stream.end()

    def _reading(self, record: codec.Record, stamp: Stamp, moved: bool) -> PortalReading:
        """Return a record of the codec as a reading with its stamp."""
        raw = record.raw
        match record:
            case codec.CountsLine(tag, counts, t_device):
                says = codec.COUNT_TAGS[tag]
                return Counts(
                    stamp, says.channel, says.phase, says.interval_s, counts, says.flag, t_device, moved, raw
                )
            case codec.SpeedLine():
                return Speed(stamp, record.speed_mps, record.inconsistent, raw)
            case codec.EndLine(number, neutron_background):
                return OccupancyEnd(stamp, number, neutron_background, raw)
            case codec.TamperLine(is_open):
                return Tamper(stamp, is_open, raw)
            case codec.SetupLine(part):
                self._setup[part] = ",".join((part, *record.columns))
                text = "\n".join(self._setup[known] for known in sorted(self._setup))
                digest = hashlib.sha256(text.encode()).hexdigest()
                return PortalSetup(stamp, part, record.values, digest, raw)
            case codec.UnknownLine(tag):
                return UnknownRecord(stamp, tag, raw)


class Stamper:
    """Gives the items of each read their stamps; no stamp lies before one that was given earlier."""

    def __init__(self, opened: Stamp) -> None:
        """Begin a link: nothing on it is older than ``opened``."""
        self._last = opened

    def place(
        self, items: Sequence[codec.Record | BadFrame], arrival: Stamp
    ) -> list[tuple[codec.Record | BadFrame, Stamp]]:
        """Return each item of one read with its stamp: scans one interval apart, the last on arrival."""
        later = dict.fromkeys(Channel, 0)
        stamps: list[Stamp] = []
        bound = arrival
        for item in reversed(items):
            if isinstance(item, codec.CountsLine):
                says = codec.COUNT_TAGS[item.tag]
                if says.phase is Phase.SCAN:
                    own = arrival.plus(-later[says.channel] * says.interval_s)
                    bound = min(bound, own, key=_mono)
                    later[says.channel] += 1
            stamps.append(bound)
        placed: list[tuple[codec.Record | BadFrame, Stamp]] = []
        for item, stamp in zip(items, reversed(stamps), strict=True):
            self._last = max(self._last, stamp, key=_mono)
            placed.append((item, self._last))
        return placed


def _mono(stamp: Stamp) -> int:
    return stamp.mono_ns


class DialectGuard:
    """Notices a device of the same family that speaks the spectroscopic dialect."""

    def __init__(self) -> None:
        """Begin a link."""
        self._seen_s: deque[float] = deque(maxlen=SPECTROSCOPIC_LINES)

    def check(self, item: codec.Record | BadFrame, arrival: Stamp) -> None:
        """Look at one item; raises ``ConfigError`` when the dialect is certain."""
        if isinstance(item, codec.CountsLine) and codec.COUNT_TAGS[item.tag].channel is Channel.GAMMA:
            self._seen_s.clear()
        if _tag(item) not in codec.SPECTROSCOPIC_TAGS:
            return
        self._seen_s.append(arrival.mono_ns / 1e9)
        if len(self._seen_s) == SPECTROSCOPIC_LINES and self._seen_s[-1] - self._seen_s[0] <= SPECTROSCOPIC_S:
            raise ConfigError(
                f"the portal speaks the spectroscopic dialect: {SPECTROSCOPIC_LINES} lines of S1, S2, BX, ID "
                f"or AB within {SPECTROSCOPIC_S:g} s and no gamma counts of four panels between them; "
                "set it to gross counts, or use a driver for spectroscopic portals"
            )


def _tag(item: codec.Record | BadFrame) -> str:
    """Return the tag of an unknown line, also of one that was too long (a spectrum is)."""
    if isinstance(item, codec.UnknownLine):
        return item.tag
    if isinstance(item, BadFrame) and item.kind == "too_long":
        return item.head.split(b",")[0].decode("ascii", "replace").strip()
    return ""


SPEC = DriverSpec(
    name="tsa_ascii",
    role=Role.PORTAL_MONITOR,
    options=TsaOptions,
    make=TsaDriver,
    simulator="drivers.rpm.tsa.sim:TsaEmulator",
)
