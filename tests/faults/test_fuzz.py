"""Every parser of device bytes is fuzzed: three seconds here, a minute by ``make soak``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TARGETS = sorted(Path(__file__).parent.glob("fuzz_*.py"))
SECONDS, SOAK_SECONDS = 3, 60


@pytest.mark.timeout(SOAK_SECONDS + 120)
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.stem)
@pytest.mark.fault("F15")
def test_fuzz(target: Path, soak: bool, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed: no wheel for this Python or machine")
    seconds = SOAK_SECONDS if soak else SECONDS
    run = subprocess.run(
        [sys.executable, str(target), str(seconds)],
        cwd=tmp_path,  # a crashing input is left there
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )
    assert run.returncode == 0, run.stdout[-2_000:] + run.stderr[-4_000:]
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", run.stderr)
    assert executed is not None, run.stderr[-2_000:]
    assert int(executed[1]) > 100, "the target hardly ran"
