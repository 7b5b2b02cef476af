"""A Modbus TCP server on loopback for the emulators: a memory that its owner writes and others ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from pymodbus import ModbusDeviceIdentification
from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

Area = tuple[int, int]
"""First address, and how many from there."""
Areas = Mapping[int, Sequence[Area]]
"""The addresses that exist, by the function code that reads them."""
OnRequest = Callable[[int, Sequence[int] | None], Awaitable[None]]
"""Sees the address of a request and the values to be written (``None``: it reads), before it is answered."""

FAULTS = frozenset({"modbus_exception", "wrong_unit"})
FUNCTIONS = (1, 2, 3, 4)
"""Coils, discrete inputs, holding registers, input registers, by the code that reads them."""


class ModbusServer:
    """Units with their memories; others are told to be missing (unit 0 stands for all others)."""

    def __init__(
        self, units: Mapping[int, Areas], on_request: OnRequest, identity: Mapping[str, str] | None = None
    ) -> None:
        """Build it; opens nothing."""
        self.faults: set[str] = set()
        self._units = units
        self._on_request = on_request
        self._identity = identity
        self._own_access = False
        self._server: ModbusTcpServer | None = None

    async def start(self) -> int:
        """Serve on an ephemeral loopback port and return it."""
        units = [
            SimDevice(unit_id, simdata=_memory(areas), action=self._asked)
            for unit_id, areas in self._units.items()
        ]
        strangers = [] if 0 in self._units else [SimDevice(0, simdata=_memory({}), action=_no_such_unit)]
        self._server = ModbusTcpServer(
            [*units, *strangers],
            identity=ModbusDeviceIdentification(info_name=self._identity),  # type: ignore[no-untyped-call]  # pymodbus
            address=("127.0.0.1", 0),
            trace_pdu=self._on_pdu,
        )
        await self._server.serve_forever(background=True)
        port: int = self._server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # an asyncio server
        return port

    async def stop(self) -> None:
        """Stop serving; idempotent."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus
        self._server = None

    async def read(self, unit_id: int, function: int, address: int, count: int) -> list[int]:
        """Return what stands in the memory."""
        assert self._server is not None  # noqa: S101 - it serves
        self._own_access = True
        values = await self._server.async_getValues(unit_id, function, address, count)
        self._own_access = False
        return [*values]

    async def write(self, unit_id: int, function: int, address: int, values: Sequence[int]) -> None:
        """Write into the memory, also what is read-only for others; bits are 0 and 1."""
        assert self._server is not None  # noqa: S101 - it serves
        self._own_access = True
        bits = [bool(value) for value in values]
        await self._server.async_setValues(
            unit_id, function, address, bits if function in (1, 2) else list(values)
        )
        self._own_access = False

    async def _asked(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        memory: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Let the owner look at a request; the library also calls this for the owner's own access."""
        if self._own_access:
            return None
        if "modbus_exception" in self.faults:
            return ExcCodes.DEVICE_FAILURE
        await self._on_request(address, values)
        return None

    def _on_pdu(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if sending and "wrong_unit" in self.faults:
            pdu.dev_id = (pdu.dev_id + 1) % 256
        return pdu


async def _no_such_unit(*_: object) -> ExcCodes:
    return ExcCodes.GATEWAY_NO_RESPONSE


def _memory(areas: Areas) -> tuple[list[SimData], list[SimData], list[SimData], list[SimData]]:
    """Return the four blocks of a device; the library demands each of them, used or not."""

    def block(function: int) -> list[SimData]:
        kind = DataType.BITS if function in (1, 2) else DataType.REGISTERS
        nothing = False if kind is DataType.BITS else 0
        wanted = areas.get(function) or [(0, 1)]
        return [SimData(address, values=[nothing] * size, datatype=kind) for address, size in wanted]

    coils, inputs, holding, registers = (block(function) for function in FUNCTIONS)
    return coils, inputs, holding, registers
