"""Every fault that the project promises to survive has a test that says so, or a reason why not."""

from __future__ import annotations

import re

from tests.support.fault_list import CATALOGUE, WANTED, Proof, merged, missing, proofs

SOURCE = """
@pytest.mark.fault("F1", "F2")
@pytest.mark.timeout(9)
def test_a() -> None: ...
@pytest.mark.fault("F4", tier="T1")
async def test_b() -> None: ...
def test_c() -> None: ...
"""


def test_every_fault_is_carried_by_a_test_or_has_its_reason() -> None:
    carried = {proof.fault for proof in proofs()}
    reasons = missing()
    assert carried <= CATALOGUE, "no such fault"
    assert carried | reasons.keys() >= WANTED
    assert not carried & reasons.keys(), "there is a test now: take the reason out of missing.toml"
    assert all(re.fullmatch(r".{10,}\.", reason) for reason in reasons.values()), "a reason is a sentence"


def test_markers_are_found() -> None:
    found = proofs([("tests/x.py", SOURCE)])
    assert found == [Proof("F1", "tests/x.py::test_a"), Proof("F2", "tests/x.py::test_a"),
                     Proof("F4", "tests/x.py::test_b")]  # fmt: skip


def test_results_are_merged_and_what_is_gone_goes() -> None:
    def row(fault: str, test: str, outcome: str) -> dict[str, object]:
        return {"fault": fault, "test": test, "outcome": outcome, "tier": "T0", "seconds": 1.5}

    before = [row("F10", "a", "passed"), row("F1", "gone", "passed"), row("F2", "b", "passed")]
    known = [Proof("F10", "a"), Proof("F2", "b"), Proof("F3", "c")]
    whole = merged(before, [row("F2", "b", "failed")], known, {"F4": "Nobody has written it."})
    assert [(r["fault"], r["test"], r["outcome"]) for r in whole] == [
        ("F2", "b", "failed"),
        ("F3", "c", "not run"),
        ("F4", "", "no test: Nobody has written it."),
        ("F10", "a", "passed"),
    ]
