"""A virtual lane with one truck, and a scanner on it that is read in virtual time, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from drivers.formats.linestream.codes import HeaderFlag
from drivers.formats.linestream.frames import FrameReader, crc32c, encode
from drivers.formats.linestream.messages import Ack, Describe, Hello, Message, ScanBegin
from drivers.geometry import LaneGeometry
from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import Scenario, Vehicle
from drivers.plant.world import Plant
from drivers.readings import BadFrame, LineBlock, LinesLost, Reading, ScanClosed, ScanKey, ScanOpened
from drivers.scanner.linestream.driver import LinestreamOptions
from drivers.scanner.linestream.session import StationSession
from drivers.scanner.linestream.sim import LinestreamEmulator

PLACES = LaneGeometry(
    entry_loop_m=-2.0, portal_m=4.0, portal_beams_m=(3.5, 4.5), lpr_m=5.0, scan_plane_m=8.0,
    booth_loop_m=19.0, stop_line_m=21.0, barrier_m=22.0, exit_loop_m=24.0,
)  # fmt: skip
TRUCK = Vehicle(name="clean", plate="R4K 7719", length_m=12, speed_mps=4, load="pallets", seed=2)
TRUCK_LINES = 1_600
STEP_S = 0.02

GEOMETRY_JSON = (
    b'{"format":"linestream","v":1,"maker":"M","model":"L","serial":"S","firmware":"F",'
    b'"detector":{"count":2,"pitch_um":5000,"layout":"vertical","column_um":[0,2000000],"bottom_um":300000},'
    b'"source":{"kind":"isotope","nuclide":"Co-60","position_um":[0,-4000000,1500000]},'
    b'"lane":{"plane_distance_um":4000000},"encoder":{"um_per_tick":500,"sign":-1},'
    b'"sample":{"quantity":"counts","full_scale":4095,"units_per_quantum":1,"read_noise":0},'
    b'"reference_detectors":[0]}'
)
GEOMETRY_CRC = crc32c(GEOMETRY_JSON)


def plant_with(truck: Vehicle = TRUCK) -> Callable[[PlantClock], Plant]:
    """Return what builds a lane whose entry light is green, so that the truck comes at once."""

    def build(clock: PlantClock) -> Plant:
        plant = Plant(PLACES, Scenario(title="one truck", gap_s=600, truck=(truck,)), clock)
        plant.entry_green = True
        return plant

    return build


async def truck_after_dark(emulator: LinestreamEmulator, plant: Plant) -> None:
    """Let the truck come only when air is being taken: it needs longer to the plane than the air does.

    Over real sockets a slow machine attaches late, and a truck would end the calibration.
    """
    plant.entry_green = False
    while emulator.state()["phase"] != "air":
        await asyncio.sleep(0.01)
    plant.entry_green = True


def begin(**fields: int) -> ScanBegin:
    """A vehicle scan of two detectors that fits ``GEOMETRY_JSON``."""
    plain: dict[str, int] = {
        "kind": 1, "direction": 1, "mode": 1, "channels": 1, "detectors": 2, "sample_format": 1, "trigger": 2,
        "start_ns": 0, "start_utc": 0, "clock": 1, "geometry_crc": GEOMETRY_CRC, "line_period_ns": 2_000_000,
        "full_scale": 4095, "kev_0": 1250, "kev_1": 0,
    }  # fmt: skip
    return ScanBegin(**(plain | fields))


class VirtualScanner:
    """Emulator and station session joined without a wire; everything that was read is kept."""

    def __init__(self, truck: Vehicle = TRUCK, **emulator: int) -> None:
        self.clock = PlantClock(rate=0)
        self.plant = plant_with(truck)(self.clock)
        self.emulator = LinestreamEmulator(LinestreamOptions(), self.plant, self.clock, 1, **emulator)
        self.session = StationSession()
        self.readings: list[Reading | BadFrame] = []
        self.frames: list[bytes] = []
        self.broken = False
        self.acking = True
        self._reader = FrameReader()
        self._seq = 0

    def connect(self) -> None:
        self._reader, self._seq, self.broken = FrameReader(), 0, False
        self.emulator.connect()

    def send(self, message: Message, scan_id: int = 0) -> None:
        self.emulator.receive(encode(message, seq=self._seq, scan_id=scan_id))
        self._seq += 1

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let virtual time pass in steps, until something is so or the link is given up."""
        for _ in range(round(seconds / STEP_S)):
            self.clock.advance(STEP_S)
            for wire in self.emulator.step():
                self._hear(wire)
            if until():
                return

    def _hear(self, wire: bytes) -> None:
        self.frames.append(wire)
        for item in [] if self.broken else self._reader.feed(wire):
            if isinstance(item, BadFrame):
                self.readings.append(item)
                self.broken = True
                self.emulator.disconnect()
                return
            stamp = self.clock.stamp()
            match item.message:
                case Hello() as hello:
                    self.send(self.session.greet(hello, stamp))
                    self.readings += self.session.waiting()
                case Describe() as description if self.session.geometry is None:
                    self.session.describe(description)
                case _:
                    for reading in self.session.take(item, stamp):
                        self._keep(reading)

    def _keep(self, reading: Reading | BadFrame) -> None:
        self.readings.append(reading)
        if self.acking and isinstance(reading, LineBlock):
            self.session.durable(reading.key, reading.next_line)
            self.send(Ack(reading.next_line), reading.key.scan_id)

    def of(self, kind: type) -> list:
        return [reading for reading in self.readings if isinstance(reading, kind)]

    def blocks(self, key: ScanKey) -> list[LineBlock]:
        return [block for block in self.of(LineBlock) if block.key == key]

    def vehicle(self) -> ScanOpened:
        return next(opened for opened in self.of(ScanOpened) if opened.kind == "vehicle")

    def line_in_plane(self, line: int) -> Callable[[], bool]:
        """Whether the truck's scan has come to a line."""
        return lambda: self.plant.scan_s_m >= -0.4 + 0.008 * line


def every_line_once(blocks: list[LineBlock], lost: list[LinesLost] | None = None) -> int:
    """Check that blocks (and what was declared lost) follow each other without hole or overlap."""
    spans = [(block.first_line, block.next_line) for block in blocks]
    spans += [(gap.first_line, gap.first_line + gap.count) for gap in lost or []]
    line = 0
    for first, after in sorted(spans):
        assert first == line, f"line {line} expected, {first} came"
        line = after
    return line


def chained_crc(blocks: list[LineBlock]) -> int:
    crc = 0
    for block in blocks:
        crc = crc32c(np.ascontiguousarray(block.samples).tobytes(), crc)
    return crc


def closed(scanner: VirtualScanner) -> ScanClosed:
    """The last scan that was closed."""
    return scanner.of(ScanClosed)[-1]


RESENT = HeaderFlag.RESENT
