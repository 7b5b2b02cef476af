"""What a GigE Vision camera cannot say: its vendor registers, and where it stands in the lane."""

from __future__ import annotations

import json
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from drivers.api import DeviceIdentity, Options
from drivers.formats.gige import gvcp, gvsp

Address = Annotated[int, Field(ge=0, le=0xFFFF_FFFC, multiple_of=4)]
Write = Annotated[tuple[Address, Annotated[int, Field(ge=0, le=0xFFFF_FFFF)]], Field(strict=False)]
UM_PER_MM, UM_PER_M = 1e3, 1e6


class Registers(Options):
    """Addresses of the camera's own registers, 32 bits each, as its GenICam file has them."""

    width: Address
    height: Address
    pixel_format: Address
    acquisition_start: Write
    """Address and the value that is written there."""
    acquisition_stop: Write
    payload_size: Address | None = None
    """Bytes of one block; needed with chunk data."""


class Inputs(Options):
    """Chunk data in which the camera tells of its digital inputs with every frame (ChunkLineStatusAll).

    The interlock's PLC drives them: ``beam`` while the source is on, ``calibration`` while dark and air are
    taken. Bits count from 0, the lowest.
    """

    chunk: int = Field(ge=0, le=0xFFFF_FFFF)
    beam: int = Field(ge=0, le=31)
    calibration: int = Field(ge=0, le=31)


class Column(Options):
    """The detector column, its source and its samples, as linestream's DESCRIBE has them."""

    pitch_mm: float = Field(gt=0, le=1_000)
    bottom_m: float = Field(ge=-200, le=200)
    """Height of the lowest detector's centre."""
    source_height_m: float = Field(ge=-200, le=200)
    plane_distance_m: float = Field(gt=0, le=200)
    """From the source to the middle of the lane."""
    detector_distance_m: float = Field(gt=0, le=200)
    """From the source to the detectors."""
    source: str = Field(min_length=1, max_length=64)
    quantity: Literal["counts", "charge"]
    full_scale: int = Field(ge=1, le=65_535)
    units_per_quantum: float = Field(default=1.0, gt=0)
    read_noise: float = Field(default=0.0, ge=0)
    reference_detectors: Annotated[tuple[int, ...], Field(strict=False, max_length=8_192)] = ()
    """Rows above every vehicle; row 0 is the highest."""
    first_pixel: Literal["top", "bottom"] = "top"


class GigeOptions(Options):
    """A camera with one line of detectors whose frames are ``lines`` lines high."""

    QUIET: ClassVar[bool] = True

    host: str = "127.0.0.1"
    port: int = Field(default=gvcp.PORT, ge=1, le=65_535)
    detectors: int = Field(ge=2, le=8_192)
    lines: int = Field(ge=1, le=256)
    """Lines of one frame."""
    packet_bytes: int = Field(default=1_400, ge=576, le=9_000)
    """Size of a packet of the stream, IP and UDP included."""
    heartbeat_s: float = Field(default=3.0, ge=0.5, le=10)
    """Without a word for so long the camera takes control away; the station speaks three times as often."""
    scan_gap_s: float = Field(default=1.0, ge=0.2, le=1.9)
    """A scan is over when no frame came for so long."""
    line_period_us: float = Field(gt=0, le=1_000_000)
    """From line to line within a frame; nominal where an encoder triggers them."""
    line_pitch_mm: float = Field(default=0.0, ge=0, le=100)
    """Travel from line to line where an encoder triggers each one; 0: lines come by the clock."""
    registers: Registers
    column: Column
    inputs: Inputs | None = None

    @model_validator(mode="after")
    def _check(self) -> GigeOptions:
        column, wrong = self.column, []
        if self.inputs is not None and self.registers.payload_size is None:
            wrong.append("inputs come as chunk data: registers.payload_size is needed to know their size")
        if column.detector_distance_m < column.plane_distance_m:
            wrong.append(
                f"detector_distance_m = {column.detector_distance_m:g} m: the detectors stand nearer to the "
                f"source than the lane plane at {column.plane_distance_m:g} m"
            )
        rows = column.reference_detectors
        if len(set(rows)) < len(rows) or any(not 0 <= row < self.detectors for row in rows):
            wrong.append(f"reference_detectors: each once and between 0 and {self.detectors - 1} expected")
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    @property
    def image_bytes(self) -> int:
        """Bytes of the image in one block."""
        return self.detectors * self.lines * 2

    def form(self, packet_bytes: int, payload_bytes: int) -> gvsp.Form:
        """Return the form of the stream for a packet size and a block's bytes as the camera has them."""
        chunks = self.inputs is not None
        return gvsp.Form(self.detectors, self.lines, payload_bytes, packet_bytes - gvsp.OVERHEAD, chunks)

    def describe(self, identity: DeviceIdentity) -> bytes:
        """Return linestream's DESCRIBE for the camera: the journal of its lines explains itself with it."""
        column = self.column
        depth_um = (column.detector_distance_m - column.plane_distance_m) * UM_PER_M
        said = {
            "format": "linestream",
            "v": 1,
            "maker": identity.make,
            "model": identity.model,
            "serial": identity.serial,
            "firmware": identity.firmware,
            "detector": {
                "count": self.detectors,
                "pitch_um": column.pitch_mm * UM_PER_MM,
                "layout": "vertical",
                "column_um": [0, depth_um],
                "bottom_um": column.bottom_m * UM_PER_M,
            },
            "source": {
                "kind": column.source,
                "position_um": [0, -column.plane_distance_m * UM_PER_M, column.source_height_m * UM_PER_M],
            },
            "lane": {"plane_distance_um": column.plane_distance_m * UM_PER_M},
            "encoder": {"um_per_tick": (self.line_pitch_mm or 1.0) * UM_PER_MM, "sign": 1},
            "sample": {
                "quantity": column.quantity,
                "full_scale": column.full_scale,
                "units_per_quantum": column.units_per_quantum,
                "read_noise": column.read_noise,
            },
            "reference_detectors": list(column.reference_detectors),
        }
        return json.dumps(said, separators=(",", ":")).encode()
