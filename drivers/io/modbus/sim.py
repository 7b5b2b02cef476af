"""The emulated I/O board: a small PLC beside the virtual lane, served over Modbus TCP.

``Plc`` is the logic of the cabinet without any wire, for virtual time; ``ModbusEmulator`` serves it.
The PLC, not the station, lowers the arm, and it drops every coil when the station falls silent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from drivers.api import Clock, Options
from drivers.io.modbus.driver import ModbusIoOptions
from drivers.plant.modbus import FAULTS as WIRE_FAULTS
from drivers.plant.modbus import ModbusServer
from drivers.plant.polled import PolledPortal
from drivers.plant.world import Plant
from drivers.transport.modbus import READ_COILS, READ_INPUTS

SCAN_S = 0.02
WATCHDOG_S = 2.0
"""Silence of the watchdog coil after which every coil drops."""
CLEAR_S = 1.0
"""Time that both loops and the photo-eye must be clear before the arm is lowered."""
LOGGED_WRITES = 4_096
CUT = "cut_wire:"
PORTAL_FAULTS = {"portal_fault": "not_ready", "portal_open": "tamper"}
"""Faults of a portal on the board's contacts, and what the portal calls them."""
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
            *PORTAL_FAULTS,
        }
    )

    def __init__(self, plant: Plant, portals: Iterable[str] = (), seed: int = 1) -> None:
        """Stand beside the lane, with the watchdog silent; ``portals`` have their contacts wired to it."""
        self.plant = plant
        self._portals = {name: PolledPortal(plant, seed) for name in portals}
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
        if name in PORTAL_FAULTS:
            for portal in self._portals.values():
                portal.fault(PORTAL_FAULTS[name], on=on)

    def step(self, now_s: float, coils: MutableMapping[str, bool]) -> dict[str, bool]:
        """Scan once at ``now_s`` (the plant's monotonic seconds) and return the inputs by name.

        ``coils`` is the board's output memory: all of it is dropped when the watchdog falls silent.
        """
        self._watch(now_s, coils)
        inputs = self._sense(now_s)
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

    def _sense(self, now_s: float) -> dict[str, bool]:
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
            **{
                f"{name}.{contact}": is_so
                for name, portal in self._portals.items()
                for contact, is_so in _contacts(portal, now_s).items()
            },
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

    FAULTS: ClassVar[frozenset[str]] = Plc.FAULTS | {
        *WIRE_FAULTS,
        *(CUT + contact for contact in ("alarm_gamma", "alarm_neutron", "fault", "occupancy", "tamper")),
    }
    DIALS: ClassVar[bool] = False

    def __init__(self, options: Options, plant: Plant, clock: Clock, seed: int) -> None:
        """Build it; only what a portal on its contacts counts is random."""
        if not isinstance(options, ModbusIoOptions):
            raise TypeError(f"the Modbus emulator needs ModbusIoOptions, not {type(options).__name__}")
        self.plc = Plc(plant, options.portals, seed)
        self.writes: deque[CoilWrite] = deque(maxlen=LOGGED_WRITES)
        """The last writes over the wire, oldest first."""
        self._options = options
        self._clock = clock
        self._coils = dict.fromkeys(options.coils, False)
        self._inputs: dict[str, bool] = {}
        areas = {
            READ_COILS: [(0, _size(options.coils))],
            READ_INPUTS: [(0, _size(options.wired))],
        }
        self._server = ModbusServer({options.unit_id: areas}, self._on_request, IDENTITY)
        self._scanning: asyncio.Task[None] | None = None

    async def start(self, dial_port: int | None = None) -> int:
        """Serve on an ephemeral loopback port and return it; ``dial_port`` has no meaning here."""
        port = await self._server.start()
        await self._scan()
        self._scanning = asyncio.create_task(self._scan_for_ever())
        return port

    async def stop(self) -> None:
        """Stop serving; idempotent."""
        if self._scanning is not None:
            self._scanning.cancel()
            await asyncio.wait([self._scanning])
        self._scanning = None
        await self._server.stop()

    def fault(self, name: str, *, on: bool) -> None:
        """Show or end a fault; ``ValueError`` for a name not in ``FAULTS``."""
        if name not in self.FAULTS:
            raise ValueError(f"the I/O board has no fault {name!r}; it has {', '.join(sorted(self.FAULTS))}")
        if name in Plc.FAULTS:
            self.plc.fault(name, on=on)
        else:
            (self._server.faults.add if on else self._server.faults.discard)(name)

    def state(self) -> dict[str, Any]:
        """Return coils, inputs, arm, watchdog and faults."""
        return {
            "coils": dict(self._coils),
            "inputs": dict(self._inputs),
            "arm": round(self.plc.plant.arm, 3),
            "watchdog_alive": self.plc.alive,
            "faults": sorted(self.plc.faults | self._server.faults),
        }

    # --- one scan -------------------------------------------------------------------------------

    async def _scan_for_ever(self) -> None:
        while True:
            await self._clock.sleep(SCAN_S)
            await self._scan()

    async def _scan(self) -> None:
        """Read the coil memory, step the PLC, show its inputs and what it dropped."""
        options, server, unit_id = self._options, self._server, self._options.unit_id
        memory = await server.read(unit_id, READ_COILS, 0, _size(options.coils))
        self._coils = {name: bool(memory[address]) for name, address in options.coils.items()}
        written = dict(self._coils)
        self._inputs = self.plc.step(self.plc.plant.advance(), self._coils)
        if self._coils != written:
            await server.write(unit_id, READ_COILS, 0, [0] * len(memory))
        contacts = [False] * _size(options.wired)
        for name, address in options.wired.items():
            cut = CUT + name.partition(".")[2] in server.faults
            contacts[address] = self._inputs[name] != (name in options.closed) and not cut
        await server.write(unit_id, READ_INPUTS, 0, contacts)

    async def _on_request(self, address: int, values: Sequence[int] | None) -> None:
        """Log what is written over the wire."""
        if values is not None:
            self.writes.append(CoilWrite(self._clock.monotonic_s(), address, tuple(map(bool, values))))


def _contacts(portal: PolledPortal, now_s: float) -> dict[str, bool]:
    """Let a portal count up to ``now_s``; return by contact whether it is so."""
    portal.step(now_s)
    return {
        "alarm_gamma": portal.gamma_alarm,
        "alarm_neutron": portal.neutron_alarm,
        "fault": "not_ready" in portal.faults,
        "occupancy": portal.occupied,
        "tamper": "tamper" in portal.faults,
    }


def _size(addresses: Mapping[str, int]) -> int:
    return max(addresses.values(), default=0) + 1
