"""A small station that keeps every promise of the central interface but one.

``lie`` names the promise that it breaks, as ``carril conformance`` names it. ``next`` holds what it does to
the coming requests instead of answering: HTML, a cut body, a refusal. It shares with the station only the
functions that make the bytes of a record.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from select import select
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from station.cli.client import Server
from station.store.canonical import canonical
from station.store.chain import frame, genesis, link

STATION = "LIAR-01"
MIB = 1 << 20
LIMITS = {"limit": 2000, "wait": 30, "page_bytes": 4 * MIB}
SIMULATED = ("simulated", "test", "exercise")


class Refusal(Exception):
    """An answer that is a problem."""

    def __init__(self, status: int, name: str, **members: Any) -> None:
        super().__init__(name)
        self.status, self.name = status, name
        self.headers: dict[str, str] = members.pop("headers", {})
        self.members = members


@dataclass
class Liar:
    """Journal, cursors and blobs in memory."""

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
    receipts: dict[str, int] | None = field(default_factory=dict)
    """Bytes by SHA-256; ``None`` is a station that takes none."""
    asked: list[str] = field(default_factory=list)
    next: deque[Any] = field(default_factory=deque)
    header_s: float = 0.3
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

    # --- the journal ------------------------------------------------------------------------------

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
            self.acked = dict.fromkeys(self.acked, last)
            self.append("carril.epoch.opened", prio=0, first_seq=self.first_seq, **self.before)

    def item(self, seq: int, *, simulated: bool) -> bytes:
        at = seq - self.first_seq
        begin = b'{"seq":%d,"hash":"%b",' % (seq, self.hashes[at + 1].hex().encode())
        data = self.event(seq)["data"]
        why = self.stubs.get(seq) or ("" if simulated or not any(map(data.get, SIMULATED)) else "simulated")
        if why and not (why == "simulated" and self.lie == "stubs"):
            return begin + b'"withheld":"%b"}' % why.encode()
        return begin + b'"event":' + self.bodies[at] + b"}"


class Handler(BaseHTTPRequestHandler):
    """One connection to the liar."""

    protocol_version = "HTTP/1.1"
    liar: Liar

    def setup(self) -> None:
        super().setup()
        self.deadline = threading.Timer(self.liar.header_s, self.cut)
        self.deadline.daemon = True
        if self.liar.lie != "header":
            self.deadline.start()

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle_one_request()
            return
        self.close_connection = True

    def answer(self) -> None:
        self.deadline.cancel()
        self.connection.settimeout(10)
        path = urlsplit(self.path).path
        self.liar.asked.append(f"{self.command} {self.path}")
        try:
            if self.liar.next:
                trick = self.liar.next.popleft()
                if trick is not None and trick(self):
                    return
            status, headers, body = self.route(path)
        except Refusal as refusal:
            status, headers, body = self.problem(refusal)
        self.reply(status, headers, body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = answer

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    def problem(self, refusal: Refusal) -> tuple[int, dict[str, str], bytes]:
        body = {"type": f"urn:carril:problem:{refusal.name}", "title": refusal.name, "status": refusal.status}
        kind = {"Content-Type": "application/problem+json"} | refusal.headers
        return refusal.status, kind, json.dumps(body | {"detail": "No."} | refusal.members).encode()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    # --- routes -----------------------------------------------------------------------------------

    def route(self, path: str) -> tuple[int, dict[str, str], bytes]:
        liar = self.liar
        parts = path.strip("/").split("/")
        methods = {"ack": "POST", "receipt": "POST"}.get(
            parts[-1], "GET, HEAD" if parts[1:2] == ["blobs"] else "GET"
        )
        body = self.body()
        known = parts[0] == "v1" and (
            len(parts) == 1 or parts[1] in ("feed", "records", "consumers", "blobs")
        )
        if not known:
            if liar.lie == "paths":
                return 404, {"Content-Type": "text/html"}, b"<h1>Not found</h1>"
            raise Refusal(404, "not-found")
        if self.command not in methods.split(", ") and liar.lie != "methods":
            raise Refusal(405, "method-not-allowed", headers={"Allow": methods})
        if len(parts) == 1:
            return self.json(self.index())
        if parts[1] == "feed":
            return self.feed()
        if parts[1] == "records":
            return self.record(int(parts[2]))
        if parts[1] == "blobs":
            return self.receipt(parts[2], body) if parts[-1] == "receipt" else self.blob(parts[2])
        return self.ack(parts[2], body) if parts[-1] == "ack" else self.consumer(parts[2])

    def json(self, value: Any) -> tuple[int, dict[str, str], bytes]:
        return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()

    def body(self) -> bytes:
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        if len(body) < size and self.liar.lie != "half-body":
            raise ConnectionAbortedError
        if size > MIB:
            if self.liar.lie == "too-large":
                raise Refusal(422, "invalid")
            raise Refusal(413, "too-large", limit=MIB)
        return body

    def index(self) -> dict[str, Any]:
        liar = self.liar
        told = {
            "station": STATION,
            "epoch": liar.epoch.hex(),
            "first_seq": liar.first_seq,
            "oldest": liar.oldest,
        }
        told |= {"head": liar.head, "clock": "sync", "api": "1.0", "limits": LIMITS}
        if liar.lie == "index":
            del told["limits"]
        return told

    def query(self) -> dict[str, str]:
        known = {"after", "epoch", "limit", "wait", "prio", "include"}
        pairs = parse_qsl(urlsplit(self.path).query, keep_blank_values=True)
        given = dict(pairs)
        wrong = [name for name in given if name not in known and self.liar.lie != "parameters"]
        wrong += [name for name in given if [each for each, _ in pairs].count(name) > 1]
        bounds = {"after": (0, 2**53 - 1), "limit": (1, 2000), "wait": (0, 30), "prio": (0, 0)}
        for name, (low, high) in bounds.items():
            text = given.get(name, "1" if name == "limit" else "0")
            if not re.fullmatch(r"\d+(\.\d+)?", text) or not low <= float(text) <= high:
                wrong.append(name)
        wrong += [name for name in ("after", "epoch") if name not in given]
        if "epoch" in given and not re.fullmatch("[0-9a-f]{32}", given["epoch"]):
            wrong.append("epoch")
        if wrong:
            raise Refusal(400, "bad-parameter", errors=[{"field": f"query.{name}"} for name in wrong])
        return given

    def feed(self) -> tuple[int, dict[str, str], bytes]:
        liar, query = self.liar, self.query()
        after, wait_s = int(query["after"]), float(query.get("wait", 0))
        with liar.lock:
            self.check_epoch(query["epoch"], "feed-epoch")
            if after > liar.head and liar.lie != "feed-beyond":
                raise Refusal(409, "beyond-head", head=liar.head)
            if after < liar.oldest - 1:
                if liar.lie != "feed-trimmed":
                    raise Refusal(410, "trimmed", oldest=liar.oldest)
                after = liar.oldest - 1
            if wait_s and after >= liar.head:
                if liar.waits >= 4 and liar.lie != "five-polls":
                    raise Refusal(429, "too-many", headers={"Retry-After": "1"})
                liar.waits += 1
        if wait_s and after >= liar.head:
            gone = self.wait(after, wait_s)
            if not (gone and liar.lie == "hang-up"):
                liar.waits -= 1
        return self.page(after, query)

    def wait(self, after: int, wait_s: float) -> bool:
        """Wait for a record; return whether the client went away meanwhile."""
        self.liar.polls += 1
        at_once = self.liar.lie == "long-poll" and self.liar.polls == 1
        ends_s = time.monotonic() + (0 if at_once else wait_s)
        while time.monotonic() < ends_s and after >= self.liar.head and not self.liar.stops.is_set():
            time.sleep(0.01)
            if select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK):
                return True
        return False

    def page(self, after: int, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        liar = self.liar
        with liar.lock:
            next_ = max(min(after + int(query.get("limit", 500)), liar.head), after)
            again = liar.asked.count(f"GET {self.path}") > 1 and "gzip" not in str(self.headers)
            if liar.lie == "replay" and again:
                next_ = max(next_ - 1, after)
            seqs = list(range(after + 1, next_ + 1))
            if "prio" in query:
                seqs = [seq for seq in seqs if liar.event(seq)["prio"] == 0 or liar.lie == "peek"]
            elif liar.lie == "dense" and len(seqs) > 3:
                del seqs[2]
            simulated = query.get("include") == "simulated"
            items = b",".join(liar.item(seq, simulated=simulated) for seq in seqs)
            prev = liar.hashes[min(after, liar.head) - liar.first_seq + 1].hex()
            told = {"epoch": liar.epoch.hex(), "oldest": liar.oldest, "head": liar.head, "next": next_}
            told |= {"more": liar.head > next_, "prev": prev}
            if liar.lie == "reading" and liar.acked["conformance"] < 200:
                liar.acked["conformance"] += 1
        body = json.dumps(told).encode()[:-1] + b',"items":[' + items + b"]}"
        headers = {"Content-Type": "application/json"}
        accepted = self.headers.get("Accept-Encoding", "")
        if "gzip" in accepted and (liar.lie == "gzip" or "q=0" not in accepted):
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        return 200, headers, body

    def check_epoch(self, epoch: str, lie: str) -> None:
        liar = self.liar
        if epoch != liar.epoch.hex() and liar.lie != lie:
            unknown = {"previous": None, "previous_last": None, "previous_hash": None}
            now = {"epoch": liar.epoch.hex(), "first_seq": liar.first_seq}
            raise Refusal(409, "epoch-changed", **unknown | liar.before | now)

    def record(self, seq: int) -> tuple[int, dict[str, str], bytes]:
        if not self.liar.oldest <= seq <= self.liar.head:
            raise Refusal(404, "not-found")
        at = seq - self.liar.first_seq
        body = self.liar.bodies[at]
        if self.liar.lie == "record-bytes":
            body = json.dumps(json.loads(body)).encode()
        tag = f'"{self.liar.hashes[at + 1].hex()}"'
        return 200, {"Content-Type": "application/cloudevents+json", "ETag": tag}, body

    def consumer(self, name: str) -> tuple[int, dict[str, str], bytes]:
        if name not in self.liar.acked and self.liar.lie != "unknown-consumer":
            raise Refusal(404, "not-found")
        epoch = "0" * 32 if self.liar.lie == "cursor" else self.liar.epoch.hex()
        return self.json({"epoch": epoch, "acked": self.liar.acked.get(name, 0)})

    def ack(self, name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        liar = self.liar
        if name not in liar.acked:
            raise Refusal(404, "not-found")
        given = self.ack_body(body)
        epoch, seq = given["epoch"], given["seq"]
        liar.acks.append(seq)
        with liar.lock:
            liar.acking += 1
            alone = liar.acking == 1
            liar.crowded |= not alone
        if name == "conformance":  # so that those which are sent at one moment are there at one moment
            told_apart = liar.lie in ("ack", "ack-stale", "ack-concurrent")
            time.sleep(0.2 if told_apart and 0 < seq - liar.acked[name] <= 3 else 0.02)
        with liar.lock:
            alone &= liar.acking == 1
            liar.acking -= 1
            self.check_epoch(epoch, "ack-epoch")
            before = liar.acked[name]
            if seq > liar.head and liar.lie != "ack-beyond":
                raise Refusal(409, "beyond-head", head=liar.head)
            keeps = seq > liar.head or epoch != liar.epoch.hex() or (liar.lie == "ack" and not liar.crowded)
            keeps |= liar.lie == "ack-concurrent" and not alone
            if not keeps:
                liar.acked[name] = max(before, seq)
                if liar.lie == "ack-stale" and not liar.crowded:
                    liar.acked[name] = seq
            moved = seq > before or (liar.lie == "ack-again" and seq == before)
            told = seq if keeps else liar.acked[name]
            return self.json({"epoch": liar.epoch.hex(), "acked": told, "moved": moved})

    def ack_body(self, body: bytes) -> dict[str, Any]:
        lie = self.liar.lie
        if "json" not in self.headers.get("Content-Type", "") and lie != "content-type":
            raise Refusal(422, "invalid", errors=[{"field": "body"}])
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            if lie == "body-json":
                raise Refusal(500, "internal") from None
            raise Refusal(422, "invalid", errors=[{"field": "body"}]) from None
        if not isinstance(given, dict):
            raise Refusal(422, "invalid", errors=[{"field": "body"}])
        if lie == "body-types" and isinstance(given.get("seq"), str):
            given["seq"] = int(given["seq"])
        seq = given.get("seq")
        wrong = [] if type(seq) is int and 0 <= seq < 2**53 else ["seq"]
        wrong += [] if isinstance(given.get("epoch"), str) else ["epoch"]
        wrong += [] if lie == "body-fields" else sorted(given.keys() - {"epoch", "seq", "nack"})
        if wrong:
            raise Refusal(422, "invalid", errors=[{"field": f"body.{name}"} for name in wrong])
        return given

    # --- blobs ------------------------------------------------------------------------------------

    def receipt(self, name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.liar.receipts is None or name not in self.liar.blobs:
            raise Refusal(404, "not-found")
        self.liar.receipts[name] = json.loads(body)["bytes"]
        return self.json({})

    def blob(self, name: str) -> tuple[int, dict[str, str], bytes]:
        lie = self.liar.lie
        if not re.fullmatch("[0-9a-f]{64}", name):
            raise Refusal(400, "bad-parameter", errors=[{"field": "path.sha256"}])
        if name not in self.liar.blobs:
            if lie == "blob-unknown":
                return 200, {}, b""
            raise Refusal(404, "not-found")
        content = self.liar.blobs[name]
        whole = f"sha-256=:{base64.b64encode(bytes.fromhex(name)).decode()}:"
        headers = {
            "ETag": f'"{name}"',
            "Accept-Ranges": "bytes",
            "Repr-Digest": whole,
            "Content-Type": "image/png",
        }
        if self.headers.get("If-None-Match") == f'"{name}"' and lie != "blob-conditional":
            return 304, headers, b""
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if lie == "blob-no-range" and "Range" in self.headers and found is None:
            raise Refusal(416, "range")
        if lie == "blob-bytes":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if found is None or (found[1] and found[2] and int(found[2]) < int(found[1])):
            if self.command == "HEAD":
                headers["Content-Length"] = str(len(content))
            return 200, headers, content
        first = int(found[1]) if found[1] else max(len(content) - int(found[2]), 0)
        stop = min(int(found[2]) + 1, len(content)) if found[1] and found[2] else len(content)
        if first >= stop:
            raise Refusal(
                416, "range", size=len(content), headers={"Content-Range": f"bytes */{len(content)}"}
            )
        if lie == "blob-range":
            stop -= 1
        span = f"bytes {first}-{stop - 1}/{len(content)}"
        return 206, headers | {"Content-Range": span}, content[first:stop]


# --- tricks for ``next`` --------------------------------------------------------------------------


def refuses(status: int, name: str = "", **headers: str) -> Any:
    """Answer with a refusal: a problem, or HTML without a name."""

    def trick(handler: Handler) -> bool:
        if name:
            handler.reply(*handler.problem(Refusal(status, name, headers=headers)))
        else:
            handler.reply(status, {"Content-Type": "text/html"} | headers, b"<html>Bad gateway</html>")
        return True

    return trick


def cuts(share: float) -> Any:
    """Send only this share of the body, and end the connection."""

    def trick(handler: Handler) -> bool:
        try:
            status, headers, body = handler.route(urlsplit(handler.path).path)
        except Refusal as refusal:
            status, headers, body = handler.problem(refusal)
        headers["Content-Length"] = str(len(body))
        handler.reply(status, headers, body[: int(len(body) * share)])
        handler.close_connection = True
        return True

    return trick


def hangs_up(handler: Handler) -> bool:
    """Say nothing."""
    handler.close_connection = True
    return True


def says_nothing(handler: Handler) -> bool:
    """Answer with an object that has no members."""
    handler.reply(*handler.json({}))
    return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is no news."""


@contextlib.contextmanager
def lying(liar: Liar, port: int = 0) -> Iterator[Server]:
    """Serve the liar until the block ends."""
    handler = type("LiarHandler", (Handler,), {"liar": liar})
    with _Server(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        liar.port = server.server_port
        try:
            liar.stops.clear()
            yield Server("127.0.0.1", server.server_port)
        finally:
            liar.stops.set()
            server.shutdown()
            thread.join()
