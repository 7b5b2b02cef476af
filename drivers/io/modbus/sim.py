"""The emulated I/O board: a small PLC beside the virtual lane, served over Modbus TCP.

``Plc`` is the logic of the cabinet without any wire, for virtual time; ``ModbusEmulator`` serves it.
The PLC, not the station, lowers the arm, and it drops every coil when the station falls silent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pymodbus import ModbusDeviceIdentification
from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.api import Clock, Options
from drivers.io.modbus.driver import READ_DISCRETE_INPUTS, ModbusIoOptions
from drivers.plant.world import Plant

SCAN_S = 0.02
WATCHDOG_S = 2.0
"""Silence of the watchdog coil after which every coil drops."""
CLEAR_S = 1.0
"""Time that both loops and the photo-eye must be clear before the arm is lowered."""
LOGGED_WRITES = 4_096
READ_COILS = 1
IDENTITY = {"VendorName": "Carril", "ProductCode": "emulated I/O board", "MajorMinorRevision": "1"}


class Plc:
    """What the cabinet does in one scan: coils and lane in, lane and inputs out.

    Coils have no effect before the watchdog coil has moved, after it has been silent for 2 s, and while
    the emergency stop is pressed. A permit raises the arm. Without one the arm comes down once booth loop,
    exit loop and photo-eye have been clear for 1 s, and goes up again when the photo-eye is blocked.
    """

    FAULTS: ClassVar[frozenset[str]] = frozenset(
        {
            "stuck_loop:entry_loop",
            "stuck_loop:booth_loop",
            "stuck_loop:exit_loop",
            "estop",
            "cabinet_open",
            "arm_moves_unordered",
            "arm_stuck",
            "frozen",
        }
    )

    def __init__(self, plant: Plant) -> None:
        """Stand beside the lane, with the watchdog silent."""
        self.plant = plant
        self.faults: set[str] = set()
        self.alive = False
        """Whether the watchdog has moved within the last 2 s."""
        self._watchdog = False
        self._moved_s = 0.0
        self._raise = False
        self._blocked_s = 0.0
        self._shown: dict[str, bool] = {}

    def fault(self, name: str, *, on: bool) -> None:
        """Begin or end a fault of ``FAULTS``."""
        (self.faults.add if on else self.faults.discard)(name)
        if name == "estop":
            self.plant.emergency_stop = on
        if name == "cabinet_open":
            self.plant.cabinet_open = on

    def step(self, now_s: float, coils: MutableMapping[str, bool]) -> dict[str, bool]:
        """Scan once at ``now_s`` (the plant's monotonic seconds) and return the inputs by name.

        ``coils`` is the board's output memory: all of it is dropped when the watchdog falls silent.
        """
        self._watch(now_s, coils)
        inputs = self._sense()
        enabled = self.alive and not self.plant.emergency_stop
        self.plant.entry_green = enabled and coils.get("entry_green", False)
        self._drive_arm(now_s, inputs, permit=enabled and coils.get("raise_permit", False))
        if "frozen" not in self.faults or not self._shown:
            self._shown = inputs
        return dict(self._shown)

    def _watch(self, now_s: float, coils: MutableMapping[str, bool]) -> None:
        watchdog = coils.get("watchdog", False)
        if watchdog != self._watchdog:
            self.alive, self._watchdog, self._moved_s = True, watchdog, now_s
        elif self.alive and now_s - self._moved_s >= WATCHDOG_S:
            self.alive = self._watchdog = False
            coils.update(dict.fromkeys(coils, False))

    def _sense(self) -> dict[str, bool]:
        plant, place = self.plant, self.plant.geometry
        loops = {
            "entry_loop": plant.over_loop(place.entry_loop_m),
            "booth_loop": plant.over_loop(place.booth_loop_m),
            "exit_loop": plant.over_loop(place.exit_loop_m),
        }
        return {
            **{name: over or f"stuck_loop:{name}" in self.faults for name, over in loops.items()},
            "barrier_up": plant.arm >= 1,
            "barrier_down": plant.arm <= 0,
            "obstruction": plant.eye_blocked,
            "estop_ok": not plant.emergency_stop,
            "cabinet_closed": not plant.cabinet_open,
        }

    def _drive_arm(self, now_s: float, inputs: Mapping[str, bool], *, permit: bool) -> None:
        if inputs["booth_loop"] or inputs["exit_loop"] or inputs["obstruction"]:
            self._blocked_s = now_s
        reverses = not self._raise and self.plant.arm > 0 and inputs["obstruction"]
        if permit or reverses or "arm_moves_unordered" in self.faults:
            self._raise = True
        elif now_s - self._blocked_s >= CLEAR_S and not self.plant.emergency_stop:
            self._raise = False
        stuck_up = self.plant.arm >= 0.5
        self.plant.arm_wanted_up = stuck_up if "arm_stuck" in self.faults else self._raise


@dataclass(frozen=True, slots=True)
class CoilWrite:
    """One write as it came over the wire."""

    at_s: float
    address: int
    bits: tuple[bool, ...]


class ModbusEmulator:
    """The board on a loopback port (``drivers.plant.emulator.Emulator``)."""

    FAULTS: ClassVar[frozenset[str]] = Plc.FAULTS | {"modbus_exception", "wrong_unit"}
    DIALS: ClassVar[bool] = False

    def __init__(self, options: Options, plant: Plant, clock: Clock, seed: int) -> None:
        """Build it; there is nothing random in a PLC, so ``seed`` is not used."""
        if not isinstance(options, ModbusIoOptions):
            raise TypeError(f"the Modbus emulator needs ModbusIoOptions, not {type(options).__name__}")
        self.plc = Plc(plant)
        self.writes: deque[CoilWrite] = deque(maxlen=LOGGED_WRITES)
        """The last writes over the wire, oldest first."""
        self._options = options
        self._clock = clock
        self._coils = dict.fromkeys(options.coils, False)
        self._inputs: dict[str, bool] = {}
        self._wire_faults: set[str] = set()
        self._own_access = False
        self._server: ModbusTcpServer | None = None
        self._scanning: asyncio.Task[None] | None = None

    async def start(self, dial_port: int | None = None) -> int:
        """Serve on an ephemeral loopback port and return it; ``dial_port`` has no meaning here."""
        unit_id = self._options.unit_id
        stranger = [SimDevice(0, simdata=_memory(1, 1), action=_no_such_unit)] if unit_id else []
        board = SimDevice(
            unit_id,
            simdata=_memory(_size(self._options.coils), _size(self._options.inputs)),
            action=self._on_request,
        )
        server = self._server = ModbusTcpServer(
            [board, *stranger],
            identity=ModbusDeviceIdentification(info_name=IDENTITY),  # type: ignore[no-untyped-call]  # pymodbus
            address=("127.0.0.1", 0),
            trace_pdu=self._on_pdu,
        )
        await server.serve_forever(background=True)
        await self._scan(server)
        self._scanning = asyncio.create_task(self._scan_for_ever(server))
        port: int = server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # an asyncio server
        return port

    async def stop(self) -> None:
        """Stop serving; idempotent."""
        if self._scanning is not None:
            self._scanning.cancel()
            await asyncio.wait([self._scanning])
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus
        self._scanning = self._server = None

    def fault(self, name: str, *, on: bool) -> None:
        """Show or end a fault; ``ValueError`` for a name not in ``FAULTS``."""
        if name not in self.FAULTS:
            raise ValueError(f"the I/O board has no fault {name!r}; it has {', '.join(sorted(self.FAULTS))}")
        if name in Plc.FAULTS:
            self.plc.fault(name, on=on)
        else:
            (self._wire_faults.add if on else self._wire_faults.discard)(name)

    def state(self) -> dict[str, Any]:
        """Return coils, inputs, arm, watchdog and faults."""
        return {
            "coils": dict(self._coils),
            "inputs": dict(self._inputs),
            "arm": round(self.plc.plant.arm, 3),
            "watchdog_alive": self.plc.alive,
            "faults": sorted(self.plc.faults | self._wire_faults),
        }

    # --- one scan -------------------------------------------------------------------------------

    async def _scan_for_ever(self, server: ModbusTcpServer) -> None:
        while True:
            await self._clock.sleep(SCAN_S)
            await self._scan(server)

    async def _scan(self, server: ModbusTcpServer) -> None:
        """Read the coil memory, step the PLC, show its inputs and what it dropped."""
        options = self._options
        self._own_access = True
        memory = await server.async_getValues(options.unit_id, READ_COILS, 0, _size(options.coils))
        self._coils = {name: bool(memory[address]) for name, address in options.coils.items()}
        written = dict(self._coils)
        self._inputs = self.plc.step(self.plc.plant.advance(), self._coils)
        if self._coils != written:
            await server.async_setValues(options.unit_id, READ_COILS, 0, [False] * len(memory))
        contacts = [False] * _size(options.inputs)
        for name, address in options.inputs.items():
            contacts[address] = self._inputs[name] != (name in options.normally_closed)
        await server.async_setValues(options.unit_id, READ_DISCRETE_INPUTS, 0, contacts)
        self._own_access = False

    async def _on_request(
        self, function: int, start: int, address: int, count: int, memory: list[int], values: Any
    ) -> ExcCodes | None:
        """Log what is written over the wire; the library also calls this for the scan's own access."""
        if self._own_access:
            return None
        if "modbus_exception" in self._wire_faults:
            return ExcCodes.DEVICE_FAILURE
        if values is not None:
            self.writes.append(CoilWrite(self._clock.monotonic_s(), address, tuple(map(bool, values))))
        return None

    def _on_pdu(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if sending and "wrong_unit" in self._wire_faults:
            pdu.dev_id = (pdu.dev_id + 1) % 256
        return pdu


def _size(addresses: Mapping[str, int]) -> int:
    return max(addresses.values(), default=0) + 1


async def _no_such_unit(*_: object) -> ExcCodes:
    return ExcCodes.GATEWAY_NO_RESPONSE


def _memory(coils: int, inputs: int) -> tuple[list[SimData], list[SimData], list[SimData], list[SimData]]:
    """Return coils, discrete inputs, and the registers that the library demands but nobody uses."""
    bits = [[SimData(0, values=[False] * size, datatype=DataType.BITS)] for size in (coils, inputs)]
    registers = [[SimData(0, values=[0], datatype=DataType.REGISTERS)] for _ in range(2)]
    return bits[0], bits[1], registers[0], registers[1]
