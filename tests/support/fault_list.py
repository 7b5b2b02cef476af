"""Which test proves which fault of the catalogue, and what came of it: ``.venv/faults.json``.

A test carries ``@pytest.mark.fault("F1")``, with ``tier="T1"`` where it needs root. After each run the
results of the tests that ran are merged into one file; several runs at a time (``make test`` has three) wait
for each other. It lists every fault: one without a test has the reason of ``tests/faults/missing.toml``.
"""

from __future__ import annotations

import ast
import fcntl
import json
import os
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / ".venv" / "faults.json"
MISSING = ROOT / "tests" / "faults" / "missing.toml"
WANTED = frozenset(f"F{n}" for n in (*range(1, 12), 20, 21, 22, 23, 25, 27, 28, 31, 32))
"""Faults that must have a test or a reason; others of the catalogue may."""
CATALOGUE = frozenset(f"F{n}" for n in range(1, 33))
_WORST_FIRST = ("failed", "xpassed", "xfailed", "skipped", "passed")
"""One test runs with many parameters: the worst of its outcomes counts."""


class Proof(NamedTuple):
    """A fault, and a test that carries its marker."""

    fault: str
    test: str
    """Path and name, without parameters."""


def missing() -> dict[str, str]:
    """Return the reason of each fault that has no test."""
    found: dict[str, str] = tomllib.loads(MISSING.read_text(encoding="utf-8"))
    return found


def proofs(files: Iterable[tuple[str, str]] | None = None) -> list[Proof]:
    """Return what the markers in the sources (path and text) say, in order; by default in all tests."""
    if files is None:
        paths = sorted((ROOT / "tests").rglob("test_*.py"))
        files = ((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in paths)
    return [proof for name, text in files if "fault(" in text for proof in _of_file(name, ast.parse(text))]


def _of_file(name: str, tree: ast.Module) -> Iterator[Proof]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for mark in node.decorator_list:
                for fault in _faults(mark):
                    yield Proof(fault, f"{name}::{node.name}")


def _faults(mark: ast.expr) -> list[str]:
    if not isinstance(mark, ast.Call) or ast.unparse(mark.func) != "pytest.mark.fault":
        return []
    return [str(each.value) for each in mark.args if isinstance(each, ast.Constant)]


class FaultReport:
    """The plugin: notes the results of marked tests, and writes them down at the end of the run."""

    def __init__(self) -> None:
        """Begin with nothing noted."""
        self._outcomes: dict[Proof, list[str]] = defaultdict(list)
        self._seconds: dict[Proof, float] = defaultdict(float)
        self._tiers: dict[Proof, str] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """Note one phase of one test."""
        report: Any = yield
        for mark in item.iter_markers("fault"):
            for fault in mark.args:
                proof = Proof(fault, item.nodeid.partition("[")[0])
                self._tiers[proof] = mark.kwargs.get("tier", "T0")
                self._seconds[proof] += report.duration
                if report.when == "call" or report.outcome != "passed":
                    self._outcomes[proof].append(_outcome(report))
        return report

    def pytest_sessionfinish(self) -> None:
        """Merge the results into the file; where there is no such folder nobody asked for it."""
        if not self._outcomes or not RESULTS.parent.is_dir():
            return
        scale = " long" if os.environ.get("CARRIL_SOAK") == "1" else ""
        ran = [
            {
                **proof._asdict(),
                "outcome": min(outcomes, key=_WORST_FIRST.index),
                "tier": self._tiers[proof] + scale,
                "seconds": round(self._seconds[proof], 2),
            }
            for proof, outcomes in self._outcomes.items()
        ]
        with RESULTS.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                before = json.loads(RESULTS.read_text())
            except (OSError, ValueError):
                before = []
            whole = merged(before, ran, proofs(), missing())
            unfinished = RESULTS.with_suffix(".new")
            unfinished.write_text("[\n" + ",\n".join(json.dumps(row) for row in whole) + "\n]\n")
            unfinished.rename(RESULTS)


def _outcome(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return str(report.outcome)


def merged(
    before: list[dict[str, Any]], ran: list[dict[str, Any]], known: list[Proof], reasons: dict[str, str]
) -> list[dict[str, Any]]:
    """Return one row for each proof that there is now, with its last result, and one for each missing one."""
    last = {(row["fault"], row["test"]): row for row in [*before, *ran]}
    never = {"outcome": "not run", "tier": "", "seconds": 0}
    rows = [last.get(tuple(proof)) or {**proof._asdict(), **never} for proof in known]
    rows += [{"fault": f, "test": "", **never, "outcome": f"no test: {why}"} for f, why in reasons.items()]
    return sorted(rows, key=lambda row: (int(row["fault"][1:]), row["test"]))
