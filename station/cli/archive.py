"""The folder of ``carril consume``: what was received, and the cursor that says how far.

::

    records-2026-11-24.jsonl   one line a record, in order; a new file each day (UTC)
    blobs/ab/<sha256>          bytes, checked
    part/<sha256>              bytes on their way
    cursor.json                how far everything above is complete; written last
    heads.txt                  signed heads: see station.cli.witness

The cursor names the last file and its bytes. Whatever lies beyond was written by a process that ended before
its cursor was: it was not acknowledged, will come again, and is cut off at the next start. So a line is never
lost and never there twice. If the station says that more was acknowledged, an old cursor was put back: what
lies beyond it may never come again, and is moved aside as ``records-….jsonl.beyond-1``. Files of earlier days
may be moved away at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path

from station.cli.errors import UserError
from station.store.files import make_folder, replace_synced, sync_folder

MOST_SPANS = 10_000
MOST_EPOCHS = 100
_ID = re.compile(r"([0-9a-f]{32}):([1-9][0-9]{0,15})")
_RECORDS = re.compile(r"records-\d{4}-\d\d-\d\d\.jsonl")


@dataclass(slots=True)
class Cursor:
    """How far a consumer has received, and what it must not take again."""

    station: str
    name: str
    epoch: str
    seq: int
    hash: str = ""
    """Of record ``seq``; empty when it is not known."""
    file: str = ""
    bytes: int = 0
    taken: dict[str, list[list[int]]] = field(default_factory=dict)
    """By epoch, first and last sequence number of each span of records whose events are kept."""
    owed: list[tuple[str, int]] = field(default_factory=list)
    """Blobs, with their bytes, whose receipts were not sent when this was written."""
    nacks: list[tuple[int, str]] = field(default_factory=list)
    """Records that cannot be taken, and why, that were not refused yet when this was written."""

    def has(self, event_id: object) -> bool:
        """Whether the event of this id is kept."""
        place = _place(event_id)
        if place is None:
            return False
        spans = self.taken.get(place[0], [])
        at = bisect_right(spans, place[1], key=lambda span: span[0])
        return at > 0 and place[1] <= spans[at - 1][1]

    def lacks(self, epoch: str | None, first: int, last: int) -> int:
        """Return how many events of records ``first`` to ``last`` of an epoch are not kept."""
        spans = self.taken.get(epoch or "", [])
        return last - first + 1 - sum(max(0, min(last, end) - max(first, start) + 1) for start, end in spans)

    def take(self, event_id: object) -> None:
        """Note that the event of this id is kept.

        Spans merge, so there are as many as there are holes. Beyond 10,000 the oldest are forgotten: a record
        twice is better than none.
        """
        place = _place(event_id)
        if place is None or self.has(event_id):
            return
        spans, seq = self.taken.setdefault(place[0], []), place[1]
        at = bisect_right(spans, seq, key=lambda span: span[0])
        spans.insert(at, [seq, seq])
        for right in (at + 1, at):  # with the span behind, then with the one before
            if 0 < right < len(spans) and spans[right - 1][1] + 1 == spans[right][0]:
                spans[right - 1][1] = spans.pop(right)[1]
        del spans[:-MOST_SPANS]
        while len(self.taken) > MOST_EPOCHS:
            del self.taken[next(iter(self.taken))]


def _place(event_id: object) -> tuple[str, int] | None:
    found = _ID.fullmatch(event_id) if isinstance(event_id, str) else None
    return (found[1], int(found[2])) if found else None


class Archive:
    """The folder, held by this process alone. Whatever the disk refuses is a ``UserError``."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; nothing may be kept before what no cursor covers is ``cut``."""
        self.folder = folder
        self.beyond: list[tuple[Path, int]] = []
        """Files with more bytes than the cursor covers, and these bytes."""
        self._cursor = folder / "cursor.json"
        with own_disk(folder):
            make_folder(folder.absolute())
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for name in ("blobs", "part"):
                    make_folder(folder.absolute() / name)
                self.cursor = self._read()
            except BlockingIOError:
                os.close(self._lock)
                raise UserError(f"{folder} is in use by another `carril consume`") from None
            except BaseException:
                os.close(self._lock)
                raise

    def close(self) -> None:
        """Let the folder go."""
        os.close(self._lock)

    def _read(self) -> Cursor | None:
        files = sorted(path for path in self.folder.iterdir() if _RECORDS.fullmatch(path.name))
        if not self._cursor.exists():
            if files:
                raise UserError(
                    f"{self.folder} has records but no cursor.json; give another folder with --into"
                )
            return None
        try:
            cursor = Cursor(**json.loads(self._cursor.read_bytes()))
            cursor.owed = [(name, size) for name, size in cursor.owed]
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{self._cursor} is damaged ({error}); give another folder with --into"
            ) from error
        for path in files:
            if path.name > cursor.file:
                self.beyond.append((path, 0))
            elif path.name == cursor.file and (size := path.stat().st_size) != cursor.bytes:
                if size < cursor.bytes:
                    raise UserError(
                        f"{path} has {size} bytes, {cursor.bytes} were kept: something was lost after it was "
                        "acknowledged. Move the folder away and give another one with --into"
                    )
                self.beyond.append((path, cursor.bytes))
        return cursor

    def cut(self, acked: int) -> bool:
        """Cut off what no cursor covers; return whether it had to be moved aside.

        ``acked`` is what this consumer has acknowledged, in any epoch: numbers go on from one to the next.
        """
        is_old = self.cursor is not None and acked > self.cursor.seq
        with own_disk(self.folder):
            for path, size in self.beyond:
                if is_old:
                    _move_aside(path, size)
                if size:
                    os.truncate(path, size)
                else:
                    path.unlink()
            sync_folder(self.folder)
        self.beyond = []
        return is_old

    def keep(self, cursor: Cursor, lines: Sequence[bytes] = ()) -> None:
        """Make lines durable, and then the cursor behind them."""
        with own_disk(self.folder):
            if lines:
                # Our own clock may be set back; the last file never lies before the one of the cursor.
                name = max(time.strftime("records-%Y-%m-%d.jsonl", time.gmtime()), cursor.file)
                cursor.file, cursor.bytes = name, append_synced(self.folder / name, b"".join(lines))
            replace_synced(self._cursor, json.dumps(asdict(cursor)).encode())
        self.cursor = cursor

    # --- blobs ------------------------------------------------------------------------------------

    def blob(self, digest: str) -> Path:
        """Return where a blob is once it is whole."""
        return self.folder / "blobs" / digest[:2] / digest

    def part(self, digest: str) -> Path:
        """Return where its bytes gather."""
        return self.folder / "part" / digest

    def finish(self, digest: str) -> bool:
        """Make what gathered the blob, durably, if it has this SHA-256; else throw it away."""
        part, blob = self.part(digest), self.blob(digest)
        with own_disk(self.folder):
            found = sha256()
            with part.open("rb") as file:
                while chunk := file.read(1 << 20):
                    found.update(chunk)
                os.fsync(file.fileno())
            if found.hexdigest() != digest:
                part.unlink()
                return False
            make_folder(blob.parent.absolute())
            part.replace(blob)
            sync_folder(blob.parent)
        return True


def _move_aside(path: Path, start: int) -> None:
    """Keep what a file holds from a byte on, in another one that is new."""
    names = (path.with_name(f"{path.name}.beyond-{number}") for number in count(1))
    aside = next(name for name in names if not name.exists())
    with path.open("rb") as file:
        file.seek(start)
        while part := file.read(1 << 20):
            append_synced(aside, part)


def append_synced(path: Path, content: bytes) -> int:
    """Write at the end of a file; return its bytes, durable."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
        size = os.fstat(file).st_size
    finally:
        os.close(file)
    sync_folder(path.parent)
    return size


@contextlib.contextmanager
def own_disk(folder: Path) -> Iterator[None]:
    """Tell the disk's refusals from those of the network: nothing that they stopped is acknowledged."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"{folder} cannot be written ({reason}); nothing was acknowledged that is not kept. "
            "Make room there, and start again"
        ) from error
