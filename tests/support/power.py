"""A disk that can lose its power: replays what ``disk_recorder.c`` logged, and cuts anywhere.

What was written and not synced is lost at a cut, or some of it is there, some of it torn; a name exists for
certain only after its folder was synced, and names appear in the order in which they were made. A failed sync
drops what it should have written (the kernel calls those pages clean), so only writing again helps.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tests.support.preload import compiled

SOURCE = Path(__file__).with_name("disk_recorder.c")
ROOT = Path(__file__).parents[2]
SECTOR = 512
BYTES, NAMES, READS = 1, 2, 4  # as in the recorder
_HEADER = struct.Struct("<cHHQQQ")


def build_recorder(folder: Path) -> Path | None:
    """Compile the recorder; ``None`` without a C compiler."""
    return compiled(SOURCE, folder)


def run_recorded(recorder: Path, **order: Any) -> None:
    """Run ``power_child`` under the recorder."""
    environment = os.environ | {"LD_PRELOAD": str(recorder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.support.power_child", json.dumps({"mutant": ""} | order)]
    subprocess.run(command, env=environment, cwd=ROOT, check=True, timeout=50)


class Recorder:
    """The preloaded library, in the process that runs under it."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)

    def record(self, folder: Path, log: Path | None) -> None:
        """Log what happens below ``folder``, or stop logging."""
        self._library.disk_record(str(folder).encode(), str(log or "").encode())

    def note(self, value: int) -> None:
        """Put a number into the log: somebody was told."""
        self._library.disk_note(ctypes.c_uint64(value))

    def fail(self, k: int, error: int, *, for_ever: bool = False) -> None:
        """Let the ``k``-th operation that can fail so do it, or all from there on that write; 0: none."""
        kinds = BYTES | NAMES | (READS if error == errno.EIO and not for_ever else 0)
        self._library.disk_fail(ctypes.c_long(k), error, int(for_ever), kinds)

    @property
    def fired(self) -> bool:
        """Whether the failure has happened."""
        return bool(self._library.disk_fired())


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation of the log."""

    op: str
    path: str
    other: str
    inode: int
    offset: int
    data: bytes


def read_log(path: Path) -> list[Entry]:
    """Return all entries."""
    content = path.read_bytes()
    entries = []
    at = 0
    while at < len(content):
        op, path_bytes, other_bytes, inode, offset, data_bytes = _HEADER.unpack_from(content, at)
        at += _HEADER.size
        parts = []
        for size in (path_bytes, other_bytes, data_bytes):
            parts.append(content[at : at + size])
            at += size
        entries.append(Entry(op.decode(), parts[0].decode(), parts[1].decode(), inode, offset, parts[2]))
    return entries


@dataclass(slots=True)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    live: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Offset and data; without data, a truncation to the offset."""


Names = dict[str, _File | None]
"""Path and file, ``None`` for a folder."""


@dataclass(slots=True)
class Disk:
    """A disk with its write cache: what is certain, and what is only on its way."""

    durable: Names = field(default_factory=dict)
    live: Names = field(default_factory=dict)
    pending: list[tuple[frozenset[str], Entry, _File | None]] = field(default_factory=list)
    """Changes of names that wait for the sync of one of these folders."""
    inodes: dict[int, _File] = field(default_factory=dict)
    notes: list[int] = field(default_factory=list)
    """Numbers that the process noted until now."""

    def restarted(self) -> Disk:
        """Return the disk after the process was killed: nothing is lost, but inodes must be met anew."""
        copies = {id(file): _copied(file) for file in [*self.live.values(), *self.durable.values()] if file}
        pending = [
            (folders, entry, copies.setdefault(id(file), _copied(file)) if file else None)
            for folders, entry, file in self.pending
        ]

        def renamed(names: Names) -> Names:
            return {path: copies[id(file)] if file else None for path, file in names.items()}

        return Disk(renamed(self.durable), renamed(self.live), pending, {}, list(self.notes))

    def apply(self, entry: Entry) -> None:
        """Do what the log says."""
        if entry.op == "N":
            self.notes.append(entry.offset)
        elif entry.op in "CURMD":
            self._rename(entry)
        elif entry.op == "S" and entry.path in self._folders():
            self._sync_folder(entry.path)
        elif entry.op != "F" or entry.path not in self._folders():
            self._change(self._file(entry), entry)

    def _folders(self) -> set[str]:
        return {""} | {path for path, file in self.live.items() if file is None}

    def _file(self, entry: Entry) -> _File:
        found = self.inodes.get(entry.inode) or self.live.get(entry.path)
        assert found is not None, f"{entry.path} was never made"
        self.inodes[entry.inode] = found
        return found

    def _change(self, file: _File, entry: Entry) -> None:
        if entry.op == "S":
            for change in file.pending:
                _write(file.durable, *change)
            file.pending.clear()
        elif entry.op == "F":
            file.pending.clear()
        else:
            change = (entry.offset, entry.data if entry.op == "W" else None)
            file.pending.append(change)
            _write(file.live, *change)

    def _rename(self, entry: Entry) -> None:
        file = self.live.get(entry.path)
        if entry.op == "C":
            file = self.inodes[entry.inode] = _File()
        _change_names(self.live, entry, file)
        paths = [entry.path, entry.other] if entry.op == "R" else [entry.path]
        self.pending.append((frozenset(_parent(path) for path in paths), entry, file))

    def _sync_folder(self, folder: str) -> None:
        waiting = []
        for folders, entry, file in self.pending:
            if folder in folders:
                _change_names(self.durable, entry, file)
            else:
                waiting.append((folders, entry, file))
        self.pending = waiting

    # --- what is there afterwards ---------------------------------------------------------------

    def lose_power(self, target: Path, chance: random.Random | None = None) -> None:
        """Write what is left; with ``chance`` some of the unsynced writes are there, some torn."""
        names = dict(self.durable)
        if chance and self.pending:
            for _, entry, file in self.pending[: chance.randrange(len(self.pending) + 1)]:
                _change_names(names, entry, file)
        contents = {id(file): _after_cut(file, chance) for file in names.values() if file}
        _put(target, names, contents)

    def kill(self, target: Path) -> None:
        """Write what is left when only the process dies: everything."""
        _put(target, self.live, {id(file): file.live for file in self.live.values() if file})


def _copied(file: _File) -> _File:
    return _File(bytearray(file.durable), bytearray(file.live), list(file.pending))


def _write(content: bytearray, offset: int, data: bytes | None) -> None:
    end = offset if data is None else offset + len(data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if data is None:
        del content[offset:]
    else:
        content[offset:end] = data


def _after_cut(file: _File, chance: random.Random | None) -> bytearray:
    content = bytearray(file.durable)
    for offset, data in file.pending if chance else ():
        assert chance is not None
        if chance.random() > 0.4:
            continue
        if data and chance.random() < 0.15:
            data = data[: chance.randrange(len(data)) // SECTOR * SECTOR]
        _write(content, offset, data)
    return content


def _parent(path: str) -> str:
    parent = str(PurePosixPath(path).parent)
    return "" if parent == "." else parent


def _change_names(names: Names, entry: Entry, file: _File | None) -> None:
    if entry.op in "CM":
        names[entry.path] = file
    elif entry.op in "UD":
        names.pop(entry.path, None)
    else:
        for path in _below(names, entry.other):
            del names[path]
        # The new folder names the file itself, whether or not its old name ever was durable.
        for path in _below(names, entry.path):
            names[entry.other + path[len(entry.path) :]] = names.pop(path)
        names[entry.other] = file


def _below(names: Names, path: str) -> Iterator[str]:
    return iter([name for name in names if name == path or name.startswith(path + "/")])


def _put(target: Path, names: Names, contents: dict[int, bytearray]) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in sorted(names):
        file = names[path]
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        if file is None:
            (target / path).mkdir(exist_ok=True)
        else:
            (target / path).write_bytes(contents[id(file)])
