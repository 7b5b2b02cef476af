"""The lines that the benchmarks print: one JSON object each, with a goal that really decides."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def row(root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("bench_row", root / "tests" / "bench" / "_row.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_row"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_a_row_is_one_line_of_json_with_its_goal(row: Any) -> None:
    line = row.Row("latency", 12.34567, "ms", 50).line("lane")
    assert list(json.loads(line)) == ["bench", "figure", "value", "unit", "goal", "holds"]
    assert json.loads(line) == {
        "bench": "lane", "figure": "latency", "value": 12.3457, "unit": "ms", "goal": 50, "holds": True,
    }  # fmt: skip


@pytest.mark.parametrize(("value", "at_least", "holds"), [
    (50, False, True), (50.1, False, False), (49.9, True, False), (50, True, True),
    (float("nan"), True, False), (float("nan"), False, False),
])  # fmt: skip
def test_a_goal_is_a_bound_on_the_right_side(row: Any, value: float, at_least: bool, holds: bool) -> None:
    assert row.Row("figure", value, "1", 50, at_least).holds is holds


@pytest.mark.parametrize(("count", "greatest"), [(1, 1), (28, 28), (100, 99), (300, 297)])
def test_a_percentile_is_a_value_by_nearest_rank(row: Any, count: int, greatest: int) -> None:
    assert row.percentile(list(range(count, 0, -1)), 0.99) == greatest
