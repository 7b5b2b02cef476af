"""A folder as the way to a device that leaves files: which are ready, and where they go. Every call blocks.

A file is ready when it was renamed into the folder (inotify tells, on a local disk) or when its size and its
time have stood still for ``STABLE_S``. Names that begin with a dot or end like those of transfers in progress
are files in the making: they are not looked at. Neither are folders, links, pipes and empty files.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

STABLE_S = 2.0
MAKING = (".part", ".tmp", ".temp", ".filepart", ".crdownload", "~")
MOST_FILES = 10_000
"""Files that one look takes in: of more the rest has its turn when these have gone."""
DONE, QUARANTINE = "done", "quarantine"
REASON = ".why.txt"
NAME_BYTES = 200
"""Of a name, so that with the time before it and the reason's ending behind it a disk takes it."""

IN_MOVED_TO, IN_CREATE, IN_CLOSE_WRITE = 0x80, 0x100, 0x8
_EVENT = struct.Struct("iIII")
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it stands in the folder; ``since_s`` is when it was seen first like this."""

    name: str
    size: int
    changed: tuple[int, int]
    """Its number on the disk and its time: another pair is another content."""
    since_s: float

    def is_as(self, other: Found | None) -> bool:
        """Whether it has not changed since."""
        return other is not None and (self.size, self.changed) == (other.size, other.changed)


class Folder:
    """One folder, its ``done`` and its ``quarantine``, which hold so many files and bytes each at most."""

    def __init__(self, path: Path, keep_files: int, keep_bytes: int) -> None:
        self.path = path
        self._keep_files = keep_files
        self._keep_bytes = keep_bytes
        self._seen: dict[str, Found] = {}
        self._renamed: set[str] = set()

    def open(self) -> None:
        """Make the two folders and write a probe, so that a full or locked disk shows; raises ``OSError``."""
        with os.scandir(self.path):
            pass
        for name in (DONE, QUARANTINE):
            (self.path / name).mkdir(exist_ok=True)
        probe = self.path / QUARANTINE / ".probe"
        probe.write_bytes(bytes(4096))
        probe.unlink()

    def look(self, now_s: float, renamed: set[str]) -> list[Found]:
        """Return the files that are ready, the oldest first; raises ``OSError`` when the folder is gone."""
        self._renamed |= renamed
        seen: dict[str, Found] = {}
        with os.scandir(self.path) as entries:
            for entry in islice(_files(entries), MOST_FILES):
                with contextlib.suppress(FileNotFoundError):  # it has gone since
                    known = entry.stat(follow_symlinks=False)
                    found = Found(entry.name, known.st_size, (known.st_ino, known.st_mtime_ns), now_s)
                    before = self._seen.get(entry.name)
                    seen[entry.name] = before if before is not None and found.is_as(before) else found
        self._seen = seen
        self._renamed &= seen.keys()
        ready = [each for each in seen.values() if each.size and self._is_ready(each, now_s)]
        return sorted(ready, key=lambda each: (each.changed[1], each.name))

    def _is_ready(self, found: Found, now_s: float) -> bool:
        return found.name in self._renamed or now_s - found.since_s >= STABLE_S

    def read(self, found: Found) -> bytes:
        """Return the file's bytes, ``size`` at most; raises ``OSError``."""
        with open(self._openable(found.name), "rb") as file:
            return file.read(found.size)

    def _openable(self, name: str) -> int:
        # Between the look and now it may have become a link or a pipe.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(self.path / name, flags)

    def put_away(self, found: Found, utc_ns: int, reason: str = "") -> None:
        """Move a file to ``done``, or with a reason to ``quarantine``, if it is still the same.

        Two files of one name stand side by side there, in the order of their times. Raises ``OSError``.
        """
        with contextlib.suppress(FileNotFoundError):
            now = os.stat(self.path / found.name, follow_symlinks=False)
            if (now.st_size, now.st_ino, now.st_mtime_ns) == (found.size, *found.changed):
                self._move(found.name, utc_ns, reason)

    def _move(self, name: str, utc_ns: int, reason: str) -> None:
        to = self.path / (QUARANTINE if reason else DONE)
        target = to / _dated(name, utc_ns)
        while target.exists():
            utc_ns += 1_000
            target = to / _dated(name, utc_ns)
        if reason:
            target.with_name(target.name + REASON).write_text(f"{reason}\n", encoding="utf-8")
        os.rename(self.path / name, target)
        self._trim(to)

    def _trim(self, folder: Path) -> None:
        """Remove the oldest files of a folder that holds too many or too much."""
        kept: list[tuple[str, int]] = []
        for name in sorted(os.listdir(folder)):
            with contextlib.suppress(FileNotFoundError):  # somebody tidies up, too
                kept.append((name, os.stat(folder / name, follow_symlinks=False).st_size))
        files, size = len(kept), sum(size for _, size in kept)
        for name, bytes_ in kept:
            if files <= self._keep_files and size <= self._keep_bytes:
                return
            (folder / name).unlink(missing_ok=True)
            files, size = files - 1, size - bytes_


def _files(entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    for entry in entries:
        made = not entry.name.startswith(".") and not entry.name.lower().endswith(MAKING)
        if made and entry.is_file(follow_symlinks=False):
            yield entry


def _dated(name: str, utc_ns: int) -> str:
    when = time.strftime("%Y%m%dT%H%M%S", time.gmtime(utc_ns // 10**9))
    tail = os.fsdecode(os.fsencode(name)[-NAME_BYTES:])
    return f"{when}.{utc_ns // 1000 % 10**6:06d}Z-{tail}"


class Watch:
    """Tells that something came into a folder, and what was renamed into it [inotify(7)].

    Only for changes that this computer makes: a share of another one tells nothing.
    """

    def __init__(self, path: Path) -> None:
        """Begin; raises ``OSError`` where this computer watches no more folders."""
        self.fd = _checked(_LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            mask = IN_MOVED_TO | IN_CREATE | IN_CLOSE_WRITE
            _checked(_LIBC.inotify_add_watch(self.fd, os.fsencode(path), mask))
        except OSError:
            self.close()
            raise

    def renamed(self) -> set[str]:
        """Return the names that came by renaming since the last call; never waits."""
        names: set[str] = set()
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.fd, 65_536):
                at = 0
                while at < len(data):
                    _, mask, _, length = _EVENT.unpack_from(data, at)
                    name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
                    at += _EVENT.size + length
                    if mask & IN_MOVED_TO:
                        names.add(os.fsdecode(name))
        return names

    def close(self) -> None:
        """End."""
        os.close(self.fd)


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
