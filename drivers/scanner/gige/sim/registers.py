"""The registers of the emulated camera, and its GenICam file: a small one of our own."""

from __future__ import annotations

from drivers.formats.gige import gvcp, gvsp
from drivers.formats.gige.gvcp import Register, Status
from drivers.scanner.gige.options import GigeOptions

XML_AT = 0x0100_0000
TICKS_PER_S = 1_000_000_000
SERIAL = "SIM-1"
HEARTBEAT_MS = 3_000


def genicam(options: GigeOptions) -> str:
    """Return the file that tells other applications where width, height and the others are."""
    registers = options.registers

    def integer(name: str, address: int, mode: str) -> str:
        return (
            f'<Integer Name="{name}"><pValue>{name}Register</pValue></Integer>'
            f'<IntReg Name="{name}Register"><Address>{address:#x}</Address><Length>4</Length>'
            f"<AccessMode>{mode}</AccessMode><pPort>Device</pPort><Sign>Unsigned</Sign>"
            "<Endianess>BigEndian</Endianess></IntReg>"
        )

    def command(name: str, address: int, value: int) -> str:
        return (
            f'<Command Name="{name}"><pValue>{name}Register</pValue>'
            f"<CommandValue>{value}</CommandValue></Command>"
            f'<IntReg Name="{name}Register"><Address>{address:#x}</Address><Length>4</Length>'
            "<AccessMode>RW</AccessMode><pPort>Device</pPort><Sign>Unsigned</Sign>"
            "<Endianess>BigEndian</Endianess></IntReg>"
        )

    names = ["Width", "Height", "PixelFormat", "PayloadSize", "AcquisitionMode"]
    names += ["AcquisitionStart", "AcquisitionStop"]
    features = "".join(f"<pFeature>{name}</pFeature>" for name in names)
    pixel_register = integer("PixelFormatCode", registers.pixel_format, "RW")
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<RegisterDescription ModelName="LineCamera" VendorName="Carril" StandardNameSpace="GEV" '
        'SchemaMajorVersion="1" SchemaMinorVersion="1" SchemaSubMinorVersion="0" '
        'MajorVersion="1" MinorVersion="0" SubMinorVersion="0" '
        'ToolTip="Emulated line camera" ProductGuid="0" VersionGuid="0" '
        'xmlns="http://www.genicam.org/GenApi/Version_1_1">'
        f'<Category Name="Root" NameSpace="Standard">{features}</Category>'
        f"{integer('Width', registers.width, 'RW')}{integer('Height', registers.height, 'RW')}"
        f'<Enumeration Name="PixelFormat"><EnumEntry Name="Mono16"><Value>{gvsp.MONO16}</Value></EnumEntry>'
        f"<pValue>PixelFormatCodeRegister</pValue></Enumeration>{pixel_register}"
        f"{integer('PayloadSize', payload_register(options), 'RO')}"
        '<Enumeration Name="AcquisitionMode"><EnumEntry Name="Continuous"><Value>1</Value></EnumEntry>'
        "<Value>1</Value></Enumeration>"
        f"{command('AcquisitionStart', *registers.acquisition_start)}"
        f"{command('AcquisitionStop', *registers.acquisition_stop)}"
        '<Port Name="Device" NameSpace="Standard"/></RegisterDescription>'
    )


def payload_register(options: GigeOptions) -> int:
    """Return where the bytes of a frame stand; a place of its own where the driver needs none."""
    address = options.registers.payload_size
    return XML_AT - 4 if address is None else address


class Registers:
    """Values by address, and what may be written."""

    def __init__(self, options: GigeOptions, payload_bytes: int) -> None:
        """Set everything as after power-on."""
        own = options.registers
        self._options = options
        self._words: dict[int, int] = {}
        for (at, size), text in zip(
            (gvcp.MAKE, gvcp.MODEL, gvcp.VERSION, gvcp.SERIAL),
            ("Carril", "emulated line camera", "1", SERIAL),
            strict=True,
        ):
            self._text(at, text.encode().ljust(size, b"\0"))
        xml = genicam(options).encode()
        self._text(XML_AT, xml + bytes(-len(xml) % 4))
        url = f"Local:carril.xml;{XML_AT:x};{len(xml):x}".encode()
        self._text(Register.FIRST_URL, url.ljust(512, b"\0"))
        for address in range(0, gvcp.DISCOVERY_BYTES, 4):
            self._words.setdefault(address, 0)
        self._words |= {
            0x0000: 0x0001_0002,
            0x0004: 0x8000_0001,
            Register.MAC_HIGH: 0x0000_0200,
            Register.MAC_LOW: 0x0000_0001,
            Register.CURRENT_IP: 0x7F00_0001,
            Register.INTERFACES: 1,
            Register.STREAM_CHANNELS: 1,
            Register.CAPABILITY: gvcp.CAN_RESEND,
            Register.HEARTBEAT_MS: HEARTBEAT_MS,
            Register.TICKS_HIGH: TICKS_PER_S >> 32,
            Register.TICKS_LOW: TICKS_PER_S & 0xFFFF_FFFF,
            Register.PRIVILEGE: 0,
            Register.STREAM_PORT: 0,
            Register.PACKET_SIZE: options.packet_bytes,
            Register.PACKET_SIZE + 4: 0,
            Register.STREAM_ADDRESS: 0,
            own.width: options.detectors,
            own.height: options.lines,
            own.pixel_format: gvsp.MONO16,
            payload_register(options): payload_bytes,
            own.acquisition_start[0]: 0,
            own.acquisition_stop[0]: 0,
        }
        self._fixed = {own.width, own.height, own.pixel_format}
        self._writable = {
            Register.HEARTBEAT_MS, Register.PRIVILEGE, Register.STREAM_PORT, Register.PACKET_SIZE,
            Register.PACKET_SIZE + 4, Register.STREAM_ADDRESS, own.acquisition_start[0],
            own.acquisition_stop[0],
        }  # fmt: skip

    def _text(self, at: int, text: bytes) -> None:
        for index in range(0, len(text), 4):
            self._words[at + index] = int.from_bytes(text[index : index + 4], "big")

    def __getitem__(self, address: int) -> int:
        return self._words.get(address, 0)

    def read(self, address: int, size: int = 4) -> bytes | None:
        """Return ``size`` bytes; ``None`` where there is no register at all."""
        known = [self._words.get(at) for at in range(address, address + size, 4)]
        if address % 4 or all(word is None for word in known):
            return None
        return gvcp.words(*(word or 0 for word in known))

    def write(self, address: int, value: int) -> Status:
        """Set a register; what cannot be another value takes only the one that it has."""
        if address in self._fixed:
            return Status.SUCCESS if self._words[address] == value else Status.INVALID_PARAMETER
        if address not in self._writable:
            return Status.WRITE_PROTECT if address in self._words else Status.INVALID_ADDRESS
        self._words[address] = value & (0xFFFF if address == Register.PACKET_SIZE else 0xFFFF_FFFF)
        return Status.SUCCESS
