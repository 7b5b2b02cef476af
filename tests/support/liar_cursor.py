"""The liar's consumers: cursors, and what they refuse."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.support.liar_feed import Feed
from tests.support.liar_link import Answer, Refusal, invalid


class Cursors(Feed):
    """Acknowledging and refusing."""

    def consumer(self, name: str) -> Answer:
        if name not in self.liar.acked and self.liar.lie != "unknown-consumer":
            raise Refusal(404, "not-found")
        epoch = "0" * 32 if self.liar.lie == "cursor" else self.liar.epoch.hex()
        return self.json(
            {"epoch": epoch, "acked": self.liar.acked.get(name, 0), "required": name == "central"}
        )

    def ack(self, name: str, body: bytes) -> Answer:
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
                self.refuse(name, given)
            moved = seq > before or (liar.lie == "ack-again" and seq == before)
            told = seq if keeps else liar.acked[name]
            return self.json({"epoch": liar.epoch.hex(), "acked": told, "moved": moved})

    def refuse(self, name: str, given: dict[str, Any]) -> None:
        """Close what the acknowledgement covers, and note what it refuses."""
        liar = self.liar
        quarantine, nacks = liar.refused.setdefault(name, {}), given.get("nack", [])
        if liar.lie != "nack-clears":
            for seq, offered in [(seq, each["offered_seq"]) for seq, each in quarantine.items()]:
                if offered is not None and offered <= given["seq"]:
                    del quarantine[seq]
        for nack in nacks:
            quarantine[nack["seq"]] = {**nack, "tries": 1, "offered_seq": None}
        if nacks and liar.lie == "nack":  # stops in front of what was refused
            liar.acked[name] = nacks[0]["seq"] - 1

    def quarantine(self, name: str) -> Answer:
        refused = self.liar.refused.get(name, {})
        items = [] if self.liar.lie == "nack-quarantine" else [refused[seq] for seq in sorted(refused)]
        return self.json({"items": items, "next": max(refused, default=0), "more": False})

    def retry(self, name: str, seq: int) -> Answer:
        liar = self.liar
        with liar.lock:
            refused = liar.refused.get(name, {}).get(seq)
            if refused is None:
                raise Refusal(404, "not-found")
            new = refused["offered_seq"] is None or liar.lie == "nack-retry"
            if new:
                event = liar.event(seq)
                told = {"original": event, "consumer": name, "refused_seq": seq}
                refused["offered_seq"] = liar.append("carril.record.reoffered", **told)
            offered = {"seq": seq, "offered_seq": refused["offered_seq"], "new": new}
            return self.json({"epoch": liar.epoch.hex(), **offered})

    def ack_body(self, body: bytes) -> dict[str, Any]:
        lie = self.liar.lie
        if "json" not in self.headers.get("Content-Type", "") and lie != "content-type":
            raise invalid("body")
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            if lie == "body-json":
                raise Refusal(500, "internal") from None
            raise invalid("body") from None
        if not isinstance(given, dict):
            raise invalid("body")
        if lie == "body-types" and isinstance(given.get("seq"), str):
            given["seq"] = int(given["seq"])
        seq = given.get("seq")
        if type(seq) is float and seq.is_integer() and lie != "body-whole":
            given["seq"] = seq = int(seq)
        wrong = [] if type(seq) is int and 0 <= seq < 2**53 else ["seq"]
        wrong += [] if isinstance(given.get("epoch"), str) else ["epoch"]
        wrong += [] if lie == "body-fields" else sorted(given.keys() - {"epoch", "seq", "nack"})
        if wrong:
            raise invalid(*(f"body.{name}" for name in wrong))
        return given
