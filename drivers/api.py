"""What a driver is: the only file that a plug-in needs to import.

A driver opens one device, turns its bytes into readings and closes it again. It owns no thread that
outlives it, no retry, no health and no lifecycle, and it swallows nothing: the supervisor does all
of that once, for every driver. A device is three files (codec, driver, sim) and one ``DriverSpec``,
found through the entry-point group ``carril.drivers``.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, model_validator

from drivers.errors import (
    CommandRefused,
    ConfigError,
    ConnectFailed,
    DeviceFault,
    DriverError,
    LinkError,
    LinkLost,
    LinkTimeout,
    ProtocolError,
    Unexpected,
)
from drivers.readings import BadFrame, Channel, DeviceIdentity, Reading, ScanKey, Stamp

API_VERSION = 1

__all__ = [
    "API_VERSION",
    "BadFrame",
    "BoardOptions",
    "Clock",
    "CommandRefused",
    "ConfigError",
    "ConnectFailed",
    "DeviceFault",
    "DeviceIdentity",
    "DigitalIo",
    "Driver",
    "DriverContext",
    "DriverError",
    "DriverSpec",
    "LineScanner",
    "LinkError",
    "LinkLost",
    "LinkTimeout",
    "Options",
    "PortalContacts",
    "PortalFacts",
    "PortalOptions",
    "ProtocolError",
    "Reading",
    "Reporter",
    "Role",
    "ScanKey",
    "Stamp",
    "Tap",
    "Unexpected",
]


class Role(StrEnum):
    """What a device is to the lane; the readings and commands of a role are fixed."""

    PORTAL_MONITOR = "PortalMonitor"
    LINE_SCANNER = "LineScanner"
    CAMERA = "Camera"
    DIGITAL_IO = "DigitalIo"
    TEXT_READER = "TextReader"


class Clock(Protocol):
    """The one source of time: injected, so that a lane can run faster than real time."""

    def stamp(self) -> Stamp:
        """Return now, as UTC and monotonic nanoseconds."""
        ...

    def monotonic_s(self) -> float:
        """Return monotonic seconds; the only time that a time-out may use."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` of this clock."""
        ...


Tap = Callable[[Literal["rx", "tx"], bytes], None]
"""Sees every byte of the link as it passes: recorder, crash report, raw view of the technician."""


class Options(BaseModel):
    """Base of every driver's own options: strict, frozen, unknown keys forbidden."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    QUIET: ClassVar[bool] = False
    """The device says nothing while nothing passes, whatever its role: its silence is no fault."""


@dataclass(frozen=True, slots=True)
class PortalFacts:
    """What is known of a portal before it has said a word.

    ``channels`` are those that it counts: none where it has contacts alone; ``windows``: whether gamma comes
    in two energy windows, too. ``interval_s`` is the counting time of one gamma scan record, ``averaging_s``
    that behind one background record (``None``: as the lane file says for all); without an ``interval_s``
    nobody but the device can judge its counts. ``nsigma`` is the device's own limit on gamma until it says
    another; ``None``: nobody knows its rule. ``alarms`` are the channels in which it alarms without counting.
    Where a portal tells of a passage afterwards (``PortalReport``), a vehicle at the booth waits
    ``reported_within_s`` for that.
    """

    detectors: tuple[str, ...] = ()
    channels: frozenset[Channel] = frozenset()
    interval_s: float | None = None
    averaging_s: float | None = None
    windows: bool = False
    nsigma: float | None = None
    alarms: frozenset[Channel] = frozenset()
    reported_within_s: float | None = None


class PortalContacts(Options):
    """A portal that says all by contacts: the address of each on an input of a board.

    A contact is closed while all is well, so that a cut wire is told: as a fault, an open cabinet, an alarm
    or a vehicle. Those of ``normally_open`` close when it is so: a cut wire of such an alarm is not seen.
    """

    alarm_gamma: int | None = None
    alarm_neutron: int | None = None
    fault: int | None = None
    occupancy: int | None = None
    tamper: int | None = None
    normally_open: Annotated[
        tuple[Literal["alarm_gamma", "alarm_neutron", "occupancy"], ...], Field(strict=False)
    ] = ()

    @model_validator(mode="after")
    def _check(self) -> PortalContacts:
        wrong = [
            f"{name} is missing: {why}" for name, why in _NEEDED_CONTACTS.items() if name not in self.contacts
        ]
        if not self.facts.alarms:
            wrong.append(
                "a portal needs alarm_gamma, alarm_neutron or both: without them it tells of nothing"
            )
        wrong += [
            f"normally_open names {name}, which has no address"
            for name in self.normally_open
            if name not in self.contacts
        ]
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    @property
    def contacts(self) -> Mapping[str, int]:
        """Return the address of each contact that is wired."""
        wired = {name: getattr(self, name) for name in type(self).model_fields if name != "normally_open"}
        return {name: address for name, address in wired.items() if address is not None}

    @property
    def facts(self) -> PortalFacts:
        """Return what is known of it: it counts nothing."""
        alarms = {Channel.GAMMA: self.alarm_gamma, Channel.NEUTRON: self.alarm_neutron}
        return PortalFacts(alarms=frozenset(name for name, address in alarms.items() if address is not None))


_NEEDED_CONTACTS = {
    "fault": "without it a portal that fails reads as one that finds nothing",
    "occupancy": "without it nobody knows that the portal has looked at a vehicle, and none is ever measured",
}


class BoardOptions(Options):
    """Base of the options of every I/O board."""

    portals: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")], PortalContacts] = {}
    """Portals whose contacts are wired to inputs of this board, by name: each is a device of the lane."""


class PortalOptions(Options):
    """Base of the options of every portal monitor."""

    @property
    @abstractmethod
    def portal(self) -> PortalFacts:
        """Return what these options say of the portal."""


@dataclass(frozen=True, slots=True)
class DriverContext:
    """What the supervisor lends to a driver.

    A driver object lives for one link. ``memory`` outlives it: what a device must remember over broken
    links (where to resume) stands there; a bug of the driver empties it.
    """

    name: str
    clock: Clock
    log: logging.Logger
    tap: Tap
    memory: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Driver(Protocol):
    """One device on one link."""

    async def open(self) -> DeviceIdentity:
        """Open the link and learn who answers.

        Raises ``ConnectFailed``, ``ProtocolError`` or ``ConfigError``; leaves nothing open then.
        """
        ...

    def readings(self) -> AsyncIterator[Reading | BadFrame]:
        """Yield readings until the link is gone: then end, or raise ``LinkError``."""
        ...

    async def close(self) -> None:
        """Close the link; idempotent, at most one second, safe at any time."""
        ...


@runtime_checkable
class LineScanner(Driver, Protocol):
    """A scanner that sends lines and keeps them until they are acknowledged."""

    async def ack(self, key: ScanKey, next_line: int, *, end: bool) -> None:
        """Tell the device that all lines before ``next_line`` are durable here (``end``: all of it)."""
        ...


@runtime_checkable
class Reporter(Driver, Protocol):
    """A portal that leaves documents, and keeps each until it is taken.

    One that is not taken for a while it tells again.
    """

    async def taken(self, key: str) -> None:
        """Tell the device that the report of this ``key`` is durable here."""
        ...


@runtime_checkable
class DigitalIo(Driver, Protocol):
    """A board of named inputs and outputs."""

    @property
    def outputs(self) -> frozenset[str]:
        """Return the names that can be written."""
        ...

    async def write(self, outputs: Mapping[str, bool], *, deadline_s: float) -> None:
        """Set the named outputs.

        Raises ``CommandRefused`` (unknown or refused output) or ``LinkTimeout`` after ``deadline_s``.
        """
        ...


@dataclass(frozen=True, slots=True)
class DriverSpec:
    """How a driver is found and made.

    ``make(options, context)`` returns a driver that has not been opened. ``simulator`` is the dotted
    name ``module:Class`` of its emulator (drivers.plant.emulator.Emulator).
    """

    name: str
    role: Role
    options: type[Options]
    make: Callable[[Any, DriverContext], Driver]
    simulator: str
    api_version: int = API_VERSION
