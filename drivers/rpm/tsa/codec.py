"""TSA/Rapiscan ASCII: comma-separated lines of a portal monitor, bytes to records and back.

Lines of the VM-250AGN, TM-850 and RPM8 family, counts as six digits, CRLF::

    GB GH GL  c1,c2,c3,c4     gamma background per 1 s / background high fault / low fault
    NB NH NL  c1,c2,c3,c4     neutron background per 1 s / high fault / low fault
    GS GA     c1,c2,c3,c4     gamma scan / alarm, counts in 200 ms
    NS NA     c1,c2,c3,c4     neutron scan / alarm, counts in 1 s
    SP        s per foot, mph, km/h, 0                 speed
    GX        occupancy count, neutron background x 1000, 0, 0      end of occupancy
    TT TC     000000 x 4 / 111111 x 4                  tamper set / cleared
    SG1-3 SN1-2                                        set-up, columns in ``SETUP``

A recording appends one column ``HH-MM-SS.mmm`` to any line. Sources: the OSCAR drivers of
OpenSensorHub, Sandia's SRLS simulator, the TSA reader of SpecUtils. No source has NL: taken as the
neutron counterpart of GL.

Sans-I/O: no clock, no socket. Any input in any chunking gives the same values and never an exception.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from drivers.readings import BadFrame, Channel, DeviceFlag, Phase

LINE_LIMIT = 256
"""Longest line in bytes, without its newline; a longer one is no record."""
HEAD = 64
DETECTORS = 4
SPEED_AGREEMENT = 0.02
"""Largest relative difference between the three units of one SP line."""
SPECTROSCOPIC_TAGS = frozenset({"S1", "S2", "BX", "ID", "AB"})
"""Lines of the family's spectroscopic dialect, whose GB and GS have other columns."""
FOOT_M, MILE_PER_HOUR_MPS, KM_PER_HOUR_MPS = 0.3048, 0.44704, 1 / 3.6


@dataclass(frozen=True, slots=True)
class CountTag:
    """What the tag of a line of counts says; ``interval_s`` is the counting time of one number."""

    channel: Channel
    phase: Phase
    flag: DeviceFlag
    interval_s: float


def _tags(channel: Channel, scan_s: float) -> Mapping[str, CountTag]:
    letter = "G" if channel is Channel.GAMMA else "N"
    return {
        letter + "B": CountTag(channel, Phase.BACKGROUND, DeviceFlag.NONE, 1.0),
        letter + "H": CountTag(channel, Phase.BACKGROUND, DeviceFlag.FAULT_HIGH, 1.0),
        letter + "L": CountTag(channel, Phase.BACKGROUND, DeviceFlag.FAULT_LOW, 1.0),
        letter + "S": CountTag(channel, Phase.SCAN, DeviceFlag.NONE, scan_s),
        letter + "A": CountTag(channel, Phase.SCAN, DeviceFlag.ALARM, scan_s),
    }


COUNT_TAGS: Mapping[str, CountTag] = {**_tags(Channel.GAMMA, 0.2), **_tags(Channel.NEUTRON, 1.0)}

TEXT_COLUMNS = frozenset({"algorithm", "software_version", "firmware_version", "placeholder"})
"""Set-up columns that may hold any text; the others are numbers."""
SETUP: Mapping[str, tuple[str, ...]] = {
    "SG1": (
        "gamma_high_fault_cps",
        "gamma_low_fault_cps",
        "intervals",
        "occupancy_holdin",
        "nsigma",
        "placeholder",
    ),
    "SG2": (
        "detectors_online",
        "gamma_master_lld",
        "gamma_master_uld",
        "relay_output",
        "algorithm",
        "software_version",
    ),
    "SG3": (
        "gamma_slave_lld",
        "gamma_slave_uld",
        "background_time_s",
        "background_sigma",
        "firmware_version",
    ),
    "SN1": (
        "neutron_high_fault",
        "max_intervals",
        "alpha",
        "zmax",
        "sequential_intervals",
        "neutron_background_time_s",
    ),
    "SN2": (
        "neutron_master_lld",
        "neutron_master_uld",
        "neutron_slave_lld",
        "neutron_slave_uld",
        "placeholder",
    ),
}
"""Columns of the set-up lines. ``relay_output``: 0 off, 1 on, 3 automatic."""


# --- records: what one line says, without when it came -------------------------------------------


@dataclass(frozen=True, slots=True)
class CountsLine:
    """A line of counts, one per detector in the device's order; ``None`` where it sent asterisks."""

    tag: str
    counts: tuple[int | None, ...]
    t_device: str | None = None
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class SpeedLine:
    """SP: the speed of the vehicle in the device's three units."""

    s_per_ft: float
    mph: float
    km_per_h: float
    t_device: str | None = None
    raw: bytes = b""

    @property
    def speed_mps(self) -> float:
        """Speed in m/s, from the finest unit that is not zero."""
        return FOOT_M / self.s_per_ft if self.s_per_ft > 0 else self.km_per_h * KM_PER_HOUR_MPS

    @property
    def inconsistent(self) -> bool:
        """Whether the units disagree by more than ``SPEED_AGREEMENT``."""
        speeds = (self.speed_mps, self.mph * MILE_PER_HOUR_MPS, self.km_per_h * KM_PER_HOUR_MPS)
        return max(speeds) - min(speeds) > SPEED_AGREEMENT * max(speeds)


@dataclass(frozen=True, slots=True)
class EndLine:
    """GX: the occupancy ended; its number, and the neutron background per second if sent."""

    occupancy_count: int
    neutron_background: float | None
    t_device: str | None = None
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class TamperLine:
    """TT (``open``) or TC."""

    open: bool
    t_device: str | None = None
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class SetupLine:
    """One set-up line: numbers as floats, words as text, keys as in ``SETUP``."""

    part: str
    values: Mapping[str, float | str]
    t_device: str | None = None
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class UnknownLine:
    """A line of the right shape whose tag has no meaning here."""

    tag: str
    columns: tuple[str, ...]
    raw: bytes = b""


Record = CountsLine | SpeedLine | EndLine | TamperLine | SetupLine | UnknownLine


# --- decoding -------------------------------------------------------------------------------------


class TsaCodec:
    """Bytes in, records and bad frames out; it holds one unfinished line of at most ``LINE_LIMIT``."""

    def __init__(self) -> None:
        """Begin a stream; a new link needs a new codec."""
        self._line = bytearray()
        self._offset = 0
        self._skipping = False

    def feed(self, data: bytes) -> list[Record | BadFrame]:
        """Return what has become whole with ``data``, in order."""
        items: list[Record | BadFrame] = []
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._add(piece, items)
            self._end_line(items)
        self._add(rest, items)
        return items

    def end(self) -> list[BadFrame]:
        """Return the unfinished line of a stream that has ended, if there is one."""
        rest = bytes(self._line)
        self._line.clear()
        return [BadFrame("truncated", self._offset, rest[:HEAD])] if rest.strip() else []

    def _add(self, piece: bytes, items: list[Record | BadFrame]) -> None:
        if self._skipping:
            self._offset += len(piece)
            return
        self._line += piece[: LINE_LIMIT + 1 - len(self._line)]
        if len(self._line) > LINE_LIMIT:
            items.append(BadFrame("too_long", self._offset, bytes(self._line[:HEAD])))
            ...

    def _end_line(self, items: list[Record | BadFrame]) -> None:
        ...
