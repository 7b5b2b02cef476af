"""GVCP, the control protocol of GigE Vision: datagrams over UDP to registers of 32 bits, and back.

Big-endian. A request is ``42``, flags, command, length of what follows, and its number; an answer begins with
a status of 16 bits, then the command plus one, the length and the number of its request. Numbers as in
Aravis' ``arvgvcpprivate.h`` and in the dissector of Wireshark; reading never raises.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from drivers.readings import BadFrame, DeviceIdentity

PORT = 3956
HEADER = struct.Struct(">BBHHH")
KEY = 0x42
WANTS_ANSWER = 1
MAX_DATAGRAM = 576
"""Bytes of one datagram of GVCP, IP and UDP included."""
MAX_READ = 512
"""Bytes that one READMEM may ask for."""
HEAD_BYTES = 64
DISCOVERY_BYTES = 248


class Command(IntEnum):
    """What is asked; the answer's code is one more."""

    DISCOVERY = 0x0002
    RESEND = 0x0040
    READ_REGISTER = 0x0080
    WRITE_REGISTER = 0x0082
    READ_MEMORY = 0x0084
    WRITE_MEMORY = 0x0086
    PENDING = 0x0088
    """Only as an answer (89): the device needs longer."""


class Status(IntEnum):
    """What an answer says; from 0x8000 on it is a refusal."""

    SUCCESS = 0x0000
    NOT_IMPLEMENTED = 0x8001
    INVALID_PARAMETER = 0x8002
    INVALID_ADDRESS = 0x8003
    WRITE_PROTECT = 0x8004
    BAD_ALIGNMENT = 0x8005
    ACCESS_DENIED = 0x8006
    BUSY = 0x8007
    PACKET_UNAVAILABLE = 0x800C


class Register(IntEnum):
    """Bootstrap registers that are the same in every device."""

    MAC_HIGH = 0x0008
    MAC_LOW = 0x000C
    CURRENT_IP = 0x0024
    FIRST_URL = 0x0200
    INTERFACES = 0x0600
    STREAM_CHANNELS = 0x0904
    CAPABILITY = 0x0934
    HEARTBEAT_MS = 0x0938
    TICKS_HIGH = 0x093C
    TICKS_LOW = 0x0940
    PRIVILEGE = 0x0A00
    STREAM_PORT = 0x0D00
    PACKET_SIZE = 0x0D04
    STREAM_ADDRESS = 0x0D18


MAKE, MODEL, VERSION, SERIAL = (0x48, 32), (0x68, 32), (0x88, 32), (0xD8, 16)
"""Address and size of the texts of the discovery block."""
CONTROL = 2
"""Privilege: this application controls, others may read."""
DO_NOT_FRAGMENT = 1 << 30
PACKET_SIZE_MASK = 0xFFFF
CAN_RESEND = 1 << 2


@dataclass(frozen=True, slots=True)
class Request:
    """A command with its arguments."""

    command: int
    number: int
    payload: bytes = b""
    wants_answer: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for the request of that number."""

    status: int
    command: int
    number: int
    payload: bytes = b""


def pack_request(request: Request) -> bytes:
    """Return its datagram."""
    flags = WANTS_ANSWER if request.wants_answer else 0
    return (
        HEADER.pack(KEY, flags, request.command, len(request.payload), request.number & 0xFFFF)
        + request.payload
    )


def pack_answer(answer: Answer) -> bytes:
    """Return its datagram; ``command`` is that of the request."""
    high, low = divmod(answer.status, 256)
    return HEADER.pack(high, low, answer.command + 1, len(answer.payload), answer.number) + answer.payload


def read_request(datagram: bytes) -> Request | BadFrame:
    """Read what an application sent; kinds ``too_short``, ``no_gvcp``, ``wrong_length``."""
    if len(datagram) < HEADER.size:
        return _bad("too_short", datagram)
    key, flags, command, length, number = HEADER.unpack_from(datagram)
    if key != KEY:
        return _bad("no_gvcp", datagram)
    if length != len(datagram) - HEADER.size:
        return _bad("wrong_length", datagram)
    return Request(command, number, datagram[HEADER.size :], bool(flags & WANTS_ANSWER))


def read_answer(datagram: bytes) -> Answer | BadFrame:
    """Read what a device sent; kinds ``too_short``, ``no_gvcp`` (no answer's code), ``wrong_length``."""
    if len(datagram) < HEADER.size:
        return _bad("too_short", datagram)
    high, low, code, length, number = HEADER.unpack_from(datagram)
    if not code & 1:
        return _bad("no_gvcp", datagram)
    if length != len(datagram) - HEADER.size:
        return _bad("wrong_length", datagram)
    return Answer(high * 256 + low, code - 1, number, datagram[HEADER.size :])


def words(*values: int) -> bytes:
    """Return registers' values or addresses as they travel: 32 bits each."""
    return b"".join((value & 0xFFFF_FFFF).to_bytes(4, "big") for value in values)


def word(payload: bytes, index: int = 0) -> int:
    """Return one of them; 0 where the payload is too short."""
    return int.from_bytes(payload[4 * index : 4 * index + 4], "big")


def resend(block: int, first: int, last: int, number: int) -> bytes:
    """Ask again for packets ``first`` to ``last`` of a block of stream channel 0; that has no answer."""
    return pack_request(Request(Command.RESEND, number, words(block, first, last), wants_answer=False))


def identity(block: bytes) -> DeviceIdentity:
    """Return who a device says it is in the block that answers DISCOVERY (as registers 0 to 0xF7)."""
    texts = (
        block[at : at + size].split(b"\0")[0].decode("utf-8", "replace")
        for at, size in (MAKE, MODEL, SERIAL, VERSION)
    )
    make, model, serial, version = texts
    return DeviceIdentity(make, model, serial, version)


def refusal(status: int) -> str:
    """Return the word for a refusal."""
    name = Status(status).name.lower().replace("_", " ") if status in set(Status) else "unknown"
    return f"{name} ({status:#06x})"


def _bad(kind: str, datagram: bytes) -> BadFrame:
    return BadFrame(kind, 0, datagram[:HEAD_BYTES])
