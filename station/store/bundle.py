"""A part of the journal on its way without a network: records, blobs and signed heads in a folder.

::

    manifest.json    what the folder must hold, in canonical JSON; it can be made anew from the rest
    records.jsonl    {"seq","prev","hash","body"}, a record a line; ``body`` is the very text that was hashed
    heads.jsonl      {"seq","note"}, the signed heads of these records; the last is that of the last record
    head.pub         the station's public keys, for who has none from elsewhere
    blobs/ab/SHA256  the blobs that the records name

It is made beside a running station, which it only reads, and appears whole by one rename. Whoever has the
station's public key proves all of it without the station.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from station.store import database, schema
from station.store.blobs import CHUNK_BYTES, BlobFiles, DamagedBlob, find_blob
from station.store.canonical import canonical
from station.store.chain import Row, named_blobs, rows
from station.store.files import free_bytes, make_folder, sync_folder, write_synced
from station.store.heads import newest_note, notes_after, public_file, public_keys, read_note

FORMAT = "carril.bundle:1"
RECEIPT_FORMAT = "carril.receipt:1"
MANIFEST, RECORDS, HEADS, KEYS, RECEIPT = (
    *("manifest.json", "records.jsonl", "heads.jsonl", "head.pub", "receipt.json"),
)
_SLICE = 500
_FILE_BYTES = 64 * 1024
"""Room for a file's own place, on a stick with large clusters."""


class BundleError(Exception):
    """What is wrong with a bundle, or why it cannot be made: a sentence."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle holds: the records ``after`` + 1 … ``last`` of an epoch (32 hex digits)."""

    station: str
    epoch: str
    after: int
    last: int
    prev: str
    """Hash of record ``after``."""
    hash: str
    """Hash of record ``last``."""
    files: Mapping[str, tuple[int, str]]
    """Bytes and SHA-256 of each file but the manifest, by name."""
    missing: tuple[str, ...]
    """Blobs that its records name and the station no longer had."""
    note: str
    """The signed head of record ``last``."""

    @property
    def blobs(self) -> dict[str, int]:
        """Bytes of each blob, by SHA-256."""
        held = {name: size for name, (size, _) in self.files.items()}
        return {name.rpartition("/")[2]: size for name, size in held.items() if name.startswith("blobs/")}

    def manifest(self) -> bytes:
        """Return the manifest."""
        files = [{"name": name, "bytes": size, "sha256": sha} for name, (size, sha) in self.files.items()]
        ends = {"after": self.after, "last": self.last, "prev": self.prev, "hash": self.hash}
        who = {"format": FORMAT, "station": self.station, "epoch": self.epoch}
        files.sort(key=lambda file: str(file["name"]))
        return canonical(who | ends | {"files": files, "missing": sorted(self.missing)})

    def receipt(self) -> bytes:
        """Return what the receiver gives back."""
        who = {"format": RECEIPT_FORMAT, "station": self.station, "epoch": self.epoch}
        return canonical(who | {"seq": self.last, "manifest_sha256": sha256(self.manifest()).hexdigest()})


def blob_name(digest: str) -> str:
    """Return where a blob lies in a bundle."""
    return f"blobs/{digest[:2]}/{digest}"


# --- making one -----------------------------------------------------------------------------------


def write_bundle(state: Path, after: int, folder: Path) -> Bundle:
    """Write the records behind ``after`` that a signed head covers into ``folder``, new or empty.

    Raises ``BundleError``, ``OSError`` or ``sqlite3.Error``; then there is no bundle. Blocks.
    """
    folder = folder.absolute()
    _check_folder(folder)
    journal = state / "journal" / "station.db"
    if not journal.exists():
        raise BundleError(f"{journal} does not exist: {state} holds no journal")
    with contextlib.closing(database.connect_reader(journal)) as reader:
        source = _Source(reader, state, after)
        source.check_room(folder.parent)
        # Beside it, not in it: what has its name is whole.
        part = folder.with_name(f".{folder.name}.carril-part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            bundle = source.write(part)
            part.rename(folder)
            sync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    return bundle


def _check_folder(folder: Path) -> None:
    if not folder.parent.is_dir():
        raise BundleError(f"{folder.parent} is no folder")
    if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(f"{folder} is not empty: nothing is overwritten; give a new folder")
    if os.path.ismount(folder):
        raise BundleError(f"{folder} is a whole disk: give a new folder on it, such as {folder / 'carril'}")


class _Source:
    """The records of one bundle, read twice: to know their size, and to write them."""

    def __init__(self, reader: sqlite3.Connection, state: Path, after: int) -> None:
        self._reader = reader
        self._files = BlobFiles(state / "blobs")
        station, epoch, *_ = reader.execute(schema.GET_STORE).fetchone()
        seq, _, anchor_seq, _ = reader.execute(schema.GET_HEAD).fetchone()
        if after < anchor_seq:
            raise BundleError(f"records up to {anchor_seq} were removed: begin after {anchor_seq} or later")
        note = newest_note(reader, seq)
        if note is None:
            raise BundleError(f"{state} has no signed head yet: start its station once")
        self._keys = public_file(state).read_bytes()
        try:
            head = read_note(note, public_keys(self._keys.decode("ascii", "replace")))
        except ValueError as error:
            raise BundleError(
                f"the newest signed head of {state} {error}: `carril verify` says more"
            ) from None
        if head.seq <= after:
            raise BundleError(
                f"no signed head covers a record after {after}: the newest is that of record {head.seq}"
            )
        self._station, self._epoch, self._head, self._note = station, epoch, head, note
        self._after = after
        row = reader.execute(schema.GET_RECORD, {"seq": after + 1}).fetchone()
        # What the first record says of the one before it holds also where that one is damaged.
        self._prev = Row.of(row).prev if row else b""

    def _records(self) -> Iterator[Row]:
        """Yield the records, each checked."""
        before, at = self._prev, self._after
        while at < self._head.seq:
            span = {"after": at, "upto": self._head.seq, "count": _SLICE}
            for row in rows(self._reader.execute(schema.RECORDS_AFTER, span)):
                if row.seq != at + 1 or row.prev != before or not row.sound(self._epoch):
                    break
                yield row
                before, at = row.hash, row.seq
            else:
                if at == self._head.seq or self._has(at + 1):
                    continue
            raise BundleError(
                f"record {at + 1} is not what was written, or was removed meanwhile: `carril verify` says "
                f"more, and a bundle may begin after {at + 1}"
            )
        if before != self._head.hash:
            raise BundleError(f"record {at} is not the one that was signed: `carril verify` says more")

    def _has(self, seq: int) -> bool:
        return self._reader.execute(schema.GET_RECORD, {"seq": seq}).fetchone() is not None

    def _heads(self) -> Iterator[bytes]:
        at = self._after
        while page := notes_after(self._reader, at, _SLICE, self._head.seq):
            for seq, note in page:
                if seq <= at:
                    raise BundleError("the signed heads are out of order: `carril verify` says more")
                yield json_line({"seq": seq, "note": note})
                at = seq

    def check_room(self, folder: Path) -> None:
        """Raise ``BundleError`` where it would not fit."""
        wanted: set[str] = set()
        need = sum(map(len, self._heads()))
        for row in self._records():
            need += len(_record_line(row))
            wanted.update(named_blobs(row.event()))
        for name in wanted:
            blob = find_blob(self._reader, bytes.fromhex(name))
            need += _FILE_BYTES + blob.size + 200 if blob and blob.present else 100
        need += 8 * _FILE_BYTES + 256 * _FILE_BYTES * bool(wanted)
        free = free_bytes(folder)
        if free is not None and free < need:
            raise BundleError(
                f"too little room in {folder}: {need / 1e6:,.1f} MB are needed, {free / 1e6:,.1f} MB are free"
            )

    def write(self, folder: Path) -> Bundle:
        """Write all files, durable when it returns."""
        wanted: set[str] = set()

        def lines() -> Iterator[bytes]:
            for row in self._records():
                wanted.update(named_blobs(row.event()))
                yield _record_line(row)

        make_folder(folder)
        files = {
            RECORDS: _write(folder / RECORDS, lines()),
            HEADS: _write(folder / HEADS, self._heads()),
            KEYS: _write(folder / KEYS, [self._keys]),
        }
        missing = []
        for name in sorted(wanted):
            if copied := self._copy(name, folder / blob_name(name)):
                files[blob_name(name)] = copied
            else:
                missing.append(name)
        head = self._head
        ends = (self._after, head.seq, self._prev.hex(), head.hash.hex())
        bundle = Bundle(self._station, head.epoch, *ends, files, tuple(missing), self._note)
        write_synced(folder / MANIFEST, bundle.manifest())
        for inner in {(folder / name).parent for name in files}:
            sync_folder(inner)
        return bundle

    def _copy(self, name: str, path: Path) -> tuple[int, str] | None:
        """Copy a blob, every MiB checked; ``None`` when the station no longer has it."""
        blob = find_blob(self._reader, bytes.fromhex(name))
        if blob is None or not blob.present:
            return None
        make_folder(path.parent)
        try:
            chunks = range(-(-blob.size // CHUNK_BYTES))
            return _write(path, (self._files.read_chunk(blob, index) for index in chunks))
        except DamagedBlob:
            path.unlink()
            return None


def _write(path: Path, parts: Iterable[bytes]) -> tuple[int, str]:
    """Write a new file durably; return its bytes and SHA-256."""
    whole, size = sha256(), 0
    with path.open("xb") as file:
        for part in parts:
            file.write(part)
            whole.update(part)
            size += len(part)
        file.flush()
        os.fsync(file.fileno())
    return size, whole.hexdigest()


def json_line(values: Mapping[str, Any]) -> bytes:
    """Return values as a line of a bundle's files: there is one way to write it."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _record_line(row: Row) -> bytes:
    return json_line(
        {"seq": row.seq, "prev": row.prev.hex(), "hash": row.hash.hex(), "body": row.body.decode()}
    )
