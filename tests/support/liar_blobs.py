"""The liar's blobs and receipts."""

from __future__ import annotations

import base64
import json
import re

from tests.support.liar_link import Answer, Link, Refusal


class Blobs(Link):
    """Bytes, whole or in part."""

    def receipt(self, name: str, body: bytes) -> Answer:
        liar, given = self.liar, json.loads(body)
        if liar.receipts is None or name not in liar.blobs:
            raise Refusal(404, "not-found")
        size = len(liar.blobs[name])
        if given["bytes"] != size and liar.lie != "receipt-length":
            raise Refusal(409, "other-length", bytes=size)
        again = name in liar.receipts
        liar.receipts[name] = given["bytes"]
        received = given["verified"] and not (again and liar.lie == "receipt")
        return self.json({"sha256": name, "consumer": given["consumer"], "received": received})

    def blob(self, name: str) -> Answer:
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
