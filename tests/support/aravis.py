"""Aravis' own tools, an independent GigE Vision stack (Debian: aravis-tools and aravis-tools-cli).

Both use the standard's port on loopback, so that only one of them can run at a time on one computer.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

FAKE_CAMERA, CAMERA_TEST, TOOL = "arv-fake-gv-camera-0.8", "arv-camera-test-0.8", "arv-tool-0.8"


def path_of(tool: str) -> str:
    """Where a tool is; the test is skipped where it is not installed, and fails in CI."""
    path = shutil.which(tool)
    if path is None:
        message = f"{tool} is not installed (Debian: apt-get install aravis-tools aravis-tools-cli)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


@contextlib.contextmanager
def the_port() -> Iterator[None]:
    """Hold the one port of GigE Vision against other tests."""
    with (Path(tempfile.gettempdir()) / "carril-gige-port.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def aravis(tool: str, arguments: str) -> str:
    """What a tool of Aravis prints."""
    process = await asyncio.create_subprocess_exec(
        path_of(tool), *arguments.split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return output.decode()


@contextlib.asynccontextmanager
async def fake_camera(lost_per_mille: int = 0) -> AsyncIterator[None]:
    """Run Aravis' fake camera on loopback."""
    process = await asyncio.create_subprocess_exec(
        path_of(FAKE_CAMERA), "-i", "127.0.0.1", "-r", str(lost_per_mille), stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()
