"""The liar's journal, cursors, blobs and directives in memory, and the heads that it signs."""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from station.store.canonical import canonical
from station.store.chain import frame, genesis, link

STATION = "LIAR-01"
SIMULATED = ("simulated", "test", "exercise")


@dataclass
class Liar:
    """A small station. ``lie`` is what it breaks, ``next`` what it does to the coming requests instead."""

    lie: str = ""
    epoch: bytes = field(default_factory=lambda: uuid.uuid4().bytes)
    first_seq: int = 1
    oldest: int = 1
    before: dict[str, Any] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    """``hashes[0]`` stands before the first record."""
    stubs: dict[int, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    acked: dict[str, int] = field(default_factory=lambda: {"conformance": 0, "central": 0})
    acks: list[int] = field(default_factory=list)
    """Every sequence number that was acknowledged, as it came."""
    refused: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    """Quarantine by consumer and sequence number."""
    receipts: dict[str, int] | None = field(default_factory=dict)
    """Bytes by SHA-256; ``None`` is a station that takes none."""
    issuers: dict[str, Any] = field(default_factory=dict)
    """Public keys by URN."""
    directives: dict[str, dict[str, Any]] = field(default_factory=dict)
    clock: str = "sync"
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    heads: dict[int, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    next: deque[Any] = field(default_factory=deque)
    header_s: float = 2.0
    lock: threading.RLock = field(default_factory=threading.RLock)
    waits: int = 0
    acking: int = 0
    crowded: bool = False
    """Acknowledgements have come at one moment."""
    polls: int = 0
    stops: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def __post_init__(self) -> None:
        self.hashes = self.hashes or [genesis(self.epoch, None)]

    @property
    def head(self) -> int:
        return self.first_seq + len(self.bodies) - 1

    def append(self, type_: str = "carril.lane_mode.changed", prio: int = 2, **data: Any) -> int:
        """Write a record; return its sequence number."""
        with self.lock:
            seq = self.head + 1
            made = frame(
                station=STATION, type=type_, subject="lane", prio=prio, time_us=1_795_492_800_000_000 + seq,
                schema="x:1", data=canonical(dict.fromkeys(SIMULATED, False) | data),
            )  # fmt: skip
            body = made.body(self.epoch, seq)
            hash_ = link(self.hashes[-1], self.epoch, seq, body)
            if self.lie == "chain" and seq == 7:
                hash_ = sha256(b"another").digest()
            self.bodies.append(body)
            self.hashes.append(hash_)
            return seq

    def event(self, seq: int) -> Any:
        return json.loads(self.bodies[seq - self.first_seq])

    def put(self, content: bytes) -> dict[str, Any]:
        """Keep a blob; return how a record names it."""
        name = sha256(content).hexdigest()
        self.blobs[name] = content
        return {"role": "raw", "sha256": name, "media": "image/png", "bytes": len(content)}

    def begin_anew(self) -> None:
        """Lose the journal: a new epoch begins behind the last record."""
        with self.lock:
            previous, last, hash_ = self.epoch, self.head, self.hashes[-1]
            self.before = {"previous": previous.hex(), "previous_last": last, "previous_hash": hash_.hex()}
            self.epoch, self.first_seq, self.oldest = uuid.uuid4().bytes, last + 1, last + 1
            self.bodies, self.hashes, self.stubs = [], [genesis(self.epoch, hash_)], {}
            self.heads, self.acked = {}, dict.fromkeys(self.acked, last)
            self.append("carril.epoch.opened", prio=0, first_seq=self.first_seq, **self.before)

    def item(self, seq: int, *, simulated: bool) -> bytes:
        at = seq - self.first_seq
        begin = b'{"seq":%d,"hash":"%b",' % (seq, self.hashes[at + 1].hex().encode())
        data = self.event(seq)["data"]
        why = self.stubs.get(seq) or ("" if simulated or not any(map(data.get, SIMULATED)) else "simulated")
        if why and not (why == "simulated" and self.lie == "stubs"):
            return begin + b'"withheld":"%b"}' % why.encode()
        return begin + b'"event":' + self.bodies[at] + b"}"

    # --- signed heads: another hand than the station's, from the reference page alone ---------------

    @property
    def head_key(self) -> str:
        public = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(public).decode()

    def sign(
        self, seq: int | None = None, *, hash_: bytes = b"", day: str = "2026-11-24", time: str = "04:00:00"
    ) -> str:
        """Sign the last record, or another one; return the head."""
        seq = self.head if seq is None else seq
        hash_ = hash_ or self.hashes[seq - self.first_seq + 1]
        if self.lie == "head-chain":
            hash_ = sha256(hash_).digest()
        told = (f"carril/{STATION}/{self.epoch.hex()}", seq, base64.b64encode(hash_).decode())
        text = "".join(f"{line}\n" for line in (*told, f"{day}T{time}Z sync"))
        name = sha256(STATION.encode() + b"\n\1" + self.key.public_key().public_bytes_raw()).digest()[:4]
        signature = self.key.sign(text.encode() + (b"!" if self.lie == "head-signature" else b""))
        self.heads[seq] = f"{text}\n— {STATION} {base64.b64encode(name + signature).decode()}\n"
        return self.heads[seq]
