"""The client printed in docs/how-to/poll-the-station.md, on a running lane: nothing missing or twice."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.station import Station, lane_file

NAME = "port"


def printed(root: Path, language: str) -> str:
    page = (root / "docs" / "how-to" / "poll-the-station.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0]


@contextmanager
def client(program: Path, station: Station, kept: Path) -> Iterator[None]:
    url = f"http://127.0.0.1:{station.port}"
    process = subprocess.Popen([sys.executable, str(program), url, NAME, str(kept)])
    try:
        yield
        assert process.poll() is None, "the client ended by itself"
    finally:
        process.kill()
        process.wait()


def lines(kept: Path) -> list[dict[str, Any]]:
    found = []
    for line in kept.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):  # empty, or torn: as the page says
            found.append(json.loads(line))
    return found


@pytest.mark.timeout(120)
def test_the_printed_client_keeps_every_record_and_acknowledges_it(root: Path, tmp_path: Path) -> None:
    demo = lane_file(tmp_path, "demo", rate=5)
    demo.write_text(demo.read_text(encoding="utf-8") + printed(root, "toml"), encoding="utf-8")
    program, kept = tmp_path / "poll.py", tmp_path / "records.jsonl"
    program.write_text(printed(root, "python"), encoding="utf-8")
    station = Station(demo, tmp_path / "state", tmp_path / "daemon.log")

    def acknowledged() -> int:
        return int(station.get(f"/v1/consumers/{NAME}").json()["acked"])

    try:
        station.start()
        with client(program, station, kept):
            station.until(lambda: acknowledged() >= 3, "the client acknowledges the first records")
        stopped_at = acknowledged()
        with kept.open("a", encoding="utf-8") as file:
            file.write('\n{"seq": 99, "event": {"id": "half a li')  # the kill came within a write
        station.until(lambda: len(station.feed()) > stopped_at + 3, "the lane goes on without the client")
        with client(program, station, kept):
            station.until(lambda: station.records("inspection.sealed"), "a truck is sealed")
            (sealed, *_) = station.records("inspection.sealed")
            station.until(lambda: acknowledged() >= sealed["seq"], "the client has the whole truck")
    finally:
        station.end()

    items = {item["event"]["id"]: item for item in lines(kept)}  # as the page says: drop by id what you have
    sequence = [item["seq"] for item in items.values()]
    assert sequence == list(range(1, len(sequence) + 1))
    assert any(item["event"]["type"] == "carril.inspection.sealed" for item in items.values())
