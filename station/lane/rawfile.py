"""Raw files of scans: what they say of themselves, and how those that a stop cut off become evidence."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drivers.formats.linestream.frames import Frame, FrameReader, encode
from drivers.formats.linestream.messages import Describe, JournalHead
from station.lane.effects import BlobKept, OpenScan
from station.lane.vault import RAW_MEDIA
from station.store.scanfile import left_over

log = logging.getLogger("carril.imager")

HEAD_BYTES = 4096
"""The first message is a few hundred bytes."""


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A scan that a stop of the station cut off: its raw lines are a blob now.

    ``inspection_id`` is ``None`` for a dark or air scan, and where the file does not say.
    """

    scan_id: str
    inspection_id: str | None
    raw: BlobKept


def journal_head(work: OpenScan) -> bytes:
    """Return the first messages of a raw file: whose scan it is, and what the scanner says of itself.

    With them the file explains itself, and its inspection is found when a stop of the station cuts it off.
    """
    opened = work.opened
    whose = {
        "scan_id": work.scan_id,
        "inspection_id": work.inspection_id,
        "device": work.device,
        "boot_id": str(opened.key.boot_id),
        "utc_us": opened.stamp.utc_ns // 1000,
    }
    content = json.dumps(whose, separators=(",", ":")).encode()
    scan_id = opened.key.scan_id
    head = encode(JournalHead(content), seq=0, scan_id=scan_id)
    return head + encode(Describe(opened.geometry.raw), seq=1, scan_id=scan_id)


def take_up(folder: Path, keep: Callable[[bytes, str], BlobKept]) -> list[LeftOver]:
    """Make a blob of each raw file that a stop left behind, the oldest first; blocks: for threads.

    The file stays until ``discard``, which belongs after the record that names the blob: a second stop in
    between does the same again. A file that cannot be kept stays as well, and is said.
    """
    taken = []
    for path in left_over(folder):
        try:
            content = path.read_bytes()
            raw = keep(content, RAW_MEDIA)
        except OSError as error:
            log.error("the raw lines in %s stay there: %s", path, error)
            continue
        taken.append(LeftOver(path.stem, _inspection(content), raw))
    return taken


def _inspection(content: bytes) -> str | None:
    """Return the inspection that the first message names."""
    first = FrameReader(journal=True).feed(content[:HEAD_BYTES])[:1]
    if not first or not isinstance(first[0], Frame) or not isinstance(first[0].message, JournalHead):
        return None
    try:
        whose = json.loads(first[0].message.text)
    except ValueError:
        return None
    found = whose.get("inspection_id") if isinstance(whose, dict) else None
    return found if isinstance(found, str) else None
