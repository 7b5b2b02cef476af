"""The disk fails once, at every place where it can: everybody is told the truth, and the store goes on."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.power import Disk, read_log, run_recorded
from tests.support.power_child import WITH_BLOB
from tests.support.promises import loss


def broken(recorder: Path, folder: Path, do: str, error: int) -> Any:
    results = folder / "results.json"
    run_recorded(recorder, do=do, folder=str(folder), error=error, results=str(results))
    return json.loads(results.read_text())


ABSENT = {"NotStored", "StoreFull", "StoreUnavailable", "StoreBusy"}


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.fault("F4", "F5", "F6")
def test_one_failure_anywhere_is_told_truly_and_survived(recorder: Path, fast: Path, error: int) -> None:
    results = broken(recorder, fast, "break", error)
    assert len(results) > 30
    failed = [name for result in results for name in result["outcomes"] if name != "stored"]
    assert failed  # the failures did reach callers
    blobs = [result["outcomes"][WITH_BLOB] for result in results]
    assert sum(outcome != "stored" for outcome in blobs) > 5  # its file has many steps
    for result in results:
        for n, outcome in enumerate(result["outcomes"]):
            present = result["subjects"].count(f"s{n}")
            if outcome == "stored":
                assert present == 1, result
            elif outcome in ABSENT:
                assert present == 0, result
            else:
                assert outcome == "Unknown", result
        assert result["last"], f"no recovery within 5 s: {result}"
        assert result["subjects"].count("last") == 1, result
        assert result["epochs"] == 0, result
        # And had the power failed at the end, nothing promised would be lost.
        disk = Disk()
        for entry in read_log(fast / f"{result['k']}.log"):
            disk.apply(entry)
        disk.lose_power(fast / "cut")
        assert loss(fast / "cut", disk.notes) == "", result
    if error == errno.EIO:
        assert sum(result["reopened"] for result in results) > 20


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.fault("F4", "F6")
def test_a_start_that_the_disk_fails_once_ends_no_epoch(recorder: Path, fast: Path, error: int) -> None:
    results = broken(recorder, fast, "start", error)
    assert sum(result["fired"] for result in results) > 5
    assert {result["said"] for result in results} <= {"", "StoreUnavailable", "StoreFull"}
    assert len({result["epoch"] for result in results}) == 1
    assert {result["seq"] for result in results} == {20}


@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS])
@pytest.mark.fault("F5", "F6")
def test_an_outage_is_said_at_once_and_ends_without_a_restart(recorder: Path, fast: Path, error: int) -> None:
    result = broken(recorder, fast, "outage", error)
    first, during, later = result["outcomes"]
    assert first == "stored"
    assert during in ABSENT | {"Unknown"}
    assert later in ABSENT
    assert result["answered_s"] < 3.5  # 2 s of trying to reopen are part of it
    assert result["states"] == ["reopening"]
    assert result["readable"] == ["s0"]  # what was published stays readable
    assert result["last"]
    assert result["recovered_s"] < 5
    assert result["subjects"][0] == "s0"
    assert result["subjects"][-1] == "last"
    assert "s2" not in result["subjects"]
    assert result["epochs"] == 0
