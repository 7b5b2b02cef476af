"""A real file system loses its power or turns read-only: what was confirmed is there afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.support.ext4_power import CANNOT

MISSING = [name for name in ("mkfs.ext4", "mount", "umount", "unshare") if shutil.which(name) is None]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.timeout(3600),
]


def on_ext4(folder: Path, count: int, what: str) -> dict[str, Any]:
    """Run it where no other process sees the mounts."""
    module = ["-m", "tests.support.ext4_power", str(folder), str(count), what]
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, *module]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == CANNOT:
        pytest.skip(f"no ext4 on a loop device here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def cut(folder: Path, count: int, mutant: str = "") -> dict[str, Any]:
    """Take the power away ``count`` times."""
    result = on_ext4(folder, count, mutant)
    print(f"{result['cuts']} power cuts, {result['confirmed']} confirmed, {len(result['losses'])} lost")
    return result


@pytest.mark.fault("F2", tier="T1")
def test_what_was_confirmed_survives_the_cut(tmp_path: Path, soak: bool) -> None:
    result = cut(tmp_path, 1_000 if soak else 6)
    assert result["losses"] == []
    assert result["confirmed"] > result["cuts"]


@pytest.mark.fault("F2", tier="T1")
def test_a_store_that_does_not_sync_its_log_is_caught(tmp_path: Path) -> None:
    assert cut(tmp_path, 12, "normal_sync")["losses"]


@pytest.mark.fault("F5", tier="T1")
def test_a_file_system_that_turns_read_only_is_said_and_reads_go_on(tmp_path: Path) -> None:
    result = on_ext4(tmp_path, 0, "read_only")
    assert set(result["said"]) <= {"NotStored", "StoreUnavailable", "Unknown"}, result
    assert result["answered_s"] < 5, "2 s of trying to open it again are part of it"
    assert (result["state"], result["readable"]) == ("reopening", 20), result
    assert result["same_epoch"], result
    assert result["left"][:20] == ["lane"] * 20, result
    assert len(result["left"]) - 20 <= result["said"].count("Unknown"), result
