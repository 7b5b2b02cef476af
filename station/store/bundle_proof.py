"""Proving a bundle far from its station, with nothing but the public key, and the receipt for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from station.store.blobs import CHUNK_BYTES
from station.store.bundle import (
    FORMAT,
    HEADS,
    KEYS,
    MANIFEST,
    RECEIPT,
    RECORDS,
    Bundle,
    BundleError,
    blob_name,
    json_line,
)
from station.store.chain import HASH_BYTES, link, named_blobs
from station.store.files import sync_folder, write_synced
from station.store.heads import public_keys, read_note

LONGEST_LINE = 4 * 1024 * 1024
LONGEST_RECEIPT = 4096
LARGEST_SEQ = 2**53 - 1
"""The largest number that canonical JSON can write."""
_RECORD = ("seq", "prev", "hash", "body")


# --- proving one ----------------------------------------------------------------------------------


def verify_bundle(folder: Path, keys: str | None = None) -> Bundle:
    """Prove a bundle with the station's public ``keys`` (without: those in it) and return what it holds.

    Raises ``BundleError`` with the first fault; ``OSError`` where a file cannot be read.
    """
    told = _read_manifest(folder)
    try:
        trusted = public_keys((folder / KEYS).read_text("ascii", "replace") if keys is None else keys)
    except FileNotFoundError:
        raise BundleError(f"{KEYS} is missing") from None
    except ValueError as error:
        raise BundleError(f"{KEYS if keys is None else 'the key'} {error}") from None
    listed = {str(file["name"]): file for file in told["files"]}
    _compare_names(folder, set(listed))
    wanted: set[str] = set()
    bundle = _prove_records(folder, trusted, wanted)
    files = {}
    for name, file in listed.items():
        files[name] = found = _digest(folder / name)
        if name.startswith("blobs/") and name != blob_name(found[1]):
            raise BundleError(f"{name} is not what was written")
        if not name.startswith("blobs/") and name not in (RECORDS, HEADS, KEYS):
            raise BundleError(f"{name} does not belong to it")
        if name == KEYS and found[1] != file.get("sha256"):
            raise BundleError(f"{name} is not what {MANIFEST} says of it")
    held = {name.rpartition("/")[2] for name in files if name.startswith("blobs/")}
    if stray := sorted(held - wanted):
        raise BundleError(f"{blob_name(stray[0])} does not belong to it: no record names it")
    ends = (bundle.after, bundle.last, bundle.prev, bundle.hash)
    missing = tuple(sorted(wanted - held))
    proven = Bundle(bundle.station, bundle.epoch, *ends, files, missing, bundle.note)
    if proven.manifest() != (folder / MANIFEST).read_bytes():
        wrong = [key for key, value in json.loads(proven.manifest()).items() if told.get(key) != value]
        raise BundleError(f"{MANIFEST} is not what the folder holds: {', '.join(wrong) or 'other bytes'}")
    return proven


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        told = json.loads((folder / MANIFEST).read_bytes())
        if told["format"] != FORMAT:
            raise ValueError
        for file in told["files"]:
            file["name"].encode()  # what is no text, or none that can be shown, is no name
    except FileNotFoundError:
        raise BundleError(f"{MANIFEST} is missing: {folder} holds no whole bundle") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise BundleError(f"{MANIFEST} is not what was written: it cannot be read") from None
    return dict(told)


def _compare_names(folder: Path, listed: set[str]) -> None:
    paths = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    # Links are never followed: what they lead to is not in the bundle.
    found = {str(path.relative_to(folder)) for path in paths if path.is_file() and not path.is_symlink()}
    listed = listed | {MANIFEST}
    if lost := sorted(listed - found):
        raise BundleError(f"{lost[0]} is missing, which {MANIFEST} names")
    if stray := sorted({str(path.relative_to(folder)) for path in paths} - listed - {RECEIPT}):
        raise BundleError(f"{stray[0].encode(errors='replace').decode()} does not belong to it")
    if needed := sorted({RECORDS, HEADS, KEYS} - listed):
        raise BundleError(f"{MANIFEST} is not what was written: it does not name {needed[0]}")


def _prove_records(folder: Path, keys: list[bytes], wanted: set[str]) -> Bundle:
    """Walk records and heads side by side; collect the blobs that the records name."""
    heads = _lines(folder / HEADS, {"seq": int, "note": str})
    bundle: Bundle | None = None
    values = next(heads, None)
    if values is None:
        raise BundleError(f"{HEADS} holds no signed head")
    for record in _lines(folder / RECORDS, dict.fromkeys(_RECORD, str) | {"seq": int}):
        seq, prev, hash_, body = (record[name] for name in _RECORD)
        name = f"record {seq}"
        if bundle and seq != bundle.last + 1:
            raise BundleError(f"record {bundle.last + 1} is missing: {seq} follows {bundle.last}")
        try:
            event, before = json.loads(body), bytes.fromhex(prev)
            epoch, station = event["id"][:32], event["source"].rpartition(":")[2]
            digest = link(before, bytes.fromhex(epoch), seq, body.encode())
            sound = len(before) == HASH_BYTES and (before.hex(), digest.hex()) == (prev, hash_)
            sound = sound and seq <= LARGEST_SEQ
            wanted.update(named_blobs(event))
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
            sound = False
        if not sound or (bundle and (prev != bundle.hash or epoch != bundle.epoch)):
            raise BundleError(f"{name} is not what was written")
        after, first_prev = (bundle.after, bundle.prev) if bundle else (seq - 1, prev)
        note = values["note"] if values and values["seq"] == seq else ""
        bundle = Bundle(station, epoch, after, seq, first_prev, hash_, {}, (), note)
        if note:
            try:
                head = read_note(note, keys)
            except ValueError as error:
                raise BundleError(f"the signed head of {name} {error}") from None
            if (head.station, head.epoch, head.seq, head.hash.hex()) != (station, epoch, seq, hash_):
                raise BundleError(f"the signed head of {name} is that of another: the record was rewritten")
            values = next(heads, None)
    if values is not None:
        raise BundleError(
            f"the signed head of record {values['seq']} stands beside no record, or out of order"
        )
    if bundle is None or not bundle.note:
        raise BundleError(f"record {bundle.last if bundle else 0} is the last, and no signed head covers it")
    return bundle


def _lines(path: Path, kinds: Mapping[str, type]) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            try:
                values = json.loads(line)
                told = [(name, type(value)) for name, value in values.items()]
                if told != list(kinds.items()) or json_line(values) != line:
                    raise ValueError
            except (ValueError, AttributeError, RecursionError):
                raise BundleError(f"{path.name} is not what was written: line {number}") from None
            yield values


def _digest(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        whole = sha256()
        while part := file.read(CHUNK_BYTES):
            whole.update(part)
        return file.tell(), whole.hexdigest()


# --- the receipt ----------------------------------------------------------------------------------


def write_receipt(folder: Path, bundle: Bundle) -> Path:
    """Write the receipt of a proven bundle into it; raises ``OSError``."""
    path = folder / RECEIPT
    write_synced(path, bundle.receipt())
    sync_folder(folder)
    return path


def read_receipt(path: Path) -> Bundle:
    """Return what a receipt is for: the bundle of the manifest beside it.

    Raises ``BundleError`` where it is not the receipt of that manifest, ``OSError`` where it cannot be read.
    """
    with path.open("rb") as file:
        receipt = file.read(LONGEST_RECEIPT)
    told = _read_manifest(path.parent)
    try:
        files = {file["name"]: (int(file["bytes"]), str(file["sha256"])) for file in told["files"]}
        ends = [str(told[name]) for name in ("prev", "hash")]
        span = (int(told["after"]), int(told["last"]))
        who = (str(told["station"]), str(told["epoch"]))
        bundle = Bundle(*who, *span, ends[0], ends[1], files, tuple(map(str, told["missing"])), "")
        is_own = (bundle.receipt(), bundle.manifest()) == (receipt, (path.parent / MANIFEST).read_bytes())
    except (ValueError, LookupError, TypeError, OverflowError):
        raise BundleError(f"{MANIFEST} is not what was written") from None
    if not is_own:
        raise BundleError(f"{path.name} is not the receipt of the {MANIFEST} beside it")
    return bundle
