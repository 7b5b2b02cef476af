"""The liar's directives: taken, known again, refused, withdrawn; each step a record."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature

from tests.support.liar_link import Answer, Link, Refusal, invalid


class Directives(Link):
    """Signed instructions."""

    def directive(self, name: str) -> Answer:
        known = self.liar.directives.get(name)
        if known is None:
            if self.liar.lie == "directive-unknown":
                raise Refusal(400, "bad-parameter")
            raise Refusal(404, "not-found")
        return self.json(known["told"])

    def put_directive(self, name: str, body: bytes) -> Answer:
        liar, sent = self.liar, json.loads(body)
        if sent["kind"] not in ("hold", "manifest", "release", "lane_mode", "trust"):
            if liar.lie == "directive-kind":
                return self.json({}, 201)
            raise invalid("body.kind")
        if not self.genuine(name, sent):
            if liar.lie == "directive-signature":
                return self.json({}, 201)
            raise Refusal(403, "forbidden")
        with liar.lock:
            known = liar.directives.get(name)
            if known and sent == known["sent"]:
                place = {"epoch": liar.epoch.hex(), "seq": 1} if liar.lie == "directive-again" else None
                return self.json({**known["told"], **({"record": place} if place else {})})
            if known and sent["version"] <= known["sent"]["version"]:
                if liar.lie == "directive-older":
                    return self.json(known["told"])
                raise Refusal(409, "version-conflict", version=known["sent"]["version"])
            told = self.take(name, sent, known)
            liar.directives[name] = {"sent": sent, "told": told}
            return self.json(told, 200 if known or liar.lie == "directive-taken" else 201)

    def take(self, name: str, sent: dict[str, Any], known: dict[str, Any] | None) -> dict[str, Any]:
        """Write what happens to it; without the right time nothing is ever over."""

        def tell(kind: str, version: int, **more: Any) -> int:
            return self.liar.append(
                f"carril.directive.{kind}", directive_id=name, directive_version=version, **more
            )

        seq = tell("received", sent["version"], envelope=sent)
        if known:
            tell("closed", known["sent"]["version"], how="superseded")
        over = sent["valid_to"] < datetime.now(UTC).isoformat() and self.liar.clock == "sync"
        if sent.get("scope", {}).get("lanes", ["LIAR-01"]) != ["LIAR-01"]:
            tell("closed", sent["version"], how="not_applicable")
        elif over and self.liar.lie != "directive-records":
            tell("closed", sent["version"], how="withdrawn")
        elif not over:
            tell("armed", sent["version"], unreadable=[])
        place = {"epoch": self.liar.epoch.hex(), "seq": seq}
        return {"id": name, "version": sent["version"], "state": "received", "record": place}

    def genuine(self, name: str, sent: dict[str, Any]) -> bool:
        key = self.liar.issuers.get(sent["issuer"])
        signed = {member: sent[member] for member in sent if member != "sig"} | {"id": name}
        try:
            if key is not None:
                key.verify(base64.b64decode(sent["sig"]), rfc8785.dumps(signed))
                return True
        except InvalidSignature:
            pass
        return False
