"""Every driver keeps the one contract: each ``cases_*.py`` beside this file brings its devices."""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from drivers.contract import CHECKS, DriverCase, NotApplicable


def _cases() -> list[DriverCase]:
    found: list[DriverCase] = []
    for path in sorted(Path(__file__).parent.glob("cases_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += module.CASES
    return found


CASES = _cases()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_contract(case: DriverCase, check: Callable[[DriverCase], Awaitable[None]]) -> None:
    try:
        await check(case)
    except NotApplicable as reason:
        pytest.skip(str(reason))


def test_every_shipped_driver_is_under_contract() -> None:
    shipped = {point.name for point in entry_points(group="carril.drivers") if _is_ours(point)}
    assert {case.spec.name for case in CASES} >= shipped >= {"tsa_ascii", "aspect_modbus", "generic_modbus"}


def _is_ours(point: EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == "carril"
