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
    """One set-up line; its columns are named in ``SETUP``."""

    part: str
    columns: tuple[str, ...]
    t_device: str | None = None
    raw: bytes = b""

    @property
    def values(self) -> Mapping[str, float | str]:
        """Numbers as floats (a limit of 6.5 sigma stays 6.5), words as text."""
        named = zip(SETUP[self.part], self.columns, strict=True)
        return {name: text if name in TEXT_COLUMNS else float(text) for name, text in named}


@dataclass(frozen=True, slots=True)
class UnknownLine:
    """A line of the right shape whose tag has no meaning here."""

    tag: str
    columns: tuple[str, ...]
    t_device: str | None = None
    raw: bytes = b""


Record = CountsLine | SpeedLine | EndLine | TamperLine | SetupLine | UnknownLine


# --- the stream: bytes to lines -------------------------------------------------------------------


class TsaCodec:
    """Bytes in, records and bad frames out; it keeps one unfinished line, ``LINE_LIMIT`` bytes at most."""

    def __init__(self) -> None:
        """Begin a stream; a new link needs a new codec."""
        self._line = bytearray()  # at most LINE_LIMIT bytes of the unfinished line
        self._length = 0
        self._offset = 0

    def feed(self, data: bytes) -> list[Record | BadFrame]:
        """Return what has become whole with ``data``, in order; a blank line is nothing."""
        items: list[Record | BadFrame] = []
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._add(piece, items)
            self._end_line(items)
        self._add(rest, items)
        return items

    def end(self) -> list[BadFrame]:
        """Return the unfinished line of a stream that has ended, if there is one."""
        if self._length > LINE_LIMIT or not self._line.strip():
            return []
        return [BadFrame("truncated", self._offset, bytes(self._line[:HEAD]))]

    def _add(self, piece: bytes, items: list[Record | BadFrame]) -> None:
        was_within = self._length <= LINE_LIMIT
        self._line += piece[: max(0, LINE_LIMIT - self._length)]
        self._length += len(piece)
        if was_within and self._length > LINE_LIMIT:
            items.append(BadFrame("too_long", self._offset, bytes(self._line[:HEAD])))

    def _end_line(self, items: list[Record | BadFrame]) -> None:
        line = bytes(self._line)
        if self._length <= LINE_LIMIT and line.strip():
            try:
                items.append(decode_line(line))
            except _NoRecord as error:
                items.append(BadFrame(error.kind, self._offset, line[:HEAD]))
        self._offset += self._length + 1
        self._length = 0
        self._line.clear()


# --- one line -------------------------------------------------------------------------------------

_STRANGE = re.compile(rb"[^\t\x20-\x7e]")
_TAG = re.compile(r"[A-Z][A-Z0-9]{1,3}")
_COUNT = re.compile(r"[0-9]{1,6}")
_MISSING = re.compile(r"\*{1,6}")
_NUMBER = re.compile(r"[0-9]{1,8}(\.[0-9]{1,6})?")
_TIME = re.compile(r"[0-9]{2}-[0-9]{2}-[0-9]{2}\.[0-9]{3}")


class _NoRecord(Exception):
    """This line is no record; ``kind`` says why."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


def decode_line(line: bytes) -> Record:
    """Return what one line that is not blank says; raises ``_NoRecord``."""
    raw = line.rstrip(b"\r")
    if _STRANGE.search(raw):
        raise _NoRecord("not_ascii")
    tag, *columns = (column.strip() for column in raw.decode("ascii").split(","))
    if tag in COUNT_TAGS:
        fields, t_device = _fit(columns, DETECTORS)
        return CountsLine(tag, tuple(_count(field) for field in fields), t_device, raw)
    if tag in SETUP:
        fields, t_device = _fit(columns, len(SETUP[tag]))
        for name, field in zip(SETUP[tag], fields, strict=True):
            if name not in TEXT_COLUMNS:
                _number(field)
        return SetupLine(tag, tuple(fields), t_device, raw)
    if tag == "SP":
        fields, t_device = _fit(columns, 4)
        s_per_ft, mph, km_per_h, _ = (_number(field) for field in fields)
        return SpeedLine(s_per_ft, mph, km_per_h, t_device, raw)
    if tag == "GX":
        fields, t_device = _fit(columns, 4)
        number, neutron_milli, *_ = (_count(field) for field in fields)
        if number is None:
            raise _NoRecord("bad_number")
        return EndLine(number, None if neutron_milli is None else neutron_milli / 1000, t_device, raw)
    if tag in ("TT", "TC"):
        fields, t_device = _fit(columns, 4)
        for field in fields:
            _count(field)
        return TamperLine(tag == "TT", t_device, raw)
    if _TAG.fullmatch(tag) and columns:
        return UnknownLine(tag, tuple(columns), None, raw)
    raise _NoRecord("no_record")


def _fit(columns: list[str], expected: int) -> tuple[list[str], str | None]:
    """Return the columns of a tag and the trailing time, if there is one."""
    if len(columns) == expected:
        return columns, None
    if len(columns) == expected + 1 and _TIME.fullmatch(columns[-1]):
        return columns[:-1], columns[-1]
    raise _NoRecord("columns")


def _count(field: str) -> int | None:
    if _COUNT.fullmatch(field):
        return int(field)
    if _MISSING.fullmatch(field):
        return None
    raise _NoRecord("bad_number")


def _number(field: str) -> float:
    if _NUMBER.fullmatch(field):
        return float(field)
    raise _NoRecord("bad_number")


# --- encoding: what a device would send -----------------------------------------------------------


def encode(record: Record) -> bytes:
    """Return the line of a record with its CRLF; ``raw`` is not looked at."""
    match record:
        case CountsLine(tag, counts):
            columns = [tag, *("***" if count is None else f"{count:06d}" for count in counts)]
        case SpeedLine(s_per_ft, mph, km_per_h):
            columns = ["SP", f"{s_per_ft:.4f}", f"{mph:06.3f}", f"{km_per_h:06.2f}", "000000"]
        case EndLine(number, neutron):
            background = "***" if neutron is None else f"{round(neutron * 1000):06d}"
            columns = ["GX", f"{number:06d}", background, "000000", "000000"]
        case TamperLine(is_open):
            columns = ["TT", *["000000"] * 4] if is_open else ["TC", *["111111"] * 4]
        case SetupLine(part, fields):
            columns = [part, *fields]
        case _:
            columns = [record.tag, *record.columns]
    if record.t_device is not None:
        columns.append(record.t_device)
    return (",".join(columns) + "\r\n").encode("ascii")
