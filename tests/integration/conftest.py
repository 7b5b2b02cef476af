"""A station's central interface on a loopback port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.journal import open_small
from tests.support.served import Served, serve


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[Served]:
    """A new station, served."""
    store = await asyncio.to_thread(open_small, tmp_path / "state")
    try:
        async with serve(store) as served:
            yield served
    finally:
        await asyncio.to_thread(store.close)
