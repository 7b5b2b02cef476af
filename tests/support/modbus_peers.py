"""Other people's Modbus: mbpoll (libmodbus) as a client, pymodbus' own simulator as a server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers.plant.rig import free_port


async def mbpoll(port: int, switches: str, *values: int, unit_id: int = 1) -> str:
    """What mbpoll prints; the test is skipped where it is not installed, and fails in CI."""
    tool = shutil.which("mbpoll")
    if tool is None:
        message = "mbpoll is not installed (Debian: apt-get install mbpoll)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    where = f"-m tcp -p {port} -a {unit_id} -0 -o 2"
    command = f"{tool} {where} {switches} 127.0.0.1 {' '.join(map(str, values))}"
    process = await asyncio.create_subprocess_exec(
        *command.split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 10)
    return output.decode()


THEIR_BOARD = """
import asyncio, json, sys
from pymodbus.datastore import ModbusServerContext, ModbusSimulatorContext
from pymodbus.server import StartAsyncTcpServer

port, setup = int(sys.argv[1]), json.loads(sys.argv[2])
board = ModbusServerContext(devices={7: ModbusSimulatorContext(setup, None)}, single=False)
asyncio.run(StartAsyncTcpServer(board, address=("127.0.0.1", port)))
"""
"""What ``pymodbus.simulator`` runs, without its web page, which would need another package."""


@contextlib.asynccontextmanager
async def their_board(device: dict[str, Any]) -> AsyncIterator[int]:
    """Start pymodbus' simulator in a process of its own; unit 7."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-c", THEIR_BOARD, str(port), json.dumps(device),
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            while True:
                assert process.returncode is None, "pymodbus' simulator did not start"
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    await writer.wait_closed()
                    break
                await asyncio.sleep(0.05)
        yield port
    finally:
        process.terminate()
        await process.wait()
