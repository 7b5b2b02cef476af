"""Signed heads: what the journal's last record was, over the station's signature, for a witness outside.

A note has the form of a C2SP signed note (no conformance is claimed): text, an empty line, one signature::

    carril/LAR-04/<epoch>
    48213
    <base64 of the hash of that record>
    2026-11-24T04:00:00Z sync

    — LAR-04 <base64(key id 4 ‖ signature 64)>

Ed25519 [RFC 8032] signs the text with the newline of its last line. The key id is the start of
SHA-256(name ‖ 0A ‖ 01 ‖ public key). Whoever keeps such a note can tell later whether the journal still
contains that record and everything before it: a rewritten chain has other hashes.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
import sqlite3
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)
from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from station.runtime.clock import clock_quality
from station.store.chain import rfc3339
from station.store.errors import StoreUnavailable
from station.store.files import replace_synced
from station.store.ops import Small, Transaction
from station.store.own import SEALED
from station.store.place import Journal, Place
from station.store.schema import compiled, record, signed_head

EACH_S = 1.0
EACH_RECORDS = 256
THINNED = 500
"""Heads that one step looks at when it thins out those of removed records."""
CREDENTIAL = "head_key"
LONGEST_KEY = 4096
_ID_BYTES = 4
_NOTE = re.compile(
    r"(?P<text>carril/(?P<station>[^/\s+]{1,64})/(?P<epoch>[0-9a-f]{32})\n"
    r"(?P<seq>0|[1-9][0-9]{0,15})\n"
    r"(?P<hash>[A-Za-z0-9+/]{43}=)\n"
    r"(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z) (?P<clock>sync|unsync|unknown)\n)"
    r"\n— (?P<name>\S+) (?P<signature>[A-Za-z0-9+/]{91}=)\n"
)

_new = insert(signed_head)
_ADD = compiled(_new.on_conflict_do_update(index_elements=["seq"], set_={"note": _new.excluded.note}))
_NEWEST = compiled(select(func.max(signed_head.c.seq)).where(signed_head.c.seq <= bindparam("upto")))
_UPTO = compiled(
    select(signed_head.c.note)
    .where(signed_head.c.seq <= bindparam("upto"))
    .order_by(signed_head.c.seq.desc())
    .limit(1)
)
_AFTER = compiled(
    select(signed_head)
    .where(signed_head.c.seq > bindparam("after"), signed_head.c.seq <= bindparam("upto"))
    .order_by(signed_head.c.seq)
    .limit(bindparam("count"))
)
_REMOVE = compiled(delete(signed_head).where(signed_head.c.seq == bindparam("seq")))
_HAS_SEAL = compiled(
    select(record.c.seq)
    .where(record.c.seq > bindparam("after"), record.c.type == bindparam("sealed"))
    .limit(1)
)

log = logging.getLogger("carril.store")


# --- the note -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a journal at a moment: record ``seq`` of ``epoch`` (32 hex digits) has this hash."""

    station: str
    epoch: str
    seq: int
    hash: bytes
    time: str
    """UTC to the second, RFC 3339."""
    clock: str
    """What the time is worth: ``sync``, ``unsync`` or ``unknown``."""

    @property
    def text(self) -> str:
        """What is signed."""
        digest = base64.b64encode(self.hash).decode()
        return f"carril/{self.station}/{self.epoch}\n{self.seq}\n{digest}\n{self.time} {self.clock}\n"


def key_id(name: str, public: bytes) -> bytes:
    """Return the four bytes by which a signature names its key (32 bytes)."""
    return sha256(name.encode() + b"\n\1" + public).digest()[:_ID_BYTES]


def told_head(note: str) -> Head:
    """Return what a note says, whoever signed it; raises ``ValueError`` with a sentence."""
    return _parsed(note)[0]


def _parsed(note: str) -> tuple[Head, re.Match[str]]:
    found = _NOTE.fullmatch(note)
    if found is None:
        raise ValueError("is no signed head")
    digest = base64.b64decode(found["hash"])
    head = Head(found["station"], found["epoch"], int(found["seq"]), digest, found["time"], found["clock"])
    return head, found


def read_note(note: str, keys: list[bytes]) -> Head:
    """Return what a note says, its signature checked with one of the public keys (32 bytes each).

    Raises ``ValueError`` with a sentence.
    """
    head, found = _parsed(note)
    if found["name"] != found["station"]:
        raise ValueError(f"is signed as {found['name']}, not as {found['station']}")
    raw = base64.b64decode(found["signature"])
    if base64.b64encode(raw).decode() != found["signature"]:
        raise ValueError("has a signature that is not written as it should be")
    signer = [key for key in keys if key_id(found["name"], key) == raw[:_ID_BYTES]]
    if not signer:
        raise ValueError(f"is signed with a key that is not known here (id {raw[:_ID_BYTES].hex()})")
    try:
        Ed25519PublicKey.from_public_bytes(signer[0]).verify(raw[_ID_BYTES:], found["text"].encode())
    except InvalidSignature:
        raise ValueError("has a signature that is false") from None
    return head


# --- the key --------------------------------------------------------------------------------------


class HeadKey:
    """The private key with which a station signs its heads."""

    def __init__(self, station: str, private: Ed25519PrivateKey) -> None:
        self.station = station
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    def sign(self, head: Head) -> str:
        """Return the note of a head; some 40 µs."""
        raw = key_id(self.station, self.public) + self._private.sign(head.text.encode())
        return f"{head.text}\n— {self.station} {base64.b64encode(raw).decode()}\n"

    @property
    def line(self) -> str:
        """The public key in one line: between its BEGIN and END lines it is a PEM file."""
        return public_line(self.public)


def public_line(public: bytes) -> str:
    """Return a public key (32 bytes) as base64 of its SubjectPublicKeyInfo [RFC 8410]."""
    key = Ed25519PublicKey.from_public_bytes(public)
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def public_keys(text: str) -> list[bytes]:
    """Return the public keys of a text: PEM blocks, or the lines between their BEGIN and END alone.

    Raises ``ValueError`` where one is no Ed25519 key, or none is there.
    """
    keys, fault = found_keys(text)
    if fault:
        raise ValueError(fault)
    return keys


def found_keys(text: str) -> tuple[list[bytes], str]:
    """Return those public keys of a text that can be read, and what is wrong with the first of the others."""
    keys, fault = [], ""
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("-----"):
            continue
        try:
            key = load_der_public_key(base64.b64decode(line, validate=True))
        except (binascii.Error, ValueError, UnsupportedAlgorithm):
            fault = fault or f"{line[:20]!r} … is no public key"
            continue
        if isinstance(key, Ed25519PublicKey):
            keys.append(key.public_bytes_raw())
        else:
            fault = fault or f"{line[:20]!r} … is no Ed25519 key"
    return keys, fault if fault or keys else "holds no public key"


def public_file(state: Path) -> Path:
    """Return the file with every public key that this folder's heads were ever signed with."""
    return state / "head.pub"


def load_key(state: Path, station: str) -> HeadKey:
    """Return the credential ``head_key``, else the key of the state folder, made where there is none.

    Its public half stands in ``head.pub`` from then on. Raises ``StoreUnavailable`` with a sentence.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    credential, own = Path(folder or ".") / CREDENTIAL, state / "head.key"
    try:
        if folder and credential.exists():
            pem = _read_private(credential, shared=True)  # its access list shows as rights of a group
        else:
            if not own.exists():
                replace_synced(own, _new_private())
                if public_file(state).exists():
                    log.warning("%s was missing: a new key signs the heads from now on", own)
            pem = _read_private(own, shared=False)
        key = HeadKey(station, pem)
        _publish(public_file(state), key.public)
    except OSError as error:
        raise StoreUnavailable(f"The key for signed heads cannot be kept in {state}: {error}.") from error
    return key


def _new_private() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_private(path: Path, *, shared: bool) -> Ed25519PrivateKey:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            pem = file.read(LONGEST_KEY)
    except OSError as error:
        raise StoreUnavailable(
            f"The key {path} cannot be read ({(error.strerror or str(error)).lower()}): correct its rights."
        ) from None
    if mode & 0o077 and not shared:
        raise StoreUnavailable(
            f"The key {path} may be read by others (mode {mode:04o}): take that right away with chmod 600, "
            "or remove the file if somebody may have read it; a new key is made then."
        )
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise StoreUnavailable(
            f"The key {path} is no Ed25519 key in PEM: put the right one back, or remove the file; "
            "a new key is made then."
        )
    return key


def _publish(path: Path, public: bytes) -> None:
    """Add a public key to those that are there already; a damaged file is kept beside what could be read."""
    content = path.read_bytes() if path.exists() else b""
    known, fault = found_keys(content.decode("ascii", "replace"))
    if content and fault:
        damaged = path.with_name(f"{path.name}.{sha256(content).hexdigest()[:8]}.damaged")
        replace_synced(damaged, content)
        log.error(
            "%s is damaged: %s. The %d keys that can be read stay in it, the file as it was is %s: heads of "
            "other keys cannot be proven until somebody puts those back.",
            path, fault, len(known), damaged,
        )  # fmt: skip
    if public not in known or fault:
        keys = dict.fromkeys([*known, public])
        lines = (
            f"-----BEGIN PUBLIC KEY-----\n{public_line(key)}\n-----END PUBLIC KEY-----\n" for key in keys
        )
        replace_synced(path, "".join(lines).encode())


# --- in the journal -------------------------------------------------------------------------------


def newest_note(connection: sqlite3.Connection, upto: int) -> str | None:
    """Return the newest signed head of a record up to ``upto``, or ``None``."""
    row = connection.execute(_UPTO, {"upto": upto}).fetchone()
    return _shown(row[0]) if row else None


def notes_after(
    connection: sqlite3.Connection, after: int, count: int, upto: int = 2**63 - 1
) -> list[tuple[int, str]]:
    """Return sequence number and note of the heads behind ``after``, oldest first."""
    found = connection.execute(_AFTER, {"after": after, "upto": upto, "count": count})
    return [(seq, _shown(note)) for seq, note in found]


def _shown(note: object) -> str:
    """Return a note as text that can be sent, whatever a damaged page holds: who checks it sees."""
    return str(note).encode(errors="replace").decode()


def _day(note: str) -> str:
    try:
        return told_head(note).time[:10]
    except ValueError:
        return note  # a damaged one stays: it is not that of any day


@dataclass(frozen=True)
class _AddHead(Small):
    vital: ClassVar[bool] = True  # an alarm on a full disk is proven as any other record
    seq: int
    note: str

    def apply(self, tx: Transaction) -> None:
        """Write the row."""
        tx.connection.execute(_ADD, {"seq": self.seq, "note": self.note})


@dataclass(frozen=True)
class _RemoveHeads(Small):
    seqs: tuple[int, ...]

    def apply(self, tx: Transaction) -> None:
        """Remove the rows."""
        tx.connection.executemany(_REMOVE, [{"seq": seq} for seq in self.seqs])


class HeadSigner:
    """The chore that signs: each second or 256 records if there are new ones, at each seal, at the end.

    Of the heads of removed records the last of each day is kept.
    """

    def __init__(self, place: Place, key: HeadKey) -> None:
        self._place = place
        self._key = key
        self._journal: Journal | None = None
        self._signed = self._looked = self._thinned = 0
        self._since_s = float("inf")
        """Since when a record has waited for its head; monotonic."""

    def next(self, journal: Journal, *, idle: bool) -> _AddHead | _RemoveHeads | None:
        """Return the next head, or heads that are to be removed."""
        if idle or journal is not self._journal:
            # What the table says, not what was tried: a step may have failed.
            (newest,) = journal.connection.execute(_NEWEST, {"upto": journal.seq}).fetchone()
            self._signed = newest or journal.first_seq - 1
        if journal is not self._journal:
            self._journal, self._looked, self._thinned = journal, self._signed, 0
        if journal.seq == self._signed:
            return self._thin(journal) if idle else None
        if not idle and not self._is_due(journal):
            return None
        self._signed, self._since_s = journal.seq, float("inf")
        return _AddHead(journal.seq, self._note(journal))

    def tidy(self, connection: sqlite3.Connection) -> None:
        """Nothing to tidy."""

    def _is_due(self, journal: Journal) -> bool:
        now_s = time.monotonic()
        self._since_s = min(self._since_s, now_s)
        if journal.seq - self._signed >= EACH_RECORDS or now_s - self._since_s >= EACH_S:
            return True
        span = {"after": max(self._looked, self._signed), "sealed": SEALED}
        self._looked = journal.seq
        return journal.connection.execute(_HAS_SEAL, span).fetchone() is not None

    def _note(self, journal: Journal) -> str:
        moment = rfc3339(self._place.now_us())[:19] + "Z"
        station, epoch = self._place.station, journal.epoch.hex()
        return self._key.sign(Head(station, epoch, journal.seq, journal.hash, moment, clock_quality()))

    def _thin(self, journal: Journal) -> _RemoveHeads | None:
        found = notes_after(journal.connection, self._thinned, THINNED, journal.anchor_seq - 1)
        days = [_day(note) for _, note in found]
        surplus = [seq for (seq, _), day, then in zip(found, days, days[1:], strict=False) if day == then]
        if found:
            self._thinned = found[-1][0] - 1  # the last is looked at again beside those that will follow it
        return _RemoveHeads(tuple(surplus)) if surplus else None
