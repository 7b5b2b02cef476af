"""The numbers of linestream v1: flags, states, reasons and error codes."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class HeaderFlag(IntFlag):
    """Flags of the frame header."""

    RESENT = 1
    SIMULATED = 2
    TEST = 4


class LineFlag(IntFlag):
    """Flags of a line: those of the wire, then those that only the station sets."""

    BEAM_ON = 1
    SHUTTER_OPEN = 2
    MONITOR_VALID = 4
    ENCODER_VALID = 8
    SATURATED = 16
    SOURCE_OFF = 32
    TEST_PATTERN = 64
    PULSE_MISSED = 128
    VEHICLE = 256
    WIRE = 0x01FF
    TIME_JUMP = 0x8000
    """Station: device time went backwards here, or the encoder ran faster than any vehicle."""


class SourceState(IntFlag):
    """State bits of STATUS."""

    SOURCE_READY = 1
    BEAM_ON = 2
    SHUTTER_OPEN = 4
    SHUTTER_CLOSED = 8
    INTERLOCK_OK = 16
    WARNING_ACTIVE = 32
    EMERGENCY_STOP = 64
    DETECTOR_OK = 128


class Capability(IntFlag):
    """Capabilities of HELLO."""

    RESUME = 1
    ENCODER = 2
    MONITOR = 4
    DUAL = 8


class ErrorCode(IntEnum):
    """Codes of ERROR."""

    VERSION = 1
    BUSY = 2
    MALFORMED = 3
    LIMIT = 4
    SEQUENCE = 5
    GEOMETRY = 6


class AbortReason(IntEnum):
    """Reasons of SCAN_ABORT."""

    INTERLOCK = 1
    EMERGENCY_STOP = 2
    SOURCE_FAULT = 3
    DETECTOR = 4
    OPERATOR = 5
    STATION_JOURNAL_ONLY = 6
    NOT_HELD = 7


class GapReason(IntEnum):
    """Reasons of GAP."""

    RING_OVERFLOW = 1
    READOUT = 2
    SOURCE = 3
    NO_LONGER_HELD = 4


class EndReason(IntEnum):
    """Reasons of SCAN_END; only a normal one ends a whole image."""

    NORMAL = 1
    TIMEOUT = 2
    LIMIT = 3
