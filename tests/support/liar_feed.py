"""The liar's index, feed, records and signed heads."""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from select import select
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.support.liar_journal import STATION
from tests.support.liar_link import MIB, Answer, Link, Refusal

LIMITS = {"limit": 2000, "wait": 30, "page_bytes": 4 * MIB}
HEADS = 3
"""Of one page."""


class Feed(Link):
    """Everything that is read with a cursor."""

    def index(self) -> dict[str, Any]:
        liar = self.liar
        told = {
            "station": STATION,
            "epoch": liar.epoch.hex(),
            "first_seq": liar.first_seq,
            "oldest": liar.oldest,
        }
        told |= {"head": liar.head, "clock": liar.clock, "api": "1.0", "limits": LIMITS}
        told |= {"head_key": liar.head_key}
        if liar.lie == "index":
            del told["limits"]
        return told

    def query(self) -> dict[str, str]:
        known = {"after", "epoch", "limit", "wait", "prio", "include", "consumer"}
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

    def feed(self) -> Answer:
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

    def page(self, after: int, query: dict[str, str]) -> Answer:
        liar = self.liar
        with liar.lock:
            next_ = max(min(after + int(query.get("limit", 500)), liar.head), after)
            again = liar.asked.count(f"GET {self.path}") > 1 and "gzip" not in str(self.headers)
            if liar.lie == "replay" and again:
                next_ = max(next_ - 1, after)
            seqs = list(range(after + 1, next_ + 1))
            if "prio" in query:
                seqs = [seq for seq in seqs if liar.event(seq)["prio"] == 0 or liar.lie == "peek"]
            elif liar.lie == "dense" and len(seqs) > 3 and "lane_mode" in liar.event(seqs[2])["type"]:
                del seqs[2]
            simulated = query.get("include") == "simulated"
            items = b",".join(liar.item(seq, simulated=simulated) for seq in seqs)
            prev = liar.hashes[min(after, liar.head) - liar.first_seq + 1].hex()
            told = {"epoch": liar.epoch.hex(), "oldest": liar.oldest, "head": liar.head, "next": next_}
            signed = max((seq for seq in liar.heads if seq <= next_), default=0)
            told |= {"more": liar.head > next_, "prev": prev, "signed_head": liar.heads.get(signed)}
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

    def record(self, seq: int) -> Answer:
        if not self.liar.oldest <= seq <= self.liar.head:
            raise Refusal(404, "not-found")
        at = seq - self.liar.first_seq
        body = self.liar.bodies[at]
        if self.liar.lie == "record-bytes":
            body = json.dumps(json.loads(body)).encode()
        tag = f'"{self.liar.hashes[at + 1].hex()}"'
        return 200, {"Content-Type": "application/cloudevents+json", "ETag": tag}, body

    def checkpoints(self) -> Answer:
        liar = self.liar
        after = int(dict(parse_qsl(urlsplit(self.path).query)).get("after", 0))
        seqs = sorted(seq for seq in liar.heads if seq > after or liar.lie == "checkpoints")
        return self.json({"items": [{"seq": seq, "note": liar.heads[seq]} for seq in seqs[:HEADS]]})
