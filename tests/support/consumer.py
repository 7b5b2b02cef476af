"""The reference consumer against a lying station: what it took, and what it said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from station.cli.archive import Archive
from station.cli.client import Server
from station.cli.consumer import Consumer
from tests.support.liar import Liar

NAME = "central"


def take(place: Server, into: Path | None, name: str = NAME) -> list[str]:
    """Consume once; return what it said."""
    said: list[str] = []
    archive = Archive(into) if into else None
    try:
        consumer = Consumer(place, name, archive, said.append)
        consumer.run(once=True)
        said.append(consumer.summary())
    finally:
        if archive:
            archive.close()
    return said


def lines(folder: Path) -> list[dict[str, Any]]:
    content = b"".join(path.read_bytes() for path in sorted(folder.glob("records-*.jsonl")))
    return [json.loads(line) for line in content.splitlines()]


def numbers(folder: Path) -> list[int]:
    """What the test wrote into each record, in the order in which they were kept."""
    return [
        line["event"]["data"]["n"] for line in lines(folder) if "n" in line.get("event", {"data": ()})["data"]
    ]


def filled(count: int, **settings: Any) -> Liar:
    liar = Liar(**settings)
    for n in range(1, count + 1):
        liar.append(n=n, text="é")
    return liar
