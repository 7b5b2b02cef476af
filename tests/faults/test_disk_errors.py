"""The disk fails once, at every place where it can: everybody is told the truth, and the store goes on."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.power import Disk, read_log, run_recorded
from tests.support.promises import loss


def broken(recorder: Path, folder: Path, error: int) -> list[dict[str, Any]]:
    results = folder / "results.json"
    run_recorded(recorder, do="break", folder=str(folder), error=error, results=str(results))
    found: list[dict[str, Any]] = json.loads(results.read_text())
    return found


ABSENT = {"NotStored", "StoreFull", "StoreUnavailable", "StoreBusy"}


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_one_failure_anywhere_is_told_truly_and_survived(recorder: Path, fast: Path, error: int) -> None:
    results = broken(recorder, fast, error)
    assert len(results) > 30
    failed = [name for result in results for name in result["outcomes"] if name != "stored"]
    assert failed  # the failures did reach callers
    for result in results:
        told = [*result["outcomes"], result["last"]]
        for n, outcome in zip((*range(6), 99), told, strict=True):
            present = result["subjects"].count(f"s{n}")
            if outcome == "stored":
                assert present == 1, result
            elif outcome in ABSENT:
                assert present == 0, result
            else:
                assert outcome == "Unknown", result
        assert result["last"] == "stored", result
        assert result["epochs"] == 0, result
        # And had the power failed at the end, nothing promised would be lost.
        disk = Disk()
        for entry in read_log(fast / f"{result['k']}.log"):
            disk.apply(entry)
        disk.lose_power(fast / "cut")
        assert loss(fast / "cut", disk.notes) == "", result
    if error == errno.EIO:
        assert sum(result["reopened"] for result in results) > 20
