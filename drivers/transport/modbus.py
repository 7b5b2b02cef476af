"""One Modbus TCP connection: one question at a time, which is answered, refused or lost.

What a poll did not get it does not publish: a refusal and a wrong answer are a ``BadFrame``, silence is
nothing, and three of them in a row are the end of the link. [MODBUS Application Protocol Specification
V1.1b3, 2012; MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 2006]
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusIOException
from pymodbus.pdu import ExceptionResponse, ModbusPDU

from drivers.api import DriverContext
from drivers.errors import ConnectFailed, LinkError, LinkLost, LinkTimeout
from drivers.readings import BadFrame, Stamp

FAILED_POLLS = 3
"""Failed polls in a row after which the link counts as gone."""
HEAD_BYTES = 64
READ_COILS, READ_INPUTS, READ_HOLDING_REGISTERS, READ_INPUT_REGISTERS = 1, 2, 3, 4
BITS = frozenset({READ_COILS, READ_INPUTS})
MOST_BITS, MOST_REGISTERS = 2_000, 125
"""What one request may read. [V1.1b3, sections 6.1 and 6.3]"""
ADDRESSES = 65_536
NEVER = 1 << 30

REASONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge, not done yet",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "no device behind the gateway",
}
"""Exception codes. [V1.1b3, section 7]"""

T = TypeVar("T")

# Every failure leaves this file as a typed error; the library would log the same at every poll.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


class ModbusLink:
    """A connection to one server; ``name`` begins every sentence about it."""

    def __init__(self, name: str, host: str, port: int, timeout_s: float, context: DriverContext) -> None:
        """Build it; ``opening`` connects. ``timeout_s`` is for the connection and for each answer."""
        self.name = name
        self._place = host, port
        self._timeout_s = timeout_s
        self._context = context
        self._client: AsyncModbusTcpClient | None = None
        self._gone: asyncio.Future[str]
        """Why the link ended, as soon as it has: the library would let every request run out."""
        self._arrived: Stamp | None = None
        self._frame = b""
        """Bytes of the answer that is arriving."""
        self._received = 0

    @asynccontextmanager
    async def opening(self) -> AsyncGenerator[None, None]:
        """Connect, for the first questions: what fails then is ``ConnectFailed``, and leaves nothing open."""
        try:
            await self._open()
            yield
        except LinkError as error:
            self.close()
            raise ConnectFailed(str(error)) from error
        except BaseException:
            self.close()
            raise

    async def _open(self) -> None:
        host, port = self._place
        self._gone = asyncio.get_running_loop().create_future()
        self._client = AsyncModbusTcpClient(
            host,
            port=port,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_connect=self._on_connect,
            trace_packet=self._on_packet,
        )
        self._client.ctx.max_until_disconnect = NEVER  # how much silence ends the link is for ``poll`` to say
        if not await self._client.connect():
            raise ConnectFailed(
                f"{self.name} does not accept a connection; check its power, its cable and the address."
            )
        self._client.ctx.connect = _no_second_link  # type: ignore[method-assign]

    def close(self) -> None:
        """Close the connection; idempotent. Who waits for an answer gets ``LinkLost``."""
        if self._client is not None:
            self._lose("was closed by us")
            self._client.close()

    # --- questions ------------------------------------------------------------------------------

    @property
    def client(self) -> AsyncModbusTcpClient:
        """The library's client, for ``ask``; raises ``LinkLost`` without a link."""
        if self._client is None:
            raise LinkLost(f"{self.name} has not been opened.")
        if self._gone.done():
            raise LinkLost(f"{self.name} {self._gone.result()}.")
        return self._client

    async def ask(self, request: Awaitable[ModbusPDU]) -> ModbusPDU:
        """Wait for an answer: ``LinkLost`` as soon as the link ends, ``LinkTimeout`` after ``timeout_s``."""
        answer = asyncio.ensure_future(request)
        try:
            await asyncio.wait((answer, self._gone), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise LinkLost(f"{self.name} {self._gone.result()}.")
            return answer.result()
        except ConnectionException as error:
            raise LinkLost(f"{self.name} has no connection any more.") from error
        except ModbusIOException as error:
            raise LinkTimeout(f"{self.name} did not answer within {self._timeout_s} s.") from error
        finally:
            answer.cancel()

    async def read(self, function: int, address: int, count: int, unit_id: int) -> list[int] | BadFrame:
        """Return ``count`` registers, or bits as 0 and 1, by the function codes 1 to 4.

        A refusal is the bad frame ``modbus_exception``, an answer of another kind or size
        ``wrong_answer``. Raises as ``ask`` does.
        """
        client = self.client
        reads = {
            READ_COILS: client.read_coils,
            READ_INPUTS: client.read_discrete_inputs,
            READ_HOLDING_REGISTERS: client.read_holding_registers,
            READ_INPUT_REGISTERS: client.read_input_registers,
        }
        answer = await self.ask(reads[function](address, count=count, device_id=unit_id))
        if isinstance(answer, ExceptionResponse):
            return self.bad_frame("modbus_exception")
        values: list[int] = [*answer.bits] if function in BITS else [*answer.registers]
        sent = -(-count // 8) * 8 if function in BITS else count  # bits are padded to whole bytes
        if answer.function_code != function or len(values) != sent:
            return self.bad_frame("wrong_answer")
        return values[:count]

    async def poll(
        self, poll_s: float, once: Callable[[], Awaitable[T | BadFrame]], advice: str
    ) -> AsyncGenerator[T | BadFrame, None]:
        """Yield what ``once`` returns every ``poll_s``: values, and a bad frame for a poll that failed.

        Raises ``LinkLost`` as soon as the link ends, and ``LinkTimeout``, with ``advice``, after three
        failed polls in a row.
        """
        clock = self._context.clock
        due_s = clock.monotonic_s()
        failed = 0
        while True:
            try:
                item = await once()
            except LinkTimeout:
                failed, last = failed + 1, "no answer"
            else:
                failed, last = (failed + 1, f"a {item.kind}") if isinstance(item, BadFrame) else (0, "")
                yield item
            if failed == FAILED_POLLS:
                raise LinkTimeout(
                    f"{self.name} failed {failed} polls in a row, the last with {last}; {advice}"
                )
            due_s = max(due_s + poll_s, clock.monotonic_s())
            await clock.sleep(due_s - clock.monotonic_s())

    # --- what came ------------------------------------------------------------------------------

    @property
    def arrived(self) -> Stamp:
        """When the last answer came."""
        return self._arrived or self._context.clock.stamp()

    def bad_frame(self, kind: str) -> BadFrame:
        """Return the last answer as one that is no record."""
        return BadFrame(kind, self._received - len(self._frame), self._frame[:HEAD_BYTES])

    def _on_connect(self, connected: bool) -> None:
        if not connected:
            self._lose("ended the connection")

    def _lose(self, why: str) -> None:
        if not self._gone.done():
            self._gone.set_result(why)

    def _on_packet(self, sending: bool, data: bytes) -> bytes:
        """Tap the bytes; the library shows an unfinished answer again with every segment that comes."""
        if sending:
            self._frame = b""
            self._context.tap("tx", data)
            return data
        grown = len(data) > len(self._frame) and data.startswith(self._frame)
        new = data[len(self._frame) :] if grown else data
        self._frame = data
        self._received += len(new)
        self._arrived = self._context.clock.stamp()
        self._context.tap("rx", new)
        return data


async def _no_second_link() -> bool:
    """Stand in for the library's own connect, which a request runs on a link that has just ended.

    Nobody would close that connection, and a board has few.
    """
    return False
