"""`carril hil run --plan io --bench` as a technician runs it: exit codes, reports, refusals."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from defusedxml.ElementTree import parse

CARRIL = (sys.executable, "-c", "from station.cli.main import main; raise SystemExit(main())")


def hil(tmp_path: Path, *arguments: str) -> tuple[str, ...]:
    return (*CARRIL, "hil", "run", "--bench", "--state", str(tmp_path / "bench"), *arguments)


def done(command: tuple[str, ...], root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=55, check=False)


WRONG = """
[plan]
id = "wrong"
version = 1
title = { en = "An arm in half a second", es = "Una barrera en medio segundo" }
target = "device"
timeout_s = 40

[[setup]]
id = "open"
use = "io.open"

[[main]]
id = "travel"
use = "io.barrier_travel"
measure = [{ name = "up_s", unit = "s", max = 0.5 }]
"""


TEARDOWN = """
[[teardown]]
id = "safe"
use = "io.safe_state"
"""


def test_the_emulated_board_passes_and_the_reports_are_valid(tmp_path: Path, root: Path) -> None:
    out = tmp_path / "out"
    ran = done(hil(tmp_path, "--plan", "io", "--out", str(out)), root)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    record = json.loads((out / "run.json").read_bytes())
    values = {m["name"]: m["value"] for phase in record["phases"] for m in phase["measurements"]}
    assert (record["outcome"], record["simulated"], len(values)) == ("PASS", True, 24)
    assert 0 < values["entry_loop_ms"] <= 200
    assert 1.7 < values["up_s"] < 2.0  # the virtual arm needs 1.8 s
    assert 1.95 < values["dropped_s"] < 2.1  # the cabinet's own 2 s
    assert values["writes"] > 20
    suite = parse(out / "junit.xml").getroot()
    assert (suite.get("failures"), suite.get("errors"), suite.get("tests")) == ("0", "0", "8")


def test_a_limit_that_does_not_hold_gives_exit_1_and_the_line(tmp_path: Path, root: Path) -> None:
    (tmp_path / "wrong.toml").write_text(WRONG)
    plan = str(tmp_path / "wrong.toml")
    ran = done(hil(tmp_path, "--plan", plan, "--out", str(tmp_path / "out")), root)
    assert ran.returncode == 1
    (line,) = [line for line in ran.stdout.splitlines() if "! up_s" in line]
    assert "FAIL: measured 1." in line
    assert "s, limit ≤ 0.5 s; likely cause: Barrier drive, springs or end switches; next step: " in line


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--plan", "oi"), "--plan oi: there is no such plan; there are io, lane_full"),
        (("--plan", "io", "--lane", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_a_wrong_argument_gives_exit_2(
    tmp_path: Path, root: Path, arguments: tuple[str, ...], told: str
) -> None:
    ran = done(hil(tmp_path, *arguments), root)
    assert (ran.returncode, told in ran.stderr, ran.stdout) == (2, True, "")
    assert not (tmp_path / "bench").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("max = 0.5", "maxx = 0.5"), "main.0.measure.0.maxx: Extra inputs are not permitted"),
        (('use = "io.open"', 'use = "io.opn"'), "step 'io.opn' is unknown; did you mean io.open?"),
    ],
)
def test_a_bad_plan_is_one_sentence_with_its_path_and_exit_2(
    tmp_path: Path, root: Path, change: tuple[str, str], told: str
) -> None:
    plan = tmp_path / "wrong.toml"
    plan.write_text(WRONG.replace(*change))
    ran = done(hil(tmp_path, "--plan", str(plan)), root)
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
    assert f"--plan {plan}: " in ran.stderr
    assert told in ran.stderr
    assert not (tmp_path / "bench").exists()


def test_a_phase_that_takes_too_long_gives_exit_2_after_the_teardown(tmp_path: Path, root: Path) -> None:
    plan = tmp_path / "wrong.toml"
    plan.write_text(WRONG.replace('id = "travel"', 'id = "travel"\ntimeout_s = 0.2') + TEARDOWN)
    ran = done(hil(tmp_path, "--plan", str(plan), "--out", str(tmp_path / "out")), root)
    assert ran.returncode == 2
    assert "! attempt 1: TIMEOUT: it took longer than its 0.2 s" in ran.stdout
    phases = {p["id"]: p["outcome"] for p in json.loads((tmp_path / "out/run.json").read_bytes())["phases"]}
    assert phases == {"open": "PASS", "travel": "TIMEOUT", "safe": "PASS"}


def test_reports_that_cannot_be_written_give_exit_2_before_anything_moves(tmp_path: Path, root: Path) -> None:
    (tmp_path / "file").touch()
    ran = done(hil(tmp_path, "--plan", "io", "--out", str(tmp_path / "file" / "out")), root)
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
    assert "cannot be written: Not a directory" in ran.stderr


def test_a_terminal_that_knows_no_signs_of_the_field_still_gets_the_result(
    tmp_path: Path, root: Path
) -> None:
    (tmp_path / "wrong.toml").write_text(WRONG)
    command = hil(tmp_path, "--plan", str(tmp_path / "wrong.toml"), "--out", str(tmp_path / "out"))
    old = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(command, cwd=root, capture_output=True, timeout=55, check=False, env=old)
    assert (ran.returncode, b"limit \\u2264 0.5 s" in ran.stdout) == (1, True)
    assert (tmp_path / "out" / "junit.xml").exists()


def test_a_state_folder_in_use_gives_exit_4(tmp_path: Path, root: Path) -> None:
    (tmp_path / "bench").mkdir()
    with (tmp_path / "bench" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = done(hil(tmp_path, "--plan", "io"), root)
    assert (ran.returncode, ran.stdout) == (4, "")
    assert "is in use by process" in ran.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_gives_exit_3_after_the_teardown(tmp_path: Path, root: Path, signum: signal.Signals) -> None:
    out = tmp_path / "out"
    command = hil(tmp_path, "--plan", "io", "--out", str(out))
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as bench:
        deadline_s = time.monotonic() + 30
        while not (out / "run.log").exists() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        time.sleep(1.0)  # wherever it is then: set-up and main together last half a minute
        bench.send_signal(signum)
        printed, _ = bench.communicate(timeout=30)
    assert bench.returncode == 3
    assert f"aborted: ended by {signum.name}" in printed
    phases = {p["id"]: p["outcome"] for p in json.loads((out / "run.json").read_bytes())["phases"]}
    assert (phases["safe"], phases["writes"]) == ("PASS", "SKIP")


def test_list_names_the_plans(root: Path) -> None:
    ran = done((*CARRIL, "hil", "list"), root)
    assert [line.split()[0] for line in ran.stdout.splitlines()] == ["io", "lane_full"]
