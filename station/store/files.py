"""Files that must survive a power cut: their bytes and their names."""

from __future__ import annotations

import os
from pathlib import Path

from station.store.crashpoint import crashpoint

SPARE_BYTES = 1024 * 1024
"""Less free room than this is a full disk."""


def words_of(error: Exception) -> str:
    """Return what failed without the system's number and path."""
    if isinstance(error, FileExistsError):  # of a folder: a link whose end is missing
        return "something that is no folder is in its place"
    return (isinstance(error, OSError) and error.strerror) or str(error)


def free_bytes(folder: Path) -> int | None:
    """Return the free room of a folder's file system, ``None`` where there is no such folder."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def is_full(folder: Path) -> bool:
    """Whether the file system is full, not only some quota of ours."""
    free = free_bytes(folder)
    return free is not None and free < SPARE_BYTES


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable: a new or renamed file exists only from then on."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, each durable in the one above."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def write_synced(path: Path, content: bytes | memoryview) -> None:
    """Write a new file and its bytes durably; its name is durable after ``sync_folder``."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(file, rest) :]
        crashpoint("file_written")
        os.fsync(file)
    finally:
        os.close(file)


def replace_synced(path: Path, content: bytes) -> None:
    """Write a file durably, whole or not at all: until then what stood there stays."""
    unfinished = path.with_name(path.name + ".new")
    write_synced(unfinished, content)
    unfinished.replace(path)
    sync_folder(path.parent)
