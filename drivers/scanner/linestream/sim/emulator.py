"""The emulated scanner as a whole: acquisition and front end behind a TCP server, or in virtual time."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

from drivers.api import Clock, Options
from drivers.formats.linestream.frames import crc32c
from drivers.plant.column import ColumnModel, DetectorColumn
from drivers.plant.phantom import Fan
from drivers.plant.world import Plant
from drivers.scanner.linestream.sim.acquisition import UM_PER_TICK, Acquisition
from drivers.scanner.linestream.sim.faults import AT_ONCE, LASTING, MOMENTARY, Misbehaviour
from drivers.scanner.linestream.sim.front_end import UNLIMITED, FrontEnd

STEP_S = 0.02
RING_LINES = 60 * 500
"""A minute at the highest line rate."""
SEND_BUFFER_BYTES = 1 << 20
"""A station that lets more than this wait gets no more lines; the ring keeps them."""
READ_SIZE = 65_536
UM_PER_M = 1_000_000

SOURCE_HEIGHT_M = 1.4
FAN = Fan(
    detectors=512,
    pitch_m=0.0096,
    bottom_m=SOURCE_HEIGHT_M - 1.2 * 1.51,
    plane_distance_m=18.0,
    detector_distance_m=21.6,
    source_height_m=SOURCE_HEIGHT_M,
)
"""8 mm at the lane plane, where it sees 11 cm below the road up to 3.98 m; far enough for little parallax."""
LANE_HALF_WIDTH_M = 1.25
CLEARANCE_M = 3.69
"""Nothing that drives through is higher."""


def describe(fan: Fan, model: ColumnModel) -> bytes:
    """Return DESCRIBE for a fan: the very numbers that the phantom is traced with."""
    near_m = fan.plane_distance_m - LANE_HALF_WIDTH_M
    above = fan.source_height_m + fan.slope * near_m > CLEARANCE_M

    def um(metres: float) -> int:
        return round(metres * UM_PER_M)

    said = {
        "format": "linestream",
        "v": 1,
        "maker": "Carril",
        "model": "emulated line scanner",
        "serial": "SIM-1",
        "firmware": "1",
        "detector": {
            "count": fan.detectors,
            "pitch_um": um(fan.pitch_m),
            "channel_phase": [0],
            "layout": "vertical",
            "column_um": [0, um(fan.detector_distance_m - fan.plane_distance_m)],
            "bottom_um": um(fan.bottom_m),
        },
        "source": {
            "kind": "isotope",
            "nuclide": "Co-60",
            "position_um": [0, um(-fan.plane_distance_m), um(fan.source_height_m)],
            "spectrum_id": "co60-lines",
        },
        "lane": {
            "plane_distance_um": um(fan.plane_distance_m),
            "near_um": um(near_m),
            "far_um": um(fan.plane_distance_m + LANE_HALF_WIDTH_M),
        },
        "encoder": {"um_per_tick": UM_PER_TICK, "sign": 1},
        "sample": {
            "quantity": "counts",
            "full_scale": model.full_scale,
            "units_per_quantum": model.counts_per_quantum,
            "read_noise": model.read_noise,
        },
        "reference_detectors": [int(row) for row in above.nonzero()[0]],
        "dead": list(model.dead),
    }
    return json.dumps(said, separators=(",", ":")).encode()


class LinestreamEmulator:
    """A line scanner on a loopback port (``drivers.plant.emulator.Emulator``).

    Without ``start`` it works in virtual time: ``connect``, ``receive`` and ``step`` are the wire.
    """

    FAULTS: ClassVar[frozenset[str]] = LASTING | MOMENTARY | AT_ONCE
    DIALS: ClassVar[bool] = False

    def __init__(
        self, options: Options, plant: Plant, clock: Clock, seed: int, *, ring_lines: int = RING_LINES
    ) -> None:
        """Build it; the address in ``options`` is the station's business."""
        self._plant = plant
        self._clock = clock
        self._ring_lines = ring_lines
        model = ColumnModel(FAN.detectors)
        self._description = describe(FAN, model)
        self._faults = Misbehaviour()
        column = DetectorColumn(model, seed)
        self._acquisition = Acquisition(plant, FAN, column, crc32c(self._description), self._faults)
        self._front = self._boot(clock.stamp().utc_ns)
        self._server: asyncio.Server | None = None
        self._stepping: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    def _boot(self, boot_id: int) -> FrontEnd:
        """Start with an empty memory under a number that no boot before had: the time."""
        return FrontEnd(boot_id, self._description, self._ring_lines, self._faults)

    # --- virtual time ---------------------------------------------------------------------------

    def connect(self) -> None:
        """Begin a link, in place of the one before."""
        stamp = self._clock.stamp()
        self._front.connect(stamp.mono_ns, stamp.utc_ns)

    def disconnect(self) -> None:
        """End the link; the ring keeps the scans."""
        self._front.disconnect()

    def receive(self, data: bytes) -> None:
        """Take bytes of the station."""
        self._front.receive(data, self._clock.stamp().mono_ns)

    def step(self, room: int = UNLIMITED) -> list[bytes]:
        """Look at the plant now, and return the frames that go out, up to about ``room`` bytes."""
        now_s = self._plant.advance()
        self._acquisition.step(self._front, now_s, self._clock.stamp().utc_ns)
        return self._front.pull(room)

    # --- loopback -------------------------------------------------------------------------------

    async def start(self, dial_port: int | None = None) -> int:
        """Serve on an ephemeral loopback port and return it; ``dial_port`` has no meaning here."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._stepping = asyncio.create_task(self._step_for_ever())
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop serving; idempotent."""
        if self._stepping is not None:
            self._stepping.cancel()
            await asyncio.wait([self._stepping])
        if self._server is not None:
            self._server.close()
        self._hang_up()
        if self._server is not None:
            await self._server.wait_closed()
        self._stepping = self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one station; a new one replaces the one before, whose link may be half open."""
        self._hang_up()
        self._writer = writer
        self.connect()
        self._send()
        try:
            while data := await reader.read(READ_SIZE):
                if self._writer is not writer:
                    return
                self.receive(data)
                self._send()
        except ConnectionError:
            pass
        finally:
            if self._writer is writer:
                self._hang_up()

    async def _step_for_ever(self) -> None:
        while True:
            self._send()
            await self._clock.sleep(STEP_S)

    def _send(self) -> None:
        writer = self._writer
        waiting = writer.transport.get_write_buffer_size() if writer is not None else 0
        frames = self.step(SEND_BUFFER_BYTES - waiting)
        if writer is not None and not writer.is_closing():
            writer.writelines(frames)
            if self._front.closing:
                writer.close()

    def _hang_up(self) -> None:
        writer, self._writer = self._writer, None
        self.disconnect()
        if writer is not None:
            writer.transport.abort()

    # --- faults and state -----------------------------------------------------------------------

    def fault(self, name: str, *, on: bool) -> None:
        """Show or end a protocol fault; ``ValueError`` for a name not in ``FAULTS``."""
        if name not in self.FAULTS:
            raise ValueError(f"the scanner has no fault {name!r}; it has {', '.join(sorted(self.FAULTS))}")
        if name == "reboot":
            if on:
                self._reboot()
        elif name == "scan_without_end":
            if on and self._front.open_scan is not None:
                self._front.begin(self._front.open_scan.begin)
        else:
            self._faults.set(name, on=on)

    def _reboot(self) -> None:
        self._hang_up()
        self._front = self._boot(max(self._clock.stamp().utc_ns, self._front.boot_id + 1))
        self._acquisition.abandon()

    def state(self) -> dict[str, Any]:
        """Return what it believes at the moment (JSON values; 64-bit numbers as text)."""
        scan = self._front.open_scan
        return {
            "boot_id": str(self._front.boot_id),
            "attached": self._front.attached,
            "phase": self._acquisition.phase,
            "calibrated": self._acquisition.calibrated,
            "scan_id": scan.scan_id if scan else 0,
            "lines": scan.next_line if scan else 0,
            "held_lines": self._front.ring.held_lines,
            "dropped_lines": self._front.ring.dropped,
            "acknowledged": list(self._front.acked),
            "faults": sorted(self._faults.on),
        }
